//! What configuration requests name: topics, brokers and the rest, and how their settings are changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::alter::Change as SettingChange;
use ottla_config::{Op, SettingError, THROTTLE_RATES, alter_broker, alter_topic};
use ottla_wire::ErrorCode;

use super::{Context, Deadline};
use crate::ask::{Ask, Refused, Swap};
use crate::env;
use crate::image::BrokerId;

/// Kafka's numbers for the types of resources (`ConfigResource.Type`).
pub mod kind {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;
}

/// A change of one setting.
pub struct Change {
    /// What is done.
    pub op: Op,
    /// The setting.
    pub name: String,
    /// The value, where one is needed.
    pub value: Option<String>,
}

/// What becomes of settings that a request does not name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They stay (IncrementalAlterConfigs).
    Stay,
    /// They go (AlterConfigs).
    Go,
}

/// How often a change is tried again when somebody else changed the same object meanwhile.
const ATTEMPTS: usize = 5;
/// How long to wait at most for the image to show what they made of it.
const PAUSE: Duration = Duration::from_secs(1);

/// Changes a resource's settings: all of them or none.
pub async fn alter(
    context: &Context,
    kind: i8,
    name: &str,
    changes: &[Change],
    others: Others,
    validate_only: bool,
    deadline: Deadline,
) -> Result<(), Refused> {
    let changes: Vec<_> = changes.iter().map(|c| (c.op, c.name.as_str(), c.value.as_deref())).collect();
    let base = |config: &BTreeMap<String, String>| match others {
        Others::Stay => config.clone(),
        Others::Go => BTreeMap::new(),
    };
    let mut tried = 0;
    loop {
        tried += 1;
        // The newest image each time: a change that came in between is taken into account.
        let image = context.handler.images.borrow().clone();
        let changed = match kind {
            kind::TOPIC => {
                let topic = image.topic(name).ok_or_else(|| {
                    Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic '{name}' does not exist."))
                })?;
                let to = alter_topic(&base(&topic.config), &changes, &image.settings).map_err(refuse)?;
                let (topic_id, from) = (topic.id, topic.config.clone());
                if validate_only || to == from {
                    return Ok(());
                }
                context.ask(deadline, |answer| Ask::SetTopicConfig { topic_id, from, to, answer }).await
            }
            kind::BROKER => {
                let changes = cluster_wide(context, name, &changes, others)?;
                let from = image.settings.config().clone();
                let mut to = alter_broker(&base(&from), &changes).map_err(refuse_of_brokers)?;
                if others == Others::Go {
                    // What brokers can't change while they run is not this request's to remove.
                    keep_static(&from, &mut to);
                }
                if validate_only || to == from {
                    return Ok(());
                }
                context.ask(deadline, |answer| Ask::SetBrokerConfig { from, to, answer }).await
            }
            other => return Err(unsupported(other)),
        };
        match changed? {
            Swap::Done => return Ok(()),
            Swap::Moved if tried < ATTEMPTS => {
                let mut images = context.handler.images.clone();
                tokio::select! {
                    _ = images.wait_for(|newer| !Arc::ptr_eq(newer, &image)) => {}
                    () = env::sleep_until(deadline.0.min(env::now() + PAUSE)) => {}
                }
            }
            Swap::Moved => {
                let message = format!("Somebody else kept changing {name}; try again.");
                return Err(Refused { code: ErrorCode::REQUEST_TIMED_OUT, message });
            }
        }
    }
}

/// What becomes of the cluster's settings. They hold for all brokers together, but `kafka-reassign-partitions` sets and clears throttles'
/// rates on each broker: so on all. Among what it clears is also what no broker has.
fn cluster_wide<'c>(
    context: &Context,
    name: &str,
    changes: &[SettingChange<'c>],
    others: Others,
) -> Result<Vec<SettingChange<'c>>, Refused> {
    if name.is_empty() {
        return Ok(changes.to_vec());
    }
    let refuse = |message: String| Err(Refused { code: ErrorCode::INVALID_REQUEST, message });
    if !is_broker(context, name) {
        return refuse(format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            context.handler.id
        ));
    }
    let (rates, rest): (Vec<SettingChange<'c>>, Vec<SettingChange<'c>>) =
        changes.iter().partition(|(_, name, _)| THROTTLE_RATES.contains(name));
    if others == Others::Go || rest.iter().any(|(op, ..)| *op != Op::Delete) {
        return refuse(
            "Settings of a single broker are not supported: all brokers share the cluster's. Use --entity-default."
                .to_owned(),
        );
    }
    Ok(rates)
}

fn is_broker(context: &Context, name: &str) -> bool {
    name.parse().is_ok_and(|id| context.image.brokers.contains_key(&BrokerId(id)))
}

fn keep_static(from: &BTreeMap<String, String>, to: &mut BTreeMap<String, String>) {
    for (name, value) in from {
        let is_static = ottla_config::Entity::Broker.setting(name).is_ok_and(|setting| !setting.dynamic);
        if is_static {
            to.insert(name.clone(), value.clone());
        }
    }
}

fn refuse(error: SettingError) -> Refused {
    let code = match error {
        SettingError::Duplicate | SettingError::Null { .. } => ErrorCode::INVALID_REQUEST,
        SettingError::Unknown { .. }
        | SettingError::Invalid { .. }
        | SettingError::Unsupported { .. }
        | SettingError::Conflict(_)
        | SettingError::NotAList { .. }
        | SettingError::ReadOnly { .. } => ErrorCode::INVALID_CONFIG,
    };
    Refused { code, message: error.to_string() }
}

/// Kafka has another code for values that brokers can't have (KAFKA-13609).
fn refuse_of_brokers(error: SettingError) -> Refused {
    match error {
        SettingError::NotAList { .. } => refuse(error),
        SettingError::Duplicate
        | SettingError::Null { .. }
        | SettingError::Unknown { .. }
        | SettingError::Invalid { .. }
        | SettingError::Unsupported { .. }
        | SettingError::Conflict(_)
        | SettingError::ReadOnly { .. } => Refused { code: ErrorCode::INVALID_REQUEST, message: error.to_string() },
    }
}

/// A request that names a resource twice: which of the two was meant?
pub fn repeated_resource() -> Refused {
    Refused::new(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once.")
}

/// What Kafka has and Ottla does not.
pub fn unsupported(kind: i8) -> Refused {
    let message = match kind {
        kind::BROKER_LOGGER => "Log levels can not be changed through Kafka; set RUST_LOG.".to_owned(),
        kind::CLIENT_METRICS => "Client metrics are not supported.".to_owned(),
        kind::GROUP => "Group configurations are not supported.".to_owned(),
        other => format!("Unknown resource type {other}"),
    };
    Refused { code: ErrorCode::INVALID_REQUEST, message }
}
