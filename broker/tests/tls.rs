//! Listeners with TLS on one broker, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{OneBroker, topic};
use ottla_access::sasl::{Credentials, User};
use ottla_access::{Access, Authentication, Authorizer, ListenerAccess, Listeners, MappingRules};
use ottla_broker::image::Topic;
use ottla_client::{ClientError, Connection, Connector, Tls};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m23_offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_wire::m24_add_partitions_to_txn::AddPartitionsToTxnRequest;
use ottla_wire::m27_write_txn_markers::WriteTxnMarkersRequest;
use ottla_wire::m84_read_share_group_state::ReadShareGroupStateRequest;
use ottla_wire::{DescribeLogDirsRequest, ErrorCode, MetadataRequest, Records};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, version};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a Java client tries to connect (`socket.connection.setup.timeout.ms`).
const PATIENCE: Duration = Duration::from_secs(10);
/// How many handshakes of a reactor may be under way.
const HANDSHAKES: usize = 256;

/// An authority that issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Issued {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, date_time_ymd(2100, 1, 1))
    }

    fn issue_until(&self, names: &[&str], end: OffsetDateTime) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = end;
        self.sign(params, names)
    }

    /// Of a subject with two attributes.
    fn issue_to(&self, name: &str, unit: &str, names: &[&str]) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = date_time_ymd(2100, 1, 1);
        self.sign(params, names)
    }

    fn sign(&self, mut params: CertificateParams, names: &[&str]) -> Issued {
        let key = KeyPair::generate().unwrap();
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }
}

fn alternative(name: &str) -> SanType {
    let text = name.to_owned();
    match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if name.contains("://") => SanType::URI(text.try_into().unwrap()),
        Err(_) => SanType::DnsName(text.try_into().unwrap()),
    }
}

/// A broker with one listener, under TLS.
struct Setup {
    one: OneBroker,
    topic: Topic,
    folder: TempDir,
    cluster: Authority,
    clients: Authority,
}

impl Setup {
    async fn start(authentication: Authentication) -> Setup {
        Setup::start_with(authentication, |_| {}).await
    }

    /// With these changes of the TLS files.
    async fn start_with(authentication: Authentication, change: impl FnOnce(&Path)) -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let (cluster, clients) = (Authority::new(), Authority::new());
        let topic = topic("t", &[]);
        let tls = folder.path().join("tls");
        write(&tls, "cluster-ca/ca.crt", &cluster.0.pem());
        write(&tls, "clients-ca/ca.crt", &clients.0.pem());
        let issued = cluster.issue(&["127.0.0.1"]);
        write(&tls, "brokers/0.crt", &issued.pem);
        write(&tls, "brokers/0.key", &issued.key.serialize_pem());
        change(&tls);
        let listener = ListenerAccess { tls: true, authentication };
        let user = User { uid: "u-1".to_owned(), has_certificate: true, sha256: None, sha512: None };
        let with_password = User { has_certificate: false, ..user.clone() };
        let users = [("orders".into(), Arc::new(user)), ("other".into(), Arc::new(with_password))];
        let access = Access {
            listeners: Listeners::Named([("internal".into(), listener)].into()),
            credentials: Credentials::new(users, Vec::new()),
            ..Access::default()
        };
        let one = OneBroker::start_secured(folder.path(), vec![topic.clone()], access).await;
        one.led(&topic).await;
        Setup { one, topic, folder, cluster, clients }
    }

    async fn connect(&self, config: ClientConfig) -> Result<Connection, ClientError> {
        connect(self.one.port, Some(config)).await
    }

    /// Whether a client with this certificate is served.
    async fn serves(&self, certificate: Option<&Issued>) -> bool {
        // With TLS 1.3 the client hears of a refusal when it reads.
        match self.connect(client(&self.cluster, certificate)).await {
            Ok(mut connection) => connection.versions().await.is_ok(),
            Err(_) => false,
        }
    }

    fn refused(&self, reason: &str) -> u64 {
        self.one.metrics.clients.connections_refused.with_label_values(&[reason]).get()
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

async fn connect(port: u16, config: Option<ClientConfig>) -> Result<Connection, ClientError> {
    let connector = Connector {
        client_id: "test".into(),
        connect_timeout: LIMIT,
        request_timeout: LIMIT,
        max_response: 100 << 20,
        tls: config.map(|config| Tls { config: Arc::new(config), name: None }),
    };
    connector.connect("127.0.0.1", port, None).await
}

/// A client that trusts `authority`, and has a certificate if it is given one.
fn client(authority: &Authority, own: Option<&Issued>) -> ClientConfig {
    client_of(authority, own, &[&version::TLS13])
}

fn client_of(
    authority: &Authority,
    own: Option<&Issued>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.key.serialize_der()));
            builder.with_client_auth_cert(vec![own.certificate.clone()], key).unwrap()
        }
    }
}

async fn produce(connection: &mut Connection, topic: &Topic, values: &[&str]) {
    let records = Records(vec![ottla_wire::Chunk::Bytes(common::batch(values).bytes().clone())]);
    let partition = PartitionProduceData { index: 0, records: Some(records) };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            topic_id: topic.id,
            partition_data: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = connection.call(13, &request).await.unwrap();
    assert!(response.responses[0].partition_responses[0].error_code.is_none());
}

async fn fetch(connection: &mut Connection, topic: &Topic) -> Vec<String> {
    let partition = FetchPartition { partition: 0, partition_max_bytes: 64 << 20, ..Default::default() };
    let request = FetchRequest {
        max_bytes: 64 << 20,
        max_wait_ms: 1000,
        min_bytes: 1,
        topics: vec![FetchTopic { topic_id: topic.id, partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    };
    let response = connection.call(13, &request).await.unwrap();
    common::values(response.responses[0].partitions[0].records.as_ref().unwrap())
}

#[tokio::test]
async fn records_of_any_size_pass_in_both_versions_of_tls() {
    let setup = Setup::start(Authentication::None).await;
    let large: Vec<String> = (0..40).map(|n| format!("{n:03}").repeat(8_000)).collect();
    let large: Vec<&str> = large.iter().map(String::as_str).collect();
    let mut expected = Vec::new();
    for version in [&version::TLS12, &version::TLS13] {
        let mut connection = setup.connect(client_of(&setup.cluster, None, &[version])).await.unwrap();
        for values in [&["small"][..], &large] {
            produce(&mut connection, &setup.topic, values).await;
            expected.extend(values.iter().map(|value| (*value).to_owned()));
            // The whole log: more than is copied to memory, so a part of it comes from the file.
            assert_eq!(fetch(&mut connection, &setup.topic).await, expected);
        }
    }
}

#[tokio::test]
async fn a_client_without_tls_is_refused_and_the_reason_counted() {
    let setup = Setup::start(Authentication::None).await;
    let mut plain = connect(setup.one.port, None).await.unwrap();
    assert!(plain.versions().await.is_err());
    common::until("the refusal is counted", || setup.refused("not_tls") == 1).await;
}

#[tokio::test]
async fn a_certificate_says_who_a_client_is_if_its_user_exists() {
    let setup = Setup::start(Authentication::Certificate { rules: None }).await;
    let user = "ottla://c/user/orders/u-1";
    for (story, certificate, expected) in [
        ("its own", Some(setup.clients.issue(&[user])), Ok(())),
        ("of a user that was deleted", Some(setup.clients.issue(&["ottla://c/user/orders/u-0"])), Err("unknown")),
        ("of a user with a password", Some(setup.clients.issue(&["ottla://c/user/other/u-1"])), Err("unknown")),
        ("of two users", Some(setup.clients.issue(&[user, "ottla://c/user/orders/u-2"])), Err("unknown")),
        ("of nobody", Some(setup.clients.issue(&["orders"])), Err("unknown")),
        ("of a broker", Some(setup.clients.issue(&["ottla://c/broker/1"])), Err("unknown")),
        ("of the brokers' authority", Some(setup.cluster.issue(&[user])), Err("handshake")),
        ("none", None, Err("handshake")),
    ] {
        let (unknown, handshake) = (setup.refused("unknown_certificate"), setup.refused("tls_handshake"));
        assert_eq!(setup.serves(certificate.as_ref()).await, expected.is_ok(), "{story}");
        let counted = || match expected {
            Ok(()) => true,
            Err("unknown") => setup.refused("unknown_certificate") == unknown + 1,
            Err(_) => setup.refused("tls_handshake") == handshake + 1,
        };
        common::until(story, counted).await;
    }
}

#[tokio::test]
async fn rules_make_principals_of_the_certificates_of_a_listeners_own_authority() {
    let rules = MappingRules::parse("RULE:^CN=([a-z]+),OU=ServiceUsers$/svc-$1/U").unwrap();
    let setup = Setup::start(Authentication::Certificate { rules: Some(Arc::new(rules)) }).await;
    let user = "ottla://c/user/orders/u-1";
    let foreign = Authority::new();
    let served = foreign.issue_to("etl", "ServiceUsers", &[]);
    assert!(!setup.serves(Some(&served)).await, "the listener has no authority of its own yet");
    let tls = setup.folder.path().join("tls");
    let issued = setup.cluster.issue(&["127.0.0.1"]);
    write(&tls, "listeners/internal/ca.crt", &foreign.0.pem());
    write(&tls, "listeners/internal/tls.crt", &issued.pem);
    write(&tls, "listeners/internal/tls.key", &issued.key.serialize_pem());
    let loaded = async {
        while !setup.serves(Some(&served)).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, loaded).await.unwrap();
    for (story, certificate, refusal) in [
        ("a subject that a rule maps", served, None),
        ("a subject that no rule maps", foreign.issue_to("etl", "People", &[]), Some("unmapped_certificate")),
        ("a KafkaUser", setup.clients.issue(&[user]), None),
        (
            "a KafkaUser of the foreign authority",
            foreign.issue_to("etl", "ServiceUsers", &[user]),
            Some("tls_handshake"),
        ),
        ("a subject of the own authority", setup.clients.issue_to("etl", "ServiceUsers", &[]), Some("tls_handshake")),
    ] {
        let before = refusal.map(|refusal| setup.refused(refusal));
        assert_eq!(setup.serves(Some(&certificate)).await, refusal.is_none(), "{story}");
        let counted = || refusal.is_none_or(|refusal| setup.refused(refusal) == before.unwrap() + 1);
        common::until(story, counted).await;
    }
}

#[tokio::test]
async fn only_brokers_and_the_operator_pass_where_brokers_replicate() {
    let setup = Setup::start(Authentication::Brokers).await;
    for (story, certificate, is_served) in [
        ("a broker", setup.cluster.issue(&["ottla://c/broker/1"]), true),
        ("the operator", setup.cluster.issue(&["ottla://c/operator"]), true),
        ("a user called broker", setup.clients.issue(&["ottla://c/broker/1"]), false),
        ("a user of the wrong authority", setup.cluster.issue(&["ottla://c/user/orders/u-1"]), false),
    ] {
        assert_eq!(setup.serves(Some(&certificate)).await, is_served, "{story}");
    }
    common::until("the reasons are counted", || (setup.refused("tls_handshake"), setup.refused("no_broker")) == (1, 1))
        .await;
}

#[tokio::test]
async fn brokers_and_the_operator_are_served_there_what_they_need_and_nothing_else() {
    let setup = Setup::start(Authentication::Brokers).await;
    let broker = client(&setup.cluster, Some(&setup.cluster.issue(&["ottla://c/broker/1"])));
    let operator = client(&setup.cluster, Some(&setup.cluster.issue(&["ottla://c/operator"])));
    // The same with rules that allow nobody anything.
    for authorizer in [None, Some(Arc::new(Authorizer::new([], false, [])))] {
        setup.one.images.send_modify(|image| {
            Arc::make_mut(&mut Arc::make_mut(image).access).authorizer = authorizer.clone();
        });
        let mut connection = setup.connect(broker.clone()).await.unwrap();
        for (replica, is_refused) in [(-1, false), (1, false), (2, true)] {
            let code = fetch_as(&mut connection, &setup.topic, replica).await;
            assert_eq!(code == ErrorCode::TOPIC_AUTHORIZATION_FAILED, is_refused, "{replica}: {code:?}");
            let code = epoch_end_as(&mut connection, &setup.topic, replica).await;
            assert_eq!(code == ErrorCode::TOPIC_AUTHORIZATION_FAILED, is_refused, "{replica}: {code:?}");
        }
        assert_eq!(list_offsets(&mut connection, &setup.topic).await, ErrorCode::NONE);
        let markers = connection.call(1, &WriteTxnMarkersRequest::default()).await;
        assert!(markers.is_ok(), "{markers:?}");
        let verified = connection.call(5, &AddPartitionsToTxnRequest::default()).await;
        assert_eq!(verified.map(|answer| answer.error_code).unwrap(), ErrorCode::NONE);
        assert!(connection.call(0, &ReadShareGroupStateRequest::default()).await.is_ok());
        let answer = connection.call(12, &MetadataRequest::default()).await;
        assert!(answer.is_err(), "{answer:?}");
        let mut connection = setup.connect(broker.clone()).await.unwrap();
        assert!(connection.call(3, &AddPartitionsToTxnRequest::default()).await.is_err(), "as a client");

        let mut connection = setup.connect(operator.clone()).await.unwrap();
        assert!(connection.versions().await.is_ok());
        let disk = connection.call(4, &DescribeLogDirsRequest { topics: None }).await.unwrap();
        assert_eq!((disk.error_code, disk.results.len()), (ErrorCode::NONE, 1));
        let answer = connection.call(13, &FetchRequest::default()).await;
        assert!(answer.is_err(), "{answer:?}");
    }
}

/// The code of a fetch of the replica; −1: of a consumer.
async fn fetch_as(connection: &mut Connection, topic: &Topic, replica_id: i32) -> ErrorCode {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topics = vec![FetchTopic { topic_id: topic.id, partitions: vec![partition], ..Default::default() }];
    let request = FetchRequest { replica_id, session_epoch: -1, max_bytes: 1 << 20, topics, ..Default::default() };
    connection.call(13, &request).await.unwrap().responses[0].partitions[0].error_code
}

async fn epoch_end_as(connection: &mut Connection, topic: &Topic, replica_id: i32) -> ErrorCode {
    let partitions = vec![OffsetForLeaderPartition { current_leader_epoch: -1, ..Default::default() }];
    let topics = vec![OffsetForLeaderTopic { topic: topic.name.clone(), partitions }];
    let request = OffsetForLeaderEpochRequest { replica_id, topics };
    connection.call(4, &request).await.unwrap().topics[0].partitions[0].error_code
}

async fn list_offsets(connection: &mut Connection, topic: &Topic) -> ErrorCode {
    let partition = ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic.name.clone(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    connection.call(7, &request).await.unwrap().topics[0].partitions[0].error_code
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate_and_with_its_user() {
    let setup = Setup::start(Authentication::Certificate { rules: None }).await;
    let user = ["ottla://c/user/orders/u-1"];
    let soon = OffsetDateTime::now_utc() + Duration::from_secs(3);
    let (short, long) = (setup.clients.issue_until(&user, soon), setup.clients.issue(&user));
    let mut ending = setup.connect(client(&setup.cluster, Some(&short))).await.unwrap();
    let mut staying = setup.connect(client(&setup.cluster, Some(&long))).await.unwrap();
    assert!(ending.versions().await.is_ok() && staying.versions().await.is_ok());
    tokio::time::timeout(LIMIT, ending.ended()).await.unwrap();
    common::until("the end is counted", || setup.refused("certificate_expired") == 1).await;
    assert!(staying.versions().await.is_ok(), "another certificate");

    setup.one.images.send_modify(|image| {
        Arc::make_mut(&mut Arc::make_mut(image).access).credentials = Credentials::default();
    });
    tokio::time::timeout(LIMIT, staying.ended()).await.unwrap();
    common::until("the revocation is counted", || setup.refused("revoked") == 1).await;
}

#[tokio::test]
async fn a_connection_ends_when_its_user_has_no_certificates_any_more() {
    let setup = Setup::start(Authentication::Certificate { rules: None }).await;
    let issued = setup.clients.issue(&["ottla://c/user/orders/u-1"]);
    let mut connection = setup.connect(client(&setup.cluster, Some(&issued))).await.unwrap();
    assert!(connection.versions().await.is_ok());
    let with_passwords = Arc::new(User::new("u-1".to_owned()));
    setup.one.images.send_modify(|image| {
        Arc::make_mut(&mut Arc::make_mut(image).access).credentials =
            Credentials::new([("orders".into(), with_passwords)], Vec::new());
    });
    tokio::time::timeout(LIMIT, connection.ended()).await.unwrap();
    common::until("the revocation is counted", || setup.refused("revoked") == 1).await;
}

#[tokio::test]
async fn new_keys_are_used_without_a_restart_and_connections_stay() {
    let setup = Setup::start(Authentication::None).await;
    let mut before = setup.connect(client(&setup.cluster, None)).await.unwrap();
    let other = Authority::new();
    let issued = other.issue(&["127.0.0.1"]);
    let tls = setup.folder.path().join("tls");
    write(&tls, "brokers/0.crt", &issued.pem);
    write(&tls, "brokers/0.key", &issued.key.serialize_pem());
    let connected = async {
        while setup.connect(client(&other, None)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, connected).await.unwrap();
    assert!(before.versions().await.is_ok(), "a connection stays");
    assert!(setup.connect(client(&setup.cluster, None)).await.is_err(), "the former authority is not used");
}

#[tokio::test]
async fn a_new_key_that_can_not_be_used_changes_nothing_and_is_counted_until_it_is_replaced() {
    let setup = Setup::start(Authentication::None).await;
    let unusable = || setup.one.metrics.clients.tls_files_unusable.with_label_values(&["internal"]).get();
    assert_eq!(unusable(), 0);
    let tls = setup.folder.path().join("tls");
    write(&tls, "brokers/0.key", "not a key");
    common::until("the key is found unusable", || unusable() == 1).await;
    assert!(setup.connect(client(&setup.cluster, None)).await.unwrap().versions().await.is_ok());
    let issued = setup.cluster.issue(&["127.0.0.1"]);
    write(&tls, "brokers/0.crt", &issued.pem);
    write(&tls, "brokers/0.key", &issued.key.serialize_pem());
    common::until("the new key is in use", || unusable() == 0).await;
    assert!(setup.connect(client(&setup.cluster, None)).await.unwrap().versions().await.is_ok());
}

#[tokio::test]
async fn a_listener_that_never_had_a_usable_key_is_closed_also_to_plain_clients() {
    let setup = Setup::start_with(Authentication::None, |tls| write(tls, "brokers/0.key", "not a key")).await;
    assert_eq!(setup.one.metrics.clients.tls_files_unusable.with_label_values(&["internal"]).get(), 1);
    assert!(setup.connect(client(&setup.cluster, None)).await.is_err());
    assert!(connect(setup.one.port, None).await.unwrap().versions().await.is_err(), "nor is a plain client served");
}

#[tokio::test]
async fn garbage_and_dripped_handshakes_end_and_leave_others_alone() {
    let setup = Setup::start(Authentication::None).await;
    // A record of a handshake that never becomes whole, and one whose content makes no sense.
    let mut dripping = TcpStream::connect(("127.0.0.1", setup.one.port)).await.unwrap();
    dripping.write_all(&[22, 3, 1, 0x40, 0]).await.unwrap();
    let mut garbage = TcpStream::connect(("127.0.0.1", setup.one.port)).await.unwrap();
    garbage.write_all(&[22, 3, 1, 0, 4, 1, 2, 3, 4, 22, 3, 1, 0, 2, 0, 0]).await.unwrap();
    tokio::time::timeout(LIMIT, garbage.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    common::until("the garbage is counted", || setup.refused("tls_handshake") == 1).await;
    // A client gets its turn while it still waits for it, also behind many others that say nothing, or hardly anything.
    let mut many = Vec::new();
    for number in 0..HANDSHAKES * 5 {
        let mut slow = TcpStream::connect(("127.0.0.1", setup.one.port)).await.unwrap();
        if number % 2 == 0 {
            slow.write_all(&[22]).await.unwrap();
        }
        many.push(slow);
    }
    let mut connection =
        tokio::time::timeout(PATIENCE, setup.connect(client(&setup.cluster, None))).await.unwrap().unwrap();
    assert!(connection.versions().await.is_ok());
    tokio::time::timeout(LIMIT, dripping.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    let slow = 1 + many.len() as u64;
    common::until("the slow ones are counted", || setup.refused("tls_handshake_slow") == slow).await;
}

/// Asks the broker for its versions: the kind of the handshake. What it says after that is read, with its tickets.
fn handshake(port: u16, config: &Arc<ClientConfig>) -> std::io::Result<HandshakeKind> {
    // ApiVersions 0 of a client without a name.
    const VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255];
    let mut session = ClientConnection::new(config.clone(), "127.0.0.1".try_into().unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    tls.write_all(&VERSIONS)?;
    tls.read_exact(&mut [0; 4])?;
    Ok(session.handshake_kind().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_resumed_under_the_same_key_only_and_never_with_a_certificate() {
    let kind = |setup: &Setup, config: &Arc<ClientConfig>| {
        let (port, config) = (setup.one.port, config.clone());
        async move { tokio::task::spawn_blocking(move || handshake(port, &config).unwrap()).await.unwrap() }
    };
    let setup = Setup::start(Authentication::None).await;
    let config = Arc::new(client(&setup.cluster, None));
    assert_eq!(kind(&setup, &config).await, HandshakeKind::Full);
    assert_eq!(kind(&setup, &config).await, HandshakeKind::Resumed);
    assert_eq!(setup.one.metrics.clients.tls_handshakes.with_label_values(&["internal"]).get(), 2);
    let issued = setup.cluster.issue(&["127.0.0.1"]);
    let tls = setup.folder.path().join("tls");
    write(&tls, "brokers/0.crt", &issued.pem);
    write(&tls, "brokers/0.key", &issued.key.serialize_pem());
    let changed = async {
        while kind(&setup, &config).await == HandshakeKind::Resumed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, changed).await.unwrap();

    let setup = Setup::start(Authentication::Certificate { rules: None }).await;
    let config = Arc::new(client(&setup.cluster, Some(&setup.clients.issue(&["ottla://c/user/orders/u-1"]))));
    for _ in 0..2 {
        assert_eq!(kind(&setup, &config).await, HandshakeKind::Full);
    }
}

#[tokio::test]
async fn a_client_that_knows_tls_1_1_at_most_is_refused() {
    let setup = Setup::start(Authentication::None).await;
    // A ClientHello of version 1.1, with two cipher suites of that time and no extensions.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x09, 0xc0, 0x13, 1, 0]);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    record.extend(hello);
    let mut old = TcpStream::connect(("127.0.0.1", setup.one.port)).await.unwrap();
    old.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(LIMIT, old.read_to_end(&mut answer)).await.unwrap().unwrap();
    // A fatal alert, handshake_failure: such a client names no algorithms for signatures.
    assert_eq!((answer.first(), &answer[5..]), (Some(&21), &[2, 40][..]));
    common::until("the refusal is counted", || setup.refused("tls_handshake") == 1).await;
}
