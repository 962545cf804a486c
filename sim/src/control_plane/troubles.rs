//! What goes wrong with the control plane.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use ottla_crds::{KafkaAssignment, names};

use super::door::Away;
use super::{CLUSTER, OPERATORS, Role, World};
use crate::fault::Fault;

/// How long the API server is away once in a while.
const AN_HOUR: Duration = Duration::from_secs(3600);
/// How many kinds of trouble there are.
const KINDS: usize = 13;

impl World {
    /// Something goes wrong, and time passes; whoever is gone may come back.
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
            _ => self.alone("frozen operators", Fault::OperatorOverloaded, World::overload)?,
        }
        let time = self.seconds(0, 15);
        self.pass(time)?;
        for at in 0..self.hosts.len() {
            if self.random.happens(300) {
                self.hosts[at].door.heal();
            }
            if self.random.happens(600) {
                self.start(at)?;
            }
        }
        Ok(())
    }

    fn tell(&self, what: &str) {
        self.trace.lock().tell(what);
    }

    fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    fn seconds(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((1000 * from + self.random.below(1000 * (to - from))) as u64)
    }

    fn freeze(&mut self, at: usize, time: Duration) {
        if let Some(process) = &mut self.hosts[at].process {
            process.freeze(time);
        }
    }

    fn dies_soon(&mut self, at: usize) {
        let writes = self.random.below(20);
        self.tell(&format!("host {at} dies with its write number {writes} from now"));
        self.hosts[at].door.dies_after(writes as u32);
    }

    fn be_away(&self, at: usize, away: Away) {
        self.hosts[at].door.change(|trouble| trouble.away = away);
        self.hosts[at].door.freeze_watches(away != Away::No);
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

    /// What it has seen it does not forget, whatever a list lacks: the referee would tell.
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

    /// One object or all are deleted by mistake, as with their definition. Nothing is placed anew, and they are put back as they were.
    fn lose_objects(&mut self) -> Result<()> {
        self.count(Fault::ObjectsDeleted);
        let objects: Api<KafkaAssignment> = self.objects();
        let mut lost = self.look()?.assignments;
        if self.random.happens(500) {
            lost = self.random.pick(&lost).cloned().into_iter().collect();
        }
        self.tell(&format!("{} assignments are deleted", lost.len()));
        for object in &lost {
            self.api.now(objects.delete(&object.name_any(), &DeleteParams::default()))?;
        }
        let time = self.seconds(1, 10);
        self.pass(time)?;
        let view = self.look()?;
        self.tell("they are put back");
        for object in lost {
            let is_there = view.assignments.iter().any(|other| other.spec.topic_name == object.spec.topic_name);
            ensure!(!is_there, "an object that was lost was placed anew");
            let mut again = KafkaAssignment::new(&object.name_any(), object.spec);
            again.metadata.labels = object.metadata.labels;
            self.api.now(objects.create(&PostParams::default(), &again))?;
        }
        Ok(())
    }

    /// What concerns only the API server or operators moves nobody: all is well, it is played, and nothing has changed.
    fn alone(&mut self, what: &str, fault: Fault, play: impl Fn(&mut World) -> Result<()>) -> Result<()> {
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
    fn leave(&mut self) -> Result<()> {
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

    fn trouble_watches(&mut self) -> Result<()> {
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

    fn overload(&mut self) -> Result<()> {
        for _ in 0..3 {
            let time = self.seconds(2, 30);
            (self.brokers()..self.hosts.len()).for_each(|at| self.freeze(at, time));
            self.pass(time + Duration::from_secs(3))?;
        }
        Ok(())
    }
}
