//! What producers and consumers ask.

use anyhow::{Context, Result, ensure};
use ottla_batch::{BatchBuilder, Codec, NewRecord};
use ottla_e2e::raw::Connection;
use ottla_e2e::wait::until;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, ReplicaState};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m03_metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ottla_wire::m18_api_versions::ApiVersionsRequest;
use ottla_wire::m23_offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_wire::m29_describe_acls::DescribeAclsRequest;
use ottla_wire::m31_delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use ottla_wire::m60_describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use ottla_wire::m75_describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};
use ottla_wire::{Records, Str, Uuid};

use super::{TOPIC, by_id, by_name, create_acl, ids, named, names};
use crate::bed::{Bed, LIMIT, Me};
use crate::row::{Row, at, latest, row, tidied};

/// A batch with one record; of a transaction with these numbers of its producer, or of none.
fn batch(transaction: bool) -> Records {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(NewRecord { timestamp: 1_600_000_000_000, key: None, value: Some(b"value"), headers: &[] });
    let batch = builder.build();
    if !transaction {
        return batch.bytes().clone().into();
    }
    let mut header = *batch.header();
    (header.producer_id, header.producer_epoch, header.base_sequence) = (1_000_000, 0, 0);
    header.attributes |= 16; // of a transaction
    ottla_batch::Batch::seal(header, &batch.body()).bytes().clone().into()
}

fn produce(topics: Vec<(Str, Uuid)>, transactional_id: Option<Str>, acks: i16) -> ProduceRequest {
    let transaction = transactional_id.is_some();
    let topic = |(name, topic_id)| TopicProduceData {
        name,
        topic_id,
        partition_data: vec![PartitionProduceData { index: 0, records: Some(batch(transaction)) }],
    };
    ProduceRequest { transactional_id, acks, timeout_ms: 60_000, topic_data: topics.into_iter().map(topic).collect() }
}

fn fetch(topics: Vec<(Str, Uuid)>) -> FetchRequest {
    let topic = |(topic, topic_id)| {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
        FetchTopic { topic, topic_id, partitions: vec![partition] }
    };
    FetchRequest { session_epoch: -1, topics: topics.into_iter().map(topic).collect(), ..Default::default() }
}

/// What was produced is compared elsewhere.
fn without_records(_: &Me, answer: &mut FetchResponse) {
    for partition in answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.records = Default::default();
    }
}

/// `AclOperation`.
const READ: i8 = 3;

/// Two fetches of a session. Before the first the administrator gives the principal the right to read its topic, and
/// takes that back before the second.
fn session_with_a_withdrawn_right() -> Row {
    let ask = |connection: &mut Connection, me: &Me| -> Result<Option<String>> {
        let admin = &mut Bed::running()?.admin()?;
        let mut acl = create_acl(me, READ);
        acl.creations[0].resource_name = me.topic();
        let created = admin.ask(3, &acl)?.context("an answer")?;
        ensure!(created.results[0].error_code.is_none(), "{created:?}");
        until_acl(admin, me, true)?;
        let first = FetchRequest { session_epoch: 0, ..fetch(vec![(Str::default(), me.topic_id)]) };
        let Some(mut first) = connection.ask(18, &first)? else { return Ok(None) };
        let filter = DeleteAclsFilter {
            resource_type_filter: TOPIC,
            resource_name_filter: Some(me.topic()),
            pattern_type_filter: 3,
            principal_filter: Some(format!("User:{}", me.name).into()),
            host_filter: None,
            operation: READ,
            permission_type: 3,
        };
        let deleted = admin.ask(3, &DeleteAclsRequest { filters: vec![filter] })?.context("an answer")?;
        ensure!(deleted.filter_results[0].error_code.is_none(), "{deleted:?}");
        until_acl(admin, me, false)?;
        let second = FetchRequest { session_id: first.session_id, session_epoch: 1, ..Default::default() };
        let Some(mut second) = connection.ask(18, &second)? else { return Ok(None) };
        for answer in [&mut first, &mut second] {
            answer.session_id = 0;
            without_records(me, answer);
        }
        Ok(Some(format!("{first:?}, then {second:?}")))
    };
    Row { title: "Fetch 18: twice in a session, with a right that is withdrawn".into(), ask: Box::new(ask) }
}

/// Waits until the broker has, or has no longer, the right to read that a principal was given.
fn until_acl(admin: &mut Connection, me: &Me, is_there: bool) -> Result<()> {
    let request = DescribeAclsRequest {
        resource_type_filter: TOPIC,
        resource_name_filter: Some(me.topic()),
        pattern_type_filter: 3,
        principal_filter: Some(format!("User:{}", me.name).into()),
        host_filter: None,
        operation: READ,
        permission_type: 3,
    };
    until(LIMIT, "the change of the ACL to count", || {
        let answer = admin.ask(3, &request)?.context("an answer")?;
        Ok((answer.resources.is_empty() != is_there).then_some(()))
    })
}

pub(super) fn metadata(topics: Vec<(Option<Str>, Uuid)>, create: bool) -> MetadataRequest {
    let topic = |(name, topic_id)| MetadataRequestTopic { name, topic_id };
    MetadataRequest {
        topics: Some(topics.into_iter().map(topic).collect()),
        allow_auto_topic_creation: create,
        include_topic_authorized_operations: true,
        ..Default::default()
    }
}

pub(super) fn tidy_metadata(me: &Me, answer: &mut MetadataResponse) {
    answer.brokers.clear();
    (answer.cluster_id, answer.controller_id) = (None, -1);
    answer.topics.retain(|topic| topic.name.as_ref().is_none_or(|name| name.ends_with(me.name)));
    for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.leader_epoch = 0;
    }
}

pub fn clients() -> Vec<Row> {
    vec![
        latest("anybody", |_| ApiVersionsRequest::default()).only_whether(),
        at(12, "by name", |me| produce(by_name(me), None, -1)),
        latest("by id", |me| produce(by_id(me), None, -1)),
        latest("in a transaction", |me| produce(by_id(me), Some(me.x()), -1)),
        Row {
            title: "Produce 12: without acknowledgement".into(),
            ask: Box::new(|connection, me| {
                connection.send(12, &produce(vec![(me.topic(), Uuid::nil())], None, 0))?;
                // Answered if the connection is still there.
                let next = connection.ask(0, &ApiVersionsRequest::default())?;
                Ok(next.map(|_| "the connection stays".to_owned()))
            }),
        },
        row("by name", 12, |me| fetch(by_name(me)), without_records),
        tidied("by id", |me| fetch(by_id(me)), without_records),
        tidied(
            "as a follower",
            |me| FetchRequest { replica_state: ReplicaState { replica_id: 7, replica_epoch: -1 }, ..fetch(by_id(me)) },
            without_records,
        ),
        session_with_a_withdrawn_right(),
        latest("earliest", |me| ListOffsetsRequest {
            replica_id: -1,
            topics: names(me)
                .map(|name| ListOffsetsTopic {
                    name,
                    partitions: vec![ListOffsetsPartition { timestamp: -2, ..Default::default() }],
                })
                .into(),
            ..Default::default()
        }),
        tidied("by name", |me| metadata(named(me), false), tidy_metadata),
        tidied("by id", |me| metadata(ids(me).map(|id| (None, id)).into(), false), tidy_metadata),
        tidied(
            "everything",
            |_| MetadataRequest { topics: None, include_topic_authorized_operations: true, ..Default::default() },
            tidy_metadata,
        ),
        row(
            "with the cluster's operations",
            10,
            |_| MetadataRequest {
                topics: Some(Vec::new()),
                include_cluster_authorized_operations: true,
                ..Default::default()
            },
            tidy_metadata,
        ),
        latest("some", |me| DescribeTopicPartitionsRequest {
            topics: names(me).map(|name| TopicRequest { name }).into(),
            response_partition_limit: 10,
            ..Default::default()
        }),
        tidied(
            "all",
            |_| DescribeTopicPartitionsRequest { response_partition_limit: 2000, ..Default::default() },
            |me, answer: &mut DescribeTopicPartitionsResponse| {
                answer.topics.retain(|topic| topic.name.as_ref().is_none_or(|name| name.ends_with(me.name)));
            },
        ),
        tidied(
            "with operations",
            |_| DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() },
            |_, answer: &mut DescribeClusterResponse| answer.brokers.clear(),
        ),
        latest("of a leader", |me| OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: names(me)
                .map(|topic| OffsetForLeaderTopic {
                    topic,
                    partitions: vec![OffsetForLeaderPartition { current_leader_epoch: -1, ..Default::default() }],
                })
                .into(),
        }),
    ]
}
