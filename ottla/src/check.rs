//! `ottla check`: a Kafka client that creates a topic, produces a record, consumes it and deletes the topic.
//! `helm test` runs it.
//!
//! A cluster that is starting refuses some requests; the check tries again until the deadline, as any client does.
//!
//! - [`properties`]: how to connect and as whom, in a file of Java's properties
//! - [`way`]: connections, TLS and logins

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ottla_batch::{BatchBuilder, Batches, Codec, NewRecord};
use ottla_client::Backoff;
use ottla_wire::m00_produce::{PartitionProduceData, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchTopic};
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m19_create_topics::CreatableTopic;
use ottla_wire::{
    CreateTopicsRequest, DeleteTopicsRequest, ErrorCode, FetchRequest, MetadataRequest, ProduceRequest, Records, Str,
    Uuid,
};
use tokio::time::Instant;

use crate::options::CheckOptions;
use crate::print_line;

mod properties;
mod way;

use way::Way;

/// The pause between the first two tries; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A failure that lasts less than this is normal, and nothing is printed.
const SILENT: Duration = Duration::from_secs(2);

/// Checks until it succeeds, the deadline passes, or `stopped`.
///
/// # Errors
/// When the file of properties can't be used; at the deadline: what the check waited for, and the last failure.
pub async fn run(options: CheckOptions, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    let seconds = options.timeout_seconds;
    let (failing, way) = (Failing::default(), Way::read(options.client_properties.as_deref())?);
    tokio::select! {
        checked = tokio::time::timeout(Duration::from_secs(seconds), check(&way, &options.bootstrap, &failing)) => match checked {
            Ok(()) => Ok(()),
            Err(_) => bail!("no record came back within {seconds} s{}", failing.told()),
        },
        () = stopped => bail!("stopped before a record came back"),
    }
}

async fn check(way: &Way, bootstrap: &str, failing: &Failing) {
    let topic = Str::from(format!("ottla-check-{}", Uuid::new_v4().simple()));
    patiently(failing, "create a topic", async || create(way, bootstrap, &topic).await).await;
    print_line(format!("created topic {topic}"));
    let leader = patiently(failing, "find the leader", async || leader(way, bootstrap, &topic).await).await;
    let offset = patiently(failing, "produce", async || produce(way, &leader, &topic).await).await;
    print_line(format!("produced a record at offset {offset} through {leader}"));
    patiently(failing, "consume", async || consume(way, &leader, &topic, offset).await).await;
    print_line("consumed it".to_owned());
    patiently(failing, "delete the topic", async || delete(way, bootstrap, &topic).await).await;
    print_line(format!("deleted topic {topic}"));
}

/// What failed last, until it succeeds.
#[derive(Default)]
struct Failing(RefCell<Option<String>>);

impl Failing {
    /// The last failure, as the end of a sentence.
    fn told(&self) -> String {
        self.0.borrow().as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    }
}

/// Tries until it succeeds. A topic that was just created has no leader for a moment: only lasting failures are
/// printed.
async fn patiently<T>(failing: &Failing, what: &str, mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> T {
    let attempt = async || {
        let tried = attempt().await;
        failing.0.replace(tried.as_ref().err().map(|error| format!("failed to {what}: {error:#}")));
        tried
    };
    patiently_saying(|why| tracing::warn!("failed to {what}: {why}"), attempt).await
}

async fn patiently_saying<T>(mut say: impl FnMut(&str), mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> T {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let (began, mut said) = (Instant::now(), String::new());
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                let why = format!("{error:#}");
                if began.elapsed() >= SILENT && why != said {
                    say(&why);
                    said = why;
                }
            }
        }
        tokio::time::sleep(backoff.failed()).await;
    }
}

async fn create(way: &Way, bootstrap: &str, topic: &Str) -> anyhow::Result<()> {
    let wanted =
        CreatableTopic { name: topic.clone(), num_partitions: 1, replication_factor: -1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![wanted], timeout_ms: 5_000, ..Default::default() };
    let answer = way.ask(bootstrap, 5..=7, &request).await?;
    let topic = answer.topics.first().context("the answer lacks the topic")?;
    let code = topic.error_code;
    // An earlier try whose answer was late.
    let there = code.is_none() || code == ErrorCode::TOPIC_ALREADY_EXISTS;
    ensure!(there, "{code:?}: {}", topic.error_message.as_deref().unwrap_or_default());
    Ok(())
}

async fn leader(way: &Way, bootstrap: &str, topic: &Str) -> anyhow::Result<String> {
    let topics = Some(vec![MetadataRequestTopic { name: Some(topic.clone()), ..Default::default() }]);
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    let answer = way.ask(bootstrap, 8..=12, &request).await?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    let id = partition.context("the topic is not known yet")?.leader_id;
    let leader =
        answer.brokers.iter().find(|broker| broker.node_id == id).context("the partition has no leader yet")?;
    Ok(format!("{}:{}", leader.host, leader.port))
}

/// The record's offset.
async fn produce(way: &Way, leader: &str, topic: &Str) -> anyhow::Result<i64> {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(NewRecord { value: Some(topic.as_bytes()), ..Default::default() });
    let records = Some(Records::from(batch.build().bytes().clone()));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: topic.clone(), partition_data, ..Default::default() }];
    let request = ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data, ..Default::default() };
    let answer = way.ask(leader, 9..=12, &request).await?;
    let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    let partition = partition.context("the answer lacks the partition")?;
    ensure!(partition.error_code.is_none(), "{:?}", partition.error_code);
    Ok(partition.base_offset)
}

async fn consume(way: &Way, leader: &str, topic: &Str, offset: i64) -> anyhow::Result<()> {
    let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topics = vec![FetchTopic { topic: topic.clone(), partitions: vec![partition], ..Default::default() }];
    let request = FetchRequest { max_wait_ms: 1_000, min_bytes: 1, topics, ..Default::default() };
    let answer = way.ask(leader, 12..=12, &request).await?;
    let partition = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
    let partition = partition.context("the answer lacks the partition")?;
    ensure!(partition.error_code.is_none(), "{:?}", partition.error_code);
    let records = partition.records.unwrap_or_default();
    // The records of a decoded response are one slice.
    let batch = Batches::new(records.as_bytes().cloned().unwrap_or_default()).next().context("no record yet")??;
    let record = batch.records(way::LARGEST_RESPONSE)?.next().context("an empty batch")??;
    ensure!(record.value() == Some(topic.as_bytes()), "the consumed record is not the one that was produced");
    Ok(())
}

async fn delete(way: &Way, bootstrap: &str, topic: &Str) -> anyhow::Result<()> {
    let request =
        DeleteTopicsRequest { topic_names: vec![topic.clone()], timeout_ms: 5_000, ..DeleteTopicsRequest::default() };
    let answer = way.ask(bootstrap, 5..=5, &request).await?;
    let code = answer.responses.first().context("the answer lacks the topic")?.error_code;
    ensure!(code.is_none() || code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "{code:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said_after(failures: u32) -> Vec<String> {
        let (mut said, mut tried) = (Vec::new(), 0);
        let attempt = async || {
            tried += 1;
            ensure!(tried > failures, "the partition has no leader yet");
            Ok(())
        };
        patiently_saying(|why| said.push(why.to_owned()), attempt).await;
        said
    }

    #[tokio::test(start_paused = true)]
    async fn only_lasting_failures_are_printed() {
        assert_eq!(said_after(0).await, [""; 0]);
        // 50 + 100 + 200 + 400 + 800 ms
        assert_eq!(said_after(5).await, [""; 0]);
        assert_eq!(said_after(60).await, ["the partition has no leader yet"]);
    }
}
