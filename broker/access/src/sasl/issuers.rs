//! Issuers of tokens, and what makes a token good: a JWT (RFC 7519) that one of the issuer's keys has signed.
//!
//! An issuer is known by its keys alone (a JWKS, RFC 7517), which the operator fetches. What a token says about keys
//! itself (`jku`, `jwk`, `x5u`, `x5c`) refuses it, and so does a header that must be understood (`crit`).

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use ottla_wire::Str;
use serde_json::{Map, Value};

use super::outcome::{Identity, Reason, TokenFault};
use crate::Principal;

/// How far the clocks of issuers and brokers may be apart, in milliseconds.
const SKEW_MS: i64 = 30_000;
/// What the names of ServiceAccounts begin with. No other issuer's users have such names.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// What only names that Kubernetes gives begin with.
const SYSTEM: &str = "system:";
/// The longest name of a principal, in bytes.
const LONGEST_NAME: usize = 1024;

/// Whose tokens are good on a listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Issuers(Arc<[Issuer]>);

/// One issuer of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// Its name, as in the claim `iss`.
    pub name: String,
    /// For whom a token must be: one of the claim `aud`.
    pub audience: String,
    /// The claim with the user's name.
    pub principal_claim: String,
    /// What comes before the names of its users.
    pub principal_prefix: String,
    /// Whether it is the Kubernetes cluster, whose users are ServiceAccounts.
    pub is_kubernetes: bool,
    /// Its keys.
    pub keys: Keys,
}

/// The keys of an issuer.
#[derive(Clone)]
pub struct Keys {
    /// The document that they are from.
    source: Str,
    keys: Arc<[Key]>,
}

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl FromIterator<Issuer> for Issuers {
    fn from_iter<I: IntoIterator<Item = Issuer>>(issuers: I) -> Issuers {
        Issuers(issuers.into_iter().collect())
    }
}

impl Issuers {
    /// Who the token is for.
    ///
    /// # Errors
    /// [`Reason::Token`]: why the token is not good.
    pub fn check(&self, token: &str, now_ms: i64) -> Result<Identity, Reason> {
        self.identity(token, now_ms).map_err(Reason::Token)
    }

    fn identity(&self, token: &str, now_ms: i64) -> Result<Identity, TokenFault> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Malformed)?;
        let brings_keys = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if brings_keys || header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(TokenFault::Malformed);
        }
        // The claims choose the issuer before its key has confirmed them.
        let claims: Map<String, Value> =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| TokenFault::Malformed)?;
        let name = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let mut fault = TokenFault::Issuer;
        // An issuer may stand there for several audiences.
        for issuer in self.0.iter().filter(|issuer| issuer.name == name) {
            match issuer.keys.verify(token, header.alg, header.kid.as_deref()) {
                Ok(claims) => match issuer.identity(&claims, now_ms) {
                    Ok(identity) => return Ok(identity),
                    Err(reason) => fault = reason,
                },
                Err(reason) => fault = reason,
            }
        }
        Err(fault)
    }
}

impl Issuer {
    /// Who a token with these claims, which are signed, is for.
    fn identity(&self, claims: &Map<String, Value>, now_ms: i64) -> Result<Identity, TokenFault> {
        let is_for = |audience: &Value| audience.as_str() == Some(&*self.audience);
        match claims.get("aud") {
            Some(Value::Array(audiences)) if audiences.iter().all(Value::is_string) && audiences.iter().any(is_for) => {
            }
            Some(audience) if is_for(audience) => {}
            Some(_) | None => return Err(TokenFault::Audience),
        }
        let time_ms = |claim: &str| Some((claims.get(claim)?.as_f64()? * 1000.0) as i64);
        let (Some(expires_ms), Some(issued_ms)) = (time_ms("exp"), time_ms("iat")) else {
            return Err(TokenFault::Time);
        };
        let begins_ms = match claims.get("nbf") {
            None => issued_ms,
            Some(_) => time_ms("nbf").ok_or(TokenFault::Time)?.max(issued_ms),
        };
        if issued_ms < 0 {
            return Err(TokenFault::Time);
        }
        if now_ms >= expires_ms.saturating_add(SKEW_MS) || begins_ms > now_ms.saturating_add(SKEW_MS) {
            return Err(TokenFault::Time);
        }
        let name = claims.get(&self.principal_claim).and_then(Value::as_str).unwrap_or_default();
        let is_allowed = if self.is_kubernetes {
            name.starts_with(SERVICE_ACCOUNT)
        } else {
            // `*` stands for everybody in rules. Kafka removes spaces around a name; here nobody becomes somebody else.
            !name.is_empty()
                && name.trim() == name
                && !format!("{}{name}", self.principal_prefix).starts_with(SYSTEM)
                && name != "*"
        };
        let is_one_line = !name.contains(char::is_control);
        if !is_allowed || !is_one_line || self.principal_prefix.len() + name.len() > LONGEST_NAME {
            return Err(TokenFault::Name);
        }
        let principal = Principal::new(format!("{}{name}", self.principal_prefix));
        Ok(Identity { principal, uid: None, expires_ms: Some(expires_ms), proof: None })
    }
}

impl Keys {
    /// The keys of a JWKS. Those that are of no use here (for encryption, secret, or of an unknown kind) are left out.
    ///
    /// # Errors
    /// The document is no JWKS.
    pub fn parse(jwks: &str) -> Result<Keys, serde_json::Error> {
        let set: JwkSet = serde_json::from_str(jwks)?;
        Ok(Keys { source: Str::from(jwks), keys: set.keys.iter().filter_map(Key::new).collect() })
    }

    /// How many of them can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none can.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The claims of a token that one of them has signed.
    fn verify(&self, token: &str, algorithm: Algorithm, id: Option<&str>) -> Result<Map<String, Value>, TokenFault> {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id);
        let mut fault = TokenFault::Key;
        for key in self.keys.iter().filter(fits) {
            let mut validation = Validation::new(algorithm);
            // The caller checks the claims: the library would read the clock.
            validation.required_spec_claims.clear();
            (validation.validate_exp, validation.validate_aud) = (false, false);
            match jsonwebtoken::decode(token, &key.key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(_) => fault = TokenFault::Signature,
            }
        }
        Err(fault)
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Keys) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

impl Key {
    /// The key, if signatures can be checked with it.
    fn new(jwk: &Jwk) -> Option<Key> {
        if jwk.common.public_key_use.as_ref().is_some_and(|kind| *kind != PublicKeyUse::Signature) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let family = match key.family() {
            // Who has a secret can also sign with it.
            AlgorithmFamily::Hmac => return None,
            family => family,
        };
        let algorithms = match jwk.common.key_algorithm {
            Some(named) => vec![named.to_string().parse().ok().filter(|named| family.algorithms().contains(named))?],
            None => family.algorithms().to_vec(),
        };
        Some(Key { id: jwk.common.key_id.clone(), algorithms, key })
    }
}
