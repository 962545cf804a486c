//! The resources of configuration requests: topics, brokers, loggers and others, and how their settings are changed.

use ottla_access::Operation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_config::alter::SettingChange;
use ottla_config::{
    BrokerSettings, Config, Entity, Op, SettingError, alter_broker, alter_group, alter_one_broker, alter_topic,
    check_client_metrics,
};
use ottla_wire::ErrorCode;

use crate::ask::{Ask, AskRefusal, Swap, Whose};
use crate::env;
use crate::handle::context::{Context, Deadline};
use crate::loggers;

/// Kafka's numbers for the types of resources (`ConfigResource.Type`).
pub(super) mod kind {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    pub(crate) const BROKER_LOGGER: i8 = 8;
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;
}

/// A change of one setting.
pub(super) struct ConfigChange {
    /// The operation.
    pub op: Op,
    /// The setting.
    pub name: String,
    /// The value; `None` if the operation needs none.
    pub value: Option<String>,
}

/// Whether settings that a request does not name are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// They are kept (IncrementalAlterConfigs).
    Stay,
    /// They are removed (AlterConfigs).
    Go,
}

/// How often a change is tried when another writer changes the same object meanwhile.
const ATTEMPTS: usize = 5;
/// The longest wait for the image to show the other writer's change.
const PAUSE: Duration = Duration::from_secs(1);

/// Changes a resource's settings: all of them or none.
pub(super) async fn alter(
    context: &Context,
    kind: i8,
    name: &str,
    changes: Result<Vec<ConfigChange>, AskRefusal>,
    others: Others,
    validate_only: bool,
    deadline: Deadline,
) -> Result<(), AskRefusal> {
    // Kafka's order: the broker that gets the request looks at it, and at settings of brokers, before the controller
    // asks whether the client may change them.
    if let Ok(changes) = &changes {
        check_form(changes)?;
    }
    if kind == kind::BROKER {
        let changes = changes.as_ref().map_err(Clone::clone)?;
        altered_brokers(context, &context.image.settings, name, &as_changes(changes), others)?;
    }
    check_may(context, Operation::AlterConfigs, kind, name)?;
    let changes = changes?;
    let changes = as_changes(&changes);
    let base = |config: &BTreeMap<String, String>| base(config, others);
    let mut tried = 0;
    loop {
        tried += 1;
        // The newest image each time: a change that came in between is taken into account.
        let image = context.handler.images.borrow().clone();
        let changed = match kind {
            kind::TOPIC => {
                let Some(topic) = image.topic(name) else {
                    // As in Kafka, what is wrong with the settings is said first.
                    alter_topic(&BTreeMap::new(), &changes, &image.settings).map_err(refuse)?;
                    let message = format!("The topic '{name}' does not exist.");
                    return Err(AskRefusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
                };
                let to = alter_topic(&base(&topic.config), &changes, &image.settings).map_err(refuse)?;
                let (topic_id, from) = (topic.id, topic.config.clone());
                if to == from {
                    return Ok(());
                }
                let set = |answer| Ask::SetTopicConfig { topic_id, from, to, answer };
                context.ask_or_validate(validate_only, deadline, set).await
            }
            kind::BROKER => {
                let (whose, from, to) = altered_brokers(context, &image.settings, name, &changes, others)?;
                if to == from {
                    return Ok(());
                }
                let set = |answer| Ask::SetClusterConfig { whose, from, to, answer };
                context.ask_or_validate(validate_only, deadline, set).await
            }
            kind::BROKER_LOGGER if others == Others::Stay => return set_levels(context, name, &changes, validate_only),
            kind::GROUP if name.is_empty() => {
                return Err(AskRefusal::new(ErrorCode::INVALID_CONFIG, "Default group resources are not allowed."));
            }
            kind::GROUP => {
                let from = image.group_config(name).clone();
                let to = alter_group(&base(&from), &changes, &image.settings).map_err(refuse)?;
                if to == from {
                    return Ok(());
                }
                let whose = Whose::Group(name.into());
                let set = |answer| Ask::SetClusterConfig { whose, from, to, answer };
                context.ask_or_validate(validate_only, deadline, set).await
            }
            kind::CLIENT_METRICS if name.is_empty() => {
                return Err(AskRefusal::new(ErrorCode::INVALID_REQUEST, "Subscription name can't be empty"));
            }
            kind::CLIENT_METRICS => {
                return check_client_metrics(&changes).map_err(refuse_of_client_metrics);
            }
            other => {
                return Err(AskRefusal::new(ErrorCode::INVALID_REQUEST, format!("Unknown resource type {other}")));
            }
        };
        match changed? {
            None | Some(Swap::Done) => return Ok(()),
            Some(Swap::Moved) if tried < ATTEMPTS => {
                let mut images = context.handler.images.clone();
                tokio::select! {
                    _ = images.wait_for(|newer| !Arc::ptr_eq(newer, &image)) => {}
                    () = env::sleep_until(deadline.0.min(env::now() + PAUSE)) => {}
                }
            }
            Some(Swap::Moved) => {
                let message = format!("Another client kept changing {name}; try again.");
                return Err(AskRefusal { code: ErrorCode::REQUEST_TIMED_OUT, message });
            }
        }
    }
}

fn as_changes(changes: &[ConfigChange]) -> Vec<SettingChange<'_>> {
    changes.iter().map(|change| (change.op, change.name.as_str(), change.value.as_deref())).collect()
}

/// The settings that the changes are made to.
fn base(config: &BTreeMap<String, String>, others: Others) -> BTreeMap<String, String> {
    match others {
        Others::Stay => config.clone(),
        Others::Go => BTreeMap::new(),
    }
}

/// Whether each setting is named once, with a value where the operation needs one.
fn check_form(changes: &[ConfigChange]) -> Result<(), AskRefusal> {
    let mut names = BTreeSet::new();
    if !changes.iter().all(|change| names.insert(&change.name)) {
        return Err(refuse(SettingError::Duplicate));
    }
    match changes.iter().find(|change| change.op != Op::Delete && change.value.is_none()) {
        Some(change) => Err(refuse(SettingError::Null { name: change.name.clone() })),
        None => Ok(()),
    }
}

/// The settings of all brokers, if `name` is empty, or of this one: whose, before and after the changes.
fn altered_brokers(
    context: &Context,
    settings: &BrokerSettings,
    name: &str,
    changes: &[SettingChange<'_>],
    others: Others,
) -> Result<(Whose, Config, Config), AskRefusal> {
    if name.is_empty() {
        let from = settings.config().clone();
        let mut to = alter_broker(&base(&from, others), changes).map_err(refuse_of_brokers)?;
        if others == Others::Go {
            // This request may not remove settings that a running broker can't change.
            keep_static(&from, &mut to);
        }
        return Ok((Whose::All, from, to));
    }
    check_is_this_node(context, name, "broker id, expected", " but")?;
    let from = settings.own_config().clone();
    let to = alter_one_broker(settings, &base(&from, others), changes).map_err(refuse_of_brokers)?;
    Ok((Whose::Own, from, to))
}

/// Whether the client may do this to the settings of a resource. Those of brokers are the cluster's.
///
/// # Errors
/// The code of the resource's type. A type that there is not is refused later.
pub(super) fn check_may(context: &Context, operation: Operation, kind: i8, name: &str) -> Result<(), AskRefusal> {
    let (may, code) = match kind {
        kind::TOPIC => (context.may_topic(operation, name), ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        kind::GROUP => (context.may_group(operation, name), ErrorCode::GROUP_AUTHORIZATION_FAILED),
        kind::BROKER | kind::BROKER_LOGGER | kind::CLIENT_METRICS => {
            (context.may_cluster(operation), ErrorCode::CLUSTER_AUTHORIZATION_FAILED)
        }
        _ => return Ok(()),
    };
    if may { Ok(()) } else { Err(AskRefusal::new(code, "Not authorized.")) }
}

/// Kafka sends a change of one broker, or of its loggers, to that broker.
fn check_is_this_node(context: &Context, name: &str, expected: &str, but: &str) -> Result<(), AskRefusal> {
    let own = context.handler.id;
    let message = match name.parse::<i32>() {
        Ok(id) if id == own.0 => return Ok(()),
        Ok(_) => format!("Unexpected {expected} {own},{but} received {name}"),
        Err(_) => format!("Node id must be an integer, but it is: {name}"),
    };
    Err(AskRefusal { code: ErrorCode::INVALID_REQUEST, message })
}

/// Changes the levels of this process's loggers, until it ends (KIP-412).
fn set_levels(
    context: &Context,
    name: &str,
    changes: &[SettingChange<'_>],
    validate_only: bool,
) -> Result<(), AskRefusal> {
    check_is_this_node(context, name, "node id. Expected", " but")?;
    let mut levels = BTreeMap::new();
    for &(op, logger, level) in changes {
        let refuse_op = || {
            let message = format!("{op} operation is not allowed for the BROKER_LOGGER resource");
            Err(AskRefusal { code: ErrorCode::INVALID_REQUEST, message })
        };
        let level = match op {
            Op::Set => Some(level.ok_or_else(|| refuse(SettingError::Null { name: logger.to_owned() }))?),
            Op::Delete => None,
            Op::Append | Op::Subtract => return refuse_op(),
        };
        levels.insert(logger, level);
    }
    loggers::set(&levels, validate_only).map_err(|wrong| {
        let code = match wrong {
            loggers::Wrong::Unknown(_) | loggers::Wrong::Level { .. } => ErrorCode::INVALID_CONFIG,
            loggers::Wrong::Root => ErrorCode::INVALID_REQUEST,
            loggers::Wrong::NotApplied(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        };
        AskRefusal { code, message: wrong.to_string() }
    })?;
    if !validate_only {
        context.audit(&format!("sets levels of loggers of this broker: {levels:?}"));
    }
    Ok(())
}

fn keep_static(from: &BTreeMap<String, String>, to: &mut BTreeMap<String, String>) {
    for (name, value) in from {
        let is_static = Entity::Broker.setting(name).is_ok_and(|setting| !setting.is_dynamic());
        if is_static {
            to.insert(name.clone(), value.clone());
        }
    }
}

fn refuse(error: SettingError) -> AskRefusal {
    let code = match error {
        SettingError::Duplicate | SettingError::Null { .. } => ErrorCode::INVALID_REQUEST,
        SettingError::Unknown { .. }
        | SettingError::Invalid { .. }
        | SettingError::Unsupported { .. }
        | SettingError::Conflict(_)
        | SettingError::NotAList { .. }
        | SettingError::ReadOnly { .. }
        | SettingError::PerBroker { .. } => ErrorCode::INVALID_CONFIG,
    };
    AskRefusal { code, message: error.to_string() }
}

/// Kafka has another code for values that brokers can't have (KAFKA-13609).
fn refuse_of_brokers(error: SettingError) -> AskRefusal {
    match error {
        SettingError::NotAList { .. } => refuse(error),
        SettingError::Duplicate
        | SettingError::Null { .. }
        | SettingError::Unknown { .. }
        | SettingError::Invalid { .. }
        | SettingError::Unsupported { .. }
        | SettingError::Conflict(_)
        | SettingError::ReadOnly { .. }
        | SettingError::PerBroker { .. } => AskRefusal { code: ErrorCode::INVALID_REQUEST, message: error.to_string() },
    }
}

/// Kafka has words and a code of its own for settings that subscriptions do not have.
fn refuse_of_client_metrics(error: SettingError) -> AskRefusal {
    match error {
        SettingError::Unknown { name, .. } => {
            AskRefusal::new(ErrorCode::INVALID_REQUEST, format!("Unknown client metrics configuration: {name}"))
        }
        error => refuse(error),
    }
}

/// The refusal of a request that names a resource twice.
pub(super) fn repeated_resource() -> AskRefusal {
    AskRefusal::new(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once.")
}
