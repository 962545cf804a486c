//! Our tables beside those of a real Kafka: `kafka-4.3.1.tsv` is what its Admin client and its ConfigDefs said.

use std::collections::BTreeMap;

use ottla_config::{
    BROKER_SETTINGS, BrokerSettings, Config, Source, Status, TOPIC_SETTINGS, TopicSettings, check_broker,
    check_broker_config, describe_broker, describe_topic,
};

#[test]
fn names_types_defaults_and_synonyms_are_those_of_kafka() {
    let broker = BrokerSettings::default();
    let mut ours = Vec::new();
    for (entity, table, described) in [
        ("topic", &*TOPIC_SETTINGS, describe_topic(&Config::new(), &broker)),
        ("broker", &*BROKER_SETTINGS, describe_broker(&broker, &BTreeMap::new())),
    ] {
        for setting in described.into_iter().filter(|setting| !setting.name.starts_with("ottla.")) {
            let default = table[&*setting.name].default.unwrap_or("null");
            let synonyms: Vec<&str> = setting.synonyms.iter().map(|synonym| &*synonym.name).collect();
            let (name, kind, synonyms) = (&setting.name, setting.kind, synonyms.join(","));
            let read_only = entity == "broker" && !table[&**name].is_dynamic();
            ours.push(format!("{entity}\t{name}\t{kind}\t{default}\t{read_only}\t{synonyms}"));
        }
    }
    let kafka: Vec<&str> = include_str!("kafka-4.3.1.tsv").lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(ours.len(), kafka.len());
    for (ours, kafka) in ours.iter().zip(kafka) {
        assert_eq!(ours, kafka);
    }
}

#[test]
fn every_setting_of_an_untouched_cluster_is_described_at_its_default() {
    let broker = BrokerSettings::default();
    for setting in describe_topic(&Config::new(), &broker) {
        assert_eq!(setting.value.as_deref(), TOPIC_SETTINGS[&*setting.name].default, "{}", setting.name);
        assert_eq!(setting.source, Source::Default, "{}", setting.name);
        assert!(!setting.read_only, "{}", setting.name);
    }
    for setting in describe_broker(&broker, &BTreeMap::new()) {
        assert_eq!(setting.value.as_deref(), BROKER_SETTINGS[&*setting.name].default, "{}", setting.name);
        assert_eq!(setting.source, Source::Default, "{}", setting.name);
    }
}

#[test]
fn brokers_and_topics_agree_on_the_defaults() {
    let topic = TopicSettings::default();
    assert_eq!(topic, TopicSettings::resolve(&Config::new(), &BrokerSettings::resolve(&Config::new())));
    for setting in TOPIC_SETTINGS.values().filter(|setting| setting.listed) {
        let own = Config::from([(
            setting.name.to_owned(),
            setting.default.expect("no default that is listed is null").to_owned(),
        )]);
        assert_eq!(TopicSettings::resolve(&own, &BrokerSettings::default()), topic, "{}", setting.name);
    }
}

#[test]
fn every_broker_setting_of_kafka_is_accepted_at_its_default_or_names_the_option_that_does_its_job() {
    let mut accepted = Config::new();
    for line in include_str!("kafka-4.3.1.tsv").lines().filter(|line| line.starts_with("broker\t")) {
        let [_, name, _, default, ..] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let value = if default == "null" { "7" } else { default };
        let described = check_broker(name, value).map_err(|error| error.to_string());
        match (BROKER_SETTINGS[name].status, default) {
            (Status::Elsewhere(_), _) => {
                let described = described.expect_err(name);
                assert!(["spec.", "--", "`ottla "].iter().any(|option| described.contains(option)), "{described}");
            }
            (Status::Fixed(_), "null") => assert!(described.unwrap_err().ends_with("; leave it out"), "{name}"),
            (Status::Enforced(_), "null") => {}
            (Status::Fixed(_) | Status::Enforced(_), _) => {
                assert_eq!(described, Ok(()), "{name}={default}");
                accepted.insert(name.to_owned(), default.to_owned());
            }
        }
    }
    assert!(accepted.len() > 250, "{}", accepted.len());
    check_broker_config(&accepted).unwrap();
    let described = describe_broker(&BrokerSettings::resolve(&accepted), &BTreeMap::new());
    for setting in described {
        let is_enforced = matches!(BROKER_SETTINGS[&*setting.name].status, Status::Enforced(_));
        assert!(is_enforced || setting.read_only, "{} can not be changed", setting.name);
        assert!(!setting.documentation.is_empty(), "{}", setting.name);
    }
}

#[test]
fn the_settings_that_kafka_hides_are_known_and_described_only_where_they_are_set() {
    let hidden = [
        "controller.performance.always.log.threshold.ms=2000",
        "controller.performance.sample.period.ms=60000",
        "follower.replication.throttled.rate=9223372036854775807",
        "group.consumer.regex.refresh.interval.ms=600000",
        "group.share.initialize.retry.interval.ms=30000",
        "group.share.persister.class.name=org.apache.kafka.server.share.persister.DefaultStatePersister",
        "internal.metadata.delete.delay.millis=60000",
        "internal.metadata.log.segment.bytes=null",
        "internal.metadata.max.batch.size.in.bytes=8388608",
        "leader.replication.throttled.rate=9223372036854775807",
        "log.initial.task.delay.ms=30000",
        "producer.id.expiration.check.interval.ms=600000",
        "remote.log.index.file.cache.ttl.ms=900000",
        "remote.log.manager.task.retry.backoff.max.ms=30000",
        "remote.log.manager.task.retry.backoff.ms=500",
        "remote.log.manager.task.retry.jitter=0.2",
        "replica.alter.log.dirs.io.max.bytes.per.second=9223372036854775807",
        "server.max.startup.time.ms=9223372036854775807",
        "share.coordinator.cold.partition.snapshot.interval.ms=300000",
        "share.coordinator.state.topic.prune.interval.ms=300000",
        "unclean.leader.election.interval.ms=300000",
        "unstable.api.versions.enable=false",
        "unstable.feature.versions.enable=false",
    ];
    let ours = BROKER_SETTINGS.values().filter(|setting| !setting.listed);
    let ours: Vec<String> = ours.map(|s| format!("{}={}", s.name, s.default.unwrap_or("null"))).collect();
    assert_eq!(ours, hidden);
    let set = hidden.iter().map(|line| line.split_once('=').unwrap()).filter(|(_, value)| *value != "null");
    let set: Config = set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    check_broker_config(&set).unwrap();
    let described = describe_broker(&BrokerSettings::resolve(&set), &BTreeMap::new());
    let described: Vec<_> = described.into_iter().filter(|s| !BROKER_SETTINGS[&*s.name].listed).collect();
    assert_eq!(described.len(), set.len());
    assert!(described.iter().all(|setting| setting.value.as_deref() == set.get(&*setting.name).map(String::as_str)));
}

/// Kafka's own `config/server.properties`, without its comments.
const QUICK_START: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000";

#[test]
fn a_quick_starts_server_properties_are_accepted_or_name_the_option_that_does_their_job() {
    let refused = QUICK_START.lines().filter_map(|line| {
        let (name, value) = line.split_once('=').unwrap();
        Some((name, check_broker(name, value).err()?.to_string()))
    });
    let refused: Vec<(&str, String)> = refused.collect();
    for (name, why) in &refused {
        assert!(why.contains("spec.") || why.contains("--") || why.contains("`ottla "), "{name}: {why}");
    }
    let names: Vec<&str> = refused.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "process.roles",
            "node.id",
            "controller.quorum.bootstrap.servers",
            "listeners",
            "inter.broker.listener.name",
            "advertised.listeners",
            "controller.listener.names",
            "listener.security.protocol.map",
            "log.dirs",
        ]
    );
}
