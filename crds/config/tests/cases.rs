//! What is accepted, what comes into force, how it is told and how it changes. Refusals that begin with "Invalid value"
//! and the like, and the lists of synonyms, are those of a real Kafka 4.3.1.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_config::{
    BrokerSettings, CleanupPolicy, Compression, Config, Described, Op, SettingError, Source, Synonym, TimestampType,
    TopicSettings, alter_broker, alter_topic, check_broker, check_broker_config, check_topic, check_topic_config,
    describe_broker, describe_cluster, describe_topic,
};

fn config(pairs: &[(&str, &str)]) -> Config {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn text(result: Result<(), SettingError>) -> String {
    result.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
}

fn topic(overrides: &[(&str, &str)], broker: &[(&str, &str)]) -> TopicSettings {
    TopicSettings::resolve(&config(overrides), &BrokerSettings::resolve(&config(broker)))
}

fn find(described: Vec<Described>, name: &str) -> Described {
    described.into_iter().find(|setting| setting.name == name).expect("the setting is described")
}

fn synonyms(described: &Described) -> Vec<String> {
    let show = |synonym: &Synonym| {
        format!("{}={}@{}", synonym.name, synonym.value.as_deref().unwrap_or("null"), synonym.source as i8)
    };
    described.synonyms.iter().map(show).collect()
}

#[test]
fn a_topic_takes_what_kafka_takes() {
    for (name, value, expected) in [
        ("retention.ms", "-1", "ok"),
        ("retention.ms", " 5 ", "ok"),
        ("segment.ms", "+5000", "ok"),
        ("retention.ms", "x", "Invalid value x for configuration retention.ms: Not a number of type LONG"),
        ("retention.ms", "", "Invalid value  for configuration retention.ms: Not a number of type LONG"),
        ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        ("retention.bytes", "-7", "ok"),
        ("retention.bytes", "0x10", "Invalid value 0x10 for configuration retention.bytes: Not a number of type LONG"),
        ("segment.bytes", "10", "Invalid value 10 for configuration segment.bytes: Value must be at least 1048576"),
        (
            "segment.bytes",
            "9999999999",
            "Invalid value 9999999999 for configuration segment.bytes: Not a number of type INT",
        ),
        ("max.message.bytes", "1.5", "Invalid value 1.5 for configuration max.message.bytes: Not a number of type INT"),
        ("cleanup.policy", "compact, delete", "ok"),
        ("cleanup.policy", "", "ok"),
        (
            "cleanup.policy",
            "delete,foo",
            "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        ("compression.type", "zstd", "ok"),
        (
            "compression.type",
            "ZSTD",
            "Invalid value ZSTD for configuration compression.type: \
             String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        ("compression.gzip.level", "-1", "ok"),
        (
            "compression.gzip.level",
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        (
            "compression.lz4.level",
            "0",
            "Invalid value 0 for configuration compression.lz4.level: Value must be at least 1",
        ),
        (
            "compression.zstd.level",
            "23",
            "Invalid value 23 for configuration compression.zstd.level: Value must be no more than 22",
        ),
        ("min.cleanable.dirty.ratio", "5e-1", "ok"),
        (
            "min.cleanable.dirty.ratio",
            "2",
            "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "min.cleanable.dirty.ratio",
            "NaN",
            "Invalid value NaN for configuration min.cleanable.dirty.ratio: Value must be at least 0",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        ("leader.replication.throttled.replicas", "", "ok"),
        ("leader.replication.throttled.replicas", "*", "ok"),
        ("follower.replication.throttled.replicas", "0:1, 12:345,", "ok"),
        (
            "follower.replication.throttled.replicas",
            "0:1,1",
            "Invalid value [0:1, 1] for configuration follower.replication.throttled.replicas: \
             follower.replication.throttled.replicas must be the literal '*' or a list of replicas in the following \
             format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
        ("nope", "1", "Unknown topic config name: nope"),
        ("log.retention.ms", "1", "Unknown topic config name: log.retention.ms"),
    ] {
        assert_eq!(text(check_topic(name, value)), expected, "{name}={value}");
    }
}

#[test]
fn a_setting_that_nothing_obeys_is_accepted_only_at_what_happens_anyway() {
    for (name, value, expected) in [
        ("preallocate", "FALSE", "ok"),
        ("local.retention.ms", "-2", "ok"),
        (
            "remote.storage.enable",
            "true",
            "remote.storage.enable=true: tiered storage is not supported; the only accepted value is false",
        ),
    ] {
        assert_eq!(text(check_topic(name, value)), expected, "{name}={value}");
    }
    for (name, value, expected) in [
        ("delete.topic.enable", "true", "ok"),
        ("leader.replication.throttled.rate", "0", "ok"),
        (
            "follower.replication.throttled.rate",
            "-1",
            "Invalid value -1 for configuration follower.replication.throttled.rate: Value must be at least 0",
        ),
        (
            "replica.alter.log.dirs.io.max.bytes.per.second",
            "1",
            "Unknown broker config name: replica.alter.log.dirs.io.max.bytes.per.second",
        ),
        (
            "controller.quorum.voters",
            "",
            "controller.quorum.voters=: there is no controller quorum: Kubernetes holds the metadata; leave it out",
        ),
        (
            "unclean.leader.election.enable",
            "true",
            "unclean.leader.election.enable=true: an acknowledged record is never traded for availability; \
             the only accepted value is false",
        ),
        (
            "log.retention.hours",
            "0",
            "Invalid value 0 for configuration log.retention.hours: Value must be at least 1 or equal to -1",
        ),
        (
            "ssl.key.password",
            "secret",
            "ssl.key.password=[hidden]: security is set in the KafkaCluster's listeners and authorization, \
             and by KafkaUser objects; leave it out",
        ),
        ("zookeeper.connect", "z", "Unknown broker config name: zookeeper.connect"),
    ] {
        assert_eq!(text(check_broker(name, value)), expected, "{name}={value}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let lags = config(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]);
    let conflict = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)";
    assert_eq!(text(check_topic_config(&lags, &BrokerSettings::default())), conflict);

    let brokers_minimum = BrokerSettings::resolve(&config(&[("log.cleaner.min.compaction.lag.ms", "10")]));
    assert_eq!(text(check_topic_config(&config(&[("max.compaction.lag.ms", "5")]), &brokers_minimum)), conflict);

    let unknown_and_invalid = config(&[("retention.ms", "x"), ("zzz", "1")]);
    let unknown = "Unknown topic config name: zzz";
    assert_eq!(text(check_topic_config(&unknown_and_invalid, &BrokerSettings::default())), unknown);

    for (pairs, expected) in [
        (&[("queued.max.request.bytes", "104857600")][..], "ok"),
        (
            &[("queued.max.request.bytes", "1000")][..],
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
        ),
        (
            &[("replica.lag.time.max.ms", "1000"), ("replica.fetch.wait.max.ms", "1001")][..],
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
             changes in ISR",
        ),
        (
            &[("group.max.session.timeout.ms", "5000")][..],
            "group.min.session.timeout.ms (6000) > group.max.session.timeout.ms (5000)",
        ),
    ] {
        assert_eq!(text(check_broker_config(&config(pairs))), expected, "{pairs:?}");
    }
}

#[test]
fn the_nearest_setting_is_in_force() {
    let week = Some(Duration::from_hours(168));
    for (overrides, broker, expected) in [
        (&[][..], &[][..], week),
        (&[], &[("log.retention.hours", "1")], Some(Duration::from_hours(1))),
        (&[], &[("log.retention.hours", "1"), ("log.retention.minutes", "2")], Some(Duration::from_mins(2))),
        (&[], &[("log.retention.minutes", "2"), ("log.retention.ms", "3")], Some(Duration::from_millis(3))),
        (&[], &[("log.retention.minutes", "-1")], None),
        (&[("retention.ms", "4")], &[("log.retention.ms", "3")], Some(Duration::from_millis(4))),
        (&[("retention.ms", "-1")], &[("log.retention.ms", "3")], None),
        // A value that was refused counts as not set.
        (&[("retention.ms", "x")], &[("log.retention.ms", "3")], Some(Duration::from_millis(3))),
    ] {
        assert_eq!(topic(overrides, broker).retention, expected, "{overrides:?} over {broker:?}");
    }
    assert_eq!(topic(&[], &[("log.roll.hours", "2")]).segment_age, Duration::from_hours(2));
    assert_eq!(topic(&[], &[("log.flush.scheduler.interval.ms", "4")]).flush_interval, Some(Duration::from_millis(4)));
}

#[test]
fn values_become_what_the_data_path_works_with() {
    let default = TopicSettings::default();
    assert_eq!(default.cleanup_policy, CleanupPolicy { delete: true, compact: false });
    assert_eq!(default.compression, Compression::Producer);
    assert_eq!(default.message_timestamp_type, TimestampType::CreateTime);
    assert_eq!(default.segment_bytes, 1 << 30);
    assert_eq!((default.flush_messages, default.flush_interval, default.retention_bytes), (None, None, None));
    assert_eq!((default.message_timestamp_before_max, default.max_compaction_lag), (None, None));
    assert_eq!(default.message_timestamp_after_max, Some(Duration::from_hours(1)));

    let both = topic(&[("cleanup.policy", "compact,delete")], &[]).cleanup_policy;
    assert_eq!(both, CleanupPolicy { delete: true, compact: true });
    let neither = topic(&[("cleanup.policy", "")], &[]).cleanup_policy;
    assert_eq!(neither, CleanupPolicy { delete: false, compact: false });
    let levels = [("compression.type", "zstd"), ("compression.zstd.level", "-5")];
    assert_eq!(topic(&levels, &[]).compression, Compression::Zstd(-5));
    assert_eq!(topic(&levels[..1], &levels[1..]).compression, Compression::Zstd(-5));
    let broker_time = topic(&[("message.timestamp.type", "LogAppendTime")], &[]).message_timestamp_type;
    assert_eq!(broker_time, TimestampType::LogAppendTime);

    let brokers = [("producer.id.expiration.ms", "7"), ("ottla.produce.strict.validation", "true")];
    let of_brokers = topic(&[], &brokers);
    assert_eq!((of_brokers.producer_id_expiration, of_brokers.strict_validation), (Duration::from_millis(7), true));
    assert!(!default.strict_validation);

    let throttled = topic(&[("leader.replication.throttled.replicas", "0:1,2:3")], &[]);
    assert!(throttled.leader_throttled.contains(2, 3) && !throttled.leader_throttled.contains(2, 1));
    assert!(!throttled.follower_throttled.contains(2, 3));
    assert!(topic(&[("follower.replication.throttled.replicas", "*")], &[]).follower_throttled.contains(7, 7));
    for wrong in ["*,0:1", "0:1,*", "**", "+0:1", "0:1:2", "0:", ":1", "0 :1", "0:99999999999"] {
        let refused = check_topic("leader.replication.throttled.replicas", wrong);
        assert!(refused.is_err(), "{wrong}");
    }

    let broker = BrokerSettings::default();
    assert_eq!((broker.leader_throttled_rate, broker.follower_throttled_rate), (None, None));
    assert_eq!(broker.offsets_retention, Duration::from_hours(7 * 24));
    assert_eq!(broker.queued_max_request_bytes, None);
    let never_idle = BrokerSettings::resolve(&config(&[("connections.max.idle.ms", "-1")]));
    assert_eq!(never_idle.connections_max_idle, None);
}

#[test]
fn a_description_tells_where_a_value_comes_from() {
    let broker = BrokerSettings::resolve(&config(&[
        ("log.retention.ms", "77777"),
        ("log.retention.minutes", "500"),
        ("log.roll.hours", "100"),
        ("num.partitions", "3"),
        ("log.segment.bytes", "2000000"),
    ]));

    let overridden = config(&[("retention.ms", "12345"), ("cleanup.policy", "compact, compact")]);
    let retention = find(describe_topic(&overridden, &broker), "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source), (Some("12345"), Source::Topic));
    let chain = [
        "retention.ms=12345@1",
        "log.retention.ms=77777@3",
        "log.retention.minutes=500@4",
        "log.retention.hours=168@5",
    ];
    assert_eq!(synonyms(&retention), chain);
    let policy = find(describe_topic(&overridden, &broker), "cleanup.policy");
    assert_eq!(policy.value.as_deref(), Some("compact"));

    let inherited = find(describe_topic(&Config::new(), &broker), "retention.ms");
    assert_eq!((inherited.value.as_deref(), inherited.source), (Some("77777"), Source::DynamicDefaultBroker));
    assert_eq!(synonyms(&inherited), chain[1..]);

    // Kafka obeys log.roll.hours here and does not tell.
    let rolling = find(describe_topic(&Config::new(), &broker), "segment.ms");
    assert_eq!((rolling.value.as_deref(), rolling.source), (Some("360000000"), Source::Default));
    assert!(rolling.synonyms.is_empty());
}

#[test]
fn a_broker_describes_its_settings_and_itself() {
    let broker = BrokerSettings::resolve(&config(&[("num.partitions", "3"), ("log.segment.bytes", "2000000")]));
    let facts = BTreeMap::from([("node.id", "7".to_owned()), ("broker.id", "7".to_owned())]);
    for (name, value, source, read_only, chain) in [
        ("num.partitions", Some("3"), Source::StaticBroker, true, "num.partitions=3@4 num.partitions=1@5"),
        (
            "log.segment.bytes",
            Some("2000000"),
            Source::DynamicDefaultBroker,
            false,
            "log.segment.bytes=2000000@3 log.segment.bytes=1073741824@5",
        ),
        ("broker.id", Some("7"), Source::StaticBroker, true, "broker.id=7@4 broker.id=-1@5"),
        ("node.id", Some("7"), Source::StaticBroker, true, "node.id=7@4"),
        ("log.retention.ms", None, Source::Default, false, ""),
        ("ssl.key.password", None, Source::Default, false, ""),
    ] {
        let described = find(describe_broker(&broker, &facts), name);
        assert_eq!((described.value.as_deref(), described.source), (value, source), "{name}");
        assert_eq!((described.read_only, synonyms(&described).join(" ").as_str()), (read_only, chain), "{name}");
    }
    let cluster = describe_cluster(&broker);
    assert_eq!(cluster.iter().map(|setting| setting.name).collect::<Vec<_>>(), ["log.segment.bytes"]);
    assert_eq!(synonyms(&cluster[0]), ["log.segment.bytes=2000000@3"]);
}

#[test]
fn a_throttles_rate_is_described_where_it_is_set_and_as_each_brokers_own() {
    let broker = BrokerSettings::resolve(&config(&[("leader.replication.throttled.rate", "1000")]));
    assert_eq!((broker.leader_throttled_rate, broker.follower_throttled_rate), (Some(1000), None));
    let mut of_broker = describe_broker(&broker, &BTreeMap::new());
    of_broker.retain(|setting| setting.name.ends_with(".throttled.rate"));
    let of_cluster = describe_cluster(&broker);
    for (described, source) in [(of_broker, Source::DynamicBroker), (of_cluster, Source::DynamicDefaultBroker)] {
        let [rate] = &described[..] else { panic!("{described:?}") };
        assert_eq!((rate.value.as_deref(), rate.source, rate.read_only), (Some("1000"), source, false));
        assert_eq!(synonyms(rate), [format!("leader.replication.throttled.rate=1000@{}", source as i8)]);
    }
}

#[test]
fn changes_to_a_topic_are_made_together_or_refused() {
    use Op::{Append, Delete, Set, Subtract};
    let current = config(&[("retention.ms", "5"), ("cleanup.policy", "compact")]);
    for (changes, expected) in [
        (&[(Set, "retention.ms", Some("6"))][..], Ok("cleanup.policy=compact retention.ms=6")),
        (&[(Delete, "retention.ms", None)], Ok("cleanup.policy=compact")),
        (&[(Delete, "nope", None)], Ok("cleanup.policy=compact retention.ms=5")),
        (&[(Append, "cleanup.policy", Some("delete"))], Ok("cleanup.policy=compact,delete retention.ms=5")),
        (&[(Append, "cleanup.policy", Some("compact"))], Ok("cleanup.policy=compact retention.ms=5")),
        (&[(Subtract, "cleanup.policy", Some("compact"))], Ok("cleanup.policy= retention.ms=5")),
        (&[(Subtract, "cleanup.policy", Some("foo"))], Ok("cleanup.policy=compact retention.ms=5")),
        (
            &[(Append, "cleanup.policy", Some("foo"))],
            Err("Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"),
        ),
        (&[(Append, "retention.ms", Some("5"))], Err("Can't APPEND to key retention.ms because its type is not LIST.")),
        (&[(Subtract, "nope", Some("5"))], Err("Can't SUBTRACT to key nope because its type is not LIST.")),
        (
            &[(Set, "retention.ms", Some("5")), (Delete, "retention.ms", None)],
            Err("Error due to duplicate config keys"),
        ),
        (&[(Set, "retention.ms", None)], Err("Null value not supported for : retention.ms")),
        (&[(Set, "segment.ms", Some("1")), (Set, "nope", Some("1"))], Err("Unknown topic config name: nope")),
    ] {
        let altered = alter_topic(&current, changes, &BrokerSettings::default());
        let shown = altered
            .map(|altered| altered.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "));
        assert_eq!(
            shown.map_err(|error| error.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned),
            "{changes:?}"
        );
    }
    let from_default =
        alter_topic(&Config::new(), &[(Append, "cleanup.policy", Some("compact"))], &BrokerSettings::default());
    assert_eq!(from_default, Ok(config(&[("cleanup.policy", "delete,compact")])));
}

#[test]
fn only_what_brokers_can_change_while_they_run_is_altered() {
    let altered = alter_broker(&Config::new(), &[(Op::Append, "log.cleanup.policy", Some("compact"))]);
    assert_eq!(altered, Ok(config(&[("log.cleanup.policy", "delete,compact")])));
    let refused = alter_broker(&Config::new(), &[(Op::Set, "num.partitions", Some("3"))]).map(drop);
    assert_eq!(text(refused), "Cannot update these configs dynamically: [num.partitions]");
}

#[test]
fn operations_have_kafkas_numbers() {
    assert_eq!(Op::try_from(2), Ok(Op::Append));
    assert_eq!(Op::try_from(4), Err(4));
}
