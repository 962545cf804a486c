//! Members of groups over the wire, each in a thread with a connection of its own; they ask what Kafka's consumer asks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ottla_e2e::raw::Connection;
use ottla_e2e::wait::until;
use ottla_wire::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition, decode};
use ottla_wire::coordinator_records::encode_value;
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m11_join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember};
use ottla_wire::m14_sync_group::SyncGroupRequestAssignment;
use ottla_wire::m68_consumer_group_heartbeat::ConsumerGroupHeartbeatTopicPartitions;
use ottla_wire::{
    ApiVersionsRequest, ConsumerGroupHeartbeatRequest, ErrorCode, HeartbeatRequest, JoinGroupRequest, MetadataRequest,
    RequestMessage, Str, SyncGroupRequest, Uuid,
};

/// Longer than thousands of groups need.
const LIMIT: Duration = Duration::from_secs(600);
/// Before a request that a coordinator could not serve yet is sent again: Kafka's `retry.backoff.ms`.
const BACKOFF: Duration = Duration::from_millis(100);
/// The defaults of Kafka's consumer.
const SESSION_TIMEOUT_MS: i32 = 45_000;
const REBALANCE_TIMEOUT_MS: i32 = 300_000;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Of a member's thread.
const STACK: usize = 256 << 10;

/// How the members of a group agree on who reads what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One of them assigns.
    Classic,
    /// Their coordinator does (KIP-848).
    Consumer,
}

/// What a group reads: one topic, of as many partitions as it has members.
pub struct Group {
    name: String,
    topic: (&'static str, Uuid),
    seats: Mutex<Seats>,
}

struct Seats {
    /// What each member has; `None` before it has joined, and while it joins again.
    held: Vec<Option<Vec<i32>>>,
    /// Since when every partition has one member.
    stable: Option<Instant>,
}

/// What all members share.
pub struct Stage {
    address: String,
    members: usize,
    connected: AtomicUsize,
    /// The members wait at it; it holds when they began.
    gate: RwLock<Option<Instant>>,
    over: AtomicBool,
    failed: Mutex<Option<anyhow::Error>>,
}

impl Stage {
    /// For so many members.
    pub fn new(address: String, members: usize) -> Stage {
        let (connected, gate) = (AtomicUsize::new(0), RwLock::new(None));
        Stage { address, members, connected, gate, over: AtomicBool::new(false), failed: Mutex::new(None) }
    }

    /// Starts each member's part in a thread; all begin when all are connected. Then `observe` is called with the
    /// moment at which they began; when it has returned, `end` is to close their connections.
    pub fn play<T>(
        &self,
        part: impl Fn(usize, &mut Connection) -> Result<()> + Sync,
        observe: impl FnOnce(Instant) -> Result<T>,
        end: impl FnOnce() -> Result<()>,
    ) -> Result<T> {
        thread::scope(|scope| {
            let mut closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            for member in 0..self.members {
                let part = &part;
                let life = move || self.live(|connection| part(member, connection));
                thread::Builder::new().stack_size(STACK).spawn_scoped(scope, life)?;
            }
            let all = || (self.connected.load(Ordering::Relaxed) == self.members).then_some(());
            self.wait_for("every member to connect", all)?;
            let begin = Instant::now();
            *closed = Some(begin);
            drop(closed);
            let observed = observe(begin);
            self.over.store(true, Ordering::Relaxed);
            end()?;
            observed
        })
    }

    fn live(&self, part: impl Fn(&mut Connection) -> Result<()>) {
        let lived = self.connect().and_then(|mut connection| {
            self.connected.fetch_add(1, Ordering::Relaxed);
            let begins = self.gate.read().unwrap_or_else(PoisonError::into_inner).is_some();
            if begins { part(&mut connection) } else { Ok(()) }
        });
        if let (Err(error), false) = (lived, self.is_over()) {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// A connection on which the broker has answered. Of thousands that come at once, the kernel drops some that wait
    /// for a broker to accept them: they connect again, as any client does.
    fn connect(&self) -> Result<Connection> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let connected = Connection::open(&self.address).and_then(|mut connection| {
                connection.wait_at_most(LIMIT)?;
                ask(&mut connection, 0, &ApiVersionsRequest::default())?;
                Ok(connection)
            });
            if connected.is_ok() || Instant::now() > deadline {
                return connected;
            }
            sleep(BACKOFF);
        }
    }

    /// Whether nobody minds errors any more.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits for what members do, and fails when one of them does.
    pub fn wait_for<T>(&self, what: &str, question: impl Fn() -> Option<T>) -> Result<T> {
        until(LIMIT, what, || match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error.context("a member failed")),
            None => Ok(question()),
        })
    }
}

impl Group {
    /// A group of so many members that reads this topic.
    pub fn new(name: String, topic: (&'static str, Uuid), members: usize) -> Group {
        Group { name, topic, seats: Mutex::new(Seats { held: vec![None; members], stable: None }) }
    }

    /// Since when every partition has one member.
    pub fn stable(&self) -> Option<Instant> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).stable
    }

    fn hold(&self, member: usize, partitions: Option<Vec<i32>>) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.held[member] = partitions;
        let mut all: Vec<i32> = seats.held.iter().flatten().flatten().copied().collect();
        all.sort_unstable();
        let stable = seats.held.iter().all(Option::is_some) && all.into_iter().eq(0..seats.held.len() as i32);
        seats.stable = stable.then(|| seats.stable.unwrap_or_else(Instant::now));
    }

    /// A member's life, until it is over.
    pub fn take_part(&self, protocol: Protocol, member: usize, stage: &Stage, on: &mut Connection) -> Result<()> {
        find_coordinator(on, &self.name, 0)?;
        match protocol {
            Protocol::Classic => self.take_part_in_classic(member, stage, on),
            Protocol::Consumer => self.take_part_in_consumer(member, stage, on),
        }
    }

    fn take_part_in_classic(&self, member: usize, stage: &Stage, on: &mut Connection) -> Result<()> {
        let mut id = Str::new();
        while !stage.is_over() {
            self.hold(member, None);
            let joined = ask(on, 9, &self.join(&id))?;
            match joined.error_code {
                ErrorCode::NONE => {}
                ErrorCode::MEMBER_ID_REQUIRED => {
                    id = joined.member_id;
                    continue;
                }
                code if is_passing(code) => {
                    sleep(BACKOFF);
                    continue;
                }
                code => bail!("the group can not be joined: {code}"),
            }
            let generation = joined.generation_id;
            let synced = ask(on, 5, &self.sync(&id, generation, &joined.members))?;
            match synced.error_code {
                ErrorCode::NONE => {}
                code if is_passing(code) => continue,
                code => bail!("no assignment came: {code}"),
            }
            let assignment: ConsumerProtocolAssignment = decode(synced.assignment)?;
            let mine = assignment.assigned_partitions.into_iter().flat_map(|topic| topic.partitions);
            self.hold(member, Some(mine.collect()));
            let beat = HeartbeatRequest {
                group_id: self.group_id(),
                generation_id: generation,
                member_id: id.clone(),
                group_instance_id: None,
            };
            while !stage.is_over() {
                sleep(HEARTBEAT_INTERVAL);
                match ask(on, 4, &beat)?.error_code {
                    ErrorCode::NONE => {}
                    code if is_passing(code) => break,
                    code => bail!("a heartbeat was refused: {code}"),
                }
            }
        }
        Ok(())
    }

    fn join(&self, id: &Str) -> JoinGroupRequest {
        let subscription = ConsumerProtocolSubscription { topics: vec![self.topic.0.into()], ..Default::default() };
        JoinGroupRequest {
            group_id: self.group_id(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: encode_value(3, &subscription),
            }],
            ..Default::default()
        }
    }

    /// `members` are all of them for the leader, which gives each its partitions, else nobody.
    fn sync(&self, id: &Str, generation_id: i32, members: &[JoinGroupResponseMember]) -> SyncGroupRequest {
        let partitions = self.seats.lock().unwrap_or_else(PoisonError::into_inner).held.len();
        let assignment = |(nth, member): (usize, &JoinGroupResponseMember)| {
            let mine = (nth..partitions).step_by(members.len()).map(|partition| partition as i32).collect();
            let assigned_partitions = vec![TopicPartition { topic: self.topic.0.into(), partitions: mine }];
            let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
            SyncGroupRequestAssignment { member_id: member.member_id.clone(), assignment: encode_value(3, &assignment) }
        };
        SyncGroupRequest {
            group_id: self.group_id(),
            generation_id,
            member_id: id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: members.iter().enumerate().map(assignment).collect(),
            ..Default::default()
        }
    }

    fn take_part_in_consumer(&self, member: usize, stage: &Stage, on: &mut Connection) -> Result<()> {
        let (_, topic_id) = self.topic;
        let mut beat = ConsumerGroupHeartbeatRequest {
            group_id: self.group_id(),
            member_id: format!("{}-{member}", self.name).as_str().into(),
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            subscribed_topic_names: Some(vec![self.topic.0.into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        while !stage.is_over() {
            let answer = ask(on, 1, &beat)?;
            match answer.error_code {
                ErrorCode::NONE => {}
                code if is_passing(code) => {
                    sleep(BACKOFF);
                    continue;
                }
                code => bail!("a heartbeat was refused: {code}, {:?}", answer.error_message),
            }
            beat = ConsumerGroupHeartbeatRequest {
                group_id: self.group_id(),
                member_id: beat.member_id,
                member_epoch: answer.member_epoch,
                ..Default::default()
            };
            match answer.assignment {
                // It revokes at once what it has no longer, and says so at once.
                Some(assignment) => {
                    let mine: Vec<i32> =
                        assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions).collect();
                    let owned = ConsumerGroupHeartbeatTopicPartitions { topic_id, partitions: mine.clone() };
                    beat.topic_partitions = Some(if mine.is_empty() { Vec::new() } else { vec![owned] });
                    self.hold(member, Some(mine));
                }
                None => sleep(Duration::from_millis(answer.heartbeat_interval_ms.try_into()?)),
            }
        }
        Ok(())
    }

    fn group_id(&self) -> Str {
        self.name.as_str().into()
    }
}

/// Asks who coordinates a group until somebody does; the key's type is that of the request.
pub fn find_coordinator(on: &mut Connection, group: &str, key_type: i8) -> Result<()> {
    let request = FindCoordinatorRequest { key_type, coordinator_keys: vec![group.into()], ..Default::default() };
    loop {
        let found = ask(on, if key_type == 0 { 4 } else { 6 }, &request)?;
        let code = found.coordinators.first().context("an answer for the group")?.error_code;
        if code.is_none() {
            return Ok(());
        }
        ensure!(is_passing(code), "no coordinator is found: {code}");
        sleep(BACKOFF);
    }
}

/// The topic's id.
pub fn topic_id(address: &str, topic: &str) -> Result<Uuid> {
    let topics = vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }];
    let answer =
        ask(&mut Connection::open(address)?, 12, &MetadataRequest { topics: Some(topics), ..Default::default() })?;
    Ok(answer.topics.first().context("an answer for the topic")?.topic_id)
}

/// The answer, which must come.
pub fn ask<R: RequestMessage>(on: &mut Connection, version: i16, request: &R) -> Result<R::Response> {
    on.ask(version, request)?.context("the broker closed the connection")
}

/// Whether the same or a new attempt to join may succeed later.
pub fn is_passing(code: ErrorCode) -> bool {
    [
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::REBALANCE_IN_PROGRESS,
    ]
    .contains(&code)
}
