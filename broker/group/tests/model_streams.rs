//! Whatever members of a streams group do, in whatever order, with answers lost, the log slow or failing, topics
//! changing and the coordinator restarted: no task is active at two members at once, no process has two copies of a
//! task, nobody but its owner commits for a task, every ticket is answered once, and as soon as clients behave every
//! task is active somewhere, and copied at as many other processes as wanted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_group::record::{InternalTopic, StreamsTasks, Subtopology, Tasks, Topology};
use ottla_group::*;
use proptest::prelude::*;
use uuid::Uuid;

const GROUP: &str = "g";
const CLIENTS: usize = 6;
/// Clients 0 and 1 are threads of one process, as are 2 and 3; the others are alone.
const PROCESSES: [&str; CLIENTS] = ["p", "p", "q", "q", "r", "s"];
const DIFFERENT_PROCESSES: usize = 4;
/// Whose tickets are nobody's to wait for.
const NOBODY: usize = usize::MAX;

#[derive(Clone, Debug)]
enum Op {
    /// The client does the next thing that a good client does.
    Step(usize),
    /// It stops waiting (its connection broke), and cannot know what came of its request.
    Lose(usize),
    /// It forgets who it was.
    Crash(usize),
    Leave(usize),
    /// For an active task that it owns, with its epoch or the one before.
    Commit(usize, bool),
    /// So many partitions of the source topic; internal topics stay.
    Source(i32),
    /// The internal topics are deleted.
    DropInternal,
    /// The host creates internal topics.
    Create,
    Pass(u64),
    LogOne,
    LogFails,
    LogLate,
    Expire,
    /// With or without the records whose fate was open.
    Restart(bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let client = 0..CLIENTS;
    let op = prop_oneof![
        40 => client.clone().prop_map(Op::Step),
        4 => client.clone().prop_map(Op::Lose),
        2 => client.clone().prop_map(Op::Crash),
        3 => client.clone().prop_map(Op::Leave),
        4 => (client, any::<bool>()).prop_map(|(client, old)| Op::Commit(client, old)),
        1 => (0..6i32).prop_map(Op::Source),
        1 => Just(Op::DropInternal),
        5 => Just(Op::Create),
        6 => (0u64..3_000).prop_map(Op::Pass),
        1 => (3_000u64..50_000).prop_map(Op::Pass),
        16 => Just(Op::LogOne),
        2 => Just(Op::LogFails),
        1 => Just(Op::LogLate),
        1 => Just(Op::Expire),
        1 => any::<bool>().prop_map(Op::Restart),
    ];
    proptest::collection::vec(op, 1..250)
}

#[derive(Debug, Default)]
struct Client {
    id: String,
    epoch: i32,
    previous_epoch: i32,
    /// What it works on.
    owned: StreamsTasks,
    /// What the coordinator knows of it.
    told_owned: Option<StreamsTasks>,
    waits_for: Option<Ticket>,
}

impl Client {
    /// It stops with all that it has, to join again.
    fn abandon(&mut self) {
        (self.epoch, self.previous_epoch) = (0, 0);
        self.owned = StreamsTasks::default();
        self.told_owned = None;
    }
}

struct Model {
    shard: Shard,
    config: Config,
    now: Now,
    topics: Arc<Topics>,
    /// What the host was asked to create.
    creations: Vec<Vec<InternalTopic>>,
    log: Vec<Record>,
    undecided: VecDeque<GroupAppend>,
    clients: Vec<Client>,
    /// Who asked, and what it owned then.
    waiting: BTreeMap<Ticket, (usize, Option<StreamsTasks>)>,
    tickets: u64,
    fresh: u128,
}

/// `t` is repartitioned to `r`, of which a store is made, which is kept in `c`.
fn topology() -> Topology {
    let part = |id: &str| Subtopology {
        id: id.to_owned(),
        sources: Vec::new(),
        source_patterns: Vec::new(),
        changelogs: Vec::new(),
        repartition_sinks: Vec::new(),
        repartition_sources: Vec::new(),
        copartitions: Vec::new(),
    };
    let internal =
        |name: &str| InternalTopic { name: name.into(), partitions: 0, replication_factor: 0, configs: Vec::new() };
    let first = Subtopology { sources: vec!["t".into()], repartition_sinks: vec!["r".into()], ..part("0") };
    let second = Subtopology { repartition_sources: vec![internal("r")], changelogs: vec![internal("c")], ..part("1") };
    Topology::new(1, vec![first, second])
}

impl Model {
    fn new(standbys: usize) -> Self {
        let client = |number| Client { id: format!("client-{number}"), ..Client::default() };
        let streams = StreamsConfig { standby_replicas: standbys, ..StreamsConfig::default() };
        let config = Config { streams, ..Config::default() };
        let mut model = Model {
            shard: Shard::new(config.clone()),
            config,
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_000_000 },
            topics: Arc::default(),
            creations: Vec::new(),
            log: Vec::new(),
            undecided: VecDeque::new(),
            clients: (0..CLIENTS).map(client).collect(),
            waiting: BTreeMap::new(),
            tickets: 0,
            fresh: 0,
        };
        model.set_topics([("t", 3), ("r", 3), ("c", 3)].into());
        model
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Step(client) => self.step(client),
            Op::Lose(client) => self.lose(client),
            Op::Crash(client) => self.crash(client),
            Op::Leave(client) => self.leave(client),
            Op::Commit(client, old) => self.commit(client, old),
            Op::Source(partitions) => {
                let mut topics = self.partitions();
                topics.insert("t", partitions);
                self.set_topics(topics);
            }
            Op::DropInternal => self.set_topics([("t", self.partitions()["t"])].into()),
            Op::Create => self.create(),
            Op::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Op::LogOne => self.decide(Ok(())),
            Op::LogFails => self.decide(Err(GroupAppendError::NotCommitted)),
            Op::LogLate => {
                if let Some(oldest) = self.undecided.front() {
                    let effects = self.shard.delayed(oldest.id, self.now);
                    self.carry_out(effects);
                }
            }
            Op::Expire => {
                let effects = self.shard.expire(self.now);
                self.carry_out(effects);
            }
            Op::Restart(with_undecided) => self.restart(with_undecided),
        }
        self.check();
    }

    fn step(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.waits_for.is_some() {
            return;
        }
        let is_joining = client.epoch == 0;
        if is_joining {
            client.abandon();
        }
        let owned = Some(client.owned.clone()).filter(|now| is_joining || client.told_owned.as_ref() != Some(now));
        let request = StreamsHeartbeatRequest {
            rebalance_timeout_ms: is_joining.then_some(5_000),
            topology: is_joining.then(topology),
            owned: owned.clone().map_or(Owned::Unsaid, Owned::Tasks),
            process: is_joining.then(|| PROCESSES[number].to_owned()),
            ..self.request(number, self.clients[number].epoch)
        };
        let ticket = self.ticket(number, owned);
        self.clients[number].waits_for = Some(ticket);
        let effects = self.shard.streams_heartbeat(&request, ticket, self.now);
        self.carry_out(effects);
    }

    fn request(&self, number: usize, epoch: i32) -> StreamsHeartbeatRequest {
        StreamsHeartbeatRequest {
            group: GROUP.into(),
            member: self.clients[number].id.as_str().into(),
            epoch,
            endpoint_epoch: 0,
            instance: None,
            rack: None,
            client_id: format!("client-{number}"),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: None,
            topology: None,
            owned: Owned::Unsaid,
            process: None,
            endpoint: None,
            client_tags: None,
            has_task_offsets: false,
            has_task_end_offsets: false,
            shuts_down: false,
        }
    }

    fn lose(&mut self, number: usize) {
        if self.clients[number].waits_for.take().is_some() {
            self.clients[number].told_owned = None;
        }
    }

    fn crash(&mut self, number: usize) {
        self.fresh += 1;
        self.clients[number] = Client { id: format!("client-{number}-{}", self.fresh), ..Client::default() };
    }

    fn leave(&mut self, number: usize) {
        if self.clients[number].epoch == 0 {
            return;
        }
        let ticket = self.ticket(NOBODY, None);
        let request = self.request(number, -1);
        self.crash(number);
        let effects = self.shard.streams_heartbeat(&request, ticket, self.now);
        self.carry_out(effects);
    }

    fn commit(&mut self, number: usize, old: bool) {
        let Client { id, epoch, previous_epoch, owned, .. } = &self.clients[number];
        let Some((subtopology, partition)) = pairs(&owned.active).next() else { return };
        let (subtopology, generation) = (subtopology.to_owned(), if old { *previous_epoch } else { *epoch });
        let offset = OffsetToCommit {
            topic: if subtopology == "0" { "t".into() } else { "r".into() },
            topic_id: None,
            partition,
            offset: 1,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let request = CommitRequest {
            group: GROUP.into(),
            member: id.as_str().into(),
            instance: None,
            generation,
            knows_group_id_not_found: true,
            retention_ms: None,
            offsets: vec![offset],
        };
        let has = |other: usize| {
            let active = &self.clients[other].owned.active;
            other != number && active.get(&subtopology).is_some_and(|all| all.contains(&partition))
        };
        let is_its_own = !self.members().into_iter().any(has);
        let ticket = self.ticket(NOBODY, None);
        let effects = self.shard.commit_offsets(request, ticket, self.now);
        assert!(is_its_own || effects.appends.is_empty(), "client {number} committed for another's task");
        self.carry_out(effects);
    }

    fn partitions(&self) -> BTreeMap<&'static str, i32> {
        let of = |name| self.topics.get(name).map_or(0, |topic| topic.partitions);
        ["t", "r", "c"].into_iter().map(|name| (name, of(name))).collect()
    }

    /// A topic grows; one with fewer partitions is another one of the same name; one without does not exist.
    fn set_topics(&mut self, partitions: BTreeMap<&'static str, i32>) {
        let mut topics = Vec::new();
        for (name, partitions) in partitions.into_iter().filter(|(_, partitions)| *partitions > 0) {
            let same = self.topics.get(name).filter(|topic| topic.partitions <= partitions);
            self.fresh += 1;
            let id = same.map_or(Uuid::from_u128(self.fresh), |topic| topic.id);
            topics.push((name, Topic { id, partitions }));
        }
        self.topics = Arc::new(self.topics.next(topics));
        self.shard.set_topics(self.topics.clone());
    }

    /// The host creates what it was last asked for, unless it is there.
    fn create(&mut self) {
        let Some(missing) = self.creations.pop() else { return };
        self.creations.clear();
        let mut topics = self.partitions();
        for topic in missing {
            assert!(topic.partitions > 0, "{topic:?}");
            let name = if *topic.name == *"r" { "r" } else { "c" };
            if topics[name] == 0 {
                topics.insert(name, topic.partitions);
            }
        }
        self.set_topics(topics);
    }

    fn ticket(&mut self, client: usize, owned: Option<StreamsTasks>) -> Ticket {
        self.tickets += 1;
        self.waiting.insert(Ticket(self.tickets), (client, owned));
        Ticket(self.tickets)
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
        let Some(append) = self.undecided.pop_front() else { return };
        assert!(!append.records.is_empty());
        let base_offset = self.log.len() as i64;
        if fate.is_ok() {
            self.log.extend(append.records);
        }
        let effects = self.shard.appended(append.id, fate.map(|()| base_offset), self.now);
        self.carry_out(effects);
    }

    fn restart(&mut self, with_undecided: bool) {
        let shard = std::mem::replace(&mut self.shard, Shard::new(self.config.clone()));
        let undecided = std::mem::take(&mut self.undecided);
        if with_undecided {
            self.log.extend(undecided.into_iter().flat_map(|append| append.records));
        }
        for (ticket, reply) in shard.unload(self.now) {
            self.deliver(ticket, reply);
        }
        assert!(self.waiting.is_empty(), "nobody waits for a coordinator that is gone: {:?}", self.waiting);
        self.shard.set_topics(self.topics.clone());
        for (offset, record) in (0..).zip(&self.log) {
            let encoded = record.encode().expect("it fits");
            let decoded = Record::decode(&encoded.key, encoded.value.as_deref()).expect("it is well formed");
            assert_eq!(&decoded, record);
            self.shard.replay(offset, None, decoded);
        }
        let effects = self.shard.loaded(self.now);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        for (ticket, reply) in effects.replies {
            self.deliver(ticket, reply);
        }
        self.undecided.extend(effects.appends);
    }

    fn deliver(&mut self, ticket: Ticket, reply: GroupReply) {
        let (number, owned) = self.waiting.remove(&ticket).expect("a ticket is answered once");
        if let GroupReply::StreamsHeartbeat(Ok(heartbeat)) = &reply
            && !heartbeat.missing.is_empty()
        {
            self.creations.push(heartbeat.missing.clone());
        }
        if number == NOBODY {
            return;
        }
        let client = &mut self.clients[number];
        if client.waits_for != Some(ticket) {
            return; // the answer was lost
        }
        client.waits_for = None;
        let GroupReply::StreamsHeartbeat(reply) = reply else { panic!("an answer of another kind: {reply:?}") };
        match reply {
            Ok(heartbeat) => {
                assert_eq!(*heartbeat.member, *client.id);
                assert!(heartbeat.epoch >= client.epoch, "epochs only grow");
                if heartbeat.epoch != client.epoch {
                    client.previous_epoch = client.epoch;
                }
                client.epoch = heartbeat.epoch;
                client.told_owned = owned.or_else(|| client.told_owned.take());
                if let Some(tasks) = heartbeat.tasks {
                    client.owned = tasks;
                }
            }
            Err(GroupError::FencedMemberEpoch | GroupError::UnknownMemberId | GroupError::GroupIdNotFound) => {
                client.abandon();
            }
            Err(GroupError::CoordinatorNotAvailable | GroupError::NotCoordinator) => client.told_owned = None,
            Err(error) => panic!("client {number} is refused: {error:?}"),
        }
    }

    /// Clients that are members, and that their coordinator takes for members.
    fn members(&self) -> Vec<usize> {
        let described = self.shard.describe_streams(&GROUP.into()).ok();
        let members = described.into_iter().flat_map(|group| group.members);
        let members: BTreeSet<String> =
            members.filter(|member| member.epoch > 0).map(|member| member.member.to_string()).collect();
        let is_member = |client: &Client| client.epoch > 0 && members.contains(&client.id);
        (0..CLIENTS).filter(|number| is_member(&self.clients[*number])).collect()
    }

    fn check(&self) {
        let members = self.members();
        disjoint(members.iter().map(|number| (PROCESSES[*number], &self.clients[*number].owned)));
        let described = self.shard.describe_streams(&GROUP.into()).ok();
        let described: Vec<_> = described.into_iter().flat_map(|group| group.members).collect();
        disjoint(described.iter().map(|member| (&*member.value.process, &member.assigned)));
        disjoint(described.iter().map(|member| (&*member.value.process, &member.target)));
    }

    /// From here on everybody behaves, and nothing fails.
    fn settle(&mut self, partitions: i32) {
        for number in 0..CLIENTS {
            self.lose(number);
        }
        self.set_topics([("t", partitions)].into());
        self.creations.clear();
        for _ in 0..60 {
            for number in 0..CLIENTS {
                self.step(number);
                while !self.undecided.is_empty() {
                    self.decide(Ok(()));
                }
                self.check();
            }
            self.create();
            self.pass(Duration::from_secs(1));
            while !self.undecided.is_empty() {
                self.decide(Ok(()));
            }
        }
        let group = self.shard.describe_streams(&GROUP.into()).expect("the group is there");
        assert_eq!((group.state, group.epoch), (GroupState::Stable, group.target_epoch));
        assert_eq!(group.members.len(), CLIENTS, "{:?}", group.members);
        for client in &self.clients {
            let member = group.members.iter().find(|member| *member.member == *client.id).expect("it is a member");
            assert_eq!((member.epoch, &member.assigned), (client.epoch, &client.owned));
            assert_eq!(member.assigned, member.target);
        }
        let all: BTreeSet<(&str, i32)> =
            ["0", "1"].into_iter().flat_map(|id| (0..partitions).map(move |partition| (id, partition))).collect();
        let active: Vec<_> = self.clients.iter().flat_map(|client| pairs(&client.owned.active)).collect();
        assert_eq!(active.len(), all.len(), "{active:?}");
        assert_eq!(active.into_iter().collect::<BTreeSet<_>>(), all);
        let standbys = self.config.streams.standby_replicas.min(DIFFERENT_PROCESSES - 1);
        for at in &all {
            let copies = self.clients.iter().flat_map(|client| pairs(&client.owned.standby)).filter(|task| task == at);
            let wanted = if at.0 == "1" { standbys } else { 0 };
            assert_eq!(copies.count(), wanted, "copies of {at:?}");
        }
        assert!(self.waiting.is_empty(), "somebody still waits: {:?}", self.waiting);
    }
}

/// No task is active twice, and no process has two copies of one.
fn disjoint<'a>(members: impl Iterator<Item = (&'a str, &'a StreamsTasks)>) {
    let (mut active, mut copies) = (BTreeSet::new(), BTreeSet::new());
    for (process, tasks) in members {
        for at in pairs(&tasks.active) {
            assert!(active.insert(at), "{at:?} is active twice");
        }
        for at in pairs(&tasks.active).chain(pairs(&tasks.standby)).chain(pairs(&tasks.warmup)) {
            assert!(copies.insert((process, at)), "{at:?} is twice in process {process}");
        }
    }
}

fn pairs(tasks: &Tasks) -> impl Iterator<Item = (&str, i32)> {
    tasks.iter().flat_map(|(id, all)| all.iter().map(move |partition| (id.as_str(), *partition)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_streams_group_keeps_its_promises(ops in ops(), standbys in 0usize..3, partitions in 1..6i32) {
        let mut model = Model::new(standbys);
        for op in &ops {
            model.run(op);
        }
        model.settle(partitions);
        model.restart(false);
        model.check();
        model.settle(partitions);
    }
}
