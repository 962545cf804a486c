//! The life of a KafkaRebalance: pending, proposed, approved, moving, done; or stale, or cancelled.
//!
//! The effect is approved, not a list of moves: each round is planned from the objects of that moment. If the rounds
//! would move a tenth more replicas than was approved, they stop, and the new proposal waits for approval.
//!
//! A proposal waits for brokers that start, and for the answers of all brokers that it is about: without them it would
//! leave them out, and be done.
//!
//! Always: nothing moves before `spec.approved` is the hash of the proposal that the status shows; one KafkaRebalance
//! of a cluster moves replicas at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use ottla_crds::{
    BrokerChange, KafkaCluster, KafkaRebalance, KafkaRebalanceStatus, RebalanceMode, RebalanceState, names, quantity,
};
use ottla_rules::assignment::BrokerId;

use super::condition::{self, Verdict, conditions, named};
use super::news::News;
use super::step::Step;
use super::world::World;

/// What is left to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// The replicas that move to other brokers, with those that are moving.
    pub moves: i32,
    /// Their bytes; 0: unknown.
    pub bytes: u64,
    /// How long it takes; empty: unknown.
    pub eta: String,
    /// The preferred leaders that brokers get from others.
    pub leaders: i32,
    /// What each broker holds before and after.
    pub brokers: Vec<BrokerChange>,
}

impl Proposal {
    fn is_empty(&self) -> bool {
        self.moves == 0 && self.leaders == 0
    }

    fn hash(&self, object: &KafkaRebalance) -> String {
        const DIGITS: usize = 6;
        let digest = names::digest(&format!("{:?} {:?} {self:?}", object.spec.mode, object.spec.brokers));
        digest.chars().skip(digest.len().saturating_sub(DIGITS)).collect()
    }
}

/// What a KafkaRebalance depends on beside itself.
pub struct Surroundings<'a> {
    /// What is left to do, planned when it is needed.
    pub proposal: &'a dyn Fn() -> Proposal,
    /// The KafkaRebalance that moves replicas now; `None`: none does.
    pub moving: Option<String>,
    /// The brokers that `spec.brokers` names and that get no replicas, those in `awaited` not counted.
    pub strangers: Vec<BrokerId>,
    /// The brokers that the proposal waits for; `None`: it waits for none.
    pub awaited: Option<Awaited>,
    /// The transition time of changed conditions.
    pub now: &'a Time,
}

/// The brokers that a proposal waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The spec of the cluster asks for these brokers, and they have not started.
    unstarted: BTreeSet<BrokerId>,
    /// They are live and have not said how much space their disks have.
    silent: BTreeSet<BrokerId>,
}

impl Awaited {
    /// Those that the proposal of this object waits for; `None`: it waits for none. Only a new proposal waits: what was
    /// approved is carried out. A rebalance of leaders is about brokers that hold replicas, and one that fills brokers
    /// is about these.
    pub fn of(object: &KafkaRebalance, unstarted: &BTreeSet<BrokerId>, silent: &[BrokerId]) -> Option<Awaited> {
        let concerns = |id: &&BrokerId| match object.spec.mode {
            RebalanceMode::Full => true,
            RebalanceMode::Fill => object.spec.brokers.contains(id),
            RebalanceMode::Leaders | RebalanceMode::Unknown => false,
        };
        let unstarted: BTreeSet<BrokerId> = unstarted.iter().filter(concerns).copied().collect();
        let silent: BTreeSet<BrokerId> = silent.iter().filter(concerns).copied().collect();
        let waits = turn(object) == RebalanceStep::Propose && !(unstarted.is_empty() && silent.is_empty());
        waits.then_some(Awaited { unstarted, silent })
    }

    /// Whether it waits for this broker.
    pub fn contains(&self, id: BrokerId) -> bool {
        self.unstarted.contains(&id) || self.silent.contains(&id)
    }

    fn verdict(&self, object: &KafkaRebalance) -> Verdict {
        let cluster = &object.spec.cluster_ref.name;
        let (reason, message) = if self.unstarted.is_empty() {
            let brokers = named("broker", self.silent.iter().map(|id| id.0));
            let (has, its_disk_has, it_answers) = match self.silent.len() {
                1 => ("has", "its disk has", "it answers"),
                _ => ("have", "their disks have", "they answer"),
            };
            let message = format!(
                "nothing is proposed yet: {brokers} {has} not said how much space {its_disk_has} (GET /loads, port {}). The \
                 proposal comes by itself when {it_answers}. If it stays so, let the operator connect to that port, or name a \
                 newer brokers.image if the image does not answer there",
                names::HTTP_PORT,
            );
            ("BrokersSilent", message)
        } else {
            let brokers = named("broker", self.unstarted.iter().map(|id| id.0));
            let (has, starts) = if self.unstarted.len() == 1 { ("has", "starts") } else { ("have", "start") };
            let message = format!(
                "nothing is proposed yet: the spec of the KafkaCluster {cluster} asks for {brokers}, which {has} not started. \
                 The proposal comes by itself when {brokers} {starts}; to see why that takes so long: kubectl describe \
                 kafkacluster {cluster} -n {}. For a proposal without {brokers}, lower spec.brokers.replicas (or replicas of \
                 their pool) there, or set \
                 state: Cordoned in spec.brokers.overrides",
                object.namespace().unwrap_or_default(),
            );
            ("BrokersStarting", message)
        };
        Verdict::new("Ready", false, reason, message)
    }
}

/// Whether the status is not about the newest spec, or changes with what surrounds the object.
pub fn is_due(object: &KafkaRebalance) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    turn(object) != RebalanceStep::Stay || observed != object.metadata.generation
}

/// The steps that say of the rebalances of a paused cluster why they stand, if there is something to do for them. The
/// rest of their status stays: they continue when the pause ends.
pub fn paused(world: &World, cluster: &KafkaCluster) -> Vec<Step> {
    let stand = |read: &Arc<KafkaRebalance>| {
        let stands = match turn(read) {
            RebalanceStep::Stay => return None,
            RebalanceStep::Propose => "nothing is proposed",
            RebalanceStep::Begin => "the approved moves do not begin",
            RebalanceStep::Move => "no more moves begin, and those in progress end",
            RebalanceStep::Cancel => "the moves are not cancelled, and those in progress end",
        };
        let message = format!(
            "the KafkaCluster is paused: {stands}. To continue: kubectl patch kafkacluster {} -n {} --type merge -p \
             '{{\"spec\":{{\"paused\":false}}}}'",
            cluster.name_any(),
            read.namespace().unwrap_or_default(),
        );
        let before = known(read);
        let ready = Verdict::new("Ready", false, "Paused", message);
        let conditions = conditions(&before.conditions, &[ready], read.metadata.generation, &world.now);
        if conditions == before.conditions {
            return None;
        }
        let was = condition::reason(&before.conditions, "Ready");
        let news = conditions.first().filter(|ready| was != Some(&ready.reason)).map(|ready| News {
            warning: false,
            reason: ready.reason.clone(),
            note: ready.message.clone(),
        });
        let status = Some(KafkaRebalanceStatus { conditions, ..before });
        let next = Box::new(KafkaRebalance { status, ..KafkaRebalance::clone(read) });
        Some(Step::RebalanceStatus { read: read.clone(), next, news })
    };
    if !cluster.spec.paused {
        return Vec::new();
    }
    let objects = world.rebalances.iter().flatten();
    objects.filter(|object| object.metadata.deletion_timestamp.is_none()).filter_map(stand).collect()
}

/// The object with its new status, and the Event to publish; `None`: it has not changed.
pub fn next(object: &KafkaRebalance, surroundings: &Surroundings<'_>) -> Option<(KafkaRebalance, Option<News>)> {
    let before = object.status.clone();
    let (mut status, ready) = judge(object, surroundings);
    let generation = object.metadata.generation;
    let known = before.as_ref().map_or(&[][..], |status| &status.conditions);
    status.observed_generation = generation;
    status.conditions = conditions(known, &[ready], generation, surroundings.now);
    if before.as_ref() == Some(&status) {
        return None;
    }
    let is_new = before.is_none_or(|before| before.state != status.state || before.hash != status.hash);
    let news = status.conditions.first().filter(|_| is_new).map(|ready| News {
        warning: status.state == RebalanceState::Stale,
        reason: ready.reason.clone(),
        note: ready.message.clone(),
    });
    Some((KafkaRebalance { status: Some(status), ..object.clone() }, news))
}

fn judge(object: &KafkaRebalance, surroundings: &Surroundings<'_>) -> (KafkaRebalanceStatus, Verdict) {
    let before = known(object);
    let not_ready = |reason, message| Verdict::new("Ready", false, reason, message);
    match object.spec.mode {
        RebalanceMode::Unknown => {
            let message = "this version of the operator does not know the mode: upgrade the operator";
            return (before, not_ready("UnknownMode", message.to_owned()));
        }
        RebalanceMode::Fill if needs_proposal(object) && !surroundings.strangers.is_empty() => {
            let brokers = named("broker", surroundings.strangers.iter().map(|id| id.0));
            let message = format!(
                "spec.brokers names {brokers}: the cluster has no such broker, or the broker gets no replicas because it \
                 leaves, is cordoned, is offline or has not said how much space its disk has"
            );
            return (before, not_ready("UnknownBroker", message));
        }
        RebalanceMode::Full | RebalanceMode::Leaders | RebalanceMode::Fill => {}
    }
    if let Some(awaited) = &surroundings.awaited {
        return (before, awaited.verdict(object));
    }
    let status = follow(object, before, surroundings);
    let name = format!("{} -n {}", object.name_any(), object.namespace().unwrap_or_default());
    let patch = |spec: &str| format!("kubectl patch kafkarebalance {name} --type merge -p '{{\"spec\":{{{spec}}}}}'");
    let approve = patch(&format!("\"approved\":\"{}\"", status.hash));
    let effect = effect(status.moves, &status.bytes, status.leaders);
    let approved = object.spec.approved.as_deref();
    let ready = match status.state {
        // A proposal has another state.
        RebalanceState::Pending => not_ready("Pending", "nothing is proposed yet".to_owned()),
        RebalanceState::Proposed if approved == Some(&status.hash) => {
            let other = surroundings.moving.as_deref().unwrap_or_default();
            not_ready("Waiting", format!("approved: it begins when the KafkaRebalance {other} is done"))
        }
        RebalanceState::Proposed => {
            let another = approved.map(|hash| format!("spec.approved is {hash}, not the hash of the proposal; "));
            let another = another.unwrap_or_default();
            not_ready("Proposed", format!("{another}the proposal {effect}; to carry it out: {approve}"))
        }
        RebalanceState::Stale => {
            let message = format!(
                "nothing new moves: since the approval the cluster has changed, and now the proposal {effect}; to carry \
                 it out: {approve}"
            );
            not_ready("Stale", message)
        }
        RebalanceState::Moving => {
            let percent = status.percent.unwrap_or_default();
            let cancel = patch("\"cancel\":true");
            not_ready("Moving", format!("the proposal {effect}; {percent} % is done; to stop: {cancel}"))
        }
        RebalanceState::Cancelled => {
            let message = "moves in progress return to where they came from, and finished moves stay; for another proposal, \
                           set spec.cancel to false";
            not_ready("Cancelled", message.to_owned())
        }
        RebalanceState::Done if status.moved == 0 => Verdict::new(
            "Ready",
            true,
            "Done",
            "no move is left that evens out the brokers or relieves a disk above 80 %",
        ),
        RebalanceState::Done => {
            let (replicas, have) = counted(status.moved, "replica", ["has", "have"]);
            Verdict::new("Ready", true, "Done", format!("{replicas} {have} moved"))
        }
    };
    (status, ready)
}

fn counted(count: i32, thing: &str, [one, more]: [&'static str; 2]) -> (String, &'static str) {
    if count == 1 { (format!("1 {thing}"), one) } else { (format!("{count} {thing}s"), more) }
}

fn effect(moves: i32, bytes: &str, leaders: i32) -> String {
    let (mut replicas, _) = counted(moves, "replica", [""; 2]);
    if !bytes.is_empty() {
        replicas = format!("{replicas} ({bytes})");
    }
    let (partitions, _) = counted(leaders, "partition", [""; 2]);
    match (moves, leaders) {
        (_, 0) => format!("moves {replicas}"),
        (0, _) => format!("gives {partitions} another preferred leader, and moves no replica"),
        (_, _) => format!("moves {replicas}, and gives {partitions} another preferred leader"),
    }
}

/// What becomes of a rebalance next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RebalanceStep {
    /// Nothing: it has ended, or waits for its user.
    Stay,
    /// It is proposed.
    Propose,
    /// Its approved proposal is compared with a new one.
    Begin,
    /// Its progress is measured.
    Move,
    /// It ends.
    Cancel,
}

fn turn(object: &KafkaRebalance) -> RebalanceStep {
    let Some(status) = object.status.as_ref().filter(|status| !status.hash.is_empty()) else {
        return RebalanceStep::Propose;
    };
    let is_approved = object.spec.approved.as_ref() == Some(&status.hash);
    match (status.state, object.spec.cancel) {
        (RebalanceState::Pending, _) => RebalanceStep::Propose,
        (RebalanceState::Done, _) | (RebalanceState::Cancelled, true) => RebalanceStep::Stay,
        (RebalanceState::Proposed | RebalanceState::Moving | RebalanceState::Stale, true) => RebalanceStep::Cancel,
        (RebalanceState::Cancelled, false) => RebalanceStep::Propose,
        (RebalanceState::Proposed | RebalanceState::Stale, false) if is_approved => RebalanceStep::Begin,
        (RebalanceState::Proposed | RebalanceState::Stale, false) => RebalanceStep::Stay,
        (RebalanceState::Moving, false) => RebalanceStep::Move,
    }
}

/// The status so far. Where nothing is proposed it says so: also where an older version has called that proposed, and
/// where what was proposed before was cancelled.
fn known(object: &KafkaRebalance) -> KafkaRebalanceStatus {
    let status = object.status.clone().unwrap_or_default();
    match turn(object) {
        RebalanceStep::Propose => KafkaRebalanceStatus {
            observed_generation: status.observed_generation,
            state: RebalanceState::Pending,
            conditions: status.conditions,
            ..KafkaRebalanceStatus::default()
        },
        RebalanceStep::Stay | RebalanceStep::Begin | RebalanceStep::Move | RebalanceStep::Cancel => status,
    }
}

/// Whether the next state depends on a proposal, and so on the brokers' loads.
pub fn needs_proposal(object: &KafkaRebalance) -> bool {
    match turn(object) {
        RebalanceStep::Propose | RebalanceStep::Begin | RebalanceStep::Move => true,
        RebalanceStep::Stay | RebalanceStep::Cancel => false,
    }
}

fn follow(
    object: &KafkaRebalance,
    before: KafkaRebalanceStatus,
    surroundings: &Surroundings<'_>,
) -> KafkaRebalanceStatus {
    match turn(object) {
        RebalanceStep::Stay => before,
        RebalanceStep::Cancel => KafkaRebalanceStatus { state: RebalanceState::Cancelled, ..before },
        RebalanceStep::Propose => proposed(object, (surroundings.proposal)(), RebalanceState::Proposed),
        RebalanceStep::Begin if surroundings.moving.is_some() => before,
        RebalanceStep::Begin => {
            let proposal = (surroundings.proposal)();
            if exceeds(&before, &proposal, proposal.moves) {
                return proposed(object, proposal, RebalanceState::Stale);
            }
            let state = if proposal.is_empty() { RebalanceState::Done } else { RebalanceState::Moving };
            KafkaRebalanceStatus { state, left: proposal.moves, percent: Some(0), eta: proposal.eta, ..before }
        }
        RebalanceStep::Move => moving(object, before, (surroundings.proposal)()),
    }
}

/// The next status of a rebalance that moves replicas, when this is left.
fn moving(object: &KafkaRebalance, before: KafkaRebalanceStatus, left: Proposal) -> KafkaRebalanceStatus {
    let moved = before.moved + (before.left - left.moves).max(0);
    if left.is_empty() {
        let (state, eta) = (RebalanceState::Done, String::new());
        return KafkaRebalanceStatus { state, moved, left: 0, percent: Some(100), eta, ..before };
    }
    if exceeds(&before, &left, moved.saturating_add(left.moves)) {
        return proposed(object, left, RebalanceState::Stale);
    }
    let all = i64::from(moved) + i64::from(left.moves);
    let percent = (i64::from(moved) * 100 / all.max(1)).min(99) as i32;
    // One write for each percent: the rest is lost until then, and found again in `left`.
    if Some(percent) == before.percent {
        return before;
    }
    KafkaRebalanceStatus { moved, left: left.moves, percent: Some(percent), eta: left.eta, ..before }
}

fn proposed(object: &KafkaRebalance, proposal: Proposal, state: RebalanceState) -> KafkaRebalanceStatus {
    KafkaRebalanceStatus {
        observed_generation: None,
        state: if proposal.is_empty() { RebalanceState::Done } else { state },
        hash: proposal.hash(object),
        moves: proposal.moves,
        bytes: if proposal.bytes == 0 { String::new() } else { quantity::quantity(proposal.bytes) },
        eta: proposal.eta,
        leaders: proposal.leaders,
        moved: 0,
        left: proposal.moves,
        percent: None,
        brokers: proposal.brokers,
        conditions: Vec::new(),
    }
}

/// Whether this is a tenth more than was approved, in bytes or in moves.
fn exceeds(approved: &KafkaRebalanceStatus, left: &Proposal, moves: i32) -> bool {
    let is_more = |approved: u64, now: u64| now > approved.saturating_add(approved.div_ceil(10));
    let number = |moves: i32| u64::try_from(moves).unwrap_or_default();
    let bytes = quantity::bytes(&approved.bytes).filter(|bytes| *bytes > 0);
    bytes.is_some_and(|bytes| is_more(bytes, left.bytes)) || is_more(number(approved.moves), number(moves))
}
