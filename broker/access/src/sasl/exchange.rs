//! One client's exchange of tokens, whatever the mechanism.

use super::credentials::Credentials;
use super::issuers::Issuers;
use super::mechanism::Mechanism;
use super::oauthbearer;
use super::outcome::{Identity, Reason};
use super::plain::{self, PasswordCheck};
use super::scram;
use super::verifier::Hash;

/// How far an exchange has come.
pub struct Exchange(ExchangeState);

enum ExchangeState {
    ScramBegun(scram::Begun),
    ScramChallenged(Box<scram::Challenged>),
    PlainBegun,
    OAuthBearerBegun,
    /// The client was sent [`oauthbearer::INVALID_TOKEN`].
    OAuthBearerRefused(Reason),
    /// It has succeeded or failed, or waits for a worker.
    Over,
}

/// What decides whether a client is let in.
#[derive(Clone, Copy)]
pub struct LoginInputs<'a> {
    /// The users.
    pub credentials: &'a Credentials,
    /// Whose tokens are good on the client's listener.
    pub issuers: &'a Issuers,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
}

/// What comes of a token.
pub enum SaslStep {
    /// This is to be sent; the client's next token follows.
    Challenge(Vec<u8>),
    /// A worker is to check this; then there is nothing more to send.
    Check(Box<PasswordCheck>),
    /// The client is let in; this is to be sent.
    Done(Vec<u8>, Identity),
    /// It is not.
    Failed(Reason),
}

/// How many random bytes an exchange needs: 128 bits.
pub const NONCE: usize = 16;

impl Exchange {
    /// Begins an exchange. `random` is drawn for it alone.
    pub fn new(mechanism: Mechanism, random: [u8; NONCE]) -> Exchange {
        let scram = |hash| {
            let nonce = random.iter().map(|byte| format!("{byte:02x}")).collect();
            ExchangeState::ScramBegun(scram::Begun { hash, nonce })
        };
        Exchange(match mechanism {
            Mechanism::ScramSha256 => scram(Hash::Sha256),
            Mechanism::ScramSha512 => scram(Hash::Sha512),
            Mechanism::Plain => ExchangeState::PlainBegun,
            Mechanism::OAuthBearer => ExchangeState::OAuthBearerBegun,
        })
    }

    /// Takes the client's next token.
    pub fn step(&mut self, token: &[u8], known: LoginInputs<'_>) -> SaslStep {
        let LoginInputs { credentials, issuers, now_ms } = known;
        let step = match std::mem::replace(&mut self.0, ExchangeState::Over) {
            ExchangeState::ScramBegun(begun) => begun.first(token, credentials).map(|(answer, challenged)| {
                self.0 = ExchangeState::ScramChallenged(Box::new(challenged));
                SaslStep::Challenge(answer.into_bytes())
            }),
            ExchangeState::ScramChallenged(challenged) => {
                challenged.last(token).map(|(answer, identity)| SaslStep::Done(answer.into_bytes(), identity))
            }
            ExchangeState::PlainBegun => plain::parse(token, credentials).map(|check| SaslStep::Check(Box::new(check))),
            ExchangeState::OAuthBearerBegun => match oauthbearer::first(token, issuers, now_ms) {
                Err(reason @ Reason::Token(_)) => {
                    self.0 = ExchangeState::OAuthBearerRefused(reason);
                    Ok(SaslStep::Challenge(oauthbearer::INVALID_TOKEN.into()))
                }
                outcome => outcome.map(|identity| SaslStep::Done(Vec::new(), identity)),
            },
            ExchangeState::OAuthBearerRefused(reason) if oauthbearer::acknowledges(token) => Err(reason),
            ExchangeState::OAuthBearerRefused(_) => Err(Reason::Malformed),
            ExchangeState::Over => Err(Reason::Over),
        };
        step.unwrap_or_else(SaslStep::Failed)
    }
}
