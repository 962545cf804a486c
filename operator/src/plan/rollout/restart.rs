//! Pods to restart, with what must still hold when that is done.

use std::collections::{BTreeMap, BTreeSet};

use ottla_crds::KafkaAssignment;
use ottla_rules::assignment::{Assignment, BrokerId, Live};
use ottla_rules::plan::disruption::{Blocked, Partition, Situation, check};

use super::scene::Scene;
use crate::plan::platform::PodRevision;

/// Pods to restart.
#[derive(Clone, Debug)]
pub struct Restart {
    /// The pods.
    pub pods: Vec<(BrokerId, PodRevision)>,
    /// Whether they are evicted, so that the PodDisruptionBudget is asked; else they are deleted.
    pub evicts: bool,
    /// The `min.insync.replicas` of each topic.
    min_in_sync: BTreeMap<String, usize>,
    live: Live,
    racks: BTreeMap<BrokerId, String>,
    away: BTreeSet<BrokerId>,
    broken: BTreeSet<BrokerId>,
    most_away: usize,
    interrupts_unreplicated: bool,
}

impl Restart {
    /// Restarts these in what the scene shows.
    pub fn new(pods: &[(BrokerId, &PodRevision)], evicts: bool, scene: &Scene<'_>) -> Restart {
        let Situation { partitions, live, racks, away, broken, most_away, interrupts_unreplicated } = scene.situation();
        Restart {
            pods: pods.iter().map(|(id, pod)| (*id, (*pod).clone())).collect(),
            evicts,
            min_in_sync: partitions.iter().map(|one| (one.topic.to_owned(), one.min_in_sync)).collect(),
            live: live.clone(),
            racks: racks.clone(),
            away: away.clone(),
            broken: broken.clone(),
            most_away,
            interrupts_unreplicated,
        }
    }

    /// Whether they may still be restarted with these assignments, which are newer than those of the plan: the watch of
    /// pods may have shown that a broker is ready before the watch of assignments showed that it had left an ISR.
    ///
    /// # Errors
    /// The first of them that may not.
    pub fn is_safe_with(&self, assignments: &[KafkaAssignment]) -> Result<(), Blocked> {
        let mut partitions = Vec::new();
        for object in assignments.iter().filter(|object| !object.spec.deleted) {
            let topic = object.spec.topic_name.as_str();
            let known = self.min_in_sync.get(topic).copied();
            partitions.extend(object.spec.partitions.iter().map(|entry| {
                let min_in_sync = known.unwrap_or_else(|| self.most_needed(entry));
                Partition { topic, entry, min_in_sync }
            }));
        }
        let situation = Situation {
            partitions: &partitions,
            live: &self.live,
            racks: &self.racks,
            away: &self.away,
            broken: &self.broken,
            most_away: self.most_away,
            interrupts_unreplicated: self.interrupts_unreplicated,
        };
        let ids: Vec<BrokerId> = self.pods.iter().map(|(id, _)| *id).collect();
        check(&situation, &ids)
    }

    /// The `min.insync.replicas` that a topic may have which is newer than the plan: all of its replicas, so that none
    /// may restart. Where interruptions are allowed, one that all others satisfy: a partition that needs more would be
    /// interrupted whatever happens.
    fn most_needed(&self, entry: &Assignment) -> usize {
        if self.interrupts_unreplicated { entry.replication_factor().saturating_sub(1) } else { usize::MAX }
    }
}
