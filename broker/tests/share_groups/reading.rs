//! What the members of a group get, and where the group begins.

use ottla_batch::{Batch, BatchBuilder, Batches, Codec, ControlRecordType, Marker, NewRecord};
use ottla_broker::env;
use ottla_broker::image::LeaderEpoch;
use ottla_wire::ErrorCode;
use ottla_wire::m78_share_fetch::ShareFetchPartitionData;
use tokio::time::timeout;

use crate::common;
use crate::setup::{ACCEPT, LIMIT, Member, RELEASE, Setup};

const PRODUCER: i64 = 7;
const READ_COMMITTED: &[(&str, &str)] = &[("share.isolation.level", "read_committed")];

fn in_transaction(value: &str, sequence: i32) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None).producer(PRODUCER, 0, sequence).transactional();
    builder.push(NewRecord { timestamp: 0, value: Some(value.as_bytes()), ..NewRecord::default() });
    builder.build()
}

fn end_transaction(setup: &Setup, outcome: ControlRecordType) {
    setup
        .partition()
        .append_marker(PRODUCER, 0, Marker { outcome, coordinator_epoch: 0 }, 1, LeaderEpoch::NONE)
        .unwrap();
}

/// The values of the records that an answer gives to its member.
fn values(found: &ShareFetchPartitionData) -> Vec<String> {
    let is_acquired =
        |offset: i64| found.acquired_records.iter().any(|run| (run.first_offset..=run.last_offset).contains(&offset));
    let bytes = found.records.as_bytes().unwrap().clone();
    let batches = Batches::new(bytes).map(Result::unwrap).filter(|batch| !batch.header().is_control());
    let records = batches.flat_map(|batch| {
        let values = common::values(&batch.bytes().clone().into());
        (batch.header().base_offset..).zip(values).collect::<Vec<_>>()
    });
    records.filter(|(offset, _)| is_acquired(*offset)).map(|(_, value)| value).collect()
}

/// Accepts what it gets until it has this many values.
async fn accepts(member: &mut Member, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    let taking = async {
        while all.len() < count {
            let Some(found) = member.fetch(10_000).await else { continue };
            all.extend(values(&found));
            for run in &found.acquired_records {
                let code = member.acknowledge(run.first_offset, run.last_offset, ACCEPT).await;
                assert_eq!(code, ErrorCode::NONE);
            }
        }
    };
    timeout(LIMIT, taking).await.unwrap();
    all
}

#[tokio::test]
async fn a_group_of_committed_records_gets_what_was_decided_and_not_what_was_aborted() {
    for (of_group, before_the_end, after_it) in [(READ_COMMITTED, &[][..], &["y", "z"][..]), (&[], &["x"], &["y", "z"])]
    {
        let setup = Setup::start_group(&[], of_group, 0).await;
        let mut member = setup.member("one").await;
        assert_eq!(accepts(&mut member, 5).await, ["a", "b", "c", "d", "e"]);
        setup.append_in_transaction(&in_transaction("x", 0));
        assert_eq!(accepts(&mut member, before_the_end.len()).await, before_the_end, "{of_group:?}");
        let mut waiting = member.fetch(0).await;
        assert!(waiting.take().is_none_or(|found| found.acquired_records.is_empty()), "{of_group:?}");
        end_transaction(&setup, ControlRecordType::Abort);
        setup.append_in_transaction(&in_transaction("y", 1));
        end_transaction(&setup, ControlRecordType::Commit);
        setup.append(&common::batch(&["z"]));
        assert_eq!(accepts(&mut member, after_it.len()).await, after_it, "{of_group:?}");
        setup.one.broker.stop().await;
    }
}

#[tokio::test]
async fn a_fetch_looks_past_any_number_of_aborted_records() {
    let setup = Setup::start_group(&[], READ_COMMITTED, 0).await;
    let mut member = setup.member("one").await;
    assert_eq!(accepts(&mut member, 5).await.len(), 5);
    for sequence in 0..100 {
        setup.append_in_transaction(&in_transaction("x", sequence));
    }
    end_transaction(&setup, ControlRecordType::Abort);
    setup.append(&common::batch(&["z"]));
    // Each read finds one batch, and nothing that comes later would wake the fetch.
    member.max_bytes = 1;
    let marker = timeout(LIMIT, member.fetch(i32::MAX)).await.unwrap().unwrap();
    assert!(values(&marker).is_empty() && marker.acquired_records[0].first_offset == 105);
    let last = timeout(LIMIT, member.fetch(i32::MAX)).await.unwrap().unwrap();
    assert_eq!(values(&last), ["z"]);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn a_new_group_begins_where_its_setting_says() {
    let now = || {
        let mut builder = BatchBuilder::new(Codec::None);
        let timestamp = env::wall_clock_ms();
        builder.push(NewRecord { timestamp, value: Some(b"now"), ..NewRecord::default() });
        builder.build()
    };
    for (reset, first) in [("earliest", 0), ("latest", 6), ("by_duration:PT1H", 5)] {
        let setup = Setup::start_group(&[], &[("share.auto.offset.reset", reset)], -1).await;
        setup.append(&now()); // 5, after five of 2023
        let mut member = setup.member("one").await;
        let got = async {
            loop {
                let found = member.fetch(100).await.filter(|found| !found.acquired_records.is_empty());
                match found {
                    Some(found) => return found.acquired_records[0].first_offset,
                    // The end, where the group begins, is looked up at some time after the first fetch.
                    None => setup.append(&now()),
                }
            }
        };
        let got = timeout(LIMIT, got).await.unwrap();
        assert!(if reset == "latest" { got >= first } else { got == first }, "{reset}: {got}");
        setup.one.broker.stop().await;
    }
}

#[tokio::test]
async fn a_member_that_limits_records_gets_no_more_and_another_gets_whole_batches() {
    let setup = Setup::start(&[]).await;
    let mut limited = setup.member("limited").await;
    (limited.mode, limited.max_records) = (1, 2);
    assert_eq!(limited.gets().await, [(0, 1, 1)]);
    assert_eq!(limited.gets().await, [(2, 3, 1)]);
    assert_eq!(limited.gets().await, [(4, 4, 1)]);
    let mut other = setup.member("other").await;
    other.max_records = 2;
    setup.append(&common::batch(&["f", "g", "h"]));
    assert_eq!(other.gets().await, [(5, 7, 1)]);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn the_next_leader_gives_again_what_nobody_has_accepted() {
    let setup = Setup::start(&[]).await;
    let mut one = setup.member("one").await;
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    assert_eq!(one.acknowledge(0, 1, ACCEPT).await, ErrorCode::NONE);
    assert_eq!(one.acknowledge(3, 3, RELEASE).await, ErrorCode::NONE);
    setup.show_leader(false, 1).await;
    let refused = timeout(LIMIT, one.fetch(i32::MAX)).await.unwrap().unwrap();
    assert_eq!(refused.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    setup.show_leader(true, 2).await;
    assert_ne!(one.acknowledge(2, 2, ACCEPT).await, ErrorCode::NONE, "the former leader gave it to the member");
    // The persister counts deliveries of what was released; of the others it has never heard.
    assert_eq!(one.gets().await, [(2, 2, 1), (3, 3, 2), (4, 4, 1)]);
    assert_eq!(one.acknowledge(2, 4, ACCEPT).await, ErrorCode::NONE);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn what_was_acquired_for_a_connection_that_has_ended_is_available_at_once() {
    const HOUR: &str = "3600000"; // no lock ends by itself
    let settings = [("group.share.max.record.lock.duration.ms", HOUR), ("group.share.record.lock.duration.ms", HOUR)];
    let setup = Setup::start(&settings).await;
    let mut next = setup.member("next").await;
    assert_eq!(accepts(&mut next, 5).await.len(), 5);
    for round in 0..20 {
        let mut gone = setup.member("gone").await;
        gone.fetch(0).await;
        setup.append(&common::batch(&["x"]));
        gone.send_fetch(i32::MAX).await;
        drop(gone);
        assert_eq!(accepts(&mut next, 1).await, ["x"], "{round}");
    }
    setup.one.broker.stop().await;
}
