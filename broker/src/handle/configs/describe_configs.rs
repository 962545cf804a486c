//! DescribeConfigs (KIP-133, KIP-226, KIP-412, KIP-569): every setting, the source of its value, and its type.

use ottla_access::Operation;
use std::collections::{BTreeMap, BTreeSet};

use ottla_config::{
    Described, describe_broker, describe_client_metrics, describe_cluster, describe_group, describe_topic,
};
use ottla_wire::m32_describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_wire::{ErrorCode, Str};

use super::resources::{check_may, kind, repeated_resource};
use crate::ask::AskRefusal;
use crate::handle::context::Context;
use crate::handle::names::check_topic_name;
use crate::handle::once::once;
use crate::image::Endpoint;
use crate::loggers;
use crate::reply::Reply;

/// Kafka's message for a malformed request (`Errors.INVALID_REQUEST`).
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the \
    message was sent to an incompatible broker. See the broker logs for more details.";

/// Answers from the image.
pub(crate) fn handle(context: &Context, request: DescribeConfigsRequest) -> Reply {
    // A few bytes are answered with hundreds of settings: once.
    let resources = once(&request.resources, |resource| (resource.resource_type, &resource.resource_name));
    let results = resources.into_iter().map(|(resource, times)| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        let (kind, name) = (resource.resource_type, &resource.resource_name);
        let may = check_may(context, Operation::DescribeConfigs, kind, name);
        let described = if let Err(denied) = may {
            Err(denied)
        } else if times == 1 {
            describe(context, resource, &request)
        } else {
            Err(repeated_resource())
        };
        match described {
            Ok(mut configs) => {
                let keys: BTreeSet<&str> = resource.configuration_keys.iter().flatten().map(|key| &**key).collect();
                configs.retain(|config| keys.is_empty() || keys.contains(&*config.name));
                // Kafka says "no error" with an empty message.
                result.error_message = Some(Str::new());
                result.configs = configs;
            }
            Err(refused) => (result.error_code, result.error_message) = AskRefusal::to_wire(Some(refused)),
        }
        result
    });
    context.reply(&DescribeConfigsResponse { results: results.collect(), ..Default::default() })
}

fn describe(
    context: &Context,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Vec<DescribeConfigsResourceResult>, AskRefusal> {
    let (name, settings) = (&resource.resource_name, &context.image.settings);
    let invalid = |message: &str| Err(AskRefusal::new(ErrorCode::INVALID_REQUEST, message));
    let described = match resource.resource_type {
        kind::TOPIC => {
            check_topic_name(name).map_err(|message| AskRefusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message))?;
            let topic = context.image.topic(name);
            let topic = topic.ok_or_else(|| AskRefusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ""))?;
            describe_topic(&topic.config, settings)
        }
        kind::BROKER if name.is_empty() => describe_cluster(settings),
        kind::BROKER => {
            check_is_this_broker(context, name, " or empty string,")?;
            describe_broker(settings, &facts(context))
        }
        kind::BROKER_LOGGER if name.is_empty() => return invalid("Broker id must not be empty"),
        kind::BROKER_LOGGER => {
            check_is_this_broker(context, name, "")?;
            return Ok(loggers::levels().into_iter().map(|(name, level)| logger(name, level)).collect());
        }
        kind::GROUP if name.is_empty() => return invalid("Group name must not be empty"),
        kind::GROUP => describe_group(context.image.group_config(name), settings),
        kind::CLIENT_METRICS if name.is_empty() => {
            return invalid("Client metrics subscription name must not be empty");
        }
        kind::CLIENT_METRICS => describe_client_metrics(),
        _ => return invalid(MALFORMED),
    };
    Ok(described.into_iter().map(|setting| to_wire(setting, request)).collect())
}

/// Kafka's message names the accepted alternatives to this broker's id.
fn check_is_this_broker(context: &Context, name: &str, or_else: &str) -> Result<(), AskRefusal> {
    let own = context.handler.id;
    let message = match name.parse::<i32>() {
        Ok(id) if id == own.0 => return Ok(()),
        Ok(_) => format!("Unexpected broker id, expected {own}{or_else} but received {name}"),
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err(AskRefusal::new(ErrorCode::INVALID_REQUEST, message))
}

/// This broker's properties that no setting sets.
fn facts(context: &Context) -> BTreeMap<&'static str, String> {
    let (handler, image) = (&context.handler, &context.image);
    let mut facts = handler.facts.clone();
    if !image.inter_broker_listener.is_empty() {
        facts.insert("inter.broker.listener.name", image.inter_broker_listener.to_uppercase());
    }
    if let Some(broker) = image.brokers.get(&handler.id) {
        let endpoint = |(name, endpoint): (&Str, &Endpoint)| {
            format!("{}://{}:{}", name.to_uppercase(), endpoint.host, endpoint.port)
        };
        let advertised: Vec<String> = broker.endpoints.iter().map(endpoint).collect();
        facts.insert("advertised.listeners", advertised.join(","));
        facts.extend(broker.rack.as_ref().map(|rack| ("broker.rack", rack.to_string())));
    }
    facts
}

/// Kafka's source of a logger's level (`DYNAMIC_BROKER_LOGGER_CONFIG`).
const LOGGER: i8 = 6;

fn logger(name: String, level: &'static str) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: name.into(),
        value: Some(level.into()),
        config_source: LOGGER,
        ..Default::default()
    }
}

fn to_wire(setting: Described, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms = if request.include_synonyms { setting.synonyms } else { Vec::new() };
    let synonyms = synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: Str::from(&*synonym.name),
        value: synonym.value.map(Str::from),
        source: synonym.source as i8,
    });
    DescribeConfigsResourceResult {
        name: Str::from(&*setting.name),
        value: setting.value.map(Str::from),
        read_only: setting.read_only,
        config_source: setting.source as i8,
        is_sensitive: setting.sensitive,
        synonyms: synonyms.collect(),
        config_type: setting.kind as i8,
        documentation: request.include_documentation.then(|| setting.documentation.into()),
    }
}
