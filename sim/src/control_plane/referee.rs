//! What must always hold, whatever goes wrong: of every assignment that is written, and of what every broker has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use ottla_broker::image::ClusterImage;
use ottla_crds::KafkaAssignment;
use ottla_rules::assignment::{Assignment, BrokerId, Epochs, Incarnation, IsrMember, LeaderEpoch, PartitionEpoch};
use uuid::Uuid;

/// A topic's id and a partition's number.
pub(super) type Partition = (Uuid, i32);

/// `min.insync.replicas` of every topic.
pub(super) const MIN_IN_SYNC: usize = 2;
/// By then a broker has written down what it has seen.
pub(super) const COPIED: Duration = Duration::from_secs(1);

/// Sees everything; `Always` of [`super`] is what it looks for.
#[derive(Default)]
pub(super) struct Referee {
    /// What every broker that runs holds.
    pub incarnations: BTreeMap<BrokerId, Incarnation>,
    /// The partition epochs that every broker has seen.
    pub seen: BTreeMap<BrokerId, BTreeMap<Partition, PartitionEpoch>>,
    /// Since when each broker has seen a partition.
    since: BTreeMap<(BrokerId, Partition), Duration>,
    now: Duration,
    /// What every broker that runs has been shown last.
    images: BTreeMap<BrokerId, Arc<ClusterImage>>,
    /// What brokers have files of on their disks.
    pub files: BTreeSet<(BrokerId, Partition)>,
    /// Every entry that ever was, since an API server that was set back may be given any of them again.
    history: BTreeSet<(Partition, LeaderEpoch, PartitionEpoch, u64)>,
    /// Objects as they were written last, by name.
    objects: BTreeMap<String, (u64, KafkaAssignment)>,
    /// Which topic has a name.
    topic_ids: BTreeMap<String, Uuid>,
    /// Topics that somebody has deleted.
    ended: BTreeSet<Uuid>,
    /// What administrators have ordered: partitions, each in a leader epoch.
    pub given_up: BTreeSet<(Partition, LeaderEpoch)>,
    /// Who has led, by partition and leader epoch.
    led: BTreeMap<(Partition, LeaderEpoch), (BrokerId, Incarnation)>,
    wrong: Vec<String>,
}

impl Referee {
    /// Time has passed.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// A broker is killed. What it saw last it may not have written down, but that there is a partition, if it has seen
    /// that for long enough.
    pub(super) fn killed(&mut self, broker: BrokerId) {
        self.incarnations.remove(&broker);
        self.images.remove(&broker);
        let seen = self.seen.entry(broker).or_default();
        let since = |partition: &Partition| self.since.get(&(broker, *partition)).copied().unwrap_or(self.now);
        seen.retain(|partition, _| self.now.saturating_sub(since(partition)) >= COPIED);
        seen.values_mut().for_each(|epoch| *epoch = PartitionEpoch::FIRST);
        self.since.retain(|(who, partition), _| *who != broker || seen.contains_key(partition));
    }

    /// A broker's disk is lost, and with it all that the broker has ever seen.
    pub(super) fn lost_disk(&mut self, broker: BrokerId) {
        self.seen.remove(&broker);
        self.since.retain(|(who, _), _| *who != broker);
        self.files.retain(|(holder, _)| *holder != broker);
    }

    /// Somebody deletes the topic of this name, whose object has this uid.
    pub(super) fn deletes(&mut self, name: &str, uid: Uuid) {
        self.ended.extend(self.topic_ids.get(name).copied().into_iter().chain([uid]));
    }

    /// Whether a topic was deleted.
    pub(super) fn has_ended(&self, topic: Uuid) -> bool {
        self.ended.contains(&topic)
    }

    /// What a broker that runs knows; none of one that is not there, or has only just been started.
    pub(super) fn known_to(&self, broker: BrokerId) -> Option<BTreeMap<Partition, Assignment>> {
        let image = self.images.get(&broker)?;
        let topics = image.topics.values().chain(image.deleted.values());
        let entries = topics.flat_map(|topic| topic.partitions.iter().map(|entry| (topic.id, entry)));
        Some(entries.map(|(topic, entry)| ((topic, entry.partition), entry.clone())).collect())
    }

    /// The API server was restored from a backup: versions begin there again. What it or a broker still knows must stay
    /// true; what nobody knows is lost with the backup.
    pub(super) fn set_back(&mut self, to: &[KafkaAssignment], known: &[BTreeMap<Partition, Assignment>]) {
        for (name, (version, object)) in &mut self.objects {
            *version = 0;
            let shown = to.iter().find(|shown| shown.name_any() == *name);
            for entry in &mut object.spec.partitions {
                let partition = (object.spec.topic_id, entry.partition);
                let shown = shown.iter().flat_map(|shown| &shown.spec.partitions);
                let shown = shown.filter(|shown| shown.partition == entry.partition);
                let known = known.iter().filter_map(|known| known.get(&partition));
                let Some(newest) = shown.chain(known).max_by_key(|entry| entry.epochs()) else { continue };
                let is_lost = |epochs: Epochs| epochs > newest.epochs();
                if is_lost(entry.epochs()) {
                    self.led.retain(|(led, epoch), _| *led != partition || *epoch <= newest.leader_epoch);
                    self.history.retain(|&(other, leader, epoch, _)| {
                        other != partition || !is_lost(Epochs { leader, partition: epoch })
                    });
                    *entry = newest.clone();
                }
            }
        }
    }

    /// Something must not be.
    pub(super) fn object(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// What was wrong since this was asked last.
    pub(super) fn take_wrong(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrong)
    }

    /// An object was written. Its writer may hear of it late: then what was written since has been judged already.
    pub(super) fn written(&mut self, object: KafkaAssignment) {
        let (name, version) = (object.name_any(), object.resource_version().and_then(|version| version.parse().ok()));
        let version = version.unwrap_or_default();
        let known = self.objects.get(&name);
        if known.is_some_and(|(known, _)| *known >= version) {
            return;
        }
        let spec = &object.spec;
        if !spec.deleted {
            let before = self.topic_ids.insert(spec.topic_name.clone(), spec.topic_id);
            if before.is_some_and(|before| before != spec.topic_id && !self.ended.contains(&before)) {
                self.wrong.push(format!("the topic {} was placed again", spec.topic_name));
            }
        } else if !self.ended.contains(&spec.topic_id) {
            self.wrong.push(format!("{name} has a tombstone, and nobody has deleted its topic"));
        }
        if let Some((_, before)) = known {
            if before.spec.deleted && !spec.deleted {
                self.wrong.push(format!("{name} has lost its tombstone"));
            }
            for entry in &before.spec.partitions {
                let next = spec.partitions.iter().find(|next| next.partition == entry.partition);
                let is_given_up = self.given_up.contains(&((spec.topic_id, entry.partition), entry.leader_epoch));
                let is_put_back = |next: &Assignment| {
                    next.epochs() < entry.epochs()
                        && self.history.contains(&trace_of((spec.topic_id, next.partition), next))
                };
                let why = match next {
                    Some(next) if is_put_back(next) => None,
                    None => Some("vanished"),
                    // Replica after replica has gone.
                    Some(_) if spec.deleted => None,
                    Some(next) => forbidden(entry, next, is_given_up),
                };
                if let Some(why) = why {
                    self.wrong.push(format!("{why}: {entry:?}, and then {next:?}"));
                }
            }
        }
        for entry in &spec.partitions {
            self.history.insert(trace_of((spec.topic_id, entry.partition), entry));
        }
        // What comes back of the past is judged by the newest that ever was.
        let mut newest = object;
        for entry in &mut newest.spec.partitions {
            let before =
                known.and_then(|(_, before)| before.spec.partitions.iter().find(|b| b.partition == entry.partition));
            if let Some(before) = before.filter(|before| before.epochs() > entry.epochs()) {
                *entry = before.clone();
            }
        }
        self.objects.insert(name, (version, newest));
    }

    /// A broker sees these entries of an image.
    pub(super) fn sees<'a>(
        &mut self,
        broker: BrokerId,
        me: Incarnation,
        image: &Arc<ClusterImage>,
        entries: impl Iterator<Item = (Partition, &'a Assignment)>,
    ) {
        self.images.insert(broker, Arc::clone(image));
        let mut seen = BTreeMap::new();
        for (partition, entry) in entries {
            if entry.may_lead(broker, me, None) {
                let leads = (broker, me);
                let first = *self.led.entry((partition, entry.leader_epoch)).or_insert(leads);
                if first != leads {
                    self.wrong.push(format!("{first:?} and {leads:?} lead {entry:?}"));
                }
            }
            seen.insert(partition, entry.partition_epoch);
            self.since.entry((broker, partition)).or_insert(self.now);
        }
        self.since.retain(|(who, partition), _| *who != broker || seen.contains_key(partition));
        for (partition, epoch) in self.seen.insert(broker, seen.clone()).unwrap_or_default() {
            let now = seen.get(&partition);
            // What is others' it may forget: their deletion may have been missed.
            let was_mine = || self.holds(broker, &partition);
            if now.map_or_else(was_mine, |now| *now < epoch) {
                self.wrong.push(format!("broker {broker} has seen {partition:?} at {epoch}, and then {now:?}"));
            }
        }
    }

    /// A broker knows that it holds this, and removes its files of partitions of which it knows that they are gone.
    pub(super) fn keeps(&mut self, broker: BrokerId, held: BTreeSet<Partition>, is_gone: impl Fn(&Partition) -> bool) {
        for (_, (topic, partition)) in self.files.extract_if(.., |(holder, file)| *holder == broker && is_gone(file)) {
            if !self.ended.contains(&topic) {
                self.wrong.push(format!("broker {broker} removes {topic}-{partition}, which nobody has deleted"));
            }
        }
        self.files.extend(held.into_iter().map(|file| (broker, file)));
    }

    fn holds(&self, broker: BrokerId, (topic, partition): &Partition) -> bool {
        let standing = self.objects.values().map(|(_, object)| &object.spec).filter(|spec| !spec.deleted);
        let objects = standing.filter(|spec| spec.topic_id == *topic);
        let mut entries = objects.flat_map(|spec| &spec.partitions).filter(|entry| entry.partition == *partition);
        entries.any(|entry| entry.replicas.contains(&broker))
    }

    /// Whether all replicas are in sync with what they hold now.
    pub(super) fn is_in_sync(&self, entry: &Assignment) -> bool {
        let is_member = |broker: &BrokerId| {
            let member = |incarnation: &Incarnation| IsrMember { broker: *broker, incarnation: *incarnation };
            self.incarnations.get(broker).is_some_and(|incarnation| entry.isr.contains(&member(incarnation)))
        };
        entry.leader.is_some() && entry.replicas.iter().all(is_member)
    }
}

/// An entry in few bytes.
fn trace_of(partition: Partition, entry: &Assignment) -> (Partition, LeaderEpoch, PartitionEpoch, u64) {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    entry.hash(&mut hasher);
    (partition, entry.leader_epoch, entry.partition_epoch, hasher.finish())
}

/// Why an entry must not change so.
fn forbidden(before: &Assignment, next: &Assignment, is_given_up: bool) -> Option<&'static str> {
    let leader_is_in_sync = next.leader.is_none_or(|leader| next.isr.iter().any(|member| member.broker == leader));
    // Where nobody leads, a recovery begins with the one who has most.
    let shrinks = next.isr.len() < before.isr.len() && before.leader.is_some();
    // One change alone: a report that was written between is not known here.
    let recovers = before.leader.is_none()
        && next.leader.is_some()
        && next.partition_epoch.follows(before.partition_epoch)
        && !before.isr.iter().any(|member| next.isr.contains(member));
    let has_reported = |member: &IsrMember| before.reports.iter().any(|report| report.broker == member.broker);
    match () {
        () if before == next => None,
        () if next.leader_epoch < before.leader_epoch => Some("a leader epoch fell"),
        () if next.partition_epoch <= before.partition_epoch => Some("a change without a new partition epoch"),
        () if next.leader != before.leader && next.leader_epoch == before.leader_epoch => {
            Some("a leader changed within its epoch")
        }
        () if !leader_is_in_sync => Some("a leader out of sync"),
        () if shrinks && next.isr.len() < next.floor(MIN_IN_SYNC) => Some("an ISR below its floor"),
        () if recovers && !before.isr.iter().all(has_reported) && !is_given_up => {
            Some("an in-sync replica was dropped without an order")
        }
        () => None,
    }
}
