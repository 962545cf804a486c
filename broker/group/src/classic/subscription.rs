//! Kafka's `consumer` protocol, as far as the coordinator must know it: which topics a member subscribes to.
//!
//! Members of other protocol types, and broken bytes, are opaque: nothing here fails a request.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_wire::codec::{Version, Wire};
use ottla_wire::consumer_protocol::ConsumerProtocolSubscription;
use ottla_wire::decoder::Decoder;

use crate::ids::TopicName;

/// The protocol type whose metadata the coordinator may look into.
pub(crate) const CONSUMER_PROTOCOL: &str = "consumer";

/// The topics of one member's subscription, or `None` if it does not read as one. Read as version 0, which is a prefix
/// of all later ones.
pub(crate) fn topics(metadata: &Bytes) -> Option<BTreeSet<TopicName>> {
    let mut decoder = Decoder::new(metadata.clone());
    if decoder.i16().ok()? < 0 {
        return None;
    }
    let oldest = Version::of::<ConsumerProtocolSubscription>(0);
    let subscription = ConsumerProtocolSubscription::decode(&mut decoder, oldest).ok()?;
    Some(subscription.topics.iter().map(|topic| TopicName::from(&**topic)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_lists_its_topics_and_garbage_lists_none() {
        let names = |names: &[&str]| Some(names.iter().map(|name| TopicName::from(*name)).collect::<BTreeSet<_>>());
        let cases: &[(&'static [u8], Option<BTreeSet<TopicName>>)] = &[
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
            // What is not UTF-8 is replaced, as in Kafka; here, nothing follows it.
            (b"\x00\x00\x00\x00\x00\x01\x00\x01\xff", None),
            (b"\x00\x00\x00\x00\x00\x01\x00\x01\xff\xff\xff\xff\xff", names(&["\u{fffd}"])),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&topics(&Bytes::from_static(bytes)), expected, "{bytes:?}");
        }
    }
}
