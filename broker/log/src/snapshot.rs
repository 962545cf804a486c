//! `<offset>.snapshot`: the producers as of an offset, in Kafka's format, version 1.
//!
//! A short header with a CRC-32C over everything after it, then 46 bytes per producer. Only a producer's last batch is
//! kept: after a restart an older duplicate is out of order, as in Kafka.

use std::collections::VecDeque;

use crc_fast::CrcAlgorithm::Crc32Iscsi;

use crate::producers::{NONE, ProducedBatch, Producer, Producers};

const VERSION: i16 = 1;
const ENTRY_LEN: usize = 46;

/// Where what the checksum covers begins: after the version and the checksum itself.
const CHECKED_FROM: usize = 6;

pub(crate) fn encode(producers: &Producers) -> Vec<u8> {
    let mut entries: Vec<(i64, &Producer)> = producers.iter().collect();
    entries.sort_by_key(|(id, _)| *id);
    let mut checked = (entries.len() as i32).to_be_bytes().to_vec();
    for (id, producer) in entries {
        let last = producer.batches.back();
        checked.extend(id.to_be_bytes());
        checked.extend(producer.epoch.to_be_bytes());
        checked.extend(last.map_or(NONE, |b| b.last_sequence).to_be_bytes());
        checked.extend(last.map_or(NONE.into(), |b| b.last_offset).to_be_bytes());
        checked.extend(last.map_or(0, |b| b.offset_delta).to_be_bytes());
        checked.extend(producer.last_timestamp.to_be_bytes());
        checked.extend(producer.coordinator_epoch.to_be_bytes());
        checked.extend(producer.transaction_start.unwrap_or(NONE.into()).to_be_bytes());
    }
    let crc = crc_fast::checksum(Crc32Iscsi, &checked) as u32;
    [&VERSION.to_be_bytes()[..], &crc.to_be_bytes(), &checked].concat()
}

/// Read a snapshot; none when its bytes are not what was written.
pub(crate) fn decode(bytes: &[u8]) -> Option<Producers> {
    let (head, checked) = bytes.split_at_checked(CHECKED_FROM)?;
    let [v0, v1, crc @ ..] = *head.first_chunk::<CHECKED_FROM>()?;
    let crc_matches = u32::from_be_bytes(crc) == crc_fast::checksum(Crc32Iscsi, checked) as u32;
    if i16::from_be_bytes([v0, v1]) != VERSION || !crc_matches {
        return None;
    }
    let (count, entries) = checked.split_first_chunk()?;
    let (entries, rest) = entries.as_chunks::<ENTRY_LEN>();
    if !rest.is_empty() || i32::from_be_bytes(*count) as usize != entries.len() {
        return None;
    }
    let mut producers = Producers::default();
    for entry in entries {
        let (id, producer) = decode_entry(entry);
        producers.insert(id, producer);
    }
    Some(producers)
}

fn decode_entry(bytes: &[u8; ENTRY_LEN]) -> (i64, Producer) {
    let last_offset = i64::from_be_bytes(at(bytes, 14));
    let last_timestamp = i64::from_be_bytes(at(bytes, 26));
    let transaction_start = i64::from_be_bytes(at(bytes, 38));
    let mut batches = VecDeque::new();
    // A coordinator's batches have no sequence.
    if last_offset >= 0 {
        batches.push_back(ProducedBatch {
            last_sequence: i32::from_be_bytes(at(bytes, 10)),
            last_offset,
            offset_delta: i32::from_be_bytes(at(bytes, 22)),
            timestamp: last_timestamp,
        });
    }
    let producer = Producer {
        epoch: i16::from_be_bytes(at(bytes, 8)),
        batches,
        last_timestamp,
        coordinator_epoch: i32::from_be_bytes(at(bytes, 34)),
        transaction_start: (transaction_start >= 0).then_some(transaction_start),
    };
    (i64::from_be_bytes(at(bytes, 0)), producer)
}

fn at<const N: usize>(bytes: &[u8; ENTRY_LEN], position: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[position + i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producers::tests::{ABORT, batch, marker_at, transactional};

    /// Written by Kafka 4.3.1: two producers, ten records each.
    const KAFKA: &[u8] = include_bytes!("../tests/kafka-4.3.1/flights-0/00000000000000000020.snapshot");

    #[test]
    fn kafkas_own_snapshot_is_read_and_written_alike() {
        let producers = decode(KAFKA).unwrap();
        let first = producers.get(0).unwrap();
        assert_eq!(first.batches, [ProducedBatch { last_sequence: 9, last_offset: 9, ..first.batches[0] }]);
        let second = producers.get(1000).unwrap();
        assert_eq!(second.batches, [ProducedBatch { last_sequence: 9, last_offset: 19, ..second.batches[0] }]);
        assert_eq!(second.batches[0].first_offset(), 10);
        assert_eq!(encode(&producers), KAFKA);
    }

    #[test]
    fn the_last_batch_and_an_open_transaction_survive() {
        let mut producers = Producers::default();
        producers.note(&batch(2, 0, 3, 10), None, 0);
        producers.note(&marker_at(2, 13), Some(ABORT), 0);
        producers.note(&transactional(batch(2, 3, 3, 14)), None, 0);
        let read = decode(&encode(&producers)).unwrap();
        assert_eq!(read.first_undecided(), Some(14));
        let (read, written) = (read.get(7).unwrap(), producers.get(7).unwrap());
        assert_eq!(read.batches, [written.batches[1]]);
        assert_eq!((read.transaction_start, read.coordinator_epoch), (Some(14), 5));
        assert_eq!((read.epoch, read.last_timestamp), (written.epoch, written.last_timestamp));
    }

    #[test]
    fn no_changed_or_missing_byte_goes_unnoticed() {
        for position in 0..KAFKA.len() {
            let mut changed = KAFKA.to_vec();
            changed[position] ^= 0x10;
            assert!(decode(&changed).is_none(), "byte {position} changed");
            assert!(decode(&KAFKA[..position]).is_none(), "cut at {position}");
        }
    }
}
