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
