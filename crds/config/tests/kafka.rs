//! Our tables beside those of a real Kafka: `kafka-4.3.1.tsv` is what its Admin client and its ConfigDefs said.

use std::collections::BTreeMap;

use ottla_config::{
    BROKER_SETTINGS, BrokerSettings, Config, Source, TOPIC_SETTINGS, TopicSettings, describe_broker, describe_topic,
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
            let default = table[setting.name].default.unwrap_or("null");
            let synonyms: Vec<&str> = setting.synonyms.iter().map(|synonym| synonym.name).collect();
            let (name, kind, read_only, synonyms) = (setting.name, setting.kind, setting.read_only, synonyms.join(","));
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
        assert_eq!(setting.value.as_deref(), TOPIC_SETTINGS[setting.name].default, "{}", setting.name);
        assert_eq!(setting.source, Source::Default, "{}", setting.name);
        assert!(!setting.read_only, "{}", setting.name);
    }
    for setting in describe_broker(&broker, &BTreeMap::new()) {
        assert_eq!(setting.value.as_deref(), BROKER_SETTINGS[setting.name].default, "{}", setting.name);
        assert_eq!(setting.source, Source::Default, "{}", setting.name);
    }
}

#[test]
fn brokers_and_topics_agree_on_the_defaults() {
    let topic = TopicSettings::default();
    assert_eq!(topic, TopicSettings::resolve(&Config::new(), &BrokerSettings::resolve(&Config::new())));
    for setting in TOPIC_SETTINGS.values() {
        let own =
            Config::from([(setting.name.to_owned(), setting.default.expect("no topic default is null").to_owned())]);
        assert_eq!(TopicSettings::resolve(&own, &BrokerSettings::default()), topic, "{}", setting.name);
    }
}
