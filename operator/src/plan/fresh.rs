//! Volumes that are replaced by order: `state: Fresh` in `brokers.overrides`, with the uid of the volume.
//!
//! Always: a claim is deleted only while every partition of its broker keeps its floor on other live brokers
//! (`ottla_rules::plan::renewal`), one volume at a time. The order names one claim, so it has no effect on the next.

use std::sync::Arc;

use kube::ResourceExt;
use ottla_crds::{KafkaAssignment, KafkaCluster};
use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::renewal::{Need, need};
use ottla_rules::plan::roster::Wanted;

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
        Next::UnderWay | Next::After(_) | Next::Unclear | Next::Needed { .. } => None,
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

/// Whether an assignment names this broker.
pub fn names_broker(object: &KafkaAssignment, id: BrokerId) -> bool {
    object.spec.partitions.iter().any(|entry| entry.replicas.contains(&id))
}
