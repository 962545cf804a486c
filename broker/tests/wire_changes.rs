//! A cluster whose objects administrators of Kubernetes alone change: a request that only validates is refused as the
//! change itself would be.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_broker::ask::Ask;
use ottla_broker::image::ClusterImage;
use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::m33_alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
use ottla_wire::m37_create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::m44_incremental_alter_configs::{self as incremental, IncrementalAlterConfigsRequest};
use ottla_wire::m48_describe_client_quotas::QuotaEntity;
use ottla_wire::m49_alter_client_quotas::{AlterClientQuotasRequest, QuotaAlteration, QuotaOp};
use ottla_wire::{ApiKey, ErrorCode, Str};

use crate::common::{Client, OneBroker, topic};

/// `ConfigResource.Type`s, each with a resource that has this setting, and the objects that have it.
const RESOURCES: [(i8, &str, &str, &str, &str); 4] = [
    (2, "orders", "retention.ms", "1000", "KafkaTopic of the topic orders"),
    (4, "", "log.retention.ms", "1000", "KafkaCluster prod"),
    (4, "0", "leader.replication.throttled.rate", "1000000", "KafkaCluster prod"),
    (32, "readers", "consumer.session.timeout.ms", "50000", "KafkaCluster prod"),
];

/// What an answer says of each thing that was asked for: the code, and the message.
type Said = Vec<(ErrorCode, Option<Str>)>;

async fn create_topic(client: &mut Client, validate_only: bool) -> Said {
    let new = CreatableTopic { name: "new".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![new], timeout_ms: 100, validate_only };
    let answer = client.call(7, &request).await;
    answer.topics.into_iter().map(|topic| (topic.error_code, topic.error_message)).collect()
}

async fn create_partitions(client: &mut Client, validate_only: bool) -> Said {
    let topics = vec![CreatePartitionsTopic { name: "orders".into(), count: 2, assignments: None }];
    let answer = client.call(3, &CreatePartitionsRequest { topics, timeout_ms: 100, validate_only }).await;
    answer.results.into_iter().map(|topic| (topic.error_code, topic.error_message)).collect()
}

async fn alter_configs(client: &mut Client, validate_only: bool) -> Said {
    let resource = |(kind, resource, name, value, _): (i8, &str, &str, &str, &str)| AlterConfigsResource {
        resource_type: kind,
        resource_name: resource.into(),
        configs: vec![AlterableConfig { name: name.into(), value: Some(value.into()) }],
    };
    let resources = RESOURCES.map(resource).into();
    let answer = client.call(2, &AlterConfigsRequest { resources, validate_only }).await;
    answer.responses.into_iter().map(|resource| (resource.error_code, resource.error_message)).collect()
}

async fn incremental_alter_configs(client: &mut Client, validate_only: bool) -> Said {
    let setting = |name: &str, value: &str| incremental::AlterableConfig {
        name: name.into(),
        config_operation: 0,
        value: Some(value.into()),
    };
    let resource = |(kind, resource, name, value, _): (i8, &str, &str, &str, &str)| incremental::AlterConfigsResource {
        resource_type: kind,
        resource_name: resource.into(),
        configs: vec![setting(name, value)],
    };
    let resources = RESOURCES.map(resource).into();
    let answer = client.call(1, &IncrementalAlterConfigsRequest { resources, validate_only }).await;
    answer.responses.into_iter().map(|resource| (resource.error_code, resource.error_message)).collect()
}

async fn alter_client_quotas(client: &mut Client, validate_only: bool) -> Said {
    let entity = vec![QuotaEntity { entity_type: "user".into(), entity_name: Some("alice".into()) }];
    let ops = vec![QuotaOp { key: "producer_byte_rate".into(), value: 1e6, remove: false }];
    let entries = vec![QuotaAlteration { entity, ops }];
    let answer = client.call(1, &AlterClientQuotasRequest { entries, validate_only }).await;
    answer.entries.into_iter().map(|entry| (entry.error_code, entry.error_message)).collect()
}

/// Each API whose requests may only validate, what it says, and of which objects.
async fn validated(client: &mut Client) -> Vec<(ApiKey, Said, Vec<&'static str>)> {
    let settings = RESOURCES.map(|(.., objects)| objects).to_vec();
    vec![
        (ApiKey::CreateTopics, create_topic(client, true).await, vec!["KafkaTopic of the topic new"]),
        (ApiKey::CreatePartitions, create_partitions(client, true).await, vec!["KafkaTopic of the topic orders"]),
        (ApiKey::AlterConfigs, alter_configs(client, true).await, settings.clone()),
        (ApiKey::IncrementalAlterConfigs, incremental_alter_configs(client, true).await, settings),
        (
            ApiKey::AlterClientQuotas,
            alter_client_quotas(client, true).await,
            vec!["KafkaUsers, or the KafkaCluster prod"],
        ),
    ]
}

#[tokio::test]
async fn what_is_only_validated_is_refused_as_the_change_would_be() {
    let data = tempfile::tempdir().unwrap();
    let orders = topic("orders", &[]);
    let mut one = OneBroker::start(data.path(), false, vec![orders.clone()]).await;
    one.led(&orders).await;
    let mut client = Client::connect(one.port).await;
    for (api, said, objects) in validated(&mut client).await {
        let allowed: Said = objects.iter().map(|_| (ErrorCode::NONE, None)).collect();
        assert_eq!(said, allowed, "{api:?}");
    }

    let refusing = ClusterImage { no_wire_changes: Some("prod".into()), ..(**one.images.borrow()).clone() };
    one.images.send_replace(Arc::new(refusing));
    for (api, said, objects) in validated(&mut client).await {
        let refused = |objects: &&str| {
            let message = format!("spec.wireChanges of the KafkaCluster prod is Refuse: change the {objects} instead.");
            (ErrorCode::POLICY_VIOLATION, Some(message.into()))
        };
        assert_eq!(said, objects.iter().map(refused).collect::<Said>(), "{api:?}");
    }
    let mut asked = Vec::new();
    while let Ok(ask) = one.asks.try_recv() {
        asked.extend((!matches!(ask, Ask::ChangeIsr { .. })).then_some(ask));
    }
    assert!(asked.is_empty(), "nothing was to be changed: {asked:?}");
    one.broker.stop().await;
}

/// An API that gets the field must be added to `validated`, too.
#[test]
fn every_api_with_that_field_is_played() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/wire/src");
    let mut with_field = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_file() && std::fs::read_to_string(&path).unwrap().contains("validate_only") {
            with_field.insert(name);
        }
    }
    let played = [
        "m19_create_topics",
        "m33_alter_configs",
        "m37_create_partitions",
        "m44_incremental_alter_configs",
        "m49_alter_client_quotas",
    ];
    assert_eq!(with_field, played.map(str::to_owned).into());
}
