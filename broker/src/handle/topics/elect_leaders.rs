//! ElectLeaders (KIP-183, KIP-460): preferred replicas lead again, at once.
//!
//! Left out: an election among replicas that are not in sync. Where nobody in sync is left the longest log of all leads
//! as soon as every last member has reported; nothing that still exists is lost.

use ottla_access::Operation;
use std::collections::BTreeMap;

use futures::future::join_all;
use ottla_wire::ErrorCode;
use ottla_wire::m43_elect_leaders::{ElectLeadersRequest, ElectLeadersResponse, ElectionResult, ReplicaElectionResult};

use crate::ask::{Ask, AskRefusal};
use crate::handle::context::{Context, Deadline};
use crate::image::{Assignment, ClusterImage, Topic};
use crate::reply::Reply;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Asks for all topics at once.
pub(crate) fn handle(context: &Context, request: ElectLeadersRequest) -> Reply {
    if !context.may_cluster(Operation::Alter) {
        return context.reply(&refused(request, ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    }
    let deadline = Deadline::after_ms(request.timeout_ms);
    let election = request.election_type;
    if !matches!(election, PREFERRED | UNCLEAN) {
        return context.reply(&refused(request, ErrorCode::INVALID_REQUEST));
    }
    let all = request.topic_partitions.is_none();
    let wanted: Vec<(String, Vec<i32>)> = match request.topic_partitions {
        Some(topics) => topics.into_iter().map(|topic| (topic.topic.to_string(), topic.partitions)).collect(),
        None => every_partition(&context.image),
    };
    let context_later = context.clone();
    context.later(async move {
        let elections =
            wanted.iter().map(|(name, partitions)| elect(&context_later, name, partitions, election, deadline));
        let mut results = join_all(elections).await;
        if all {
            // A request for all partitions is answered only with those that had to change.
            for topic in &mut results {
                topic.partition_result.retain(|result| result.error_code != ErrorCode::ELECTION_NOT_NEEDED);
            }
            results.retain(|topic| !topic.partition_result.is_empty());
        }
        ElectLeadersResponse { replica_election_results: results, ..Default::default() }
    })
}

/// The error of the request, and of each partition that it names.
fn refused(request: ElectLeadersRequest, error_code: ErrorCode) -> ElectLeadersResponse {
    let result = |partition_id: &i32| ElectionResult { partition_id: *partition_id, error_code, error_message: None };
    let topics = request.topic_partitions.unwrap_or_default().into_iter().map(|topic| ReplicaElectionResult {
        partition_result: topic.partitions.iter().map(result).collect(),
        topic: topic.topic,
    });
    ElectLeadersResponse { error_code, replica_election_results: topics.collect(), ..Default::default() }
}

fn every_partition(image: &ClusterImage) -> Vec<(String, Vec<i32>)> {
    let topics = image.topic_names.values().filter_map(|id| image.topics.get(id));
    topics.map(|topic| (topic.name.to_string(), topic.partitions.iter().map(|e| e.partition).collect())).collect()
}

async fn elect(
    context: &Context,
    name: &str,
    partitions: &[i32],
    election: i8,
    deadline: Deadline,
) -> ReplicaElectionResult {
    let topic = context.image.topic(name);
    let judge = |partition: i32| match topic {
        Some(topic) => is_possible(context, topic, partition, election),
        None => Err(AskRefusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("No such topic as {name}"))),
    };
    let mut results: BTreeMap<i32, Result<(), AskRefusal>> = partitions.iter().map(|p| (*p, judge(*p))).collect();
    let possible: Vec<i32> = results.iter().filter(|(_, result)| result.is_ok()).map(|(p, _)| *p).collect();
    if let (Some(topic), false) = (topic, possible.is_empty()) {
        let (topic_id, partitions) = (topic.id, possible.clone());
        let elected = context.ask(deadline, |answer| Ask::ElectPreferred { topic_id, partitions, answer }).await;
        results.extend(possible.into_iter().map(|partition| (partition, elected.clone())));
    }
    let result = |(partition_id, result): (i32, Result<(), AskRefusal>)| {
        let (error_code, error_message) = AskRefusal::to_wire(result.err());
        ElectionResult { partition_id, error_code, error_message }
    };
    ReplicaElectionResult { topic: name.into(), partition_result: results.into_iter().map(result).collect() }
}

/// Whether the election would give the partition another leader.
fn is_possible(context: &Context, topic: &Topic, partition: i32, election: i8) -> Result<(), AskRefusal> {
    let entry = usize::try_from(partition).ok().and_then(|index| topic.partitions.get(index));
    let Some(entry) = entry else {
        let message = format!("No such partition as {}-{partition}", topic.name);
        return Err(AskRefusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
    };
    match election {
        UNCLEAN if entry.leader.is_some() => Err(not_needed()),
        UNCLEAN => {
            let message = "Eligible topic partition leaders are not available.";
            Err(AskRefusal::new(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, message))
        }
        _ if entry.is_led_by_preferred() => Err(not_needed()),
        _ if !can_lead(context, entry) => {
            let message = "The preferred leader was not available.";
            Err(AskRefusal::new(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE, message))
        }
        _ => Ok(()),
    }
}

fn not_needed() -> AskRefusal {
    AskRefusal::new(ErrorCode::ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.")
}

fn can_lead(context: &Context, entry: &Assignment) -> bool {
    let stays = |broker: &crate::image::Broker| broker.alive && !broker.draining;
    entry.replicas.first().is_some_and(|preferred| {
        entry.isr.iter().any(|member| member.broker == *preferred)
            && context.image.brokers.get(preferred).is_some_and(stays)
    })
}
