//! The host with a machine that writes down what it hears.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_batch::{Batch, BatchBuilder, Codec, ControlRecordType, Marker, NewRecord, Record, marker_batch};
use ottla_config::{BrokerSettings, TopicSettings};
use tokio::sync::watch;

use super::append::batch_of;
use super::clock::Clock;
use super::host::{Deliveries, Host};
use super::lifecycle::{Coordinator, FlushSoon};
use super::load;
use super::machine::*;
use crate::env::Workers;
use crate::image::{Assignment, BrokerId, ClusterImage, LeaderEpoch, PartitionEpoch};
use crate::replica::partition::Partition;
use crate::replica::partition::fixtures::{leading_alone, member};
use crate::replica::partition::leadership::Surroundings;
use crate::replica::partition::reading::{ReadFrom, Reader};

const NOW: Now = Now { monotonic: Duration::ZERO, wall_ms: 0 };

#[derive(Default)]
struct Diary {
    heard: Vec<String>,
    waiting: BTreeMap<AppendId, Ticket>,
    deadline: Option<Duration>,
}

impl Diary {
    fn write(&mut self, text: &str, ticket: Ticket) -> Effects<Diary> {
        let id = AppendId(self.waiting.len() as u64);
        self.waiting.insert(id, ticket);
        let batch = Ok(batch_of([(text.as_bytes(), None)], NOW.wall_ms));
        Effects { appends: vec![Append { id, batch }], ..Effects::default() }
    }
}

impl Machine for Diary {
    const TOPIC: &'static str = "diary";
    type Reply = String;
    type Message = String;

    fn new(_: &ClusterImage, _: LeaderEpoch) -> Diary {
        Diary::default()
    }

    fn commit_timeout(_: &BrokerSettings) -> Duration {
        Duration::from_secs(5)
    }

    fn replay(&mut self, origin: Origin, record: &Record) -> Result<(), NotOurs> {
        let key = String::from_utf8_lossy(record.key().ok_or(NotOurs)?).into_owned();
        let producer = origin.producer.map(|producer| format!(" of {}/{}", producer.id, producer.epoch));
        let is_open = if origin.is_committed { "" } else { ", not committed" };
        self.heard.push(format!("{}: {key}{}{is_open}", origin.offset, producer.unwrap_or_default()));
        Ok(())
    }

    fn control(&mut self, producer: Producer, marker: Marker, is_committed: bool) {
        let is_open = if is_committed { "" } else { ", not committed" };
        self.heard.push(format!("{:?} of {}/{}{is_open}", marker.outcome, producer.id, producer.epoch));
    }

    fn loaded(&mut self, _: Now) -> Effects<Diary> {
        Effects::default()
    }

    fn settled(&mut self, _: Now) -> Effects<Diary> {
        self.heard.push("settled".into());
        Effects::default()
    }

    fn is_settled(&self, _: &str) -> bool {
        self.heard.last().is_some_and(|last| last == "settled")
    }

    fn decided(&mut self, id: AppendId, result: Result<i64, CoordinatorAppendError>, _: Now) -> Effects<Diary> {
        let reply = result.map_or_else(|error| format!("{error:?}"), |offset| format!("at {offset}"));
        let replies = self.waiting.remove(&id).map(|ticket| (ticket, reply.clone()));
        Effects { replies: replies.into_iter().collect(), sends: vec![reply], ..Effects::default() }
    }

    fn delayed(&mut self, _: AppendId, _: Now) -> Effects<Diary> {
        Effects::default()
    }

    fn tick(&mut self, now: Now) -> Effects<Diary> {
        self.deadline = self.deadline.filter(|deadline| *deadline > now.monotonic);
        Effects::default()
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn unload(self, _: Now) -> Vec<(Ticket, String)> {
        self.waiting.into_values().map(|ticket| (ticket, "elsewhere".into())).collect()
    }
}

fn transactional(keys: &[&str], base_sequence: i32) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None).producer(7, 2, base_sequence).transactional();
    for key in keys {
        builder.push(NewRecord { key: Some(key.as_bytes()), ..NewRecord::default() });
    }
    builder.build()
}

/// The batches as they stand in a log.
fn log_of(batches: &[Batch]) -> Bytes {
    let mut log = BytesMut::new();
    let mut offset = 0;
    for batch in batches {
        for slice in batch.stamp(offset, 0, None).slices() {
            log.extend_from_slice(&slice);
        }
        offset += i64::from(batch.header().last_offset_delta) + 1;
    }
    log.freeze()
}

#[test]
fn the_log_reaches_the_machine_with_offsets_producers_and_the_ends_of_transactions() {
    let plain = |key: &str| batch_of([(key.as_bytes(), None)], 0);
    let mut without_key = BatchBuilder::new(Codec::None);
    without_key.push(NewRecord::default());
    let ends = |outcome| marker_batch(7, 2, Marker { outcome, coordinator_epoch: 0 }, 0);
    let batches = [
        plain("a"),
        transactional(&["b", "c"], 0),
        ends(ControlRecordType::Commit),
        without_key.build(),
        transactional(&["d"], 2),
        ends(ControlRecordType::Abort),
        plain("e"),
    ];
    let mut diary = Diary::default();
    assert_eq!(load::replay_piece(&mut diary, log_of(&batches), 6, 0).unwrap(), 8);
    let expected = [
        "0: a",
        "1: b of 7/2",
        "2: c of 7/2",
        "Commit of 7/2",
        "5: d of 7/2",
        "Abort of 7/2, not committed",
        "7: e, not committed",
    ];
    assert_eq!(diary.heard, expected);
}

fn host(partition: &Arc<Partition>, leader_epoch: i32) -> Host<Diary> {
    let mut host = Host::load(partition, LeaderEpoch(leader_epoch), &ClusterImage::default()).unwrap();
    let _ = host.begin(NOW);
    host
}

fn write(host: &mut Host<Diary>, text: &str) -> Result<Deliveries<Diary>, CoordinatorError> {
    host.ask("key", None, NOW, |diary, ticket, _| diary.write(text, ticket)).map(|(_, outcome)| outcome)
}

/// Broker 1 fetches, and a leader that gave way leads again.
fn a_follower_comes(partition: &Partition) {
    let follower = Reader::Follower { broker: BrokerId(1), incarnation: member(1).incarnation, again: false };
    let (offset, none) = (0, LeaderEpoch::NONE);
    let from = ReadFrom { offset, current_leader_epoch: none, last_fetched_epoch: none, log_start: 0 };
    partition.read(&from, 1, true, 1, follower).unwrap();
}

/// Gives the lead of a partition that broker 0 has alone.
fn elect(partition: &Partition, leader: i32, leader_epoch: i32) {
    elect_in(partition, leader, leader_epoch, &[0], &[]);
}

/// The same with these in-sync replicas and settings of the topic.
fn elect_in(partition: &Partition, leader: i32, leader_epoch: i32, isr: &[i32], config: &[(&str, &str)]) {
    let assignment = Assignment {
        partition: 0,
        replicas: isr.iter().copied().map(BrokerId).collect(),
        adding: vec![],
        removing: vec![],
        leader: Some(BrokerId(leader)),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(leader_epoch),
        isr: isr.iter().copied().map(member).collect(),
        reports: vec![],
        log_start: None,
    };
    let config = config.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let settings = TopicSettings::resolve(&config, &BrokerSettings::default());
    partition.assume(&assignment, &Arc::new(settings), Surroundings::default());
}

/// A coordinator that has read its log; it flushes when it is asked to.
async fn loaded(partition: &Arc<Partition>, leader_epoch: i32) -> Arc<Coordinator<Diary>> {
    let flush_soon: FlushSoon = Arc::new(|partition| partition.flush());
    let (clock, settings) = (Arc::new(Clock::start()), Arc::new(BrokerSettings::default()));
    let coordinator = Coordinator::new(
        partition.clone(),
        LeaderEpoch(leader_epoch),
        clock,
        settings,
        Arc::new(|_, _| ()),
        flush_soon,
    );
    let images = watch::channel(Arc::new(ClusterImage::default())).1;
    coordinator.clone().load(Workers::start(1).unwrap(), images).await;
    coordinator
}

#[test]
fn what_is_committed_is_answered_and_sent_and_there_after_the_next_load() {
    let data = tempfile::tempdir().unwrap();
    let partition = Arc::new(leading_alone(data.path()));
    let mut first = host(&partition, 0);
    for (text, expected) in [("a", "at 0"), ("b", "at 1")] {
        let Deliveries { replies, sends } = write(&mut first, text).unwrap();
        let replies: Vec<_> = replies.into_iter().map(|(_, reply)| reply).collect();
        assert_eq!((replies, sends), (vec![expected.to_owned()], vec![expected.to_owned()]));
    }
    let heard = host(&partition, 0).survey(|diary| diary.heard.clone()).unwrap();
    assert_eq!(heard, ["0: a", "1: b", "settled"]);
}

#[test]
fn nothing_is_decided_once_another_leads() {
    let data = tempfile::tempdir().unwrap();
    let partition = Arc::new(leading_alone(data.path()));
    let mut first = host(&partition, 0);
    elect(&partition, 1, 1);
    assert_eq!(write(&mut first, "a").err(), Some(CoordinatorError::NotCoordinator));
    let outcome = first.turn(NOW, |diary, _| diary.write("b", Ticket(9)));
    assert!(outcome.replies.is_empty() && outcome.sends.is_empty());
    elect(&partition, 0, 2);
    assert_eq!(write(&mut first, "a").err(), Some(CoordinatorError::NotCoordinator), "another may have written");
    assert_eq!(partition.log_end.get(), 0);
}

#[test]
fn a_new_leader_epoch_under_the_same_leader_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let partition = Arc::new(leading_alone(data.path()));
    let mut first = host(&partition, 0);
    for epoch in [1, 2] {
        elect(&partition, 0, epoch);
        assert_eq!(partition.leader_epoch(), Some(LeaderEpoch(epoch)));
        assert_eq!(write(&mut first, "a").unwrap().sends, [format!("at {}", epoch - 1)]);
    }
}

/// A broker that was cut off sees only the last of two elections. The leader between them had a coordinator, too, and
/// partitions that have heard its epoch refuse markers of an older one: a transaction would stay open for ever.
#[tokio::test(start_paused = true)]
async fn a_coordinator_ends_when_another_broker_may_have_led_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let partition = Arc::new(leading_alone(data.path()));
    let first = loaded(&partition, 0).await;
    elect(&partition, 0, 1);
    assert!(first.is_for(&partition), "nobody else can have led between these epochs");
    elect(&partition, 0, 3);
    assert!(!first.is_for(&partition), "epoch 2 may have been another's");
    assert!(!partition.leads_since(LeaderEpoch(1)) && partition.leads_since(LeaderEpoch(3)));
}

#[tokio::test(start_paused = true)]
async fn what_the_topic_wants_on_the_device_is_flushed_and_then_answered() {
    let data = tempfile::tempdir().unwrap();
    let partition = Arc::new(leading_alone(data.path()));
    elect_in(&partition, 0, 1, &[0], &[("flush.messages", "1")]);
    let coordinator = loaded(&partition, 1).await;
    for (text, expected) in [("a", "at 0"), ("b", "at 1")] {
        let answer = coordinator.ask("key", |diary, ticket, _| diary.write(text, ticket)).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(3600), answer).await;
        assert_eq!(answer.expect("an answer within an hour").unwrap(), expected);
    }
}

/// The last marker of a transaction is written, for instance, and the coordinator does not take note of that.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_missed_something_while_it_gave_way_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let partition = Arc::new(leading_alone(data.path()));
    elect_in(&partition, 0, 1, &[0, 1], &[]);
    let coordinator = loaded(&partition, 1).await;
    for misses in [false, true] {
        tokio::time::advance(Duration::from_secs(1)).await;
        partition.give_way(true);
        assert!(!coordinator.is_for(&partition), "it gives way");
        if misses {
            coordinator.turn(|diary, _| diary.write("a", Ticket(9)));
        }
        a_follower_comes(&partition);
        assert!(partition.leads_since(LeaderEpoch(1)), "a follower has come back");
        assert_eq!(coordinator.is_for(&partition), !misses);
    }
}

/// Else the task that ticks would never sleep. Seed 622000598 of the simulation did not end: time stood still.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_a_coordinator_gives_way_is_looked_at_now_and_then() {
    let data = tempfile::tempdir().unwrap();
    let partition = Arc::new(leading_alone(data.path()));
    elect_in(&partition, 0, 1, &[0, 1], &[]);
    let coordinator = loaded(&partition, 1).await;
    coordinator.turn(|diary, now| {
        diary.deadline = Some(now.monotonic);
        Effects::default()
    });
    let passed = Duration::from_secs(1);
    tokio::time::advance(passed).await;
    partition.give_way(true);
    let again = coordinator.tick().expect("it is still to be acted on");
    assert!(again > passed, "{again:?}");
    a_follower_comes(&partition);
    assert_eq!(coordinator.tick(), None);
}
