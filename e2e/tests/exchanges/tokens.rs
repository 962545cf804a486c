//! Exchanges of OAUTHBEARER: tokens of an issuer, of strangers, and of nobody.

use std::io::Write as _;

use anyhow::{Context, Result};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ottla_access::sasl::{self, Issuers, Keys, Mechanism};
use ottla_e2e::choices::Choices;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::scram::Case;
use super::{Round, World, damaged};

pub const NAME: &str = "https://idp";
pub const AUDIENCE: &str = "kafka";

/// A key and its public half.
struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    jwk: Value,
}

impl Signer {
    fn new(algorithm: Algorithm, id: &str) -> Result<Signer> {
        let key = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok().context("a key")?;
                EncodingKey::from_ec_der(pair.to_pkcs8v1().ok().context("its bytes")?.as_ref())
            }
            _ => {
                // The RSA key inside of PKCS #8, behind a header that is as long for every key of 2,048 bits.
                let der =
                    RsaKeyPair::generate(KeySize::Rsa2048).ok().context("a key")?.as_der().ok().context("bytes")?;
                EncodingKey::from_rsa_der(&der.as_ref()[26..])
            }
        };
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm)?)?;
        jwk["kid"] = id.into();
        Ok(Signer { key, algorithm, jwk })
    }

    fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "kid": self.jwk["kid"]})
    }

    /// A token with this header and these claims, signed whatever the header says.
    fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm)?;
        Ok(format!("{signed}.{signature}"))
    }
}

/// An issuer of tokens.
pub struct Issuer {
    signers: [Signer; 2],
    stranger: Signer,
    /// Its public keys, for both sides.
    pub issuers: Issuers,
    /// The same as a file.
    pub jwks: NamedTempFile,
    /// In seconds since 1970.
    now: i64,
}

impl Issuer {
    pub fn new(now: i64) -> Result<Issuer> {
        let signers = [Signer::new(Algorithm::ES256, "1")?, Signer::new(Algorithm::RS256, "2")?];
        let text = json!({"keys": signers.iter().map(|signer| &signer.jwk).collect::<Vec<_>>()}).to_string();
        let mut jwks = NamedTempFile::new()?;
        jwks.write_all(text.as_bytes())?;
        let issuer = sasl::Issuer {
            name: NAME.to_owned(),
            audience: AUDIENCE.to_owned(),
            principal_claim: "sub".to_owned(),
            principal_prefix: String::new(),
            is_kubernetes: false,
            keys: Keys::parse(&text)?,
        };
        let stranger = Signer::new(Algorithm::ES256, "1")?;
        Ok(Issuer { signers, stranger, issuers: Issuers::from_iter([issuer]), jwks, now })
    }

    /// Claims that are good.
    fn claims(&self) -> Value {
        json!({"iss": NAME, "sub": "alice", "aud": AUDIENCE, "iat": self.now - 60, "exp": self.now + 3600})
    }

    /// Changes one claim, or removes it.
    fn spoil(&self, claims: &mut Value, choices: &mut Choices) {
        let now = self.now;
        let (name, values) = match choices.below(6) {
            0 => ("sub", vec![Value::Null, json!(7), json!(""), json!("a b"), json!("o'neil@x"), json!(["alice"])]),
            1 => ("iss", vec![Value::Null, json!("https://idp/"), json!(7), json!("")]),
            2 => (
                "aud",
                vec![
                    Value::Null,
                    json!("kafk"),
                    json!([]),
                    json!(["x", AUDIENCE]),
                    json!(["x"]),
                    json!(7),
                    json!({"aud": AUDIENCE}),
                    json!([AUDIENCE, 7]),
                ],
            ),
            3 => (
                "exp",
                vec![
                    Value::Null,
                    json!(now - 3600),
                    json!(0),
                    json!(-1),
                    json!("soon"),
                    json!((now + 3600).to_string()),
                    json!(now + 86_400),
                ],
            ),
            4 => ("iat", vec![Value::Null, json!(now), json!("now"), json!(0), json!(-1), json!(now + 20)]),
            _ => ("nbf", vec![json!(now - 60), json!(now), json!(now + 20), json!(now + 3000), json!("now")]),
        };
        match choices.of(&values) {
            Value::Null => drop(claims.as_object_mut().and_then(|claims| claims.remove(name))),
            value => claims[name] = value,
        }
    }

    fn token(&self, choices: &mut Choices) -> Result<String> {
        let mut claims = self.claims();
        for _ in 0..choices.of(&[0, 0, 1, 1, 2]) {
            self.spoil(&mut claims, choices);
        }
        let signer = match choices.below(8) {
            0 => &self.stranger,
            1..=3 => &self.signers[1],
            _ => &self.signers[0],
        };
        let mut header = signer.header();
        match choices.below(20) {
            0 => header["kid"] = "3".into(),
            1 => header["kid"] = signer.jwk["kid"].as_str().map_or("1", |id| if id == "1" { "2" } else { "1" }).into(),
            2 => header["typ"] = "at+jwt".into(),
            3 => header["crit"] = json!(["exp"]),
            4 => header["alg"] = choices.of(&["none", "None", "", "HS256", "ES384", "PS256", "RS512", "dir"]).into(),
            5 => drop(header.as_object_mut().and_then(|header| header.remove("alg"))),
            _ => {}
        }
        if choices.below(12) == 0 {
            return self.forged(&claims, choices);
        }
        signer.sign(&header, &claims)
    }

    /// What is signed with no private key of the issuer.
    fn forged(&self, claims: &Value, choices: &mut Choices) -> Result<String> {
        let payload = BASE64.encode(claims.to_string());
        let part = |header: Value| BASE64.encode(header.to_string());
        Ok(match choices.below(5) {
            0 => format!("{}.{payload}.", part(json!({"alg": "none"}))),
            1 => {
                // The public key as the secret of an HMAC (RFC 8725, section 2.1).
                let header = Header { kid: Some("2".to_owned()), ..Header::new(Algorithm::HS256) };
                let public = self.signers[1].jwk["n"].as_str().unwrap_or_default();
                jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(public.as_bytes()))?
            }
            2 => {
                let good = self.signers[0].sign(&self.signers[0].header(), &self.claims())?;
                let (signed, signature) = good.rsplit_once('.').unwrap_or_default();
                let (header, _) = signed.split_once('.').unwrap_or_default();
                let mut admin = self.claims();
                admin["sub"] = "admin".into();
                format!("{header}.{}.{signature}", BASE64.encode(admin.to_string()))
            }
            3 => format!("{}.{payload}.{payload}.{payload}.{payload}", part(json!({"alg": "dir", "enc": "A128GCM"}))),
            _ => choices.of(&["a", "a.b", "..", "a.b.c", "e30.e30.", "e30.e30.e30"]).to_owned(),
        })
    }
}

/// A random exchange.
pub fn play<'a>(world: &'a World, choices: &mut Choices) -> Result<Round<'a>> {
    let mut round = Round::begin(world, Mechanism::OAuthBearer, [0; 16]);
    let token = world.issuer.token(choices)?;
    let often = |choices: &mut Choices, usual: &'static str, others: &[&'static str]| match choices.below(8) {
        0 => choices.of(others),
        _ => usual,
    };
    let header = often(choices, "n,,", &["n,a=alice,", "n,a=bob,", "y,,", "p=x,,", "n,", "n,a=,", ""]);
    let scheme = often(choices, "Bearer ", &["bearer ", "BEARER   ", "Basic ", "Bearer", "", "Bearer\t", " Bearer "]);
    let before =
        often(choices, "", &["host=x\x01", "a=b=c\x01", "1=x\x01", "x=\x01", "x\x01", "x=\u{e9}\x01", "x=a b\x01"]);
    let after =
        often(choices, "\x01\x01", &["\x01", "", "\x01host=x\x01\x01", "\x01\x01\x01", "\x01\x01more", " \x01\x01"]);
    let tail = often(choices, "", &["!", ",", "\u{e9}"]);
    let message = format!("{header}\x01{before}auth={scheme}{token}{tail}{after}").into_bytes();
    let message = if choices.below(6) == 0 { damaged(choices, &message) } else { message };
    if round.send(message).is_some() {
        round.send(choices.of(&["\x01", "\x01", "\x01\x01", "", "\x02", "n,,"]));
    }
    Ok(round)
}

/// Exchanges that are meant to end in another way here than there.
pub fn differences(world: &World) -> Result<Vec<Case<'_>>> {
    let issuer = &world.issuer;
    let signer = &issuer.signers[0];
    let send = |messages: &[String]| {
        let mut round = Round::begin(world, Mechanism::OAuthBearer, [0; 16]);
        messages.iter().for_each(|message| drop(round.send(message)));
        round
    };
    let message = |token: &str| format!("n,,\x01auth=Bearer {token}\x01\x01");
    let with = |claim: &str, value: Value| -> Result<String> {
        let mut claims = issuer.claims();
        claims[claim] = value;
        Ok(message(&signer.sign(&signer.header(), &claims)?))
    };
    let with_header = |name: &str, value: Value| -> Result<String> {
        let mut header = signer.header();
        header[name] = value;
        Ok(message(&signer.sign(&header, &issuer.claims())?))
    };
    let mut odd = issuer.claims();
    odd["sub"] = "a,b=c".into();
    let escaped = format!("n,a=a=2Cb=3Dc,\x01auth=Bearer {}\x01\x01", signer.sign(&signer.header(), &odd)?);
    let expired = with("exp", json!(issuer.now - 3600))?;
    let good = with("sub", json!("alice"))?;
    Ok(vec![
        ("another token after one that was refused", send(&[expired, good.clone()]), "refused", "done"),
        ("an authorization id with escapes", send(&[escaped]), "done", "refused"),
        ("a signature with padding", send(&[format!("{}=\x01\x01", good.trim_end_matches('\x01'))]), "answer", "done"),
        ("keys that the token brings (jku)", send(&[with_header("jku", json!("https://evil"))?]), "answer", "done"),
        (
            "keys that the token brings (jwk)",
            send(&[with_header("jwk", issuer.stranger.jwk.clone())?]),
            "answer",
            "done",
        ),
        ("a token that was issued in an hour", send(&[with("iat", json!(issuer.now + 3000))?]), "answer", "done"),
        ("a name with spaces around it", send(&[with("sub", json!(" alice "))?]), "answer", "done"),
        ("a name that stands for everybody", send(&[with("sub", json!("*"))?]), "answer", "done"),
        ("a name as Kubernetes gives it", send(&[with("sub", json!("system:admin"))?]), "answer", "done"),
        ("an empty scope", send(&[with("scope", json!(""))?]), "done", "answer"),
    ])
}
