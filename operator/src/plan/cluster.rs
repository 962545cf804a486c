//! The cluster's status: its id, its brokers, the addresses for clients, the conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ottla_config::check_cluster;
use ottla_crds::{
    BrokerState, BrokerStatus, Endpoint, FeaturesStatus, KafkaCluster, KafkaClusterStatus, Listener, ListenerStatus,
    ListenerType, MovesStatus, RolloutStatus, names, quantity,
};
use ottla_rules::assignment::BrokerId;
use ottla_rules::features::SUPPORTED;
use ottla_rules::plan::roster::Wanted;
use uuid::Uuid;

use super::condition::{self, Verdict, conditions, named};
use super::news::News;
use super::platform::{Obstacle, Platform};
use super::relocation::Relocation;
use super::rollout::{self, RolloutDecision};
use super::standard;
use super::step::Step;
use super::world::{Broker, HeldBack, World};

/// What else the plan says about the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planned<'a> {
    /// What was decided about rolls; `None`: nothing.
    pub rollout: Option<&'a RolloutDecision>,
    /// What moves; `None` where the plan did not look at it: that part of the status stays.
    pub relocation: Option<&'a Relocation>,
    /// What the replacement of a volume waits for; `None`: none is ordered.
    pub renewal: Option<&'a Obstacle>,
    /// What a broker waits for whose volume's node is lost; `None`: there is none.
    pub lost: Option<&'a Obstacle>,
}

/// The cluster's new status; `None` if it has not changed.
pub fn status(world: &World, cluster: &Arc<KafkaCluster>, planned: Planned<'_>) -> Option<Step> {
    let Planned { rollout, relocation, renewal, lost } = planned;
    let before = cluster.status.clone().unwrap_or_default();
    let moves = match relocation {
        Some(relocation) => relocation.progress(before.moves.as_ref()),
        None => before.moves.clone(),
    };
    let brokers = brokers(world, cluster, &before, relocation);
    let of_default = brokers.iter().filter(|broker| broker.pool.is_none());
    let online = of_default.filter(|broker| broker.state != BrokerState::Offline).count();
    let now = rollout.map(|rollout| &rollout.status).or(before.rollout.as_ref()).cloned();
    let verdicts = verdicts(world, cluster, &brokers, &before, (now.as_ref(), renewal, lost));
    let platform = world.platform.as_deref();
    let generation = generation(world, cluster, &before);
    let earlier_id = || platform.and_then(|platform| platform.cluster_id.clone());
    let id = before.cluster_id.or_else(earlier_id).unwrap_or_else(|| cluster_id(world.fresh_cluster_id));
    let status = KafkaClusterStatus {
        observed_generation: generation,
        operator: before.operator,
        image: platform.and_then(|platform| platform.image.clone()).or(before.image),
        volume_size: platform.and_then(|platform| platform.volume_size.clone()).or(before.volume_size),
        cluster_id: Some(id),
        replicas: i32::try_from(online).ok(),
        broker_count: Some(cluster.spec.broker_count()),
        pools: platform.and_then(|platform| platform.pools.clone()).unwrap_or(before.pools),
        listeners: match platform {
            None => listeners(&brokers),
            // A spec that can't be built is not shown.
            Some(platform) if platform.listeners.is_empty() => before.listeners,
            Some(platform) => platform.listeners.clone(),
        },
        authorities: before.authorities,
        issuers: before.issuers,
        features: features(world, cluster, &brokers, before.features),
        next_producer_id_block: before.next_producer_id_block,
        summary: summary(world, cluster, &verdicts, now.as_ref()).map(|summary| {
            let is_removal = verdicts.iter().any(|verdict| verdict.reason == "BrokersLeaving");
            if is_removal { removal(&brokers, moves.as_ref()).unwrap_or(summary) } else { summary }
        }),
        moves,
        brokers,
        rollout: now,
        conditions: {
            let mut conditions = conditions(&before.conditions, &verdicts, generation, &world.now);
            let paused = conditions.iter_mut().filter(|condition| condition.type_ == "Paused");
            paused.for_each(|condition| condition.observed_generation = cluster.metadata.generation);
            conditions
        },
    };
    if cluster.status.as_ref() == Some(&status) {
        return None;
    }
    let is_news = |verdict: &&Verdict| match (verdict.type_, condition::reason(&before.conditions, verdict.type_)) {
        ("Ready", was) => was != Some(verdict.reason),
        ("Replicable", was) => !verdict.status && was != Some(verdict.reason),
        _ => false,
    };
    let of_verdict = verdicts.iter().find(is_news).map(|ready| News {
        warning: !ready.status,
        reason: ready.reason.to_owned(),
        note: if ready.message.is_empty() { "every broker is online".to_owned() } else { ready.message.clone() },
    });
    let news = rollout.and_then(|rollout| rollout.news.clone()).into_iter().chain(of_verdict).collect();
    let mut next = Box::new(KafkaCluster::clone(cluster));
    next.status = Some(status);
    Some(Step::ClusterStatus { read: cluster.clone(), next, news })
}

/// The generation of the spec that the status is about. On Kubernetes it is the one whose objects were made, so that a
/// client that waits for a change to be Ready does not see the state before it.
fn generation(world: &World, cluster: &KafkaCluster, before: &KafkaClusterStatus) -> Option<i64> {
    match world.platform.as_deref() {
        None => cluster.metadata.generation,
        Some(platform) => platform.generation.or(before.observed_generation).min(cluster.metadata.generation),
    }
}

/// Kafka writes a uuid in 22 characters of base64, and never draws one that begins with a dash: it would look like an
/// option.
fn cluster_id(fresh: Uuid) -> String {
    let id = URL_SAFE_NO_PAD.encode(fresh.as_bytes());
    if id.starts_with('-') { id.replacen('-', "A", 1) } else { id }
}

/// Every broker that the spec asks for, and every other that is live or holds replicas, those of deleted topics not
/// counted: a Lease without a holder is not a broker.
fn brokers(
    world: &World,
    cluster: &KafkaCluster,
    before: &KafkaClusterStatus,
    relocation: Option<&Relocation>,
) -> Vec<BrokerStatus> {
    let wanted = cluster.spec.broker_ids();
    let there = world.brokers.iter().filter(|(_, broker)| broker.live.is_some()).map(|(id, _)| *id);
    let standing = world.assignments.iter().filter(|object| !object.spec.deleted);
    let holding = standing.flat_map(|object| &object.spec.partitions).flat_map(|entry| entry.replicas.iter().copied());
    let ids: BTreeSet<BrokerId> = wanted.chain(there).chain(holding).collect();
    let unseen = Broker::default();
    let is_filled = |id: &BrokerId| relocation.is_some_and(|relocation| relocation.filled.contains(id));
    let known: BTreeMap<BrokerId, &BrokerStatus> = before.brokers.iter().map(|broker| (broker.id, broker)).collect();
    let tell = |id: BrokerId| {
        let broker = world.brokers.get(&id).unwrap_or(&unseen);
        let state = match broker.live {
            None => BrokerState::Offline,
            Some(live) if live.draining => BrokerState::Draining,
            Some(_) => BrokerState::Online,
        };
        // A Lease that was deleted says nothing; what it said stays true until the broker is back.
        let mut endpoints = broker.endpoints.clone();
        if endpoints.is_empty() {
            endpoints = known.get(&id).map(|broker| broker.endpoints.clone()).unwrap_or_default();
        }
        let rack = broker.rack.clone().or_else(|| known.get(&id)?.rack.clone());
        let place = world.platform.as_ref().and_then(|platform| platform.places.get(&id));
        let node = place.and_then(|place| place.node.clone()).or_else(|| known.get(&id)?.node.clone());
        let address = broker.address.clone().or_else(|| known.get(&id)?.address.clone());
        // A broker that is added to an empty cluster gets its part of the first topics.
        let is_new = !known.is_empty() && !known.contains_key(&id) && !world.assignments.is_empty();
        let unfilled = known.get(&id).is_some_and(|broker| broker.unfilled && !is_filled(&id));
        let unfilled = (is_new || unfilled) && world.wanted(id).takes_replicas();
        let volume = world.platform.as_ref().and_then(|platform| platform.volumes.get(&id));
        BrokerStatus {
            id,
            pool: cluster.pool_of(id).map(|pool| pool.name.clone()),
            rack,
            node,
            unfilled,
            address,
            state,
            wanted: world.wanted(id),
            claim: volume.map(|volume| volume.claim.clone()),
            volume: volume.map(|volume| volume.uid.clone()),
            endpoints,
        }
    };
    ids.into_iter().map(tell).collect()
}

/// The levels that all these brokers support, dead or alive: finalized at once in a new cluster, and where they have
/// supported them for long enough. Nothing is finalized while a broker is silent: it was never seen, and a broker that
/// does not support a finalized level does not start.
fn features(
    world: &World,
    cluster: &KafkaCluster,
    brokers: &[BrokerStatus],
    before: Option<FeaturesStatus>,
) -> Option<FeaturesStatus> {
    let FeaturesStatus { finalized, supported: were, supported_since, .. } = before.unwrap_or_default();
    let says = |broker: &BrokerStatus| world.brokers.get(&broker.id).and_then(|broker| broker.features.as_ref());
    let none = BTreeMap::new();
    let limits = cluster.spec.features.as_ref().map_or(&none, |features| &features.levels);
    let supported = finalized.higher(brokers.iter().map(says), &were, limits);
    let since = supported_since.filter(|_| supported == were).unwrap_or_else(|| world.now.clone());
    let waits = FeaturesStatus {
        behind: finalized.behind(brokers.iter().map(|broker| (broker.id, says(broker)))),
        supported_since: (!supported.is_empty()).then_some(since),
        supported,
        finalized,
    };
    let settled_at = waits.settled_at(cluster.spec.features_settle_for());
    let is_settled = waits.finalized.epoch == 0 || settled_at.is_some_and(|settled_at| settled_at <= world.now.0);
    let now = if is_settled && brokers.iter().all(|broker| says(broker).is_some()) {
        let finalized = waits.finalized.raised(&waits.supported);
        let behind = finalized.behind(brokers.iter().map(|broker| (broker.id, says(broker))));
        FeaturesStatus { finalized, behind, ..FeaturesStatus::default() }
    } else {
        waits
    };
    Some(now).filter(|now| now.finalized.epoch > 0)
}

/// What is wrong with the levels that the spec names; `None`: nothing.
fn wrong_features(cluster: &KafkaCluster) -> Option<String> {
    let asked = &cluster.spec.features.as_ref()?.levels;
    let finalized = cluster.status.as_ref().and_then(|status| status.features.as_ref());
    asked.iter().find_map(|(name, limit)| {
        let is_known = SUPPORTED.iter().any(|(known, _)| known == name);
        let level = finalized.map_or(0, |features| features.finalized.level(name));
        if !is_known && level == 0 {
            let known: Vec<&str> = SUPPORTED.iter().map(|(known, _)| *known).collect();
            return Some(format!("features.levels: there is no feature {name}; there are {}", known.join(", ")));
        }
        (*limit < level).then(|| {
            format!(
                "features.levels: {name} {limit} has no effect, because level {level} is finalized, and levels are never \
                 lowered: set {level} or more"
            )
        })
    })
}

/// The `bootstrap.servers` of each listener. Dead brokers stay in the list, so that it does not change with every
/// restart.
fn listeners(brokers: &[BrokerStatus]) -> Vec<ListenerStatus> {
    let mut addresses: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let of_clients = |endpoint: &&Endpoint| endpoint.listener != names::REPLICATION_LISTENER;
    for endpoint in brokers.iter().flat_map(|broker| &broker.endpoints).filter(of_clients) {
        addresses.entry(&endpoint.listener).or_default().push(format!("{}:{}", endpoint.host, endpoint.port));
    }
    let listener = |(name, addresses): (&str, Vec<String>)| ListenerStatus {
        name: name.to_owned(),
        bootstrap_servers: addresses.join(","),
    };
    addresses.into_iter().map(listener).collect()
}

fn verdicts(
    world: &World,
    cluster: &KafkaCluster,
    brokers: &[BrokerStatus],
    before: &KafkaClusterStatus,
    (rollout, renewal, lost): (Option<&RolloutStatus>, Option<&Obstacle>, Option<&Obstacle>),
) -> Vec<Verdict> {
    let platform = world.platform.as_deref();
    let obstacle = platform.and_then(|platform| platform.obstacle.as_ref());
    // A lost node is why Kubernetes finds none for the pod.
    let waiting = lost.or_else(|| platform.and_then(|platform| platform.waiting.as_ref()));
    // A broker that a roll restarts is away as planned: nothing is wrong.
    let restarts = |id: BrokerId| rollout.is_some_and(|rollout| rollout.restarts(id));
    let offline: Vec<BrokerId> = brokers.iter().filter(|b| b.state == BrokerState::Offline).map(|b| b.id).collect();
    let away: Vec<i32> = offline.iter().filter(|id| !restarts(**id)).map(|id| id.0).collect();
    let standing = world.assignments.iter().filter(|assignment| !assignment.spec.deleted);
    let leaderless = standing.flat_map(|object| &object.spec.partitions).filter(|entry| entry.leader.is_none()).count();
    // Why a broker is away, if Kubernetes knows.
    let because = waiting.map_or_else(String::new, |waiting| format!(": {}", waiting.message));

    let available = if leaderless > 0 {
        let message = match leaderless {
            1 => "1 partition has no leader".to_owned(),
            more => format!("{more} partitions have no leader"),
        };
        Verdict::new("Available", false, "PartitionsOffline", message)
    } else if offline.len() == brokers.len() {
        Verdict::new("Available", false, "NoBrokers", format!("no broker is online{because}"))
    } else {
        Verdict::new("Available", true, "Available", "")
    };
    let degraded = if away.is_empty() {
        Verdict::new("Degraded", false, "BrokersOnline", "")
    } else {
        let are = if away.len() == 1 { "is" } else { "are" };
        let message = format!("{} {are} offline{because}", named("broker", away));
        Verdict::new("Degraded", true, "BrokersOffline", message)
    };
    let own = cluster.spec.brokers.overrides.iter().map(|entry| &entry.config);
    let groups = cluster.spec.groups.iter().map(|entry| &entry.config);
    let checked = check_cluster(&cluster.spec.broker_config(), own, groups).map_err(|error| error.to_string());
    let checked = checked.and_then(|()| wrong_features(cluster).map_or(Ok(()), Err));
    let ready = match (checked, obstacle) {
        (Err(error), _) => Verdict::new("Ready", false, "InvalidConfig", error),
        (Ok(()), Some(obstacle)) => Verdict::new("Ready", false, obstacle.reason, &obstacle.message),
        (Ok(()), None) if !available.status => Verdict { type_: "Ready", ..available.clone() },
        (Ok(()), None) if degraded.status => Verdict { type_: "Ready", status: false, ..degraded.clone() },
        (Ok(()), None) => match waiting {
            Some(waiting) => Verdict::new("Ready", false, waiting.reason, &waiting.message),
            None if is_unexamined(world, cluster, before) => {
                let message = "the operator is comparing the cluster's objects with its spec";
                Verdict::new("Ready", false, "Applying", message)
            }
            None => Verdict::new("Ready", true, "Ready", ""),
        },
    };
    let mut verdicts = vec![ready, available, degraded, replicable(world, cluster)];
    verdicts.extend(set_back(world, before));
    verdicts.extend(insecure(cluster));
    verdicts.extend(hanging(world));
    if let Some(platform) = platform {
        verdicts.extend(filling(world));
        let applied = generation(world, cluster, before) >= cluster.metadata.generation;
        verdicts.push(progressing(cluster, platform, applied, (obstacle, waiting), (rollout, renewal)));
        verdicts.push(paused(cluster));
        verdicts.extend(standard::verdict(&verdicts, rollout));
    }
    verdicts
}

/// Settings that say on how many brokers topics are kept, the topic that each is for (none: every one that does not say
/// it itself), and what does not work while it can't be created.
const REPLICATION_FACTORS: [(&str, Option<&str>, &str); 4] = [
    ("offsets.topic.replication.factor", Some("__consumer_offsets"), "consumer groups do not work"),
    ("transaction.state.log.replication.factor", Some("__transaction_state"), "transactions do not work"),
    ("share.coordinator.state.topic.replication.factor", Some("__share_group_state"), "share groups do not work"),
    ("default.replication.factor", None, "topics without a replication factor of their own are not created"),
];

/// Whether there are brokers enough for the replication factors that the spec sets: clients that use such a topic only
/// get a retriable error.
fn replicable(world: &World, cluster: &KafkaCluster) -> Verdict {
    let (config, brokers) = (cluster.spec.broker_config(), cluster.spec.broker_count());
    let stands =
        |topic: &str| world.assignments.iter().any(|object| !object.spec.deleted && object.spec.topic_name == topic);
    let sentence = |(setting, topic, consequence): &(&str, Option<&str>, &str)| {
        let factor = config.get(*setting)?.trim().parse::<i32>().ok()?;
        (factor > brokers && !topic.is_some_and(stands)).then(|| format!("{setting} is {factor}: {consequence}"))
    };
    let sentences: Vec<String> = REPLICATION_FACTORS.iter().filter_map(sentence).collect();
    if sentences.is_empty() {
        return Verdict::new("Replicable", true, "EnoughBrokers", "");
    }
    let plural = if brokers == 1 { "" } else { "s" };
    let message = format!(
        "the cluster has {brokers} broker{plural}, too few for the replication factors in its spec ({}); raise \
        spec.brokers.replicas or set at most {brokers}",
        sentences.join("; ")
    );
    Verdict::new("Replicable", false, "TooFewBrokers", message)
}

/// Whether this operator has made nothing of the cluster yet, and nobody has said of it that it is ready.
fn is_unexamined(world: &World, cluster: &KafkaCluster, before: &KafkaClusterStatus) -> bool {
    let ready = before.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let unexamined = world.platform.as_ref().is_some_and(|platform| platform.generation.is_none());
    unexamined && cluster.metadata.generation.is_some() && !ready
}

/// Said only while it is so; what was said stays while brokers compare.
fn set_back(world: &World, before: &KafkaClusterStatus) -> Option<Verdict> {
    const TYPE: &str = "SetBack";
    const PUTTING_BACK: &str = "PuttingBack";
    if world.held_back == Some(HeldBack::Comparing) {
        let said = before.conditions.iter().find(|said| said.type_ == TYPE && said.reason == PUTTING_BACK);
        return said.map(|said| Verdict::new(TYPE, true, PUTTING_BACK, said.message.clone()));
    }
    if let Some(HeldBack::SetBack(brokers)) = &world.held_back {
        let message = format!(
            "the API server was restored from a backup: no leader is elected and no replica is moved until brokers have restored newer \
             assignments; waiting for {}",
            named("broker", brokers.iter().map(|id| id.0))
        );
        return Some(Verdict::new(TYPE, true, PUTTING_BACK, message));
    }
    let forked: BTreeSet<&str> = world.forked.values().flatten().map(String::as_str).collect();
    if forked.is_empty() {
        return None;
    }
    const MOST: usize = 10;
    let some: Vec<&str> = forked.iter().take(MOST).copied().collect();
    let more = if forked.len() > MOST { ", …" } else { "" };
    let serve = if world.forked.len() == 1 { "serves" } else { "serve" };
    let message = format!(
        "the API server, restored from a backup, shows another history of {}{more} than the one by which {} {serve}; until one \
         history is left, the operator elects no leader of these partitions where min.insync.replicas is at most half the number of \
         replicas; to give the API server the brokers' history, see `ottla objects --help`",
        some.join(", "),
        named("broker", world.forked.keys().map(|id| id.0)),
    );
    Some(Verdict::new(TYPE, true, "Forked", message))
}

/// Said only while it is so, of a cluster from before such listeners were refused: they keep serving.
fn insecure(cluster: &KafkaCluster) -> Option<Verdict> {
    let is_open = |listener: &&Listener| {
        let is_inside = matches!(listener.type_, ListenerType::Internal | ListenerType::ClusterIp);
        !is_inside && !listener.insecure && (listener.tls.is_none() || listener.authentication.is_empty())
    };
    let open: Vec<&str> = cluster.spec.listeners.iter().filter(is_open).map(|listener| &*listener.name).collect();
    let first = open.first()?;
    let (listeners, lack) = if open.len() == 1 { ("listener", "lacks") } else { ("listeners", "lack") };
    let message = format!(
        "the {listeners} {} {lack} TLS or authentication, and clients outside of the Kubernetes cluster reach it: add a listener \
         with tls and authentication, move the clients, and remove {first}; or set insecure: true on it if everybody may use it",
        open.join(", ")
    );
    Some(Verdict::new("Insecure", true, "OpenListeners", message))
}

/// Said only while it is so.
fn hanging(world: &World) -> Option<Verdict> {
    let hanging = world.hanging();
    let (disks, hang) = if hanging.len() == 1 { ("disk", "hangs") } else { ("disks", "hang") };
    let message = format!(
        "the {disks} of {} {hang}, or did so in the last 30 s: other in-sync replicas lead instead, where there are any, and no record \
         is lost. Requests that wait for such a disk get no answer. See the kernel log of the node (dmesg) and the storage behind the \
         volume; restarting the pod does not help. If the volume will not return, replace it: see \"Replace a volume\"",
        named("broker", hanging.iter().map(|id| id.0)),
    );
    (!hanging.is_empty()).then(|| Verdict::new("VolumesHanging", true, "DiskHangs", message))
}

/// Said only while it is so.
fn filling(world: &World) -> Option<Verdict> {
    let filling = world.filling();
    let disks = if filling.len() == 1 { "disk" } else { "disks" };
    let message = format!(
        "the {disks} of {} can take few more records: from 85 % on, new partitions go to other brokers, and from 90 % on replicas \
         move to other brokers. A full disk refuses producers, and loses nothing. Raise spec.brokers.storage.size (or storage.size of \
         the pool), shorten the retention of topics, or add brokers",
        named("broker", filling.iter().map(|id| id.0)),
    );
    (!filling.is_empty()).then(|| Verdict::new("VolumesFilling", true, "DiskFillsUp", message))
}

/// What the operator does, in a few words; `None` on a laptop.
fn summary(
    world: &World,
    cluster: &KafkaCluster,
    verdicts: &[Verdict],
    rollout: Option<&RolloutStatus>,
) -> Option<String> {
    let progressing = verdicts.iter().find(|verdict| verdict.type_ == "Progressing")?;
    let seen = world.platform.as_ref().and_then(|platform| platform.revisions.as_ref());
    let canary_for = cluster.spec.rollout.clone().unwrap_or_default().canary_for();
    let roll = rollout.filter(|_| !cluster.spec.paused && ROLLS.contains(&progressing.reason));
    let summary = roll.and_then(|rollout| rollout::words::summary(rollout, seen, canary_for.as_secs()));
    Some(summary.unwrap_or_else(|| progressing.reason.to_owned()))
}

/// The brokers that leave, and how far that is, in a few words; `None`: none leaves.
fn removal(brokers: &[BrokerStatus], moves: Option<&MovesStatus>) -> Option<String> {
    let leaving: Vec<i32> =
        brokers.iter().filter(|broker| broker.wanted == Wanted::Leaving).map(|broker| broker.id.0).collect();
    let (first, and) = (leaving.first()?, if leaving.len() == 1 { "it is" } else { "they are" });
    let removing = format!("Removing {}", named("broker", leaving.iter().copied()));
    let Some(moves) = moves else { return Some(format!("{removing}: looking whether {and} empty")) };
    let blocked = moves.blocked_by.iter().find(|blocker| blocker.broker.0 >= *first).filter(|_| moves.left == 0);
    if let Some(blocked) = blocked {
        return Some(format!("{removing}: {}", blocked.message).chars().take(200).collect());
    }
    let left = moves.eta.as_ref().map_or_else(String::new, |eta| format!(", {eta} left"));
    let rate = moves.rate.as_ref().map_or_else(String::new, |rate| format!(" at {}/s", quantity::in_words(rate)));
    Some(format!("{removing}: {} %{left}{rate}", moves.percent))
}

/// The reasons of Progressing that are about a roll.
const ROLLS: [&str; 5] = ["Held", "RolloutWaiting", "Canary", "Rolling", "RolloutStopped"];

fn progressing(
    cluster: &KafkaCluster,
    platform: &Platform,
    applied: bool,
    (obstacle, waiting): (Option<&Obstacle>, Option<&Obstacle>),
    (rollout, renewal): (Option<&RolloutStatus>, Option<&Obstacle>),
) -> Verdict {
    let place = (
        cluster.metadata.namespace.as_deref().unwrap_or_default(),
        cluster.metadata.name.as_deref().unwrap_or_default(),
    );
    let roll = rollout.and_then(|rollout| rollout::words::progressing(rollout, platform.revisions.as_ref(), place));
    let (held, rolls): (Option<Verdict>, Option<Verdict>) = match roll {
        Some(roll) if roll.reason == "Held" => (Some(roll), None),
        roll => (None, roll.filter(|_| !cluster.spec.paused)),
    };
    if let Some(obstacle) = obstacle {
        return Verdict::new("Progressing", true, obstacle.reason, &obstacle.message);
    }
    if let Some(rolls) = rolls {
        return rolls;
    }
    if let Some(in_the_way) = waiting.or(platform.leaving.as_ref()).or(renewal) {
        return Verdict::new("Progressing", true, in_the_way.reason, &in_the_way.message);
    }
    if !applied && cluster.spec.paused {
        return Verdict::new(
            "Progressing",
            false,
            "Paused",
            "spec.paused is true: the last changes of the spec are not applied",
        );
    }
    if !applied {
        return Verdict::new("Progressing", true, "Applying", "the operator is applying the last change of the spec");
    }
    held.unwrap_or_else(|| Verdict::new("Progressing", false, "Settled", ""))
}

fn paused(cluster: &KafkaCluster) -> Verdict {
    if cluster.spec.paused {
        let message = "spec.paused is true: the operator creates, changes and removes no Kubernetes resources of the \
                       cluster, such as pods, volumes, Services and certificates of brokers, and begins no moves of \
                       replicas. It still elects leaders, creates and deletes topics, and creates and revokes users \
                       with their Secrets";
        Verdict::new("Paused", true, "Paused", message)
    } else {
        Verdict::new("Paused", false, "NotPaused", "")
    }
}
