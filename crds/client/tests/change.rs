//! Writers of assignments against an API server, in this process.
#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Status;
use ottla_crds::{ClusterRef, KafkaAssignment, KafkaAssignmentSpec};
use ottla_kube::change;
use ottla_local_api::{Server, Store};
use ottla_rules::assignment::{Assignment, BrokerId, Incarnation, LeaderEpoch, Live, LiveBroker, PartitionEpoch};

fn live(brokers: &[i32]) -> Live {
    let broker = |id: &i32| (BrokerId(*id), LiveBroker { incarnation: Incarnation(1), draining: false });
    brokers.iter().map(broker).collect()
}

fn partition(number: i32) -> Assignment {
    Assignment::create(number, vec![BrokerId(0), BrokerId(1)], &live(&[0, 1])).unwrap()
}

/// An object with `count` partitions, on a server of its own.
async fn object(count: i32) -> (Server, Api<KafkaAssignment>, KafkaAssignment) {
    let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
    let api = Api::default_namespaced(server.client("default"));
    let spec = KafkaAssignmentSpec {
        cluster_ref: ClusterRef { name: "prod".to_owned() },
        topic_name: "orders".to_owned(),
        partitions: (0..count).map(partition).collect(),
        ..KafkaAssignmentSpec::default()
    };
    let created = api.create(&PostParams::default(), &KafkaAssignment::new("orders.0", spec)).await.unwrap();
    (server, api, created)
}

/// What the death of broker 0 makes of an entry.
fn after_a_death(entry: &Assignment) -> Assignment {
    entry.heal(&live(&[1]), 1).unwrap()
}

#[tokio::test]
async fn several_partitions_of_an_object_change_in_one_write() {
    let (_server, api, read) = object(3).await;
    let next: Vec<Assignment> = read.spec.partitions.iter().map(after_a_death).collect();
    assert_eq!(change::write(&api, &read, &next).await.unwrap(), [0; 0]);
    let now = api.get("orders.0").await.unwrap();
    assert_eq!(now.spec.partitions, next);
    assert_eq!(now.metadata.generation, Some(2), "one write");
}

#[tokio::test]
async fn the_first_change_takes_the_record_of_managed_fields_away_for_good() {
    let (_server, api, read) = object(1).await;
    assert!(read.metadata.managed_fields.is_some(), "the API server records who created it");
    let next = [after_a_death(&read.spec.partitions[0])];
    assert_eq!(change::write(&api, &read, &next).await.unwrap(), [0; 0]);
    assert_eq!(api.get("orders.0").await.unwrap().metadata.managed_fields, None);
    let label = serde_json::json!({ "metadata": { "labels": { "a": "b" } } });
    let labelled = api.patch("orders.0", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    assert_eq!(labelled.metadata.managed_fields, None, "another writer begins no record");
}

#[tokio::test]
async fn writers_of_different_partitions_do_not_disturb_each_other() {
    let (_server, api, read) = object(3).await;
    for entry in &read.spec.partitions {
        assert_eq!(change::write(&api, &read, &[after_a_death(entry)]).await.unwrap(), [0; 0]);
    }
}

#[tokio::test]
async fn a_writer_that_saw_an_older_entry_changes_nothing_and_learns_which() {
    let (_server, api, read) = object(5).await;
    let first = after_a_death(&read.spec.partitions[2]);
    change::write(&api, &read, std::slice::from_ref(&first)).await.unwrap();
    let next: Vec<Assignment> = read.spec.partitions.iter().map(after_a_death).collect();
    assert_eq!(change::write(&api, &read, &next).await.unwrap(), [2]);
    let now = api.get("orders.0").await.unwrap();
    assert!(now.spec.partitions.iter().all(|entry| entry.partition_epoch == PartitionEpoch(1)));
}

#[tokio::test]
async fn the_same_write_twice_is_one_change() {
    let (_server, api, read) = object(1).await;
    let next = [after_a_death(&read.spec.partitions[0])];
    assert_eq!(change::write(&api, &read, &next).await.unwrap(), [0; 0]);
    assert_eq!(change::write(&api, &read, &next).await.unwrap(), [0]);
}

#[tokio::test]
async fn what_the_rules_refuse_is_an_error_and_not_a_stale_read() {
    let (_server, api, read) = object(1).await;
    let mut next = after_a_death(&read.spec.partitions[0]);
    next.leader_epoch = LeaderEpoch::FIRST;
    let error = change::write(&api, &read, &[next]).await.unwrap_err();
    assert!(error.to_string().contains("the leader can not change without a higher leader epoch"), "{error}");
}

#[tokio::test]
async fn partitions_are_added_once() {
    let (_server, api, read) = object(2).await;
    let added = [partition(2), partition(3)];
    assert!(change::append(&api, &read, &added).await.unwrap());
    assert!(!change::append(&api, &read, &added).await.unwrap());
    let now = api.get("orders.0").await.unwrap();
    assert_eq!(now.spec.partitions.len(), 4);
}

#[tokio::test]
async fn a_deleted_topic_is_marked_and_stays_so() {
    let (_server, api, read) = object(1).await;
    change::bury(&api, &read).await.unwrap();
    change::bury(&api, &read).await.unwrap();
    assert!(api.get("orders.0").await.unwrap().spec.deleted);
}

#[tokio::test]
async fn an_outage_is_an_error_that_says_nothing_about_what_was_written() {
    let (server, api, read) = object(1).await;
    server.faults().set_outage(true);
    assert!(change::write(&api, &read, &[after_a_death(&read.spec.partitions[0])]).await.is_err());
}

#[tokio::test]
async fn why_the_api_server_refused_is_one_sentence_and_no_whole_status() {
    let (_server, api, _) = object(1).await;
    let error = api.get("payments.0").await.unwrap_err();
    assert_eq!(change::why(&error), "kafkaassignments.ottla.io \"payments.0\" not found");
    let without_a_sentence = Status::failure("", "TooManyRequests").with_code(429).boxed();
    assert_eq!(change::why(&kube::Error::Api(without_a_sentence)), "TooManyRequests (429)");
}
