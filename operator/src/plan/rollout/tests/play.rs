//! The API server and the kubelets, as far as a roll needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use ottla_crds::{KafkaAssignment, KafkaClusterSpec, KafkaTopic};
use ottla_rules::assignment::{Assignment, Incarnation, IsrMember, LeaderEpoch, LiveBroker, PartitionEpoch};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::plan::platform::{Platform, PodRevision, Revisions, Stage, Volume};
use crate::plan::rollout::restart::Restart;
use crate::plan::{Broker, Step, plan};

/// A cluster whose brokers are three racks', with a topic on every three neighbours.
pub(super) struct Play {
    pub(super) world: World,
    pub(super) seen: Revisions,
    /// What pods of a revision become instead of ready.
    pub(super) fates: BTreeMap<String, fn(&mut PodRevision)>,
    pub(super) volumes: BTreeMap<BrokerId, Volume>,
    /// The last restart.
    pub(super) restarted: Option<Restart>,
    /// How often the status was written.
    pub(super) writes: usize,
    /// What has happened.
    pub(super) told: Vec<String>,
}

pub(super) const START: i64 = 1_000_000;

pub(super) fn pod(id: i32, revision: &str) -> PodRevision {
    PodRevision {
        name: format!("prod-broker-{id}"),
        revision: revision.to_owned(),
        asked_by: [revision.to_owned()].into(),
        uid: Some(format!("{id}")),
        version: Some("1".to_owned()),
        stage: Stage::Ready,
        crashed: None,
        stuck: None,
        unscheduled: None,
        is_cut_off: false,
        lost_node: None,
    }
}

pub(super) fn offer(revision: &str, why: &str) -> Option<Offer> {
    let image = format!("reg/ottla:{revision}");
    Some(Offer { revision: revision.to_owned(), why: vec![why.to_owned()], image, ..Offer::default() })
}

pub(super) fn entry(partition: i32, replicas: &[i32]) -> Assignment {
    let replicas: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
    let member = |id: &BrokerId| IsrMember { broker: *id, incarnation: Incarnation(1) };
    Assignment {
        partition,
        leader: replicas.first().copied(),
        isr: replicas.iter().map(member).collect(),
        replicas,
        adding: Vec::new(),
        removing: Vec::new(),
        leader_epoch: LeaderEpoch(1),
        partition_epoch: PartitionEpoch(1),
        reports: Vec::new(),
        log_start: None,
    }
}

impl Play {
    pub(super) fn of(brokers: i32, rollout: Rollout) -> Play {
        let spec = json!({ "brokers": { "replicas": brokers, "storage": { "size": "1Gi" } }, "rack": { "topologyKey": "zone" } });
        let spec: KafkaClusterSpec = serde_json::from_value(spec).unwrap();
        let mut cluster = KafkaCluster::new("prod", KafkaClusterSpec { rollout: Some(rollout), ..spec });
        cluster.metadata.namespace = Some("kafka".to_owned());
        let mut topic =
            KafkaTopic::new("pay", serde_json::from_value(json!({ "clusterRef": { "name": "prod" } })).unwrap());
        topic.spec.config = [("min.insync.replicas".to_owned(), "2".to_owned())].into();
        let factor = 3.min(brokers);
        let replicas = |n: i32| (0..factor).map(|k| (n + k) % brokers).collect::<Vec<i32>>();
        let mut object = KafkaAssignment::new("pay", Default::default());
        object.spec.topic_name = "pay".to_owned();
        object.spec.topic_id = Uuid::from_u128(7);
        object.spec.partitions = (0..brokers).map(|n| entry(n, &replicas(n))).collect();
        let rack = |id: i32| Some(["a", "b", "c"][(id % 3) as usize].to_owned());
        let broker = |id: i32| {
            let live = Some(LiveBroker { incarnation: Incarnation(1), draining: false });
            (BrokerId(id), Broker { live, rack: rack(id), ..Broker::default() })
        };
        let world = World {
            cluster: Some(Arc::new(cluster)),
            topics: vec![Arc::new(topic)],
            assignments: vec![Arc::new(object)],
            relocates: true,
            loads: None,
            loads_are_new: false,
            rebalances: Some(Vec::new()),
            held_back: None,
            forked: Default::default(),
            missing: Default::default(),
            brokers: (0..brokers).map(broker).collect(),
            platform: None,
            settled: Default::default(),
            seasoned: Default::default(),
            awaited: Default::default(),
            returning: Default::default(),
            now: Time(Timestamp::from_second(START).unwrap()),
            fresh_cluster_id: Uuid::from_u128(1),
        };
        let pods = (0..brokers).map(|id| (BrokerId(id), pod(id, "old"))).collect();
        let seen = Revisions { from: "old".to_owned(), template: Some("old".to_owned()), pods, ..Revisions::default() };
        let (fates, volumes, told) = Default::default();
        let mut play = Play { world, seen, fates, volumes, restarted: None, writes: 0, told };
        play.tick(0);
        play.told.clear();
        play
    }

    pub(super) fn asks(&mut self, change: impl FnOnce(&mut KafkaClusterSpec)) {
        change(&mut Arc::make_mut(self.world.cluster.as_mut().unwrap()).spec);
    }

    pub(super) fn status(&self) -> RolloutStatus {
        self.world.cluster.as_ref().unwrap().status.as_ref().unwrap().rollout.clone().unwrap()
    }

    pub(super) fn condition(&self) -> (String, String) {
        let conditions = &self.world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
        let progressing = conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap();
        (progressing.reason.clone(), progressing.message.clone())
    }

    pub(super) fn summary(&self) -> String {
        self.world.cluster.as_ref().unwrap().status.as_ref().unwrap().summary.clone().unwrap()
    }

    /// One plan some seconds later, carried out. Another operator each time: it knows what the objects say.
    pub(super) fn tick(&mut self, seconds: i64) {
        self.world.now = Time(self.world.now.0 + SignedDuration::from_secs(seconds));
        let to = self.world.cluster.as_ref().unwrap().status.as_ref().and_then(|status| status.rollout.clone()?.to);
        let offers = [&self.seen.by_user, &self.seen.by_operator, &self.seen.current];
        let current = offers.into_iter().flatten().find(|offer| Some(&offer.revision) == to.as_ref()).cloned();
        self.seen.current = current.filter(|_| self.seen.by_user.is_some() || self.seen.by_operator.is_some());
        self.seen.to = to;
        let (revisions, volumes) = (Some(self.seen.clone()), self.volumes.clone());
        self.world.platform = Some(Arc::new(Platform { revisions, volumes, ..Platform::default() }));
        for step in plan(&self.world) {
            match step {
                Step::ClusterStatus { next, .. } => {
                    self.writes += 1;
                    let rollout = next.status.as_ref().unwrap().rollout.as_ref().unwrap();
                    let away: Vec<String> = rollout.away.iter().map(ToString::to_string).collect();
                    let line = format!("{:?} {}", rollout.state, away.join(","));
                    if self.told.last() != Some(&line) {
                        self.told.push(line);
                    }
                    self.seen.from = rollout.from.clone();
                    self.seen.template = Some(rollout.pinned().to_owned());
                    for by in [&mut self.seen.by_user, &mut self.seen.by_operator] {
                        by.take_if(|offer| offer.revision == rollout.from);
                    }
                    self.world.cluster = Some(Arc::from(next));
                }
                Step::Restart(restart) => self.restart(&restart),
                Step::Renew { id, .. } => self.told.push(format!("  renew {id}")),
                // The brokers of this play keep what they lead.
                _ => {}
            }
        }
        self.replace_stuck();
    }

    pub(super) fn restart(&mut self, restart: &Restart) {
        let objects: Vec<KafkaAssignment> =
            self.world.assignments.iter().map(|object| KafkaAssignment::clone(object)).collect();
        restart.is_safe_with(&objects).unwrap();
        self.restarted = Some(restart.clone());
        for (id, _) in &restart.pods {
            self.told.push(format!("  {} {id}", if restart.evicts { "evict" } else { "delete" }));
            self.make(*id);
        }
    }

    /// A pod of the template's revision in the place of another.
    pub(super) fn make(&mut self, id: BrokerId) {
        let mut made = pod(id.0, self.seen.template.as_ref().unwrap());
        if let Some(fate) = self.fates.get(&made.revision) {
            fate(&mut made);
        }
        let is_live = !matches!(made.stage, Stage::Pending);
        self.live(id, is_live);
        if made.stage == Stage::Ready {
            self.entries(|entry| {
                let joins = entry.replicas.contains(&id) && !entry.isr.iter().any(|member| member.broker == id);
                entry.isr.extend(joins.then_some(IsrMember { broker: id, incarnation: Incarnation(1) }));
                entry.leader = entry.replicas.first().copied().filter(|first| *first == id).or(entry.leader);
            });
        }
        self.seen.pods.insert(id, made);
    }

    /// What `cluster/replace` does.
    pub(super) fn replace_stuck(&mut self) {
        let template = self.seen.template.clone().unwrap();
        let is_useless =
            |pod: &PodRevision| pod.revision != template && (pod.stuck.is_some() || pod.unscheduled.is_some());
        let useless: Vec<BrokerId> =
            self.seen.pods.iter().filter(|(_, pod)| is_useless(pod)).map(|(id, _)| *id).collect();
        useless.into_iter().for_each(|id| self.make(id));
    }

    pub(super) fn entries(&mut self, change: impl FnMut(&mut Assignment)) {
        Arc::make_mut(&mut self.world.assignments[0]).spec.partitions.iter_mut().for_each(change);
    }

    /// The broker's process does not serve, and no partition has it in its ISR.
    pub(super) fn fails(&mut self, id: BrokerId, stage: Stage) {
        self.live(id, false);
        self.seen.pods.get_mut(&id).unwrap().stage = stage;
        self.entries(|entry| {
            entry.isr.retain(|member| member.broker != id);
            entry.leader = entry.isr.first().map(|member| member.broker);
        });
    }

    pub(super) fn live(&mut self, id: BrokerId, is_live: bool) {
        let live = is_live.then_some(LiveBroker { incarnation: Incarnation(1), draining: false });
        self.world.brokers.get_mut(&id).unwrap().live = live;
    }

    /// Plans until nothing changes for a while.
    pub(super) fn play(&mut self, seconds: i64) -> Vec<String> {
        for _ in 0..seconds / 10 {
            self.tick(10);
        }
        std::mem::take(&mut self.told)
    }

    pub(super) fn revisions(&self) -> BTreeSet<&str> {
        self.seen.pods.values().map(|pod| pod.revision.as_str()).collect()
    }
}
