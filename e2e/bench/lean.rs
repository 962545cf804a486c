//! Our own client: one batch encoded once and sent again and again, a few requests in flight, one thread.
//!
//! It costs about as little as a client can, so that what is measured is the broker.

use anyhow::{Context, Result, anyhow, bail, ensure};
use ottla_batch::{BatchBuilder, BatchHeader, Codec, HEADER_LEN, NewRecord};
use ottla_e2e::raw::{Connection, to_bytes};
use ottla_e2e::wait::until;
use ottla_wire::m00_produce::{PartitionProduceData, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m19_create_topics::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::m20_delete_topics::DeleteTopicState;
use ottla_wire::m44_incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::{
    Chunk, CreateTopicsRequest, DeleteTopicsRequest, ErrorCode, MetadataRequest, ProduceRequest, ProduceResponse, Str,
    decode_response, encode_request,
};
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use crate::VALUE_LEN;
use crate::runs::Done;
use crate::secured;

/// As many as librdkafka and the Java producer send on when they must keep the order.
const IN_FLIGHT: usize = 5;
/// The last version of Produce that names its topics.
pub const PRODUCE: i16 = 12;
const METADATA: i16 = 12;
/// The last version of Fetch that names its topics.
const FETCH: i16 = 12;
/// Longer than a cold start of either broker.
const LIMIT: Duration = Duration::from_secs(60);

/// Tries to produce one record until it is acknowledged, from before the broker listens; the topic is created on the
/// way.
pub fn first_acknowledgement(address: &str, topic: &str) -> Result<()> {
    let request = produce_request(topic, HEADER_LEN)?;
    let begin = Instant::now();
    loop {
        match try_produce(address, topic, &request) {
            Ok(()) => return Ok(()),
            Err(error) if begin.elapsed() > LIMIT => return Err(error.context("no acknowledgement in time")),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn try_produce(address: &str, topic: &str, request: &ProduceRequest) -> Result<()> {
    let mut connection = Connection::open(address)?;
    until(LIMIT, "an acknowledgement", || {
        let topics = vec![MetadataRequestTopic { name: Some(Str::from(topic)), ..Default::default() }];
        let metadata = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: true, ..Default::default() };
        let answer = connection.ask(METADATA, &metadata)?.context("closed")?;
        let led = answer.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.leader_id >= 0);
        if !led {
            return Ok(None);
        }
        let answer = connection.ask(PRODUCE, request)?.context("closed")?;
        Ok(refusal(&answer).is_none().then_some(()))
    })
}

/// Creates a topic of one replica and waits until records can be produced to it.
pub fn create_topic(address: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
    let configs =
        settings.iter().map(|&(name, value)| CreatableTopicConfig { name: name.into(), value: Some(value.into()) });
    let new = CreatableTopic {
        name: Str::from(topic),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![new], timeout_ms: 30_000, ..Default::default() };
    until(LIMIT, "the topic to be created", || {
        let answer = Connection::open(address)?.ask(5, &request)?.context("closed")?;
        let code = answer.topics.first().context("an answer for the topic")?.error_code;
        match code {
            ErrorCode::NONE => Ok(Some(())),
            // One of the same name is still being deleted.
            ErrorCode::TOPIC_ALREADY_EXISTS => Ok(None),
            _ => bail!("the topic cannot be created: {code}"),
        }
    })?;
    first_acknowledgement(address, topic)
}

/// Gives all brokers together a setting while they run.
pub fn set_for_all_brokers(address: &str, (name, value): (&str, &str)) -> Result<()> {
    let config = AlterableConfig { name: name.into(), config_operation: 0, value: Some(value.into()) };
    let resource = AlterConfigsResource { resource_type: 4, resource_name: Str::new(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = Connection::open(address)?.ask(1, &request)?.context("closed")?;
    let answer = answer.responses.first().context("an answer for the brokers")?;
    ensure!(answer.error_code.is_none(), "{name} cannot be set: {:?}", answer.error_message);
    Ok(())
}

/// Deletes a topic.
pub fn delete_topic(address: &str, topic: &str) -> Result<()> {
    let topics = vec![DeleteTopicState { name: Some(Str::from(topic)), ..Default::default() }];
    let request = DeleteTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
    let answer = Connection::open(address)?.ask(6, &request)?.context("closed")?;
    let code = answer.responses.first().context("an answer for the topic")?.error_code;
    ensure!(code.is_none(), "the topic cannot be deleted: {code}");
    Ok(())
}

/// Produces to partition 0 for this long, in batches of at most `batch_len` bytes, and waits for every acknowledgement.
pub fn produce(address: &str, topic: &str, acks: i16, batch_len: usize, run: Duration) -> Result<Done> {
    let requests = produce_to(address, topic, 0, acks, batch_len, run)?;
    Ok(Done { bytes: requests * values_in(batch_len) * VALUE_LEN, requests, ..Done::default() })
}

/// Partitions to which [`requests`] go.
pub const MANY: i32 = 64;

/// Produces one record a request to [`MANY`] partitions for this long, each over a connection to its leader.
pub fn requests(address: &str, topic: &str, acks: i16, run: Duration) -> Result<Done> {
    let leaders = leaders(address, topic)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..MANY)
            .map(|partition| {
                let leader = leaders.get(&partition).cloned();
                scope.spawn(move || {
                    let leader = leader.context("every partition has a leader")?;
                    produce_to(&leader, topic, partition, acks, HEADER_LEN, run)
                })
            })
            .collect();
        let mut done = Done::default();
        for thread in threads {
            let requests = thread.join().map_err(|_| anyhow!("a producing thread panicked"))??;
            done.requests += requests;
            done.bytes += requests * VALUE_LEN;
        }
        Ok(done)
    })
}

/// Where each partition's leader listens.
fn leaders(address: &str, topic: &str) -> Result<HashMap<i32, String>> {
    until(LIMIT, "a leader of every partition", || {
        let topics = vec![MetadataRequestTopic { name: Some(Str::from(topic)), ..Default::default() }];
        let metadata = MetadataRequest { topics: Some(topics), ..Default::default() };
        let answer = Connection::open(address)?.ask(METADATA, &metadata)?.context("closed")?;
        let brokers: HashMap<i32, String> =
            answer.brokers.iter().map(|b| (b.node_id, format!("{}:{}", b.host, b.port))).collect();
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let led: HashMap<i32, String> =
            partitions.filter_map(|p| Some((p.partition_index, brokers.get(&p.leader_id)?.clone()))).collect();
        Ok((led.len() >= MANY as usize).then_some(led))
    })
}

/// How many requests were acknowledged.
fn produce_to(address: &str, topic: &str, partition: i32, acks: i16, batch_len: usize, run: Duration) -> Result<usize> {
    let mut request = ProduceRequest { acks, ..produce_request(topic, batch_len)? };
    request.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data).for_each(|data| data.index = partition);
    let frame = to_bytes(&encode_request(0, Some(&Str::from("bench")), PRODUCE, &request));
    let mut connection = secured::open(address)?;
    let (begin, mut sent, mut received, mut taken) = (Instant::now(), 0, 0, 0);
    loop {
        while sent < received + IN_FLIGHT && begin.elapsed() < run {
            connection.send_bytes(&frame)?;
            sent += 1;
        }
        if received == sent {
            return Ok(taken);
        }
        let answer = connection.receive_bytes()?.context("the broker closed the connection")?;
        let (_, answer) = decode_response::<ProduceRequest>(PRODUCE, answer)?;
        received += 1;
        match refusal(&answer) {
            None => taken += 1,
            // Of three brokers the leader may be the last to hear that it leads.
            Some(ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) if taken == 0 => {}
            Some(code) => bail!("a batch was refused: {code}"),
        }
    }
}

/// Fetches for this long up to `len` bytes at once of what [`produce`] has produced, from the beginning again whenever
/// the end is reached.
pub fn consume(address: &str, topic: &str, len: i32, run: Duration) -> Result<Done> {
    let (mut connection, mut offset, mut done) = (secured::open(address)?, 0, Done::default());
    let begin = Instant::now();
    while begin.elapsed() < run {
        let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: len, ..Default::default() };
        let topics = vec![FetchTopic { topic: Str::from(topic), partitions: vec![partition], ..Default::default() }];
        let request = FetchRequest { session_epoch: -1, topics, ..Default::default() };
        let answer = connection.ask(FETCH, &request)?.context("the broker closed the connection")?;
        let mut found = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        let found = found.next().context("an answer for the partition")?;
        ensure!(found.error_code.is_none(), "{}", found.error_code);
        let pieces = found.records.iter().flat_map(|records| &records.0);
        let next = pieces.filter_map(next_offset).last().unwrap_or(offset);
        ensure!(next > 0, "there is nothing to fetch");
        done.bytes += usize::try_from(next - offset)? * VALUE_LEN;
        done.requests += 1;
        offset = if next == found.high_watermark { 0 } else { next };
    }
    Ok(done)
}

/// The offset behind the whole batches of a piece of a log.
fn next_offset(piece: &Chunk) -> Option<i64> {
    let Chunk::Bytes(bytes) = piece else { return None };
    let (mut rest, mut next) = (&bytes[..], None);
    while let Some(header) = BatchHeader::peek(rest) {
        let Some(behind) = header.total_len().and_then(|len| rest.get(len..)) else { break };
        (rest, next) = (behind, Some(header.next_offset()));
    }
    next
}

/// Sends one record of [`VALUE_LEN`] bytes each `pace`, whether the former is acknowledged or not; how long each
/// acknowledgement took from when its record was due.
pub fn latencies(address: &str, topic: &str, acks: i16, pace: Duration, count: u32) -> Result<Vec<Duration>> {
    let request = ProduceRequest { acks, ..produce_request(topic, HEADER_LEN)? };
    let frame = to_bytes(&encode_request(0, Some(&Str::from("bench")), PRODUCE, &request));
    let mut connection = Connection::open(address)?;
    let mut sending = connection.try_clone()?;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            (0..count).try_for_each(|number| {
                std::thread::sleep((begin + pace * number).saturating_duration_since(Instant::now()));
                sending.send_bytes(&frame)
            })
        });
        let mut latencies = Vec::new();
        for number in 0..count {
            let answer = connection.receive_bytes()?.context("the broker closed the connection")?;
            latencies.push((begin + pace * number).elapsed());
            let (_, answer) = decode_response::<ProduceRequest>(PRODUCE, answer)?;
            if let Some(code) = refusal(&answer) {
                bail!("a record was refused: {code}");
            }
        }
        sender.join().map_err(|_| anyhow!("the sending thread panicked"))??;
        Ok(latencies)
    })
}

/// How many records fit in a batch; at least one.
fn values_in(batch_len: usize) -> usize {
    // Length, attributes, timestamp and offset deltas, no key, value length, no headers: at most 11 bytes.
    (batch_len.saturating_sub(HEADER_LEN) / (VALUE_LEN + 11)).max(1)
}

/// A batch of records for partition 0.
pub fn produce_request(topic: &str, batch_len: usize) -> Result<ProduceRequest> {
    let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis().try_into()?;
    let mut batch = BatchBuilder::new(Codec::None);
    for _ in 0..values_in(batch_len) {
        batch.push(NewRecord { timestamp, value: Some(&[b'x'; VALUE_LEN]), ..Default::default() });
    }
    let records = Some(batch.build().bytes().clone().into());
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: Str::from(topic), partition_data, ..Default::default() }];
    Ok(ProduceRequest { acks: 1, timeout_ms: 30_000, topic_data, ..Default::default() })
}

/// Why a partition's records were refused, if any were.
pub fn refusal(answer: &ProduceResponse) -> Option<ErrorCode> {
    let mut codes = answer.responses.iter().flat_map(|topic| &topic.partition_responses).map(|one| one.error_code);
    codes.find(|code| !code.is_none())
}
