//! Topics that are made, changed and deleted.

use ottla_wire::m17_sasl_handshake::SaslHandshakeRequest;
use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::m20_delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::m21_delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::m36_sasl_authenticate::SaslAuthenticateRequest;
use ottla_wire::m37_create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::{Str, Uuid};

use super::clients::{metadata, tidy_metadata};
use super::{named, names};
use crate::bed::Me;
use crate::row::{Row, at, latest, tidied};

pub fn of_topics() -> Vec<Row> {
    let delete = |topics: Vec<(Option<Str>, Uuid)>| {
        let topic = |(name, topic_id)| DeleteTopicState { name, topic_id };
        DeleteTopicsRequest {
            topics: topics.into_iter().map(topic).collect(),
            timeout_ms: 60_000,
            ..Default::default()
        }
    };
    let creations = |me: &Me| -> Vec<_> {
        [me.new_topic(), me.topic()]
            .map(|name| CreatableTopic { name, num_partitions: 1, replication_factor: 1, ..Default::default() })
            .into()
    };
    vec![
        tidied(
            "a new one and one that there is",
            move |me| CreateTopicsRequest { topics: creations(me), timeout_ms: 60_000, ..Default::default() },
            |_, answer: &mut ottla_wire::m19_create_topics::CreateTopicsResponse| {
                for topic in &mut answer.topics {
                    if let Some(configs) = &mut topic.configs {
                        configs.retain(|config| config.name == "retention.ms");
                    }
                }
            },
        ),
        latest("of two topics", |me| CreatePartitionsRequest {
            topics: names(me).map(|name| CreatePartitionsTopic { name, count: 2, assignments: None }).into(),
            timeout_ms: 60_000,
            validate_only: true,
        }),
        // Retention may have come before.
        tidied(
            "of two topics",
            |me| DeleteRecordsRequest {
                topics: names(me)
                    .map(|name| DeleteRecordsTopic { name, partitions: vec![DeleteRecordsPartition::default()] })
                    .into(),
                timeout_ms: 60_000,
            },
            |_, answer: &mut ottla_wire::m21_delete_records::DeleteRecordsResponse| {
                for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.low_watermark = partition.low_watermark.min(0);
                }
            },
        ),
        latest("one that there is not", move |me| delete(vec![(Some(me.missing()), Uuid::nil())])),
        latest("by id, one that there is not", move |me| delete(vec![(None, me.missing_id())])),
        latest("by name", move |me| delete(vec![(Some(me.new_topic()), Uuid::nil())])),
        latest("by id", move |me| delete(vec![(None, me.topic_id)])),
        latest("that are gone", move |me| delete(named(me))),
        // It is created a moment later, and no row after this one lists topics.
        tidied("one to be created", |me| metadata(vec![(Some(me.asked_for()), Uuid::nil())], true), tidy_metadata),
        at(1, "after the login", |_| SaslHandshakeRequest { mechanism: "SCRAM-SHA-256".into() }),
        latest("after the login", |_| SaslAuthenticateRequest { auth_bytes: "n,,n=x,r=y".into() }),
    ]
}
