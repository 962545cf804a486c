//! Topics that clients use and that can't be created: the client asks again and again and is never told why, so the log
//! is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use crate::ask::Refused;
use crate::env::{self, Instant};

/// How long nothing more is said about a topic: clients ask many times a second.
const SILENCE: Duration = Duration::from_secs(60);
/// Topics that are remembered: clients may make up as many names as they like.
const MOST: usize = 64;

/// When each topic was spoken of last.
#[derive(Clone, Debug, Default)]
pub(super) struct Unheard(Arc<Mutex<BTreeMap<Str, Instant>>>);

impl Unheard {
    /// Says why a topic was not created on its first use, if that was not said just now.
    pub(super) fn tell(&self, topic: &Str, why: &Refused) {
        // Another broker was asked, too.
        if why.code != ErrorCode::TOPIC_ALREADY_EXISTS && self.is_due(topic, env::now()) {
            tracing::warn!(
                topic = &**topic,
                reason = %why,
                "a client uses a topic that does not exist and can not be created: it is told nothing but to ask again"
            );
        }
    }

    fn is_due(&self, topic: &Str, now: Instant) -> bool {
        let mut spoken_of = self.0.lock();
        spoken_of.retain(|_, last| now - *last < SILENCE);
        let is_due = spoken_of.len() < MOST && !spoken_of.contains_key(topic);
        if is_due {
            spoken_of.insert(topic.clone(), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_spoken_of_once_a_minute_and_not_of_all_that_a_client_makes_up() {
        let (unheard, now) = (Unheard::default(), env::now());
        let second = Duration::from_secs(1);
        assert!(unheard.is_due(&"a".into(), now) && unheard.is_due(&"b".into(), now));
        assert!(!unheard.is_due(&"a".into(), now + 59 * second));
        assert!(unheard.is_due(&"a".into(), now + 60 * second));
        let made_up = (0..1000).filter(|n| unheard.is_due(&format!("made-up-{n}").into(), now + 60 * second));
        assert_eq!(made_up.count(), MOST - 1);
    }
}
