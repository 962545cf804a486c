//! Requests of Kafka's admin API about topics, as changes of KafkaTopic objects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use ottla_crds::{ClusterRef, DeletionPolicy, KafkaTopic, KafkaTopicSpec, Placement, PreferredElection, names};
use ottla_kube::change;
use ottla_wire::ErrorCode;
use uuid::Uuid;

use super::{AttemptError, Desk, Granted, refuse};
use crate::ask::{AskRefusal, NewTopic, Swap};
use crate::env;
use crate::image::{Assignment, BrokerId, ClusterImage, Topic};

/// How long a topic may be in the image after its KafkaTopic is gone: the tombstone was set before.
const GOING: Duration = Duration::from_secs(1);

impl Desk {
    pub(super) async fn create_topic(&self, wanted: &NewTopic) -> Result<Granted<Uuid>, AttemptError> {
        let image = self.images.borrow().clone();
        let partitions = wanted.partitions.unwrap_or(image.settings.num_partitions);
        let factor = wanted.replication_factor.unwrap_or(image.settings.default_replication_factor);
        // This broker is one, even if the image does not show it yet.
        let brokers = image.members().count().max(1);
        if usize::try_from(factor).is_ok_and(|factor| factor > brokers) {
            let message = format!("Unable to replicate the partition {factor} time(s): there are {brokers} broker(s).");
            return Err(refuse(ErrorCode::INVALID_REPLICATION_FACTOR, message));
        }
        if let Some(other) = image.colliding(&wanted.name) {
            let message = format!("Topic '{}' collides with existing topic: {other}", wanted.name);
            return Err(refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
        }
        let created = self.create_object(wanted, partitions, factor).await?;
        let uid = created.uid().and_then(|uid| Uuid::parse_str(&uid).ok()).unwrap_or_default();
        let (name, config) = (wanted.name.clone(), wanted.config.clone());
        // The topic's id is its object's uid, so an earlier topic of the same name is not mistaken for it.
        Ok(Granted::when(uid, move |image| {
            image
                .topic(&name)
                .is_some_and(|topic| topic.id == uid && is_led(topic, partitions) && topic.config == config)
        }))
    }

    /// With the defaults of this moment: the answer, and the wait for it, follow what the object says, also if another
    /// client changes it meanwhile.
    async fn create_object(&self, wanted: &NewTopic, partitions: i32, factor: i16) -> Result<KafkaTopic, AttemptError> {
        let mut name = names::topic(&self.cluster_name, &wanted.name);
        let suffixed = names::topic_with_suffix(&self.cluster_name, &wanted.name);
        loop {
            let spec = KafkaTopicSpec {
                cluster_ref: ClusterRef { name: self.cluster_name.clone() },
                topic_name: (name != *wanted.name).then(|| wanted.name.to_string()),
                partitions: Some(partitions),
                replication_factor: Some(i32::from(factor)),
                placement: placement(0, &wanted.assignments),
                config: wanted.config.clone(),
                ..KafkaTopicSpec::default()
            };
            // The operator would add it first.
            let finalizers = Some(vec![KafkaTopic::FINALIZER.to_owned()]);
            let metadata = ObjectMeta { name: Some(name.clone()), finalizers, ..ObjectMeta::default() };
            let object = KafkaTopic { metadata, spec, status: None };
            match self.topics.create(&PostParams::default(), &object).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    let Some(other) = self.topics.get_opt(&name).await? else { return Err(AttemptError::Again) };
                    let same = other.topic_name() == &*wanted.name && self.is_ours(&other);
                    match () {
                        // It is being deleted.
                        () if same && other.metadata.deletion_timestamp.is_some() => return Err(AttemptError::Again),
                        () if same || name == suffixed => {
                            let message = format!("Topic '{}' already exists.", wanted.name);
                            return Err(refuse(ErrorCode::TOPIC_ALREADY_EXISTS, message));
                        }
                        () => name.clone_from(&suffixed),
                    }
                }
                created => return Ok(created?),
            }
        }
    }

    pub(super) async fn delete_topic(&self, topic_id: Uuid) -> Result<Granted<()>, AttemptError> {
        let gone = move |image: &ClusterImage| !image.topics.contains_key(&topic_id);
        if gone(&self.images.borrow()) {
            return Ok(Granted::at_once(()));
        }
        let topic = self.object(topic_id).await?;
        if topic.spec.deletion_policy == DeletionPolicy::Retain {
            let message = format!("The deletionPolicy of the KafkaTopic {} is Retain.", topic.name_any());
            return Err(refuse(ErrorCode::POLICY_VIOLATION, message));
        }
        let preconditions = Preconditions { uid: topic.uid(), resource_version: None };
        let this_one = DeleteParams::default().preconditions(preconditions);
        match self.topics.delete(&topic.name_any(), &this_one).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            deleted => drop(deleted?),
        }
        Ok(Granted::when((), gone))
    }

    pub(super) async fn create_partitions(
        &self,
        topic_id: Uuid,
        count: i32,
        assignments: &[Vec<BrokerId>],
    ) -> Result<Granted<()>, AttemptError> {
        let read = self.object(topic_id).await?;
        let mut topic = read.clone();
        let first = count - assignments.len() as i32;
        let placement = placement(first, assignments);
        let grown = topic.spec.partitions.is_some_and(|partitions| partitions >= count);
        let image = self.images.borrow().clone();
        // The operator removes a placement when the partition is there.
        let is_there = |wanted: &Placement| {
            let partitions = image.topics.get(&topic_id).map(|topic| &topic.partitions);
            let entry = partitions.and_then(|partitions| partitions.get(usize::try_from(wanted.partition).ok()?));
            entry.is_some_and(|entry| entry.replicas == wanted.replicas)
        };
        if !grown || placement.iter().any(|wanted| !topic.spec.placement.contains(wanted) && !is_there(wanted)) {
            // Another writer was faster: the partitions of these assignments exist elsewhere.
            if let Some(partitions) = topic.spec.partitions.filter(|partitions| *partitions > first) {
                let message =
                    format!("The KafkaTopic of {} already asks for {partitions} partition(s).", topic.topic_name());
                return Err(refuse(ErrorCode::INVALID_PARTITIONS, message));
            }
            topic.spec.partitions = Some(count);
            topic.spec.placement.extend(placement);
            self.swap(&read, &topic).await?;
        }
        Ok(Granted::when((), move |image| image.topics.get(&topic_id).is_some_and(|topic| is_led(topic, count))))
    }

    pub(super) async fn move_partitions(
        &self,
        topic_id: Uuid,
        targets: &BTreeMap<i32, Vec<BrokerId>>,
    ) -> Result<Granted<()>, AttemptError> {
        let read = self.object(topic_id).await?;
        let mut topic = read.clone();
        let before = topic.spec.placement.clone();
        topic.spec.placement.retain(|placement| !targets.contains_key(&placement.partition));
        let wanted = targets.iter().map(|(partition, replicas)| once(*partition, replicas));
        topic.spec.placement.extend(wanted);
        topic.spec.placement.sort_by_key(|placement| placement.partition);
        if topic.spec.placement != before {
            self.swap(&read, &topic).await?;
        }
        let targets = targets.clone();
        Ok(Granted::when((), move |image| {
            all_entries(image, topic_id, targets.iter().map(|(p, t)| (*p, t)), |entry, target| {
                entry.target() == **target
            })
        }))
    }

    pub(super) async fn elect_preferred(
        &self,
        topic_id: Uuid,
        partitions: &[i32],
    ) -> Result<Granted<()>, AttemptError> {
        let read = self.object(topic_id).await?;
        let mut topic = read.clone();
        let held = topic.status.as_ref().and_then(|status| status.preferred_election.as_ref());
        let waiting = topic.spec.preferred_election.take().filter(|wish| held != Some(&wish.id));
        let mut together: BTreeSet<i32> = waiting.into_iter().flat_map(|wish| wish.partitions).collect();
        together.extend(partitions);
        let id = env::random_uuid().to_string();
        topic.spec.preferred_election = Some(PreferredElection { id, partitions: together.into_iter().collect() });
        self.swap(&read, &topic).await?;
        let partitions = partitions.to_vec();
        Ok(Granted::when((), move |image| {
            all_entries(image, topic_id, partitions.iter().map(|p| (*p, ())), |entry, ()| entry.is_led_by_preferred())
        }))
    }

    pub(super) async fn set_topic_config(
        &self,
        topic_id: Uuid,
        from: &BTreeMap<String, String>,
        to: &BTreeMap<String, String>,
    ) -> Result<Granted<Swap>, AttemptError> {
        let read = self.object(topic_id).await?;
        let mut topic = read.clone();
        if topic.spec.config != *from {
            return Ok(Granted::at_once(Swap::Moved));
        }
        topic.spec.config.clone_from(to);
        self.swap(&read, &topic).await?;
        let to = to.clone();
        Ok(Granted::when(Swap::Done, move |image| image.topics.get(&topic_id).is_none_or(|topic| topic.config == to)))
    }

    /// The KafkaTopic of a topic, by a consistent read.
    async fn object(&self, topic_id: Uuid) -> Result<KafkaTopic, AttemptError> {
        let image = self.images.borrow().clone();
        let Some(topic) = image.topics.get(&topic_id) else {
            return Err(AttemptError::Refused(AskRefusal::unknown_topic_id()));
        };
        let speaks = |object: &KafkaTopic| object.topic_name() == &*topic.name && self.is_ours(object);
        let likely = self.topics.get_opt(&names::topic(&self.cluster_name, &topic.name)).await?;
        if let Some(object) = likely.filter(|object| speaks(object) && is_placed(object, topic_id)) {
            return Ok(object);
        }
        let of_cluster = ListParams::default().fields(&format!("spec.clusterRef.name={}", self.cluster_name));
        let mut objects = self.topics.list(&of_cluster).await?.items;
        objects.retain(speaks);
        objects.sort_by_key(|object| (!is_placed(object, topic_id), object.creation_timestamp(), object.uid()));
        match objects.into_iter().next() {
            Some(object) => Ok(object),
            None => Err(self.without_object(topic).await),
        }
    }

    /// Why a topic has no KafkaTopic: it is being deleted, which the image will show soon, or it was retained.
    async fn without_object(&self, topic: &Topic) -> AttemptError {
        let mut images = self.images.clone();
        let gone = images.wait_for(|image| !image.topics.contains_key(&topic.id));
        if tokio::time::timeout(GOING, gone).await.is_ok() {
            return AttemptError::Refused(AskRefusal::unknown_topic_id());
        }
        let message = format!("The topic {} has no KafkaTopic: create one to manage it again.", topic.name);
        refuse(ErrorCode::POLICY_VIOLATION, message)
    }

    /// Changes the object that was read to `topic`. If it was deleted meanwhile, the ask reads again.
    async fn swap(&self, read: &KafkaTopic, topic: &KafkaTopic) -> Result<(), AttemptError> {
        match change::swap(&self.topics, read, topic).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Err(AttemptError::Again),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    fn is_ours(&self, object: &KafkaTopic) -> bool {
        object.spec.cluster_ref.name == self.cluster_name
    }
}

/// Whether each entry is as asked. True for a topic that is gone.
fn all_entries<T>(
    image: &ClusterImage,
    topic_id: Uuid,
    asked: impl IntoIterator<Item = (i32, T)>,
    is_so: impl Fn(&Assignment, &T) -> bool,
) -> bool {
    let Some(topic) = image.topics.get(&topic_id) else { return true };
    asked.into_iter().all(|(partition, what)| {
        let entry = usize::try_from(partition).ok().and_then(|index| topic.partitions.get(index));
        entry.is_some_and(|entry| is_so(entry, &what))
    })
}

fn is_placed(object: &KafkaTopic, topic_id: Uuid) -> bool {
    object.status.as_ref().is_some_and(|status| status.topic_id == Some(topic_id))
}

fn is_led(topic: &Topic, partitions: i32) -> bool {
    usize::try_from(partitions).is_ok_and(|partitions| topic.partitions.len() >= partitions)
        && topic.partitions.iter().all(|entry| entry.leader.is_some())
}

/// The placement of the partitions from `first` on.
fn placement(first: i32, assignments: &[Vec<BrokerId>]) -> Vec<Placement> {
    let numbered = (first..).zip(assignments);
    numbered.map(|(partition, replicas)| once(partition, replicas)).collect()
}

/// What a client of Kafka's admin API asks for: it chooses brokers now, and does not pin the partition to them.
fn once(partition: i32, replicas: &[BrokerId]) -> Placement {
    Placement { partition, replicas: replicas.to_vec(), once: true }
}
