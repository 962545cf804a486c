//! Whatever clients do, in whatever order, with answers lost, the log slow or failing and the coordinator restarted:
//! every ticket is answered once, generations only grow, no two members of a generation get the same work, what was
//! acknowledged stays, and as soon as clients behave the group becomes stable.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_group::*;
use proptest::prelude::*;
use uuid::Uuid;

const GROUP: &str = "g";
const CLIENTS: usize = 5;
/// Whose tickets those of transactional commits are: no client's.
const IN_TRANSACTION: usize = usize::MAX;
const SESSION: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Op {
    /// The client does the next thing that a good client does.
    Step(usize),
    /// It stops waiting (its connection broke), and will do the same again.
    GiveUp(usize),
    /// It forgets who it was. A static one keeps its instance id.
    Crash(usize),
    Leave(usize),
    Resubscribe(usize),
    Commit(usize),
    AdminCommit,
    /// A producer commits an offset in its transaction.
    CommitInTransaction(i64),
    /// Its marker comes: the transaction was committed, or not.
    EndTransaction(i64, bool),
    Pass(u64),
    LogOne,
    LogFails,
    /// It takes too long; what becomes of the records is open.
    LogLate,
    Expire,
    /// With or without the records whose fate was open.
    Restart(bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let client = 0..CLIENTS;
    let op = prop_oneof![
        30 => client.clone().prop_map(Op::Step),
        4 => client.clone().prop_map(Op::GiveUp),
        2 => client.clone().prop_map(Op::Crash),
        2 => client.clone().prop_map(Op::Leave),
        2 => client.clone().prop_map(Op::Resubscribe),
        5 => client.prop_map(Op::Commit),
        1 => Just(Op::AdminCommit),
        4 => (0i64..2).prop_map(Op::CommitInTransaction),
        2 => (0i64..2, any::<bool>()).prop_map(|(producer, commits)| Op::EndTransaction(producer, commits)),
        6 => (0u64..4_000).prop_map(Op::Pass),
        1 => (4_000u64..70_000).prop_map(Op::Pass),
        12 => Just(Op::LogOne),
        1 => Just(Op::LogFails),
        1 => Just(Op::Expire),
        1 => Just(Op::LogLate),
        1 => any::<bool>().prop_map(Op::Restart),
    ];
    proptest::collection::vec(op, 1..200)
}

/// What the log has, or has not decided on.
#[derive(Clone, Debug)]
enum Entry {
    Record(Option<i64>, Record),
    Marker(i64, bool),
}

enum Undecided {
    Append(GroupAppend),
    Marker(i64, bool),
}

impl Undecided {
    fn entries(self) -> Vec<Entry> {
        match self {
            Undecided::Append(GroupAppend { producer, records, .. }) => {
                let producer = producer.map(|producer| producer.id);
                records.into_iter().map(|record| Entry::Record(producer, record)).collect()
            }
            Undecided::Marker(producer, commits) => vec![Entry::Marker(producer, commits)],
        }
    }
}

#[derive(Clone, Debug, Default)]
enum Doing {
    #[default]
    Nothing,
    /// In a generation, with the members if it leads.
    Joined {
        members: Vec<MemberId>,
    },
    Assigned(Bytes),
}

#[derive(Debug, Default)]
struct Client {
    id: String,
    generation: i32,
    subscription: u32,
    doing: Doing,
    waits_for: Option<Ticket>,
}

struct Model {
    shard: Shard,
    now: Now,
    log: Vec<Entry>,
    undecided: VecDeque<Undecided>,
    clients: Vec<Client>,
    /// Whose ticket, and the generation it was about.
    waiting: BTreeMap<Ticket, (usize, i32)>,
    tickets: u64,
    fresh: u128,
    highest_generation: i32,
    /// Who was given which work in which generation.
    given: HashMap<(i32, Bytes), usize>,
    /// Which assignment the work of a generation comes from.
    assignment_of: HashMap<i32, String>,
    acknowledged: i64,
    last_offset: i64,
}

fn config() -> Config {
    Config { initial_rebalance_delay: Duration::from_secs(1), max_size: CLIENTS, ..Config::default() }
}

/// The first two are static members.
fn instance(client: usize) -> Option<InstanceId> {
    (client < 2).then(|| format!("static-{client}").as_str().into())
}

impl Model {
    fn new() -> Self {
        Model {
            shard: Shard::new(config()),
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_000_000 },
            log: Vec::new(),
            undecided: VecDeque::new(),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            waiting: BTreeMap::new(),
            tickets: 0,
            fresh: 0,
            highest_generation: 0,
            given: HashMap::new(),
            assignment_of: HashMap::new(),
            acknowledged: 0,
            last_offset: 0,
        }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Step(client) => self.step(client),
            Op::GiveUp(client) => self.clients[client].waits_for = None,
            Op::Crash(client) => {
                let subscription = self.clients[client].subscription;
                self.clients[client] = Client { subscription, ..Client::default() };
            }
            Op::Leave(client) => self.leave(client),
            Op::Resubscribe(client) => {
                self.clients[client].subscription += 1;
                self.clients[client].doing = Doing::Nothing;
            }
            Op::Commit(client) => {
                let Client { id, generation, .. } = &self.clients[client];
                self.commit(client, id.clone(), *generation);
            }
            Op::AdminCommit => self.commit(0, String::new(), -1),
            Op::CommitInTransaction(producer) => self.commit_in_transaction(producer),
            Op::EndTransaction(producer, commits) => self.undecided.push_back(Undecided::Marker(producer, commits)),
            Op::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Op::LogOne => self.decide(Ok(())),
            Op::LogFails => self.decide(Err(GroupAppendError::NotCommitted)),
            Op::Expire => {
                let effects = self.shard.expire(self.now);
                self.carry_out(effects);
                if self.shard.describe(&GROUP.into()).is_err() {
                    // It was empty and is gone. The next one begins at 0.
                    self.highest_generation = 0;
                    self.assignment_of.clear();
                }
            }
            Op::LogLate => {
                if let Some(Undecided::Append(oldest)) = self.undecided.front() {
                    let effects = self.shard.delayed(oldest.id, self.now);
                    self.carry_out(effects);
                }
            }
            Op::Restart(with_undecided) => self.restart(with_undecided),
        }
        self.check();
    }

    fn step(&mut self, client: usize) {
        if self.clients[client].waits_for.is_some() {
            return;
        }
        match self.clients[client].doing.clone() {
            Doing::Nothing => self.join(client),
            Doing::Joined { members } => self.sync(client, members),
            Doing::Assigned(_) => self.heartbeat(client),
        }
    }

    fn join(&mut self, client: usize) {
        self.fresh += 1;
        let ticket = self.ticket(client);
        let Client { id, subscription, .. } = &self.clients[client];
        let request = JoinRequest {
            group: GROUP.into(),
            member: id.as_str().into(),
            instance: instance(client),
            client_id: format!("client-{client}"),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: SESSION.as_millis() as i32,
            rebalance_timeout_ms: 5_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: subscription.to_string().into() }],
            can_be_sent_an_id: client != 4,
            can_skip_assignment: client != 1,
            fresh: Uuid::from_u128(self.fresh),
        };
        let effects = self.shard.join(request, ticket, self.now);
        self.carry_out(effects);
    }

    fn sync(&mut self, client: usize, members: Vec<MemberId>) {
        self.fresh += 1;
        let ticket = self.ticket(client);
        let Client { id, generation, .. } = &self.clients[client];
        // Every assignment is one of a kind: should two members get the same, it shows.
        let work = |member: MemberId| (member.clone(), Bytes::from(format!("{} of {member}", self.fresh)));
        let request = SyncRequest {
            group: GROUP.into(),
            member: id.as_str().into(),
            instance: instance(client),
            generation: *generation,
            protocol_type: None,
            protocol_name: None,
            assignments: members.into_iter().map(work).collect(),
        };
        let effects = self.shard.sync(request, ticket, self.now);
        self.carry_out(effects);
    }

    fn heartbeat(&mut self, client: usize) {
        let Client { id, generation, .. } = &self.clients[client];
        let request = HeartbeatRequest {
            group: GROUP.into(),
            member: id.as_str().into(),
            instance: instance(client),
            generation: *generation,
        };
        if let Err(error) = self.shard.heartbeat(&request, self.now) {
            self.refused(client, error);
        }
    }

    fn leave(&mut self, client: usize) {
        let ticket = self.ticket(client);
        let members = vec![Leaving { member: self.clients[client].id.as_str().into(), instance: instance(client) }];
        let effects = self.shard.leave(&LeaveRequest { group: GROUP.into(), members }, ticket, self.now);
        self.clients[client] = Client::default();
        self.carry_out(effects);
    }

    fn commit(&mut self, client: usize, member: String, generation: i32) {
        let ticket = self.ticket(client);
        // It continues in the background: clients do not wait for commits.
        self.clients[client].waits_for = None;
        let request = CommitRequest {
            instance: instance(client).filter(|_| !member.is_empty()),
            member: member.as_str().into(),
            generation,
            ..self.next_offset()
        };
        let effects = self.shard.commit_offsets(request, ticket, self.now);
        self.carry_out(effects);
    }

    /// Of a producer that does not say which member it is for.
    fn commit_in_transaction(&mut self, producer: i64) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, (IN_TRANSACTION, -1));
        let (request, producer) = (self.next_offset(), Producer { id: producer, epoch: 0 });
        let effects = self.shard.commit_offsets_in_transaction(producer, request, ticket, self.now);
        self.carry_out(effects);
    }

    /// Offsets grow in the order in which they come into the log.
    fn next_offset(&mut self) -> CommitRequest {
        self.last_offset += 1;
        let offset = OffsetToCommit {
            topic: "t".into(),
            topic_id: None,
            partition: 0,
            offset: self.last_offset,
            leader_epoch: -1,
            metadata: String::new(),
        };
        CommitRequest {
            group: GROUP.into(),
            member: "".into(),
            instance: None,
            generation: -1,
            knows_group_id_not_found: true,
            retention_ms: None,
            offsets: vec![offset],
        }
    }

    fn ticket(&mut self, client: usize) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, (client, self.clients[client].generation));
        self.clients[client].waits_for = Some(ticket);
        ticket
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

    fn decide(&mut self, fate: Result<(), GroupAppendError>) {
        let Some(undecided) = self.undecided.pop_front() else { return };
        let base_offset = self.log.len() as i64;
        let id = match &undecided {
            Undecided::Append(append) => {
                assert!(!append.records.is_empty());
                Some(append.id)
            }
            Undecided::Marker(producer, commits) => {
                if fate.is_ok() {
                    self.shard.end_transaction(*producer, *commits, true);
                }
                None
            }
        };
        if fate.is_ok() {
            self.log.extend(undecided.entries());
        }
        if let Some(id) = id {
            let effects = self.shard.appended(id, fate.map(|()| base_offset), self.now);
            self.carry_out(effects);
        }
        self.check_against_the_log();
    }

    fn restart(&mut self, with_undecided: bool) {
        let shard = std::mem::replace(&mut self.shard, Shard::new(config()));
        let undecided = std::mem::take(&mut self.undecided);
        if with_undecided {
            self.log.extend(undecided.into_iter().flat_map(Undecided::entries));
        }
        for (ticket, reply) in shard.unload(self.now) {
            self.deliver(ticket, reply);
        }
        assert!(self.waiting.is_empty(), "nobody waits for a coordinator that is gone: {:?}", self.waiting);
        self.highest_generation = 0; // a generation without an assignment is not written down
        for (offset, entry) in (0..).zip(&self.log) {
            match entry {
                Entry::Record(producer, record) => {
                    if let Record::GroupMetadata { value, .. } = record {
                        self.highest_generation = value.as_ref().map_or(0, |value| value.generation);
                    }
                    self.shard.replay(offset, *producer, record.clone());
                }
                Entry::Marker(producer, commits) => self.shard.end_transaction(*producer, *commits, true),
            }
        }
        let effects = self.shard.loaded(self.now);
        self.carry_out(effects);
        self.check_against_the_log();
    }

    /// The group's offset is the last of those in the log that are in no transaction or in a committed one, and it is
    /// unstable while a transaction that has not ended has one.
    fn check_against_the_log(&self) {
        let mut counts: Option<i64> = None;
        let mut open: BTreeMap<i64, i64> = BTreeMap::new();
        for entry in &self.log {
            match entry {
                Entry::Record(producer, Record::OffsetCommit { value: Some(value), .. }) => match producer {
                    Some(producer) => _ = open.insert(*producer, value.offset),
                    None => counts = Some(value.offset),
                },
                Entry::Record(_, Record::OffsetCommit { value: None, .. }) => (counts, open) = (None, BTreeMap::new()),
                Entry::Record(..) => {}
                // They grow with the log: the highest is the last.
                Entry::Marker(producer, true) => counts = counts.max(open.remove(producer)),
                Entry::Marker(producer, false) => _ = open.remove(producer),
            }
        }
        assert_eq!(self.shard.committed_offset(GROUP, "t", 0).map(|committed| committed.offset), counts);
        let is_unstable = !self.shard.unstable_offsets(GROUP).is_empty();
        assert!(is_unstable || open.is_empty(), "a transaction is open, and nobody sees it");
        assert!(!is_unstable || !open.is_empty() || !self.undecided.is_empty(), "nothing is open");
    }

    fn carry_out(&mut self, effects: Effects) {
        for (ticket, reply) in effects.replies {
            self.deliver(ticket, reply);
        }
        self.undecided.extend(effects.appends.into_iter().map(Undecided::Append));
    }

    fn deliver(&mut self, ticket: Ticket, reply: GroupReply) {
        let (client, generation) = self.waiting.remove(&ticket).expect("a ticket is answered once");
        if client == IN_TRANSACTION {
            return;
        }
        match &reply {
            GroupReply::Join(Ok(joined)) => {
                assert!(joined.generation >= self.highest_generation, "generations only grow");
                self.highest_generation = joined.generation;
            }
            GroupReply::Sync(Ok(synced)) if !synced.assignment.is_empty() => {
                let work = (generation, synced.assignment.clone());
                let whose = *self.given.entry(work).or_insert(client);
                assert_eq!(whose, client, "two members were given {:?}", synced.assignment);
                let text = String::from_utf8_lossy(&synced.assignment).into_owned();
                let assignment = text.split(' ').next().unwrap_or_default().to_owned();
                let first = self.assignment_of.entry(generation).or_insert_with(|| assignment.clone());
                assert_eq!(first, &assignment, "one generation was given two assignments");
            }
            GroupReply::Commit(Ok(_)) => {
                let fetched = self.shard.committed_offset(GROUP, "t", 0).map(|committed| committed.offset);
                self.acknowledged = fetched.expect("an acknowledged commit can be fetched");
            }
            _ => {}
        }
        if self.clients[client].waits_for != Some(ticket) {
            return; // the answer was lost
        }
        self.clients[client].waits_for = None;
        match reply {
            GroupReply::Join(Ok(joined)) => {
                let client = &mut self.clients[client];
                client.id = joined.member.to_string();
                client.generation = joined.generation;
                let members = if joined.skip_assignment { Vec::new() } else { joined.members };
                client.doing = Doing::Joined { members: members.into_iter().map(|member| member.member).collect() };
            }
            GroupReply::Join(Err(JoinRefused { error: GroupError::MemberIdRequired, member })) => {
                self.clients[client].id = member.to_string();
            }
            GroupReply::Join(Err(JoinRefused { error, .. })) | GroupReply::Sync(Err(error)) => {
                self.refused(client, error)
            }
            GroupReply::Sync(Ok(synced)) => self.clients[client].doing = Doing::Assigned(synced.assignment),
            GroupReply::Leave(_)
            | GroupReply::Commit(_)
            | GroupReply::DeleteGroups(_)
            | GroupReply::DeleteOffsets(_)
            | GroupReply::ConsumerHeartbeat(_)
            | GroupReply::StreamsHeartbeat(_)
            | GroupReply::ShareHeartbeat(_)
            | GroupReply::AlterShareOffsets(_)
            | GroupReply::DeleteShareOffsets(_) => {}
        }
    }

    fn refused(&mut self, client: usize, error: GroupError) {
        let client = &mut self.clients[client];
        client.doing = Doing::Nothing;
        match error {
            GroupError::UnknownMemberId | GroupError::FencedInstanceId => client.id.clear(),
            _ => {}
        }
    }

    fn check(&self) {
        let committed = self.shard.committed_offset(GROUP, "t", 0).map_or(0, |committed| committed.offset);
        assert!(committed >= self.acknowledged, "an acknowledged commit is lost");
    }

    /// From here on everybody behaves, and nothing fails.
    fn settle(&mut self) {
        for client in &mut self.clients {
            client.waits_for = None; // a client that was left waiting asks again
        }
        for _ in 0..120 {
            for client in 0..CLIENTS {
                self.step(client);
                while !self.undecided.is_empty() {
                    self.decide(Ok(()));
                }
            }
            self.pass(Duration::from_secs(1));
            self.check();
        }
        let group = self.shard.describe(&GROUP.into()).expect("the group is there");
        assert_eq!(group.state, GroupState::Stable);
        assert_eq!(group.members.len(), CLIENTS, "{:?}", group.members);
        for client in &self.clients {
            let Doing::Assigned(work) = &client.doing else { panic!("{client:?} has no work") };
            let described = group.members.iter().find(|member| *member.member == *client.id).expect("it is a member");
            assert_eq!(client.generation, self.highest_generation);
            assert!(!work.is_empty());
            assert_eq!(&described.assignment, work);
        }
        assert!(self.waiting.is_empty(), "somebody still waits: {:?}", self.waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_group_keeps_its_promises(ops in ops()) {
        let mut model = Model::new();
        for op in &ops {
            model.run(op);
        }
        model.settle();
        model.restart(false);
    }
}
