//! Watches of an API server, in this process.
#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use futures::StreamExt;
use kube::runtime::watcher::Event;
use kube::{Api, api::PostParams};
use ottla_crds::{ClusterRef, KafkaTopic, KafkaTopicSpec};
use ottla_kube::watch;
use ottla_local_api::{Server, Store};

#[tokio::test]
async fn watched_objects_come_without_who_owns_which_field() {
    let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
    let api: Api<KafkaTopic> = Api::default_namespaced(server.client("default"));
    let create = async |name: &str| {
        let spec = KafkaTopicSpec { cluster_ref: ClusterRef { name: "prod".to_owned() }, ..KafkaTopicSpec::default() };
        let created = api.create(&PostParams::default(), &KafkaTopic::new(name, spec)).await.unwrap();
        assert!(created.metadata.managed_fields.is_some_and(|fields| !fields.is_empty()), "the server sends them");
    };
    create("listed").await;
    let mut events = Box::pin(watch::events(api.clone(), watch::config()));
    let mut shown = Vec::new();
    while shown.len() < 2 {
        match events.next().await.unwrap().unwrap() {
            Event::InitApply(object) | Event::Apply(object) => {
                assert_eq!(object.metadata.managed_fields, None);
                shown.push(object.metadata.name.unwrap());
            }
            Event::InitDone => create("watched").await,
            Event::Init | Event::Delete(_) => {}
        }
    }
    assert_eq!(shown, ["listed", "watched"]);
}
