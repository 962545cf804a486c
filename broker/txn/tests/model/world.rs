//! The coordinator, its log, its markers and its clients, and what can happen to them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_txn::*;
use proptest::sample::Index;

use super::clients::{Asked, CLIENTS, Client, Doing, Instance, id};
use super::history::History;

#[derive(Clone, Debug)]
pub enum Op {
    /// The client does the next thing that a good client does.
    Step(usize, u8),
    /// The client does several things, and nothing fails.
    Run(usize, [u8; 4]),
    /// It stops waiting (its connection broke), and will ask again.
    LoseAnswer(usize),
    /// Another instance takes its place.
    Crash(usize),
    /// It asks for another epoch under its identity.
    Recover(usize),
    /// A request of before arrives once more.
    Delayed(Index),
    LogOne,
    /// The oldest append fails: for want of replicas, or of leadership.
    LogFails(bool),
    /// It takes too long; what becomes of the records is open.
    LogLate,
    /// Something comes of one of the markers, perhaps again.
    Markers(Index, u8),
    Pass(u64),
    /// With or without the records whose fate was open.
    Restart(bool),
}

pub struct World {
    shard: Shard,
    config: Config,
    now: Now,
    coordinator_epoch: i32,
    log: Vec<Record>,
    undecided: VecDeque<TxnAppend>,
    /// All that this coordinator wanted to be sent.
    sends: Vec<WriteMarkers>,
    clients: Vec<Client>,
    /// Who waits, if anybody, and for what.
    waiting: BTreeMap<Ticket, (Option<usize>, Asked)>,
    /// Requests that may arrive once more.
    asked: Vec<Asked>,
    history: History,
    /// A partition has said that a newer coordinator lives.
    is_fenced: bool,
    tickets: u64,
    instances: u32,
    transactions: i32,
    blocks: i64,
}

impl World {
    pub fn new(level: TransactionVersion, first_epoch: Option<i16>, protocols: [bool; CLIENTS]) -> Self {
        let config = Config { transaction_version: level, ..Config::default() };
        let mut world = World {
            shard: Shard::new(config.clone(), 0),
            config,
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_000_000 },
            coordinator_epoch: 0,
            log: first_epoch.map(|epoch| first_record(epoch, level)).into_iter().collect(),
            undecided: VecDeque::new(),
            sends: Vec::new(),
            clients: Vec::new(),
            waiting: BTreeMap::new(),
            asked: Vec::new(),
            history: History::default(),
            is_fenced: false,
            tickets: 0,
            instances: 0,
            transactions: 0,
            blocks: 0,
        };
        for v2 in protocols {
            let instance = world.next_instance();
            world.clients.push(Client::new(v2, instance));
        }
        world.restart(false);
        world
    }

    pub fn run(&mut self, op: &Op) {
        match op {
            Op::Step(client, choice) => self.step(*client, *choice),
            Op::Run(client, choices) => {
                for choice in choices {
                    self.step(*client, *choice);
                    self.decide_all();
                    self.write_markers();
                }
            }
            Op::LoseAnswer(client) => self.clients[*client].waits_for = None,
            Op::Crash(client) => {
                let instance = self.next_instance();
                self.clients[*client] = Client::new(self.clients[*client].v2, instance);
            }
            Op::Recover(client) => {
                let client = &mut self.clients[*client];
                if client.waits_for.is_none() && client.producer.is_some() {
                    client.doing = Doing::Recovering;
                }
            }
            Op::Delayed(which) => {
                if !self.asked.is_empty() {
                    let mut asked = which.get(&self.asked).clone();
                    if asked.is_fresh {
                        asked.instance = self.next_instance(); // nobody's
                    }
                    self.ask(None, asked);
                }
            }
            Op::LogOne => self.decide(Ok(0)),
            Op::LogFails(true) => self.decide(Err(TxnAppendError::NotCommitted)),
            Op::LogFails(false) => self.decide(Err(TxnAppendError::NotLeader)),
            Op::LogLate => {
                if let Some(oldest) = self.undecided.front() {
                    let effects = self.shard.delayed(oldest.id);
                    self.carry_out(effects);
                }
            }
            Op::Markers(which, result) => {
                if !self.sends.is_empty() {
                    let send = which.get(&self.sends).clone();
                    let some = usize::from(*result) % send.partitions.len();
                    let result = match result {
                        0..150 => MarkerResult::Written,
                        150..220 => MarkerResult::Retriable,
                        220..235 => MarkerResult::Deleted,
                        235..250 => MarkerResult::ProducerFenced,
                        250..=255 => MarkerResult::CoordinatorFenced,
                    };
                    self.markers(&send, &send.partitions[some..], result);
                }
            }
            Op::Pass(ms) => self.pass(Duration::from_millis(*ms)),
            Op::Restart(with_undecided) => self.restart(*with_undecided),
        }
    }

    fn step(&mut self, client: usize, choice: u8) {
        if self.clients[client].waits_for.is_some() {
            return;
        }
        let mut asked = self.clients[client].step(choice, &mut self.transactions);
        if asked.is_fresh {
            // An answer that was lost made somebody else of it.
            asked.instance = self.next_instance();
            self.clients[client].instance = asked.instance;
        }
        // Before V2, a delayed request is taken for one of the next transaction.
        if self.clients[client].v2 || matches!(asked.request, Request::InitProducerId(_)) {
            self.asked.push(asked.clone());
        }
        self.ask(Some(client), asked);
    }

    fn ask(&mut self, client: Option<usize>, asked: Asked) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if let Some(client) = client {
            self.clients[client].waits_for = Some(ticket);
        }
        let effects = self.shard.request(&asked.request, ticket, self.now);
        self.history.asked(&asked, &effects);
        self.waiting.insert(ticket, (client, asked));
        self.carry_out(effects);
    }

    fn markers(&mut self, send: &WriteMarkers, partitions: &[TopicPartition], result: MarkerResult) {
        for partition in partitions {
            self.history.marker(partition, result);
        }
        self.is_fenced |= result == MarkerResult::CoordinatorFenced;
        let results: Vec<_> = partitions.iter().map(|partition| (partition.clone(), result)).collect();
        let effects = self.shard.sent(send.id, &results, self.now);
        self.carry_out(effects);
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now.monotonic + duration;
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= until) {
            self.advance_to(deadline.max(self.now.monotonic));
            let effects = self.shard.tick(self.now);
            self.carry_out(effects);
        }
        self.advance_to(until);
    }

    fn advance_to(&mut self, at: Duration) {
        self.now.wall_ms += (at - self.now.monotonic).as_millis() as i64;
        self.now.monotonic = at;
    }

    fn decide(&mut self, fate: Result<i64, TxnAppendError>) {
        let Some(append) = self.undecided.pop_front() else { return };
        assert!(!append.records.is_empty());
        if fate.is_ok() {
            self.commit(append.records);
        }
        let effects = self.shard.decided(append.id, fate, self.now);
        self.carry_out(effects);
    }

    fn commit(&mut self, records: Vec<Record>) {
        for record in records {
            self.history.committed(&record);
            self.log.push(record);
        }
    }

    fn restart(&mut self, with_undecided: bool) {
        self.coordinator_epoch += 1;
        let shard = std::mem::replace(&mut self.shard, Shard::new(self.config.clone(), self.coordinator_epoch));
        let undecided = std::mem::take(&mut self.undecided);
        if with_undecided {
            self.commit(undecided.into_iter().flat_map(|append| append.records).collect());
        }
        for (ticket, reply) in shard.unload() {
            self.deliver(ticket, &reply);
        }
        assert!(self.waiting.is_empty(), "nobody waits for a coordinator that is gone: {:?}", self.waiting);
        self.sends.clear();
        self.is_fenced = false;
        for record in &self.log {
            let encoded = record.encode().expect("it fits");
            let decoded = Record::decode(&encoded.key, encoded.value.as_deref()).expect("it is well formed");
            self.shard.replay(decoded.expect("it is known"));
        }
        self.blocks += 1000;
        self.shard.add_producer_ids(self.blocks..self.blocks + 1000);
        let effects = self.shard.loaded(self.now);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        for (ticket, reply) in effects.replies {
            self.deliver(ticket, &reply);
        }
        self.undecided.extend(effects.appends);
        for send in effects.sends {
            assert_eq!(send.marker.coordinator_epoch, self.coordinator_epoch);
            self.history.sent(&send);
            self.sends.push(send);
        }
    }

    fn deliver(&mut self, ticket: Ticket, reply: &TxnReply) {
        let (client, asked) = self.waiting.remove(&ticket).expect("a ticket is answered once");
        self.history.replied(&asked, reply);
        let Some(client) = client.filter(|client| self.clients[*client].waits_for == Some(ticket)) else { return };
        let instances = &mut self.instances;
        self.clients[client].waits_for = None;
        self.clients[client].answered(reply, || {
            *instances += 1;
            Instance(*instances)
        });
    }

    fn next_instance(&mut self) -> Instance {
        self.instances += 1;
        Instance(self.instances)
    }

    /// From here on nothing fails: what is decided ends.
    pub fn settle(&mut self) {
        self.decide_all();
        if self.is_fenced {
            self.restart(false); // here is the newer coordinator
        }
        for _ in 0..4 {
            self.write_markers();
            self.pass(Duration::from_secs(30));
        }
        assert!(self.waiting.is_empty(), "somebody still waits: {:?}", self.waiting);
        assert!(self.undecided.is_empty() && self.sends.is_empty());
        let before = self.shard.describe(&id());
        if let Ok(described) = &before {
            assert!(
                matches!(described.state, TransactionState::Empty | TransactionState::Complete(_)),
                "it does not end: {described:?}"
            );
        }
        self.restart(false);
        assert_eq!(self.shard.describe(&id()), before, "the log says otherwise");
        assert!(self.undecided.is_empty() && self.sends.is_empty());
    }

    fn write_markers(&mut self) {
        for send in std::mem::take(&mut self.sends) {
            self.markers(&send, &send.partitions, MarkerResult::Written);
        }
        self.decide_all();
    }

    fn decide_all(&mut self) {
        while !self.undecided.is_empty() {
            self.decide(Ok(0));
        }
    }
}

fn first_record(producer_epoch: i16, level: TransactionVersion) -> Record {
    let transaction = Transaction {
        producer_id: 7,
        producer_epoch,
        previous_producer_id: Some(7),
        next_producer_id: None,
        last_producer_epoch: None,
        timeout_ms: 20_000,
        state: TransactionState::Empty,
        partitions: [].into(),
        start_ms: None,
        last_update_ms: 0,
        client_version: TransactionVersion::V0,
    };
    Record::of(id(), transaction, level)
}
