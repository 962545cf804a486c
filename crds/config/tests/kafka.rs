//! Our tables beside those of a real Kafka: `kafka-4.3.1.tsv` is what its Admin client and its ConfigDefs said.

use std::collections::BTreeMap;

use ottla_config::{
    BROKER_SETTINGS, BrokerSettings, Config, Source, TOPIC_SETTINGS, TopicSettings, describe_broker, describe_topic,
};

#[test]
fn names_types_and_defaults_are_those_of_kafka() {
    let mut ours = Vec::new();
    for (entity, settings) in [("topic", &*TOPIC_SETTINGS), ("broker", &*BROKER_SETTINGS)] {
        for setting in settings.values() {
            let default = setting.default.unwrap_or("null");
            ours.push(format!("{entity}\t{}\t{}\t{default}\t{}", setting.name, setting.kind, !setting.dynamic));
        }
    }
    let kafka: Vec<&str> = include_str!("kafka-4.3.1.tsv").lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(ours, kafka);
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
