//! Settings of single brokers, and the levels of loggers; and what the log says of clients that ask for what is not
//! served.

use anyhow::{Context, Result, ensure};
use ottla_e2e::raw::Connection;
use ottla_e2e::wait::until;
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m32_describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
};
use ottla_wire::m44_incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::{ApiVersionsRequest, ErrorCode, MetadataRequest};

use super::bed::{LIMIT, Laptop};
use super::client::{create, wait_for_leaders};

const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;

fn describe(broker: &mut Connection, kind: i8, name: &str) -> Result<DescribeConfigsResult> {
    let resource =
        DescribeConfigsResource { resource_type: kind, resource_name: name.into(), configuration_keys: None };
    let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    broker.ask(4, &request)?.context("closed")?.results.pop().context("a result")
}

fn find(described: &DescribeConfigsResult, name: &str) -> Result<DescribeConfigsResourceResult> {
    described.configs.iter().find(|config| &*config.name == name).cloned().with_context(|| name.to_owned())
}

/// The refusal, or nothing.
fn alter(broker: &mut Connection, kind: i8, name: &str, config: &str, op: i8, value: Option<&str>) -> Result<String> {
    let config = AlterableConfig { name: config.into(), config_operation: op, value: value.map(Into::into) };
    let resource = AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = broker.ask(1, &request)?.context("closed")?.responses.pop().context("a response")?;
    let message = answer.error_message.as_deref().unwrap_or_default();
    Ok(if answer.error_code == ErrorCode::NONE { String::new() } else { format!("{:?}: {message}", answer.error_code) })
}

#[test]
fn a_broker_has_settings_of_its_own_which_its_object_keeps() -> Result<()> {
    let mut laptop = Laptop::new(&["--brokers", "2"])?;
    laptop.start()?;
    let (mut zero, mut one) = (laptop.connect(0)?, laptop.connect(1)?);
    ensure!(alter(&mut one, BROKER, "", "log.retention.ms", SET, Some("60000"))?.is_empty());
    ensure!(alter(&mut one, BROKER, "1", "log.retention.ms", SET, Some("70000"))?.is_empty());
    let own = find(&describe(&mut one, BROKER, "1")?, "log.retention.ms")?;
    ensure!((own.value.as_deref(), own.config_source) == (Some("70000"), 2), "{own:?}");
    let synonyms: Vec<(i8, Option<&str>)> = own.synonyms.iter().map(|s| (s.source, s.value.as_deref())).collect();
    ensure!(synonyms[..2] == [(2, Some("70000")), (3, Some("60000"))], "{synonyms:?}");
    let other = find(&describe(&mut zero, BROKER, "0")?, "log.retention.ms")?;
    ensure!((other.value.as_deref(), other.config_source) == (Some("60000"), 3), "{other:?}");
    for (name, config, value, refusal) in [
        ("0", "log.retention.ms", "1", "INVALID_REQUEST: Unexpected broker id, expected 1, but received 0"),
        ("x", "log.retention.ms", "1", "INVALID_REQUEST: Node id must be an integer, but it is: x"),
        ("1", "num.partitions", "1", "INVALID_REQUEST: Cannot update these configs dynamically: [num.partitions]"),
    ] {
        let said = alter(&mut one, BROKER, name, config, SET, Some(value))?;
        ensure!(said.ends_with(refusal), "{said}");
    }
    let described = describe(&mut one, BROKER, "1")?;
    for (fact, is) in [
        ("advertised.listeners", format!("INTERNAL://127.0.0.1:{}", laptop.kafka_port() + 1)),
        ("inter.broker.listener.name", "INTERNAL".to_owned()),
        ("listener.security.protocol.map", "INTERNAL:PLAINTEXT".to_owned()),
    ] {
        let told = find(&described, fact)?;
        ensure!(
            (told.value.as_deref(), told.config_source, told.read_only) == (Some(is.as_str()), 4, true),
            "{told:?}"
        );
    }

    laptop.terminate()?;
    laptop.start()?;
    let mut one = laptop.connect(1)?;
    let kept = until(LIMIT, "the settings again", || {
        let kept = find(&describe(&mut one, BROKER, "1")?, "log.retention.ms")?;
        Ok((kept.config_source != 5).then_some(kept))
    })?;
    ensure!((kept.value.as_deref(), kept.config_source) == (Some("70000"), 2), "{kept:?}");
    ensure!(alter(&mut one, BROKER, "1", "log.retention.ms", DELETE, None)?.is_empty());
    let without = find(&describe(&mut one, BROKER, "1")?, "log.retention.ms")?;
    ensure!((without.value.as_deref(), without.config_source) == (Some("60000"), 3), "{without:?}");
    Ok(())
}

#[test]
fn loggers_groups_and_subscriptions_are_described_as_kafka_describes_them() -> Result<()> {
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let mut broker = laptop.connect(0)?;
    let level = |broker: &mut Connection, logger: &str| -> Result<String> {
        let told = find(&describe(broker, LOGGER, "0")?, logger)?;
        ensure!((told.config_source, told.read_only) == (6, false), "{told:?}");
        Ok(told.value.unwrap_or_default().to_string())
    };
    ensure!(level(&mut broker, "ROOT")? == "WARN");
    ensure!(level(&mut broker, "ottla_broker::server")? == "WARN");
    ensure!(alter(&mut broker, LOGGER, "0", "ottla_broker::server", SET, Some("DEBUG"))?.is_empty());
    ensure!(level(&mut broker, "ottla_broker::server")? == "DEBUG");
    drop(laptop.connect(0)?);
    until(LIMIT, "what is said at DEBUG, and of whom", || {
        let said = laptop.said()?;
        let mut ended = said.lines().filter(|line| line.contains("connection ended"));
        Ok(ended.any(|line| line.contains("connection{peer=127.0.0.1:")).then_some(()))
    })?;
    ensure!(alter(&mut broker, LOGGER, "0", "ottla_broker::server", DELETE, None)?.is_empty());
    ensure!(level(&mut broker, "ottla_broker::server")? == "WARN");
    let said = alter(&mut broker, LOGGER, "0", "kafka.server.KafkaApis", SET, Some("INFO"))?;
    ensure!(said.ends_with("INVALID_CONFIG: Logger kafka.server.KafkaApis does not exist!"), "{said}");

    let group = find(&describe(&mut broker, GROUP, "anybody")?, "consumer.session.timeout.ms")?;
    ensure!((group.value.as_deref(), group.config_source) == (Some("45000"), 5), "{group:?}");
    let metrics = find(&describe(&mut broker, CLIENT_METRICS, "anything")?, "interval.ms")?;
    ensure!((metrics.value.as_deref(), metrics.config_source) == (Some("300000"), 5), "{metrics:?}");
    let refused = describe(&mut broker, GROUP, "")?;
    ensure!(refused.error_message.as_deref() == Some("Group name must not be empty"), "{refused:?}");
    Ok(())
}

#[test]
fn the_log_says_who_asked_for_what_is_not_served() -> Result<()> {
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    for _ in 0..3 {
        let mut client = laptop.connect(0)?;
        let version = ApiVersionsRequest {
            client_software_name: "apache-kafka-java".into(),
            client_software_version: "4.3.1".into(),
        };
        client.ask(3, &version)?.context("closed")?;
        // AddRaftVoter, version 0, correlation id 7, client id "admin-1".
        client.send_bytes(b"\0\0\0\x11\0\x50\0\0\0\0\0\x07\0\x07admin-1")?;
        ensure!(client.receive_bytes()?.is_none(), "the connection is closed");
    }
    let said = until(LIMIT, "a line", || Ok(Some(laptop.said()?).filter(|said| said.contains("not served"))))?;
    for part in ["AddRaftVoter (80)", "version=0", "admin-1", "apache-kafka-java 4.3.1", "address=127.0.0.1:"] {
        ensure!(said.contains(part), "no {part} in: {said}");
    }
    ensure!(said.matches("not served").count() == 1, "once a minute: {said}");
    Ok(())
}

#[test]
fn topics_whose_makers_name_no_number_of_partitions_have_the_one_that_was_set() -> Result<()> {
    let mut laptop = Laptop::new(&["--set", "num.partitions=6"])?;
    laptop.start()?;
    let mut client = laptop.connect(0)?;
    create(&mut client, "made", -1)?;
    wait_for_leaders(&mut client, "made", 6)?;
    let topics = Some(vec![MetadataRequestTopic { name: Some("found".into()), ..Default::default() }]);
    client
        .ask(12, &MetadataRequest { topics, allow_auto_topic_creation: true, ..Default::default() })?
        .context("closed")?;
    wait_for_leaders(&mut client, "found", 6)?;
    Ok(())
}
