//! The records of streams groups (KIP-1071), typed. A group's state is what its records say; besides that there is in
//! memory only what members may lose: who asked for a shutdown, and the epoch of endpoints.

use std::collections::{BTreeMap, BTreeSet};

use super::shared::{MemberState, TargetValue};
use crate::ids::{InstanceId, MemberId, TopicName};

/// A record of a streams group; no value is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamsRecord {
    /// The group itself.
    Group(Option<StreamsGroupValue>),
    /// What it works on.
    Topology(Option<Box<Topology>>),
    /// What a member has said about itself.
    Member(MemberId, Option<Box<StreamsMemberValue>>),
    /// When the target assignment was computed.
    Target(Option<TargetValue>),
    /// What a member is to have.
    TargetMember(MemberId, Option<StreamsTasks>),
    /// What a member has.
    Current(MemberId, Option<StreamsCurrentValue>),
}

/// Tasks: partitions by subtopology. Always: no subtopology without partitions.
pub type Tasks = BTreeMap<String, BTreeSet<i32>>;

/// Tasks, each with the member's epoch when it got it. Always: no subtopology without partitions.
pub type TasksWithEpochs = BTreeMap<String, BTreeMap<i32, i32>>;

/// Tasks of one member by their kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StreamsTasks {
    /// Those that it works on.
    pub active: Tasks,
    /// Those whose state it copies.
    pub standby: Tasks,
    /// Those whose state it copies to take them over.
    pub warmup: Tasks,
}

impl StreamsTasks {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }
}

/// Tasks of one member by their kind, the active ones with epochs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StreamsAssigned {
    /// Those that it works on.
    pub active: TasksWithEpochs,
    /// Those whose state it copies.
    pub standby: Tasks,
    /// Those whose state it copies to take them over.
    pub warmup: Tasks,
}

impl StreamsAssigned {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }

    /// The same without epochs.
    pub fn tasks(&self) -> StreamsTasks {
        let without = |(id, partitions): (&String, &BTreeMap<i32, i32>)| {
            (id.clone(), partitions.keys().copied().collect::<BTreeSet<i32>>())
        };
        StreamsTasks {
            active: self.active.iter().map(without).collect(),
            standby: self.standby.clone(),
            warmup: self.warmup.clone(),
        }
    }
}

/// A streams group as it is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamsGroupValue {
    /// Grows with every change that may need another assignment.
    pub epoch: i32,
    /// Of the topics that its topology uses: see [`Topics`](crate::topics::Topics).
    pub metadata_hash: i64,
    /// The epoch of the topology whose topics were all found as they must be; −1 for none.
    pub validated_epoch: i32,
    /// The settings that the epoch was made for, by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// What a member has said about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamsMemberValue {
    /// Its instance id, if static; none of ours is.
    pub instance: Option<InstanceId>,
    /// The rack where it is; `None`: it did not say.
    pub rack: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Where the client is, as Kafka prints it.
    pub client_host: String,
    /// How long it may take to revoke tasks.
    pub rebalance_timeout_ms: i32,
    /// Of the topology that it joined with; −1 for none.
    pub topology_epoch: i32,
    /// Members of one process share it.
    pub process: String,
    /// Where it answers interactive queries; `None`: it answers none.
    pub endpoint: Option<Endpoint>,
    /// What the client says about its place.
    pub client_tags: BTreeMap<String, String>,
}

/// A place in the network.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Endpoint {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What a member has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamsCurrentValue {
    /// The epoch that it is expected to send.
    pub epoch: i32,
    /// The one that it sends if it has not got the answer with the new one.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// Its tasks.
    pub assigned: StreamsAssigned,
    /// Those that it is to revoke, and owns until it says that it does not.
    pub revoking: StreamsAssigned,
}

impl StreamsCurrentValue {
    /// About how many bytes the value has at most while the member moves to the target: active tasks have epochs, and
    /// the member may have some tasks of a subtopology and revoke others.
    pub(crate) fn most_bytes(target: &StreamsTasks) -> usize {
        let ids = [&target.active, &target.standby, &target.warmup].into_iter().flat_map(BTreeMap::keys);
        let twice: usize = ids.map(|id| id.len() + 16).sum();
        let epochs: usize = target.active.values().map(|all| 4 * all.len() + 8).sum();
        24 + all_tasks(target) + twice + epochs
    }
}

/// What a streams application works on, as a member sends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    /// Its epoch.
    pub epoch: i32,
    /// Its parts, by id.
    pub subtopologies: Vec<Subtopology>,
}

impl Topology {
    /// The order of the parts means nothing.
    pub fn new(epoch: i32, mut subtopologies: Vec<Subtopology>) -> Self {
        subtopologies.sort_by(|one, other| one.id.cmp(&other.id));
        Topology { epoch, subtopologies }
    }
}

/// A part of a topology: its tasks are the partitions of its source topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subtopology {
    /// Names it within the topology.
    pub id: String,
    /// The topics that it reads and that are not its application's own.
    pub sources: Vec<TopicName>,
    /// Expressions of topics that it reads.
    pub source_patterns: Vec<String>,
    /// The topics that hold its state.
    pub changelogs: Vec<InternalTopic>,
    /// The repartition topics that it writes.
    pub repartition_sinks: Vec<TopicName>,
    /// The repartition topics that it reads.
    pub repartition_sources: Vec<InternalTopic>,
    /// Topics that must have as many partitions as each other.
    pub copartitions: Vec<Copartition>,
}

impl Subtopology {
    /// The topics that it reads.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &TopicName> {
        self.sources.iter().chain(self.repartition_sources.iter().map(|topic| &topic.name))
    }
}

/// Topics that must have as many partitions as each other: indices into the lists of their [`Subtopology`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Copartition {
    /// Into its sources.
    pub sources: Vec<i16>,
    /// Into its expressions.
    pub source_patterns: Vec<i16>,
    /// Into the repartition topics that it reads.
    pub repartition_sources: Vec<i16>,
}

/// A topic that belongs to the application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InternalTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions it has; 0 if the coordinator is to decide.
    pub partitions: i32,
    /// How many replicas it has; 0 for the default.
    pub replication_factor: i16,
    /// Its settings.
    pub configs: Vec<(String, String)>,
}

impl StreamsRecord {
    /// Whether it deletes.
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            StreamsRecord::Group(value) => value.is_none(),
            StreamsRecord::Topology(value) => value.is_none(),
            StreamsRecord::Member(_, value) => value.is_none(),
            StreamsRecord::Target(value) => value.is_none(),
            StreamsRecord::TargetMember(_, value) => value.is_none(),
            StreamsRecord::Current(_, value) => value.is_none(),
        }
    }

    /// The bytes of the name in its key, besides the group's.
    pub(super) fn name_len(&self) -> usize {
        match self {
            StreamsRecord::Group(_) | StreamsRecord::Topology(_) | StreamsRecord::Target(_) => 0,
            StreamsRecord::Member(member, _)
            | StreamsRecord::TargetMember(member, _)
            | StreamsRecord::Current(member, _) => member.len(),
        }
    }

    /// About how many bytes its value has.
    pub(super) fn value_size(&self) -> usize {
        match self {
            _ if self.is_tombstone() => 0,
            StreamsRecord::Group(value) => 30 + value.as_ref().map_or(0, |value| pairs(value.configs.iter())),
            StreamsRecord::Topology(value) => {
                8 + value.iter().flat_map(|topology| &topology.subtopologies).map(subtopology).sum::<usize>()
            }
            StreamsRecord::Member(_, value) => value.as_deref().map_or(0, |value| {
                let rack = value.rack.as_ref().map_or(0, String::len);
                let endpoint = value.endpoint.as_ref().map_or(0, |endpoint| endpoint.host.len());
                let names = value.client_id.len() + value.client_host.len() + value.process.len() + rack + endpoint;
                50 + names + pairs(value.client_tags.iter())
            }),
            StreamsRecord::Target(_) => 20,
            StreamsRecord::TargetMember(_, value) => value.as_ref().map_or(0, all_tasks),
            StreamsRecord::Current(_, value) => value.as_ref().map_or(0, |value| {
                let assigned = |all: &StreamsAssigned| {
                    let epochs: usize = all.active.values().map(|partitions| 4 * partitions.len() + 8).sum();
                    all_tasks(&all.tasks()) + epochs
                };
                16 + assigned(&value.assigned) + assigned(&value.revoking)
            }),
        }
    }
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> usize {
    pairs.map(|(key, value)| key.len() + value.len() + 8).sum()
}

fn all_tasks(tasks: &StreamsTasks) -> usize {
    let of = |tasks: &Tasks| tasks.iter().map(|(id, all)| id.len() + 8 + 4 * all.len()).sum::<usize>();
    8 + of(&tasks.active) + of(&tasks.standby) + of(&tasks.warmup)
}

fn subtopology(part: &Subtopology) -> usize {
    let names = part.sources.iter().chain(&part.repartition_sinks).map(|name| name.len() + 4);
    let patterns = part.source_patterns.iter().map(|pattern| pattern.len() + 4);
    let topic =
        |topic: &InternalTopic| topic.name.len() + 16 + pairs(topic.configs.iter().map(|(key, value)| (key, value)));
    let topics = part.changelogs.iter().chain(&part.repartition_sources).map(topic);
    let copartition =
        |all: &Copartition| 8 + 2 * (all.sources.len() + all.source_patterns.len() + all.repartition_sources.len());
    let copartitions = part.copartitions.iter().map(copartition);
    part.id.len() + 16 + names.chain(patterns).chain(topics).chain(copartitions).sum::<usize>()
}
