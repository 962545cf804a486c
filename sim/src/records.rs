//! What is in batches, and in the log of a partition, as those find it who may read from there.

use std::collections::BTreeMap;

use ottla_batch::{Batches, Record};
use ottla_broker::replica::partition::Partition;
use ottla_broker::replica::partition::reading::{Bound, Read, ReadFrom, Reader};
use ottla_history::Id;
use ottla_rules::assignment::LeaderEpoch;
use ottla_wire::{Bytes, Chunk};

const MAX_READ: usize = 16 << 10;

/// What is in some batches.
pub(crate) struct Found {
    /// Offsets and names.
    pub records: Vec<(i64, Option<Id>)>,
    /// The offset behind the last batch; 0 without any.
    pub next: i64,
}

/// Offsets and names of the records in these batches, of which the last may be cut; without those of these aborted
/// transactions, by producer and first offset.
pub(crate) fn parse(records: Bytes, aborted: &[(i64, i64)]) -> Result<Found, String> {
    let mut found = Vec::new();
    let next = each_record(records, aborted, |offset, record| found.push((offset, record.value().and_then(Id::read))))?;
    Ok(Found { records: found, next })
}

/// Shows the records in these batches as a consumer takes them (Kafka's `CompletedFetch`), without those of these
/// aborted transactions; gives the offset behind the last whole batch, 0 without any.
fn each_record(records: Bytes, aborted: &[(i64, i64)], mut each: impl FnMut(i64, &Record)) -> Result<i64, String> {
    let (mut aborted, mut aborting) = (aborted.to_vec(), Vec::new());
    aborted.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
    let mut next = 0;
    for batch in Batches::new(records) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(bad) if matches!(bad.error, ottla_batch::BatchError::Truncated { .. }) => break,
            Err(bad) => return Err(bad.to_string()),
        };
        let header = batch.header();
        let producer = header.producer_id;
        next = header.next_offset();
        while let Some((aborted, _)) = aborted.pop_if(|(_, first)| *first <= header.last_offset()) {
            aborting.push(aborted);
        }
        if header.is_control() {
            aborting.retain(|aborting| *aborting != producer);
            continue;
        }
        if header.is_transactional() && aborting.contains(&producer) {
            continue;
        }
        for record in batch.records(1 << 20).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            each(header.base_offset + i64::from(record.offset_delta), &record);
        }
    }
    Ok(next)
}

/// The batches that consumers may read from here on: base offset, leader epoch, and checksum of the rest.
pub(crate) fn batches_from(partition: &Partition, mut next: i64) -> Vec<(i64, i32, u32)> {
    let mut all = Vec::new();
    loop {
        let Some(read) = read_at(partition, next, Bound::HighWatermark) else { return all };
        let before = all.len();
        for batch in Batches::new(in_memory(read.chunk)).map_while(|batch| batch.ok()) {
            let header = batch.header();
            all.push((header.base_offset, header.partition_leader_epoch, header.crc));
            next = header.next_offset();
        }
        if all.len() == before {
            return all;
        }
    }
}

/// A compacted log, as who replays it finds it.
pub(crate) struct Latest {
    /// The offset and the value of each key's last record.
    pub by_key: BTreeMap<Vec<u8>, (i64, Option<Vec<u8>>)>,
    pub end: i64,
}

/// What is in a compacted log; `None` while something in it is not committed, or not decided.
pub(crate) fn latest(partition: &Partition) -> Option<Latest> {
    let (mut by_key, mut next) = (BTreeMap::new(), partition.status().log_start);
    let end = partition.log_end.get();
    while next < end {
        let read = read_at(partition, next, Bound::LastStable)?;
        let aborted = aborted_in(&read);
        let mut note = |offset, record: &Record| {
            if let Some(key) = record.key() {
                by_key.insert(key.to_vec(), (offset, record.value().map(<[u8]>::to_vec)));
            }
        };
        let read_to = each_record(in_memory(read.chunk), &aborted, &mut note).ok()?;
        if read_to <= next {
            return None;
        }
        next = read_to;
    }
    Some(Latest { by_key, end })
}

/// The aborted transactions that a consumer hears of, by producer and first offset.
fn aborted_in(read: &Read) -> Vec<(i64, i64)> {
    read.aborted.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect()
}

/// The records that a consumer may see, and where it ends.
pub(crate) fn read_up_to(partition: &Partition, start: i64, bound: Bound) -> (Vec<(i64, Option<Id>)>, i64) {
    let (mut next, mut all) = (start, Vec::new());
    loop {
        let Some(read) = read_at(partition, next, bound) else { return (all, next) };
        let aborted = aborted_in(&read);
        let found = parse(in_memory(read.chunk), &aborted).unwrap_or(Found { records: Vec::new(), next: 0 });
        all.extend(found.records.into_iter().filter(|(offset, _)| *offset >= next));
        if found.next <= next {
            return (all, next);
        }
        next = found.next;
    }
}

/// What a broker would send to a consumer, where it can.
fn read_at(partition: &Partition, offset: i64, bound: Bound) -> Option<Read> {
    let from = ReadFrom {
        offset,
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
        log_start: -1,
    };
    partition.read(&from, MAX_READ, true, MAX_READ, Reader::Roaming(bound)).ok()
}

fn in_memory(chunk: Option<Chunk>) -> Bytes {
    match chunk {
        Some(Chunk::Bytes(bytes)) => bytes,
        Some(Chunk::File(slice)) => crate::process::read_slice(&slice).unwrap_or_default(),
        None => Bytes::new(),
    }
}
