//! How a client logs in by SASL (KIP-43, KIP-152). What it says by each mechanism stands in `broker/access`, beside
//! what the broker says.

use std::fmt;

use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ottla_access::sasl::scram::{NotTheBroker, ScramClient};
use ottla_access::sasl::{Hash, Mechanism, oauthbearer, plain};
use ottla_wire::{SaslAuthenticateRequest, SaslHandshakeRequest, Str};

use crate::{ClientError, Connection};

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
        hash: Hash,
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
    /// The broker did not prove that it knows the password, or broke SCRAM's rules.
    #[error(transparent)]
    Unproven(#[from] NotTheBroker),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("mechanism", &self.mechanism().name()).finish_non_exhaustive()
    }
}

impl Login {
    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        match self {
            Login::Plain { .. } => Mechanism::Plain,
            Login::Scram { hash: Hash::Sha256, .. } => Mechanism::ScramSha256,
            Login::Scram { hash: Hash::Sha512, .. } => Mechanism::ScramSha512,
            Login::Bearer { .. } => Mechanism::OAuthBearer,
        }
    }
}

impl Connection {
    /// Logs in. Not cancellation safe: drop the connection with the call.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn log_in(&mut self, login: &Login) -> Result<(), LoginError> {
        let mechanism = login.mechanism().name();
        let handshake = SaslHandshakeRequest { mechanism: Str::from_static(mechanism) };
        let answer = self.call(1, &handshake).await?;
        if !answer.error_code.is_none() {
            let offered = answer.mechanisms.iter().map(|offered| &**offered).collect::<Vec<_>>().join(", ");
            return Err(LoginError::NotOffered { mechanism, offered });
        }
        match login {
            Login::Plain { name, password } => self.token(mechanism, plain::message(name, password)).await.map(drop),
            Login::Bearer { token } => {
                let answer = self.token(mechanism, oauthbearer::message(token)).await?;
                let why = || String::from_utf8_lossy(&answer).into_owned();
                if answer.is_empty() { Ok(()) } else { Err(LoginError::Refused { mechanism, why: why() }) }
            }
            Login::Scram { hash, name, password } => {
                let exchange = ScramClient::new(*hash, name, password, &nonce());
                let challenge = self.token(mechanism, exchange.first()).await?;
                let (last, proof) = exchange.last(&challenge)?;
                Ok(proof.check(&self.token(mechanism, last).await?)?)
            }
        }
    }

    /// Sends what the client says next; what the broker says to it.
    async fn token(&mut self, mechanism: &'static str, says: impl Into<Bytes>) -> Result<Bytes, LoginError> {
        let answer = self.call(1, &SaslAuthenticateRequest { auth_bytes: says.into() }).await?;
        if answer.error_code.is_none() {
            Ok(answer.auth_bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let login = Login::Plain { name: "orders".to_owned(), password: "hunter2".to_owned() };
        assert_eq!(format!("{login:?}"), "Login { mechanism: \"PLAIN\", .. }");
    }
}
