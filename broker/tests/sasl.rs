//! Listeners where clients authenticate by SASL, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use common::{Client, OneBroker};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ottla_access::sasl::scram::ScramClient;
use ottla_access::sasl::{Credentials, Hash, Issuer, Issuers, Keys, Mechanism, User, Verifier, oauthbearer, plain};
use ottla_access::{Access, Authentication, ListenerAccess, Listeners};
use ottla_config::BrokerSettings;
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::{
    ApiKey, ApiVersionsRequest, Chunk, ErrorCode, MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, encode_request,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ALICE: (&str, &str) = ("alice", "opensesame");

/// A broker on which alice has a password.
struct Setup {
    one: OneBroker,
    signer: Signer,
    _data: TempDir,
}

impl Setup {
    async fn start(settings: &[(&str, &str)]) -> Setup {
        let data = tempfile::tempdir().unwrap();
        let mechanisms = vec![Mechanism::ScramSha256, Mechanism::ScramSha512, Mechanism::Plain, Mechanism::OAuthBearer];
        let signer = Signer::new();
        let listener = ListenerAccess {
            tls: false,
            authentication: Authentication::Sasl { mechanisms, issuers: signer.issuers() },
        };
        let access = Access {
            listeners: Listeners::Named([("internal".into(), listener)].into()),
            credentials: credentials(ALICE.1),
            ..Access::default()
        };
        let one = OneBroker::start_secured(data.path(), Vec::new(), access).await;
        let given = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let settings = Arc::new(BrokerSettings::resolve(&given));
        one.images.send_modify(|image| Arc::make_mut(image).settings = settings);
        Setup { one, signer, _data: data }
    }

    async fn client(&self) -> Client {
        Client::connect(self.one.port).await
    }

    /// From now on these are the users.
    fn change(&self, credentials: Credentials) {
        self.one.images.send_modify(|image| {
            let image = Arc::make_mut(image);
            image.access = Arc::new(Access { credentials, ..Access::clone(&image.access) });
        });
    }

    fn counted(&self, mechanism: &str, result: &str) -> u64 {
        self.one.metrics.clients.authentications.with_label_values(&["internal", mechanism, result]).get()
    }
}

/// An issuer of tokens that the broker knows.
struct Signer(EncodingKey);

impl Signer {
    fn new() -> Signer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Signer(EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()))
    }

    fn issuers(&self) -> Issuers {
        let keys = JwkSet { keys: vec![Jwk::from_encoding_key(&self.0, Algorithm::ES256).unwrap()] };
        Issuers::from_iter([Issuer {
            name: "https://idp".to_owned(),
            audience: "kafka".to_owned(),
            principal_claim: "sub".to_owned(),
            principal_prefix: String::new(),
            is_kubernetes: false,
            keys: Keys::parse(&serde_json::to_string(&keys).unwrap()).unwrap(),
        }])
    }

    /// A token for alice that expires in so many seconds.
    fn token(&self, expires_in: i64) -> Vec<u8> {
        let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap();
        let claims = serde_json::json!({
            "iss": "https://idp", "sub": "alice", "aud": "kafka", "iat": now - 100, "exp": now + expires_in
        });
        oauthbearer::message(&jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.0).unwrap())
    }
}

fn credentials(password: &str) -> Credentials {
    let verifier = |hash| Verifier::of_password(hash, password.as_bytes(), vec![7; 20], 4096).unwrap();
    let user = User {
        uid: "1".to_owned(),
        has_certificate: false,
        sha256: Some(verifier(Hash::Sha256)),
        sha512: Some(verifier(Hash::Sha512)),
    };
    Credentials::new([(ALICE.0.into(), Arc::new(user))], b"secret".to_vec())
}

async fn handshake(client: &mut Client, mechanism: &str) -> ErrorCode {
    client.call(1, &SaslHandshakeRequest { mechanism: mechanism.into() }).await.error_code
}

async fn token(client: &mut Client, token: impl Into<Vec<u8>>) -> SaslAuthenticateResponse {
    client.call(2, &SaslAuthenticateRequest { auth_bytes: token.into().into() }).await
}

/// A whole exchange; the last answer.
async fn scram(client: &mut Client, hash: Hash, (name, password): (&str, &str)) -> SaslAuthenticateResponse {
    let mechanism = match hash {
        Hash::Sha256 => "SCRAM-SHA-256",
        Hash::Sha512 => "SCRAM-SHA-512",
    };
    assert_eq!(handshake(client, mechanism).await, ErrorCode::NONE);
    let scram = ScramClient::new(hash, name, password, "fyko+d2lbbFgONRv9qkxdawL");
    let challenge = token(client, scram.first()).await;
    assert_eq!(challenge.error_code, ErrorCode::NONE);
    let (last, proof) = scram.last(&challenge.auth_bytes).unwrap();
    let answer = token(client, last).await;
    if answer.error_code.is_none() {
        proof.check(&answer.auth_bytes).unwrap();
    }
    answer
}

async fn password(client: &mut Client, (name, password): (&str, &str)) -> SaslAuthenticateResponse {
    assert_eq!(handshake(client, "PLAIN").await, ErrorCode::NONE);
    token(client, plain::message(name, password)).await
}

async fn is_served(client: &mut Client) -> bool {
    client.try_call(12, &MetadataRequest::default()).await.is_ok()
}

async fn is_closed(client: &mut Client) -> bool {
    matches!(client.stream.read(&mut [0; 64]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn clients_with_the_right_password_are_let_in() {
    let setup = Setup::start(&[]).await;
    for hash in [Hash::Sha256, Hash::Sha512] {
        let mut client = setup.client().await;
        assert!(client.call(2, &ApiVersionsRequest::default()).await.error_code.is_none());
        assert_eq!(scram(&mut client, hash, ALICE).await.error_code, ErrorCode::NONE, "{hash:?}");
        assert!(is_served(&mut client).await);
    }
    // The second time the password is remembered.
    for _ in 0..2 {
        let mut client = setup.client().await;
        let answer = password(&mut client, ALICE).await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (ErrorCode::NONE, 0));
        assert!(is_served(&mut client).await);
    }
    assert_eq!(setup.counted("SCRAM-SHA-512", "success"), 1);
    assert_eq!(setup.counted("PLAIN", "success"), 2);
}

#[tokio::test]
async fn others_hear_the_same_whatever_is_wrong_and_are_disconnected_after_a_while() {
    let setup = Setup::start(&[("connection.failed.authentication.delay.ms", "50")]).await;
    let wrong = [("alice", "guess"), ("nobody", "opensesame")];
    for mechanism in ["SCRAM-SHA-256", "PLAIN"] {
        for user in wrong {
            let mut client = setup.client().await;
            let before = Instant::now();
            let answer = match mechanism {
                "PLAIN" => password(&mut client, user).await,
                _ => scram(&mut client, Hash::Sha256, user).await,
            };
            assert!(before.elapsed() >= Duration::from_millis(50));
            assert_eq!(answer.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
            let expected = format!(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
            );
            assert_eq!(answer.error_message.as_deref(), Some(&*expected), "{user:?}");
            assert!(is_closed(&mut client).await);
        }
        assert_eq!(setup.counted(mechanism, "credentials"), 2);
    }
}

#[tokio::test]
async fn a_token_of_an_issuer_lets_its_user_in_until_it_expires() {
    let setup = Setup::start(&[("connection.failed.authentication.delay.ms", "50")]).await;
    let mut client = setup.client().await;
    assert_eq!(handshake(&mut client, "OAUTHBEARER").await, ErrorCode::NONE);
    let answer = token(&mut client, setup.signer.token(600)).await;
    assert_eq!((answer.error_code, &answer.auth_bytes[..]), (ErrorCode::NONE, &b""[..]));
    assert!((598_000..=600_000).contains(&answer.session_lifetime_ms), "{}", answer.session_lifetime_ms);
    assert!(is_served(&mut client).await);

    let mut client = setup.client().await;
    handshake(&mut client, "OAUTHBEARER").await;
    let answer = token(&mut client, setup.signer.token(-60)).await;
    assert_eq!((answer.error_code, &answer.auth_bytes[..]), (ErrorCode::NONE, oauthbearer::INVALID_TOKEN.as_bytes()));
    let answer = token(&mut client, *b"\x01").await;
    assert_eq!(answer.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert_eq!(answer.error_message.as_deref(), Some(oauthbearer::INVALID_TOKEN));
    assert!(is_closed(&mut client).await);
    assert_eq!(setup.counted("OAUTHBEARER", "success"), 1);
    assert_eq!(setup.counted("OAUTHBEARER", "token_time"), 1);
}

#[tokio::test]
async fn a_client_that_has_not_authenticated_is_served_nothing() {
    let setup = Setup::start(&[]).await;
    let mut client = setup.client().await;
    assert!(!is_served(&mut client).await);
    // Nor in the middle of an exchange: an answer says so, unless it would be long.
    for (topics, is_answered) in [(1, true), (1000, false)] {
        let mut client = setup.client().await;
        handshake(&mut client, "SCRAM-SHA-256").await;
        let topic = MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic; topics]), ..Default::default() };
        let answer = client.try_call(13, &request).await.ok();
        assert_eq!(
            answer.as_ref().map(|answer| answer.error_code),
            is_answered.then_some(ErrorCode::ILLEGAL_SASL_STATE)
        );
        assert!(answer.is_none_or(|answer| answer.brokers.is_empty()));
        assert!(is_closed(&mut client).await);
    }
    // A long request gets no answer, however short that would be.
    let mut client = setup.client().await;
    handshake(&mut client, "SCRAM-SHA-256").await;
    let (group_id, member_id) = ("g".repeat(5_000).into(), "m".into());
    let request = HeartbeatRequest { group_id, generation_id: 1, member_id, group_instance_id: None };
    assert!(client.try_call(4, &request).await.is_err());
    // Nor after a failure, when the requests came with the wrong token.
    let mut client = setup.client().await;
    handshake(&mut client, "PLAIN").await;
    client.send(2, &SaslAuthenticateRequest { auth_bytes: plain::message("alice", "guess").into() }).await;
    client.send(12, &MetadataRequest::default()).await;
    let (_, answer) = client.receive::<SaslAuthenticateRequest>(2).await;
    assert_eq!(answer.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert!(is_closed(&mut client).await);
    // A request larger than a token may be is not even read.
    let mut client = setup.client().await;
    client.stream.write_all(&600_000_i32.to_be_bytes()).await.unwrap();
    assert!(is_closed(&mut client).await);
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_answered_with_those_that_are() {
    let setup = Setup::start(&[]).await;
    let mut client = setup.client().await;
    let answer = client.call(1, &SaslHandshakeRequest { mechanism: "GSSAPI".into() }).await;
    assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
    assert_eq!(answer.mechanisms, ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "OAUTHBEARER"]);
    assert!(is_closed(&mut client).await);
}

/// Who sits between client and broker can change the name of a mechanism, which nothing signs.
#[tokio::test]
async fn a_client_that_is_made_to_use_a_weaker_mechanism_is_not_let_in() {
    let setup = Setup::start(&[("connection.failed.authentication.delay.ms", "0")]).await;
    // The client proves the password for one hash, and the broker was asked for the other.
    let mut client = setup.client().await;
    handshake(&mut client, "SCRAM-SHA-512").await;
    let prover = ScramClient::new(Hash::Sha256, ALICE.0, ALICE.1, "fyko+d2lbbFgONRv9qkxdawL");
    let challenge = token(&mut client, prover.first()).await;
    let (last, _) = prover.last(&challenge.auth_bytes).unwrap();
    assert_eq!(token(&mut client, last).await.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert!(is_closed(&mut client).await);

    // The listener offers only SCRAM, and alice's password is kept for one hash.
    setup.one.images.send_modify(|image| {
        let image = Arc::make_mut(image);
        let mechanisms = vec![Mechanism::ScramSha512, Mechanism::ScramSha256];
        let authentication = Authentication::Sasl { mechanisms, issuers: Issuers::default() };
        let user = User {
            uid: "1".to_owned(),
            has_certificate: false,
            sha256: None,
            sha512: Some(Verifier::of_password(Hash::Sha512, ALICE.1.as_bytes(), vec![7; 20], 4096).unwrap()),
        };
        image.access = Arc::new(Access {
            listeners: Listeners::Named([("internal".into(), ListenerAccess { tls: false, authentication })].into()),
            credentials: Credentials::new([(ALICE.0.into(), Arc::new(user))], b"secret".to_vec()),
            ..Access::default()
        });
    });
    for (mechanism, offered) in [("PLAIN", false), ("OAUTHBEARER", false), ("SCRAM-SHA-256", true)] {
        let mut client = setup.client().await;
        let error = if offered {
            scram(&mut client, Hash::Sha256, ALICE).await.error_code
        } else {
            handshake(&mut client, mechanism).await
        };
        assert!(!error.is_none(), "{mechanism}");
        assert!(is_closed(&mut client).await, "{mechanism}");
    }
    let mut client = setup.client().await;
    assert_eq!(scram(&mut client, Hash::Sha512, ALICE).await.error_code, ErrorCode::NONE);
    assert!(is_served(&mut client).await);
}

#[tokio::test]
async fn tokens_without_headers_follow_a_handshake_of_version_0() {
    let setup = Setup::start(&[]).await;
    let mut client = setup.client().await;
    let answer = client.call(0, &SaslHandshakeRequest { mechanism: "PLAIN".into() }).await;
    assert!(answer.error_code.is_none());
    let message = plain::message(ALICE.0, ALICE.1);
    client.stream.write_all(&i32::try_from(message.len()).unwrap().to_be_bytes()).await.unwrap();
    client.stream.write_all(&message).await.unwrap();
    // The next request comes right behind.
    client.send(12, &MetadataRequest::default()).await;
    assert_eq!(client.frame().await.unwrap().len(), 0);
    let (_, metadata) = client.receive::<MetadataRequest>(12).await;
    assert_eq!(metadata.brokers.len(), 1);

    let mut client = setup.client().await;
    client.call(0, &SaslHandshakeRequest { mechanism: "PLAIN".into() }).await;
    client.stream.write_all(&[0, 0, 0, 3, 0, 1, 2]).await.unwrap();
    assert!(is_closed(&mut client).await);
}

#[tokio::test]
async fn a_session_that_ends_is_renewed_on_the_same_connection_or_closed() {
    let setup = Setup::start(&[("connections.max.reauth.ms", "1200")]).await;
    let mut client = setup.client().await;
    let answer = scram(&mut client, Hash::Sha256, ALICE).await;
    assert_eq!(answer.session_lifetime_ms, 1200);
    // The first time it may be at once, then once a second.
    assert_eq!(scram(&mut client, Hash::Sha256, ALICE).await.error_code, ErrorCode::NONE);
    assert_eq!(handshake(&mut client, "SCRAM-SHA-256").await, ErrorCode::ILLEGAL_SASL_STATE);
    let mut patient = setup.client().await;
    assert_eq!(scram(&mut patient, Hash::Sha256, ALICE).await.session_lifetime_ms, 1200);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1100) {
        assert!(is_served(&mut client).await, "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(scram(&mut client, Hash::Sha256, ALICE).await.error_code, ErrorCode::NONE);
    while began.elapsed() < Duration::from_millis(1500) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_served(&mut client).await, "it was renewed");
    assert!(!is_served(&mut patient).await, "its time is over");
}

#[tokio::test]
async fn a_user_that_is_deleted_loses_its_connections_and_one_whose_password_changes_does_not() {
    let setup = Setup::start(&[]).await;
    let mut client = setup.client().await;
    assert!(scram(&mut client, Hash::Sha256, ALICE).await.error_code.is_none());
    setup.change(credentials("changed"));
    assert!(is_served(&mut client).await);
    let mut late = setup.client().await;
    assert_eq!(password(&mut late, ALICE).await.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    setup.change(Credentials::default());
    assert!(is_closed(&mut client).await, "though it asked for nothing");
    common::until("it is counted", || {
        setup.one.metrics.clients.connections_refused.with_label_values(&["revoked"]).get() == 1
    })
    .await;
}

#[tokio::test]
async fn a_user_that_is_deleted_or_has_another_password_after_the_exchange_began_is_not_let_in() {
    for (story, credentials) in [("deleted", Credentials::default()), ("another password", credentials("changed"))] {
        let setup = Setup::start(&[]).await;
        let mut client = setup.client().await;
        assert_eq!(handshake(&mut client, "SCRAM-SHA-256").await, ErrorCode::NONE);
        let scram = ScramClient::new(Hash::Sha256, ALICE.0, ALICE.1, "fyko+d2lbbFgONRv9qkxdawL");
        let challenge = token(&mut client, scram.first()).await;
        setup.change(credentials);
        let (last, _) = scram.last(&challenge.auth_bytes).unwrap();
        assert_eq!(token(&mut client, last).await.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED, "{story}");
        assert!(is_closed(&mut client).await, "{story}");
    }
}

#[tokio::test]
async fn a_password_that_changes_before_it_is_checked_lets_nobody_in() {
    let setup = Setup::start(&[("connection.failed.authentication.delay.ms", "0")]).await;
    let mut alice = setup.client().await;
    assert_eq!(handshake(&mut alice, "PLAIN").await, ErrorCode::NONE);
    let held = setup.one.hold_workers();
    alice.send(2, &SaslAuthenticateRequest { auth_bytes: plain::message(ALICE.0, ALICE.1).into() }).await;
    // Counted with the image whose password it is held against.
    let asked = setup.one.metrics.clients.api(ApiKey::SaslAuthenticate).requests.clone();
    common::until("its check waits for a worker", || asked.get() == 1).await;
    setup.change(credentials("changed"));
    drop(held);
    let (_, answer) = alice.receive::<SaslAuthenticateRequest>(2).await;
    assert_eq!(answer.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
}

#[tokio::test]
async fn a_user_that_is_deleted_loses_a_connection_that_always_has_a_next_request() {
    let setup = Setup::start(&[]).await;
    let mut client = setup.client().await;
    assert!(scram(&mut client, Hash::Sha256, ALICE).await.error_code.is_none());
    let (mut answers, mut requests) = client.stream.into_split();
    let frames = metadata_requests(10_000);
    let asking = tokio::spawn(async move { while requests.write_all(&frames).await.is_ok() {} });
    let reading = tokio::spawn(async move {
        let mut read = vec![0; 1 << 20];
        while matches!(answers.read(&mut read).await, Ok(1..)) {}
    });
    let asked = setup.one.metrics.clients.api(ApiKey::Metadata).requests.clone();
    common::until("many requests were served", || asked.get() > 10_000).await;
    setup.change(Credentials::default());
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the connection ends").unwrap();
    asking.await.unwrap();
}

/// So many requests, as they are sent.
fn metadata_requests(count: usize) -> Vec<u8> {
    let frame = encode_request(0, None, 12, &MetadataRequest::default());
    let chunks = frame.into_chunks().into_iter().flat_map(|chunk| match chunk {
        Chunk::Bytes(bytes) => bytes.to_vec(),
        Chunk::File(_) => panic!("a request is memory"),
    });
    chunks.collect::<Vec<u8>>().repeat(count)
}

#[tokio::test]
async fn authenticating_where_nobody_needs_to_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    let one = OneBroker::start(data.path(), false, Vec::new()).await;
    let mut client = Client::connect(one.port).await;
    assert_eq!(handshake(&mut client, "PLAIN").await, ErrorCode::ILLEGAL_SASL_STATE);
    assert_eq!(token(&mut client, "x").await.error_code, ErrorCode::ILLEGAL_SASL_STATE);
    assert!(is_served(&mut client).await);
}

#[tokio::test]
async fn strangers_that_guess_passwords_keep_nobody_out() {
    // No guess is answered before the end of the test.
    let setup = Setup::start(&[("connection.failed.authentication.delay.ms", "600000")]).await;
    let mut guessing = Vec::new();
    for _ in 0..200 {
        let mut client = setup.client().await;
        assert_eq!(handshake(&mut client, "PLAIN").await, ErrorCode::NONE);
        let guess = SaslAuthenticateRequest { auth_bytes: plain::message(ALICE.0, "a guess").into() };
        client.send(2, &guess).await;
        guessing.push(client);
    }
    let mut alice = setup.client().await;
    assert_eq!(scram(&mut alice, Hash::Sha256, ALICE).await.error_code, ErrorCode::NONE);
    assert!(is_served(&mut alice).await);
    // Her password is checked in its turn.
    let mut alice = setup.client().await;
    assert_eq!(password(&mut alice, ALICE).await.error_code, ErrorCode::NONE);
    assert!(is_served(&mut alice).await);
    assert_eq!(setup.counted("PLAIN", "success"), 1);
}
