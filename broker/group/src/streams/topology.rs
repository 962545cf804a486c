//! The topology of an application beside the topics of the cluster: which topics are missing, which have the wrong
//! number of partitions, and how many tasks there are (Kafka's `InternalTopicManager`).

use std::collections::{BTreeMap, BTreeSet};

use crate::error::GroupError;
use crate::ids::TopicName;
use crate::record::{InternalTopic, Subtopology, Topology};
use crate::request::{DescribedSubtopology, DescribedTopology, StatusCode, StreamsStatus};
use crate::streams::partitions::{self, CountError, Counts};
use crate::topics::Topics;

/// How many missing topics a status names. Kafka's.
const NAMED_TOPICS: usize = 3;

/// A topology as the topics of the cluster allow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Configured {
    /// The tasks of each subtopology; empty as long as its topics are missing or wrong, except for internal ones that
    /// are to be created.
    pub(crate) tasks: BTreeMap<String, TaskCount>,
    /// How many partitions internal topics have.
    counts: Counts,
    /// Internal topics that do not exist.
    pub(crate) missing: Vec<InternalTopic>,
    /// Why tasks cannot be assigned; `None`: they can be.
    pub(crate) problem: Option<StreamsStatus>,
}

/// The tasks of a subtopology.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskCount {
    /// Partitions 0 to this one, exclusive.
    pub(crate) tasks: i32,
    /// They have state, which standby tasks can copy.
    pub(crate) is_stateful: bool,
}

impl Configured {
    /// Tasks can be assigned.
    pub(crate) fn is_ready(&self) -> bool {
        self.problem.is_none()
    }

    fn unusable(code: StatusCode, detail: String) -> Self {
        Configured {
            tasks: BTreeMap::new(),
            counts: Counts::new(),
            missing: Vec::new(),
            problem: Some(StreamsStatus { code, detail }),
        }
    }
}

/// What can be seen without topics.
///
/// # Errors
/// That the topology makes no sense, or has what is not supported.
pub(crate) fn check(topology: &Topology) -> Result<(), GroupError> {
    let parts = &topology.subtopologies;
    if parts.iter().any(|part| !part.source_patterns.is_empty()) {
        return Err(GroupError::InvalidRequest("Regular expressions for source topics are not supported yet."));
    }
    let ids: BTreeSet<&String> = parts.iter().map(|part| &part.id).collect();
    let own = |part: &Subtopology| {
        let is_counted = part.changelogs.iter().any(|topic| topic.partitions != 0);
        is_counted || part.repartition_sources.iter().any(|topic| topic.partitions < 0)
    };
    let is_outside = |indices: &[i16], length: usize| {
        indices.iter().any(|index| usize::try_from(*index).map_or(true, |index| index >= length))
    };
    let copartitions = |part: &Subtopology| {
        part.copartitions.iter().any(|group| {
            is_outside(&group.sources, part.sources.len())
                || is_outside(&group.repartition_sources, part.repartition_sources.len())
        })
    };
    let reads_nothing = |part: &Subtopology| part.reads().next().is_none();
    if topology.epoch < 0
        || ids.len() < parts.len()
        || parts.iter().any(|part| own(part) || copartitions(part) || reads_nothing(part))
    {
        return Err(GroupError::StreamsInvalidTopology);
    }
    Ok(())
}

/// The topics that it reads or that are its own. Topics that it only writes do not count.
pub(crate) fn required(topology: &Topology) -> BTreeSet<&TopicName> {
    let parts = topology.subtopologies.iter();
    parts.flat_map(|part| part.reads().chain(part.changelogs.iter().map(|topic| &topic.name))).collect()
}

/// The topology beside these topics.
///
/// # Errors
/// That it makes no sense, whatever topics there are.
pub(crate) fn configure(topology: &Topology, topics: &Topics) -> Result<Configured, GroupError> {
    let missing: BTreeSet<&TopicName> = topology
        .subtopologies
        .iter()
        .flat_map(|part| &part.sources)
        .filter(|name| topics.get(name).is_none())
        .collect();
    if !missing.is_empty() {
        let detail = format!("Source topics {} are missing.", summary(&missing));
        return Ok(Configured::unusable(StatusCode::MissingSourceTopics, detail));
    }
    match count(topology, topics) {
        Ok(configured) => Ok(configured),
        Err(CountError::Invalid) => Err(GroupError::StreamsInvalidTopology),
        Err(CountError::Incorrect(detail)) => {
            Ok(Configured::unusable(StatusCode::IncorrectlyPartitionedTopics, detail))
        }
    }
}

fn count(topology: &Topology, topics: &Topics) -> Result<Configured, CountError> {
    let counts = partitions::decide(topology, topics)?;
    let mut tasks = BTreeMap::new();
    for part in &topology.subtopologies {
        let count =
            TaskCount { tasks: partitions::tasks(part, topics, &counts)?, is_stateful: !part.changelogs.is_empty() };
        tasks.insert(part.id.clone(), count);
    }
    let own = topology.subtopologies.iter().flat_map(|part| part.repartition_sources.iter().chain(&part.changelogs));
    let own: BTreeMap<&TopicName, InternalTopic> = own.map(|topic| (&topic.name, counted(topic, &counts))).collect();
    let mut missing = Vec::new();
    for (name, expected) in own {
        match topics.get(name) {
            None => missing.push(expected),
            Some(topic) if topic.partitions != expected.partitions => {
                return Err(CountError::Incorrect(format!(
                    "Existing topic {name} has different number of partitions: expected {}, found {}",
                    expected.partitions, topic.partitions
                )));
            }
            Some(_) => {}
        }
    }
    let names: BTreeSet<&TopicName> = missing.iter().map(|topic| &topic.name).collect();
    let problem = (!names.is_empty()).then(|| StreamsStatus {
        code: StatusCode::MissingInternalTopics,
        detail: format!("Internal topics are missing: {}", summary(&names)),
    });
    Ok(Configured { tasks, counts, missing, problem })
}

/// With the number of its partitions.
fn counted(topic: &InternalTopic, counts: &Counts) -> InternalTopic {
    let partitions = match topic.partitions {
        0 => counts.get(&topic.name).copied().unwrap_or(0),
        wanted => wanted,
    };
    InternalTopic { partitions, ..topic.clone() }
}

fn summary(names: &BTreeSet<&TopicName>) -> String {
    let named: Vec<&str> = names.iter().take(NAMED_TOPICS).map(|name| &***name).collect();
    let more = names.len().saturating_sub(NAMED_TOPICS);
    let more = if more > 0 { format!(" and {more} additional topics") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

/// As StreamsGroupDescribe shows it: with the partitions of internal topics once tasks can be assigned.
pub(crate) fn describe(topology: &Topology, configured: Option<&Configured>) -> DescribedTopology {
    let ready = configured.filter(|configured| configured.is_ready());
    let own = |topics: &[InternalTopic]| {
        let counts = ready.map(|configured| &configured.counts);
        let topic = |topic: &InternalTopic| counts.map_or_else(|| topic.clone(), |counts| counted(topic, counts));
        let mut topics: Vec<InternalTopic> = topics.iter().map(topic).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        topics
    };
    let names = |names: &[TopicName]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    let part = |part: &Subtopology| DescribedSubtopology {
        id: part.id.clone(),
        sources: names(&part.sources),
        repartition_sinks: names(&part.repartition_sinks),
        changelogs: own(&part.changelogs),
        repartition_sources: own(&part.repartition_sources),
    };
    DescribedTopology { epoch: topology.epoch, subtopologies: topology.subtopologies.iter().map(part).collect() }
}
