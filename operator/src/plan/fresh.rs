//! Volumes that are replaced by order: `state: Fresh` in `brokers.overrides`, with the uid of the volume. With
//! `storage.onLostNode: Replace` the loss of the volume's node is such an order.
//!
//! Always: a claim is deleted only while every partition of its broker keeps its floor on other live brokers
//! (`ottla_rules::plan::renewal`), one volume at a time: the next when the replicas of the one before are in sync
//! again. The order names one claim, so it has no effect on the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use ottla_crds::{BrokerOverride, KafkaAssignment, KafkaCluster, OnLostNode};
use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::renewal::{Need, need};
use ottla_rules::plan::roster::{Order, Wanted};
use serde_json::json;

use super::condition::named;
use super::platform::{Lost, Obstacle, Volume};
use super::rules::RuleBook;
use super::step::Step;
use super::world::World;

/// What comes next for a broker whose volume is to be replaced.
#[derive(Debug)]
enum Next {
    /// The step to take.
    Step(Box<Step>),
    /// The old claim is being deleted; Kubernetes makes the new one.
    UnderWay,
    /// This broker comes first: it gets another volume, or restarts.
    After(BrokerId),
    /// This broker is copying replicas to its volume, or will when it is back: it is not in sync with the partition.
    Copying {
        /// The broker.
        other: BrokerId,
        /// Whether it is live.
        is_live: bool,
        /// The command after which it is not waited for; `None`: it is waited for in any case.
        withdraw: Option<String>,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// Assignments are missing, or have two histories: they don't say what the volume holds.
    Unclear,
    /// A partition needs it.
    Needed {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Why.
        need: Need,
    },
}

/// The next step of a replacement; at most one. `None`: there is nothing to do now.
pub fn step(world: &World, cluster: &Arc<KafkaCluster>, rules: &RuleBook<'_>) -> Option<Step> {
    if cluster.spec.paused {
        return None;
    }
    orders(world).find_map(|(id, volume)| match next(world, cluster, rules, id, volume) {
        Next::Step(step) => Some(*step),
        Next::UnderWay | Next::After(_) | Next::Copying { .. } | Next::Unclear | Next::Needed { .. } => None,
    })
}

/// What a condition says of a replacement; `None`: there is none.
pub fn obstacle(world: &World, cluster: &Arc<KafkaCluster>, rules: &RuleBook<'_>) -> Option<Obstacle> {
    orders(world).next().map(|(id, volume)| awaited(world, cluster, rules, id, volume))
}

/// What conditions say of brokers that can not start because the nodes of their volumes do not exist any more; `None`:
/// there is none.
pub fn lost(world: &World, cluster: &Arc<KafkaCluster>, rules: &RuleBook<'_>) -> Option<Obstacle> {
    let volumes = world.platform.iter().flat_map(|platform| &platform.volumes);
    let lost = volumes.filter_map(|(id, volume)| Some((*id, volume, volume.lost.as_ref()?)));
    let lost: Vec<(BrokerId, &Volume, &Lost)> = lost.filter(|(id, ..)| world.wanted(*id) != Wanted::Leaving).collect();
    let unordered: Vec<(BrokerId, &Volume, &Lost)> =
        lost.iter().filter(|(id, ..)| world.wanted(*id) != Wanted::Fresh).copied().collect();
    let storage = cluster.spec.brokers.storage.as_ref();
    let replaces = storage.filter(|storage| storage.on_lost_node == OnLostNode::Replace);
    match (unordered.as_slice(), replaces) {
        ([], _) => lost.first().map(|(id, volume, _)| awaited(world, cluster, rules, *id, volume)),
        ([(id, volume, nodes)], Some(storage)) if lost.len() == 1 && world.wanted(*id) == Wanted::Serve => {
            let message = format!(
                "broker {id} can not start: its volume {} is on {}, which does not exist any more. If the node does not return within \
                 {}, the broker gets a new volume, to which it copies its replicas from the other brokers",
                volume.claim,
                node(nodes),
                in_words(storage.lost_after()),
            );
            Some(Obstacle::new("AwaitingNode", message))
        }
        (unordered, replaces) => Some(Obstacle::new("NodeLost", for_a_person(cluster, unordered, replaces.is_some()))),
    }
}

/// What is wrong with these brokers, and what to type.
fn for_a_person(cluster: &KafkaCluster, lost: &[(BrokerId, &Volume, &Lost)], replaces: bool) -> String {
    let brokers = named("broker", lost.iter().map(|(id, ..)| id.0));
    let places: Vec<String> =
        lost.iter().map(|(_, volume, nodes)| format!("{} on {}", volume.claim, node(nodes))).collect();
    let why = match (lost, replaces) {
        (_, false) => "",
        ([_], true) => " (onLostNode replaces no volume of a broker with a state, nor while another one is lost)",
        (_, true) => " (onLostNode replaces none of several: were nodes deleted by mistake?)",
    };
    let (their, volumes, does, nodes, a_volume) = match lost {
        [_] => ("its", "volume", "does", "the node", "it a new volume, to which it copies its"),
        _ => ("their", "volumes", "do", "the nodes", "them new volumes, to which they copy their"),
    };
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let mut overrides = cluster.spec.brokers.overrides.clone();
    for (id, volume, _) in lost {
        let (state, volume) = (Some(Order::Fresh), Some(volume.uid.clone()));
        match overrides.iter_mut().find(|entry| entry.broker == *id) {
            Some(entry) => (entry.state, entry.volume) = (state, volume),
            None => overrides.push(BrokerOverride { broker: *id, state, volume, config: BTreeMap::new() }),
        }
    }
    let patch = json!({ "spec": { "brokers": { "overrides": overrides } } }).to_string().replace('\'', "'\\''");
    format!(
        "{brokers} can not start, because the {nodes_of} of {their} {volumes} {does} not exist any more{why}: {}. Bring {nodes} back \
         with the disk, or give {a_volume} replicas from the other brokers: kubectl patch kafkacluster {name} -n {namespace} --type \
         merge -p '{patch}'",
        places.join(", "),
        nodes_of = nodes.trim_start_matches("the "),
    )
}

fn node(lost: &Lost) -> String {
    let names: Vec<&str> = lost.nodes.iter().map(String::as_str).collect();
    format!("node {}", names.join(" or "))
}

fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        60 => "1 minute".to_owned(),
        seconds if seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

/// What the replacement of this volume waits for.
fn awaited(
    world: &World,
    cluster: &Arc<KafkaCluster>,
    rules: &RuleBook<'_>,
    id: BrokerId,
    volume: &Volume,
) -> Obstacle {
    let claim = &volume.claim;
    match next(world, cluster, rules, id, volume) {
        Next::Step(_) | Next::UnderWay => {
            let message = format!("broker {id} gets another volume in the place of {claim}");
            Obstacle::new("ReplacingVolume", message)
        }
        Next::After(other) => {
            let message =
                format!("broker {id} gets another volume when broker {other} is back: {claim} stays until then");
            Obstacle::new("ReplacingVolume", message)
        }
        Next::Copying { other, is_live: true, topic, partition, .. } => {
            let message = format!(
                "broker {id} gets another volume when broker {other} has copied its replicas: broker {other} is not in sync with \
                 partition {partition} of {topic}. {claim} stays until then"
            );
            Obstacle::new("ReplacingVolume", message)
        }
        Next::Copying { other, is_live: false, withdraw, topic, partition } => {
            let withdraw = withdraw.map_or_else(String::new, |command| {
                format!(
                    ". If broker {other} is lost for good, withdraw its order, and it is not waited for; then one broker alone has \
                     these records until broker {id} has copied them: {command}"
                )
            });
            let message = format!(
                "broker {id} keeps the volume {claim} for now: broker {other} is offline and has not copied partition \
                 {partition} of {topic} to its own new volume, as far as is known. Start broker {other}{withdraw}"
            );
            Obstacle::new("VolumeNeeded", message)
        }
        Next::Unclear => {
            let message = format!(
                "broker {id} keeps the volume {claim} for now: assignments are missing or forked, so nobody knows what it holds. \
                 First restore them: see `ottla objects --help`"
            );
            Obstacle::new("VolumeNeeded", message)
        }
        Next::Needed { topic, partition, need } => {
            let why = match need {
                Need::LastReplica if volume.lost.is_some() => format!(
                    "it alone has every record of partition {partition} of {topic}, and its node is lost. Bring the node back with the \
                     disk, or accept losing those records: see ReplicasHealthy of the KafkaTopic, or delete that"
                ),
                Need::LastReplica => format!(
                    "it alone has every record of partition {partition} of {topic}. Set state: Drained, which moves its replicas, \
                     or start the other replicas"
                ),
                Need::TooFewInSync { others, floor } => format!(
                    "without it partition {partition} of {topic} would have {others} in-sync replica{} of the {floor} that it needs. \
                     Start the brokers that are offline, or lower min.insync.replicas of the topic",
                    if others == 1 { "" } else { "s" },
                ),
            };
            Obstacle::new("VolumeNeeded", format!("broker {id} keeps the volume {claim} for now: {why}"))
        }
    }
}

/// The brokers whose volumes are to be replaced, those first whose old claims are being deleted.
fn orders(world: &World) -> impl Iterator<Item = (BrokerId, &Volume)> {
    let volumes = world.platform.iter().flat_map(|platform| &platform.volumes);
    let mut ordered: Vec<(BrokerId, &Volume)> =
        volumes.map(|(id, volume)| (*id, volume)).filter(|(id, _)| world.wanted(*id) == Wanted::Fresh).collect();
    ordered.sort_by_key(|(id, volume)| (!volume.is_deleted, *id));
    ordered.into_iter()
}

fn next(world: &World, cluster: &Arc<KafkaCluster>, rules: &RuleBook<'_>, id: BrokerId, volume: &Volume) -> Next {
    let of_broker = || {
        let standing = world.assignments.iter().filter(|object| !object.spec.deleted);
        standing.filter(move |object| names_broker(object, id))
    };
    let step = || {
        let versions = of_broker().map(|object| (object.name_any(), object.resource_version())).collect();
        Next::Step(Box::new(Step::Renew { cluster: cluster.clone(), id, volume: volume.clone(), versions }))
    };
    if volume.is_deleted && volume.pod.is_none() {
        return Next::UnderWay;
    }
    if !world.missing.is_empty() || !world.forked.is_empty() {
        return Next::Unclear;
    }
    if !volume.is_deleted {
        let others = world.platform.iter().flat_map(|platform| &platform.volumes);
        if let Some((other, _)) = others.into_iter().find(|(_, other)| other.is_deleted) {
            return Next::After(*other);
        }
        let rollout = cluster.status.as_ref().and_then(|status| status.rollout.as_ref());
        // A roll that restarts this one would wait for it, and may wait for ever.
        if let Some(restarting) = rollout.and_then(|rollout| rollout.away.iter().find(|away| **away != id)) {
            return Next::After(*restarting);
        }
    }
    let is_ordered = cluster.spec.brokers.order(id, Some(&volume.uid)) == Some(Order::Fresh) || world.replaces_lost(id);
    if !(volume.is_deleted && is_ordered)
        && let Some(copying) = copying(world, cluster, id, is_ordered)
    {
        return copying;
    }
    // Also if the claim is being deleted already: the volume stays as long as its pod.
    let live = world.live();
    for object in of_broker() {
        let min_in_sync = rules.min_in_sync(&object.spec.topic_name);
        let needed = |entry| Some((entry, need(entry, id, &live, min_in_sync)?));
        if let Some((entry, need)) = object.spec.partitions.iter().find_map(needed) {
            return Next::Needed { topic: object.spec.topic_name.clone(), partition: entry.partition, need };
        }
    }
    step()
}

/// Whether another broker has to copy replicas before the volume of broker `id` may go: one whose own volume was
/// replaced by order, or a live one that shares a partition with it. Else, where `min.insync.replicas` is 1, volumes
/// would go one after the other until one broker alone has the records. Where nobody ordered it because somebody
/// deleted the claim, perhaps all claims by mistake, brokers that are offline are waited for, too.
///
/// Of a broker that is offline nobody knows whether it had copied its replicas before it died: it has left the ISRs in
/// either case. The order that replaced its volume may be old, and it may never return. So it holds only what it must:
/// volumes with a partition of its own, and only where its death and the new volume would leave a single broker with
/// the records. `obstacle` says how to withdraw the order.
fn copying(world: &World, cluster: &Arc<KafkaCluster>, id: BrokerId, is_ordered: bool) -> Option<Next> {
    let live = world.live();
    let renewed: BTreeSet<BrokerId> = (cluster.spec.brokers.overrides.iter())
        .filter(|entry| entry.state == Some(Order::Fresh) && world.wanted(entry.broker) != Wanted::Fresh)
        .map(|entry| entry.broker)
        .collect();
    let mut standing = world.assignments.iter().filter(|object| !object.spec.deleted);
    standing.find_map(|object| {
        object.spec.partitions.iter().find_map(|entry| {
            let is_in_sync = |other: &BrokerId| {
                let lives = live.get(other).map(|other| other.incarnation);
                entry.isr.iter().any(|member| member.broker == *other && Some(member.incarnation) == lives)
            };
            let shares = |other: &BrokerId| entry.replicas.contains(&id) && (!is_ordered || live.contains_key(other));
            let others = || entry.replicas.iter().filter(|other| **other != id && is_in_sync(other)).count();
            let leaves_one = || entry.replicas.contains(&id) && others() < 2;
            let is_awaited = |other: &BrokerId| renewed.contains(other) && (live.contains_key(other) || leaves_one());
            let copies = |other: &&BrokerId| {
                **other != id
                    && (!is_ordered || world.wanted(**other) != Wanted::Fresh)
                    && (is_awaited(other) || shares(other))
                    && !is_in_sync(other)
            };
            let other = *entry.replicas.iter().find(copies)?;
            let is_live = live.contains_key(&other);
            let (topic, partition) = (object.spec.topic_name.clone(), entry.partition);
            Some(Next::Copying { other, is_live, withdraw: withdraw(cluster, other, is_ordered), topic, partition })
        })
    })
}

/// The command that withdraws the order for the volume of broker `other`, and keeps its settings; `None`: there is no
/// such order, or broker `other` is waited for without it.
fn withdraw(cluster: &KafkaCluster, other: BrokerId, is_ordered: bool) -> Option<String> {
    let mut orders = cluster.spec.brokers.overrides.iter().enumerate();
    let (index, entry) = orders.find(|(_, entry)| entry.broker == other && entry.state == Some(Order::Fresh))?;
    let at = format!("/spec/brokers/overrides/{index}");
    let test = json!({ "op": "test", "path": format!("{at}/broker"), "value": other });
    let patch = if entry.config.is_empty() {
        json!([test, { "op": "remove", "path": at }])
    } else {
        let remove = |field: &str| json!({ "op": "remove", "path": format!("{at}/{field}") });
        json!([test, remove("state"), remove("volume")])
    };
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let command = format!("kubectl patch kafkacluster {name} -n {namespace} --type json -p '{patch}'");
    is_ordered.then_some(command)
}

/// Whether an assignment names this broker.
pub fn names_broker(object: &KafkaAssignment, id: BrokerId) -> bool {
    object.spec.partitions.iter().any(|entry| entry.replicas.contains(&id))
}
