//! Records to bytes, in the versions that Kafka 4.3 writes.

use bytes::{BufMut, Bytes};

use super::{Encoded, GROUP_METADATA, GroupValue, MemberValue, OFFSET_COMMIT, OffsetKey, OffsetValue, Record, TooLong};

/// Older brokers read an expire timestamp only here; later versions have none (KIP-211).
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const OFFSET_VALUE: i16 = 4;
const GROUP_VALUE: i16 = 3;

pub(super) fn encode(record: &Record) -> Result<Encoded, TooLong> {
    match record {
        Record::OffsetCommit { key, value } => {
            Ok(Encoded { key: offset_key(key)?, value: value.as_ref().map(offset_value).transpose()? })
        }
        Record::GroupMetadata { group, value } => {
            let mut key = Vec::new();
            key.put_i16(GROUP_METADATA);
            put_string(&mut key, group)?;
            Ok(Encoded { key: key.into(), value: value.as_ref().map(group_value).transpose()? })
        }
    }
}

fn offset_key(key: &OffsetKey) -> Result<Bytes, TooLong> {
    let mut out = Vec::new();
    out.put_i16(OFFSET_COMMIT);
    put_string(&mut out, &key.group)?;
    put_string(&mut out, &key.topic)?;
    out.put_i32(key.partition);
    Ok(out.into())
}

fn offset_value(value: &OffsetValue) -> Result<Bytes, TooLong> {
    let mut out = Vec::new();
    if let Some(expire_timestamp_ms) = value.expire_timestamp_ms {
        out.put_i16(OFFSET_VALUE_WITH_EXPIRY);
        out.put_i64(value.offset);
        put_string(&mut out, &value.metadata)?;
        out.put_i64(value.commit_timestamp_ms);
        out.put_i64(expire_timestamp_ms);
        return Ok(out.into());
    }
    out.put_i16(OFFSET_VALUE);
    out.put_i64(value.offset);
    out.put_i32(value.leader_epoch);
    put_compact_string(&mut out, &value.metadata)?;
    out.put_i64(value.commit_timestamp_ms);
    match value.topic_id {
        // One tagged field: number 0, 16 bytes.
        Some(id) => {
            out.put_slice(&[1, 0, 16]);
            out.put_slice(id.as_bytes());
        }
        None => out.put_u8(0),
    }
    Ok(out.into())
}

fn group_value(value: &GroupValue) -> Result<Bytes, TooLong> {
    let mut out = Vec::new();
    out.put_i16(GROUP_VALUE);
    put_string(&mut out, &value.protocol_type)?;
    out.put_i32(value.generation);
    put_nullable_string(&mut out, value.protocol.as_deref())?;
    put_nullable_string(&mut out, value.leader.as_deref())?;
    out.put_i64(value.since_ms.unwrap_or(-1));
    out.put_i32(i32::try_from(value.members.len()).map_err(|_| TooLong)?);
    for member in &value.members {
        put_member(&mut out, member)?;
    }
    Ok(out.into())
}

fn put_member(out: &mut Vec<u8>, member: &MemberValue) -> Result<(), TooLong> {
    put_string(out, &member.member)?;
    put_nullable_string(out, member.instance.as_deref())?;
    put_string(out, &member.client_id)?;
    put_string(out, &member.client_host)?;
    out.put_i32(member.rebalance_timeout_ms);
    out.put_i32(member.session_timeout_ms);
    put_bytes(out, &member.subscription)?;
    put_bytes(out, &member.assignment)
}

fn put_string(out: &mut Vec<u8>, text: &str) -> Result<(), TooLong> {
    out.put_i16(i16::try_from(text.len()).map_err(|_| TooLong)?);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn put_nullable_string(out: &mut Vec<u8>, text: Option<&str>) -> Result<(), TooLong> {
    match text {
        Some(text) => put_string(out, text),
        None => {
            out.put_i16(-1);
            Ok(())
        }
    }
}

fn put_compact_string(out: &mut Vec<u8>, text: &str) -> Result<(), TooLong> {
    let mut length = u32::try_from(text.len()).map_err(|_| TooLong)?.checked_add(1).ok_or(TooLong)?;
    while length >= 0x80 {
        out.put_u8((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TooLong> {
    out.put_i32(i32::try_from(bytes.len()).map_err(|_| TooLong)?);
    out.put_slice(bytes);
    Ok(())
}
