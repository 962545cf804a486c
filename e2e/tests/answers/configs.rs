//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use crate::{play, text, topic};
use anyhow::Result;
use ottla_e2e::answers::Conversation;
use ottla_wire::m32_describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::{m33_alter_configs as full, m44_incremental_alter_configs as incremental};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub fn describe(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    let configuration_keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource { resource_type, resource_name: text(name), configuration_keys }],
        include_synonyms: true,
        ..Default::default()
    }
}

/// Asks and notes the answer with the settings by name: they come in no particular order.
pub fn ask(broker: &mut Conversation<'_>, title: &str, version: i16, request: DescribeConfigsRequest) -> Result<()> {
    let mut answer = broker.quietly(version, request)?;
    for resource in &mut answer.results {
        resource.configs.sort_by(|one, other| one.name.cmp(&other.name));
    }
    broker.note(&format!("{title}: {version}"), &format!("{answer:#?}"));
    Ok(())
}

#[test]
fn every_setting_of_a_topic_is_described() -> Result<()> {
    play("describe-configs", |broker| {
        topic(broker, "described", 1, &[("retention.ms", "60000"), ("cleanup.policy", "compact,delete")])?;
        ask(broker, "every setting", 4, describe(TOPIC, "described", None))?;
        let some: Option<&[&str]> = Some(&["retention.ms", "no.such.config", "max.message.bytes"]);
        for version in 1..=3 {
            ask(broker, "some settings", version, describe(TOPIC, "described", some))?;
        }
        let plain = DescribeConfigsRequest { include_synonyms: false, ..describe(TOPIC, "described", some) };
        ask(broker, "without synonyms", 4, plain)?;
        ask(broker, "no settings", 4, describe(TOPIC, "described", Some(&[])))?;
        ask(broker, "an unknown topic", 4, describe(TOPIC, "described.unknown", None))?;
        ask(broker, "an invalid topic", 4, describe(TOPIC, "not a name", None))?;
        let broker_settings: Option<&[&str]> =
            Some(&["log.retention.hours", "message.max.bytes", "min.insync.replicas"]);
        ask(broker, "the broker's", 4, describe(BROKER, "0", broker_settings))?;
        ask(broker, "another broker's", 4, describe(BROKER, "7", broker_settings))?;
        ask(broker, "no broker's", 4, describe(BROKER, "x", broker_settings))?;
        ask(broker, "an unknown kind", 4, describe(99, "x", None))?;
        Ok(())
    })
}

#[test]
fn settings_are_altered_one_by_one() -> Result<()> {
    play("incremental-alter-configs", |broker| {
        topic(broker, "altered", 1, &[])?;
        let alter = |name: &str, operations: &[(&str, i8, Option<&str>)]| incremental::IncrementalAlterConfigsRequest {
            resources: vec![incremental::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: text(name),
                configs: operations
                    .iter()
                    .map(|(name, config_operation, value)| incremental::AlterableConfig {
                        name: text(name),
                        config_operation: *config_operation,
                        value: value.map(text),
                    })
                    .collect(),
            }],
            validate_only: false,
        };
        let (set, delete, append, subtract) = (0, 1, 2, 3);
        for version in [0, 1] {
            broker.ask("set", version, alter("altered", &[("retention.ms", set, Some("1000"))]))?;
        }
        for (title, operations) in [
            ("append to a list", vec![("cleanup.policy", append, Some("compact"))]),
            ("append what is there", vec![("cleanup.policy", append, Some("compact"))]),
            ("subtract from a list", vec![("cleanup.policy", subtract, Some("delete"))]),
            ("subtract what is not there", vec![("cleanup.policy", subtract, Some("delete"))]),
            ("append to a number", vec![("retention.ms", append, Some("1"))]),
            ("subtract from a number", vec![("retention.ms", subtract, Some("1"))]),
            ("an unknown setting", vec![("no.such.config", set, Some("1"))]),
            ("delete an unknown setting", vec![("no.such.config", delete, None)]),
            ("an invalid value", vec![("retention.ms", set, Some("soon"))]),
            ("no value", vec![("retention.ms", set, None)]),
            ("an unknown operation", vec![("retention.ms", 9, Some("1"))]),
            ("the same twice", vec![("retention.ms", set, Some("1")), ("retention.ms", delete, None)]),
            ("one of two is invalid", vec![("segment.bytes", set, Some("2000000")), ("retention.ms", set, Some("x"))]),
            ("delete what is not set", vec![("segment.ms", delete, None)]),
            ("nothing", vec![]),
        ] {
            broker.ask(title, 1, alter("altered", &operations))?;
        }
        let only = incremental::IncrementalAlterConfigsRequest {
            validate_only: true,
            ..alter("altered", &[("retention.ms", set, Some("77"))])
        };
        broker.ask("validate only", 1, only)?;
        broker.ask("an unknown topic", 1, alter("altered.unknown", &[("retention.ms", set, Some("1"))]))?;
        let mut twice = alter("altered", &[("retention.ms", set, Some("1"))]);
        twice.resources.push(twice.resources[0].clone());
        broker.ask("the same topic twice", 1, twice)?;
        let mut kind = alter("altered", &[("retention.ms", set, Some("1"))]);
        kind.resources[0].resource_type = 99;
        broker.ask("an unknown kind", 1, kind)?;
        let some: Option<&[&str]> = Some(&["retention.ms", "cleanup.policy", "segment.bytes"]);
        ask(broker, "what has become of it", 4, describe(TOPIC, "altered", some))?;
        broker.ask(
            "delete",
            1,
            alter("altered", &[("retention.ms", delete, None), ("cleanup.policy", delete, None)]),
        )?;
        ask(broker, "what is left", 4, describe(TOPIC, "altered", some))?;
        Ok(())
    })
}

#[test]
fn settings_are_replaced_as_a_whole() -> Result<()> {
    play("alter-configs", |broker| {
        topic(broker, "replaced", 1, &[("retention.ms", "1000"), ("segment.bytes", "2000000")])?;
        let alter = |name: &str, configs: &[(&str, Option<&str>)]| full::AlterConfigsRequest {
            resources: vec![full::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: text(name),
                configs: configs
                    .iter()
                    .map(|(name, value)| full::AlterableConfig { name: text(name), value: value.map(text) })
                    .collect(),
            }],
            validate_only: false,
        };
        for version in 0..=2 {
            broker.ask("one setting", version, alter("replaced", &[("retention.ms", Some("2000"))]))?;
        }
        let some: Option<&[&str]> = Some(&["retention.ms", "segment.bytes"]);
        ask(broker, "the other is gone", 4, describe(TOPIC, "replaced", some))?;
        broker.ask("an unknown setting", 2, alter("replaced", &[("no.such.config", Some("1"))]))?;
        broker.ask("an invalid value", 2, alter("replaced", &[("retention.ms", Some("soon"))]))?;
        broker.ask("no value", 2, alter("replaced", &[("retention.ms", None)]))?;
        broker.ask("an unknown topic", 2, alter("replaced.unknown", &[("retention.ms", Some("1"))]))?;
        let only = full::AlterConfigsRequest { validate_only: true, ..alter("replaced", &[]) };
        broker.ask("validate only", 2, only)?;
        ask(broker, "nothing has changed", 4, describe(TOPIC, "replaced", some))?;
        Ok(())
    })
}
