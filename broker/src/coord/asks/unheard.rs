//! Topics that clients use and that can't be created: the client asks again and again and never learns why, so the log
//! says it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use crate::ask::AskRefusal;
use crate::env::{self, Instant};

/// How long nothing more is logged about a topic, because clients ask many times a second.
const SILENCE: Duration = Duration::from_secs(60);
/// How many topics are remembered, because clients may invent any number of names.
const MOST: usize = 64;

/// When each topic was last logged.
#[derive(Clone, Debug, Default)]
pub(super) struct Unheard(Arc<Mutex<BTreeMap<Str, Instant>>>);

impl Unheard {
    /// Logs why a topic was not created on its first use, if that was not logged recently.
    pub(super) fn warn(&self, topic: &Str, why: &AskRefusal) {
        // Another broker has created it meanwhile.
        if why.code != ErrorCode::TOPIC_ALREADY_EXISTS && self.is_due(topic, env::now()) {
            tracing::warn!(
                topic = &**topic,
                reason = %why,
                "a client uses a topic that does not exist and can not be created: the client gets a retriable error"
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
    fn a_topic_is_logged_once_a_minute_and_invented_names_are_bounded() {
        let (unheard, now) = (Unheard::default(), env::now());
        let second = Duration::from_secs(1);
        assert!(unheard.is_due(&"a".into(), now) && unheard.is_due(&"b".into(), now));
        assert!(!unheard.is_due(&"a".into(), now + 59 * second));
        assert!(unheard.is_due(&"a".into(), now + 60 * second));
        let made_up = (0..1000).filter(|n| unheard.is_due(&format!("made-up-{n}").into(), now + 60 * second));
        assert_eq!(made_up.count(), MOST - 1);
    }
}
