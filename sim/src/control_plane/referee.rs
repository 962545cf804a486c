//! What must always hold, whatever goes wrong: of every assignment that is written, and of what every broker has seen.

use std::collections::BTreeMap;

use kube::ResourceExt;
use ottla_crds::KafkaAssignment;
use ottla_crds::assignment::{Assignment, BrokerId, Incarnation, IsrMember};
use uuid::Uuid;

/// A topic's name and a partition's number.
pub type Partition = (String, i32);

/// `min.insync.replicas` of every topic.
pub const MIN_IN_SYNC: usize = 2;

/// Sees everything; `Always` of [`super`] is what it looks for.
#[derive(Default)]
pub struct Referee {
    /// What every broker that runs holds.
    pub incarnations: BTreeMap<BrokerId, Incarnation>,
    /// The partition epochs that every broker has seen.
    pub seen: BTreeMap<BrokerId, BTreeMap<Partition, i32>>,
    /// Objects as they were written last, by name.
    objects: BTreeMap<String, (u64, KafkaAssignment)>,
    topic_ids: BTreeMap<String, Uuid>,
    /// Who has led, by partition and leader epoch.
    led: BTreeMap<(Partition, i32), (BrokerId, Incarnation)>,
    wrong: Vec<String>,
}

impl Referee {
    /// A broker is killed. What it saw last it may not have written down; that it saw a partition at all it has.
    pub fn killed(&mut self, broker: BrokerId) {
        self.incarnations.remove(&broker);
        self.seen.entry(broker).or_default().values_mut().for_each(|epoch| *epoch = 0);
    }

    /// Something must not be.
    pub fn object(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// What was wrong since this was asked last.
    pub fn take_wrong(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrong)
    }

    /// An object was written. Its writer may hear of it late: then what was written since has been judged already.
    pub fn written(&mut self, object: KafkaAssignment) {
        let (name, version) = (object.name_any(), object.resource_version().and_then(|version| version.parse().ok()));
        let version = version.unwrap_or_default();
        let known = self.objects.get(&name);
        if known.is_some_and(|(known, _)| *known >= version) {
            return;
        }
        let spec = &object.spec;
        let topic_id = *self.topic_ids.entry(spec.topic_name.clone()).or_insert(spec.topic_id);
        if topic_id != spec.topic_id {
            self.wrong.push(format!("the topic {} was placed anew", spec.topic_name));
        }
        if spec.deleted {
            self.wrong.push(format!("{name} bears a tombstone, and nobody has deleted its topic"));
        }
        if let Some((_, before)) = known {
            for entry in &before.spec.partitions {
                let next = spec.partitions.iter().find(|next| next.partition == entry.partition);
                if let Some(why) = next.map_or(Some("vanished"), |next| forbidden(entry, next)) {
                    self.wrong.push(format!("{why}: {entry:?}, and then {next:?}"));
                }
            }
        }
        self.objects.insert(name, (version, object));
    }

    /// A broker sees these entries, each with its topic's name.
    pub fn sees<'a>(
        &mut self,
        broker: BrokerId,
        me: Incarnation,
        entries: impl Iterator<Item = (String, &'a Assignment)>,
    ) {
        let mut seen = BTreeMap::new();
        for (topic, entry) in entries {
            let partition = (topic, entry.partition);
            if entry.may_lead(broker, me, None) {
                let leads = (broker, me);
                let first = *self.led.entry((partition.clone(), entry.leader_epoch)).or_insert(leads);
                if first != leads {
                    self.wrong.push(format!("{first:?} and {leads:?} lead {entry:?}"));
                }
            }
            seen.insert(partition, entry.partition_epoch);
        }
        for (partition, epoch) in self.seen.insert(broker, seen.clone()).unwrap_or_default() {
            let now = seen.get(&partition);
            // What is others' it may forget: their deletion may have been missed.
            let was_mine = || self.holds(broker, &partition);
            if now.map_or_else(was_mine, |now| *now < epoch) {
                self.wrong.push(format!("broker {broker} has seen {partition:?} at {epoch}, and then {now:?}"));
            }
        }
    }

    fn holds(&self, broker: BrokerId, (topic, partition): &Partition) -> bool {
        let objects = self.objects.values().map(|(_, object)| &object.spec).filter(|spec| spec.topic_name == *topic);
        let mut entries = objects.flat_map(|spec| &spec.partitions).filter(|entry| entry.partition == *partition);
        entries.any(|entry| entry.replicas.contains(&broker))
    }

    /// Whether all replicas are in sync with what they hold now.
    pub fn is_in_sync(&self, entry: &Assignment) -> bool {
        let is_member = |broker: &BrokerId| {
            let member = |incarnation: &Incarnation| IsrMember { broker: *broker, incarnation: *incarnation };
            self.incarnations.get(broker).is_some_and(|incarnation| entry.isr.contains(&member(incarnation)))
        };
        entry.leader.is_some() && entry.replicas.iter().all(is_member)
    }
}

/// Why an entry must not change so.
fn forbidden(before: &Assignment, next: &Assignment) -> Option<&'static str> {
    let leader_is_in_sync = next.leader.is_none_or(|leader| next.isr.iter().any(|member| member.broker == leader));
    // Where nobody leads, a recovery begins with the one who has most.
    let shrinks = next.isr.len() < before.isr.len() && before.leader.is_some();
    match () {
        () if before == next => None,
        () if next.leader_epoch < before.leader_epoch => Some("a leader epoch fell"),
        () if next.partition_epoch <= before.partition_epoch => Some("a change without a new partition epoch"),
        () if next.leader != before.leader && next.leader_epoch == before.leader_epoch => {
            Some("a leader changed within its epoch")
        }
        () if !leader_is_in_sync => Some("a leader out of sync"),
        () if shrinks && next.isr.len() < next.floor(MIN_IN_SYNC) => Some("an ISR below its floor"),
        () => None,
    }
}
