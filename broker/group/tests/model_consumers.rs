//! Whatever consumers of both protocols do, in whatever order, with answers lost, the log slow or failing, topics
//! changing and the coordinator restarted: no partition belongs to two members at once, nobody but its owner commits
//! for it, every ticket is answered once, and as soon as clients behave every partition has an owner that is subscribed
//! to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_group::record::Partitions;
use ottla_group::*;
use ottla_wire::consumer_protocol::{self, ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition};
use ottla_wire::coordinator_records::encode_value;
use proptest::prelude::*;
use uuid::Uuid;

const GROUP: &str = "g";
const CLIENTS: usize = 5;
/// Whose tickets are nobody's to wait for.
const NOBODY: usize = usize::MAX;

#[derive(Clone, Debug)]
enum Op {
    /// The client does the next thing that a good client does.
    Step(usize),
    /// It stops waiting (its connection broke), and cannot know what came of its request.
    Lose(usize),
    /// It forgets who it was. A static one keeps its instance id.
    Crash(usize),
    Leave(usize),
    /// A static one leaves for a while.
    Pause(usize),
    Resubscribe(usize, usize),
    /// It is started again with the other protocol. A static one keeps its instance id.
    Switch(usize),
    /// For a partition that it owns, with its epoch or the one before.
    Commit(usize, bool),
    Topics(i32, i32),
    LookUp,
    LookupFails,
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
        2 => client.clone().prop_map(Op::Leave),
        1 => (0..2usize).prop_map(Op::Pause),
        3 => (client.clone(), 0..SUBSCRIPTIONS.len()).prop_map(|(client, to)| Op::Resubscribe(client, to)),
        4 => client.clone().prop_map(Op::Switch),
        4 => (client, any::<bool>()).prop_map(|(client, old)| Op::Commit(client, old)),
        2 => (0..7i32, 0..4i32).prop_map(|(t, u)| Op::Topics(t, u)),
        2 => Just(Op::LookUp),
        1 => Just(Op::LookupFails),
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

/// Topics by name, and an expression.
const SUBSCRIPTIONS: [(&[&str], &str); 5] =
    [(&["t"], ""), (&["t", "u"], ""), (&["u"], ""), (&[], "[tu]"), (&["u"], "t+")];

fn subscribes(subscription: usize, name: &str) -> bool {
    let (names, pattern) = SUBSCRIPTIONS[subscription];
    names.contains(&name) || pattern == "[tu]" || (pattern == "t+" && name == "t")
}

#[derive(Debug, Default)]
struct Client {
    id: String,
    epoch: i32,
    previous_epoch: i32,
    subscription: usize,
    /// What the coordinator knows of it.
    told_subscription: Option<usize>,
    /// What it uses.
    owned: Partitions,
    /// What the coordinator knows of it.
    told_owned: Option<Partitions>,
    waits_for: Option<Ticket>,
    /// It speaks the classic protocol, and gives all back before it joins; its epoch is its generation.
    is_classic: bool,
    doing: Doing,
}

/// What a classic client has to do.
#[derive(Clone, Debug, Default)]
enum Doing {
    #[default]
    Join,
    /// With the members and their subscriptions if it leads.
    Sync(Vec<JoinedMember>),
    Beat,
}

impl Client {
    /// Classic ones do so by name.
    fn subscribes(&self, name: &str) -> bool {
        let (names, _) = SUBSCRIPTIONS[self.subscription];
        if self.is_classic { names.contains(&name) } else { subscribes(self.subscription, name) }
    }

    /// A classic client is refused.
    fn refused(&mut self, error: GroupError) {
        self.doing = Doing::Join;
        match error {
            GroupError::UnknownMemberId | GroupError::FencedInstanceId => {
                self.abandon();
                self.id.clear();
            }
            GroupError::IllegalGeneration => self.abandon(),
            GroupError::RebalanceInProgress | GroupError::CoordinatorNotAvailable | GroupError::NotCoordinator => {}
            error => panic!("a classic client is refused: {error:?}"),
        }
    }

    /// It stops with all that it has, to join again.
    fn abandon(&mut self) {
        (self.epoch, self.previous_epoch) = (0, 0);
        self.owned.clear();
        self.doing = Doing::Join;
        self.forget();
    }

    /// It does not know what the coordinator knows.
    fn forget(&mut self) {
        (self.told_subscription, self.told_owned) = (None, None);
    }
}

/// What was asked, and what it said.
#[derive(Clone, Debug)]
struct Asked {
    client: usize,
    subscription: Option<usize>,
    owned: Option<Partitions>,
    topics: Arc<Topics>,
}

struct Model {
    shard: Shard,
    now: Now,
    topics: Arc<Topics>,
    lookups: Vec<Lookup>,
    log: Vec<Record>,
    undecided: VecDeque<GroupAppend>,
    clients: Vec<Client>,
    waiting: BTreeMap<Ticket, Asked>,
    tickets: u64,
    fresh: u128,
}

fn config() -> Config {
    Config { consumer_pattern_refresh: Duration::from_secs(20), ..Config::default() }
}

/// The first two are static members.
fn instance(client: usize) -> Option<InstanceId> {
    (client < 2).then(|| format!("static-{client}").as_str().into())
}

impl Model {
    fn new() -> Self {
        let client = |number| Client { id: format!("client-{number}"), ..Client::default() };
        let mut model = Model {
            shard: Shard::new(config()),
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_000_000 },
            topics: Arc::default(),
            lookups: Vec::new(),
            log: Vec::new(),
            undecided: VecDeque::new(),
            clients: (0..CLIENTS).map(client).collect(),
            waiting: BTreeMap::new(),
            tickets: 0,
            fresh: 0,
        };
        model.set_topics(4, 0);
        model
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Step(client) => self.step(client),
            Op::Lose(client) => self.lose(client),
            Op::Crash(client) => self.crash(client),
            Op::Leave(client) => self.leave(client, -1),
            Op::Pause(client) => self.leave(client, -2),
            Op::Resubscribe(client, to) => self.clients[client].subscription = to,
            Op::Switch(client) => {
                self.clients[client].is_classic ^= true;
                self.crash(client);
            }
            Op::Commit(client, old) => self.commit(client, old),
            Op::Topics(t, u) => self.set_topics(t, u),
            Op::LookUp => self.look_up(),
            Op::LookupFails => {
                for lookup in std::mem::take(&mut self.lookups) {
                    let effects = self.shard.looked_up(&lookup, None, self.now);
                    self.carry_out(effects);
                }
            }
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
        if client.is_classic {
            return self.step_classic(number);
        }
        if client.epoch == 0 {
            client.abandon();
        }
        let subscription = Some(client.subscription).filter(|now| client.told_subscription != Some(*now));
        let owned = Some(client.owned.clone()).filter(|now| client.told_owned.as_ref() != Some(now));
        let request = ConsumerHeartbeatRequest {
            rebalance_timeout_ms: subscription.map(|_| 5_000),
            topics: subscription.map(|to| SUBSCRIPTIONS[to].0.iter().map(|name| (*name).into()).collect()),
            pattern: subscription.map(|to| SUBSCRIPTIONS[to].1.to_owned()),
            owned: owned.clone(),
            ..self.request(number, self.clients[number].epoch)
        };
        let ticket = self.ticket(Asked { client: number, subscription, owned, topics: self.topics.clone() });
        self.clients[number].waits_for = Some(ticket);
        let effects = self.shard.consumer_heartbeat(request, ticket, self.now);
        self.carry_out(effects);
    }

    fn step_classic(&mut self, number: usize) {
        let ticket =
            self.ticket(Asked { client: number, subscription: None, owned: None, topics: self.topics.clone() });
        let client = &mut self.clients[number];
        client.waits_for = Some(ticket);
        let (group, member) = (GROUP.into(), client.id.as_str().into());
        let (instance, generation) = (instance(number), client.epoch);
        let effects = match client.doing.clone() {
            Doing::Join => {
                client.owned.clear();
                self.fresh += 1;
                let request = JoinRequest {
                    group,
                    member,
                    instance,
                    client_id: format!("classic-{number}"),
                    client_host: "/127.0.0.1".into(),
                    session_timeout_ms: 10_000,
                    rebalance_timeout_ms: 5_000,
                    protocol_type: "consumer".into(),
                    protocols: vec![Protocol { name: "range".into(), metadata: metadata(client.subscription) }],
                    can_be_sent_an_id: number != 3,
                    can_skip_assignment: number != 1,
                    fresh: Uuid::from_u128(self.fresh),
                };
                self.shard.join(request, ticket, self.now)
            }
            Doing::Sync(members) => {
                let (protocol_type, protocol_name) = (None, None);
                let assignments = assign(&members, &self.topics);
                let request =
                    SyncRequest { group, member, instance, generation, protocol_type, protocol_name, assignments };
                self.shard.sync(request, ticket, self.now)
            }
            Doing::Beat => {
                let request = HeartbeatRequest { group, member, instance, generation };
                let beat = self.shard.heartbeat(&request, self.now);
                self.waiting.remove(&ticket);
                client.waits_for = None;
                if let Err(error) = beat {
                    client.refused(error);
                }
                return;
            }
        };
        self.carry_out(effects);
    }

    fn request(&self, number: usize, epoch: i32) -> ConsumerHeartbeatRequest {
        ConsumerHeartbeatRequest {
            group: GROUP.into(),
            member: self.clients[number].id.as_str().into(),
            makes_its_own_id: true,
            epoch,
            instance: instance(number),
            rack: None,
            client_id: format!("client-{number}"),
            client_host: "/127.0.0.1".into(),
            principal: "ANONYMOUS".into(),
            rebalance_timeout_ms: None,
            topics: None,
            pattern: None,
            assignor: None,
            owned: None,
            fresh: Uuid::from_u128(self.fresh),
        }
    }

    fn lose(&mut self, number: usize) {
        if self.clients[number].waits_for.take().is_some() {
            self.clients[number].forget();
        }
    }

    fn crash(&mut self, number: usize) {
        self.fresh += 1;
        let Client { subscription, is_classic, .. } = self.clients[number];
        let id = if is_classic { String::new() } else { format!("client-{number}-{}", self.fresh) };
        self.clients[number] = Client { id, subscription, is_classic, ..Client::default() };
    }

    fn leave(&mut self, number: usize, epoch: i32) {
        if self.clients[number].epoch == 0 {
            return;
        }
        let ticket =
            self.ticket(Asked { client: NOBODY, subscription: None, owned: None, topics: self.topics.clone() });
        let request = self.request(number, epoch);
        let is_classic = self.clients[number].is_classic;
        self.crash(number);
        let effects = if is_classic {
            let members = vec![Leaving { member: request.member, instance: request.instance }];
            self.shard.leave(&LeaveRequest { group: GROUP.into(), members }, ticket, self.now)
        } else {
            self.shard.consumer_heartbeat(request, ticket, self.now)
        };
        self.carry_out(effects);
    }

    fn commit(&mut self, number: usize, old: bool) {
        let Client { id, epoch, previous_epoch, owned, .. } = &self.clients[number];
        let Some((topic, partition)) = pairs(owned).next() else { return };
        let name = self.topics.name(topic).cloned().unwrap_or_else(|| "t".into());
        let offset = OffsetToCommit {
            topic: name,
            topic_id: Some(topic),
            partition,
            offset: 1,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let request = CommitRequest {
            group: GROUP.into(),
            member: id.as_str().into(),
            instance: None,
            generation: if old { *previous_epoch } else { *epoch },
            knows_group_id_not_found: true,
            retention_ms: None,
            offsets: vec![offset],
        };
        let is_its_own = !self.members().any(|other| {
            self.clients[other].owned.get(&topic).is_some_and(|all| other != number && all.contains(&partition))
        });
        let ticket =
            self.ticket(Asked { client: NOBODY, subscription: None, owned: None, topics: self.topics.clone() });
        let effects = self.shard.commit_offsets(request, ticket, self.now);
        assert!(is_its_own || effects.appends.is_empty(), "client {number} committed for another's partition");
        self.carry_out(effects);
    }

    fn set_topics(&mut self, t: i32, u: i32) {
        let mut topics = Vec::new();
        for (name, partitions) in [("t", t), ("u", u)].into_iter().filter(|(_, partitions)| *partitions > 0) {
            // A topic grows; one with fewer partitions is another one of the same name.
            let same = self.topics.get(name).filter(|topic| topic.partitions <= partitions);
            self.fresh += 1;
            let id = same.map_or(Uuid::from_u128(self.fresh), |topic| topic.id);
            topics.push((name, Topic { id, partitions }));
        }
        self.topics = Arc::new(self.topics.next(topics));
        self.shard.set_topics(self.topics.clone());
    }

    fn look_up(&mut self) {
        for lookup in std::mem::take(&mut self.lookups) {
            let found = lookup.find(&lookup.topics, |_| true);
            let effects = self.shard.looked_up(&lookup, Some(found), self.now);
            self.carry_out(effects);
        }
    }

    fn ticket(&mut self, asked: Asked) -> Ticket {
        self.tickets += 1;
        self.waiting.insert(Ticket(self.tickets), asked);
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
        let shard = std::mem::replace(&mut self.shard, Shard::new(config()));
        let undecided = std::mem::take(&mut self.undecided);
        self.lookups.clear();
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
        self.lookups.extend(effects.lookups);
        self.undecided.extend(effects.appends);
    }

    fn deliver(&mut self, ticket: Ticket, reply: GroupReply) {
        let asked = self.waiting.remove(&ticket).expect("a ticket is answered once");
        if asked.client == NOBODY {
            return;
        }
        let client = &mut self.clients[asked.client];
        if client.waits_for != Some(ticket) {
            return; // the answer was lost
        }
        client.waits_for = None;
        let reply = match reply {
            GroupReply::ConsumerHeartbeat(reply) => reply,
            GroupReply::Join(Ok(joined)) => {
                client.id = joined.member.to_string();
                client.epoch = joined.generation;
                client.doing = Doing::Sync(if joined.skip_assignment { Vec::new() } else { joined.members });
                return;
            }
            GroupReply::Join(Err(JoinRefused { error: GroupError::MemberIdRequired, member })) => {
                client.id = member.to_string();
                return;
            }
            GroupReply::Sync(Ok(synced)) => {
                let owned = Self::topics_by_id(&asked.topics, &synced.assignment);
                let client = &mut self.clients[asked.client];
                (client.owned, client.doing) = (owned, Doing::Beat);
                return;
            }
            GroupReply::Join(Err(JoinRefused { error, .. })) | GroupReply::Sync(Err(error)) => {
                return client.refused(error);
            }
            GroupReply::Leave(_)
            | GroupReply::Commit(_)
            | GroupReply::DeleteOffsets(_)
            | GroupReply::DeleteGroups(_)
            | GroupReply::StreamsHeartbeat(_)
            | GroupReply::ShareHeartbeat(_)
            | GroupReply::AlterShareOffsets(_)
            | GroupReply::DeleteShareOffsets(_) => {
                panic!("an answer of another kind: {reply:?}")
            }
        };
        match reply {
            Ok(heartbeat) => {
                assert_eq!(*heartbeat.member, *client.id);
                assert!(heartbeat.epoch >= client.epoch, "epochs only grow");
                if heartbeat.epoch != client.epoch {
                    client.previous_epoch = client.epoch;
                }
                client.epoch = heartbeat.epoch;
                client.told_subscription = asked.subscription.or(client.told_subscription);
                client.told_owned = asked.owned.or_else(|| client.told_owned.take());
                if let Some(assignment) = heartbeat.assignment {
                    client.owned = assignment;
                }
            }
            Err(
                GroupError::FencedMemberEpoch
                | GroupError::UnknownMemberId
                | GroupError::GroupIdNotFound
                | GroupError::FencedInstanceId,
            ) => client.abandon(),
            Err(GroupError::UnreleasedInstanceId) => assert_eq!(client.epoch, 0),
            Err(GroupError::CoordinatorNotAvailable | GroupError::NotCoordinator) => client.forget(),
            Err(error) => panic!("client {} is refused: {error:?}", asked.client),
        }
    }

    /// Classic assignments name topics: those that were there when the client asked.
    fn topics_by_id(topics: &Topics, assignment: &Bytes) -> Partitions {
        let Ok(assignment) = consumer_protocol::decode::<ConsumerProtocolAssignment>(assignment.clone()) else {
            return Partitions::new();
        };
        let assigned = assignment.assigned_partitions.into_iter().filter(|topic| !topic.partitions.is_empty());
        let assigned = assigned.filter_map(|topic| Some((topics.get(&topic.topic)?.id, topic.partitions)));
        assigned.map(|(id, partitions)| (id, partitions.into_iter().collect())).collect()
    }

    /// Clients that are members, and that their coordinator takes for members. Among classic ones of a generation that
    /// is over there are none, and in a classic group none counts: its members may overlap until they rejoin.
    fn members(&self) -> impl Iterator<Item = usize> {
        let described = self.shard.describe_consumer(&GROUP.into()).ok();
        let members = described.into_iter().flat_map(|group| group.members);
        let epochs: BTreeMap<String, i32> =
            members.map(|member| (member.member.to_string(), member.epoch)).filter(|(_, epoch)| *epoch > 0).collect();
        self.clients.iter().enumerate().filter_map(move |(number, client)| {
            let is_member = match epochs.get(&client.id) {
                Some(epoch) if client.is_classic => client.epoch == *epoch,
                Some(_) => client.epoch > 0,
                None => false,
            };
            is_member.then_some(number)
        })
    }

    fn check(&self) {
        let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
        for number in self.members() {
            for at in pairs(&self.clients[number].owned) {
                if let Some(other) = owners.insert(at, number) {
                    panic!("{at:?} belongs to the clients {other} and {number}");
                }
            }
        }
        let mut assigned = BTreeSet::new();
        for member in self.shard.describe_consumer(&GROUP.into()).into_iter().flat_map(|group| group.members) {
            for at in pairs(&member.assigned) {
                assert!(assigned.insert(at), "{at:?} is assigned twice");
            }
        }
    }

    /// From here on everybody behaves, and nothing fails.
    fn settle(&mut self) {
        for number in 0..CLIENTS {
            self.lose(number);
            // A classic leader notices by itself that topics have changed; here, everybody joins again.
            self.clients[number].doing = Doing::Join;
        }
        for _ in 0..70 {
            for number in 0..CLIENTS {
                self.step(number);
                while !self.undecided.is_empty() {
                    self.decide(Ok(()));
                }
                self.check();
            }
            self.look_up();
            while !self.undecided.is_empty() {
                self.decide(Ok(()));
            }
            self.pass(Duration::from_secs(1));
        }
        if self.clients.iter().all(|client| client.is_classic) {
            let group = self.shard.describe(&GROUP.into()).expect("the group is classic again");
            assert_eq!((group.state, group.members.len()), (GroupState::Stable, CLIENTS));
        } else {
            let group = self.shard.describe_consumer(&GROUP.into()).expect("the group is there");
            assert_eq!((group.state, group.epoch), (GroupState::Stable, group.target_epoch));
            assert_eq!(group.members.len(), CLIENTS, "{:?}", group.members);
            for client in &self.clients {
                let member = group.members.iter().find(|member| *member.member == *client.id);
                let member = member.expect("it is a member");
                assert_eq!((member.epoch, &member.assigned), (client.epoch, &client.owned));
                assert_eq!(member.assigned, member.target);
                assert_eq!(member.value.classic.is_some(), client.is_classic);
            }
        }
        let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
        for (number, client) in self.clients.iter().enumerate() {
            for at in pairs(&client.owned) {
                let name = self.topics.name(at.0).expect("the topic is there");
                assert!(client.subscribes(name), "client {number} is not subscribed to {name}");
                assert_eq!(owners.insert(at, number), None, "{at:?} belongs to another as well");
            }
        }
        for name in ["t", "u"] {
            let Some(topic) = self.topics.get(name) else { continue };
            let is_wanted = self.clients.iter().any(|client| client.subscribes(name));
            for partition in (0..topic.partitions).filter(|_| is_wanted) {
                assert!(owners.remove(&(topic.id, partition)).is_some(), "{name}-{partition} belongs to nobody");
            }
        }
        assert_eq!(owners, BTreeMap::new(), "of topics that are not there");
        assert!(self.waiting.is_empty(), "somebody still waits: {:?}", self.waiting);
    }
}

/// What a classic client says about itself.
fn metadata(subscription: usize) -> Bytes {
    let subscription = ConsumerProtocolSubscription {
        topics: SUBSCRIPTIONS[subscription].0.iter().map(|name| (*name).into()).collect(),
        user_data: None,
        owned_partitions: Vec::new(),
        generation_id: -1,
        rack_id: None,
    };
    encode_value(1, &subscription)
}

/// What the leader of a classic group makes of it: each topic goes round among those who want it.
fn assign(members: &[JoinedMember], topics: &Topics) -> Vec<(MemberId, Bytes)> {
    let mut assigned: BTreeMap<MemberId, Vec<TopicPartition>> = BTreeMap::new();
    for name in topics.names() {
        let wants = |member: &&JoinedMember| {
            let subscription: ConsumerProtocolSubscription =
                consumer_protocol::decode(member.metadata.clone()).expect("a subscription");
            subscription.topics.iter().any(|topic| **topic == **name)
        };
        let wanting: Vec<&JoinedMember> = members.iter().filter(wants).collect();
        let partitions = topics.get(name).map_or(0, |topic| topic.partitions);
        for (number, member) in wanting.iter().enumerate() {
            let mine = (0..partitions).filter(|partition| *partition as usize % wanting.len() == number).collect();
            let topic = TopicPartition { topic: (&**name).into(), partitions: mine };
            assigned.entry(member.member.clone()).or_default().push(topic);
        }
    }
    let encode = |(member, assigned_partitions)| {
        (member, encode_value(1, &ConsumerProtocolAssignment { assigned_partitions, user_data: None }))
    };
    assigned.into_iter().map(encode).collect()
}

fn pairs(partitions: &Partitions) -> impl Iterator<Item = (Uuid, i32)> {
    partitions.iter().flat_map(|(topic, all)| all.iter().map(|partition| (*topic, *partition)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_consumer_group_keeps_its_promises(ops in ops()) {
        let mut model = Model::new();
        for op in &ops {
            model.run(op);
        }
        model.settle();
        model.restart(false);
        model.check();
        model.settle();
    }
}
