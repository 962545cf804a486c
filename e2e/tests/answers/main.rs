//! The same requests get the same answers as from Apache Kafka: error codes, defaults, messages, field by field.
//!
//! Each script's answers are recorded in the file of its name beside it; see `ottla_e2e::answers`.

mod cluster;
mod configs;
mod consumers;
mod consuming;
mod groups;
mod migrating;
mod offsets;
mod producing;
mod sharing;
mod streams_groups;
mod topics;
mod transactions;

use anyhow::Result;
use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};
use ottla_e2e::answers::{Conversation, compare};
use ottla_e2e::need::met;
use ottla_e2e::target::needs;
use ottla_wire::m19_create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::m44_incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::{Str, Uuid};

/// The time of record n in seconds after this; far in the past, so that no clock matters.
const TIME: i64 = 1_600_000_000_000;

fn play(name: &str, script: impl Fn(&mut Conversation<'_>) -> Result<()>) -> Result<()> {
    if met(&needs()) { compare(name, script) } else { Ok(()) }
}

fn text(text: &str) -> Str {
    text.into()
}

fn configs(configs: &[(&str, &str)]) -> Vec<CreatableTopicConfig> {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig { name: text(name), value: Some(text(value)) };
    configs.iter().map(config).collect()
}

/// Gives a group settings of its own.
fn group_settings(group: &str, settings: &[(&str, &str)]) -> IncrementalAlterConfigsRequest {
    /// `ConfigResource.Type.GROUP`.
    const GROUP: i8 = 32;
    let setting = |(name, value): &(&str, &str)| AlterableConfig {
        name: text(name),
        config_operation: 0,
        value: Some(text(value)),
    };
    let configs = settings.iter().map(setting).collect();
    let resource = AlterConfigsResource { resource_type: GROUP, resource_name: text(group), configs };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

/// Creates a topic without noting the answer and waits until it can be used; its id.
fn topic(broker: &mut Conversation<'_>, name: &str, partitions: i32, with: &[(&str, &str)]) -> Result<Uuid> {
    let new = CreatableTopic {
        name: text(name),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs(with),
        ..Default::default()
    };
    let answer = broker.quietly(7, CreateTopicsRequest { topics: vec![new], ..Default::default() })?;
    anyhow::ensure!(answer.topics[0].error_code.is_none(), "create {name}: {answer:?}");
    broker.settled(name, partitions)?;
    Ok(answer.topics[0].topic_id)
}

/// A batch of so many small records with keys, a second apart.
fn batch(count: usize) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    for number in 0..count {
        let (key, value) = (format!("key {number}"), format!("value {number}"));
        builder.push(NewRecord {
            timestamp: TIME + number as i64 * 1000,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.build()
}
