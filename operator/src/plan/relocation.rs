//! The moves that the operator makes by itself: replicas leave the brokers that must become empty; then those of the
//! KafkaRebalance that is moving; then new brokers get theirs.
//!
//! Each plan is made from the objects alone: a move in progress is what an entry shows. So any operator continues what
//! another one began, and a move that nobody wants any more, because the spec was changed back, is cancelled.
//!
//! Always: a partition that `spec.placement` pins is never moved; no move begins while the partition has no leader; no
//! copy begins before brokers have said how much space their disks have, nor before the status shows them the rate.
//! The plan of a paused cluster leaves this out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use ottla_crds::{
    BrokerChange, KafkaAssignment, KafkaCluster, KafkaRebalance, KafkaTopic, Latency, MoveBlocker, MovesStatus,
    Occasion, RebalanceMode, RebalanceState, names, quantity,
};
use ottla_rules::assignment::{Assignment, BrokerId, Live};
use ottla_rules::plan::balance::{self, Blocked, BrokerEffect, Budget, Effect, Load, Mode, Reason, Role};
use ottla_rules::plan::roster::Wanted;
use serde_json::json;
use uuid::Uuid;

use super::condition::{named, ranges};
use super::moves::changes;
use super::rate::{self, RateLimits, Signals};
use super::rebalance::{self, Awaited, Proposal, Surroundings};
use super::rules::RuleBook;
use super::step::Step;
use super::world::World;

/// How many copies are made at once, so that clients notice little of them.
const BUDGET: Budget = Budget { into_broker: 4, out_of_broker: 4, total: 64 };
/// How many blockers the status shows: the others are shown when these are gone.
const MOST_BLOCKERS: usize = 10;
/// How many placements a command may repeat.
const MOST_PLACEMENTS: usize = 20;

/// The moves of a plan.
#[derive(Debug, Default)]
pub struct Relocation {
    /// The moves to start and to cancel now.
    pub steps: Vec<Step>,
    /// The replicas that must leave their brokers and can't.
    pub blocked: Vec<MoveBlocker>,
    /// The number of replicas to move, those that are moving included.
    pub left: usize,
    /// The new brokers that have got their part.
    pub filled: BTreeSet<BrokerId>,
    /// The bytes per second that each broker may copy; `None`: nothing is being copied.
    pub rate: Option<u64>,
    /// How long the rest takes at this rate; `None`: unknown.
    pub eta: Option<Duration>,
    /// What replicas that should move wait for; `None`: nothing.
    pub waiting_for: Option<String>,
}

impl Relocation {
    /// What the status shows after `before`; `None`: nothing is to be moved.
    pub fn progress(&self, before: Option<&MovesStatus>) -> Option<MovesStatus> {
        if self.left == 0 && self.blocked.is_empty() {
            return None;
        }
        let left = i32::try_from(self.left).unwrap_or(i32::MAX);
        let total = before.map_or(0, |before| before.total).max(left);
        let done = i64::from(total) - i64::from(left);
        let percent = i32::try_from(done * 100 / i64::from(total).max(1)).unwrap_or(100);
        let next = MovesStatus {
            total,
            left,
            percent,
            eta: self.eta.map(in_words),
            rate: self.rate.map(quantity::quantity),
            waiting_for: self.waiting_for.clone(),
            blocked_by: self.blocked.clone(),
        };
        // One write for each percent, or another rate.
        let is_same = |before: &&MovesStatus| {
            **before == MovesStatus { left: before.left, eta: before.eta.clone(), ..next.clone() }
        };
        Some(before.filter(is_same).cloned().unwrap_or(next))
    }
}

/// The moves to start and to cancel now, and the states of the rebalances.
pub fn relocation(world: &World, cluster: &KafkaCluster, rules: &RuleBook<'_>) -> Relocation {
    let objects: Vec<&Arc<KafkaAssignment>> = world.assignments.iter().filter(|object| !object.spec.deleted).collect();
    let must_be_empty = |id: &BrokerId| must_be_empty(world, cluster, *id);
    let unfilled = unfilled(world, cluster);
    let concerns = |entry: &Assignment| entry.is_reassigning() || entry.replicas.iter().any(must_be_empty);
    let rebalances = world.rebalances.as_deref().unwrap_or_default();
    let moving = rebalances.iter().find(|object| state(object) == Some(RebalanceState::Moving));
    let may_move = moving.is_some()
        || !unfilled.is_empty()
        || relieves(world, cluster)
        || entries(&objects).any(|(_, entry)| concerns(entry));
    if !(may_move || rebalances.iter().any(|object| rebalance::is_due(object))) {
        return Relocation::default();
    }
    let pins: BTreeSet<(&str, i32)> = world.topics.iter().flat_map(|topic| pins(topic)).collect();
    let is_pinned = |topic: &str, entry: &Assignment| pins.contains(&(topic, entry.partition));
    let loads = loads(world);
    let partitions = entries(&objects).map(|(topic, entry)| {
        let pinned = is_pinned(topic, entry);
        let load = loads.get(&(topic, entry.partition)).copied().unwrap_or_default();
        balance::Partition { topic, entry, pinned, load }
    });
    let partitions: Vec<balance::Partition<'_>> = partitions.collect();
    let brokers = brokers(world, cluster, &objects);
    let balance = |mode: &Mode| balance::balance(&brokers, &partitions, mode, &BUDGET, seed(cluster));

    let limits = limits(cluster);
    let rate = self::rate(world, cluster, rules, &objects, limits);
    let is_copying = entries(&objects).any(|(_, entry)| !entry.adding.is_empty());
    let silent: Vec<BrokerId> =
        brokers.iter().filter(|broker| broker.role == Role::Silent).map(|broker| broker.id).collect();
    let mut steps = Vec::new();
    let mut in_turn = moving.map(|moving| moving.name_any());
    let unstarted = unstarted(world, &brokers, &objects);
    for object in rebalances {
        let awaited = Awaited::of(object, &unstarted, &silent);
        // A proposal is about bytes: it waits for the brokers' answers. While one is silent, what is left is not known.
        let is_told = silent.is_empty() || state(object) != Some(RebalanceState::Moving);
        let is_known = !rebalance::needs_proposal(object) || world.loads.is_some() && is_told;
        if !is_known && awaited.is_none() {
            continue;
        }
        let takes = |id: &&BrokerId| brokers.iter().any(|broker| broker.id == **id && broker.role == Role::Serves);
        let is_awaited = |id: &&BrokerId| awaited.as_ref().is_some_and(|awaited| awaited.contains(**id));
        let strangers = object.spec.brokers.iter().filter(|id| !takes(id) && !is_awaited(id)).copied().collect();
        let surroundings = Surroundings {
            proposal: &|| proposal(&balance(&mode(object)).whole, &brokers, if is_copying { rate } else { limits.max }),
            moving: in_turn.clone().filter(|name| *name != object.name_any()),
            strangers,
            awaited,
            now: &world.now,
        };
        let Some((next, news)) = rebalance::next(object, &surroundings) else { continue };
        if in_turn.is_none() && next.status.as_ref().is_some_and(|status| status.state == RebalanceState::Moving) {
            in_turn = Some(object.name_any());
        }
        steps.push(Step::RebalanceStatus { read: object.clone(), next: Box::new(next), news });
    }

    if !may_move {
        return Relocation { steps, ..Relocation::default() };
    }
    let mut plan = balance(&Mode::Evacuate);
    let blocked = blockers(&plan.blocked, rules);
    let mut filled = BTreeSet::new();
    // Brokers become empty first.
    if plan.start.is_empty() {
        if let Some(moving) = moving.filter(|object| !object.spec.cancel) {
            plan = balance(&mode(moving));
        } else if !unfilled.is_empty() && world.loads.is_some() {
            // What has begun ends when the brokers are even.
            let has_begun = cluster.status.as_ref().is_some_and(|status| status.moves.is_some());
            if has_begun || balance::lacks_much(&brokers, &partitions, &unfilled) {
                plan = balance(&Mode::Fill { to: unfilled.clone() });
            }
            if plan.whole.moves == 0 && silent.is_empty() {
                filled.clone_from(&unfilled);
            }
        }
    }
    let starts: BTreeMap<(&str, i32), &[BrokerId]> =
        plan.start.iter().map(|start| ((start.topic, start.partition), &*start.target)).collect();
    let cancelled: BTreeSet<(&str, i32)> = plan.cancel.iter().copied().collect();
    // What was approved ends, also if the rest waits for another approval.
    let has_approved = |object: &Arc<KafkaRebalance>| match state(object) {
        Some(RebalanceState::Moving) => !object.spec.cancel,
        Some(RebalanceState::Stale) => true,
        Some(RebalanceState::Pending | RebalanceState::Proposed | RebalanceState::Done | RebalanceState::Cancelled)
        | None => false,
    };
    let is_unknown_or_approved = world.rebalances.as_ref().is_none_or(|listed| listed.iter().any(has_approved));
    // A new broker that is away for a moment is still to be filled.
    let told = cluster.status.as_ref().map_or(&[][..], |status| &status.brokers);
    let is_filling = cluster.spec.rebalance.auto.contains(&Occasion::Add) && told.iter().any(|broker| broker.unfilled);
    let all_wanted = is_unknown_or_approved || is_filling;
    let is_filling_up = |id: &BrokerId| brokers.iter().any(|broker| broker.id == *id && is_filling_up(broker));
    let has_to_leave = |id: &BrokerId| must_be_empty(id) || is_filling_up(id);
    let live = world.live();
    let told = cluster.status.as_ref().and_then(|status| status.moves.as_ref()?.rate.as_ref());
    let may_copy = world.loads.is_some() && told.is_some();
    let of_object = |object: &&Arc<KafkaAssignment>| {
        let topic = &*object.spec.topic_name;
        let min_in_sync = rules.of_named(topic).min_in_sync;
        let undecided = world.undecided(object, rules.min_in_sync(topic));
        changes(&[*object], |entry| {
            let key = (topic, entry.partition);
            if undecided.contains(&entry.partition) {
                return None;
            }
            let is_unwanted = !all_wanted && !is_pinned(topic, entry) && is_unwanted(entry, has_to_leave);
            if is_unwanted || cancelled.contains(&key) {
                return entry.cancel_reassignment(&live, min_in_sync).ok();
            }
            let may_start = |target: &&&[BrokerId]| may_copy || target.iter().all(|id| entry.replicas.contains(id));
            let target = starts.get(&key).filter(|_| entry.leader.is_some()).filter(may_start)?;
            entry.start_reassignment(target).ok()
        })
    };
    steps.extend(objects.iter().flat_map(of_object));
    let left = plan.whole.moves;
    let waiting_for = waiting_for(world, cluster, &silent).filter(|_| left > 0 || !blocked.is_empty());
    let (eta, rate) = (eta(&plan.whole, rate).filter(|_| is_copying), Some(rate).filter(|_| is_copying || left > 0));
    Relocation { steps, blocked, left, filled, rate, eta, waiting_for }
}

/// The brokers that the spec asks for and that have not started: each has never been live, or holds nothing and so has
/// just been added. A broker that is away and holds replicas is none of them.
fn unstarted(world: &World, brokers: &[balance::Broker], objects: &[&Arc<KafkaAssignment>]) -> BTreeSet<BrokerId> {
    let holding: BTreeSet<BrokerId> = entries(objects).flat_map(|(_, entry)| entry.replicas.iter().copied()).collect();
    let is_unstarted = |id: &BrokerId| {
        let broker = world.brokers.get(id);
        let is_new = broker.is_none_or(|broker| broker.features.is_none()) || !holding.contains(id);
        world.wanted(*id) == Wanted::Serve && broker.is_none_or(|broker| broker.live.is_none()) && is_new
    };
    brokers.iter().map(|broker| broker.id).filter(is_unstarted).collect()
}

/// What copies wait for: the space of a disk that is not known is no space.
fn waiting_for(world: &World, cluster: &KafkaCluster, silent: &[BrokerId]) -> Option<String> {
    if world.loads.is_none() {
        // An operator that takes over in the middle asks again, which is not worth a write.
        let told = cluster.status.as_ref().and_then(|status| status.moves.as_ref());
        let asking = || Some("the operator is asking the brokers how much space their disks have".to_owned());
        return told.map_or_else(asking, |moves| moves.waiting_for.clone());
    }
    let (have, their, they) =
        if silent.len() == 1 { ("has", "its disk has", "it gets") } else { ("have", "their disks have", "they get") };
    let message = format!(
        "{} {have} not said how much space {their} (GET /loads, port {}): until then {they} no replica. If it stays so, \
         let the operator connect to that port, or name a newer brokers.image if theirs does not answer there",
        named("broker", silent.iter().map(|id| id.0)),
        names::HTTP_PORT,
    );
    Some(message).filter(|_| !silent.is_empty())
}

/// Whether the operator moves the broker's replicas to others.
fn must_be_empty(world: &World, cluster: &KafkaCluster, id: BrokerId) -> bool {
    match world.wanted(id) {
        Wanted::Drained => true,
        Wanted::Leaving => cluster.spec.rebalance.auto.contains(&Occasion::Remove),
        Wanted::Serve | Wanted::Cordoned | Wanted::Fresh => false,
    }
}

/// Whether replicas may have to leave a disk that fills up.
fn relieves(world: &World, cluster: &KafkaCluster) -> bool {
    !cluster.spec.rebalance.auto.is_empty() && !world.filling().is_empty()
}

/// The new brokers that get replicas of the others now.
fn unfilled(world: &World, cluster: &KafkaCluster) -> BTreeSet<BrokerId> {
    let told = cluster.status.as_ref().map_or(&[][..], |status| &status.brokers);
    let live = world.live();
    let takes = |id: &BrokerId| {
        let serves = role(world.wanted(*id), *id, &live) == Role::Serves;
        serves
            && !is_silent(world, *id)
            && world.seasoned.contains(id)
            && cluster.spec.rebalance.auto.contains(&Occasion::Add)
    };
    told.iter().filter(|broker| broker.unfilled).map(|broker| broker.id).filter(takes).collect()
}

/// The partitions that a KafkaTopic places.
fn pins(topic: &KafkaTopic) -> impl Iterator<Item = (&str, i32)> {
    topic.spec.placement.iter().map(|placement| (topic.topic_name(), placement.partition))
}

/// The limits of the rate, as the spec sets them.
fn limits(cluster: &KafkaCluster) -> RateLimits {
    let limit = |quantity: &str| quantity::bytes(quantity).unwrap_or(u64::MAX);
    RateLimits { min: limit(&cluster.spec.rebalance.min_rate), max: limit(&cluster.spec.rebalance.max_rate) }
}

/// The rate at which each broker may copy, in bytes per second.
fn rate(
    world: &World,
    cluster: &KafkaCluster,
    rules: &RuleBook<'_>,
    objects: &[&Arc<KafkaAssignment>],
    limits: RateLimits,
) -> u64 {
    let told = cluster.status.as_ref().and_then(|status| status.moves.as_ref()?.rate.as_deref());
    let before = told.and_then(quantity::bytes);
    if let Some(before) = before.filter(|_| !world.loads_are_new) {
        return before;
    }
    let none = BTreeMap::new();
    let loads = world.loads.as_deref().unwrap_or(&none);
    let waits = |latency: &Latency| rate::is_slow(latency.now_ms, latency.before_ms);
    let lacks = |(topic, entry): (&str, &Assignment)| {
        let min_in_sync = rules.min_in_sync(topic).unwrap_or(1);
        entry.isr.len() < entry.floor(min_in_sync) || entry.leader.is_none()
    };
    let is_silent = |id: BrokerId| {
        let broker = world.brokers.get(&id);
        let is_mute = || world.loads.is_some() && !loads.contains_key(&id) && broker.is_some_and(|b| b.http.is_some());
        world.wanted(id) == Wanted::Serve && (broker.is_none_or(|broker| broker.live.is_none()) || is_mute())
    };
    let signals = Signals {
        slow: loads.values().any(|loads| waits(&loads.produce) || waits(&loads.fsync)),
        endangered: cluster.spec.broker_ids().any(is_silent) || entries(objects).any(lacks),
    };
    rate::rate(before, signals, limits)
}

/// How long the rest takes: each broker that gets replicas copies at this rate.
fn eta(rest: &Effect, rate: u64) -> Option<Duration> {
    let gain = |broker: &BrokerEffect| broker.disk.after.saturating_sub(broker.disk.before);
    let longest = rest.brokers.iter().map(gain).max().filter(|bytes| *bytes > 0)?;
    longest.checked_div(rate).map(Duration::from_secs)
}

/// A duration as `2h10m`, `10m` or `40s`.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, _) => format!("{minutes}m"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

/// The brokers to ask for their loads, by their HTTP ports; `None`: no plan needs them.
pub fn asks_for_loads(world: &World) -> Option<BTreeMap<BrokerId, SocketAddr>> {
    let cluster = world.cluster.as_ref()?;
    let status = cluster.status.as_ref();
    let needs = relieves(world, cluster)
        || world.rebalances.iter().flatten().any(|object| rebalance::needs_proposal(object))
        || status.is_some_and(|status| status.moves.is_some() || status.brokers.iter().any(|broker| broker.unfilled));
    let live = || world.brokers.iter().filter(|(_, broker)| broker.live.is_some());
    needs.then(|| live().filter_map(|(id, broker)| Some((*id, broker.http?))).collect())
}

/// The load of each partition: the bytes of its largest replica, and what its leader gets and sends.
fn loads(world: &World) -> BTreeMap<(&str, i32), Load> {
    let mut loads: BTreeMap<(&str, i32), Load> = BTreeMap::new();
    let replicas = world.loads.iter().flat_map(|loads| loads.values()).flat_map(|broker| &broker.replicas);
    for replica in replicas {
        let load = loads.entry((&*replica.topic, replica.partition)).or_default();
        load.bytes = load.bytes.max(replica.bytes);
        load.bytes_in = load.bytes_in.max(replica.bytes_in);
        load.bytes_out = load.bytes_out.saturating_add(replica.bytes_out);
    }
    loads
}

/// How far a rebalance is that is not being deleted; `None`: its status was not written yet.
fn state(object: &KafkaRebalance) -> Option<RebalanceState> {
    let status = object.status.as_ref().filter(|_| object.metadata.deletion_timestamp.is_none());
    status.map(|status| status.state)
}

fn mode(object: &KafkaRebalance) -> Mode {
    match object.spec.mode {
        RebalanceMode::Full => Mode::Full,
        RebalanceMode::Leaders => Mode::Leaders,
        RebalanceMode::Fill => Mode::Fill { to: object.spec.brokers.iter().copied().collect() },
        // Nothing is asked of it: it has no state.
        RebalanceMode::Unknown => Mode::Evacuate,
    }
}

/// What is left, at this rate of copies.
fn proposal(effect: &Effect, brokers: &[balance::Broker], rate: u64) -> Proposal {
    let number = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    let text = |change: balance::PlannedChange| format!("{}→{}", change.before, change.after);
    let changes = |broker: &&BrokerEffect| broker.replicas.before + broker.replicas.after > 0;
    let disk = |effect: &BrokerEffect| {
        let capacity = brokers.iter().find(|broker| broker.id == effect.id)?.capacity.filter(|bytes| *bytes > 0)?;
        let percent = |bytes: u64| u128::from(bytes) * 100 / u128::from(capacity);
        Some(format!("{}%→{}%", percent(effect.disk.before), percent(effect.disk.after)))
    };
    let broker = |broker: &BrokerEffect| BrokerChange {
        id: broker.id,
        replicas: text(broker.replicas),
        disk: disk(broker),
        leaders: text(broker.leaders),
    };
    let gained = |broker: &BrokerEffect| broker.leaders.after.saturating_sub(broker.leaders.before);
    Proposal {
        moves: i32::try_from(effect.moves).unwrap_or(i32::MAX),
        bytes: effect.bytes,
        eta: eta(effect, rate).map(in_words).unwrap_or_default(),
        leaders: number(effect.brokers.iter().map(gained).sum()),
        brokers: effect.brokers.iter().filter(changes).map(broker).collect(),
    }
}

/// The blockers, those of a topic on one broker together.
fn blockers(blocked: &[Blocked<'_>], rules: &RuleBook<'_>) -> Vec<MoveBlocker> {
    let mut together: BTreeMap<(BrokerId, Reason, &str), BTreeSet<i32>> = BTreeMap::new();
    for one in blocked {
        together.entry((one.broker, one.reason, one.topic)).or_default().insert(one.partition);
    }
    let blocker = |((broker, reason, topic), partitions): ((BrokerId, Reason, &str), BTreeSet<i32>)| {
        let (name, way_out) = match reason {
            Reason::PlacedByHand => ("PlacedByHand", rules.speaker(topic).map(|topic| unpin(topic, &partitions))),
            Reason::NotEnoughSpace => ("NotEnoughSpace", Some("enlarge the volumes, or add brokers".to_owned())),
            Reason::SpaceUnknown => ("SpaceUnknown", Some("see status.moves.waitingFor".to_owned())),
            Reason::TooFewRacks => ("TooFewRacks", Some("end the cordon of that broker, or add one there".to_owned())),
            Reason::TooFewBrokers => ("TooFewBrokers", Some("lower replicationFactor, or add brokers".to_owned())),
            Reason::LastReplica => ("LastReplica", Some("see ReplicasHealthy of the KafkaTopic".to_owned())),
        };
        let way_out = way_out.map(|way_out| format!(": {way_out}")).unwrap_or_default();
        let partitions = ranges(partitions);
        MoveBlocker {
            broker,
            reason: name.to_owned(),
            topic: topic.to_owned(),
            message: format!("{reason}{way_out}"),
            partitions,
        }
    };
    together.into_iter().take(MOST_BLOCKERS).map(blocker).collect()
}

/// The command that leaves these partitions to the operator.
fn unpin(topic: &KafkaTopic, partitions: &BTreeSet<i32>) -> String {
    let rest: Vec<_> = topic.spec.placement.iter().filter(|p| !partitions.contains(&p.partition)).collect();
    let (name, namespace) = (topic.name_any(), topic.namespace().unwrap_or_default());
    let command = if rest.len() > MOST_PLACEMENTS {
        format!("kubectl edit kafkatopic {name} -n {namespace}")
    } else {
        let patch = json!({ "spec": { "placement": rest } });
        format!("kubectl patch kafkatopic {name} -n {namespace} --type merge -p '{patch}'")
    };
    format!("place them elsewhere, or leave the choice to the operator: {command}")
}

/// Whether nobody wants this move any more, if no rebalance does: no replica has to leave its broker. A move that
/// changes the number of replicas is the topic's own.
fn is_unwanted(entry: &Assignment, has_to_leave: impl Fn(&BrokerId) -> bool) -> bool {
    let keeps_factor = entry.origin().len() == entry.target().len();
    entry.is_reassigning() && keeps_factor && !entry.removing.iter().any(has_to_leave)
}

/// Whether replicas may be moving away from the broker because its disk is too full.
fn is_filling_up(broker: &balance::Broker) -> bool {
    const FULL_PERCENT: u128 = 75;
    let full = broker.used.zip(broker.capacity);
    full.is_some_and(|(used, capacity)| u128::from(used) * 100 >= u128::from(capacity) * FULL_PERCENT)
}

fn entries<'a>(objects: &[&'a Arc<KafkaAssignment>]) -> impl Iterator<Item = (&'a str, &'a Assignment)> + Clone {
    let of = |object: &&'a Arc<KafkaAssignment>| {
        let topic = &*object.spec.topic_name;
        object.spec.partitions.iter().map(move |entry| (topic, entry))
    };
    objects.iter().flat_map(of).collect::<Vec<_>>().into_iter()
}

/// The brokers that the spec asks for, that are live, or that hold replicas. One that is away gets nothing: the move
/// would wait for it.
fn brokers(world: &World, cluster: &KafkaCluster, objects: &[&Arc<KafkaAssignment>]) -> Vec<balance::Broker> {
    let asked_for = cluster.spec.broker_ids();
    let live = world.live();
    let holding = entries(objects).flat_map(|(_, entry)| entry.replicas.iter().copied());
    let ids: BTreeSet<BrokerId> = asked_for.chain(live.keys().copied()).chain(holding).collect();
    let told = cluster.status.as_ref().map_or(&[][..], |status| &status.brokers);
    let broker = |id: BrokerId| {
        let rack = world.brokers.get(&id).and_then(|broker| broker.rack.clone());
        let loads = world.loads.as_ref().and_then(|loads| loads.get(&id));
        // The brokers of a laptop share its disk: a replica that moves fills none and relieves none.
        let disk = loads.filter(|_| world.platform.is_some());
        balance::Broker {
            id,
            rack: rack.or_else(|| told.iter().find(|broker| broker.id == id)?.rack.clone()),
            node: world.platform.as_ref().and_then(|platform| platform.places.get(&id)?.node.clone()),
            capacity: disk.and_then(|loads| loads.capacity),
            used: disk.and_then(|loads| loads.used),
            role: match role(world.wanted(id), id, &live) {
                Role::Leaves if !must_be_empty(world, cluster, id) => Role::Cordoned,
                Role::Serves if is_silent(world, id) => Role::Silent,
                role => role,
            },
        }
    };
    ids.into_iter().map(broker).collect()
}

/// Whether this live broker was asked how much space its disk has, and has not answered. One whose address is not known
/// yet can't be asked.
fn is_silent(world: &World, id: BrokerId) -> bool {
    let can_be_asked = world.brokers.get(&id).is_some_and(|broker| broker.http.is_some());
    can_be_asked && world.loads.as_ref().is_some_and(|loads| !loads.contains_key(&id))
}

fn role(wanted: Wanted, id: BrokerId, live: &Live) -> Role {
    match wanted {
        Wanted::Serve if live.get(&id).is_some_and(|broker| !broker.draining) => Role::Serves,
        // Its volume is about to be another one.
        Wanted::Serve | Wanted::Cordoned | Wanted::Fresh => Role::Cordoned,
        Wanted::Drained | Wanted::Leaving => Role::Leaves,
    }
}

/// Decides between brokers that are equally good: the same in each plan.
fn seed(cluster: &KafkaCluster) -> u64 {
    let uid = cluster.uid().and_then(|uid| Uuid::parse_str(&uid).ok());
    uid.unwrap_or_default().as_u64_pair().0
}
