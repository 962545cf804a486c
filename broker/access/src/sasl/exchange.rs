//! One client's exchange of tokens, whatever the mechanism.

use super::credentials::Credentials;
use super::issuers::{Issuers, TokenFault};
use super::mechanism::Mechanism;
use super::oauthbearer;
use super::plain::{self, PasswordCheck};
use super::scram;
use super::verifier::Hash;
use crate::Principal;

/// How far an exchange has come.
pub struct Exchange(State);

enum State {
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
pub struct Known<'a> {
    /// The users.
    pub credentials: &'a Credentials,
    /// Whose tokens are good on the client's listener.
    pub issuers: &'a Issuers,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
}

/// What comes of a token.
pub enum Step {
    /// This is to be sent; the client's next token follows.
    Challenge(Vec<u8>),
    /// A worker is to check this; then there is nothing more to send.
    Check(Box<PasswordCheck>),
    /// The client is let in; this is to be sent.
    Done(Vec<u8>, Identity),
    /// It is not.
    Failed(Reason),
}

/// Who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who the client is.
    pub principal: Principal,
    /// The uid of its KafkaUser; `None`: an issuer's word is enough. The client is let in as long as there is a user
    /// with this name and uid.
    pub uid: Option<String>,
    /// When what it has shown expires, in milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

/// Why a client is not let in. Only log and metrics name it: the client hears the same of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A message that is not of the mechanism.
    Malformed,
    /// An unknown user, or a wrong password.
    Credentials,
    /// The nonce of another exchange.
    Nonce,
    /// The client wants channel binding, or somebody has changed its message.
    ChannelBinding,
    /// The client wants to be somebody else than it can prove.
    OtherIdentity,
    /// A token of an issuer that is not good.
    Token(TokenFault),
    /// A delegation token, which is not served.
    DelegationToken,
    /// The mechanism is not served.
    Mechanism,
    /// A token after the exchange was over.
    Over,
}

impl Reason {
    /// A label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::Credentials => "credentials",
            Reason::Nonce => "nonce",
            Reason::ChannelBinding => "channel_binding",
            Reason::OtherIdentity => "other_identity",
            Reason::Token(fault) => fault.label(),
            Reason::DelegationToken => "delegation_token",
            Reason::Mechanism => "mechanism",
            Reason::Over => "over",
        }
    }
}

/// How many random bytes an exchange needs: 128 bits.
pub const NONCE: usize = 16;

impl Exchange {
    /// Begins an exchange. `random` is drawn for it alone.
    pub fn new(mechanism: Mechanism, random: [u8; NONCE]) -> Exchange {
        let scram = |hash| {
            let nonce = random.iter().map(|byte| format!("{byte:02x}")).collect();
            State::ScramBegun(scram::Begun { hash, nonce })
        };
        Exchange(match mechanism {
            Mechanism::ScramSha256 => scram(Hash::Sha256),
            Mechanism::ScramSha512 => scram(Hash::Sha512),
            Mechanism::Plain => State::PlainBegun,
            Mechanism::OAuthBearer => State::OAuthBearerBegun,
        })
    }

    /// Takes the client's next token.
    pub fn step(&mut self, token: &[u8], known: Known<'_>) -> Step {
        let Known { credentials, issuers, now_ms } = known;
        let step = match std::mem::replace(&mut self.0, State::Over) {
            State::ScramBegun(begun) => begun.first(token, credentials).map(|(answer, challenged)| {
                self.0 = State::ScramChallenged(Box::new(challenged));
                Step::Challenge(answer.into_bytes())
            }),
            State::ScramChallenged(challenged) => {
                challenged.last(token).map(|(answer, identity)| Step::Done(answer.into_bytes(), identity))
            }
            State::PlainBegun => plain::parse(token, credentials).map(|check| Step::Check(Box::new(check))),
            State::OAuthBearerBegun => match oauthbearer::first(token, issuers, now_ms) {
                Err(reason @ Reason::Token(_)) => {
                    self.0 = State::OAuthBearerRefused(reason);
                    Ok(Step::Challenge(oauthbearer::INVALID_TOKEN.into()))
                }
                outcome => outcome.map(|identity| Step::Done(Vec::new(), identity)),
            },
            State::OAuthBearerRefused(reason) if oauthbearer::acknowledges(token) => Err(reason),
            State::OAuthBearerRefused(_) => Err(Reason::Malformed),
            State::Over => Err(Reason::Over),
        };
        step.unwrap_or_else(Step::Failed)
    }
}
