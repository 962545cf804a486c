//! What is played while all else is well: what must move nobody, and what must come to a certain end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use ottla_crds::{KafkaTopic, Recovery};
use ottla_rules::assignment::{BrokerId, IsrMember, LeaderEpoch, RecoveryOrder};
use serde_json::Value;

use super::broker::GRACE;
use super::door::Away;
use super::referee::Partition;
use super::{HEALING, TURN, World};
use crate::fault::Fault;

/// How long the API server is away once in a while.
const AN_HOUR: Duration = Duration::from_secs(3600);
/// By then what was put back is known to everybody, and said.
const TOLD: Duration = Duration::from_secs(10);
/// By then operators know whom they have lost, from a Lease if from nothing else.
const NOTICED: Duration = Duration::from_secs(15);

impl World {
    /// What concerns only the API server or operators moves nobody: all is well, it is played, and nothing has changed.
    pub(super) fn alone(&mut self, what: &str, fault: Fault, play: impl Fn(&mut World) -> Result<()>) -> Result<()> {
        self.heal()?;
        self.settle()?;
        let before = self.look()?.epochs();
        self.tell(what);
        play(self)?;
        self.is_quiet(&format!("after {what}"))?;
        ensure!(self.look()?.epochs() == before, "{what} moved somebody");
        self.count(fault);
        Ok(())
    }

    /// The API server is away for minutes, or for an hour.
    pub(super) fn leave(&mut self) -> Result<()> {
        let away = if self.random.happens(500) { Away::Silent } else { Away::Refusing };
        let time = if self.random.happens(150) { AN_HOUR } else { self.seconds(30, 300) };
        self.tell(&format!("{away:?}, for {time:?}"));
        (0..self.hosts.len()).for_each(|at| self.be_away(at, away));
        self.server.faults().drop_watches();
        self.pass(time / 2)?;
        if self.random.happens(500) {
            let broker = self.random.below(self.brokers());
            self.tell(&format!("broker {broker} restarts without the API server"));
            self.kill(broker);
            self.start(broker)?;
        }
        self.pass(time / 2)?;
        (0..self.hosts.len()).for_each(|at| self.be_away(at, Away::No));
        Ok(())
    }

    pub(super) fn trouble_watches(&mut self) -> Result<()> {
        for _ in 0..5 {
            let at = self.random.below(self.hosts.len());
            match self.random.below(5) {
                0 => self.hosts[at].door.freeze_watches(true),
                1 => self.server.faults().expire_watches(),
                2 => self.server.faults().drop_watches(),
                3 => self.hosts[at].door.change(|trouble| trouble.too_many = 200),
                _ => self.hosts[at].door.change(|trouble| trouble.slow_ms = 1000),
            }
            self.server.faults().set_stale_reads(true);
            let time = self.seconds(1, 20);
            self.pass(time)?;
            self.server.faults().set_stale_reads(false);
            self.hosts[at].door.heal();
        }
        Ok(())
    }

    pub(super) fn overload(&mut self) -> Result<()> {
        for _ in 0..3 {
            let time = self.seconds(2, 30);
            (self.brokers()..self.hosts.len()).for_each(|at| self.freeze(at, time));
            self.pass(time + Duration::from_secs(3))?;
        }
        Ok(())
    }
    /// Operators do not hear some brokers, now and then, and Leases are renewed.
    pub(super) fn cut_some_off(&mut self) -> Result<()> {
        for _ in 0..3 {
            for at in 0..self.brokers() {
                let cut_off = self.random.happens(500);
                self.cut_off(at, cut_off);
            }
            let time = self.seconds(1, 30);
            self.pass(time)?;
        }
        (0..self.brokers()).for_each(|at| self.cut_off(at, false));
        Ok(())
    }

    /// Brokers serve on, and what is missing is said.
    pub(super) fn miss_objects(&mut self) -> Result<()> {
        let lost = self.take_objects()?;
        let time = self.seconds(2, 60);
        self.pass(time)?;
        let view = self.look()?;
        for object in &lost {
            let topic = view.topics.iter().find(|topic| topic.topic_name() == object.spec.topic_name);
            let said = topic.and_then(|topic| condition(topic, "Ready")).map(|condition| &*condition.reason);
            ensure!(said == Some("AssignmentsMissing"), "of {} is said {said:?}", object.spec.topic_name);
        }
        self.put_back(lost)?;
        self.pass(TOLD)
    }

    /// A broker that is stopped leads nothing and is in no ISR when it ends, which it does in time.
    pub(super) fn hand_over(&mut self, at: usize) -> Result<()> {
        self.heal()?;
        self.settle()?;
        self.tell(&format!("broker {at} is stopped, while all is well"));
        self.stop(at);
        let mut passed = Duration::ZERO;
        while self.hosts[at].process.is_some() {
            ensure!(passed < GRACE, "broker {at} does not stop");
            self.pass(TURN)?;
            passed += TURN;
        }
        let id = BrokerId(i32::try_from(at)?);
        let view = self.look()?;
        let is_free = |isr: &[IsrMember]| isr.iter().all(|member: &IsrMember| member.broker != id);
        let left = view.entries().find(|(_, entry)| entry.leader == Some(id) || !is_free(&entry.isr));
        ensure!(left.is_none(), "broker {at} has stopped, and still has a part in {left:?}");
        self.count(Fault::Drain);
        Ok(())
    }

    /// All that have a partition go down hard, and one of them stays away: the others have nothing, but continue after
    /// the order that the condition offers.
    pub(super) fn recover_by_order(&mut self) -> Result<()> {
        self.heal()?;
        let view = self.look()?;
        let entries: Vec<_> = view.entries().map(|(_, entry)| &entry.replicas).collect();
        let replicas = self.random.pick(&entries).copied().cloned().unwrap_or_default();
        let away = self.random.pick(&replicas).copied().context("there are replicas")?;
        self.tell(&format!("brokers {replicas:?} are killed; {away} stays away, and the others lose their volumes"));
        for id in &replicas {
            self.kill(usize::try_from(id.0)?);
        }
        for id in replicas.iter().filter(|id| **id != away) {
            self.empty_disk(*id)?;
            self.start(usize::try_from(id.0)?)?;
        }
        self.pass(NOTICED)?;
        self.until(HEALING, "an order is offered for each that waits", |_, view| {
            let offered: Vec<_> =
                view.topics.iter().filter_map(offer).flat_map(|(_, recovery)| given_up(&recovery)).collect();
            let is_offered = |waits: (Partition, LeaderEpoch)| offered.contains(&waits);
            view.entries()
                .all(|(partition, entry)| entry.leader.is_some() || is_offered((partition, entry.leader_epoch)))
        })?;
        let time = self.seconds(0, 30);
        self.pass(time)?;
        let topics: Api<KafkaTopic> = self.objects();
        for topic in self.look()?.topics {
            let Some((patch, recovery)) = offer(&topic) else { continue };
            self.count(Fault::RecoveryOrdered);
            self.tell(&format!("of {} an administrator orders {:?}", topic.name_any(), recovery.partitions));
            self.referee.lock().given_up.extend(given_up(&recovery));
            self.api.now(topics.patch(&topic.name_any(), &PatchParams::default(), &Patch::Merge(patch)))?;
        }
        self.until(HEALING, "everything is led", |_, view| view.entries().all(|(_, entry)| entry.leader.is_some()))
    }
}

/// What an administrator is offered to order: the patch, and what it says.
fn offer(topic: &KafkaTopic) -> Option<(Value, Recovery)> {
    let message = &condition(topic, "ReplicasHealthy")?.message;
    let (_, rest) = message.split_once("-p '")?;
    let patch: Value = serde_json::from_str(rest.split_once('\'')?.0).ok()?;
    let recovery = serde_json::from_value(patch.get("spec")?.get("recovery")?.clone()).ok()?;
    Some((patch, recovery))
}

/// The partitions that it is about, each with the leader epoch in which it waits.
fn given_up(recovery: &Recovery) -> Vec<(Partition, LeaderEpoch)> {
    let waits = |order: &RecoveryOrder| ((recovery.topic_id, order.partition), order.leader_epoch);
    recovery.partitions.iter().map(waits).collect()
}

fn condition<'a>(topic: &'a KafkaTopic, type_: &str) -> Option<&'a Condition> {
    topic.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}
