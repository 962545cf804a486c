//! Fetch, ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use crate::offsets::coordinated;
use crate::{TIME, batch, play, text, topic};
use anyhow::{Result, ensure};
use ottla_batch::Batches;
use ottla_e2e::answers::Conversation;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m21_delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::m23_offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_wire::{Records, Uuid};

/// Appends three batches of three records to partition 0.
fn fill(broker: &mut Conversation<'_>, name: &str) -> Result<()> {
    for _ in 0..3 {
        let records = Some(Records::from(batch(3).bytes().clone()));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic_data = vec![TopicProduceData { name: text(name), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data, ..Default::default() };
        let answer = broker.quietly(12, request)?;
        ensure!(answer.responses[0].partition_responses[0].error_code.is_none(), "{answer:?}");
    }
    Ok(())
}

fn from(offset: i64) -> FetchPartition {
    FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() }
}

fn fetch(name: &str, partitions: Vec<FetchPartition>) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        topics: vec![FetchTopic { topic: text(name), partitions, ..Default::default() }],
        ..Default::default()
    }
}

#[test]
fn batches_are_fetched() -> Result<()> {
    play("fetch", |broker| {
        let id = topic(broker, "fetch", 2, &[])?;
        fill(broker, "fetch")?;
        for version in 4..=12 {
            broker.ask("from the beginning", version, fetch("fetch", vec![from(0)]))?;
        }
        let by_id = |topic_id, offset| {
            let mut request = fetch("", vec![from(offset)]);
            request.topics[0].topic_id = topic_id;
            request
        };
        for version in 13..=18 {
            broker.ask("by topic id", version, by_id(id, 3))?;
        }
        broker.ask("an unknown topic id", 18, by_id(Uuid::from_u128(7), 0))?;
        broker.ask("from the middle of a batch", 12, fetch("fetch", vec![from(4)]))?;
        broker.ask("at the end", 12, fetch("fetch", vec![from(9)]))?;
        broker.ask("behind the end", 12, fetch("fetch", vec![from(10)]))?;
        broker.ask("before the beginning", 12, fetch("fetch", vec![from(-1)]))?;
        broker.ask("an empty partition", 12, fetch("fetch", vec![FetchPartition { partition: 1, ..from(0) }]))?;
        broker.ask("an unknown partition", 12, fetch("fetch", vec![FetchPartition { partition: 9, ..from(0) }]))?;
        broker.ask("an unknown topic", 12, fetch("fetch.unknown", vec![from(0)]))?;
        broker.ask("no topics", 12, FetchRequest { topics: vec![], ..fetch("", vec![]) })?;
        let both = vec![FetchPartition { partition: 1, ..from(0) }, from(6)];
        broker.ask("two partitions", 12, fetch("fetch", both))?;
        for epoch in [0, 1, -2] {
            let partition = FetchPartition { current_leader_epoch: epoch, ..from(6) };
            broker.ask(&format!("in leader epoch {epoch}"), 18, {
                let mut request = by_id(id, 6);
                request.topics[0].partitions = vec![partition];
                request
            })?;
        }
        for (offset, epoch) in [(6, 0), (6, 5), (99, 0)] {
            let partition = FetchPartition { last_fetched_epoch: epoch, ..from(offset) };
            broker.ask(&format!("offset {offset} after epoch {epoch}"), 12, fetch("fetch", vec![partition]))?;
        }
        broker.ask("read committed", 12, FetchRequest { isolation_level: 1, ..fetch("fetch", vec![from(6)]) })?;
        let little = FetchPartition { partition_max_bytes: 1, ..from(0) };
        broker.ask("one byte a partition", 12, fetch("fetch", vec![little]))?;
        broker.ask("one byte in all", 12, FetchRequest { max_bytes: 1, ..fetch("fetch", vec![from(0)]) })?;
        let two_batches = FetchPartition { partition_max_bytes: 250, ..from(0) };
        let answer = broker.quietly(12, fetch("fetch", vec![two_batches]))?;
        let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
        let whole = Batches::new(records.as_bytes().cloned().unwrap_or_default()).take_while(Result::is_ok);
        broker.note("whole batches within 250 bytes", &whole.count().to_string());
        Ok(())
    })
}

#[test]
fn fetch_sessions_remember_their_partitions() -> Result<()> {
    play("fetch-sessions", |broker| {
        topic(broker, "session", 2, &[])?;
        fill(broker, "session")?;
        let both = || vec![from(0), FetchPartition { partition: 1, ..from(0) }];
        let session = |session_id, session_epoch, request| FetchRequest { session_id, session_epoch, ..request };
        let id = broker.ask("a new session", 12, session(0, 0, fetch("session", both())))?.session_id;
        let nothing = || FetchRequest { topics: vec![], ..fetch("", vec![]) };
        broker.ask("go on from the end", 12, session(id, 1, fetch("session", vec![from(9)])))?;
        broker.ask("nothing new", 12, session(id, 2, nothing()))?;
        fill(broker, "session")?;
        broker.ask("something new", 12, session(id, 3, nothing()))?;
        broker.ask("the wrong epoch", 12, session(id, 9, nothing()))?;
        broker.ask("an unknown session", 12, session(1, 1, nothing()))?;
        broker.ask("close", 12, session(id, -1, nothing()))?;
        broker.ask("it is closed", 12, session(id, 4, nothing()))?;
        Ok(())
    })
}

#[test]
fn offsets_are_listed_by_time() -> Result<()> {
    play("list-offsets", |broker| {
        topic(broker, "list", 2, &[])?;
        fill(broker, "list")?;
        let ask = |name: &str, partitions: &[(i32, i32, i64)]| ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: text(name),
                partitions: partitions
                    .iter()
                    .map(|(partition_index, current_leader_epoch, timestamp)| ListOffsetsPartition {
                        partition_index: *partition_index,
                        current_leader_epoch: *current_leader_epoch,
                        timestamp: *timestamp,
                    })
                    .collect(),
            }],
            timeout_ms: 60_000,
            ..Default::default()
        };
        for version in 1..=11 {
            broker.ask("the latest", version, ask("list", &[(0, -1, -1)]))?;
        }
        for timestamp in -1..=7 {
            let timestamp = -timestamp;
            broker.ask(&format!("time {timestamp}"), 11, ask("list", &[(0, -1, timestamp)]))?;
            broker.ask(&format!("time {timestamp} of nothing"), 11, ask("list", &[(1, -1, timestamp)]))?;
        }
        for timestamp in [TIME - 1, TIME, TIME + 1, TIME + 1000, TIME + 2000, TIME + 2001] {
            broker.ask(&format!("time {timestamp}"), 11, ask("list", &[(0, -1, timestamp)]))?;
        }
        for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (10, -6)] {
            broker.ask(&format!("time {timestamp} before its version"), version, ask("list", &[(0, -1, timestamp)]))?;
        }
        broker.ask("a partition twice", 11, ask("list", &[(0, -1, -1), (0, -1, -2)]))?;
        broker.ask("an unknown partition", 11, ask("list", &[(9, -1, -1)]))?;
        broker.ask("an unknown topic", 11, ask("list.unknown", &[(0, -1, -1)]))?;
        broker.ask("a later leader epoch", 11, ask("list", &[(0, 1, -1)]))?;
        broker.ask("this leader epoch", 11, ask("list", &[(0, 0, -1)]))?;
        let committed = ListOffsetsRequest { isolation_level: 1, ..ask("list", &[(0, -1, -1)]) };
        broker.ask("read committed", 11, committed)?;
        let debugging = ListOffsetsRequest { replica_id: -2, ..ask("list", &[(0, -1, -1)]) };
        broker.ask("a debugging consumer", 11, debugging)?;
        Ok(())
    })
}

#[test]
fn leader_epochs_have_ends() -> Result<()> {
    play("leader-epochs", |broker| {
        topic(broker, "epochs", 1, &[])?;
        fill(broker, "epochs")?;
        let ask = |name: &str, partition, current_leader_epoch, leader_epoch| OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: text(name),
                partitions: vec![OffsetForLeaderPartition { partition, current_leader_epoch, leader_epoch }],
            }],
        };
        for version in 2..=4 {
            broker.ask("this epoch", version, ask("epochs", 0, -1, 0))?;
        }
        broker.ask("a later epoch", 4, ask("epochs", 0, -1, 1))?;
        broker.ask("no epoch", 4, ask("epochs", 0, -1, -1))?;
        broker.ask("asked in a later epoch", 4, ask("epochs", 0, 1, 0))?;
        broker.ask("an unknown partition", 4, ask("epochs", 9, -1, 0))?;
        broker.ask("an unknown topic", 4, ask("epochs.unknown", 0, -1, 0))?;
        Ok(())
    })
}

#[test]
fn records_are_deleted_up_to_an_offset() -> Result<()> {
    play("delete-records", |broker| {
        topic(broker, "delete-records", 1, &[])?;
        fill(broker, "delete-records")?;
        let ask = |name: &str, partition_index, offset| DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: text(name),
                partitions: vec![DeleteRecordsPartition { partition_index, offset }],
            }],
            timeout_ms: 60_000,
        };
        for version in 0..=2 {
            broker.ask("nothing", version, ask("delete-records", 0, 0))?;
        }
        broker.ask("up to the middle of a batch", 2, ask("delete-records", 0, 4))?;
        broker.ask("less than is gone", 2, ask("delete-records", 0, 2))?;
        broker.ask("more than there is", 2, ask("delete-records", 0, 10))?;
        broker.ask("below the lowest", 2, ask("delete-records", 0, -2))?;
        broker.ask("an unknown partition", 2, ask("delete-records", 9, 0))?;
        broker.ask("an unknown topic", 2, ask("delete-records.unknown", 0, 0))?;
        broker.ask("what is gone cannot be fetched", 12, fetch("delete-records", vec![from(3)]))?;
        broker.ask("the rest can", 12, fetch("delete-records", vec![from(4)]))?;
        broker.ask("everything", 2, ask("delete-records", 0, -1))?;
        for (name, policy) in [("compacted", "compact"), ("compacted-and-deleted", "compact,delete")] {
            let name = format!("delete-records.{name}");
            topic(broker, &name, 1, &[("cleanup.policy", policy)])?;
            broker.ask(policy, 2, ask(&name, 0, -1))?;
            broker.ask(&format!("{policy}: more than there is"), 2, ask(&name, 0, 10))?;
        }
        coordinated(broker, &["delete-records"])?;
        broker.ask("the offsets topic", 2, ask("__consumer_offsets", 0, 0))?;
        broker.ask("an unknown partition of the offsets topic", 2, ask("__consumer_offsets", 99, 0))?;
        Ok(())
    })
}
