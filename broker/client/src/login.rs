//! How a client logs in by SASL (KIP-43, KIP-152): its side of PLAIN, SCRAM (RFC 5802) and OAUTHBEARER (RFC 7628).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::digest::{self, SHA256, SHA512};
use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA512};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA512};
use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ottla_wire::{SaslAuthenticateRequest, SaslHandshakeRequest, Str};

use crate::{ClientError, Connection};

/// More would let a false broker keep the client busy for minutes.
const MOST_ITERATIONS: u32 = 1_000_000;

/// The hash of SCRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramHash {
    /// `SCRAM-SHA-256`.
    Sha256,
    /// `SCRAM-SHA-512`.
    Sha512,
}

/// With what a client logs in. `Debug` prints no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// The password, in plain text: only under TLS.
    Plain {
        /// The user's name.
        name: String,
        /// The password.
        password: String,
    },
    /// A proof that the client knows the password.
    Scram {
        /// The hash.
        hash: ScramHash,
        /// The user's name.
        name: String,
        /// The password.
        password: String,
    },
    /// A token of an issuer that the listener trusts.
    Bearer {
        /// The token, a JWT.
        token: String,
    },
}

/// Why a client is not logged in. The connection is of no use then.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There was no response.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The listener does not offer the mechanism.
    #[error("the listener does not offer {mechanism}, but {offered}")]
    NotOffered {
        /// The mechanism.
        mechanism: &'static str,
        /// Those that it offers.
        offered: String,
    },
    /// The broker refused.
    #[error("the broker refused the login by {mechanism}: {why}")]
    Refused {
        /// The mechanism.
        mechanism: &'static str,
        /// What the broker says.
        why: String,
    },
    /// The broker did not prove that it knows the user, or broke SCRAM's rules.
    #[error("the broker does not know the password either, or is no broker: {0}")]
    Unproven(&'static str),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("mechanism", &self.mechanism()).finish_non_exhaustive()
    }
}

impl Login {
    /// Kafka's name of the mechanism.
    pub fn mechanism(&self) -> &'static str {
        match self {
            Login::Plain { .. } => "PLAIN",
            Login::Scram { hash: ScramHash::Sha256, .. } => "SCRAM-SHA-256",
            Login::Scram { hash: ScramHash::Sha512, .. } => "SCRAM-SHA-512",
            Login::Bearer { .. } => "OAUTHBEARER",
        }
    }
}

impl Connection {
    /// Logs in. Not cancellation safe: drop the connection with the call.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn log_in(&mut self, login: &Login) -> Result<(), LoginError> {
        let mechanism = login.mechanism();
        let handshake = SaslHandshakeRequest { mechanism: Str::from_static(mechanism) };
        let answer = self.call(1, &handshake).await?;
        if !answer.error_code.is_none() {
            let offered = answer.mechanisms.iter().map(|offered| &**offered).collect::<Vec<_>>().join(", ");
            return Err(LoginError::NotOffered { mechanism, offered });
        }
        match login {
            Login::Plain { name, password } => self.token(mechanism, format!("\0{name}\0{password}")).await.map(drop),
            Login::Bearer { token } => {
                let answer = self.token(mechanism, format!("n,,\x01auth=Bearer {token}\x01\x01")).await?;
                if answer.is_empty() { Ok(()) } else { Err(LoginError::Refused { mechanism, why: answer }) }
            }
            Login::Scram { hash, name, password } => {
                let exchange = Scram::new(*hash, name, nonce());
                let challenge = self.token(mechanism, exchange.first()).await?;
                let (proof, signature) = exchange.proof(&challenge, password)?;
                let last = self.token(mechanism, proof).await?;
                exchange.is_proven(&last, &signature)
            }
        }
    }

    /// Sends what the client says next; what the broker says to it.
    async fn token(&mut self, mechanism: &'static str, says: String) -> Result<String, LoginError> {
        let answer = self.call(1, &SaslAuthenticateRequest { auth_bytes: Bytes::from(says) }).await?;
        if answer.error_code.is_none() {
            Ok(String::from_utf8_lossy(&answer.auth_bytes).into_owned())
        } else {
            let why = answer.error_message.as_deref().unwrap_or_default().to_owned();
            Err(LoginError::Refused { mechanism, why })
        }
    }
}

/// 128 random bits.
fn nonce() -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system has random bytes");
    BASE64_STANDARD.encode(bytes)
}

/// The client's side of SCRAM.
struct Scram {
    hash: ScramHash,
    nonce: String,
    /// The first message without its header.
    bare: String,
}

impl Scram {
    fn new(hash: ScramHash, name: &str, nonce: String) -> Scram {
        let name = name.replace('=', "=3D").replace(',', "=2C");
        Scram { hash, bare: format!("n={name},r={nonce}"), nonce }
    }

    fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The answer to the broker's challenge, and the signature that the broker must show in its last message.
    fn proof(&self, challenge: &str, password: &str) -> Result<(String, Vec<u8>), LoginError> {
        let mut attributes = challenge.split(',');
        let mut attribute = |name: &str| attributes.next().and_then(|text| text.strip_prefix(name));
        let (nonce, salt, iterations) = (attribute("r="), attribute("s="), attribute("i="));
        let nonce = nonce.filter(|nonce| nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len());
        let nonce = nonce.ok_or(LoginError::Unproven("its nonce does not continue ours"))?;
        let salt = salt.and_then(|salt| BASE64_STANDARD.decode(salt).ok());
        let salt = salt.ok_or(LoginError::Unproven("its salt is malformed"))?;
        let iterations = iterations.and_then(|count| count.parse().ok()).filter(|count| *count <= MOST_ITERATIONS);
        let iterations = iterations.and_then(NonZeroU32::new);
        let iterations = iterations.ok_or(LoginError::Unproven("its number of iterations is none"))?;

        let salted = self.salted(password, &salt, iterations);
        let last = format!("c=biws,r={nonce}");
        let messages = format!("{},{challenge},{last}", self.bare);
        let client_key = self.sign(&salted, "Client Key");
        let stored_key = digest::digest(if self.hash == ScramHash::Sha256 { &SHA256 } else { &SHA512 }, &client_key);
        let signature = self.sign(stored_key.as_ref(), &messages);
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signed)| key ^ signed).collect();
        let proof = format!("{last},p={}", BASE64_STANDARD.encode(proof));
        Ok((proof, self.sign(&self.sign(&salted, "Server Key"), &messages)))
    }

    fn is_proven(&self, last: &str, signature: &[u8]) -> Result<(), LoginError> {
        let shown = last.strip_prefix("v=").and_then(|shown| BASE64_STANDARD.decode(shown).ok());
        match shown {
            Some(shown) if shown == signature => Ok(()),
            Some(_) | None => Err(LoginError::Unproven("its signature is another")),
        }
    }

    fn salted(&self, password: &str, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let (algorithm, length) = match self.hash {
            ScramHash::Sha256 => (PBKDF2_HMAC_SHA256, 32),
            ScramHash::Sha512 => (PBKDF2_HMAC_SHA512, 64),
        };
        let mut salted = vec![0; length];
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut salted);
        salted
    }

    fn sign(&self, key: &[u8], text: &str) -> Vec<u8> {
        let algorithm = if self.hash == ScramHash::Sha256 { HMAC_SHA256 } else { HMAC_SHA512 };
        hmac::sign(&hmac::Key::new(algorithm, key), text.as_bytes()).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange in RFC 7677.
    #[test]
    fn the_exchange_of_the_rfc() {
        let exchange = Scram::new(ScramHash::Sha256, "user", "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(exchange.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (proof, signature) = exchange.proof(challenge, "pencil").unwrap();
        assert_eq!(
            proof,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        exchange.is_proven("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", &signature).unwrap();
        for last in ["v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "e=invalid-proof", ""] {
            assert!(matches!(exchange.is_proven(last, &signature), Err(LoginError::Unproven(_))), "{last}");
        }
    }

    #[test]
    fn a_challenge_that_no_broker_would_send_is_refused() {
        let exchange = Scram::new(ScramHash::Sha512, "a=b,c", "abc".to_owned());
        assert_eq!(exchange.first(), "n,,n=a=3Db=2Cc,r=abc");
        for challenge in [
            "",
            "r=abc,s=YQ==,i=4096",
            "r=xyz1,s=YQ==,i=4096",
            "r=abc1,s=*,i=1",
            "r=abc1,s=YQ==,i=0",
            "r=abc1,s=YQ==,i=1000001",
        ] {
            assert!(matches!(exchange.proof(challenge, "p"), Err(LoginError::Unproven(_))), "{challenge}");
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let login = Login::Plain { name: "orders".to_owned(), password: "hunter2".to_owned() };
        assert_eq!(format!("{login:?}"), "Login { mechanism: \"PLAIN\", .. }");
    }
}
