//! OAUTHBEARER: which tokens let a client in, and as whom. The attacks on JWTs are here.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ottla_access::sasl::{
    Credentials, Exchange, Identity, Issuer, Issuers, Keys, LoginInputs, Mechanism, Reason, SaslStep, TokenFault,
    oauthbearer,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The time in these tests, in seconds.
const NOW: i64 = 1_800_000_000;
const IDP: &str = "https://idp";

/// A key of an issuer.
struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    jwk: Value,
}

impl Signer {
    fn new(algorithm: Algorithm, id: &str) -> Signer {
        let key = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            Algorithm::EdDSA => {
                EncodingKey::from_ed_der(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
            }
            _ => {
                // The RSA key inside of PKCS #8, behind a header that is as long for every key of 2,048 bits.
                let der = RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
                EncodingKey::from_rsa_der(&der.as_ref()[26..])
            }
        };
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
        jwk["kid"] = id.into();
        Signer { key, algorithm, jwk }
    }

    fn header(&self) -> Header {
        Header { kid: self.jwk["kid"].as_str().map(str::to_owned), ..Header::new(self.algorithm) }
    }

    fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.key).unwrap()
    }
}

fn keys(signers: &[&Signer]) -> Keys {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    Keys::parse(&json!({ "keys": keys }).to_string()).unwrap()
}

fn issuer(signers: &[&Signer]) -> Issuer {
    Issuer {
        name: IDP.to_owned(),
        audience: "kafka".to_owned(),
        principal_claim: "sub".to_owned(),
        principal_prefix: String::new(),
        is_kubernetes: false,
        keys: keys(signers),
    }
}

/// Claims that are good; with those of `other`, and without those that are null there.
fn claims(other: Value) -> Value {
    let mut claims = json!({"iss": IDP, "sub": "alice", "aud": "kafka", "iat": NOW - 60, "exp": NOW + 600});
    for (name, value) in other.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn step(exchange: &mut Exchange, message: &[u8], issuers: &Issuers) -> SaslStep {
    let known = LoginInputs { credentials: &Credentials::default(), issuers, now_ms: NOW * 1000 };
    exchange.step(message, known)
}

/// What comes of an exchange with this message.
fn outcome(message: &[u8], issuers: &Issuers) -> Result<Identity, Reason> {
    let mut exchange = Exchange::new(Mechanism::OAuthBearer, [0; 16]);
    match step(&mut exchange, message, issuers) {
        SaslStep::Done(answer, identity) => {
            assert_eq!(answer, b"");
            Ok(identity)
        }
        SaslStep::Challenge(answer) => {
            assert_eq!(answer, oauthbearer::INVALID_TOKEN.as_bytes());
            match step(&mut exchange, b"\x01", issuers) {
                SaslStep::Failed(reason @ Reason::Token(_)) => Err(reason),
                _ => panic!("a refused token does not end in a failure"),
            }
        }
        SaslStep::Failed(reason) => Err(reason),
        SaslStep::Check(_) => panic!("nothing is for a worker"),
    }
}

fn name_of(token: &str, issuers: &Issuers) -> Result<String, TokenFault> {
    match outcome(&oauthbearer::message(token), issuers) {
        Ok(identity) => Ok(identity.principal.name().to_string()),
        Err(Reason::Token(fault)) => Err(fault),
        Err(reason) => panic!("{reason:?}"),
    }
}

#[test]
fn a_token_that_an_issuers_key_has_signed_lets_its_user_in_until_it_expires() {
    for algorithm in [Algorithm::RS256, Algorithm::PS384, Algorithm::ES256, Algorithm::EdDSA] {
        let signer = Signer::new(algorithm, "1");
        let issuers = Issuers::from_iter([issuer(&[&signer])]);
        let identity = outcome(&oauthbearer::message(&signer.sign(&claims(json!({})))), &issuers).unwrap();
        assert_eq!(identity.principal.to_string(), "User:alice", "{algorithm:?}");
        assert_eq!((identity.uid, identity.expires_ms), (None, Some((NOW + 600) * 1000)));
    }
}

#[test]
fn claims_are_held_to_issuer_audience_time_and_name() {
    use TokenFault::{Audience, Issuer, Name, Time};
    let signer = Signer::new(Algorithm::ES256, "1");
    let issuers = Issuers::from_iter([issuer(&[&signer])]);
    for (other, expected) in [
        (json!({"aud": ["other", "kafka"]}), Ok("alice")),
        (json!({"aud": ["kafka", 7]}), Err(Audience)),
        (json!({"aud": "Kafka"}), Err(Audience)),
        (json!({"aud": []}), Err(Audience)),
        (json!({"aud": null}), Err(Audience)),
        (json!({"aud": {"kafka": "kafka"}}), Err(Audience)),
        (json!({"iss": "https://idp/"}), Err(Issuer)),
        (json!({"iss": null}), Err(Issuer)),
        (json!({"exp": NOW - 29}), Ok("alice")),
        (json!({"exp": NOW - 30}), Err(Time)),
        (json!({"exp": null}), Err(Time)),
        (json!({"exp": "never"}), Err(Time)),
        (json!({"iat": null}), Err(Time)),
        (json!({"iat": NOW + 30}), Ok("alice")),
        (json!({"iat": NOW + 31}), Err(Time)),
        (json!({"nbf": NOW + 31}), Err(Time)),
        (json!({"nbf": NOW}), Ok("alice")),
        (json!({"nbf": "now"}), Err(Time)),
        (json!({"iat": -1}), Err(Time)),
        (json!({"exp": 1e300}), Ok("alice")),
        (json!({"sub": null}), Err(Name)),
        (json!({"sub": ""}), Err(Name)),
        (json!({"sub": 7}), Err(Name)),
        (json!({"sub": "*"}), Err(Name)),
        (json!({"sub": " alice"}), Err(Name)),
        (json!({"sub": "alice\n"}), Err(Name)),
        (json!({"sub": "al\nice"}), Err(Name)),
        (json!({"sub": "al\u{9b}ice"}), Err(Name)),
        (json!({"sub": "x".repeat(1025)}), Err(Name)),
        // Only Kubernetes gives such names.
        (json!({"sub": "system:serviceaccount:shop:orders"}), Err(Name)),
        (json!({"sub": "system:admin"}), Err(Name)),
    ] {
        let outcome = name_of(&signer.sign(&claims(other.clone())), &issuers);
        assert_eq!(outcome.as_deref(), expected.as_ref().copied(), "{other}");
    }
}

#[test]
fn kubernetes_lets_service_accounts_in_and_nobody_else() {
    let signer = Signer::new(Algorithm::ES256, "1");
    let issuers = Issuers::from_iter([Issuer { is_kubernetes: true, ..issuer(&[&signer]) }]);
    for (name, expected) in [
        ("system:serviceaccount:shop:orders", Ok("system:serviceaccount:shop:orders")),
        ("system:node:one", Err(TokenFault::Name)),
        ("alice", Err(TokenFault::Name)),
    ] {
        let outcome = name_of(&signer.sign(&claims(json!({ "sub": name }))), &issuers);
        assert_eq!(outcome.as_deref(), expected.as_ref().copied(), "{name}");
    }
}

#[test]
fn users_of_two_issuers_with_the_same_name_are_two() {
    let (ours, theirs) = (Signer::new(Algorithm::ES256, "1"), Signer::new(Algorithm::ES256, "1"));
    let other =
        Issuer { name: "https://other".to_owned(), principal_prefix: "other:".to_owned(), ..issuer(&[&theirs]) };
    let issuers = Issuers::from_iter([issuer(&[&ours]), other]);
    assert_eq!(name_of(&ours.sign(&claims(json!({}))), &issuers).as_deref(), Ok("alice"));
    let claimed = claims(json!({"iss": "https://other"}));
    assert_eq!(name_of(&theirs.sign(&claimed), &issuers).as_deref(), Ok("other:alice"));
    // Neither signs for the other.
    assert_eq!(name_of(&ours.sign(&claimed), &issuers), Err(TokenFault::Signature));
    assert_eq!(name_of(&theirs.sign(&claims(json!({}))), &issuers), Err(TokenFault::Signature));
    // A prefix does not make a name of Kubernetes' either.
    let sly = Issuer { principal_prefix: "system:".to_owned(), ..issuer(&[&ours]) };
    let token = ours.sign(&claims(json!({"sub": "serviceaccount:shop:orders"})));
    assert_eq!(name_of(&token, &Issuers::from_iter([sly])), Err(TokenFault::Name));
}

#[test]
fn an_issuer_may_stand_there_for_several_audiences() {
    let signer = Signer::new(Algorithm::ES256, "1");
    let other = Issuer { audience: "other".to_owned(), principal_claim: "azp".to_owned(), ..issuer(&[&signer]) };
    let issuers = Issuers::from_iter([issuer(&[&signer]), other]);
    let token = signer.sign(&claims(json!({"aud": "other", "azp": "bob"})));
    assert_eq!(name_of(&token, &issuers).as_deref(), Ok("bob"));
}

#[test]
fn keys_are_rotated_and_dropped() {
    let (old, new) = (Signer::new(Algorithm::ES256, "old"), Signer::new(Algorithm::RS256, "new"));
    let (by_old, by_new) = (old.sign(&claims(json!({}))), new.sign(&claims(json!({}))));
    let both = Issuers::from_iter([issuer(&[&old, &new])]);
    assert_eq!(name_of(&by_old, &both).as_deref(), Ok("alice"));
    assert_eq!(name_of(&by_new, &both).as_deref(), Ok("alice"));
    let rotated = Issuers::from_iter([issuer(&[&new])]);
    assert_eq!(name_of(&by_old, &rotated), Err(TokenFault::Key));
    assert_eq!(name_of(&by_new, &rotated).as_deref(), Ok("alice"));
    assert_ne!(both, rotated);
    let none = Issuers::from_iter([issuer(&[])]);
    assert_eq!(name_of(&by_new, &none), Err(TokenFault::Key));
}

#[test]
fn headers_can_not_choose_the_key() {
    let signer = Signer::new(Algorithm::RS256, "1");
    let stranger = Signer::new(Algorithm::RS256, "1");
    let issuers = Issuers::from_iter([issuer(&[&signer])]);
    let sign = |header: Header, key| jsonwebtoken::encode(&header, &claims(json!({})), key).unwrap();
    let foreign: Jwk = serde_json::from_value(stranger.jwk.clone()).unwrap();
    for (header, expected) in [
        (Header { kid: Some("2".to_owned()), ..signer.header() }, TokenFault::Key),
        (Header { jku: Some("https://evil/keys".to_owned()), ..signer.header() }, TokenFault::Malformed),
        (Header { x5u: Some("https://evil/key".to_owned()), ..signer.header() }, TokenFault::Malformed),
        (Header { x5c: Some(vec!["AAAA".to_owned()]), ..signer.header() }, TokenFault::Malformed),
        (Header { jwk: Some(foreign), ..signer.header() }, TokenFault::Malformed),
        (Header { crit: Some(vec!["exp".to_owned()]), ..signer.header() }, TokenFault::Malformed),
    ] {
        assert_eq!(name_of(&sign(header.clone(), &signer.key), &issuers), Err(expected), "{header:?}");
    }
    assert_eq!(name_of(&stranger.sign(&claims(json!({}))), &issuers), Err(TokenFault::Signature));
    // Without an id each key is tried.
    assert_eq!(name_of(&sign(Header { kid: None, ..signer.header() }, &signer.key), &issuers).as_deref(), Ok("alice"));
}

#[test]
fn nothing_but_the_issuers_private_key_signs() {
    let signer = Signer::new(Algorithm::RS256, "1");
    let public = signer.jwk["n"].as_str().unwrap();
    let issuers = Issuers::from_iter([issuer(&[&signer])]);
    let part = |value: Value| BASE64.encode(value.to_string());
    let payload = part(claims(json!({})));
    for algorithm in ["none", "None", "NONE", ""] {
        let token = format!("{}.{payload}.", part(json!({"alg": algorithm, "kid": "1"})));
        assert!(outcome(&oauthbearer::message(&token), &issuers).is_err(), "{algorithm}");
    }
    // The public key as the secret of an HMAC (RFC 8725, section 2.1).
    let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::HS256) };
    for secret in [public.as_bytes(), &BASE64.decode(public).unwrap()] {
        let token = jsonwebtoken::encode(&header, &claims(json!({})), &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(name_of(&token, &issuers), Err(TokenFault::Key));
    }
    // Another payload under the same signature, another algorithm of the same key, and a signature cut short.
    let token = signer.sign(&claims(json!({})));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let forged = format!("{header}.{}.{signature}", part(claims(json!({"sub": "admin"}))));
    assert_eq!(name_of(&forged, &issuers), Err(TokenFault::Signature));
    assert!(outcome(&oauthbearer::message(&token[..token.len() - 2]), &issuers).is_err());
    let mut only_ps = signer.jwk.clone();
    only_ps["alg"] = "PS256".into();
    let keys = Keys::parse(&json!({ "keys": [only_ps] }).to_string()).unwrap();
    let issuers = Issuers::from_iter([Issuer { keys, ..issuer(&[]) }]);
    assert_eq!(name_of(&token, &issuers), Err(TokenFault::Key));
}

#[test]
fn keys_of_no_use_are_left_out() {
    let signer = Signer::new(Algorithm::RS256, "1");
    let with = |name: &str, value: &str| {
        let mut jwk = signer.jwk.clone();
        jwk[name] = value.into();
        Keys::parse(&json!({ "keys": [jwk] }).to_string()).unwrap().len()
    };
    assert_eq!(with("use", "sig"), 1);
    assert_eq!(with("use", "enc"), 0);
    assert_eq!(with("alg", "RS512"), 1);
    assert_eq!(with("alg", "HS256"), 0);
    assert_eq!(with("alg", "RSA-OAEP"), 0);
    let secret = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]});
    assert!(Keys::parse(&secret.to_string()).unwrap().is_empty());
    let unknown = json!({"keys": [{"kty": "LWE", "q": 7}, signer.jwk]});
    assert_eq!(Keys::parse(&unknown.to_string()).unwrap().len(), 1);
    assert!(Keys::parse("<html>").is_err());
}

#[test]
fn messages_have_one_form() {
    let signer = Signer::new(Algorithm::ES256, "1");
    let issuers = Issuers::from_iter([issuer(&[&signer])]);
    let token = signer.sign(&claims(json!({})));
    let odd = signer.sign(&claims(json!({"sub": "a,b=c"})));
    for (message, expected) in [
        (format!("n,,\x01auth=Bearer {token}\x01\x01"), Ok(())),
        (format!("n,a=alice,\x01auth=bearer   {token}\x01\x01"), Ok(())),
        (format!("n,a=a=2Cb=3Dc,\x01auth=BEARER {odd}\x01\x01"), Ok(())),
        (format!("n,a=bob,\x01auth=Bearer {token}\x01\x01"), Err(Reason::OtherIdentity)),
        (format!("n,,\x01traceId=7\x01auth=Bearer {token}\x01logicalCluster=x=y\x01\x01"), Ok(())),
        (format!("n,,\x01auth=Basic x\x01auth=Bearer {token}\x01\x01"), Ok(())),
        (format!("n,,\x01auth=Bearer {token}==\x01\x01"), Err(Reason::Token(TokenFault::Signature))),
        ("n,,\x01auth=Bearer a+b/c~d=\x01\x01".to_owned(), Err(Reason::Token(TokenFault::Malformed))),
        (format!("n,,\x01x=\x01auth=Bearer {token}\x01\x01"), Err(Reason::Malformed)),
        (format!("n,,\x01auth=Basic {token}\x01\x01"), Err(Reason::Malformed)),
        (format!("n,,\x01auth=Bearer{token}\x01\x01"), Err(Reason::Malformed)),
        (format!("n,,\x01auth=Bearer {token}\x01"), Err(Reason::Malformed)),
        (format!("y,,\x01auth=Bearer {token}\x01\x01"), Err(Reason::Malformed)),
        (format!("n,a=,\x01auth=Bearer {token}\x01\x01"), Err(Reason::Malformed)),
        (format!("n,\x01auth=Bearer {token}\x01\x01"), Err(Reason::Malformed)),
        (format!("n,,\x01auth=Bearer {token}\x01\x01more"), Err(Reason::Malformed)),
        ("n,,\x01\x01".to_owned(), Err(Reason::Malformed)),
        ("n,,\x01host=x\x01\x01".to_owned(), Err(Reason::Malformed)),
        (String::new(), Err(Reason::Malformed)),
    ] {
        assert_eq!(outcome(message.as_bytes(), &issuers).map(|_| ()), expected, "{message:?}");
    }
}

#[test]
fn after_a_refusal_nothing_but_its_acknowledgement_is_taken() {
    let signer = Signer::new(Algorithm::ES256, "1");
    let issuers = Issuers::from_iter([issuer(&[&signer])]);
    let mut exchange = Exchange::new(Mechanism::OAuthBearer, [0; 16]);
    let expired = oauthbearer::message(&signer.sign(&claims(json!({"exp": NOW - 100}))));
    assert!(matches!(step(&mut exchange, &expired, &issuers), SaslStep::Challenge(_)));
    let good = oauthbearer::message(&signer.sign(&claims(json!({}))));
    assert!(matches!(step(&mut exchange, &good, &issuers), SaslStep::Failed(Reason::Malformed)));
    assert!(matches!(step(&mut exchange, &good, &issuers), SaslStep::Failed(Reason::Over)));
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(message in prop::collection::vec(any::<u8>(), 0..200), token in "[a-zA-Z0-9._-]{0,80}") {
        let issuers = Issuers::from_iter([issuer(&[])]);
        prop_assert!(outcome(&message, &issuers).is_err());
        prop_assert!(outcome(&oauthbearer::message(&token), &issuers).is_err());
    }
}
