//! Volumes that are replaced by order: `state: Fresh` in `brokers.overrides`, with the uid of the volume.
//!
//! Always: a claim is deleted only while every partition of its broker keeps its floor on other live brokers
//! (`ottla_rules::plan::renewal`), one volume at a time: the next when the replicas of the one before are in sync
//! again. The order names one claim, so it has no effect on the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use ottla_crds::{KafkaAssignment, KafkaCluster};
use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::renewal::{Need, need};
use ottla_rules::plan::roster::{Order, Wanted};

use super::platform::{Obstacle, Volume};
use super::rules::RuleBook;
use super::{Step, World};

/// What comes next for a broker whose volume is to be replaced.
#[derive(Debug)]
enum Next {
    /// The step to take.
    Step(Box<Step>),
    /// The old claim is being deleted; Kubernetes makes the new one.
    UnderWay,
    /// This broker comes first: it gets another volume, or restarts.
    After(BrokerId),
    /// This broker is copying replicas to its volume: it is not in sync with the partition.
    Copying {
        /// The broker.
        other: BrokerId,
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

/// The next step of a replacement; at most one.
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
    let (id, volume) = orders(world).next()?;
    let claim = &volume.claim;
    Some(match next(world, cluster, rules, id, volume) {
        Next::Step(_) | Next::UnderWay => {
            let message = format!("broker {id} gets another volume in the place of {claim}");
            Obstacle::new("ReplacingVolume", message)
        }
        Next::After(other) => {
            let message =
                format!("broker {id} gets another volume when broker {other} is back: {claim} stays until then");
            Obstacle::new("ReplacingVolume", message)
        }
        Next::Copying { other, topic, partition } => {
            let message = format!(
                "broker {id} gets another volume when broker {other} has copied its replicas: broker {other} is not in sync with \
                 partition {partition} of {topic}. {claim} stays until then"
            );
            Obstacle::new("ReplacingVolume", message)
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
    })
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
        if let Some(restarting) = rollout.and_then(|rollout| rollout.away.first()) {
            return Next::After(*restarting);
        }
    }
    let is_ordered = cluster.spec.brokers.order(id, Some(&volume.uid)) == Some(Order::Fresh);
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
fn copying(world: &World, cluster: &KafkaCluster, id: BrokerId, is_ordered: bool) -> Option<Next> {
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
            let copies = |other: &&BrokerId| {
                **other != id
                    && (!is_ordered || world.wanted(**other) != Wanted::Fresh)
                    && (renewed.contains(*other) || shares(other))
                    && !is_in_sync(other)
            };
            let other = *entry.replicas.iter().find(copies)?;
            Some(Next::Copying { other, topic: object.spec.topic_name.clone(), partition: entry.partition })
        })
    })
}

/// Whether an assignment names this broker.
pub fn names_broker(object: &KafkaAssignment, id: BrokerId) -> bool {
    object.spec.partitions.iter().any(|entry| entry.replicas.contains(&id))
}
