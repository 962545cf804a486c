//! Words that a newer version may add to a list of words: an older one reads the object all the same.
//!
//! The word stays in the object: whoever writes there changes only what has changed ([`crate::change`]).

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{BrokerState, DeletionPolicy};

/// An unknown policy keeps the data.
pub(crate) fn deletion_policy<'de, D: Deserializer<'de>>(field: D) -> Result<DeletionPolicy, D::Error> {
    known_or(field, DeletionPolicy::Retain)
}

/// A broker in an unknown state counts as there: to take it for dead would stop producers.
pub(crate) fn broker_state<'de, D: Deserializer<'de>>(field: D) -> Result<BrokerState, D::Error> {
    known_or(field, BrokerState::Online)
}

fn known_or<'de, D: Deserializer<'de>, T: DeserializeOwned + std::fmt::Debug>(
    field: D,
    otherwise: T,
) -> Result<T, D::Error> {
    let value = Value::deserialize(field)?;
    match T::deserialize(&value) {
        Ok(known) => Ok(known),
        Err(error) if !value.is_string() => Err(D::Error::custom(error)),
        Err(_) => {
            tracing::warn!(word = %value, taken_for = ?otherwise, "an object says a word that this version does not know");
            Ok(otherwise)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::KafkaTopicSpec;

    use super::*;

    #[test]
    fn a_word_of_a_newer_version_is_read_as_the_careful_one() {
        let policy = |word: Value| {
            let spec = json!({ "clusterRef": { "name": "prod" }, "deletionPolicy": word });
            serde_json::from_value::<KafkaTopicSpec>(spec).map(|spec| spec.deletion_policy)
        };
        assert_eq!(policy(json!("Delete")).unwrap(), DeletionPolicy::Delete);
        assert_eq!(policy(json!("Archive")).unwrap(), DeletionPolicy::Retain);
        assert!(policy(json!(7)).is_err(), "no word at all");
    }
}
