//! DescribeConfigs (KIP-133, KIP-226, KIP-569): every setting there is, where its value comes from and what else it could be.

use std::collections::BTreeSet;

use ottla_config::{Described, describe_broker, describe_cluster, describe_topic};
use ottla_wire::m32_describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_wire::{ErrorCode, Str};

use super::Context;
use super::names::check_topic_name;
use super::once::once;
use super::resources::{kind, repeated_resource, unsupported};
use crate::ask::Refused;
use crate::reply::Reply;

/// What Kafka says to a request that makes no sense (`Errors.INVALID_REQUEST`).
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the \
    message was sent to an incompatible broker. See the broker logs for more details.";

/// Answers from the image.
pub fn handle(context: &Context, request: DescribeConfigsRequest) -> Reply {
    // A few bytes are answered with hundreds of settings: once.
    let resources = once(&request.resources, |resource| (resource.resource_type, &resource.resource_name));
    let results = resources.into_iter().map(|(resource, times)| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        let described = if times == 1 { describe(context, resource) } else { Err(repeated_resource()) };
        match described {
            Ok(described) => {
                let keys: BTreeSet<&str> = resource.configuration_keys.iter().flatten().map(|key| &**key).collect();
                let wanted = |name: &str| keys.is_empty() || keys.contains(name);
                // Kafka says "no error" with an empty message.
                result.error_message = Some(Str::new());
                let described = described.into_iter().filter(|setting| wanted(setting.name));
                result.configs = described.map(|setting| to_wire(setting, &request)).collect();
            }
            Err(refused) => (result.error_code, result.error_message) = Refused::to_wire(Some(refused)),
        }
        result
    });
    context.reply(&DescribeConfigsResponse { results: results.collect(), ..Default::default() })
}

fn describe(context: &Context, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Refused> {
    let (name, settings) = (&resource.resource_name, &context.image.settings);
    match resource.resource_type {
        kind::TOPIC => {
            check_topic_name(name).map_err(|message| Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message))?;
            let topic = context.image.topic(name);
            let topic = topic.ok_or_else(|| Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ""))?;
            Ok(describe_topic(&topic.config, settings))
        }
        kind::BROKER if name.is_empty() => Ok(describe_cluster(settings)),
        kind::BROKER if *name == context.handler.id.to_string() => {
            let facts = &context.handler.facts;
            Ok(describe_broker(settings, &facts.iter().map(|(name, value)| (*name, value.clone())).collect()))
        }
        kind::BROKER if name.parse::<i32>().is_err() => {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, format!("Broker id must be an integer, but it is: {name}")))
        }
        kind::BROKER => Err(Refused::new(
            ErrorCode::INVALID_REQUEST,
            format!("Unexpected broker id, expected {} or empty string, but received {name}", context.handler.id),
        )),
        // There are none: neither is an error in Kafka.
        kind::GROUP | kind::CLIENT_METRICS => Ok(Vec::new()),
        kind::BROKER_LOGGER => Err(unsupported(kind::BROKER_LOGGER)),
        _ => Err(Refused::new(ErrorCode::INVALID_REQUEST, MALFORMED)),
    }
}

fn to_wire(setting: Described, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms = if request.include_synonyms { setting.synonyms } else { Vec::new() };
    let synonyms = synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(Str::from),
        source: synonym.source as i8,
    });
    DescribeConfigsResourceResult {
        name: setting.name.into(),
        value: setting.value.map(Str::from),
        read_only: setting.read_only,
        config_source: setting.source as i8,
        is_sensitive: setting.sensitive,
        synonyms: synonyms.collect(),
        config_type: setting.kind as i8,
        documentation: request.include_documentation.then(|| setting.documentation.into()),
    }
}
