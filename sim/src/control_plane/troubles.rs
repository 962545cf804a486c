//! What goes wrong with the control plane, one thing upon another.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use ottla_broker::coord::copy;
use ottla_crds::{KafkaAssignment, KafkaTopic, names};
use ottla_rules::assignment::{Assignment, BrokerId};

use super::broker::port;
use super::door::Away;
use super::referee::{COPIED, Partition};
use super::{CLUSTER, OPERATORS, Role, World};
use crate::fault::Fault;

/// How many kinds of trouble there are.
const KINDS: usize = 24;
/// An API server is not restored sooner from a backup: every Lease has been renewed since.
const RESTORED_AFTER: Duration = Duration::from_secs(5);
/// Topics that come and go; the first is there when it begins.
const FLEETING: [&str; 2] = ["fleeting", "passing"];

impl World {
    /// Something goes wrong, and time passes; a broker that is gone may come back.
    pub(super) fn trouble(&mut self) -> Result<()> {
        let (broker, host) = (self.random.below(self.brokers()), self.random.below(self.hosts.len()));
        let operator = self.brokers() + self.random.below(OPERATORS);
        match self.random.below(KINDS) {
            0 => {
                self.tell(&format!("broker {broker} is killed"));
                self.kill(broker);
            }
            1 => {
                let time = self.seconds(1, 30);
                self.tell(&format!("broker {broker} is frozen for {time:?}"));
                self.freeze(broker, time);
            }
            2 => {
                self.tell("an operator is killed");
                self.kill(operator);
            }
            3 => self.dies_soon(operator),
            4 => self.dies_soon(host),
            5 => self.lose_lease(broker)?,
            6 => self.restart_with_a_list_that_lacks_one(broker)?,
            7 => self.lose_objects()?,
            8 => {
                let away = if self.random.happens(500) { Away::Silent } else { Away::Refusing };
                self.tell(&format!("the API server is away ({away:?}) for host {host}"));
                self.be_away(host, away);
            }
            9 => self.everybody_is_troubled(),
            10 => self.alone("the API server's absence", Fault::ApiAway, World::leave)?,
            11 => self.alone("watches", Fault::WatchTrouble, World::trouble_watches)?,
            12 => self.alone("frozen operators", Fault::OperatorOverloaded, World::overload)?,
            13 => self.alone("cuts between operators and brokers", Fault::OperatorCutOff, World::cut_some_off)?,
            14 => self.alone("the loss of objects", Fault::ObjectsDeleted, World::miss_objects)?,
            15 => {
                self.tell(&format!("operators do not reach broker {broker}"));
                self.cut_off(broker, true);
            }
            16 => {
                self.tell(&format!("broker {broker} is stopped"));
                self.stop(broker);
            }
            17 => self.hand_over(broker)?,
            18 => self.lose_volume(broker)?,
            19 => self.recover_by_order()?,
            20 => self.make_or_delete_a_topic()?,
            21 | 22 => self.set_back()?,
            _ => {
                for _ in 0..3 {
                    self.make_or_delete_a_topic()?;
                    let time = self.seconds(0, 2);
                    self.pass(time)?;
                }
            }
        }
        let time = self.seconds(0, 15);
        self.pass(time)?;
        for at in 0..self.hosts.len() {
            if self.random.happens(300) {
                self.hosts[at].door.heal();
                self.cut_off(at, false);
            }
            if self.random.happens(600) {
                self.start(at)?;
            }
        }
        Ok(())
    }

    pub(super) fn tell(&self, what: &str) {
        self.trace.lock().tell(what);
    }

    pub(super) fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    pub(super) fn seconds(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((1000 * from + self.random.below(1000 * (to - from))) as u64)
    }

    pub(super) fn freeze(&mut self, at: usize, time: Duration) {
        if let Some(process) = &mut self.hosts[at].process {
            process.freeze(time);
        }
    }

    fn dies_soon(&mut self, at: usize) {
        let writes = self.random.below(20);
        self.tell(&format!("host {at} dies with its write number {writes} from now"));
        self.hosts[at].door.dies_after(writes as u32);
    }

    pub(super) fn be_away(&self, at: usize, away: Away) {
        self.hosts[at].door.change(|trouble| trouble.away = away);
        self.hosts[at].door.freeze_watches(away != Away::No);
    }

    /// Between operators and a broker alone.
    pub(super) fn cut_off(&self, at: usize, cut_off: bool) {
        if let Role::Broker(id) = self.hosts[at].role {
            self.network.cut_off(port(id), cut_off);
        }
    }

    fn everybody_is_troubled(&mut self) {
        let conflicts = 100 * self.random.below(4);
        let lost_answers = 50 * self.random.below(4);
        let slow_ms = 500 * self.random.below(4);
        self.tell(&format!("{conflicts} conflicts and {lost_answers} lost answers in 1000, up to {slow_ms} ms each"));
        for host in &self.hosts {
            host.door.change(|trouble| {
                (trouble.conflicts, trouble.lost_answers, trouble.slow_ms) = (conflicts, lost_answers, slow_ms);
            });
        }
    }

    /// Somebody deletes a broker's Lease, or puts back what it said before.
    fn lose_lease(&mut self, at: usize) -> Result<()> {
        let Role::Broker(id) = self.hosts[at].role else { return Ok(()) };
        let (leases, name): (Api<Lease>, _) = (self.objects(), names::broker(CLUSTER, id));
        let Some(old) = self.api.now(leases.get_opt(&name))? else { return Ok(()) };
        self.count(Fault::LeaseTrouble);
        if self.random.happens(500) {
            self.tell(&format!("the Lease of broker {id} is deleted"));
            self.api.now(leases.delete(&name, &DeleteParams::default()))?;
            return Ok(());
        }
        if self.random.happens(500) {
            self.kill(at);
            self.start(at)?;
        }
        let time = self.seconds(3, 12);
        self.pass(time)?;
        if let Some(now) = self.api.now(leases.get_opt(&name))? {
            self.tell(&format!("the Lease of broker {id} is put back as it was {time:?} ago"));
            let mut restored = old;
            restored.metadata.resource_version = now.metadata.resource_version;
            restored.metadata.uid = now.metadata.uid;
            self.api.now(leases.replace(&name, &PostParams::default(), &restored))?;
        }
        Ok(())
    }

    /// What it has seen it does not forget, whatever a list lacks: the referee would see it.
    fn restart_with_a_list_that_lacks_one(&mut self, at: usize) -> Result<()> {
        self.count(Fault::TopicMissing);
        self.tell(&format!("broker {at} is killed, and starts with a list that lacks an object"));
        self.kill(at);
        self.hosts[at].door.change(|trouble| trouble.lists_lack_one = true);
        self.start(at)?;
        self.pass(Duration::from_secs(10))?;
        self.hosts[at].door.change(|trouble| trouble.lists_lack_one = false);
        self.server.faults().expire_watches();
        Ok(())
    }

    /// One object or all are deleted by mistake, as with their definition. Nothing is placed again, and they are
    /// restored as they were.
    fn lose_objects(&mut self) -> Result<()> {
        self.count(Fault::ObjectsDeleted);
        let lost = self.take_objects()?;
        let time = self.seconds(1, 10);
        self.pass(time)?;
        self.put_back(lost)
    }

    /// Without those of topics that are being deleted: without its tombstone such a topic is gone at once.
    pub(super) fn take_objects(&mut self) -> Result<Vec<KafkaAssignment>> {
        let objects: Api<KafkaAssignment> = self.objects();
        let mut lost = self.look()?.assignments;
        lost.retain(|object| !self.referee.lock().has_ended(object.spec.topic_id));
        if self.random.happens(500) {
            lost = self.random.pick(&lost).cloned().into_iter().collect();
        }
        self.tell(&format!("{} assignments are deleted", lost.len()));
        for object in &lost {
            self.api.now(objects.delete(&object.name_any(), &DeleteParams::default()))?;
        }
        Ok(lost)
    }

    pub(super) fn put_back(&mut self, lost: Vec<KafkaAssignment>) -> Result<()> {
        let objects: Api<KafkaAssignment> = self.objects();
        // The tombstone of an earlier topic may have the name, too.
        let mut standing = self.look()?.assignments;
        standing.retain(|object| !self.referee.lock().has_ended(object.spec.topic_id));
        self.tell("they are put back");
        for object in lost {
            let is_there = standing.iter().any(|other| other.spec.topic_name == object.spec.topic_name);
            ensure!(!is_there, "an object that was lost was placed again");
            let mut again = KafkaAssignment::new(&object.name_any(), object.spec);
            again.metadata.labels = object.metadata.labels;
            self.api.now(objects.create(&PostParams::default(), &again))?;
        }
        Ok(())
    }

    /// The API server is restored from a backup, with brokers and operators up or down. What was elected and moved
    /// since is put back by those who know it. Of these one is always up, or all go and come together: who alone knows
    /// more and is away is not waited for.
    fn set_back(&mut self) -> Result<()> {
        self.heal()?;
        self.count(Fault::ApiSetBack);
        self.tell("a backup of the API server is made");
        let (backup, then) = (self.server.faults().snapshot(), self.look()?.assignments);
        self.pass(RESTORED_AFTER)?;
        for _ in 0..1 + self.random.below(4) {
            let at = self.random.below(self.hosts.len());
            if self.is_last_broker(at) {
                continue;
            }
            self.tell(&format!("host {at} is killed"));
            self.kill(at);
            let time = self.seconds(0, 12);
            self.pass(time)?;
            if self.random.happens(600) {
                self.start(at)?;
                let time = self.seconds(0, 12);
                self.pass(time)?;
            }
        }
        let all_stop = self.random.happens(150);
        if all_stop {
            self.tell("all hosts are killed");
            (self.brokers()..self.hosts.len()).for_each(|at| self.kill(at));
        }
        // Who is up has seen everything by then.
        self.pass(COPIED)?;
        if all_stop {
            (0..self.brokers()).for_each(|at| self.kill(at));
        }
        let silently = self.random.happens(500);
        self.tell(&format!("the API server is set back; watches from the future are silent: {silently}"));
        let known = self.known_to_brokers()?;
        self.server.faults().set_back(&backup, silently);
        self.referee.lock().set_back(&then, &known);
        let time = self.seconds(0, 20);
        self.pass(time)?;
        for at in 0..self.hosts.len() {
            self.start(at)?;
            let time = if all_stop { self.seconds(0, 1) } else { self.seconds(0, 3) };
            self.pass(time)?;
        }
        self.heal()
    }

    fn is_last_broker(&self, at: usize) -> bool {
        let mut others = (0..self.brokers()).filter(|other| *other != at);
        at < self.brokers() && !others.any(|other| self.hosts[other].process.is_some())
    }

    /// What each knows, or finds in its copy when it starts.
    fn known_to_brokers(&self) -> Result<Vec<BTreeMap<Partition, Assignment>>> {
        let known = |at: usize| {
            let id = BrokerId(i32::try_from(at)?);
            if let Some(known) = self.referee.lock().known_to(id) {
                return Ok(known);
            }
            let copy = copy::read(&self.dir.join(id.to_string()))?.unwrap_or_default();
            let specs = copy.assignments.values().map(|object| &object.spec);
            let entries = specs.flat_map(|spec| spec.partitions.iter().map(|entry| (spec.topic_id, entry)));
            Ok(entries.map(|(topic, entry)| ((topic, entry.partition), entry.clone())).collect())
        };
        (0..self.brokers()).map(known).collect()
    }

    /// A broker begins with an empty disk.
    fn lose_volume(&mut self, at: usize) -> Result<()> {
        let Role::Broker(id) = self.hosts[at].role else { return Ok(()) };
        self.count(Fault::VolumeLost);
        self.tell(&format!("broker {id} is killed, and its volume is lost"));
        self.kill(at);
        self.empty_disk(id)
    }

    pub(super) fn empty_disk(&self, id: BrokerId) -> Result<()> {
        match std::fs::remove_dir_all(self.dir.join(id.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {} // it may be empty still
        }
        self.referee.lock().lost_disk(id);
        Ok(())
    }

    /// A topic that is not there is made; one that is there is deleted, ready or not. Its name may be another's
    /// afterwards.
    fn make_or_delete_a_topic(&mut self) -> Result<()> {
        let name = FLEETING[self.random.below(FLEETING.len())];
        let topics: Api<KafkaTopic> = self.objects();
        let Some(topic) = self.api.now(topics.get_opt(name))? else {
            let partitions = 1 + self.random.below(6);
            self.tell(&format!("the topic {name} is made, with {partitions} partitions"));
            return self.create_topic(name, i32::try_from(partitions)?);
        };
        // Else its end is waited for.
        if self.topics.remove(name).is_some() {
            self.count(Fault::TopicDeleted);
            self.tell(&format!("the topic {name} is deleted"));
            self.referee.lock().deletes(name, topic.uid().unwrap_or_default().parse()?);
            self.api.now(topics.delete(name, &DeleteParams::default()))?;
        }
        Ok(())
    }
}
