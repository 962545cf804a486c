//! Good histories: clients with random schedules over logs in memory, with markers that come late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_history::transactions::Operation::{
    Acknowledged, Assigned, AtEnd, Begun, Ended, GroupRead, LogRead, Logged, OffsetsSent, Polled, Seeked, Sent,
};
use ottla_history::transactions::{Given, Isolation, Operation, Outcome, Protocol};
use ottla_history::{Id, Partition};

/// The group of all jobs.
pub const GROUP: u32 = 7;
/// Consumed by the jobs: the first of them.
const INPUTS: usize = 2;
const PARTITIONS: usize = 5;
const MAX_POLL: usize = 5;

/// xorshift64*: enough to choose with.
pub struct Random(u64);

impl Random {
    /// Seeds that lie side by side begin far from each other.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What may be wrong with brokers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Consumers are given records of open transactions.
    NoLastStableOffset,
    /// Now and then a partition does not hear of a commit.
    LostMarker,
    /// An abort commits the group's offsets.
    OffsetsOfAborted,
    /// A member is given the group's offset while a transaction may still change it.
    UnstableOffset,
    /// Now and then a retry is appended again.
    NoIdempotence,
}

/// What an offset holds.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Record(Id, Option<usize>),
    Marker,
}

/// A transaction, as the brokers know it.
#[derive(Default)]
struct Transaction {
    partitions: Vec<usize>,
    offsets: Vec<(usize, i64)>,
    /// Whether it is committed, once that is decided.
    is_committed: Option<bool>,
}

/// Brokers: logs, transactions, a group's offsets.
#[derive(Default)]
struct Brokers {
    fault: Option<Fault>,
    logs: [Vec<Entry>; PARTITIONS],
    transactions: Vec<Transaction>,
    /// Where a transaction has records and no marker yet, with the first of them.
    unmarked: BTreeMap<(usize, usize), i64>,
    /// Markers that are decided and not written: a partition, or the group's.
    due: Vec<(usize, Option<usize>)>,
    committed: BTreeMap<usize, i64>,
    /// Partitions that did not hear of a commit.
    deaf: BTreeSet<(usize, usize)>,
}

impl Brokers {
    fn append(&mut self, partition: usize, id: Id, transaction: Option<usize>, random: &mut Random) -> i64 {
        let offset = self.logs[partition].len() as i64;
        self.logs[partition].push(Entry::Record(id, transaction));
        if self.fault == Some(Fault::NoIdempotence) && random.one_in(10) {
            self.logs[partition].push(Entry::Record(id, transaction));
        }
        if let Some(transaction) = transaction {
            self.unmarked.entry((partition, transaction)).or_insert(offset);
            let partitions = &mut self.transactions[transaction].partitions;
            if !partitions.contains(&partition) {
                partitions.push(partition);
            }
        }
        offset
    }

    fn decide(&mut self, transaction: usize, is_committed: bool) {
        let decided = &mut self.transactions[transaction];
        decided.is_committed = Some(is_committed);
        self.due.extend(decided.partitions.iter().map(|partition| (transaction, Some(*partition))));
        if !decided.offsets.is_empty() {
            self.due.push((transaction, None));
        }
    }

    fn write_marker(&mut self, random: &mut Random) {
        let Some(last) = self.due.len().checked_sub(1) else { return };
        let (transaction, partition) = self.due.swap_remove(random.below(last + 1));
        match partition {
            Some(partition) => {
                self.logs[partition].push(Entry::Marker);
                if self.fault == Some(Fault::LostMarker) && random.one_in(10) {
                    self.deaf.insert((partition, transaction));
                }
                self.unmarked.remove(&(partition, transaction));
            }
            None if self.transactions[transaction].is_committed == Some(true)
                || self.fault == Some(Fault::OffsetsOfAborted) =>
            {
                self.committed.extend(self.transactions[transaction].offsets.iter().copied());
            }
            None => {}
        }
    }

    /// Whether a transaction has ended everywhere.
    fn is_complete(&self, transaction: usize) -> bool {
        self.transactions[transaction].is_committed.is_some() && self.due.iter().all(|due| due.0 != transaction)
    }

    /// Whether an offset of the group may still change: UNSTABLE_OFFSET_COMMIT.
    fn is_unstable(&self, partition: usize) -> bool {
        let may_change = self.transactions.iter().enumerate().any(|(number, transaction)| {
            transaction.offsets.iter().any(|(input, _)| *input == partition) && !self.is_complete(number)
        });
        may_change && self.fault != Some(Fault::UnstableOffset)
    }

    fn end(&self, isolation: Isolation, partition: usize) -> i64 {
        let first_open = self.unmarked.iter().filter(|((of, _), _)| *of == partition).map(|(_, first)| *first).min();
        let end = self.logs[partition].len() as i64;
        match isolation {
            Isolation::ReadCommitted if self.fault != Some(Fault::NoLastStableOffset) => first_open.unwrap_or(end),
            Isolation::ReadCommitted | Isolation::ReadUncommitted => end,
        }
    }

    fn read(&self, isolation: Isolation, partition: usize, from: i64) -> impl Iterator<Item = (i64, Id)> {
        let end = self.end(isolation, partition);
        let log = (0..end).zip(&self.logs[partition]).skip(from.max(0) as usize);
        log.filter_map(move |(offset, entry)| match entry {
            Entry::Record(id, None) => Some((offset, *id)),
            Entry::Record(id, Some(transaction)) => {
                let is_committed = match self.transactions[*transaction].is_committed {
                    Some(is_committed) => is_committed && !self.deaf.contains(&(partition, *transaction)),
                    None => self.fault == Some(Fault::NoLastStableOffset),
                };
                (is_committed || isolation == Isolation::ReadUncommitted).then_some((offset, *id))
            }
            Entry::Marker => None,
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// Writes without transactions.
    Plain,
    /// Writes to several partitions in a transaction, and reads others.
    Multi,
    /// A member of the group: reads inputs, writes to the rest.
    Job,
    /// Reads all partitions.
    Reader,
}

struct Client {
    role: Role,
    number: u32,
    sequence: u32,
    open: Option<usize>,
    /// The transaction before: a new one waits for it.
    last: Option<usize>,
    positions: BTreeMap<usize, i64>,
    /// What a job has been given and not yet answered.
    batch: VecDeque<(usize, i64)>,
    /// From the first record of the batch to the last, by partition.
    taken: BTreeMap<usize, (i64, i64)>,
}

impl Client {
    fn new(role: Role, number: u32) -> Client {
        let positions = BTreeMap::new();
        let (batch, taken) = (VecDeque::new(), BTreeMap::new());
        Client { role, number, sequence: 0, open: None, last: None, positions, batch, taken }
    }
}

/// A history, its last reads included; a good one, if brokers have no fault.
pub fn history(random: &mut Random, fault: Option<Fault>) -> Vec<Operation> {
    let brokers = Brokers { fault, ..Brokers::default() };
    let mut world = World { brokers, clients: Vec::new(), begun: 0, told: Vec::new() };
    for role in [Role::Plain, Role::Multi, Role::Multi, Role::Job, Role::Job, Role::Reader] {
        world.begin(role);
    }
    for _ in 0..200 + random.below(600) {
        match random.below(40) {
            0 => world.rebalance(random),
            1 => world.crash(random),
            2..8 => world.brokers.write_marker(random),
            _ => world.act(random),
        }
    }
    world.finish(random);
    world.told
}

struct World {
    brokers: Brokers,
    clients: Vec<Client>,
    begun: u32,
    told: Vec<Operation>,
}

fn numbered(partition: usize) -> Partition {
    Partition(partition as u32)
}

impl World {
    /// A new client, which reads from the beginning; a job waits for a rebalance.
    fn begin(&mut self, role: Role) {
        let mut client = Client::new(role, self.begun);
        self.begun += 1;
        if matches!(role, Role::Multi | Role::Reader) {
            for partition in 0..PARTITIONS {
                client.positions.insert(partition, 0);
                self.told.push(Seeked { client: client.number, partition: numbered(partition), offset: 0 });
            }
        }
        self.clients.push(client);
    }

    fn act(&mut self, random: &mut Random) {
        let at = random.below(self.clients.len());
        match self.clients[at].role {
            Role::Plain => self.send(at, random.below(PARTITIONS), random),
            Role::Reader => self.poll(at, random),
            Role::Multi => match (self.clients[at].open, random.below(6)) {
                (_, 0) => self.poll(at, random),
                (None, _) => self.open(at, random),
                (Some(_), 1) => self.end(at, random),
                (Some(_), _) => self.send(at, random.below(PARTITIONS), random),
            },
            Role::Job => match (self.clients[at].open, self.clients[at].batch.pop_front()) {
                (None, None) => self.poll(at, random),
                (None, Some(taken)) => {
                    self.clients[at].batch.push_front(taken);
                    self.open(at, random);
                }
                // Now and then one has no output.
                (Some(_), Some(_)) if random.one_in(8) => {}
                (Some(_), Some(_)) => self.send(at, INPUTS + random.below(PARTITIONS - INPUTS), random),
                (Some(_), None) => self.end(at, random),
            },
        }
    }

    fn open(&mut self, at: usize, random: &mut Random) {
        let client = &mut self.clients[at];
        if client.last.is_some_and(|last| !self.brokers.is_complete(last)) {
            return;
        }
        client.open = Some(self.brokers.transactions.len());
        self.brokers.transactions.push(Transaction::default());
        let protocol = if random.one_in(2) { Protocol::V1 } else { Protocol::V2 };
        self.told.push(Begun { client: client.number, protocol });
    }

    fn send(&mut self, at: usize, partition: usize, random: &mut Random) {
        let client = &mut self.clients[at];
        let id = Id { producer: client.number, sequence: client.sequence };
        client.sequence += 1;
        self.told.push(Sent { id });
        // A record without a transaction may be lost on its way.
        if client.open.is_none() && random.one_in(5) {
            return;
        }
        let offset = self.brokers.append(partition, id, client.open, random);
        if !random.one_in(4) {
            let offset = Some(offset).filter(|_| !random.one_in(4));
            self.told.push(Acknowledged { id, partition: numbered(partition), offset });
        }
    }

    fn poll(&mut self, at: usize, random: &mut Random) {
        let client = &mut self.clients[at];
        let mut records = Vec::new();
        for (&partition, position) in &mut client.positions {
            let found = self.brokers.read(Isolation::ReadCommitted, partition, *position).take(random.below(MAX_POLL));
            let found: Vec<(i64, Id)> = found.collect();
            for (offset, id) in found {
                records.push(Given { partition: numbered(partition), offset, id: Some(id) });
                *position = offset + 1;
                if client.role == Role::Job {
                    client.batch.push_back((partition, offset));
                    client.taken.entry(partition).or_insert((offset, 0)).1 = offset + 1;
                }
            }
        }
        self.told.push(Polled { client: client.number, records });
    }

    fn end(&mut self, at: usize, random: &mut Random) {
        let client = &mut self.clients[at];
        let Some(transaction) = client.open.take() else { return };
        for (partition, (from, to)) in &client.taken {
            self.brokers.transactions[transaction].offsets.push((*partition, *to));
            let (partition, taken) = (numbered(*partition), *from..*to);
            self.told.push(OffsetsSent { client: client.number, group: GROUP, partition, taken });
        }
        let is_committed = !random.one_in(4);
        self.brokers.decide(transaction, is_committed);
        if random.one_in(8) {
            // No broker answers: the client is replaced, and may have no time to report even that.
            if random.one_in(2) {
                self.told.push(Ended { client: client.number, outcome: Outcome::InDoubt });
            }
            return self.replace(at);
        }
        let outcome = if is_committed { Outcome::Committed } else { Outcome::Aborted };
        self.told.push(Ended { client: client.number, outcome });
        client.last = Some(transaction);
        for (partition, (from, _)) in std::mem::take(&mut client.taken) {
            if !is_committed {
                client.positions.insert(partition, from);
                self.told.push(Seeked { client: client.number, partition: numbered(partition), offset: from });
            }
        }
    }

    /// A client dies: what it has open is aborted.
    fn crash(&mut self, random: &mut Random) {
        let at = random.below(self.clients.len());
        if let Some(transaction) = self.clients[at].open.take() {
            self.brokers.decide(transaction, false);
        }
        if self.clients[at].role != Role::Reader {
            self.replace(at);
        }
    }

    fn replace(&mut self, at: usize) {
        let gone = self.clients.remove(at);
        self.begin(gone.role);
    }

    /// Every input goes to some member, which begins where the group has committed. Open transactions are aborted.
    fn rebalance(&mut self, random: &mut Random) {
        for client in self.clients.iter_mut().filter(|client| client.role == Role::Job) {
            if let Some(transaction) = client.open.take() {
                self.brokers.decide(transaction, false);
                self.told.push(Ended { client: client.number, outcome: Outcome::Aborted });
                client.last = Some(transaction);
            }
            client.positions.clear();
            client.batch.clear();
            client.taken.clear();
        }
        let members: Vec<usize> = (0..self.clients.len()).filter(|at| self.clients[*at].role == Role::Job).collect();
        for partition in 0..INPUTS {
            while self.brokers.is_unstable(partition) {
                self.brokers.write_marker(random);
            }
            let client = &mut self.clients[members[random.below(members.len())]];
            let offset = self.brokers.committed.get(&partition).copied().unwrap_or(0);
            client.positions.insert(partition, offset);
            let (client, partition) = (client.number, numbered(partition));
            // Some clients know where they begin, others only that they do.
            self.told.push(if random.one_in(2) {
                Seeked { client, partition, offset }
            } else {
                Assigned { client, partition }
            });
        }
    }

    /// Ends what is open, lets readers read on, and reads everything.
    fn finish(&mut self, random: &mut Random) {
        for at in 0..self.clients.len() {
            if let Some(transaction) = self.clients[at].open.take() {
                self.brokers.decide(transaction, false);
            }
        }
        while !self.brokers.due.is_empty() {
            self.brokers.write_marker(random);
        }
        for at in 0..self.clients.len() {
            let role = self.clients[at].role;
            for partition in 0..PARTITIONS {
                let end = self.brokers.end(Isolation::ReadCommitted, partition);
                while role == Role::Reader
                    && self.clients[at].positions.get(&partition).is_some_and(|position| {
                        self.brokers.read(Isolation::ReadCommitted, partition, *position).next().is_some()
                    })
                {
                    self.poll(at, random);
                }
                if role == Role::Reader {
                    let (client, partition) = (self.clients[at].number, numbered(partition));
                    self.told.push(AtEnd { client, partition, offset: end });
                }
            }
        }
        for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
            for partition in 0..PARTITIONS {
                let logged = |(offset, id)| Logged { isolation, partition: numbered(partition), offset, id: Some(id) };
                self.told.extend(self.brokers.read(isolation, partition, 0).map(logged));
                let end = self.brokers.end(isolation, partition);
                self.told.push(LogRead { isolation, partition: numbered(partition), start: 0, end });
            }
        }
        for partition in 0..INPUTS {
            let offset = self.brokers.committed.get(&partition).copied();
            self.told.push(GroupRead { group: GROUP, partition: numbered(partition), offset });
        }
    }
}
