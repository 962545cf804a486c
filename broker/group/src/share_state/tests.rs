//! Properties of combined batches and of records.

use std::collections::BTreeMap;

use ottla_wire::Uuid;
use proptest::prelude::*;

use super::batches::{StateBatch, combine};
use super::record::{Encoded, Record, Update, Value};
use super::request::SharePartition;
use super::state::ShareGroupState;

fn batch(first_offset: i64, last_offset: i64, delivery_count: i16, delivery_state: i8) -> StateBatch {
    StateBatch { first_offset, last_offset, delivery_count, delivery_state }
}

fn batches() -> impl Strategy<Value = Vec<StateBatch>> {
    let one = (0_i64..40, 0_i64..12, 1_i16..4, prop::sample::select(vec![0_i8, 2, 4]));
    prop::collection::vec(one.prop_map(|(first, more, count, state)| batch(first, first + more, count, state)), 0..12)
}

/// What wins at each offset.
fn by_offset<'a>(batches: impl IntoIterator<Item = &'a StateBatch>, start: i64) -> BTreeMap<i64, (i16, i8)> {
    let mut offsets = BTreeMap::new();
    for batch in batches {
        for offset in batch.first_offset.max(start)..=batch.last_offset {
            let new = (batch.delivery_count, batch.delivery_state);
            let winner = offsets.entry(offset).or_insert(new);
            *winner = (*winner).max(new);
        }
    }
    offsets
}

proptest! {
    #[test]
    fn at_each_offset_the_greater_batch_counts(old in batches(), new in batches(), start in -1_i64..50) {
        let combined = combine(&old, &new, start);
        prop_assert_eq!(by_offset(&combined, start), by_offset(old.iter().chain(&new), start));
        for pair in combined.windows(2) {
            prop_assert!(pair[0].last_offset < pair[1].first_offset, "{:?}", pair);
        }
    }

    #[test]
    fn whatever_the_bytes_are_reading_them_ends(key in prop::collection::vec(any::<u8>(), 0..40),
                                               value in prop::collection::vec(any::<u8>(), 0..80)) {
        for number in [0, 1] {
            let key = [&[0, number][..], &key].concat();
            let value = [&[0, 0][..], &value].concat();
            let _ = Record::decode(&key, Some(&value));
        }
    }

    #[test]
    fn a_batch_that_is_none_says_nothing(first in any::<i64>(), last in any::<i64>(), start in any::<i64>()) {
        for combined in combine(&[batch(first, last, 1, 2)], &[batch(3, i64::MAX, 1, 0)], start) {
            prop_assert!(combined.is_valid());
        }
    }
}

/// The cases that Kafka's combiner names.
#[test]
fn two_batches_become_what_they_are_in_kafka() {
    let cases = [
        // the same state: contiguous, overlapping
        (batch(1, 5, 1, 0), batch(6, 9, 1, 0), vec![batch(1, 9, 1, 0)]),
        (batch(1, 5, 1, 0), batch(3, 9, 1, 0), vec![batch(1, 9, 1, 0)]),
        // different states: equal, longer, within, with the same end, beyond the end
        (batch(1, 5, 1, 0), batch(1, 5, 1, 2), vec![batch(1, 5, 1, 2)]),
        (batch(1, 5, 2, 0), batch(1, 9, 1, 2), vec![batch(1, 5, 2, 0), batch(6, 9, 1, 2)]),
        (batch(1, 5, 1, 0), batch(1, 9, 1, 2), vec![batch(1, 9, 1, 2)]),
        (batch(1, 9, 1, 0), batch(3, 5, 1, 2), vec![batch(1, 2, 1, 0), batch(3, 5, 1, 2), batch(6, 9, 1, 0)]),
        (batch(1, 9, 2, 0), batch(3, 5, 1, 2), vec![batch(1, 9, 2, 0)]),
        (batch(1, 9, 1, 0), batch(3, 9, 1, 2), vec![batch(1, 2, 1, 0), batch(3, 9, 1, 2)]),
        (batch(1, 5, 1, 0), batch(3, 9, 1, 2), vec![batch(1, 2, 1, 0), batch(3, 9, 1, 2)]),
        (batch(1, 5, 2, 0), batch(3, 9, 1, 2), vec![batch(1, 5, 2, 0), batch(6, 9, 1, 2)]),
        // contiguous with different states
        (batch(1, 5, 1, 0), batch(6, 9, 1, 2), vec![batch(1, 5, 1, 0), batch(6, 9, 1, 2)]),
    ];
    for (old, new, expected) in cases {
        assert_eq!(combine(&[old], &[new], -1), expected, "{old:?} and {new:?}");
    }
}

#[test]
fn what_ends_before_the_start_is_dropped_and_what_crosses_it_is_cut() {
    let old = [batch(1, 3, 1, 0), batch(4, 6, 1, 2), batch(8, 9, 1, 2)];
    assert_eq!(combine(&old, &[], 5), [batch(5, 6, 1, 2), batch(8, 9, 1, 2)]);
}

/// The bytes are Kafka's, field by field.
#[test]
fn records_are_written_as_kafka_writes_them() {
    let partition = SharePartition { group: "g".into(), topic_id: Uuid::from_u128(0x0102), partition: 3 };
    let key = |number: u8| {
        let mut key = vec![0, number, 0, 1, b'g'];
        key.extend(0x0102_u128.to_be_bytes());
        key.extend([0, 0, 0, 3]);
        key
    };
    let state = ShareGroupState {
        snapshot_epoch: 1,
        state_epoch: 2,
        leader_epoch: 3,
        start_offset: 4,
        delivery_complete_count: 5,
        created_ms: 6,
        written_ms: 7,
        batches: vec![batch(8, 9, 1, 2)],
    };
    let mut snapshot = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4];
    snapshot.extend([0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7]);
    let batches = [2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 2, 0, 1, 0];
    let count = [1, 0, 4, 0, 0, 0, 5]; // one tag, 0, of four bytes
    snapshot.extend(batches);
    snapshot.extend(count);
    let mut update = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4];
    update.extend(batches);
    update.extend(count);
    let values = [
        (Value::Snapshot(state), key(0), Some(snapshot)),
        (
            Value::Update(Update {
                snapshot_epoch: 1,
                leader_epoch: 3,
                start_offset: 4,
                delivery_complete_count: 5,
                batches: vec![batch(8, 9, 1, 2)],
            }),
            key(1),
            Some(update),
        ),
        (Value::Deleted, key(0), None),
    ];
    for (value, key, bytes) in values {
        let record = Record { partition: partition.clone(), value };
        let encoded = record.encode().unwrap();
        assert_eq!(encoded, Encoded { key: key.clone().into(), value: bytes.clone().map(Into::into) });
        assert_eq!(Record::decode(&key, bytes.as_deref()), Ok(Some(record)));
    }
}

#[test]
fn other_records_are_passed_over() {
    assert_eq!(Record::decode(&[0, 2, 0], None), Ok(None));
    assert!(Record::decode(&[0], None).is_err());
}

/// What `PersisterStateBatchCombiner` of Kafka 4.3.1 made of random batches: the old ones, the new ones, the start
/// offset, the result. A batch is its offsets, state and count.
#[test]
fn batches_are_combined_as_kafka_combines_them() {
    let read = |text: &str| -> Vec<StateBatch> { text.split_whitespace().map(read_batch).collect() };
    for case in include_str!("kafka.txt").lines() {
        let parts: Vec<&str> = case.split('|').collect();
        let [old, new, start, expected] = parts[..] else { panic!("{case}") };
        let combined = combine(&read(old), &read(new), start.parse().expect("an offset"));
        assert_eq!(combined, read(expected), "{case}");
    }
}

fn read_batch(text: &str) -> StateBatch {
    let numbers: Vec<i64> = text.split(['-', ':', 'x']).map(|number| number.parse().expect("a number")).collect();
    let [first, last, state, count] = numbers[..] else { panic!("what is {text}?") };
    batch(first, last, count as i16, state as i8)
}
