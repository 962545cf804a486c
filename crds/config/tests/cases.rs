//! What is accepted, what takes effect, how it is described and how it changes. Refusals that begin with "Invalid
//! value" and the like, and the lists of synonyms, are those of a real Kafka 4.3.1.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_config::{
    BrokerSettings, CleanupPolicy, Compression, Config, Described, Entity, GroupSettings, Op, REPLICA_SOCKET_TIMEOUT,
    SettingError, SettingType, Source, Status, Synonym, TimestampType, TopicSettings, alter_broker, alter_group,
    alter_one_broker, alter_topic, check_broker, check_broker_config, check_client_metrics, check_own_config,
    check_topic, check_topic_config, describe_broker, describe_client_metrics, describe_cluster, describe_group,
    describe_topic,
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
fn followers_wait_for_as_long_as_the_setting_says() {
    let described = find(describe_broker(&BrokerSettings::default(), &BTreeMap::new()), "replica.socket.timeout.ms");
    assert_eq!(described.value, Some(REPLICA_SOCKET_TIMEOUT.as_millis().to_string()));
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
        ("controller.quorum.voters", "", "ok"),
        ("leader.replication.throttled.rate", "0", "ok"),
        (
            "follower.replication.throttled.rate",
            "-1",
            "Invalid value -1 for configuration follower.replication.throttled.rate: Value must be at least 0",
        ),
        (
            "replica.alter.log.dirs.io.max.bytes.per.second",
            "1",
            "replica.alter.log.dirs.io.max.bytes.per.second=1: a broker has one log directory, so replicas are not copied \
             between directories; the only accepted value is 9223372036854775807",
        ),
        (
            "process.roles",
            "broker",
            "process.roles=broker: roles are subcommands: `ottla broker` is a broker, `ottla operator` the operator, \
            `ottla` alone is both",
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
            "ssl.key.password=[hidden]: TLS and authentication are in spec.listeners of the KafkaCluster, authorization in \
             spec.authorization, users in KafkaUsers; leave it out",
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
            &[("replica.lag.time.max.ms", "60000"), ("replica.fetch.wait.max.ms", "30001")][..],
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket \
             timeouts",
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
        (
            &[("group.consumer.session.timeout.ms", "30000")][..],
            "group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (
            &[("group.consumer.min.session.timeout.ms", "70000")][..],
            "group.consumer.max.session.timeout.ms must be greater than or equal to \
             group.consumer.min.session.timeout.ms",
        ),
        (
            &[("group.consumer.min.session.timeout.ms", "1000"), ("group.consumer.session.timeout.ms", "5000")][..],
            "group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms",
        ),
        (
            &[("group.consumer.migration.policy", "both")][..],
            "Invalid value both for configuration group.consumer.migration.policy: String must be one of (case \
             insensitive): BIDIRECTIONAL, DISABLED, DOWNGRADE, UPGRADE",
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
fn a_description_has_the_source_of_a_value() {
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

    // Kafka obeys log.roll.hours here and does not show it.
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
        ("ssl.key.password", None, Source::Default, true, ""),
    ] {
        let described = find(describe_broker(&broker, &facts), name);
        assert_eq!((described.value.as_deref(), described.source), (value, source), "{name}");
        assert_eq!((described.read_only, synonyms(&described).join(" ").as_str()), (read_only, chain), "{name}");
    }
    let cluster = describe_cluster(&broker);
    assert_eq!(cluster.iter().map(|setting| &*setting.name).collect::<Vec<_>>(), ["log.segment.bytes"]);
    assert_eq!(synonyms(&cluster[0]), ["log.segment.bytes=2000000@3"]);
}

#[test]
fn a_throttles_rate_is_described_where_it_is_set() {
    let rate = config(&[("leader.replication.throttled.rate", "1000")]);
    for (broker, sources) in [
        (BrokerSettings::resolve(&rate), [Some(Source::DynamicDefaultBroker); 2]),
        (BrokerSettings::resolve_one(&Config::new(), &rate), [Some(Source::DynamicBroker), None]),
    ] {
        assert_eq!((broker.leader_throttled_rate, broker.follower_throttled_rate), (Some(1000), None));
        let mut of_broker = describe_broker(&broker, &BTreeMap::new());
        of_broker.retain(|setting| setting.name.ends_with(".throttled.rate"));
        for (described, source) in [of_broker, describe_cluster(&broker)].into_iter().zip(sources) {
            let Some(source) = source else {
                assert_eq!(described, []);
                continue;
            };
            let [rate] = &described[..] else { panic!("{described:?}") };
            assert_eq!((rate.value.as_deref(), rate.source, rate.read_only), (Some("1000"), source, false));
            assert_eq!(synonyms(rate), [format!("leader.replication.throttled.rate=1000@{}", source as i8)]);
        }
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
fn a_default_is_recognised_by_type_and_not_by_its_text() {
    for (name, value, expected) in [
        ("num.io.threads", " +8 ", "ok"),
        ("log.cleaner.io.buffer.load.factor", "9e-1", "ok"),
        ("log.cleaner.io.max.bytes.per.second", "1.7976931348623157e+308", "ok"),
        ("transaction.partition.verification.enable", "TRUE", "ok"),
        ("group.consumer.assignors", "uniform , range", "ok"),
        ("ssl.enabled.protocols", "TLSv1.2,TLSv1.3,TLSv1.2", "ok"),
        ("metrics.recording.level", "INFO", "ok"),
        ("num.io.threads", "9", "num.io.threads=9: this part of Ottla needs no tuning; the only accepted value is 8"),
        ("num.io.threads", "eight", "Invalid value eight for configuration num.io.threads: Not a number of type INT"),
        (
            "controller.quorum.voters",
            "1@localhost:9093",
            "controller.quorum.voters=1@localhost:9093: there is no controller quorum: Kubernetes holds the metadata; \
            on a laptop --api sets the address of its API; it must stay empty",
        ),
        (
            "node.id",
            "1",
            "node.id=1: a broker's id is the number at the end of its pod's name; spec.brokers.replicas of the \
             KafkaCluster, on a laptop --brokers, sets the number of brokers",
        ),
    ] {
        assert_eq!(text(check_broker(name, value)), expected, "{name}={value}");
    }
}

#[test]
fn a_setting_of_one_listener_is_held_to_the_rules_of_the_one_of_all() {
    for (name, value, expected) in [
        ("listener.name.internal.ssl.client.auth", "none", "ok"),
        ("listener.name.internal.scram-sha-256.sasl.login.class", "", "leave it out"),
        ("listener.name.internal.num.network.threads", "3", "ok"),
        ("listener.name.internal.ssl.client.auth", "required", "users in KafkaUsers; the only accepted value is none"),
        ("listener.name.internal.connections.max.idle.ms", "600000", "without listener.name and the listener's name"),
        ("listener.name.internal.max.connections.per.ip", "7", "without listener.name and the listener's name"),
        ("listener.name.internal.max.connections", "7", "ok"),
        ("listener.name.internal.max.connection.creation.rate", "7", "ok"),
        ("listener.name.internal.scram-sha-256.max.connections", "7", "without listener.name and the listener's name"),
        ("listener.name.internal.max.connections", "0", "Value must be at least 1"),
        ("listener.name.internal.nope", "1", "Unknown broker config name: listener.name.internal.nope"),
        ("listener.name.internal", "1", "Unknown broker config name: listener.name.internal"),
    ] {
        let described = text(check_broker(name, value));
        assert!(described.ends_with(expected), "{name}={value}: {described}");
        assert!(expected == "ok" || described.contains(name), "{described}");
    }
    let broker = BrokerSettings::resolve(&config(&[("listener.name.internal.ssl.client.auth", "none")]));
    let described = find(describe_broker(&broker, &BTreeMap::new()), "listener.name.internal.ssl.client.auth");
    assert_eq!((described.value.as_deref(), described.read_only), (Some("none"), true));
    assert_eq!(synonyms(&described), ["listener.name.internal.ssl.client.auth=none@4", "ssl.client.auth=none@5"]);
}

#[test]
fn a_listener_has_its_own_limits_of_connections_or_those_of_all() {
    let cluster = config(&[
        ("max.connections", "100"),
        ("listener.name.apps.max.connections", "10"),
        ("listener.name.more.max.connection.creation.rate", "5"),
    ]);
    let own = config(&[("listener.name.apps.max.connections", "20"), ("max.connection.creation.rate", "9")]);
    let limits = |own: &Config, listener| {
        let settings = BrokerSettings::resolve_one(&cluster, own).connections;
        let counts = settings.of_listener(listener);
        (counts.max, counts.per_second)
    };
    let none = Config::new();
    assert_eq!(
        ["apps", "more", "other"].map(|listener| limits(&none, listener)),
        [(Some(10), None), (Some(100), Some(5)), (Some(100), None)]
    );
    assert_eq!(
        ["apps", "more", "other"].map(|listener| limits(&own, listener)),
        [(Some(20), Some(9)), (Some(100), Some(5)), (Some(100), Some(9))]
    );
    let described = describe_broker(&BrokerSettings::resolve_one(&cluster, &own), &BTreeMap::new());
    let apps = find(described, "listener.name.apps.max.connections");
    assert_eq!((apps.value.as_deref(), apps.read_only), (Some("20"), false));
    let set = ["listener.name.apps.max.connections=20@2", "listener.name.apps.max.connections=10@3"];
    assert_eq!(synonyms(&apps)[..2], set);
}

#[test]
fn an_internal_segment_size_goes_before_the_one_that_users_give() {
    assert_eq!(topic(&[("internal.segment.bytes", "1000"), ("segment.bytes", "2000000")], &[]).segment_bytes, 1000);
    assert_eq!(topic(&[("segment.bytes", "2000000")], &[]).segment_bytes, 2_000_000);
    let names = |overrides: &Config| {
        let described = describe_topic(overrides, &BrokerSettings::default());
        described.iter().filter(|setting| setting.name == "internal.segment.bytes").count()
    };
    assert_eq!((names(&Config::new()), names(&config(&[("internal.segment.bytes", "1000")]))), (0, 1));
}

#[test]
fn a_brokers_own_setting_goes_before_that_of_all() {
    let all = config(&[("log.retention.ms", "5"), ("num.partitions", "3")]);
    let own = config(&[("log.retention.ms", "7")]);
    let broker = BrokerSettings::resolve_one(&all, &own);
    assert_eq!(TopicSettings::resolve(&Config::new(), &broker).retention, Some(Duration::from_millis(7)));
    let described = find(describe_broker(&broker, &BTreeMap::new()), "log.retention.ms");
    assert_eq!((described.value.as_deref(), described.source), (Some("7"), Source::DynamicBroker));
    let chain = ["log.retention.ms=7@2", "log.retention.ms=5@3", "log.retention.hours=168@5"];
    assert_eq!(synonyms(&described), chain);
    let of_topic = find(describe_topic(&Config::new(), &broker), "retention.ms");
    assert_eq!((of_topic.value.as_deref(), of_topic.source), (Some("7"), Source::DynamicBroker));
    assert_eq!(synonyms(&find(describe_cluster(&broker), "log.retention.ms")), ["log.retention.ms=5@3"]);

    // A static setting that somebody wrote there is none of its own.
    let static_ = BrokerSettings::resolve_one(&all, &config(&[("num.partitions", "9")]));
    assert_eq!(static_.num_partitions, 3);
    let refused = text(check_own_config(&all, &config(&[("num.partitions", "9")])));
    assert_eq!(refused, "Cannot update these configs dynamically: [num.partitions]");
    assert_eq!(text(check_own_config(&all, &own)), "ok");
}

#[test]
fn what_one_broker_can_have_and_what_all_can_have_are_kafkas() {
    use Op::{Append, Delete, Set};
    let all = config(&[("log.cleanup.policy", "compact")]);
    let broker = BrokerSettings::resolve(&all);
    let own = config(&[("log.retention.ms", "7")]);
    for (changes, one, together) in [
        ((Set, "log.retention.ms", Some("8")), "log.retention.ms=8", "log.cleanup.policy=compact log.retention.ms=8"),
        ((Delete, "log.retention.ms", None), "", "log.cleanup.policy=compact"),
        (
            (Append, "log.cleanup.policy", Some("delete")),
            "log.cleanup.policy=compact,delete log.retention.ms=7",
            "log.cleanup.policy=compact,delete",
        ),
        (
            (Set, "num.partitions", Some("2")),
            "Cannot update these configs dynamically: [num.partitions]",
            "Cannot update these configs dynamically: [num.partitions]",
        ),
        (
            (Set, "ssl.client.auth", Some("none")),
            "log.retention.ms=7 ssl.client.auth=none",
            "Cannot update these configs at default cluster level, broker id must be specified: [ssl.client.auth]",
        ),
        (
            (Set, "listener.name.a.ssl.client.auth", Some("none")),
            "listener.name.a.ssl.client.auth=none log.retention.ms=7",
            "Cannot update these configs at default cluster level, broker id must be specified: \
             [listener.name.a.ssl.client.auth]",
        ),
        (
            (Set, "listener.name.a.num.network.threads", Some("3")),
            "listener.name.a.num.network.threads=3 log.retention.ms=7",
            "listener.name.a.num.network.threads=3 log.cleanup.policy=compact",
        ),
    ] {
        let show = |altered: Result<Config, SettingError>| match altered {
            Ok(altered) => altered.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(show(alter_one_broker(&broker, &own, &[changes])), one, "{changes:?}");
        assert_eq!(show(alter_broker(&all, &[changes])), together, "{changes:?}");
    }
}

#[test]
fn groups_and_subscriptions_have_kafkas_settings_at_their_defaults() {
    let show = |described: Vec<Described>| -> Vec<String> {
        let show = |setting: &Described| {
            let value = setting.value.as_deref().unwrap_or("null");
            format!("{} {}={value} {}", setting.kind, setting.name, synonyms(setting).join(","))
        };
        assert!(described.iter().all(|setting| setting.source == Source::Default && !setting.read_only));
        described.iter().map(show).collect()
    };
    assert_eq!(
        show(describe_group(&Config::new(), &BrokerSettings::default())),
        [
            "INT consumer.assignment.interval.ms=1000 group.consumer.assignment.interval.ms=1000@5",
            "INT consumer.heartbeat.interval.ms=5000 group.consumer.heartbeat.interval.ms=5000@5",
            "INT consumer.session.timeout.ms=45000 group.consumer.session.timeout.ms=45000@5",
            "INT share.assignment.interval.ms=1000 group.share.assignment.interval.ms=1000@5",
            "STRING share.auto.offset.reset=latest share.auto.offset.reset=latest@5",
            "INT share.delivery.count.limit=5 group.share.delivery.count.limit=5@5",
            "INT share.heartbeat.interval.ms=5000 group.share.heartbeat.interval.ms=5000@5",
            "STRING share.isolation.level=read_uncommitted share.isolation.level=read_uncommitted@5",
            "INT share.partition.max.record.locks=2000 group.share.partition.max.record.locks=2000@5",
            "INT share.record.lock.duration.ms=30000 group.share.record.lock.duration.ms=30000@5",
            "BOOLEAN share.renew.acknowledge.enable=true share.renew.acknowledge.enable=true@5",
            "INT share.session.timeout.ms=45000 group.share.session.timeout.ms=45000@5",
            "INT streams.assignment.interval.ms=1000 group.streams.assignment.interval.ms=1000@5",
            "INT streams.heartbeat.interval.ms=5000 group.streams.heartbeat.interval.ms=5000@5",
            "INT streams.initial.rebalance.delay.ms=3000 group.streams.initial.rebalance.delay.ms=3000@5",
            "INT streams.num.standby.replicas=0 group.streams.num.standby.replicas=0@5",
            "INT streams.session.timeout.ms=45000 group.streams.session.timeout.ms=45000@5",
        ]
    );
    assert_eq!(show(describe_client_metrics()), ["INT interval.ms=300000 ", "LIST match= ", "LIST metrics= "]);
    let changed = check_client_metrics(&[(Op::Set, "metrics", Some("*"))]);
    assert_eq!(text(changed), "metrics=*: clients are not asked for their metrics; it must stay empty");
}

#[test]
fn a_group_may_have_settings_of_its_own_within_the_bounds_of_the_brokers() {
    let broker = BrokerSettings::resolve(&config(&[("group.consumer.max.session.timeout.ms", "90000")]));
    for (changes, expected) in [
        (&[(Op::Set, "share.auto.offset.reset", Some("latest"))][..], "ok"),
        (
            &[(Op::Set, "share.auto.offset.reset", Some("by_duration:1h"))],
            "Invalid value by_duration:1h for configuration share.auto.offset.reset: Invalid value `by_duration:1h` for \
             configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format \
             'by_duration:<PnDTnHnMn.nS>'.",
        ),
        (&[(Op::Set, "share.auto.offset.reset", Some("by_duration:PT1H"))], "ok"),
        (
            &[(Op::Set, "share.delivery.count.limit", Some("11"))],
            "share.delivery.count.limit must be less than or equal to group.share.max.delivery.count.limit",
        ),
        (
            &[(Op::Set, "streams.num.standby.replicas", Some("3"))],
            "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
        ),
        (&[(Op::Delete, "share.auto.offset.reset", None)], "ok"),
        (&[(Op::Set, "nope", Some("1"))], "Unknown group config name: nope"),
        (&[(Op::Set, "consumer.session.timeout.ms", Some("90000"))], "ok"),
        (
            &[(Op::Set, "consumer.session.timeout.ms", Some("90001"))],
            "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
        ),
        (
            &[(Op::Set, "consumer.session.timeout.ms", Some("44999"))],
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (
            &[(Op::Set, "consumer.heartbeat.interval.ms", Some("15001"))],
            "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
        ),
        (
            &[(Op::Set, "consumer.assignment.interval.ms", Some("-1"))],
            "Invalid value -1 for configuration consumer.assignment.interval.ms: Value must be at least 0",
        ),
    ] {
        assert_eq!(text(alter_group(&Config::new(), changes, &broker).map(drop)), expected, "{changes:?}");
    }
    let own = config(&[("consumer.session.timeout.ms", "80000")]);
    let described = find(describe_group(&own, &broker), "consumer.session.timeout.ms");
    assert_eq!(described.source, Source::Group);
    let expected = ["consumer.session.timeout.ms=80000@8", "group.consumer.session.timeout.ms=45000@5"];
    assert_eq!(synonyms(&described), expected);
    let of_group = GroupSettings::resolve(&own, &broker);
    assert_eq!(of_group.consumer.session_timeout, Duration::from_secs(80));
    assert_eq!(of_group.consumer.heartbeat_interval, Duration::from_secs(5));
    let lowered = GroupSettings::resolve(&own, &BrokerSettings::default());
    assert_eq!(lowered.consumer.session_timeout, Duration::from_secs(60), "the brokers' bound has changed since");
}

#[test]
fn operations_have_kafkas_numbers() {
    assert_eq!(Op::try_from(2), Ok(Op::Append));
    assert_eq!(Op::try_from(4), Err(4));
}

#[test]
fn limits_of_connections_and_windows_of_quotas_are_read() {
    let defaults = BrokerSettings::resolve(&config(&[]));
    let (quotas, connections) = (&defaults.quotas, &defaults.connections);
    assert_eq!((quotas.windows, quotas.controller_windows), (11, 11));
    assert_eq!([quotas.window, quotas.controller_window], [Duration::from_secs(1); 2]);
    let counts = connections.of_broker;
    assert_eq!((counts.max, counts.per_second, connections.max_per_address), (None, None, None));
    assert!(connections.overrides.is_empty());
    let given = BrokerSettings::resolve(&config(&[
        ("quota.window.num", "3"),
        ("controller.quota.window.size.seconds", "5"),
        ("max.connections", "0"),
        ("max.connection.creation.rate", "7"),
        ("max.connections.per.ip", "8"),
        ("max.connections.per.ip.overrides", "10.0.0.7:1, ::1:20 ,::ffff:10.0.0.8:3"),
    ]));
    let (quotas, connections) = (&given.quotas, &given.connections);
    assert_eq!((quotas.windows, quotas.controller_window), (3, Duration::from_secs(5)));
    let counts = connections.of_broker;
    assert_eq!((counts.max, counts.per_second, connections.max_per_address), (Some(0), Some(7), Some(8)));
    let overrides: Vec<String> = connections.overrides.iter().map(|(ip, count)| format!("{ip} {count}")).collect();
    assert_eq!(overrides, ["10.0.0.7 1", "10.0.0.8 3", "::1 20"]);
    for refused in ["localhost:1", "10.0.0.7", "10.0.0.7:-1", "10.0.0.7:1:2", "10.0.0.7:2147483648"] {
        let error = check_broker_config(&config(&[("max.connections.per.ip.overrides", refused)])).unwrap_err();
        assert!(error.to_string().contains("give their addresses"), "{error}");
    }
}

/// As in CVE-2023-25194, CVE-2024-31141 and CVE-2025-27817 to 27819.
#[test]
fn no_setting_loads_code_reads_files_or_asks_addresses() {
    let dangerous = ["class", "jaas", "url", "providers", "keystore", "truststore", "ldap", "jndi", "command", "file"];
    for entity in [Entity::Topic, Entity::Broker, Entity::Group, Entity::ClientMetrics] {
        for (name, setting) in entity.settings() {
            let is_dangerous = setting.kind == SettingType::Class || dangerous.iter().any(|word| name.contains(word));
            // A time, and the name of a rule of our own.
            let is_harmless = ["file.delete.delay.ms", "replica.selector.class"].contains(name);
            let is_enforced = matches!(setting.status, Status::Enforced(_));
            assert!(!is_dangerous || !is_enforced || is_harmless, "{name}");
        }
    }
    assert_ne!(text(check_broker("replica.selector.class", "com.example.Evil")), "ok");
    for value in ["${file:/etc/passwd:root}", "${env:HOME}", "${sys:user.dir}"] {
        let refused = text(check_broker("log.retention.ms", value));
        assert!(refused.contains(value), "it is no number, and is not replaced: {refused}");
    }
}
