//! The broker settings that nothing here obeys. Kafka describes them, so we do. A value that is Kafka's default is
//! accepted, because it asks for nothing; any other is refused with a sentence that says why, and where another option
//! does the job, which.

use crate::broker::{DYNAMIC, NULL, PER_BROKER, READ_ONLY};
use crate::setting::SettingType::{self, Boolean, Class, Double, Int, List, Long, Password, Short, Text};
use crate::setting::{Setting, Status, UpdateMode, Valid};
use crate::topic::NEVER;

/// Name, type, default, and whether Kafka can change it while it runs.
type Plumbing = (&'static str, SettingType, Option<&'static str>, UpdateMode);

pub(crate) fn settings() -> impl Iterator<Item = Setting> {
    let setting = |&(name, kind, default, update_mode): &Plumbing, listed, status| Setting {
        name,
        kind,
        default,
        valid: Valid::Any,
        fallbacks: &[],
        update_mode,
        listed,
        status,
    };
    let elsewhere = ELSEWHERE.iter().map(move |(where_, plumbing)| setting(plumbing, true, Status::Elsewhere(where_)));
    let fixed = |groups: &'static [(&'static str, &'static [Plumbing])], listed| {
        groups.iter().flat_map(move |&(why, group)| {
            group.iter().map(move |plumbing| setting(plumbing, listed, Status::Fixed(why)))
        })
    };
    elsewhere.chain(fixed(GROUPS, true)).chain(fixed(INTERNAL, false))
}

/// Whose job another option does, and which.
const ELSEWHERE: &[(&str, Plumbing)] = &[
    (ADDRESSES, ("advertised.listeners", List, NULL, READ_ONLY)),
    (BROKER_ID, ("broker.id", Int, Some("-1"), READ_ONLY)),
    (
        "a broker's rack is a label of its node, which spec.rack.topologyKey of the KafkaCluster names",
        ("broker.rack", Text, NULL, READ_ONLY),
    ),
    (NO_CONTROLLERS, ("controller.listener.names", List, NULL, READ_ONLY)),
    (
        "brokers connect to each other on the first listener of type internal in spec.listeners of the KafkaCluster",
        ("inter.broker.listener.name", Text, NULL, READ_ONLY),
    ),
    (LISTENERS, ("listeners", List, Some("PLAINTEXT://:9092"), PER_BROKER)),
    (DISKS, ("log.dir", List, Some("/tmp/kafka-logs"), READ_ONLY)),
    (DISKS, ("log.dirs", List, NULL, READ_ONLY)),
    (
        "there is no metadata log: Kubernetes holds the metadata; on a laptop it is in the folder that --data names",
        ("metadata.log.dir", Text, NULL, READ_ONLY),
    ),
    (BROKER_ID, ("node.id", Int, NULL, READ_ONLY)),
    (
        "roles are subcommands: `ottla broker` is a broker, `ottla operator` the operator, `ottla` alone is both",
        ("process.roles", List, NULL, READ_ONLY),
    ),
];

const ADDRESSES: &str = "brokers advertise the addresses that Kubernetes gives to spec.listeners of the KafkaCluster; \
on a laptop use --advertise";
const BROKER_ID: &str = "a broker's id is the number at the end of its pod's name; spec.brokers.replicas of the KafkaCluster, \
on a laptop --brokers, sets the number of brokers";
const LISTENERS: &str = "listeners are in spec.listeners of the KafkaCluster; on a laptop use --kafka";
const DISKS: &str =
    "the size of a broker's volume is in spec.brokers.storage of the KafkaCluster; on a laptop use --data";
const NO_CONTROLLERS: &str = "there is no controller quorum: Kubernetes holds the metadata; on a laptop --api sets \
the address of its API";

const GROUPS: &[(&str, &[Plumbing])] = &[
    (
        "listeners are in spec.listeners of the KafkaCluster (on a laptop use --kafka), and this setting has no \
        effect on them",
        OF_LISTENERS,
    ),
    ("a broker has one disk, and settings are read from the KafkaCluster alone", OF_DISKS),
    ("tiered storage is not supported", TIERED),
    (NO_CONTROLLERS, QUORUM),
    (
        "TLS and authentication are in spec.listeners of the KafkaCluster, authorization in spec.authorization, users \
        in KafkaUsers",
        SECURITY,
    ),
    ("share groups have one assignor, simple", SHARE_ASSIGNOR),
    ("share coordinators need no tuning", SHARE_COORDINATORS),
    ("members choose between the two assignors, and uniform is for those who don't", CONSUMER),
    ("clients choose the protocol of their group", PROTOCOLS),
    ("transactions need no tuning", TRANSACTIONS),
    ("without verification a late batch could be added to another transaction, so each is verified", VERIFICATION),
    ("two-phase commit is not supported", TWO_PHASE_COMMIT),
    ("quotas come from KafkaUsers and the KafkaCluster, and the throttles of replication need no tuning", QUOTAS),
    ("replication and leadership need no tuning", REPLICATION),
    ("Java classes cannot be loaded", JAVA),
    ("this part of Ottla needs no tuning", TUNING),
];

/// Those that Kafka hides from its documentation, and describes only where they are set.
const INTERNAL: &[(&str, &[Plumbing])] = &[
    ("tiered storage is not supported", INTERNAL_TIERED),
    (NO_CONTROLLERS, INTERNAL_QUORUM),
    ("share coordinators need no tuning", INTERNAL_SHARE),
    ("an acknowledged record is never traded for availability", INTERNAL_UNCLEAN),
    ("only versions that Kafka calls stable are served", INTERNAL_UNSTABLE),
    ("a broker has one log directory, so replicas are not copied between directories", INTERNAL_ONE_DISK),
    ("this part of Ottla needs no tuning", INTERNAL_TUNING),
];

const OF_LISTENERS: &[Plumbing] = &[
    ("early.start.listeners", List, NULL, READ_ONLY),
    (
        "listener.security.protocol.map",
        Text,
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        PER_BROKER,
    ),
    ("security.inter.broker.protocol", Text, Some("PLAINTEXT"), READ_ONLY),
];

const OF_DISKS: &[Plumbing] =
    &[("config.providers", List, Some(""), DYNAMIC), ("cordoned.log.dirs", List, Some(""), PER_BROKER)];

const TIERED: &[Plumbing] = &[
    ("follower.fetch.last.tiered.offset.enable", Boolean, Some("false"), DYNAMIC),
    ("remote.fetch.max.wait.ms", Int, Some("500"), DYNAMIC),
    ("remote.list.offsets.request.timeout.ms", Long, Some("30000"), DYNAMIC),
    ("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), DYNAMIC),
    ("remote.log.manager.copier.thread.pool.size", Int, Some("10"), DYNAMIC),
    ("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807"), DYNAMIC),
    ("remote.log.manager.copy.quota.window.num", Int, Some("11"), READ_ONLY),
    ("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1"), READ_ONLY),
    ("remote.log.manager.expiration.thread.pool.size", Int, Some("10"), DYNAMIC),
    ("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807"), DYNAMIC),
    ("remote.log.manager.fetch.quota.window.num", Int, Some("11"), READ_ONLY),
    ("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1"), READ_ONLY),
    ("remote.log.manager.follower.thread.pool.size", Int, Some("2"), DYNAMIC),
    ("remote.log.manager.task.interval.ms", Long, Some("30000"), READ_ONLY),
    ("remote.log.manager.thread.pool.size", Int, Some("2"), READ_ONLY),
    ("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128"), READ_ONLY),
    (
        "remote.log.metadata.manager.class.name",
        Text,
        Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"),
        READ_ONLY,
    ),
    ("remote.log.metadata.manager.class.path", Text, NULL, READ_ONLY),
    ("remote.log.metadata.manager.impl.prefix", Text, Some("rlmm.config."), READ_ONLY),
    ("remote.log.metadata.manager.listener.name", Text, NULL, READ_ONLY),
    ("remote.log.reader.max.pending.tasks", Int, Some("100"), READ_ONLY),
    ("remote.log.reader.threads", Int, Some("10"), DYNAMIC),
    ("remote.log.storage.manager.class.name", Text, NULL, READ_ONLY),
    ("remote.log.storage.manager.class.path", Text, NULL, READ_ONLY),
    ("remote.log.storage.manager.impl.prefix", Text, Some("rsm.config."), READ_ONLY),
];

const QUORUM: &[Plumbing] = &[
    ("broker.heartbeat.interval.ms", Int, Some("2000"), READ_ONLY),
    ("broker.session.timeout.ms", Int, Some("9000"), READ_ONLY),
    ("controller.quorum.append.linger.ms", Int, Some("25"), READ_ONLY),
    ("controller.quorum.auto.join.enable", Boolean, Some("false"), READ_ONLY),
    ("controller.quorum.bootstrap.servers", List, Some(""), READ_ONLY),
    ("controller.quorum.election.backoff.max.ms", Int, Some("1000"), READ_ONLY),
    ("controller.quorum.election.timeout.ms", Int, Some("1000"), READ_ONLY),
    ("controller.quorum.fetch.max.bytes", Int, Some("1048576"), READ_ONLY),
    ("controller.quorum.fetch.snapshot.max.bytes", Int, Some("1048576"), READ_ONLY),
    ("controller.quorum.fetch.timeout.ms", Int, Some("2000"), READ_ONLY),
    ("controller.quorum.request.timeout.ms", Int, Some("2000"), READ_ONLY),
    ("controller.quorum.retry.backoff.ms", Int, Some("20"), READ_ONLY),
    ("controller.quorum.voters", List, Some(""), READ_ONLY),
    ("controller.socket.timeout.ms", Int, Some("30000"), READ_ONLY),
    ("initial.broker.registration.timeout.ms", Int, Some("60000"), READ_ONLY),
    ("metadata.log.max.record.bytes.between.snapshots", Long, Some("20971520"), READ_ONLY),
    ("metadata.log.max.snapshot.interval.ms", Long, Some("3600000"), READ_ONLY),
    ("metadata.log.segment.bytes", Int, Some("1073741824"), READ_ONLY),
    ("metadata.log.segment.ms", Long, Some("604800000"), READ_ONLY),
    ("metadata.max.idle.interval.ms", Int, Some("500"), READ_ONLY),
    ("metadata.max.retention.bytes", Long, Some("104857600"), READ_ONLY),
    ("metadata.max.retention.ms", Long, Some("604800000"), READ_ONLY),
    ("sasl.mechanism.controller.protocol", Text, Some("GSSAPI"), READ_ONLY),
];

const SECURITY: &[Plumbing] = &[
    ("authorizer.class.name", Text, Some(""), READ_ONLY),
    ("delegation.token.expiry.check.interval.ms", Long, Some("3600000"), READ_ONLY),
    ("delegation.token.expiry.time.ms", Long, Some("86400000"), READ_ONLY),
    ("delegation.token.max.lifetime.ms", Long, Some("604800000"), READ_ONLY),
    ("delegation.token.secret.key", Password, NULL, READ_ONLY),
    (
        "principal.builder.class",
        Class,
        Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"),
        PER_BROKER,
    ),
    ("sasl.client.callback.handler.class", Class, NULL, READ_ONLY),
    ("sasl.enabled.mechanisms", List, Some("GSSAPI"), PER_BROKER),
    ("sasl.jaas.config", Password, NULL, PER_BROKER),
    ("sasl.kerberos.kinit.cmd", Text, Some("/usr/bin/kinit"), PER_BROKER),
    ("sasl.kerberos.min.time.before.relogin", Long, Some("60000"), PER_BROKER),
    ("sasl.kerberos.principal.to.local.rules", List, Some("DEFAULT"), PER_BROKER),
    ("sasl.kerberos.service.name", Text, NULL, PER_BROKER),
    ("sasl.kerberos.ticket.renew.jitter", Double, Some("0.05"), PER_BROKER),
    ("sasl.kerberos.ticket.renew.window.factor", Double, Some("0.8"), PER_BROKER),
    ("sasl.login.callback.handler.class", Class, NULL, READ_ONLY),
    ("sasl.login.class", Class, NULL, READ_ONLY),
    ("sasl.login.connect.timeout.ms", Int, NULL, READ_ONLY),
    ("sasl.login.read.timeout.ms", Int, NULL, READ_ONLY),
    ("sasl.login.refresh.buffer.seconds", Short, Some("300"), PER_BROKER),
    ("sasl.login.refresh.min.period.seconds", Short, Some("60"), PER_BROKER),
    ("sasl.login.refresh.window.factor", Double, Some("0.8"), PER_BROKER),
    ("sasl.login.refresh.window.jitter", Double, Some("0.05"), PER_BROKER),
    ("sasl.login.retry.backoff.max.ms", Long, Some("10000"), READ_ONLY),
    ("sasl.login.retry.backoff.ms", Long, Some("100"), READ_ONLY),
    ("sasl.mechanism.inter.broker.protocol", Text, Some("GSSAPI"), PER_BROKER),
    ("sasl.oauthbearer.assertion.algorithm", Text, Some("RS256"), READ_ONLY),
    ("sasl.oauthbearer.assertion.claim.aud", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.assertion.claim.exp.seconds", Int, Some("300"), READ_ONLY),
    ("sasl.oauthbearer.assertion.claim.iss", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.assertion.claim.jti.include", Boolean, Some("false"), READ_ONLY),
    ("sasl.oauthbearer.assertion.claim.nbf.seconds", Int, Some("60"), READ_ONLY),
    ("sasl.oauthbearer.assertion.claim.sub", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.assertion.file", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.assertion.private.key.file", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.assertion.private.key.passphrase", Password, NULL, READ_ONLY),
    ("sasl.oauthbearer.assertion.template.file", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.client.credentials.client.id", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.client.credentials.client.secret", Password, NULL, READ_ONLY),
    ("sasl.oauthbearer.clock.skew.seconds", Int, Some("30"), READ_ONLY),
    ("sasl.oauthbearer.expected.audience", List, Some(""), READ_ONLY),
    ("sasl.oauthbearer.expected.issuer", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, Some("3600000"), READ_ONLY),
    ("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, Some("10000"), READ_ONLY),
    ("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, Some("100"), READ_ONLY),
    ("sasl.oauthbearer.jwks.endpoint.url", Text, NULL, READ_ONLY),
    (
        "sasl.oauthbearer.jwt.retriever.class",
        Class,
        Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"),
        READ_ONLY,
    ),
    (
        "sasl.oauthbearer.jwt.validator.class",
        Class,
        Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"),
        READ_ONLY,
    ),
    ("sasl.oauthbearer.scope", Text, NULL, READ_ONLY),
    ("sasl.oauthbearer.scope.claim.name", Text, Some("scope"), READ_ONLY),
    ("sasl.oauthbearer.sub.claim.name", Text, Some("sub"), READ_ONLY),
    ("sasl.oauthbearer.token.endpoint.url", Text, NULL, READ_ONLY),
    ("sasl.server.callback.handler.class", Class, NULL, READ_ONLY),
    ("security.providers", Text, NULL, READ_ONLY),
    ("ssl.allow.dn.changes", Boolean, Some("false"), READ_ONLY),
    ("ssl.allow.san.changes", Boolean, Some("false"), READ_ONLY),
    ("ssl.cipher.suites", List, Some(""), PER_BROKER),
    ("ssl.client.auth", Text, Some("none"), PER_BROKER),
    ("ssl.enabled.protocols", List, Some("TLSv1.2,TLSv1.3"), PER_BROKER),
    ("ssl.endpoint.identification.algorithm", Text, Some("https"), PER_BROKER),
    ("ssl.engine.factory.class", Class, NULL, PER_BROKER),
    ("ssl.key.password", Password, NULL, PER_BROKER),
    ("ssl.keymanager.algorithm", Text, Some("SunX509"), PER_BROKER),
    ("ssl.keystore.certificate.chain", Password, NULL, PER_BROKER),
    ("ssl.keystore.key", Password, NULL, PER_BROKER),
    ("ssl.keystore.location", Text, NULL, PER_BROKER),
    ("ssl.keystore.password", Password, NULL, PER_BROKER),
    ("ssl.keystore.type", Text, Some("JKS"), PER_BROKER),
    ("ssl.principal.mapping.rules", Text, Some("DEFAULT"), READ_ONLY),
    ("ssl.protocol", Text, Some("TLSv1.3"), PER_BROKER),
    ("ssl.provider", Text, NULL, PER_BROKER),
    ("ssl.secure.random.implementation", Text, NULL, PER_BROKER),
    ("ssl.trustmanager.algorithm", Text, Some("PKIX"), PER_BROKER),
    ("ssl.truststore.certificates", Password, NULL, PER_BROKER),
    ("ssl.truststore.location", Text, NULL, PER_BROKER),
    ("ssl.truststore.password", Password, NULL, PER_BROKER),
    ("ssl.truststore.type", Text, Some("JKS"), PER_BROKER),
];

const CONSUMER: &[Plumbing] = &[("group.consumer.assignors", List, Some("uniform,range"), READ_ONLY)];

const PROTOCOLS: &[Plumbing] =
    &[("group.coordinator.rebalance.protocols", List, Some("classic,consumer,streams"), READ_ONLY)];

const TRANSACTIONS: &[Plumbing] = &[
    ("add.partitions.to.txn.retry.backoff.max.ms", Int, Some("100"), READ_ONLY),
    ("add.partitions.to.txn.retry.backoff.ms", Int, Some("20"), READ_ONLY),
    ("transaction.state.log.load.buffer.size", Int, Some("5242880"), READ_ONLY),
];

const VERIFICATION: &[Plumbing] = &[("transaction.partition.verification.enable", Boolean, Some("true"), DYNAMIC)];

const TWO_PHASE_COMMIT: &[Plumbing] = &[("transaction.two.phase.commit.enable", Boolean, Some("false"), READ_ONLY)];

const QUOTAS: &[Plumbing] = &[
    ("alter.log.dirs.replication.quota.window.num", Int, Some("11"), READ_ONLY),
    ("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), READ_ONLY),
    ("client.quota.callback.class", Class, NULL, READ_ONLY),
    ("replication.quota.window.num", Int, Some("11"), READ_ONLY),
    ("replication.quota.window.size.seconds", Int, Some("1"), READ_ONLY),
];

const REPLICATION: &[Plumbing] = &[
    ("log.dir.failure.timeout.ms", Long, Some("30000"), READ_ONLY),
    ("num.replica.alter.log.dirs.threads", Int, NULL, READ_ONLY),
    ("replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), READ_ONLY),
    ("replica.socket.receive.buffer.bytes", Int, Some("65536"), READ_ONLY),
    ("replica.socket.timeout.ms", Int, Some("30000"), READ_ONLY),
];

const JAVA: &[Plumbing] = &[
    ("alter.config.policy.class.name", Class, NULL, READ_ONLY),
    ("create.topic.policy.class.name", Class, NULL, READ_ONLY),
    ("kafka.metrics.polling.interval.secs", Int, Some("10"), READ_ONLY),
    ("kafka.metrics.reporters", List, Some(""), READ_ONLY),
    ("metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), DYNAMIC),
    ("metrics.num.samples", Int, Some("2"), READ_ONLY),
    ("metrics.recording.level", Text, Some("INFO"), READ_ONLY),
    ("metrics.sample.window.ms", Long, Some("30000"), READ_ONLY),
    ("telemetry.max.bytes", Int, Some("1048576"), READ_ONLY),
];

const TUNING: &[Plumbing] = &[
    ("background.threads", Int, Some("10"), DYNAMIC),
    ("delete.records.purgatory.purge.interval.requests", Int, Some("1"), READ_ONLY),
    ("fetch.purgatory.purge.interval.requests", Int, Some("1000"), READ_ONLY),
    ("group.coordinator.append.linger.ms", Int, Some("-1"), READ_ONLY),
    ("group.coordinator.background.threads", Int, Some("2"), READ_ONLY),
    ("group.coordinator.cached.buffer.max.bytes", Int, Some("1048588"), DYNAMIC),
    ("group.coordinator.threads", Int, Some("4"), READ_ONLY),
    ("log.cleaner.backoff.ms", Long, Some("15000"), DYNAMIC),
    ("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), DYNAMIC),
    ("log.cleaner.io.buffer.load.factor", Double, Some("0.9"), DYNAMIC),
    ("log.cleaner.io.buffer.size", Int, Some("524288"), DYNAMIC),
    ("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), DYNAMIC),
    ("log.cleaner.threads", Int, Some("1"), DYNAMIC),
    ("log.flush.offset.checkpoint.interval.ms", Int, Some("60000"), READ_ONLY),
    ("log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000"), READ_ONLY),
    ("max.request.partition.size.limit", Int, Some("2000"), READ_ONLY),
    ("num.io.threads", Int, Some("8"), DYNAMIC),
    ("num.network.threads", Int, Some("3"), DYNAMIC),
    ("offsets.load.buffer.size", Int, Some("5242880"), READ_ONLY),
    ("offsets.retention.check.interval.ms", Long, Some("600000"), READ_ONLY),
    ("producer.purgatory.purge.interval.requests", Int, Some("1000"), READ_ONLY),
    ("queued.max.requests", Int, Some("500"), READ_ONLY),
    ("request.timeout.ms", Int, Some("30000"), READ_ONLY),
    ("socket.connection.setup.timeout.max.ms", Long, Some("30000"), READ_ONLY),
    ("socket.connection.setup.timeout.ms", Long, Some("10000"), READ_ONLY),
    ("socket.listen.backlog.size", Int, Some("50"), READ_ONLY),
    ("socket.receive.buffer.bytes", Int, Some("102400"), READ_ONLY),
    ("socket.send.buffer.bytes", Int, Some("102400"), READ_ONLY),
];

const INTERNAL_TIERED: &[Plumbing] = &[
    ("remote.log.index.file.cache.ttl.ms", Long, Some("900000"), READ_ONLY),
    ("remote.log.manager.task.retry.backoff.max.ms", Long, Some("30000"), READ_ONLY),
    ("remote.log.manager.task.retry.backoff.ms", Long, Some("500"), READ_ONLY),
    ("remote.log.manager.task.retry.jitter", Double, Some("0.2"), READ_ONLY),
];

const INTERNAL_QUORUM: &[Plumbing] = &[
    ("controller.performance.always.log.threshold.ms", Long, Some("2000"), READ_ONLY),
    ("controller.performance.sample.period.ms", Long, Some("60000"), READ_ONLY),
    ("internal.metadata.delete.delay.millis", Long, Some("60000"), READ_ONLY),
    ("internal.metadata.log.segment.bytes", Int, NULL, READ_ONLY),
    ("internal.metadata.max.batch.size.in.bytes", Int, Some("8388608"), READ_ONLY),
    ("server.max.startup.time.ms", Long, Some(NEVER), READ_ONLY),
];

const SHARE_ASSIGNOR: &[Plumbing] = &[("group.share.assignors", List, Some("simple"), READ_ONLY)];

const SHARE_COORDINATORS: &[Plumbing] = &[
    ("share.coordinator.append.linger.ms", Int, Some("-1"), READ_ONLY),
    ("share.coordinator.cached.buffer.max.bytes", Int, Some("1048588"), DYNAMIC),
    ("share.coordinator.load.buffer.size", Int, Some("5242880"), READ_ONLY),
    ("share.coordinator.state.topic.compression.codec", Int, Some("0"), READ_ONLY),
    ("share.coordinator.threads", Int, Some("1"), READ_ONLY),
    ("share.fetch.purgatory.purge.interval.requests", Int, Some("1000"), READ_ONLY),
];

const INTERNAL_SHARE: &[Plumbing] = &[
    ("group.share.initialize.retry.interval.ms", Int, Some("30000"), READ_ONLY),
    (
        "group.share.persister.class.name",
        Text,
        Some("org.apache.kafka.server.share.persister.DefaultStatePersister"),
        READ_ONLY,
    ),
    ("share.coordinator.cold.partition.snapshot.interval.ms", Int, Some("300000"), READ_ONLY),
    ("share.coordinator.state.topic.prune.interval.ms", Int, Some("300000"), READ_ONLY),
];

const INTERNAL_UNCLEAN: &[Plumbing] = &[("unclean.leader.election.interval.ms", Long, Some("300000"), READ_ONLY)];

const INTERNAL_UNSTABLE: &[Plumbing] = &[
    ("unstable.api.versions.enable", Boolean, Some("false"), READ_ONLY),
    ("unstable.feature.versions.enable", Boolean, Some("false"), READ_ONLY),
];

const INTERNAL_ONE_DISK: &[Plumbing] =
    &[("replica.alter.log.dirs.io.max.bytes.per.second", Long, Some(NEVER), DYNAMIC)];

const INTERNAL_TUNING: &[Plumbing] = &[
    ("log.initial.task.delay.ms", Long, Some("30000"), READ_ONLY),
    ("producer.id.expiration.check.interval.ms", Int, Some("600000"), READ_ONLY),
];
