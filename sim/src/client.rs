//! Clients over connections: producers with idempotence, each with a few batches on their way, and one without;
//! consumers, one of them near a follower; who deletes records; and a group that commits. Producers that make
//! transactions are in [`crate::transactional`]; their records are for consumers with read_committed alone.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use ottla_batch::header::add_sequence;
use ottla_batch::{BatchBuilder, Codec, NewRecord};
use ottla_broker::replica::partition::Partition;
use ottla_broker::replica::partition::reading::Bound;
use ottla_history::{Checker, Id, Operation, Outcome, Partition as Numbered, transactions};
use ottla_rules::assignment::LeaderEpoch;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::{Bytes, RequestMessage, encode_request};

use crate::judges::Judges;
use crate::network::Network;
use crate::records::{Found, parse, read_up_to};
use crate::topics;

/// What the wall clock shows at the beginning, in milliseconds since 1970.
pub(crate) const BEGINNING_MS: i64 = 1_700_000_000_000;
/// Batches that a producer has on their way to one partition: Kafka's most.
const IN_FLIGHT: u32 = 5;

/// How long a producer waits for an acknowledgement, and others for any answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub number: u64,
    pub to: usize,
}

/// A request that is not answered, and when it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked<T> {
    pub at: Duration,
    pub what: T,
}

/// One who asks for one thing after the other.
#[derive(Debug)]
pub(crate) struct Client<T> {
    pub connection: Option<Connection>,
    pub asked: Option<Asked<T>>,
    correlations: i32,
}

impl<T> Default for Client<T> {
    fn default() -> Client<T> {
        Client { connection: None, asked: None, correlations: 0 }
    }
}

impl<T> Client<T> {
    /// Its connection, while that is there and no answer on it is later than `patience`.
    pub(crate) fn open(&self, network: &Network, patience: Duration, now: Duration) -> Option<Connection> {
        let is_late = self.asked.as_ref().is_some_and(|asked| now - asked.at >= patience);
        self.connection.filter(|connection| network.is_open(connection.number) && !is_late)
    }

    /// Uses this connection, and no longer the one before.
    pub(crate) fn change_to(&mut self, connection: Connection, network: &mut Network) {
        if let Some(old) = self.connection.replace(connection).filter(|old| *old != connection) {
            network.give_up(old.number);
        }
    }

    /// The bytes of a request, which is asked from now on.
    pub(crate) fn ask<R: RequestMessage>(&mut self, version: i16, request: &R, what: T, at: Duration) -> Vec<u8> {
        self.correlations += 1;
        self.asked = Some(Asked { at, what });
        bytes(self.correlations, version, request)
    }
}

/// A request as it is sent.
pub(crate) fn bytes<R: RequestMessage>(correlation: i32, version: i16, request: &R) -> Vec<u8> {
    let frame = encode_request(correlation, None, version, request);
    let chunks = frame.into_chunks();
    chunks
        .iter()
        .filter_map(|chunk| if let ottla_wire::Chunk::Bytes(bytes) = chunk { Some(&bytes[..]) } else { None })
        .flatten()
        .copied()
        .collect()
}

/// A producer, to one partition.
pub(crate) struct Producer {
    number: u32,
    pub partition: usize,
    /// Kafka's sequence of its first record; none: without idempotence, acknowledged by the leader alone.
    first: Option<i32>,
    /// All of its batches are of one size, as those of other producers: one may lie where another was. Two of them are
    /// a piece of what a broker sends from a file (`process`).
    is_even: bool,
    /// The next record that it has not made yet.
    next: u32,
    /// When it made each record, by sequence.
    made: Vec<Duration>,
    /// The records that it has sent more than once.
    repeated: BTreeSet<u32>,
    /// The records that were acknowledged.
    acknowledged: BTreeSet<u32>,
    /// What is not acknowledged, in order.
    waiting: VecDeque<Waiting>,
    pub connection: Option<Connection>,
    /// The leader epoch of its connection's broker when it was made, if that led by the newest entry.
    pub sure_of: Option<LeaderEpoch>,
}

struct Waiting {
    sequence: u32,
    batch: Bytes,
    /// When it was sent on the connection.
    sent: Option<Duration>,
    /// It was sent, on whatever connection.
    was_sent: bool,
}

/// The version of Produce that is sent.
pub(crate) const PRODUCE: i16 = 13;
/// The version of Fetch that consumers send.
pub(crate) const FETCH: i16 = 17;
/// The version of OffsetFetch that is sent.
pub(crate) const OFFSET_FETCH: i16 = 9;

impl Producer {
    pub(crate) fn new(number: u32, partition: usize, first: Option<i32>, is_even: bool) -> Producer {
        Producer {
            number,
            partition,
            first,
            is_even,
            next: 0,
            made: Vec::new(),
            repeated: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            waiting: VecDeque::new(),
            connection: None,
            sure_of: None,
        }
    }

    /// Whether a record of it is not acknowledged.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether every record is acknowledged by all in-sync replicas, or sent again.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.first.is_some()
    }

    /// Its record of this sequence, by the name that it has everywhere.
    pub(crate) fn id(&self, sequence: u32) -> Id {
        Id { producer: self.number, sequence }
    }

    /// Since when it waits for the answer to what it sent first on its connection.
    pub(crate) fn waits_since(&self) -> Option<Duration> {
        self.waiting.front()?.sent
    }

    /// What is not acknowledged is to be sent again, in order, on this connection; or nobody will know what became of
    /// it.
    pub(crate) fn connect(&mut self, connection: Connection, checker: &mut Checker) {
        self.connection = Some(connection);
        if self.is_idempotent() {
            self.waiting.iter_mut().for_each(|waiting| waiting.sent = None);
        } else {
            self.end(checker);
        }
    }

    /// What is not acknowledged by now is in the log or not.
    pub(crate) fn end(&mut self, checker: &mut Checker) {
        for waiting in std::mem::take(&mut self.waiting) {
            checker.observe(Operation::Produced { id: self.id(waiting.sequence), outcome: Outcome::Unknown });
        }
    }

    /// The next request to send, if any may be on its way: one that waits to be sent again, or a new one.
    pub(crate) fn send(&mut self, make_new: bool, now: Duration) -> Option<(u32, Vec<u8>)> {
        let oldest = self.waiting.front().map_or(self.next, |oldest| oldest.sequence);
        if self.waiting.iter().all(|waiting| waiting.sent.is_some()) {
            if !make_new || self.next >= oldest + IN_FLIGHT {
                return None;
            }
            let batch = self.make(self.next, now);
            self.made.push(now);
            self.waiting.push_back(Waiting { sequence: self.next, batch, sent: None, was_sent: false });
            self.next += 1;
        }
        let unsent = self.waiting.iter_mut().find(|waiting| waiting.sent.is_none())?;
        unsent.sent = Some(now);
        if std::mem::replace(&mut unsent.was_sent, true) {
            self.repeated.insert(unsent.sequence);
        }
        let (sequence, batch) = (unsent.sequence, unsent.batch.clone());
        let partition_data = vec![PartitionProduceData { index: self.partition as i32, records: Some(batch.into()) }];
        let topic_data = vec![TopicProduceData { name: Default::default(), topic_id: topics::ID, partition_data }];
        let acks = if self.is_idempotent() { -1 } else { 1 };
        let request = ProduceRequest { transactional_id: None, acks, timeout_ms: 4_000, topic_data };
        Some((sequence, bytes(sequence as i32, PRODUCE, &request)))
    }

    fn make(&self, sequence: u32, now: Duration) -> Bytes {
        let value = self.id(sequence).payload(if self.is_even { 59 } else { 30 + sequence as usize % 50 });
        let mut builder = BatchBuilder::new(Codec::None);
        if let Some(first) = self.first {
            builder = builder.producer(i64::from(self.number), 0, add_sequence(first, sequence as i32));
        }
        let timestamp = BEGINNING_MS + now.as_millis() as i64;
        builder.push(NewRecord { timestamp, value: Some(&value), ..NewRecord::default() });
        builder.build().bytes().clone()
    }

    /// Whether it is the one that all others wait for.
    pub(crate) fn is_oldest(&self, sequence: u32) -> bool {
        self.waiting.front().is_some_and(|oldest| oldest.sequence == sequence)
    }

    /// When it made a record that it has sent more than once.
    pub(crate) fn repeated(&self, sequence: u32) -> Option<Duration> {
        self.repeated.contains(&sequence).then(|| self.made.get(sequence as usize).copied())?
    }

    /// Whether a leader that has the record before this one may have forgotten the producer by now: it has written
    /// nothing that is younger than the last record before this one that was acknowledged, as far as anybody knows.
    pub(crate) fn may_be_forgotten(&self, sequence: u32, now: Duration, expiration: Duration) -> bool {
        let last = self.acknowledged.range(..sequence).next_back().copied().unwrap_or(0);
        self.made.get(last as usize).is_some_and(|made| now.saturating_sub(*made) >= expiration)
    }

    /// A record is acknowledged, at `offset` if that is known.
    pub(crate) fn acknowledged(&mut self, sequence: u32, offset: Option<i64>, checker: &mut Checker) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.sequence == sequence) else { return };
        self.waiting.remove(at);
        self.acknowledged.insert(sequence);
        let partition = Numbered(self.partition as u32);
        // The leader alone may lose it.
        let outcome = if self.is_idempotent() { Outcome::Acknowledged { partition, offset } } else { Outcome::Unknown };
        checker.observe(Operation::Produced { id: self.id(sequence), outcome });
    }

    /// It was refused, and is not sent again.
    pub(crate) fn refused(&mut self, sequence: u32, checker: &mut Checker) {
        self.waiting.retain(|waiting| waiting.sequence != sequence);
        checker.observe(Operation::Produced { id: self.id(sequence), outcome: Outcome::Unknown });
    }
}

/// Reads a partition from where it is.
pub(crate) struct Consumer {
    pub number: u32,
    pub partition: usize,
    pub position: i64,
    /// Where it stands, if it would rather read from a follower there.
    pub rack: Option<String>,
    /// It reads with read_committed, for the records of transactions.
    pub is_committed: bool,
    /// The follower that it was sent to.
    pub preferred: Option<usize>,
    pub client: Client<Wants>,
}

/// What a consumer has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Records,
    Start,
}

impl Consumer {
    pub(crate) fn new(number: u32, partition: usize, rack: Option<String>) -> Consumer {
        let client = Client::default();
        Consumer { number, partition, position: 0, rack, is_committed: false, preferred: None, client }
    }

    /// The bytes of its next fetch.
    pub(crate) fn fetch(&mut self, now: Duration) -> Vec<u8> {
        let wanted = FetchPartition {
            partition: self.partition as i32,
            fetch_offset: self.position,
            partition_max_bytes: 4 << 10,
            ..FetchPartition::default()
        };
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            isolation_level: i8::from(self.is_committed),
            topics: vec![FetchTopic { topic_id: topics::ID, partitions: vec![wanted], ..FetchTopic::default() }],
            rack_id: self.rack.clone().unwrap_or_default().into(),
            ..FetchRequest::default()
        };
        self.client.ask(FETCH, &request, Wants::Records, now)
    }

    /// Goes somewhere else.
    pub(crate) fn seek(&mut self, offset: i64, judges: &mut Judges) {
        self.position = offset;
        let (client, partition) = (self.number, Numbered(self.partition as u32));
        if self.is_committed {
            judges.transactions.observe(transactions::Operation::Seeked { client, partition, offset });
        } else {
            judges.records.observe(Operation::Seeked { reader: client, partition, offset });
        }
    }

    /// Takes records in, of which those of these transactions, by producer and first offset, are aborted; an error when
    /// they are damaged.
    pub(crate) fn take(
        &mut self,
        records: Bytes,
        aborted: &[(i64, i64)],
        judges: &mut Judges,
    ) -> Result<usize, String> {
        let partition = Numbered(self.partition as u32);
        let Found { records, next } = parse(records, if self.is_committed { aborted } else { &[] })?;
        let mut given = Vec::new();
        let before = self.position;
        for (offset, id) in records {
            if offset < before || !judges.wants(id, self.is_committed) {
                continue;
            }
            if self.is_committed {
                given.push(transactions::Given { partition, offset, id });
            } else {
                judges.records.observe(Operation::Read { reader: self.number, partition, offset, id });
            }
        }
        if !given.is_empty() {
            judges.transactions.observe(transactions::Operation::Polled { client: self.number, records: given });
        }
        self.position = self.position.max(next);
        Ok((self.position - before) as usize)
    }
}

/// Everything in the log, when all is over; a record at an offset may be a late copy. With transactions, once more as
/// consumers with read_committed read it.
pub(crate) fn read_whole(
    partition: &Partition,
    judges: &mut Judges,
    with_transactions: bool,
    is_late: impl Fn(i64, Id) -> bool,
) -> (i64, i64) {
    use transactions::{Isolation, Operation as Seen};
    let (number, start) = (Numbered(partition.number as u32), partition.status().log_start);
    let (records, end) = read_up_to(partition, start, Bound::HighWatermark);
    for (offset, id) in records {
        if judges.wants(id, false) {
            judges.records.observe(Operation::Logged { partition: number, offset, id });
            if id.is_some_and(|id| is_late(offset, id)) {
                judges.records.observe(Operation::Late { partition: number, offset });
            }
        }
        if judges.wants(id, true) {
            // Whether somebody has sent a record without a transaction is for the other judge.
            if let Some(id) = id.filter(|id| judges.wants(Some(*id), false)) {
                judges.transactions.observe(Seen::Sent { id });
            }
            let isolation = Isolation::ReadUncommitted;
            judges.transactions.observe(Seen::Logged { isolation, partition: number, offset, id });
        }
    }
    judges.records.observe(Operation::LogRead { partition: number, start, end });
    if with_transactions {
        let isolation = Isolation::ReadUncommitted;
        judges.transactions.observe(Seen::LogRead { isolation, partition: number, start, end });
        let isolation = Isolation::ReadCommitted;
        let (records, end) = read_up_to(partition, start, Bound::LastStable);
        for (offset, id) in records {
            if !judges.wants(id, true) {
                continue;
            }
            judges.transactions.observe(Seen::Logged { isolation, partition: number, offset, id });
        }
        judges.transactions.observe(Seen::LogRead { isolation, partition: number, start, end });
    }
    (start, end)
}
