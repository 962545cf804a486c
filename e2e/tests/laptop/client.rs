//! A small Kafka client: just what these tests ask.

use anyhow::{Context, Result, ensure};
use ottla_batch::{BatchBuilder, Batches, Codec, NewRecord};
use ottla_e2e::raw::Connection;
use ottla_e2e::wait::until;
use ottla_wire::m00_produce::{PartitionProduceData, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchTopic};
use ottla_wire::m03_metadata::{MetadataRequestTopic, MetadataResponse};
use ottla_wire::m08_offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::m19_create_topics::CreatableTopic;
use ottla_wire::{
    CreateTopicsRequest, ErrorCode, FetchRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
    ProduceRequest, Records,
};

use crate::bed::LIMIT;

const CLOSED: &str = "the broker closed the connection";

pub fn create(connection: &mut Connection, name: &str, partitions: i32) -> Result<()> {
    let topic =
        CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let answer = connection.ask(7, &request)?.context(CLOSED)?;
    let code = answer.topics.first().context("one topic was asked for")?.error_code;
    ensure!(code.is_none(), "{code:?}");
    Ok(())
}

pub fn metadata(connection: &mut Connection, topic: &str) -> Result<MetadataResponse> {
    let topics = Some(vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }]);
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    connection.ask(12, &request)?.context(CLOSED)
}

/// The leaders of a topic's partitions, by number; none while the topic is unknown.
pub fn leaders(connection: &mut Connection, topic: &str) -> Result<Vec<i32>> {
    let answer = metadata(connection, topic)?;
    let mut partitions: Vec<_> = answer.topics.into_iter().flat_map(|topic| topic.partitions).collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    Ok(partitions.iter().map(|partition| partition.leader_id).collect())
}

/// Waits until the topic has this many partitions and all are led.
pub fn wait_for_leaders(connection: &mut Connection, topic: &str, count: usize) -> Result<Vec<i32>> {
    until(LIMIT, &format!("{count} leaders of {topic}"), || {
        let leaders = leaders(connection, topic)?;
        Ok((leaders.len() == count && leaders.iter().all(|&leader| leader >= 0)).then_some(leaders))
    })
}

/// One try with acks=all: the offset, or why not.
pub fn try_produce(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    value: &[u8],
) -> Result<Result<i64, ErrorCode>> {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(NewRecord { timestamp: 1_600_000_000_000, value: Some(value), ..Default::default() });
    let records = Some(Records::from(batch.build().bytes().clone()));
    let partition_data = vec![PartitionProduceData { index: partition, records }];
    let topic_data = vec![TopicProduceData { name: topic.into(), partition_data, ..Default::default() }];
    let request = ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data, ..Default::default() };
    let answer = connection.ask(9, &request)?.context(CLOSED)?;
    let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    let partition = partition.context("one partition was asked for")?;
    Ok(if partition.error_code.is_none() { Ok(partition.base_offset) } else { Err(partition.error_code) })
}

/// Produces; a leader may need a moment to learn that it is one.
pub fn produce(connection: &mut Connection, topic: &str, partition: i32, value: &[u8]) -> Result<i64> {
    until(LIMIT, &format!("{topic}-{partition} to take a record"), || {
        match try_produce(connection, topic, partition, value)? {
            Ok(offset) => Ok(Some(offset)),
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Ok(None),
            Err(code) => anyhow::bail!("produce to {topic}-{partition}: {code:?}"),
        }
    })
}

/// All records of a partition that can be read, from the beginning: offsets and values.
pub fn read(connection: &mut Connection, topic: &str, partition: i32) -> Result<Vec<(i64, Vec<u8>)>> {
    let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut next = 0;
    loop {
        let asked =
            FetchPartition { partition, fetch_offset: next, partition_max_bytes: 8 << 20, ..Default::default() };
        let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() }];
        let request = FetchRequest { max_wait_ms: 100, min_bytes: 1, topics, ..Default::default() };
        let answer = connection.ask(12, &request)?.context(CLOSED)?;
        let partition = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let partition = partition.context("one partition was asked for")?;
        if [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION].contains(&partition.error_code) {
            std::thread::yield_now();
            continue;
        }
        ensure!(partition.error_code.is_none(), "fetch from {topic}: {:?}", partition.error_code);
        let records = partition.records.unwrap_or_default();
        // A response that was decoded lies in one piece.
        let bytes = records.as_bytes().cloned().unwrap_or_default();
        for batch in Batches::new(bytes) {
            let batch = batch?;
            for record in batch.records(8 << 20)? {
                let record = record?;
                let offset = batch.header().base_offset + i64::from(record.offset_delta);
                found.push((offset, record.value().unwrap_or_default().to_vec()));
            }
            next = batch.header().next_offset();
        }
        if next >= partition.high_watermark {
            return Ok(found);
        }
    }
}

pub fn commit(connection: &mut Connection, group: &str, topic: &str, offset: i64) -> Result<()> {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topics =
        vec![OffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() }];
    let request = OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() };
    until(LIMIT, "the group's coordinator", || {
        let answer = connection.ask(8, &request)?.context(CLOSED)?;
        let code = answer.topics.iter().flat_map(|topic| &topic.partitions).next().context("one")?.error_code;
        ensure!(code.is_none() || is_coordinator_away(code), "commit: {code:?}");
        Ok(code.is_none().then_some(()))
    })
}

pub fn committed(connection: &mut Connection, group: &str, topic: &str) -> Result<i64> {
    let topics =
        vec![OffsetFetchRequestTopics { name: topic.into(), partition_indexes: vec![0], ..Default::default() }];
    let groups = vec![OffsetFetchRequestGroup { group_id: group.into(), topics: Some(topics), ..Default::default() }];
    let request = OffsetFetchRequest { groups, ..Default::default() };
    until(LIMIT, "the group's coordinator", || {
        let answer = connection.ask(8, &request)?.context(CLOSED)?;
        let group = answer.groups.first().context("one group was asked for")?;
        if is_coordinator_away(group.error_code) {
            return Ok(None);
        }
        let partition = group.topics.iter().flat_map(|topic| &topic.partitions).next();
        Ok(Some(partition.context("one partition was asked for")?.committed_offset))
    })
}

fn is_coordinator_away(code: ErrorCode) -> bool {
    [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS]
        .contains(&code)
}

/// Asks where a group is coordinated, which makes the topic of offsets where there is none.
pub fn find_coordinator(connection: &mut Connection, group: &str) -> Result<()> {
    use ottla_wire::FindCoordinatorRequest;
    let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
    until(LIMIT, "a coordinator", || {
        let answer = connection.ask(4, &request)?.context(CLOSED)?;
        let code = answer.coordinators.first().context("one key was asked for")?.error_code;
        ensure!(code.is_none() || is_coordinator_away(code), "{code:?}");
        Ok(code.is_none().then_some(()))
    })
}
