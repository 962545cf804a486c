//! Metadata: brokers, topics, partitions, leaders. Every client begins with it, and it creates topics on first use.
//!
//! Every broker accepts the controller's APIs, so every broker names itself as controller. The answer waits for an
//! expected election.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_access::{Operation, ResourceType};
use ottla_wire::m03_metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use ottla_wire::{ErrorCode, Str};
use uuid::Uuid;

use crate::ask::{Ask, NewTopic};
use crate::handle::context::{Context, operations};
use crate::handle::election;
use crate::handle::names::check_topic_name;
use crate::handle::once::once;
use crate::handle::topics::internal_topics::internal_topic;
use crate::image::{Assignment, BrokerId, ClusterImage, Topic, is_internal};
use crate::reply::Reply;

/// The version from which on requests name topics by id.
const IDS_FROM: i16 = 12;

/// Answers from the image, and asks for the creation of topics that do not exist, if that is allowed.
pub(crate) fn handle(context: &Context, mut request: MetadataRequest) -> Reply {
    // Version 0 has no null: an empty list means all.
    request.topics = request.topics.filter(|topics| !(context.version == 0 && topics.is_empty()));
    if let Some(topics) = request.topics.as_mut().filter(|_| context.version >= IDS_FROM) {
        prefer_ids(topics);
    }
    election::reply(context, request, leaders, answer)
}

/// Where an id is named, no name counts, as in Kafka: clients send an empty one with it.
fn prefer_ids(topics: &mut Vec<MetadataRequestTopic>) {
    if topics.iter().any(|topic| !topic.topic_id.is_nil()) {
        topics.retain(|topic| !topic.topic_id.is_nil());
        topics.iter_mut().for_each(|topic| topic.name = None);
    }
}

/// Who leads what is asked for.
fn leaders(image: &ClusterImage, request: &MetadataRequest) -> BTreeSet<BrokerId> {
    let topics: Vec<&Arc<Topic>> = match &request.topics {
        None => image.topics.values().collect(),
        Some(topics) => {
            let known = topics.iter().filter_map(|topic| match &topic.name {
                Some(name) => image.topic(name),
                None => image.topics.get(&topic.topic_id),
            });
            known.collect()
        }
    };
    topics.into_iter().flat_map(|topic| topic.partitions.iter().filter_map(|one| one.leader)).collect()
}

fn answer(context: &Context, request: MetadataRequest) -> MetadataResponse {
    let auto_create = request.allow_auto_topic_creation || context.version < 4;
    let topics = match request.topics {
        None => {
            let all = context.image.topic_names.iter();
            let seen = all.filter(|(name, _)| context.sees(Operation::Describe, ResourceType::Topic, name));
            seen.map(|(_, id)| describe(context, &context.image.topics[id])).collect()
        }
        Some(topics) => {
            if context.version < IDS_FROM && topics.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_nil())
            {
                return ids_too_early(topics);
            }
            once(topics, |topic| (topic.name.clone(), topic.topic_id))
                .into_iter()
                .map(|(topic, _)| match topic.name {
                    Some(name) => by_name(context, name, auto_create),
                    None => by_id(context, topic.topic_id),
                })
                .collect()
        }
    };
    let topics = if request.include_topic_authorized_operations { with_operations(context, topics) } else { topics };
    MetadataResponse {
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            context.cluster_operations()
        } else {
            operations::NOT_ASKED
        },
        brokers: context
            .image
            .brokers
            .values()
            .filter(|broker| context.is_there(broker))
            .filter_map(|broker| {
                let endpoint = broker.endpoints.get(&context.peer.listener)?;
                Some(MetadataResponseBroker {
                    node_id: broker.id.0,
                    host: endpoint.host.clone(),
                    port: i32::from(endpoint.port),
                    rack: broker.rack.clone(),
                })
            })
            .collect(),
        cluster_id: Some(context.image.cluster_id.clone()),
        controller_id: context.handler.id.0,
        topics,
        ..Default::default()
    }
}

/// As in Kafka, also what the client might do with topics that do not exist, if it may ask for them.
fn with_operations(context: &Context, mut topics: Vec<MetadataResponseTopic>) -> Vec<MetadataResponseTopic> {
    for topic in topics.iter_mut().filter(|topic| topic.error_code != ErrorCode::TOPIC_AUTHORIZATION_FAILED) {
        if let Some(name) = &topic.name {
            topic.topic_authorized_operations = context.topic_operations(name);
        }
    }
    topics
}

fn by_name(context: &Context, name: Str, auto_create: bool) -> MetadataResponseTopic {
    if !context.may_topic(Operation::Describe, &name) {
        // Whether it exists is not even looked up.
        return denied(Some(name), Uuid::nil());
    }
    if let Some(topic) = context.image.topic(&name) {
        return describe(context, topic);
    }
    let auto_create = auto_create && context.image.settings.auto_create_topics_enable;
    if auto_create && !context.sees_cluster(Operation::Create) && !context.may_topic(Operation::Create, &name) {
        return MetadataResponseTopic { is_internal: is_internal(&name), ..denied(Some(name), Uuid::nil()) };
    }
    let code = if check_topic_name(&name).is_err() {
        ErrorCode::INVALID_TOPIC_EXCEPTION
    } else {
        if auto_create {
            ask_for(context, name.clone());
        }
        // Also while it is being created: clients ask again.
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    };
    MetadataResponseTopic { error_code: code, is_internal: is_internal(&name), name: Some(name), ..topic_defaults() }
}

fn by_id(context: &Context, id: Uuid) -> MetadataResponseTopic {
    match context.image.topics.get(&id) {
        Some(topic) if !context.may_topic(Operation::Describe, &topic.name) => denied(None, id),
        Some(topic) => describe(context, topic),
        None => MetadataResponseTopic {
            error_code: ErrorCode::UNKNOWN_TOPIC_ID,
            name: None,
            topic_id: id,
            ..topic_defaults()
        },
    }
}

fn denied(name: Option<Str>, topic_id: Uuid) -> MetadataResponseTopic {
    let error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    MetadataResponseTopic { error_code, name, topic_id, ..topic_defaults() }
}

/// Asks for a topic with the cluster's defaults; an internal topic has its own, and is on nobody's quota. The request
/// does not wait: the client asks again, also if its quota allows no partitions now or the queue is full.
fn ask_for(context: &Context, name: Str) {
    let internal = internal_topic(&name, &context.image);
    let partitions = usize::try_from(context.image.settings.num_partitions).unwrap_or(0);
    if internal.is_none() && context.meter.as_ref().is_some_and(|meter| !meter.may_create(partitions)) {
        return;
    }
    let topic = internal.unwrap_or_else(|| NewTopic { name, ..NewTopic::default() });
    let (answer, _) = tokio::sync::oneshot::channel();
    let _ = context.handler.ask.try_send(Ask::CreateTopic { topic, answer });
}

fn describe(context: &Context, topic: &Topic) -> MetadataResponseTopic {
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: topic.partitions.iter().map(|assignment| partition(context, assignment)).collect(),
        ..topic_defaults()
    }
}

/// A partition as clients of this listener see it. Dead members of the ISR are left out, as in Kafka: see
/// [`eligible_leader_replicas`].
pub(crate) fn partition(context: &Context, assignment: &Assignment) -> MetadataResponsePartition {
    let listener = &context.peer.listener;
    let error_code = match assignment.leader {
        None => ErrorCode::LEADER_NOT_AVAILABLE,
        Some(leader) if context.image.endpoint(leader, listener).is_some() => ErrorCode::NONE,
        Some(leader)
            if context.image.brokers.get(&leader).is_some_and(|broker| broker.alive) && context.version >= 6 =>
        {
            ErrorCode::LISTENER_NOT_FOUND
        }
        Some(_) => ErrorCode::LEADER_NOT_AVAILABLE,
    };
    let leader = if error_code == ErrorCode::NONE { assignment.leader } else { None };
    let is_dead = |id| context.image.brokers.get(&id).is_none_or(|broker| !broker.alive);
    MetadataResponsePartition {
        error_code,
        partition_index: assignment.partition,
        leader_id: leader.map_or(-1, |leader| leader.0),
        leader_epoch: assignment.leader_epoch.0,
        replica_nodes: assignment.replicas.iter().map(|id| id.0).collect(),
        isr_nodes: assignment
            .isr
            .iter()
            .map(|member| member.broker)
            .filter(|id| !is_dead(*id))
            .map(|id| id.0)
            .collect(),
        offline_replicas: assignment.replicas.iter().copied().filter(|id| is_dead(*id)).map(|id| id.0).collect(),
    }
}

/// The dead members of the ISR, which may lead when they return (KIP-966).
pub(crate) fn eligible_leader_replicas(context: &Context, assignment: &Assignment) -> Vec<i32> {
    let is_dead = |id| context.image.brokers.get(&id).is_none_or(|broker| !broker.alive);
    assignment.isr.iter().map(|member| member.broker).filter(|id| is_dead(*id)).map(|id| id.0).collect()
}

fn topic_defaults() -> MetadataResponseTopic {
    MetadataResponseTopic { topic_authorized_operations: operations::NOT_ASKED, ..Default::default() }
}

/// Versions 10 and 11 have ids in requests, but nobody may use them yet (KAFKA-12701).
fn ids_too_early(topics: Vec<MetadataRequestTopic>) -> MetadataResponse {
    let refused = topics.into_iter().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST,
        name: Some(topic.name.unwrap_or_default()),
        topic_id: topic.topic_id,
        ..topic_defaults()
    });
    MetadataResponse { topics: refused.collect(), ..Default::default() }
}
