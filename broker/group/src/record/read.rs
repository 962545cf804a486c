//! Bytes to records, in every version that any Kafka wrote.
//!
//! Lengths are checked against the bytes that are left before anything is allocated.

use bytes::{Buf, Bytes, TryGetError};
use uuid::Uuid;

use super::{
    GROUP_METADATA, GroupValue, LEGACY_OFFSET_COMMIT, Malformed, MemberValue, OFFSET_COMMIT, OffsetKey, OffsetValue,
    Record,
};
use crate::ids::{GroupId, InstanceId, MemberId, TopicName};

/// The first flexible version of either value: compact lengths and tagged fields.
const FLEXIBLE: i16 = 4;

pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, Malformed> {
    let mut key = Reader { bytes: key, flexible: false };
    match key.bytes.try_get_i16()? {
        LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => {
            let key = OffsetKey {
                group: GroupId::from(key.string()?),
                topic: TopicName::from(key.string()?),
                partition: key.bytes.try_get_i32()?,
            };
            Ok(Some(Record::OffsetCommit { key, value: value.map(offset_value).transpose()? }))
        }
        GROUP_METADATA => {
            let group = GroupId::from(key.string()?);
            Ok(Some(Record::GroupMetadata { group, value: value.map(group_value).transpose()? }))
        }
        _ => Ok(None),
    }
}

fn offset_value(bytes: &[u8]) -> Result<OffsetValue, Malformed> {
    let (version, mut value) = Reader::versioned(bytes)?;
    let offset = value.bytes.try_get_i64()?;
    let leader_epoch = if version >= 3 { value.bytes.try_get_i32()? } else { -1 };
    let metadata = value.string()?.to_owned();
    let commit_timestamp_ms = value.bytes.try_get_i64()?;
    let expires = if version == 1 { value.bytes.try_get_i64()? } else { -1 };
    let mut topic_id = None;
    for (tag, field) in value.tagged_fields()? {
        if tag == 0 {
            topic_id = Some(Uuid::from_slice(field).map_err(|_| Malformed)?);
        }
    }
    let expire_timestamp_ms = (expires != -1).then_some(expires);
    Ok(OffsetValue { offset, leader_epoch, metadata, commit_timestamp_ms, expire_timestamp_ms, topic_id })
}

fn group_value(bytes: &[u8]) -> Result<GroupValue, Malformed> {
    let (version, mut value) = Reader::versioned(bytes)?;
    let protocol_type = value.string()?.to_owned();
    let generation = value.bytes.try_get_i32()?;
    let protocol = value.nullable_string()?.map(str::to_owned);
    let leader = value.nullable_string()?.map(MemberId::from);
    let since = if version >= 2 { value.bytes.try_get_i64()? } else { -1 };
    let mut members = Vec::new();
    for _ in 0..value.array_length()? {
        members.push(member_value(version, &mut value)?);
    }
    value.tagged_fields()?;
    Ok(GroupValue { protocol_type, generation, protocol, leader, since_ms: (since != -1).then_some(since), members })
}

fn member_value(version: i16, value: &mut Reader<'_>) -> Result<MemberValue, Malformed> {
    let member = MemberId::from(value.string()?);
    let instance = if version >= 3 { value.nullable_string()?.map(InstanceId::from) } else { None };
    let client_id = value.string()?.to_owned();
    let client_host = value.string()?.to_owned();
    let rebalance_timeout_ms = if version >= 1 { value.bytes.try_get_i32()? } else { -1 };
    let session_timeout_ms = value.bytes.try_get_i32()?;
    let subscription = value.blob()?;
    let assignment = value.blob()?;
    value.tagged_fields()?;
    let rebalance_timeout_ms = if rebalance_timeout_ms == -1 { session_timeout_ms } else { rebalance_timeout_ms };
    Ok(MemberValue {
        member,
        instance,
        client_id,
        client_host,
        rebalance_timeout_ms,
        session_timeout_ms,
        subscription,
        assignment,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    flexible: bool,
}

impl<'a> Reader<'a> {
    fn versioned(mut bytes: &'a [u8]) -> Result<(i16, Self), Malformed> {
        match bytes.try_get_i16()? {
            version @ 0..=FLEXIBLE => Ok((version, Reader { bytes, flexible: version >= FLEXIBLE })),
            _ => Err(Malformed),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        self.bytes.split_off(..length).ok_or(Malformed)
    }

    /// A length as the version writes it; `None` is null.
    fn length(
        &mut self,
        plain: impl Fn(&mut &'a [u8]) -> Result<i32, TryGetError>,
    ) -> Result<Option<usize>, Malformed> {
        if self.flexible {
            return Ok(self.varint()?.checked_sub(1).map(|length| length as usize));
        }
        match plain(&mut self.bytes)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Malformed),
        }
    }

    fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let Some(length) = self.length(|bytes| bytes.try_get_i16().map(i32::from))? else { return Ok(None) };
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| Malformed)
    }

    fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    fn blob(&mut self) -> Result<Bytes, Malformed> {
        let length = self.length(|bytes| bytes.try_get_i32())?.ok_or(Malformed)?;
        self.take(length).map(Bytes::copy_from_slice)
    }

    fn array_length(&mut self) -> Result<usize, Malformed> {
        self.length(|bytes| bytes.try_get_i32())?.ok_or(Malformed)
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in (0..32).step_by(7) {
            let byte = self.bytes.try_get_u8()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn tagged_fields(&mut self) -> Result<Vec<(u32, &'a [u8])>, Malformed> {
        let mut fields = Vec::new();
        if self.flexible {
            for _ in 0..self.varint()? {
                let tag = self.varint()?;
                let length = self.varint()? as usize;
                fields.push((tag, self.take(length)?));
            }
        }
        Ok(fields)
    }
}

impl From<TryGetError> for Malformed {
    fn from(_: TryGetError) -> Self {
        Malformed
    }
}
