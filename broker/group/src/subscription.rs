//! Kafka's `consumer` protocol, as far as the coordinator must know it: which topics a member subscribes to.
//!
//! Members of other protocol types, and broken bytes, are opaque: nothing here fails a request.

use std::collections::BTreeSet;

use bytes::{Buf, TryGetError};

use crate::ids::TopicName;

/// The protocol type whose metadata the coordinator may look into.
pub(crate) const CONSUMER_PROTOCOL: &str = "consumer";

/// The topics of one member's subscription, or `None` if it does not read as one. Version 0 is a prefix of all later
/// versions: version, array of topic names, nullable bytes of the assignor's own.
pub(crate) fn topics(metadata: &[u8]) -> Option<BTreeSet<TopicName>> {
    read(metadata).ok().flatten()
}

fn read(mut bytes: &[u8]) -> Result<Option<BTreeSet<TopicName>>, TryGetError> {
    if bytes.try_get_i16()? < 0 {
        return Ok(None);
    }
    let mut topics = BTreeSet::new();
    for _ in 0..bytes.try_get_i32()? {
        let length = bytes.try_get_i16()?;
        let name = usize::try_from(length).ok().and_then(|length| bytes.split_off(..length));
        let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) else { return Ok(None) };
        topics.insert(TopicName::from(name));
    }
    let user_data = usize::try_from(bytes.try_get_i32()?).unwrap_or(0); // -1 is null
    Ok((user_data <= bytes.len()).then_some(topics))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_lists_its_topics_and_garbage_lists_none() {
        let names = |names: &[&str]| Some(names.iter().map(|name| TopicName::from(*name)).collect::<BTreeSet<_>>());
        let cases: &[(&[u8], Option<BTreeSet<TopicName>>)] = &[
            (b"\x00\x00\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff", names(&["t"])),
            (b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc\x00\x00\x00\x01uand more", names(&["a", "bc"])),
            (b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", names(&[])),
            (b"\x00\x00\x00\x00\x00\x01\x00\x01t", None),
            (b"\x00\x00\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x05four", None),
            (b"", None),
            (b"\x00", None),
            (b"\xff\xff\x00\x00\x00\x00", None),
            (b"\x00\x00\x7f\xff\xff\xff", None),
            (b"\x00\x00\x00\x00\x00\x01\x00\x05t", None),
            (b"\x00\x00\x00\x00\x00\x01\xff\xfft", None),
            (b"\x00\x00\x00\x00\x00\x01\x00\x01\xff", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&topics(bytes), expected, "{bytes:?}");
        }
    }
}
