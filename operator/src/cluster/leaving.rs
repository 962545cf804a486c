//! Brokers that the spec no longer asks for: the highest ids leave, and no broker leaves that holds a replica.
//!
//! Always: a pod is removed only after a consistent list of assignments in which no partition names its broker or a
//! higher one. Its claim stays: if a replica was placed there meanwhile, the broker returns and nothing is lost.

use kube::Client;
use kube::api::{Api, ListParams};
use ottla_crds::{KafkaAssignment, names};
use ottla_rules::assignment::BrokerId;
use tokio::time::Duration;

use super::apply::Failed;
use super::read::Read;
use super::validate::ValidatedCluster;
use crate::plan::condition::named;
use crate::plan::platform::Obstacle;

/// The time between two checks whether leaving brokers still hold replicas: no watch shows it.
pub const LOOK: Duration = Duration::from_secs(10);

/// The number of brokers: as many as the spec asks for, and higher ids that have a pod, or that hold replicas on an
/// existing volume.
pub fn present(cluster: &ValidatedCluster, read: &Read) -> i32 {
    let asked_for = read.stateful_set.as_ref().and_then(|set| set.spec.as_ref()?.replicas).unwrap_or(0);
    let told = read.cluster.iter().filter_map(|object| object.status.as_ref()).flat_map(|status| &status.brokers);
    let with_volume = told.filter(|broker| read.claims.contains_key(&names::claim(&cluster.name, broker.id)));
    let highest = with_volume.map(|broker| broker.id.0.saturating_add(1)).max().unwrap_or(0);
    cluster.replicas.max(asked_for).max(highest)
}

/// How many of the `present` brokers stay: all up to the highest that holds a replica; and what leaving brokers wait
/// for, if any does.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn staying(
    client: &Client,
    cluster: &ValidatedCluster,
    present: i32,
) -> Result<(i32, Option<Obstacle>), Failed> {
    let api: Api<KafkaAssignment> = Api::namespaced(client.clone(), &cluster.namespace);
    let of_cluster = ListParams::default().labels(&format!("{}={}", names::CLUSTER_LABEL, cluster.name));
    let objects = api.list(&of_cluster).await;
    let objects = objects.map_err(|source| Failed::new("list", "KafkaAssignment", &cluster.name, source))?;
    Ok(held(cluster, &objects.items, present))
}

fn held(cluster: &ValidatedCluster, objects: &[KafkaAssignment], present: i32) -> (i32, Option<Obstacle>) {
    let wanted = cluster.replicas;
    let leaving = |id: &&BrokerId| (wanted..present).contains(&id.0);
    let entries = objects.iter().flat_map(|object| &object.spec.partitions);
    let held: Vec<i32> = entries.flat_map(|entry| entry.replicas.iter().filter(leaving)).map(|id| id.0).collect();
    let Some(highest) = held.iter().max() else { return (wanted, None) };
    let holds = held.iter().filter(|id| *id == highest).count();
    let message = format!(
        "spec.brokers.replicas is {wanted}, and {} {} no replica: broker {highest} holds {holds} replica{}. Move what \
         it holds with kafka-reassign-partitions, or set spec.brokers.replicas to {}",
        named("broker", wanted..=*highest),
        if *highest == wanted { "leaves when it holds" } else { "leave when they hold" },
        if holds == 1 { "" } else { "s" },
        highest + 1
    );
    (highest + 1, Some(Obstacle::new("BrokersLeaving", message)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_crds::KafkaCluster;
    use serde_json::json;

    use super::*;

    fn cluster(replicas: i32) -> ValidatedCluster {
        let spec = json!({ "brokers": { "replicas": replicas, "storage": { "size": "1Gi" } } });
        ValidatedCluster::new(&KafkaCluster::new("prod", serde_json::from_value(spec).unwrap()), "ottla:1").unwrap()
    }

    #[test]
    fn a_mistaken_number_of_brokers_is_taken_back_down_to_the_highest_that_holds_something() {
        let assignment = |replicas: &[i32]| -> KafkaAssignment {
            let entry =
                json!({ "partition": 0, "replicas": replicas, "leaderEpoch": 1, "partitionEpoch": 1, "isr": [] });
            serde_json::from_value(json!({
                "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaAssignment", "metadata": { "name": "a" },
                "spec": {
                    "clusterRef": { "name": "prod" }, "topicName": "a", "first": 0, "partitions": [entry],
                    "topicId": "8c8d9f0e-0b0c-4b9b-9c6a-9b0a6f1d2e40",
                },
            }))
            .unwrap()
        };
        let (few, more) = (assignment(&[0, 1]), assignment(&[4, 2]));
        assert_eq!(held(&cluster(3), std::slice::from_ref(&few), 30), (3, None));
        let (stay, obstacle) = held(&cluster(3), &[few, more.clone(), more], 30);
        assert_eq!(stay, 5);
        let message = obstacle.unwrap().message;
        assert!(
            message.contains("brokers 3–4 leave when") && message.contains("broker 4 holds 2 replicas"),
            "{message}"
        );
    }

    #[test]
    fn a_broker_that_has_left_too_early_comes_back_for_what_is_on_its_volume() {
        let set = |replicas: i32| json!({ "spec": { "replicas": replicas, "selector": {}, "template": {} } });
        let told = json!({ "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster", "metadata": { "name": "prod" },
            "spec": {}, "status": { "brokers": [{ "id": 4, "state": "Offline" }, { "id": 7, "state": "Offline" }] } });
        let mut read = Read {
            cluster: Some(Arc::new(serde_json::from_value(told).unwrap())),
            stateful_set: Some(Arc::new(serde_json::from_value(set(3)).unwrap())),
            ..Read::default()
        };
        assert_eq!(present(&cluster(3), &read), 3, "nothing is known of such volumes");
        read.claims.insert("data-prod-broker-4".to_owned(), Arc::default());
        assert_eq!(present(&cluster(3), &read), 5);
        read.stateful_set = Some(Arc::new(serde_json::from_value(set(30)).unwrap()));
        assert_eq!(present(&cluster(3), &read), 30);
    }
}
