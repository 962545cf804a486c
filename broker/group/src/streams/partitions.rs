//! How many partitions the topics of an application must have (Kafka's `RepartitionTopics`,
//! `CopartitionedTopicsEnforcer`, `ChangelogTopics`).

use std::collections::BTreeMap;

use crate::ids::TopicName;
use crate::record::{Copartition, Subtopology, Topology};
use crate::topics::Topics;

/// How many partitions internal topics must have.
pub(super) type Counts = BTreeMap<TopicName, i32>;

/// Why partitions cannot be counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum CountError {
    /// Whatever topics there are, the topology makes no sense.
    Invalid,
    /// Topics do not have the partitions that they must have.
    Incorrect(String),
}

/// The partitions of a topic, if it exists or is decided on.
pub(super) fn of_topic(topic: &TopicName, topics: &Topics, decided: &Counts) -> Option<i32> {
    topics.get(topic).map(|topic| topic.partitions).or_else(|| decided.get(topic).copied())
}

/// The partitions of the application's own topics. Its other source topics exist.
pub(super) fn decide(topology: &Topology, topics: &Topics) -> Result<Counts, CountError> {
    let mut decided = repartition_topics(topology, topics)?;
    for part in &topology.subtopologies {
        for group in &part.copartitions {
            enforce(part, group, topics, &mut decided)?;
        }
    }
    for part in &topology.subtopologies {
        let most = tasks(part, topics, &decided)?;
        decided.extend(part.changelogs.iter().map(|topic| (topic.name.clone(), most)));
    }
    Ok(decided)
}

/// As many tasks as the largest of its source topics has partitions.
pub(super) fn tasks(part: &Subtopology, topics: &Topics, decided: &Counts) -> Result<i32, CountError> {
    let counts: Option<Vec<i32>> = part.reads().map(|topic| of_topic(topic, topics, decided)).collect();
    counts.and_then(|counts| counts.into_iter().max()).ok_or(CountError::Invalid)
}

/// A repartition topic has the partitions that the application wants, or as many as the largest source topic of the
/// subtopology that writes it, which may be a repartition topic as well.
fn repartition_topics(topology: &Topology, topics: &Topics) -> Result<Counts, CountError> {
    let sources = topology.subtopologies.iter().flat_map(|part| &part.repartition_sources);
    let wanted = sources.clone().filter(|topic| topic.partitions != 0);
    let mut counts: Counts = wanted.map(|topic| (topic.name.clone(), topic.partitions)).collect();
    loop {
        let (mut has_progressed, mut is_complete) = (false, true);
        for part in &topology.subtopologies {
            for sink in &part.repartition_sinks {
                if counts.contains_key(sink) {
                    continue;
                }
                let own = part.repartition_sources.iter().filter_map(|topic| counts.get(&topic.name).copied());
                let others = part.sources.iter().filter_map(|topic| Some(topics.get(topic)?.partitions));
                match own.chain(others).max() {
                    Some(most) => {
                        counts.insert(sink.clone(), most);
                        has_progressed = true;
                    }
                    None => is_complete = false,
                }
            }
        }
        if is_complete {
            break;
        }
        if !has_progressed {
            return Err(CountError::Invalid); // the topology is a loop that nothing from outside enters
        }
    }
    // What nobody writes cannot be counted.
    if sources.clone().any(|topic| !counts.contains_key(&topic.name)) {
        return Err(CountError::Invalid);
    }
    Ok(counts)
}

/// Topics that are joined have equally many partitions: as many as those that are not the application's own, or as the
/// application wants, or as the largest. Kafka 4.3.1 takes what the application wants for any repartition topic of the
/// topology, also for ones that are not in the group; here only those in the group count.
fn enforce(part: &Subtopology, group: &Copartition, topics: &Topics, decided: &mut Counts) -> Result<(), CountError> {
    let at = |index: &i16| usize::try_from(*index).map_err(|_| CountError::Invalid);
    let mut own = Vec::new();
    for index in &group.repartition_sources {
        own.push(part.repartition_sources.get(at(index)?).ok_or(CountError::Invalid)?);
    }
    let (mut others, mut counts) = (Counts::new(), Counts::new());
    for index in &group.sources {
        let name = part.sources.get(at(index)?).ok_or(CountError::Invalid)?;
        let count = of_topic(name, topics, decided).ok_or(CountError::Invalid)?;
        match part.repartition_sources.iter().find(|topic| topic.name == *name) {
            Some(topic) => own.push(topic),
            None => _ = others.insert(name.clone(), count),
        }
    }
    for topic in &own {
        let count = of_topic(&topic.name, topics, decided).ok_or(CountError::Invalid)?;
        counts.insert(topic.name.clone(), count);
    }
    let fixed: Counts =
        own.iter().filter(|topic| topic.partitions != 0).map(|topic| (topic.name.clone(), topic.partitions)).collect();
    let wanted = if !others.is_empty() {
        same(&others).ok_or_else(|| unequal(&others))?
    } else if !fixed.is_empty() {
        same(&fixed).ok_or_else(|| unequal(&counts))?
    } else {
        match counts.values().copied().max() {
            Some(most) => most,
            None => return Ok(()), // an empty group
        }
    };
    for (name, count) in &fixed {
        if *count != wanted {
            return Err(CountError::Incorrect(format!(
                "Number of partitions [{count}] of repartition topic [{name}] doesn't match number of partitions \
                 [{wanted}] of the source topic."
            )));
        }
    }
    decided.extend(own.iter().map(|topic| (topic.name.clone(), wanted)));
    Ok(())
}

fn same(counts: &Counts) -> Option<i32> {
    let mut counts = counts.values().copied();
    let first = counts.next()?;
    counts.all(|count| count == first).then_some(first)
}

fn unequal(counts: &Counts) -> CountError {
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    let all = counts.join(", ");
    CountError::Incorrect(format!("Following topics do not have the same number of partitions: [{{{all}}}]"))
}
