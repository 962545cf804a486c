//! Bytes of Kafka 4.3.1's own `TransactionLog.keyToBytes` and `valueToBytes`.

use proptest::prelude::*;

use super::*;
use crate::ids::TopicPartition;
use crate::transaction::{TransactionResult, TransactionState};

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

const KEY: &str = "000000066f7264657273"; // of "orders"

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn record(version: ValueVersion, transaction: Transaction) -> Record {
    Record { transactional_id: "orders".into(), value: Some(Value { version, transaction }) }
}

fn empty() -> Transaction {
    Transaction::new(1000, 60_000, 1_795_234_565_966)
}

fn ongoing() -> Transaction {
    Transaction {
        producer_epoch: 3,
        state: TransactionState::Ongoing,
        partitions: [partition("payments", 0), partition("payments", 7), partition("words", 2)].into(),
        start_ms: Some(1_795_234_565_000),
        client_version: TransactionVersion::V2,
        ..empty()
    }
}

/// A value and what it means.
fn of_kafka() -> Vec<(&'static str, Record)> {
    use ValueVersion::{V0, V1};
    // Version 0 does not say who came before, and by which protocol.
    let plain = Transaction { previous_producer_id: None, client_version: TransactionVersion::V0, ..ongoing() };
    let one = || [partition("payments", 0)].into();
    let none = || [].into();
    vec![
        (
            "000100000000000003e800000000ea600000000001a1fc518f4effffffffffffffff01000800000000000003e8",
            record(V1, empty()),
        ),
        (
            "000100000000000003e800030000ea600103097061796d656e74730300000000000000070006776f726473020000000200000001\
             a1fc518f4e000001a1fc518b8802000800000000000003e802020002",
            record(V1, ongoing()),
        ),
        (
            "000100000000000003e800030000ea600102097061796d656e7473020000000000000001a1fc518f4e000001a1fc518b88010008\
             00000000000003e8",
            record(V1, Transaction { partitions: one(), client_version: TransactionVersion::V0, ..ongoing() }),
        ),
        (
            "000100000000000003e87fff0000ea600202097061796d656e7473020000000000000001a1fc518f4e000001a1fc518b88030008\
             00000000000003e8010800000000000007d002020002",
            record(
                V1,
                Transaction {
                    producer_epoch: 32_767,
                    next_producer_id: Some(2000),
                    state: TransactionState::Prepare(TransactionResult::Commit),
                    partitions: one(),
                    ..ongoing()
                },
            ),
        ),
        (
            "000100000000000003e800040000ea600301000001a1fc518f4e000001a1fc518b8802000800000000000003e802020002",
            record(
                V1,
                Transaction {
                    producer_epoch: 4,
                    state: TransactionState::Prepare(TransactionResult::Abort),
                    partitions: none(),
                    ..ongoing()
                },
            ),
        ),
        (
            "000100000000000007d000000000ea600401000001a1fc518f4e000001a1fc518b8802000800000000000003e802020002",
            record(
                V1,
                Transaction {
                    producer_id: 2000,
                    producer_epoch: 0,
                    state: TransactionState::Complete(TransactionResult::Commit),
                    partitions: none(),
                    ..ongoing()
                },
            ),
        ),
        (
            "000100000000000003e800040000ea600501000001a1fc518f4e000001a1fc518b8802000800000000000003e802020002",
            record(
                V1,
                Transaction {
                    producer_epoch: 4,
                    state: TransactionState::Complete(TransactionResult::Abort),
                    partitions: none(),
                    ..ongoing()
                },
            ),
        ),
        (
            "000000000000000003e800000000ea6000ffffffff000001a1fc518f4effffffffffffffff",
            record(V0, Transaction { previous_producer_id: None, ..empty() }),
        ),
        (
            "000000000000000003e800030000ea60010000000200087061796d656e74730000000200000000000000070005776f7264730000\
             000100000002000001a1fc518f4e000001a1fc518b88",
            record(V0, plain.clone()),
        ),
        (
            "000000000000000003e800030000ea60020000000100087061796d656e74730000000100000000000001a1fc518f4e000001a1fc\
             518b88",
            record(
                V0,
                Transaction {
                    state: TransactionState::Prepare(TransactionResult::Commit),
                    partitions: one(),
                    ..plain.clone()
                },
            ),
        ),
        (
            "000000000000000003e800030000ea600500000000000001a1fc518f4e000001a1fc518b88",
            record(
                V0,
                Transaction {
                    state: TransactionState::Complete(TransactionResult::Abort),
                    partitions: none(),
                    ..plain
                },
            ),
        ),
    ]
}

#[test]
fn kafkas_records_are_read_and_written_byte_for_byte() {
    for (value, record) in of_kafka() {
        let (key, value) = (hex(KEY), hex(value));
        assert_eq!(Record::decode(&key, Some(&value)), Ok(Some(record.clone())));
        let encoded = record.encode().expect("it fits");
        assert_eq!((&encoded.key[..], encoded.value.as_deref()), (&key[..], Some(&value[..])), "{record:?}");
    }
}

#[test]
fn the_last_epoch_stands_in_a_tagged_field_that_kafka_passes_over() {
    let transaction = Transaction { last_producer_epoch: Some(2), ..ongoing() };
    let encoded = record(ValueVersion::V1, transaction.clone()).encode().expect("it fits");
    let of_kafka = record(ValueVersion::V1, ongoing()).encode().expect("it fits");
    let (value, of_kafka) = (encoded.value.expect("a value"), of_kafka.value.expect("a value"));
    assert_eq!(value[value.len() - 5..], hex("e807020002"), "tag 1000, two bytes, 2");
    assert_eq!(value.len(), of_kafka.len() + 5);
    let decoded = Record::decode(&hex(KEY), Some(&value));
    assert_eq!(decoded, Ok(Some(record(ValueVersion::V1, transaction))));
}

#[test]
fn the_clusters_version_decides_on_the_format_unless_something_would_be_lost() {
    use TransactionVersion as Cluster;
    let plain = Transaction { client_version: Cluster::V0, ..ongoing() };
    let next = Transaction { next_producer_id: Some(5), ..plain.clone() };
    let cases = [
        (Cluster::V0, &plain, ValueVersion::V0),
        (Cluster::V1, &plain, ValueVersion::V1),
        (Cluster::V2, &plain, ValueVersion::V1),
        (Cluster::V0, &ongoing(), ValueVersion::V1),
        (Cluster::V0, &next, ValueVersion::V1),
    ];
    for (cluster, transaction, version) in cases {
        let record = Record::of("orders".into(), transaction.clone(), cluster);
        assert_eq!(record.value.expect("a value").version, version, "{cluster:?} {transaction:?}");
    }
}

#[test]
fn a_tombstone_is_a_key_alone() {
    let tombstone = Record { transactional_id: "orders".into(), value: None };
    let encoded = tombstone.encode().expect("it fits");
    assert_eq!(encoded, Encoded { key: hex(KEY).into(), value: None });
    assert_eq!(Record::decode(&hex(KEY), None), Ok(Some(tombstone)));
}

fn with_status(status: u8) -> Result<Option<Record>, Malformed> {
    let encoded = record(ValueVersion::V1, empty()).encode().expect("it fits");
    let mut value = encoded.value.expect("a value").to_vec();
    value[16] = status; // after version, producer id, epoch and timeout
    Record::decode(&encoded.key, Some(&value))
}

#[test]
fn a_dead_id_is_a_deleted_one() {
    assert_eq!(with_status(6), Ok(Some(Record { transactional_id: "orders".into(), value: None })));
}

#[test]
fn states_that_are_never_written_are_malformed() {
    for status in [7, 8, 255] {
        assert_eq!(with_status(status), Err(Malformed), "{status}");
    }
    assert_eq!(with_status(1), Err(Malformed), "an open transaction has a list of partitions");
}

#[test]
fn keys_and_values_of_unknown_versions_are_passed_over() {
    assert_eq!(Record::decode(&hex("0001000178"), Some(&hex("0000"))), Ok(None));
    assert_eq!(Record::decode(&hex("0001000178"), None), Ok(None));
    assert_eq!(Record::decode(&hex(KEY), Some(&hex("0002ff"))), Ok(None));
    assert_eq!(Record::decode(&hex(KEY), Some(&hex("ffff"))), Ok(None));
    assert_eq!(Record::decode(&hex(KEY), Some(&hex("00"))), Err(Malformed));
    assert_eq!(Record::decode(&hex("00"), None), Err(Malformed));
}

#[test]
fn what_does_not_fit_the_format_is_refused() {
    let record = Record { transactional_id: "x".repeat(40_000).as_str().into(), value: None };
    assert_eq!(record.encode(), Err(TooLong));
}

fn transactions() -> impl Strategy<Value = Transaction> {
    let some = || prop::option::of(0i64..i64::MAX);
    let names = prop::collection::btree_set(("[a-c]{1,3}", 0..5i32), 0..8);
    let states = prop::sample::select(&TransactionState::ALL[..]);
    let versions = prop::sample::select(vec![TransactionVersion::V0, TransactionVersion::V1, TransactionVersion::V2]);
    let epochs = (any::<i16>(), prop::option::of(0..i16::MAX));
    let numbers = (any::<i64>(), any::<i32>(), any::<i64>());
    (numbers, epochs, (some(), some(), some()), names, states, versions).prop_map(
        |(
            (producer_id, timeout_ms, last_update_ms),
            epochs,
            (previous, next, start_ms),
            names,
            state,
            client_version,
        )| {
            let partitions = names.iter().map(|(topic, number)| partition(topic, *number));
            Transaction {
                producer_id,
                producer_epoch: epochs.0,
                previous_producer_id: previous,
                next_producer_id: next,
                last_producer_epoch: epochs.1,
                timeout_ms,
                state,
                partitions: if state == TransactionState::Empty { [].into() } else { partitions.collect() },
                start_ms,
                last_update_ms,
                client_version,
            }
        },
    )
}

proptest! {
    #[test]
    fn transactions_come_back(transaction in transactions()) {
        let record = record(ValueVersion::V1, transaction);
        let encoded = record.encode().expect("it fits");
        prop_assert_eq!(Record::decode(&encoded.key, encoded.value.as_deref()), Ok(Some(record)));
    }

    #[test]
    fn broken_records_are_malformed_or_another_record(
        transaction in transactions(),
        at in 0usize..100,
        byte: u8,
        cut: bool,
    ) {
        let encoded = record(ValueVersion::V1, transaction).encode().expect("it fits");
        let (mut key, mut value) = (encoded.key.to_vec(), encoded.value.unwrap_or_default().to_vec());
        for bytes in [&mut key, &mut value] {
            if cut {
                bytes.truncate(at);
            } else if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
        }
        let _ = Record::decode(&key, Some(&value));
    }
}
