//! StreamsGroupHeartbeat (KIP-1071): a member joins, says what has changed, learns its tasks, leaves. Topics of its
//! application that do not exist are created beside that.

use ottla_access::Operation;
use std::collections::BTreeMap;
use std::time::Duration;

use ottla_group::record::{Copartition, Endpoint, InternalTopic, StreamsTasks, Subtopology, Tasks, Topology};
use ottla_group::{
    EndpointPartitions, GroupError, InstanceId, Owned, StatusCode, StreamsHeartbeat, StreamsHeartbeatRequest,
    StreamsStatus, TopicName,
};
use ottla_rules::features::STREAMS_VERSION;
use ottla_wire::m19_create_topics::{CreatableTopic, CreatableTopicConfig, CreatableTopicResult};
use ottla_wire::m88_streams_group_heartbeat::{
    StreamsGroupEndpoint, StreamsGroupEndpointToPartitions, StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse, StreamsGroupKeyValue, StreamsGroupStatus, StreamsGroupSubtopology,
    StreamsGroupTaskIds, StreamsGroupTopicInfo, StreamsGroupTopicPartition, StreamsGroupTopology,
};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::{Context, Deadline, text};
use crate::handle::errors::group_error;
use crate::handle::names::check_topic_name;
use crate::handle::once::once;
use crate::handle::topics::create_topics;
use crate::image::is_internal;
use crate::reply::Reply;

/// How many failed creations a status names. Kafka's.
const NAMED_FAILURES: usize = 3;

/// Answers when what the answer says is replicated; topics are created meanwhile.
pub(crate) fn handle(context: &Context, request: StreamsGroupHeartbeatRequest) -> Reply {
    if context.image.features.level(STREAMS_VERSION) < 1 {
        return context.reply(&refused(GroupError::UnsupportedVersion));
    }
    if !context.may_group(Operation::Read, &request.group_id) {
        return context.reply(&denied(ErrorCode::GROUP_AUTHORIZATION_FAILED));
    }
    if let Some(Err(message)) = request.topology.as_ref().map(check_names) {
        return context.reply(&refusal(ErrorCode::STREAMS_INVALID_TOPOLOGY, message));
    }
    let mut named = request.topology.iter().flat_map(names);
    if !named.all(|topic| context.may_topic(Operation::Describe, &topic)) {
        return context.reply(&denied(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    }
    let beating = context.handler.groups.streams_heartbeat(&StreamsHeartbeatRequest {
        group: (&*request.group_id).into(),
        member: (&*request.member_id).into(),
        epoch: request.member_epoch,
        endpoint_epoch: request.endpoint_information_epoch,
        instance: request.instance_id.as_deref().map(InstanceId::from),
        rack: request.rack_id.map(String::from),
        client_id: context.client_id.to_string(),
        client_host: context.client_host(),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|timeout| *timeout != -1),
        topology: request.topology.map(topology),
        owned: owned(request.active_tasks, request.standby_tasks, request.warmup_tasks),
        process: request.process_id.map(String::from),
        endpoint: request.user_endpoint.map(|endpoint| Endpoint { host: endpoint.host.into(), port: endpoint.port }),
        client_tags: request.client_tags.map(|tags| pairs(tags).collect()),
        has_task_offsets: request.task_offsets.is_some(),
        has_task_end_offsets: request.task_end_offsets.is_some(),
        shuts_down: request.shutdown_application,
    });
    let creating = context.clone();
    context.later(async move {
        match beating.await {
            Ok(mut beat) => {
                let missing = std::mem::take(&mut beat.missing);
                let denied = may_not_create(&creating, &missing);
                if denied.is_empty() {
                    let failures = create(&creating, missing, beat.interval);
                    append(&failures, &mut beat.statuses);
                } else {
                    append_denied(&denied, &mut beat.statuses);
                }
                accepted(beat)
            }
            Err(error) => refused(error),
        }
    })
}

/// The topics of an application, each once.
fn names(topology: &StreamsGroupTopology) -> Vec<Str> {
    let of_its_own = |topics: &[StreamsGroupTopicInfo]| topics.iter().map(|topic| topic.name.clone()).collect();
    let named = topology.subtopologies.iter().flat_map(|part| -> [Vec<Str>; 4] {
        let StreamsGroupSubtopology { source_topics, repartition_sink_topics, .. } = part;
        let repartition_sources = of_its_own(&part.repartition_source_topics);
        let changelogs = of_its_own(&part.state_changelog_topics);
        [source_topics.clone(), repartition_sink_topics.clone(), repartition_sources, changelogs]
    });
    once(named.flatten(), Str::clone).into_iter().map(|(name, _)| name).collect()
}

/// Whether all topics of an application may be topics, and it leaves the brokers' own alone (`KafkaApis`).
fn check_names(topology: &StreamsGroupTopology) -> Result<(), String> {
    let names = names(topology);
    let those = |is_bad: &dyn Fn(&str) -> bool| {
        let bad: Vec<&str> = names.iter().map(|name| &**name).filter(|name| is_bad(name)).collect();
        if bad.is_empty() { None } else { Some(bad.join(",")) }
    };
    if let Some(names) = those(&is_internal) {
        return Err(format!("Use of Kafka internal topics {names} in a Kafka Streams topology is prohibited."));
    }
    match those(&|name| check_topic_name(name).is_err()) {
        Some(names) => Err(format!("Topic names {names} are not valid topic names.")),
        None => Ok(()),
    }
}

fn topology(topology: StreamsGroupTopology) -> Topology {
    let names = |topics: Vec<Str>| topics.iter().map(|topic| TopicName::from(&**topic)).collect();
    let internal = |topics: Vec<StreamsGroupTopicInfo>| {
        let topic = |topic: StreamsGroupTopicInfo| InternalTopic {
            name: (&*topic.name).into(),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            configs: pairs(topic.topic_configs).collect(),
        };
        topics.into_iter().map(topic).collect()
    };
    let part = |part: StreamsGroupSubtopology| Subtopology {
        id: part.subtopology_id.into(),
        sources: names(part.source_topics),
        source_patterns: part.source_topic_regex.into_iter().map(String::from).collect(),
        changelogs: internal(part.state_changelog_topics),
        repartition_sinks: names(part.repartition_sink_topics),
        repartition_sources: internal(part.repartition_source_topics),
        copartitions: (part.copartition_groups.into_iter())
            .map(|group| Copartition {
                sources: group.source_topics,
                source_patterns: group.source_topic_regex,
                repartition_sources: group.repartition_source_topics,
            })
            .collect(),
    };
    Topology::new(topology.epoch, topology.subtopologies.into_iter().map(part).collect())
}

fn pairs(pairs: Vec<StreamsGroupKeyValue>) -> impl Iterator<Item = (String, String)> {
    pairs.into_iter().map(|pair| (pair.key.into(), pair.value.into()))
}

type TaskIds = Option<Vec<StreamsGroupTaskIds>>;

fn owned(active: TaskIds, standby: TaskIds, warmup: TaskIds) -> Owned {
    match (active, standby, warmup) {
        (None, None, None) => Owned::Unsaid,
        (Some(active), Some(standby), Some(warmup)) => {
            Owned::Tasks(StreamsTasks { active: tasks(active), standby: tasks(standby), warmup: tasks(warmup) })
        }
        _ => Owned::Partly,
    }
}

/// Without subtopologies that have no partitions.
fn tasks(ids: Vec<StreamsGroupTaskIds>) -> Tasks {
    let mut tasks = Tasks::new();
    for task in ids.into_iter().filter(|task| !task.partitions.is_empty()) {
        tasks.entry(task.subtopology_id.into()).or_default().extend(task.partitions);
    }
    tasks
}

/// The topics that the member may not create. One of them is enough, and none is created, as in Kafka.
fn may_not_create(context: &Context, missing: &[InternalTopic]) -> Vec<String> {
    if missing.is_empty() || context.sees_cluster(Operation::Create) {
        return Vec::new();
    }
    let denied = missing.iter().filter(|topic| !context.may_topic(Operation::Create, &topic.name));
    denied.map(|topic| topic.name.to_string()).collect()
}

/// Says in the status of missing topics that the member may not create them.
fn append_denied(denied: &[String], statuses: &mut Vec<StreamsStatus>) {
    let detail = format!("Unauthorized to CREATE on topics {}.", denied.join(", "));
    match statuses.iter_mut().find(|status| status.code == StatusCode::MissingInternalTopics) {
        Some(status) => status.detail += &format!("; {detail}"),
        None => statuses.push(StreamsStatus { code: StatusCode::MissingInternalTopics, detail }),
    }
}

/// Has the topics created that are missing, unless that is under way or has just failed; and why some have failed.
/// Nobody waits for them: the heartbeats that come next see them.
fn create(context: &Context, missing: Vec<InternalTopic>, interval: Duration) -> BTreeMap<Str, String> {
    let creations = &context.handler.creations;
    let begun = creations.begin(missing.iter().map(|topic| text(&topic.name)));
    let failures = creations.failures(missing.iter().map(|topic| &*topic.name));
    let topics: Vec<CreatableTopic> =
        missing.into_iter().filter(|topic| begun.contains(&*topic.name)).map(creatable).collect();
    if !topics.is_empty() {
        let context = context.clone();
        creations.spawn(async move {
            let results = create_topics::create_all(&context, topics, false, Deadline::default()).await;
            for CreatableTopicResult { name, error_code, error_message, .. } in results {
                let why = || error_message.map_or_else(|| format!("{error_code:?}"), String::from);
                let result = if error_code == ErrorCode::NONE { Ok(()) } else { Err(why()) };
                // Kafka's back-off.
                context.handler.creations.ended(name, result, 2 * interval);
            }
        });
    }
    failures
}

fn creatable(topic: InternalTopic) -> CreatableTopic {
    let config =
        |(name, value): (String, String)| CreatableTopicConfig { name: name.into(), value: Some(value.into()) };
    CreatableTopic {
        name: text(&topic.name),
        num_partitions: topic.partitions,
        // 0 is the group's word for the default.
        replication_factor: if topic.replication_factor == 0 { -1 } else { topic.replication_factor },
        assignments: Vec::new(),
        configs: topic.configs.into_iter().map(config).collect(),
    }
}

/// Says in the status of missing topics why they could not be created.
fn append(failures: &BTreeMap<Str, String>, statuses: &mut [StreamsStatus]) {
    let missing = statuses.iter_mut().find(|status| status.code == StatusCode::MissingInternalTopics);
    let Some(status) = missing.filter(|_| !failures.is_empty()) else { return };
    let named = failures.iter().take(NAMED_FAILURES).map(|(topic, why)| format!("{topic} ({why})"));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match failures.len().saturating_sub(NAMED_FAILURES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    status.detail += &format!("; Creation failed: {named}{more}.");
}

fn accepted(beat: StreamsHeartbeat) -> StreamsGroupHeartbeatResponse {
    let (active, standby, warmup) = match beat.tasks {
        Some(tasks) => (Some(task_ids(tasks.active)), Some(task_ids(tasks.standby)), Some(task_ids(tasks.warmup))),
        None => (None, None, None),
    };
    let status = |status: StreamsStatus| StreamsGroupStatus {
        status_code: status.code.number(),
        status_detail: status.detail.into(),
    };
    StreamsGroupHeartbeatResponse {
        member_id: text(&beat.member),
        member_epoch: beat.epoch,
        heartbeat_interval_ms: i32::try_from(beat.interval.as_millis()).unwrap_or(i32::MAX),
        status: Some(beat.statuses.into_iter().map(status).collect()),
        active_tasks: active,
        standby_tasks: standby,
        warmup_tasks: warmup,
        endpoint_information_epoch: beat.endpoint_epoch,
        partitions_by_user_endpoint: beat.endpoints.map(|all| all.into_iter().map(endpoint_partitions).collect()),
        ..Default::default()
    }
}

/// Tasks for the wire.
pub(crate) fn task_ids(tasks: Tasks) -> Vec<StreamsGroupTaskIds> {
    let ids = |(id, partitions): (String, std::collections::BTreeSet<i32>)| StreamsGroupTaskIds {
        subtopology_id: id.into(),
        partitions: partitions.into_iter().collect(),
    };
    tasks.into_iter().map(ids).collect()
}

/// An endpoint for the wire.
pub(crate) fn endpoint(endpoint: Endpoint) -> StreamsGroupEndpoint {
    StreamsGroupEndpoint { host: endpoint.host.into(), port: endpoint.port }
}

fn endpoint_partitions(found: EndpointPartitions) -> StreamsGroupEndpointToPartitions {
    let topics = |topics: BTreeMap<TopicName, Vec<i32>>| {
        let topic =
            |(name, partitions): (TopicName, Vec<i32>)| StreamsGroupTopicPartition { topic: text(&name), partitions };
        topics.into_iter().map(topic).collect()
    };
    StreamsGroupEndpointToPartitions {
        user_endpoint: endpoint(found.endpoint),
        active_partitions: topics(found.active),
        standby_partitions: topics(found.standby),
    }
}

fn refused(error: GroupError) -> StreamsGroupHeartbeatResponse {
    refusal(group_error(error), error.to_string())
}

fn refusal(error_code: ErrorCode, message: String) -> StreamsGroupHeartbeatResponse {
    StreamsGroupHeartbeatResponse { error_message: Some(message.into()), ..denied(error_code) }
}

fn denied(error_code: ErrorCode) -> StreamsGroupHeartbeatResponse {
    // As Kafka's: null is not the default of a status.
    StreamsGroupHeartbeatResponse { error_code, status: Some(Vec::new()), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_creations_are_named_in_the_status_of_missing_topics() {
        let statuses = || {
            [StatusCode::StaleTopology, StatusCode::MissingInternalTopics]
                .map(|code| StreamsStatus { code, detail: "detail".to_owned() })
        };
        for (failed, expected) in [
            (0, "detail"),
            (1, "detail; Creation failed: t0 (no)."),
            (3, "detail; Creation failed: t0 (no), t1 (no), t2 (no)."),
            (5, "detail; Creation failed: t0 (no), t1 (no), t2 (no) and 2 more."),
        ] {
            let failures = (0..failed).map(|number| (Str::from(format!("t{number}")), "no".to_owned())).collect();
            let mut found = statuses();
            append(&failures, &mut found);
            assert_eq!((&*found[0].detail, &*found[1].detail), ("detail", expected));
            append(&failures, &mut found[..1]);
            assert_eq!(found[0].detail, "detail", "nothing is missing");
        }
    }

    #[test]
    fn tasks_are_all_said_or_none_and_those_without_partitions_do_not_count() {
        let ids = |id: &str, partitions: &[i32]| {
            Some(vec![StreamsGroupTaskIds { subtopology_id: id.into(), partitions: partitions.to_vec() }])
        };
        assert_eq!(owned(None, None, None), Owned::Unsaid);
        assert_eq!(owned(ids("0", &[1]), None, None), Owned::Partly);
        let said = owned(ids("0", &[1]), ids("1", &[]), Some(Vec::new()));
        let active = Tasks::from([("0".to_owned(), [1].into())]);
        assert_eq!(said, Owned::Tasks(StreamsTasks { active, ..StreamsTasks::default() }));
    }
}
