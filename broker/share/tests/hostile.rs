//! Numbers that no good client sends, and no good persister has: they are refused, or do no harm.

use std::time::{Duration, Instant};

use ottla_share::*;

const EXTREMES: [Offset; 9] = [i64::MIN, -2, -1, 0, 5, 9, 10, i64::MAX - 1, i64::MAX];

/// Ten records in flight, from 5 on, held by the member.
fn partition(config: &Config, member: &MemberId) -> SharePartition {
    let stored = Stored { state_epoch: 0, start: 5, batches: Vec::new() };
    let mut partition = SharePartition::load(&stored).expect("a state that makes sense");
    let read = [LogBatch { first: 0, last: 14, aborted: false }];
    let acquired = partition.acquire(config, Duration::ZERO, &acquire(member, 5, 100, 100, &read));
    assert_eq!(acquired, [Acquired { first: 5, last: 14, delivery_count: 1 }]);
    partition
}

fn acquire<'a>(
    member: &'a MemberId,
    fetch_offset: Offset,
    max_records: i32,
    batch_size: i32,
    read: &'a [LogBatch],
) -> Acquire<'a> {
    Acquire { member, mode: AcquireMode::BatchOptimized, batch_size, max_records, fetch_offset, read }
}

#[test]
fn acknowledgements_of_any_offsets_are_refused_or_pass_over_what_is_before_the_start() {
    let config = Config::default();
    let member = MemberId::from("A");
    for first in EXTREMES {
        for last in EXTREMES {
            for types in [0, 1, 2, 10, 11] {
                let mut partition = partition(&config, &member);
                let batches = [AcknowledgementBatch { first, last, types: vec![1; types] }];
                let request = Acknowledge { member: &member, batches: &batches, may_renew: false };
                let is_possible = last.checked_sub(first).is_some_and(|more| more >= 0) && first >= -1 && last < 15;
                let is_typed = types == 1 || (types > 1 && last.checked_sub(first) == Some(types as i64 - 1));
                let answer = partition.acknowledge(&config, Duration::ZERO, &request);
                assert_eq!(answer.is_ok(), is_possible && is_typed, "{first} to {last}, {types} types: {answer:?}");
            }
        }
    }
}

#[test]
fn any_state_that_was_read_is_refused_or_can_be_fetched_from() {
    let config = Config::default();
    let member = MemberId::from("A");
    for start in EXTREMES {
        for first in EXTREMES {
            for last in EXTREMES {
                let batch = StateBatch { first, last, state: DeliveryState::Available, delivery_count: i16::MAX };
                let Ok(mut partition) = SharePartition::load(&Stored { state_epoch: 0, start, batches: vec![batch] })
                else {
                    continue;
                };
                assert!(0 <= start && start <= first && first <= last);
                let read = [LogBatch { first: 0, last: 20, aborted: false }];
                let fetch_offset = partition.next_fetch_offset();
                for (max_records, batch_size) in [(i32::MIN, 1), (0, 1), (i32::MAX, i32::MIN), (i32::MAX, i32::MAX)] {
                    partition.acquire(
                        &config,
                        Duration::ZERO,
                        &acquire(&member, fetch_offset, max_records, batch_size, &read),
                    );
                }
                partition.expire(&config, Duration::MAX);
                partition.move_log_start(i64::MAX);
                assert_eq!((partition.start(), partition.in_flight().count()), (i64::MAX, 0));
            }
        }
    }
}

/// The longest acknowledgement of a partition that has as many locks as may be configured, each record unlike the next.
#[test]
fn records_that_all_differ_from_their_neighbours_are_acknowledged_at_once() {
    let records = 4000;
    let config = Config { partition_max_record_locks: records, ..Config::default() };
    let member = MemberId::from("A");
    let mut partition = SharePartition::load(&Stored { state_epoch: 0, start: 0, batches: Vec::new() }).unwrap();
    let read = [LogBatch { first: 0, last: i64::from(records) - 1, aborted: false }];
    partition.acquire(&config, Duration::ZERO, &acquire(&member, 0, records, records, &read));
    let types = [1, 2].repeat(records as usize / 2);
    let batches = [AcknowledgementBatch { first: 0, last: i64::from(records) - 1, types }];
    let request = Acknowledge { member: &member, batches: &batches, may_renew: false };
    let started = Instant::now();
    let write = partition.acknowledge(&config, Duration::ZERO, &request).unwrap().unwrap();
    partition.settle(&write, Ok(()));
    eprintln!("{records} records took {:?}", started.elapsed());
    assert_eq!((write.batches.len(), write.delivery_complete_count), (4000, 2000));
    assert_eq!((partition.start(), partition.in_flight().count()), (1, 3999));
}
