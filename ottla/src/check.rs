//! `ottla check`: a Kafka client that makes a topic, produces a record, consumes it and removes the topic. `helm test`
//! runs it.
//!
//! What a cluster that is starting refuses is tried again until the deadline, as any client does.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use ottla_batch::{BatchBuilder, Batches, Codec, NewRecord};
use ottla_wire::m00_produce::{PartitionProduceData, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchTopic};
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m19_create_topics::CreatableTopic;
use ottla_wire::{
    Chunk, CreateTopicsRequest, DeleteTopicsRequest, ErrorCode, FetchRequest, MetadataRequest, ProduceRequest, Records,
    RequestMessage, Str, Uuid, decode_response, encode_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::options::CheckOptions;
use crate::print_line;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);
/// Between the first two tries; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What fails for less than this time is a cluster at work, and nothing is said.
const SILENT: Duration = Duration::from_secs(2);
/// More than any response to what is asked here.
const LARGEST_RESPONSE: usize = 16 << 20;

/// Checks until it succeeds, the deadline passes, or `stopped`.
///
/// # Errors
/// At the deadline: what was waited for, and what failed last.
pub async fn run(options: CheckOptions, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    let seconds = options.timeout_seconds;
    let failing = Failing::default();
    tokio::select! {
        checked = tokio::time::timeout(Duration::from_secs(seconds), check(&options.bootstrap, &failing)) => match checked {
            Ok(()) => Ok(()),
            Err(_) => bail!("no record came back within {seconds} s{}", failing.told()),
        },
        () = stopped => bail!("stopped before a record came back"),
    }
}

async fn check(bootstrap: &str, failing: &Failing) {
    let topic = Str::from(format!("ottla-check-{}", Uuid::new_v4().simple()));
    patiently(failing, "create a topic", async || create(bootstrap, &topic).await).await;
    print_line(format!("created topic {topic}"));
    let leader = patiently(failing, "find the leader", async || leader(bootstrap, &topic).await).await;
    let offset = patiently(failing, "produce", async || produce(&leader, &topic).await).await;
    print_line(format!("produced a record at offset {offset} through {leader}"));
    patiently(failing, "consume", async || consume(&leader, &topic, offset).await).await;
    print_line("consumed it".to_owned());
    patiently(failing, "delete the topic", async || delete(bootstrap, &topic).await).await;
    print_line(format!("deleted topic {topic}"));
}

/// What failed last, until it succeeds.
#[derive(Default)]
struct Failing(RefCell<Option<String>>);

impl Failing {
    /// The end of a sentence about what did not happen.
    fn told(&self) -> String {
        self.0.borrow().as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    }
}

/// Tries until it succeeds. A topic that was just created has no leader for a moment: only what goes on failing is
/// worth a word.
async fn patiently<T>(failing: &Failing, what: &str, mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> T {
    let attempt = async || {
        let tried = attempt().await;
        failing.0.replace(tried.as_ref().err().map(|error| format!("failed to {what}: {error:#}")));
        tried
    };
    patiently_saying(|why| tracing::warn!("failed to {what}: {why}"), attempt).await
}

async fn patiently_saying<T>(mut say: impl FnMut(&str), mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> T {
    let (began, mut pause, mut said) = (Instant::now(), FIRST_PAUSE, String::new());
    loop {
        match tokio::time::timeout(REQUEST, attempt()).await.unwrap_or_else(|late| Err(late.into())) {
            Ok(done) => return done,
            Err(error) => {
                let why = format!("{error:#}");
                if began.elapsed() >= SILENT && why != said {
                    say(&why);
                    said = why;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

async fn create(bootstrap: &str, topic: &Str) -> anyhow::Result<()> {
    let wanted =
        CreatableTopic { name: topic.clone(), num_partitions: 1, replication_factor: -1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![wanted], timeout_ms: 5_000, ..Default::default() };
    let answer = ask(bootstrap, 5, &request).await?;
    let topic = answer.topics.first().context("an answer without the topic")?;
    let code = topic.error_code;
    // An earlier try whose answer was late.
    let there = code.is_none() || code == ErrorCode::TOPIC_ALREADY_EXISTS;
    ensure!(there, "{code:?}: {}", topic.error_message.as_deref().unwrap_or_default());
    Ok(())
}

async fn leader(bootstrap: &str, topic: &Str) -> anyhow::Result<String> {
    let topics = Some(vec![MetadataRequestTopic { name: Some(topic.clone()), ..Default::default() }]);
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    let answer = ask(bootstrap, 8, &request).await?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    let id = partition.context("the topic is not known yet")?.leader_id;
    let leader = answer.brokers.iter().find(|broker| broker.node_id == id).context("nobody leads the partition yet")?;
    Ok(format!("{}:{}", leader.host, leader.port))
}

/// The record's offset.
async fn produce(leader: &str, topic: &Str) -> anyhow::Result<i64> {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(NewRecord { value: Some(topic.as_bytes()), ..Default::default() });
    let records = Some(Records::from(batch.build().bytes().clone()));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: topic.clone(), partition_data, ..Default::default() }];
    let request = ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data, ..Default::default() };
    let answer = ask(leader, 9, &request).await?;
    let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    let partition = partition.context("an answer without the partition")?;
    ensure!(partition.error_code.is_none(), "{:?}", partition.error_code);
    Ok(partition.base_offset)
}

async fn consume(leader: &str, topic: &Str, offset: i64) -> anyhow::Result<()> {
    let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topics = vec![FetchTopic { topic: topic.clone(), partitions: vec![partition], ..Default::default() }];
    let request = FetchRequest { max_wait_ms: 1_000, min_bytes: 1, topics, ..Default::default() };
    let answer = ask(leader, 12, &request).await?;
    let partition = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
    let partition = partition.context("an answer without the partition")?;
    ensure!(partition.error_code.is_none(), "{:?}", partition.error_code);
    let records = partition.records.unwrap_or_default();
    // A response that was decoded lies in one piece.
    let batch = Batches::new(records.as_bytes().cloned().unwrap_or_default()).next().context("no record yet")??;
    let record = batch.records(LARGEST_RESPONSE)?.next().context("an empty batch")??;
    ensure!(record.value() == Some(topic.as_bytes()), "another record than the one that was produced");
    Ok(())
}

async fn delete(bootstrap: &str, topic: &Str) -> anyhow::Result<()> {
    let request =
        DeleteTopicsRequest { topic_names: vec![topic.clone()], timeout_ms: 5_000, ..DeleteTopicsRequest::default() };
    let answer = ask(bootstrap, 5, &request).await?;
    let code = answer.responses.first().context("an answer without the topic")?.error_code;
    ensure!(code.is_none() || code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "{code:?}");
    Ok(())
}

/// One request over a connection of its own.
async fn ask<R: RequestMessage>(address: &str, version: i16, request: &R) -> anyhow::Result<R::Response> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("failed to connect to {address}"))?;
    let frame = encode_request(1, Some(&Str::from("ottla-check")), version, request);
    for chunk in frame.chunks() {
        // Requests are made in memory.
        if let Chunk::Bytes(piece) = chunk {
            stream.write_all(piece).await?;
        }
    }
    let length = usize::try_from(stream.read_i32().await?)?;
    ensure!(length <= LARGEST_RESPONSE, "a response of {length} bytes");
    let mut response = vec![0; length];
    stream.read_exact(&mut response).await?;
    let (_, answer) = decode_response::<R>(version, Bytes::from(response))?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said_after(failures: u32) -> Vec<String> {
        let (mut said, mut tried) = (Vec::new(), 0);
        let attempt = async || {
            tried += 1;
            ensure!(tried > failures, "nobody leads the partition yet");
            Ok(())
        };
        patiently_saying(|why| said.push(why.to_owned()), attempt).await;
        said
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_goes_on_failing_is_worth_a_word() {
        assert_eq!(said_after(0).await, [""; 0]);
        // 50 + 100 + 200 + 400 + 800 ms
        assert_eq!(said_after(5).await, [""; 0]);
        assert_eq!(said_after(60).await, ["nobody leads the partition yet"]);
    }
}
