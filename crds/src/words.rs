//! Values of enums that a newer version may add: an older version still reads the object.
//!
//! The value stays in the object: each writer patches only the fields that it changes (`ottla_kube::change`).

use ottla_rules::plan::roster::{Order, Wanted};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{
    BrokerState, DeletionPolicy, Interrupt, ListenerType, Occasion, OnLostNode, OperatorUpgrade, RebalanceMode,
    RebalanceState, RemovedVolumes, RolloutPolicy, RolloutState, Unsatisfiable, WireChanges,
};

/// An unknown policy keeps the data.
pub(crate) fn deletion_policy<'de, D: Deserializer<'de>>(field: D) -> Result<DeletionPolicy, D::Error> {
    known_or(field, DeletionPolicy::Retain)
}

/// Something else than deletion is asked for.
pub(crate) fn removed_volumes<'de, D: Deserializer<'de>>(field: D) -> Result<RemovedVolumes, D::Error> {
    known_or(field, RemovedVolumes::Keep)
}

/// A volume is replaced only by a word that asks for that.
pub(crate) fn on_lost_node<'de, D: Deserializer<'de>>(field: D) -> Result<OnLostNode, D::Error> {
    known_or(field, OnLostNode::Wait)
}

/// An operator does nothing to a broker by an order that it does not know.
pub(crate) fn order<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Order>, D::Error> {
    known_or(field, None)
}

/// What is restricted in an unknown way is refused.
pub(crate) fn wire_changes<'de, D: Deserializer<'de>>(field: D) -> Result<WireChanges, D::Error> {
    known_or(field, WireChanges::Refuse)
}

/// A broker in an unknown state counts as live: counting it as dead would stop producers.
pub(crate) fn broker_state<'de, D: Deserializer<'de>>(field: D) -> Result<BrokerState, D::Error> {
    known_or(field, BrokerState::Online)
}

/// Only the operator acts on it, and it computes the value itself.
pub(crate) fn wanted<'de, D: Deserializer<'de>>(field: D) -> Result<Wanted, D::Error> {
    known_or(field, Wanted::Serve)
}

/// Brokers need a listener's name and port only; an operator builds nothing for a type that it does not know.
pub(crate) fn listener_type<'de, D: Deserializer<'de>>(field: D) -> Result<ListenerType, D::Error> {
    known_or(field, ListenerType::Unknown)
}

/// Brokers do not read it; an operator builds no pods by a rule that it does not know.
pub(crate) fn unsatisfiable<'de, D: Deserializer<'de>>(field: D) -> Result<Unsatisfiable, D::Error> {
    known_or(field, Unsatisfiable::Unknown)
}

/// A roll by an unknown policy waits for a person.
pub(crate) fn rollout_policy<'de, D: Deserializer<'de>>(field: D) -> Result<RolloutPolicy, D::Error> {
    known_or(field, RolloutPolicy::Manual)
}

/// An upgrade that is handled in an unknown way restarts nobody.
pub(crate) fn operator_upgrade<'de, D: Deserializer<'de>>(field: D) -> Result<OperatorUpgrade, D::Error> {
    known_or(field, OperatorUpgrade::Hold)
}

/// An unknown permission interrupts nothing.
pub(crate) fn interrupt<'de, D: Deserializer<'de>>(field: D) -> Result<Interrupt, D::Error> {
    known_or(field, Interrupt::Never)
}

/// In an unknown state new pods get the revision that is known to work.
pub(crate) fn rollout_state<'de, D: Deserializer<'de>>(field: D) -> Result<RolloutState, D::Error> {
    known_or(field, RolloutState::Waiting)
}

/// Nothing is proposed by a rule that an operator does not know.
pub(crate) fn rebalance_mode<'de, D: Deserializer<'de>>(field: D) -> Result<RebalanceMode, D::Error> {
    known_or(field, RebalanceMode::Unknown)
}

/// Nothing moves in an unknown state, and it asks nobody for an approval.
pub(crate) fn rebalance_state<'de, D: Deserializer<'de>>(field: D) -> Result<RebalanceState, D::Error> {
    known_or(field, RebalanceState::Done)
}

/// On an unknown occasion nothing moves.
pub(crate) fn occasions<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<Occasion>, D::Error> {
    let words = Vec::<Value>::deserialize(field)?;
    let occasion = |word: Value| known_or(word, Occasion::Unknown).map_err(D::Error::custom);
    words.into_iter().map(occasion).collect()
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
            tracing::warn!(word = %value, taken_for = ?otherwise, "an object has a value that this version of Ottla \
            does not know");
            Ok(otherwise)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{KafkaTopicSpec, Listener, Rollout, RolloutStatus, Storage, TopologySpread};

    use super::*;

    #[test]
    fn an_unknown_value_of_a_newer_version_is_read_as_the_safe_one() {
        let policy = |word: Value| {
            let spec = json!({ "clusterRef": { "name": "prod" }, "deletionPolicy": word });
            serde_json::from_value::<KafkaTopicSpec>(spec).map(|spec| spec.deletion_policy)
        };
        assert_eq!(policy(json!("Delete")).unwrap(), DeletionPolicy::Delete);
        assert_eq!(policy(json!("Archive")).unwrap(), DeletionPolicy::Retain);
        assert!(policy(json!(7)).is_err(), "no word at all");

        let storage = json!({ "size": "1Gi", "removed": "Archive", "onLostNode": "Rebuild" });
        let storage: Storage = serde_json::from_value(storage).unwrap();
        assert_eq!((storage.removed, storage.on_lost_node), (RemovedVolumes::Keep, OnLostNode::Wait));

        let rollout = json!({ "policy": "Tide", "operatorUpgrade": "Ask", "interrupt": "Always" });
        let rollout: Rollout = serde_json::from_value(rollout).unwrap();
        assert_eq!((rollout.policy, rollout.operator_upgrade), (RolloutPolicy::Manual, OperatorUpgrade::Hold));
        assert_eq!(rollout.interrupt, Interrupt::Never);
        let status: RolloutStatus = serde_json::from_value(json!({ "state": "Baking", "from": "a" })).unwrap();
        assert_eq!(status.pinned(), "a");

        let listener = |word: Value| {
            let listener = json!({ "name": "outside", "port": 9094, "type": word });
            serde_json::from_value::<Listener>(listener).map(|listener| listener.type_)
        };
        assert_eq!(listener(json!("nodePort")).unwrap(), ListenerType::NodePort);
        assert_eq!(listener(json!("gateway")).unwrap(), ListenerType::Unknown);
        assert!(listener(json!(7)).is_err(), "no word at all");
        let spread = json!({ "topologyKey": "zone", "whenUnsatisfiable": "Evict" });
        let spread: TopologySpread = serde_json::from_value(spread).unwrap();
        assert_eq!(spread.when_unsatisfiable, Unsatisfiable::Unknown);
    }
}
