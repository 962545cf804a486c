//! An issuer of tokens, as small as one can be: it shows its keys over HTTP on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// The issuer; its address is its name. The server ends with the test's process.
pub struct Issuer {
    address: SocketAddr,
    key: EncodingKey,
    shown: Arc<Mutex<String>>,
}

impl Issuer {
    /// Starts it, with a new key.
    pub fn start() -> Result<Issuer> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let shown = Arc::new(Mutex::new(String::new()));
        let mut issuer = Issuer { address: listener.local_addr()?, key: EncodingKey::from_secret(&[]), shown };
        issuer.rotate()?;
        let shown = issuer.shown.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let text = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // The operator reports what does not arrive.
                let _ = answer(stream, &text);
            }
        });
        Ok(issuer)
    }

    /// Signs with a new key from now on, and shows no other.
    pub fn rotate(&mut self) -> Result<()> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok().context("a key")?;
        self.key = EncodingKey::from_ec_der(pair.to_pkcs8v1().ok().context("its bytes")?.as_ref());
        let keys = JwkSet { keys: vec![Jwk::from_encoding_key(&self.key, Algorithm::ES256)?] };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = serde_json::to_string(&keys)?;
        Ok(())
    }

    /// What a listener says of it.
    pub fn spec(&self) -> Value {
        let name = self.name();
        json!({ "issuer": name, "jwksUrl": format!("{name}/keys"), "audience": "kafka", "principalPrefix": "idp:" })
    }

    fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A token for this user and this audience, which expires in so many seconds.
    pub fn token(&self, user: &str, audience: &str, expires_in: i64) -> Result<String> {
        self.token_issued_before(100, user, audience, expires_in)
    }

    /// The same, issued so many seconds ago.
    pub fn token_issued_before(&self, age: i64, user: &str, audience: &str, expires_in: i64) -> Result<String> {
        let now = i64::try_from(jsonwebtoken::get_current_timestamp())?;
        let claims =
            json!({"iss": self.name(), "sub": user, "aud": audience, "iat": now - age, "exp": now + expires_in});
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.key)?)
    }
}

fn answer(mut stream: TcpStream, text: &str) -> Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let length = text.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}")?;
    Ok(())
}
