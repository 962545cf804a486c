//! CreateTopics (KIP-4, KIP-464, KIP-525): a topic becomes a KafkaTopic object; answered when this broker's image shows
//! it.
//!
//! Every broker takes it, as every broker names itself controller.

use ottla_access::{Operation, ResourceType};
use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use ottla_config::{check_topic_config, describe_topic};
use ottla_wire::m19_create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use ottla_wire::{ErrorCode, Uuid};

use crate::ask::{Ask, AskRefusal, NewTopic};
use crate::handle::context::{Context, Deadline};
use crate::handle::names::check_topic_name;
use crate::handle::once::once;
use crate::image::{Broker, BrokerId};
use crate::reply::Reply;

/// How many partitions all topics of a request may have (`ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`).
const MAX_PARTITIONS: usize = 10_000;
/// The version from which on a client knows that it is over its quota (KIP-599).
const REFUSABLE_FROM: i16 = 6;
/// How many changes a request may make: one for each topic, override and partition
/// (`QuorumController.MAX_RECORDS_PER_USER_OP`).
pub(crate) const MAX_CHANGES: usize = 10_000;

/// Asks for all topics at once.
pub(crate) fn handle(context: &Context, request: CreateTopicsRequest) -> Reply {
    let CreateTopicsRequest { topics, timeout_ms, validate_only } = request;
    let deadline = Deadline::after_ms(timeout_ms);
    let context_later = context.clone();
    context.later(async move {
        let (topics, denied) = split(&context_later, topics);
        let mut topics = create_all(&context_later, topics, validate_only, deadline).await;
        for topic in topics.iter_mut().filter(|topic| topic.error_code == ErrorCode::NONE) {
            hide_configs(&context_later, topic);
        }
        topics.extend(denied);
        CreateTopicsResponse { topics, ..Default::default() }
    })
}

/// The topics that the client may create, and the results of the others. Those that are named twice are refused all
/// the same, as in Kafka.
fn split(context: &Context, topics: Vec<CreatableTopic>) -> (Vec<CreatableTopic>, Vec<CreatableTopicResult>) {
    if context.sees_cluster(Operation::Create) {
        return (topics, Vec::new());
    }
    let (mut names, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for topic in &topics {
        if !names.insert(topic.name.clone()) {
            repeated.insert(topic.name.clone());
        }
    }
    let may =
        |topic: &CreatableTopic| repeated.contains(&topic.name) || context.may_topic(Operation::Create, &topic.name);
    let (allowed, denied): (Vec<_>, Vec<_>) = topics.into_iter().partition(may);
    let denied = denied.into_iter().map(|topic| CreatableTopicResult {
        name: topic.name,
        error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        configs: Some(Vec::new()),
        ..Default::default()
    });
    (allowed, denied.collect())
}

/// Leaves out what the client may not see of a topic that was created.
fn hide_configs(context: &Context, topic: &mut CreatableTopicResult) {
    if !context.sees(Operation::DescribeConfigs, ResourceType::Topic, &topic.name) {
        topic.topic_config_error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        (topic.num_partitions, topic.replication_factor) = (-1, -1);
        topic.configs = Some(Vec::new());
    }
}

/// Creates the topics of one request, or says of each why not.
pub(crate) async fn create_all(
    context: &Context,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
    deadline: Deadline,
) -> Vec<CreatableTopicResult> {
    if let Err(refused) = check_size(context, &topics) {
        let refuse = |topic: CreatableTopic| CreatableTopicResult { name: topic.name, ..refusal(&refused) };
        return topics.into_iter().map(refuse).collect();
    }
    let topics = once(topics, |topic| topic.name.clone());
    let (unique, repeated): (Vec<_>, Vec<_>) = topics.into_iter().partition(|(_, times)| *times == 1);
    let created = unique.into_iter().map(|(topic, _)| create(context, topic, validate_only, deadline));
    let mut results = join_all(created).await;
    results.extend(repeated.into_iter().map(|(topic, _)| CreatableTopicResult {
        name: topic.name,
        ..refusal(&AskRefusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."))
    }));
    results
}

/// Whether a request is small enough to be looked at.
fn check_size(context: &Context, topics: &[CreatableTopic]) -> Result<(), AskRefusal> {
    let partitions = |topic: &CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => usize::try_from(context.image.settings.num_partitions).unwrap_or(0),
        (0, count) => usize::try_from(count).unwrap_or(0),
        (assigned, _) => assigned,
    };
    if topics.iter().map(partitions).sum::<usize>() > MAX_PARTITIONS {
        return Err(AskRefusal::new(
            ErrorCode::POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ));
    }
    let good = topics.iter().filter(|topic| check(context, topic).is_ok());
    if good.map(|topic| 1 + topic.configs.len() + partitions(topic)).sum::<usize>() > MAX_CHANGES {
        return Err(too_many_changes());
    }
    Ok(())
}

/// A request that makes more than [`MAX_CHANGES`] changes.
pub(crate) fn too_many_changes() -> AskRefusal {
    AskRefusal::new(ErrorCode::POLICY_VIOLATION, "Unable to perform excessively large batch operation.")
}

async fn create(
    context: &Context,
    wanted: CreatableTopic,
    validate_only: bool,
    deadline: Deadline,
) -> CreatableTopicResult {
    let created = async {
        let topic = check(context, &wanted)?;
        let success = success(context, &topic);
        context.take_mutations(usize::try_from(success.num_partitions).unwrap_or(0), REFUSABLE_FROM)?;
        let create = |answer| Ask::CreateTopic { topic, answer };
        let topic_id = context.ask_or_validate(validate_only, deadline, create).await?;
        Ok(CreatableTopicResult { topic_id: topic_id.unwrap_or(success.topic_id), ..success })
    };
    let result = created.await.unwrap_or_else(|refused: AskRefusal| refusal(&refused));
    CreatableTopicResult { name: wanted.name, ..result }
}

/// Everything that can be said without asking (`ReplicationControlManager.createTopic`).
fn check(context: &Context, wanted: &CreatableTopic) -> Result<NewTopic, AskRefusal> {
    let refuse = |code, message: String| Err(AskRefusal { code, message });
    let (name, image) = (&wanted.name, &context.image);
    if let Err(message) = check_topic_name(name) {
        return refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, message);
    }
    if image.topic(name).is_some() {
        return refuse(ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists."));
    }
    if let Some(other) = image.colliding(name) {
        let message = format!("Topic '{name}' collides with existing topic: {other}");
        return refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, message);
    }
    let mut config = BTreeMap::new();
    for setting in &wanted.configs {
        let Some(value) = &setting.value else {
            let message = format!("Null value not supported for topic configs: {}", setting.name);
            return refuse(ErrorCode::INVALID_CONFIG, message);
        };
        config.insert(setting.name.to_string(), value.to_string());
    }
    check_topic_config(&config, &image.settings)
        .map_err(|error| AskRefusal::new(ErrorCode::INVALID_CONFIG, error.to_string()))?;

    let given = |number: i32| (number != -1).then_some(number);
    let assignments = assignments(context, wanted)?;
    let (partitions, replication_factor) = match assignments.first() {
        Some(replicas) => (Some(assignments.len() as i32), Some(replicas.len() as i32)),
        None => (given(wanted.num_partitions), given(i32::from(wanted.replication_factor))),
    };
    if assignments.is_empty() {
        if partitions.is_some_and(|count| count < 1) {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return refuse(ErrorCode::INVALID_PARTITIONS, message.to_owned());
        }
        let factor = replication_factor.unwrap_or(i32::from(image.settings.default_replication_factor));
        check_replication_factor(factor, context)?;
        check_somebody_can_lead(factor, context)?;
    }
    Ok(NewTopic {
        name: name.clone(),
        partitions,
        replication_factor: replication_factor.map(|f| f as i16),
        config,
        assignments,
    })
}

/// Brokers that are away count: their replicas follow when they are back.
fn check_replication_factor(factor: i32, context: &Context) -> Result<(), AskRefusal> {
    let refuse = |message: String| Err(AskRefusal { code: ErrorCode::INVALID_REPLICATION_FACTOR, message });
    if factor < 1 {
        return refuse("Replication factor must be larger than 0, or -1 to use the default value.".to_owned());
    }
    // This broker is one, also where the image does not show it yet.
    let registered = context.image.members().count().max(1);
    if usize::try_from(factor).is_ok_and(|factor| factor > registered) {
        return refuse(format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be reached \
             because only {registered} broker(s) are registered or some brokers have all their log directories cordoned."
        ));
    }
    Ok(())
}

/// Whether partitions that the operator places have somebody to lead them. Like [`Context::is_there`], this counts the
/// answering broker also where the image does not show it yet.
pub(crate) fn check_somebody_can_lead(factor: i32, context: &Context) -> Result<(), AskRefusal> {
    let (image, me) = (&context.image, context.handler.id);
    let can_lead = |broker: &Broker| context.is_there(broker) && !broker.draining;
    if !image.brokers.contains_key(&me) || image.brokers.values().any(can_lead) {
        return Ok(());
    }
    let message = format!(
        "Unable to replicate the partition {factor} time(s): All brokers are currently fenced or in controlled shutdown."
    );
    Err(AskRefusal { code: ErrorCode::INVALID_REPLICATION_FACTOR, message })
}

/// Replicas by partition as the request gives them, or none.
fn assignments(context: &Context, wanted: &CreatableTopic) -> Result<Vec<Vec<BrokerId>>, AskRefusal> {
    if wanted.assignments.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |code, message: String| Err(AskRefusal { code, message });
    if wanted.replication_factor != -1 {
        let message = "A manual partition assignment was specified, but replication factor was not set to -1.";
        return refuse(ErrorCode::INVALID_REQUEST, message.to_owned());
    }
    if wanted.num_partitions != -1 {
        let message = "A manual partition assignment was specified, but numPartitions was not set to -1.";
        return refuse(ErrorCode::INVALID_REQUEST, message.to_owned());
    }
    let mut by_index = BTreeMap::new();
    let mut factor = None;
    for assignment in &wanted.assignments {
        let index = assignment.partition_index;
        if by_index.contains_key(&index) {
            let message = format!("Found multiple manual partition assignments for partition {index}");
            return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
        }
        let replicas: Vec<BrokerId> = assignment.broker_ids.iter().map(|id| BrokerId(*id)).collect();
        check_replicas(context, &replicas, factor)?;
        check_can_begin(context, index, &replicas)?;
        factor = Some(replicas.len());
        by_index.insert(index, replicas);
    }
    if !by_index.keys().copied().eq(0..by_index.len() as i32) {
        let message = "partitions should be a consecutive 0-based integer sequence".to_owned();
        return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
    }
    Ok(by_index.into_values().collect())
}

/// Whether a partition may be on these brokers, as many as those of its topic's other partitions where a `factor` is
/// given (`ReplicationControlManager.validateManualPartitionAssignment`).
pub(crate) fn check_replicas(
    context: &Context,
    replicas: &[BrokerId],
    factor: Option<usize>,
) -> Result<(), AskRefusal> {
    let refuse = |message: String| Err(AskRefusal { code: ErrorCode::INVALID_REPLICA_ASSIGNMENT, message });
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut before = None;
    for id in sorted {
        if !context.image.members().any(|member| member == id) {
            return refuse(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if before == Some(id) {
            return refuse(format!("The manual partition assignment includes the broker {id} more than once."));
        }
        before = Some(id);
    }
    let count = replicas.len();
    match factor.filter(|factor| *factor != count) {
        Some(factor) => refuse(format!(
            "The manual partition assignment includes a partition with {count} replica(s), but this is not consistent with \
             previous partitions, which have {factor} replica(s)."
        )),
        None => Ok(()),
    }
}

/// Whether a new partition has somebody to lead it on these brokers.
pub(crate) fn check_can_begin(context: &Context, partition: i32, replicas: &[BrokerId]) -> Result<(), AskRefusal> {
    let can_lead = |id: &BrokerId| context.image.brokers.get(id).is_some_and(|broker| broker.alive && !broker.draining);
    if replicas.iter().any(can_lead) {
        return Ok(());
    }
    let message = format!(
        "All brokers specified in the manual partition assignment for partition {partition} are fenced or in controlled \
         shutdown."
    );
    Err(AskRefusal { code: ErrorCode::INVALID_REPLICA_ASSIGNMENT, message })
}

fn success(context: &Context, topic: &NewTopic) -> CreatableTopicResult {
    let settings = &context.image.settings;
    let configs = describe_topic(&topic.config, settings).into_iter().map(|setting| CreatableTopicConfigs {
        name: setting.name.into_owned().into(),
        value: setting.value.map(Into::into),
        read_only: setting.read_only,
        config_source: setting.source as i8,
        is_sensitive: setting.sensitive,
    });
    CreatableTopicResult {
        topic_id: Uuid::nil(),
        num_partitions: topic.partitions.unwrap_or(settings.num_partitions),
        replication_factor: topic.replication_factor.unwrap_or(settings.default_replication_factor),
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

fn refusal(refused: &AskRefusal) -> CreatableTopicResult {
    CreatableTopicResult {
        error_code: refused.code,
        error_message: Some(refused.message.as_str().into()),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
