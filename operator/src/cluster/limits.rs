//! Peers of listeners that the API server refuses in the brokers' NetworkPolicy: what admission of the KafkaCluster
//! can't see, or did not see when the cluster was created.
//!
//! Always: clients get no further than before, or than the spec says. Until the peers are corrected, the NetworkPolicy
//! from before stays, and a new cluster's lets nobody but brokers and operators in where peers are named.

use super::apply::RefusedObject;
use super::build::network_policy::asked_for;
use super::validate::ValidatedCluster;
use crate::plan::platform::Obstacle;

/// What to say of the NetworkPolicy of this name, which the API server refuses.
pub fn refused(cluster: &ValidatedCluster, name: &str, refused: &RefusedObject) -> Obstacle {
    let causes = refused.why.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<String> =
        causes.filter_map(|cause| Some(format!("{}: {}", asked_for(cluster, &cause.field)?, cause.message))).collect();
    let why = if fields.is_empty() { refused.why.message.clone() } else { fields.join("; ") };
    let stands = if refused.has_stayed {
        "the one from before stays, for all listeners: who could connect still can, and nobody else"
    } else {
        "nobody but brokers and operators may connect to listeners with networkPolicyPeers"
    };
    let message = format!(
        "the API server refuses the NetworkPolicy {name}: {why}. Until that is corrected in spec.listeners, {stands}"
    );
    Obstacle::new("NetworkPolicyRefused", message)
}
