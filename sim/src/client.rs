//! Producers with idempotence, each with a few records on their way; and a consumer.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_batch::header::add_sequence;
use ottla_batch::{BatchBuilder, Batches, Codec, NewRecord};
use ottla_broker::replica::partition::Partition;
use ottla_broker::replica::partition::reading::{Bound, ReadFrom, Reader};
use ottla_history::{Checker, Id, Operation, Outcome, Partition as Numbered};
use tokio::time::Instant;

const READER: u32 = 0;
const MAX_READ: usize = 16 << 10;
/// Batches that a producer has on their way to one partition: Kafka's most.
const IN_FLIGHT: u32 = 5;

/// A producer, to one partition.
pub struct Producer {
    number: u32,
    pub partition: usize,
    /// Kafka's sequence of its first record.
    first: i32,
    /// The next record that it has not made yet.
    next: u32,
    /// What is not acknowledged, in order.
    waiting: VecDeque<Waiting>,
    pub connection: Option<Connection>,
}

struct Waiting {
    sequence: u32,
    batch: Bytes,
    sent: Option<Instant>,
}

/// A connection to a broker. What was sent on it arrives in order, if at all, and also after the producer has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub number: u64,
    pub to: usize,
    pub life: u64,
}

impl Producer {
    pub fn new(number: u32, partition: usize, first: i32) -> Producer {
        Producer { number, partition, first, next: 0, waiting: VecDeque::new(), connection: None }
    }

    /// Whether a record of it is not acknowledged.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Its record of this sequence, by the name that it has everywhere.
    pub fn id(&self, sequence: u32) -> Id {
        Id { producer: self.number, sequence }
    }

    /// Since when it waits for the answer to what it sent first on its connection.
    pub fn waits_since(&self) -> Option<Instant> {
        self.waiting.front()?.sent
    }

    /// What is not acknowledged is to be sent again, in order, on this connection.
    pub fn connect(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.waiting.iter_mut().for_each(|waiting| waiting.sent = None);
    }

    /// The next batch to send, if any may be on its way: one that waits to be sent again, or a new one.
    pub fn send(&mut self, make_new: bool, now: Instant) -> Option<(u32, Bytes)> {
        let oldest = self.waiting.front().map_or(self.next, |oldest| oldest.sequence);
        if self.waiting.iter().all(|waiting| waiting.sent.is_some()) {
            if !make_new || self.next >= oldest + IN_FLIGHT {
                return None;
            }
            let batch = self.make(self.next);
            self.waiting.push_back(Waiting { sequence: self.next, batch, sent: None });
            self.next += 1;
        }
        let unsent = self.waiting.iter_mut().find(|waiting| waiting.sent.is_none())?;
        unsent.sent = Some(now);
        Some((unsent.sequence, unsent.batch.clone()))
    }

    fn make(&self, sequence: u32) -> Bytes {
        let value = self.id(sequence).payload(30 + sequence as usize % 50);
        let kafkas = add_sequence(self.first, sequence as i32);
        let mut builder = BatchBuilder::new(Codec::None).producer(i64::from(self.number), 0, kafkas);
        builder.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(&value), ..NewRecord::default() });
        builder.build().bytes().clone()
    }

    /// Whether it is the one that all others wait for.
    pub fn is_oldest(&self, sequence: u32) -> bool {
        self.waiting.front().is_some_and(|oldest| oldest.sequence == sequence)
    }

    /// A record is acknowledged at `offset`.
    pub fn acknowledged(&mut self, sequence: u32, offset: i64, checker: &mut Checker) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.sequence == sequence) else { return };
        self.waiting.remove(at);
        let partition = Numbered(self.partition as u32);
        let outcome = Outcome::Acknowledged { partition, offset: Some(offset) };
        checker.observe(Operation::Produced { id: self.id(sequence), outcome });
    }
}

/// What a reader finds from `offset` on: offsets and ids.
fn read(partition: &Partition, offset: i64) -> Vec<(i64, Option<Id>)> {
    let from = ReadFrom { offset, current_leader_epoch: -1, last_fetched_epoch: -1 };
    let Ok(read) = partition.read(&from, MAX_READ, true, MAX_READ, Reader::Consumer(Bound::HighWatermark)) else {
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
        let number = Numbered(partition.number as u32);
        checker.observe(Operation::Read { reader: READER, partition: number, offset: *offset, id: *id });
        *position = offset + 1;
    }
    found.len()
}

/// Everything in the log, when all is over.
pub fn read_whole(partition: &Partition, checker: &mut Checker) -> i64 {
    let number = Numbered(partition.number as u32);
    let mut next = 0;
    loop {
        let found = read(partition, next);
        for (offset, id) in &found {
            checker.observe(Operation::Logged { partition: number, offset: *offset, id: *id });
            next = offset + 1;
        }
        if found.is_empty() {
            checker.observe(Operation::LogRead { partition: number, start: 0, end: next });
            return next;
        }
    }
}
