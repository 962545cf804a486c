//! Producers with idempotence, each with one record in flight, which it sends until it is acknowledged; and a consumer.

use bytes::Bytes;
use ottla_batch::{BatchBuilder, Batches, Codec, NewRecord};
use ottla_broker::replica::partition::reading::{Bound, ReadFrom, Reader};
use ottla_broker::replica::partition::{Appended, Partition};
use ottla_history::{Checker, Id, Operation, Outcome, Partition as Numbered};
use tokio::time::Instant;

/// The only partition.
pub const PARTITION: Numbered = Numbered(0);
const READER: u32 = 0;
const MAX_READ: usize = 16 << 10;

/// A producer.
pub struct Producer {
    pub id: Id,
    /// Its record, while it is not acknowledged.
    batch: Option<Bytes>,
    /// Where it was sent last: the broker, its process, what became of it there, and when.
    pub sent: Option<(usize, u64, Appended, Instant)>,
}

impl Producer {
    pub fn new(producer: u32) -> Producer {
        Producer { id: Id { producer, sequence: 0 }, batch: None, sent: None }
    }

    /// Whether a record of it is not acknowledged.
    pub fn is_waiting(&self) -> bool {
        self.batch.is_some()
    }

    /// Its record's batch: the one that is not acknowledged, or the next one.
    pub fn batch(&mut self) -> &Bytes {
        let Id { producer, sequence } = self.id;
        self.batch.get_or_insert_with(|| {
            let value = self.id.payload(30 + sequence as usize % 50);
            let mut builder = BatchBuilder::new(Codec::None).producer(i64::from(producer), 0, sequence as i32);
            builder.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(&value), ..NewRecord::default() });
            builder.build().bytes().clone()
        })
    }

    /// Its record is acknowledged at `offset`.
    pub fn acknowledged(&mut self, offset: i64, checker: &mut Checker) {
        let outcome = Outcome::Acknowledged { partition: PARTITION, offset: Some(offset) };
        checker.observe(Operation::Produced { id: self.id, outcome });
        self.id.sequence += 1;
        self.batch = None;
        self.sent = None;
    }
}

/// What a reader finds from `offset` on: offsets and ids.
fn read(partition: &Partition, offset: i64) -> Vec<(i64, Option<Id>)> {
    let from = ReadFrom { offset, current_leader_epoch: -1, last_fetched_epoch: -1 };
    let Ok(read) = partition.read(&from, MAX_READ, true, Reader::Consumer(Bound::HighWatermark)) else {
        return Vec::new(); // another broker leads, or it does not know yet how much is committed
    };
    let Some(ottla_wire::Chunk::Bytes(bytes)) = read.chunk else { return Vec::new() };
    let batches = Batches::new(bytes).filter_map(Result::ok);
    let ids = batches.flat_map(|batch| {
        let base = batch.header().base_offset;
        let records: Vec<_> = batch.records(1 << 20).into_iter().flatten().filter_map(Result::ok).collect();
        records.into_iter().enumerate().map(move |(at, record)| (base + at as i64, record.value().and_then(Id::read)))
    });
    ids.filter(|(at, _)| *at >= offset).collect()
}

/// A consumer that reads on from `position`, wherever a broker believes that it leads.
pub fn consume(partition: &Partition, position: &mut i64, checker: &mut Checker) -> usize {
    let found = read(partition, *position);
    for (offset, id) in &found {
        checker.observe(Operation::Read { reader: READER, partition: PARTITION, offset: *offset, id: *id });
        *position = offset + 1;
    }
    found.len()
}

/// Everything in the log, when all is over.
pub fn read_whole(partition: &Partition, checker: &mut Checker) -> i64 {
    let mut next = 0;
    loop {
        let found = read(partition, next);
        for (offset, id) in &found {
            checker.observe(Operation::Logged { partition: PARTITION, offset: *offset, id: *id });
            next = offset + 1;
        }
        if found.is_empty() {
            checker.observe(Operation::LogRead { partition: PARTITION, start: 0, end: next });
            return next;
        }
    }
}
