//! Which requests of a connection are allowed while its client says who it is, and for how long it may stay: the order
//! of Kafka's `SaslServerAuthenticator`, and re-authentication (KIP-368).
//!
//! The host does what [`Login::admit`] says of each request, and reports what came of handshakes and tokens. What is in
//! the tokens is the business of [`sasl`](crate::sasl).

use std::time::{Duration, Instant};

use ottla_wire::ApiKey;

use crate::Principal;
use crate::sasl::Mechanism;

/// The least time between two re-authentications of a connection, as in Kafka.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// How far a connection's client has come with saying who it is.
#[derive(Clone, Debug)]
pub struct Login {
    stage: Stage,
    session: Option<Session>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No client says who it is here, or its certificate has said it.
    Settled,
    /// Before the handshake.
    Begun {
        /// Whether ApiVersions was answered, which happens only once.
        versions_answered: bool,
    },
    /// Tokens are exchanged.
    Tokens { mechanism: Mechanism, raw: bool },
    /// A mechanism that is not the session's was asked for: the next request ends the connection.
    OtherMechanism,
    /// Done, by SASL.
    Done,
    /// Failed: nothing more is served.
    Failed,
}

/// Who was let in by SASL.
#[derive(Clone, Debug)]
struct Session {
    principal: Principal,
    mechanism: Mechanism,
    /// When the client last began to renew it; `None`: it never has.
    renewed: Option<Instant>,
    /// Until when requests are served; `None`: as long as the client likes.
    expires: Option<Instant>,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Serve it.
    Serve,
    /// It is a SaslHandshake: call [`Login::handshake`].
    Handshake,
    /// It is a SaslAuthenticate with the next token.
    Token,
    /// Answer ILLEGAL_SASL_STATE, and keep the connection.
    IllegalState,
    /// Answer ILLEGAL_SASL_STATE, then end the connection.
    IllegalStateAndClose,
    /// End the connection.
    Close(Closing),
}

/// Why a connection ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A request that is not allowed before the client has said who it is.
    NotAllowedYet,
    /// The session's time is over, and the client has not authenticated again.
    Expired,
    /// The client wanted to authenticate again with another mechanism.
    OtherMechanism,
}

/// What is to be answered to a SaslHandshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// No error: tokens follow.
    Begin(Mechanism),
    /// No error; the next request will end the connection.
    Pretend,
    /// UNSUPPORTED_SASL_MECHANISM, then the end of the connection.
    Unsupported,
}

impl Login {
    /// A client that needs not say who it is, or whose certificate has said it.
    pub fn settled() -> Login {
        Login { stage: Stage::Settled, session: None }
    }

    /// A client that must authenticate by SASL.
    pub fn begun() -> Login {
        Login { stage: Stage::Begun { versions_answered: false }, session: None }
    }

    /// Whether the client's requests are served.
    pub fn is_done(&self) -> bool {
        match self.stage {
            Stage::Settled | Stage::Done => true,
            Stage::Begun { .. } | Stage::Failed => false,
            Stage::Tokens { .. } | Stage::OtherMechanism => self.session.is_some(),
        }
    }

    /// Whether the client is anonymous or has never been let in: its frames are small, and few.
    pub fn is_stranger(&self) -> bool {
        self.stage != Stage::Settled && self.session.is_none()
    }

    /// Who was let in by SASL; `None`: nobody was.
    pub fn principal(&self) -> Option<&Principal> {
        self.session.as_ref().map(|session| &session.principal)
    }

    /// The mechanism of the exchange that is under way, if its tokens come without headers (handshake version 0).
    pub fn expects_raw_token(&self) -> bool {
        matches!(self.stage, Stage::Tokens { raw: true, .. })
    }

    /// The mechanism of the exchange that is under way; `None`: no exchange is.
    pub fn mechanism(&self) -> Option<Mechanism> {
        match self.stage {
            Stage::Tokens { mechanism, .. } => Some(mechanism),
            Stage::Settled | Stage::Begun { .. } | Stage::OtherMechanism | Stage::Done | Stage::Failed => None,
        }
    }

    /// What is to be done with a request of `api`.
    pub fn admit(&mut self, api: ApiKey, now: Instant) -> Admission {
        match self.stage {
            Stage::Settled => match api {
                ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => Admission::IllegalState,
                _ => Admission::Serve,
            },
            Stage::Begun { versions_answered } => match api {
                ApiKey::ApiVersions if !versions_answered => Admission::Serve,
                ApiKey::SaslHandshake => Admission::Handshake,
                _ => Admission::Close(Closing::NotAllowedYet),
            },
            Stage::Tokens { .. } => match api {
                ApiKey::SaslAuthenticate => Admission::Token,
                _ => Admission::IllegalStateAndClose,
            },
            Stage::OtherMechanism => Admission::Close(Closing::OtherMechanism),
            Stage::Failed => Admission::Close(Closing::NotAllowedYet),
            Stage::Done => self.admit_again(api, now),
        }
    }

    /// What is to be done with a request of a client that was let in.
    fn admit_again(&self, api: ApiKey, now: Instant) -> Admission {
        let Some(session) = &self.session else { return Admission::Close(Closing::NotAllowedYet) };
        let is_soon = session.renewed.is_some_and(|renewed| now < renewed + MIN_INTERVAL);
        let may_begin = session.expires.is_some() && !is_soon;
        match api {
            ApiKey::SaslHandshake if may_begin => Admission::Handshake,
            _ if session.expires.is_some_and(|expires| expires < now) => Admission::Close(Closing::Expired),
            ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => Admission::IllegalState,
            _ => Admission::Serve,
        }
    }

    /// ApiVersions was answered without an error.
    pub fn versions_answered(&mut self) {
        if let Stage::Begun { versions_answered } = &mut self.stage {
            *versions_answered = true;
        }
    }

    /// What a SaslHandshake for the mechanism of this name, in this version, begins. `offered`: those of the listener.
    pub fn handshake(&mut self, name: &str, version: i16, offered: &[Mechanism], now: Instant) -> Handshake {
        let mechanism = offered.iter().copied().find(|mechanism| mechanism.name() == name);
        let Some(mechanism) = mechanism else {
            self.stage = Stage::Failed;
            return Handshake::Unsupported;
        };
        if let Some(session) = &mut self.session {
            if session.mechanism != mechanism {
                self.stage = Stage::OtherMechanism;
                return Handshake::Pretend;
            }
            session.renewed = Some(now);
        }
        self.stage = Stage::Tokens { mechanism, raw: version == 0 };
        Handshake::Begin(mechanism)
    }

    /// The exchange has ended well, and the session may last for `lifetime`. False: the client was somebody else
    /// before, which is a failure.
    pub fn succeeded(&mut self, principal: Principal, lifetime: Option<Duration>, now: Instant) -> bool {
        let Stage::Tokens { mechanism, .. } = self.stage else { return false };
        if self.session.as_ref().is_some_and(|session| session.principal != principal) {
            self.failed();
            return false;
        }
        let renewed = self.session.as_ref().and_then(|session| session.renewed);
        self.session =
            Some(Session { principal, mechanism, renewed, expires: lifetime.map(|lifetime| now + lifetime) });
        self.stage = Stage::Done;
        true
    }

    /// The exchange has failed: the connection ends.
    pub fn failed(&mut self) {
        self.stage = Stage::Failed;
    }
}

/// How long a session lasts: until the token expires, if it does, and no longer than `connections.max.reauth.ms`, if
/// that is set. `None`: as long as the client likes.
pub fn lifetime(token_expires_in: Option<Duration>, max_reauth: Option<Duration>) -> Option<Duration> {
    token_expires_in.into_iter().chain(max_reauth).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OFFERED: [Mechanism; 2] = [Mechanism::ScramSha512, Mechanism::Plain];

    fn alice() -> Principal {
        Principal::new("alice")
    }

    /// A client that was let in at `now`.
    fn in_for(lifetime: Option<Duration>, now: Instant) -> Login {
        let mut login = Login::begun();
        assert_eq!(login.handshake("PLAIN", 1, &OFFERED, now), Handshake::Begin(Mechanism::Plain));
        assert!(login.succeeded(alice(), lifetime, now));
        login
    }

    #[test]
    fn before_the_handshake_a_client_asks_for_versions_once_and_nothing_else_is_served() {
        let now = Instant::now();
        let mut login = Login::begun();
        assert_eq!(login.admit(ApiKey::ApiVersions, now), Admission::Serve);
        // The version was not known: the client asks again.
        assert_eq!(login.admit(ApiKey::ApiVersions, now), Admission::Serve);
        login.versions_answered();
        let close = Admission::Close(Closing::NotAllowedYet);
        for api in ApiKey::ALL {
            let expected = if *api == ApiKey::SaslHandshake { Admission::Handshake } else { close };
            assert_eq!(login.admit(*api, now), expected, "{api:?}");
        }
        assert!(login.is_stranger() && !login.is_done());
    }

    #[test]
    fn among_tokens_every_other_request_is_out_of_order() {
        let now = Instant::now();
        let mut login = Login::begun();
        assert_eq!(login.handshake("SCRAM-SHA-512", 1, &OFFERED, now), Handshake::Begin(Mechanism::ScramSha512));
        for api in ApiKey::ALL {
            let is_token = *api == ApiKey::SaslAuthenticate;
            let expected = if is_token { Admission::Token } else { Admission::IllegalStateAndClose };
            assert_eq!(login.admit(*api, now), expected, "{api:?}");
        }
        login.failed();
        assert_eq!(login.admit(ApiKey::SaslAuthenticate, now), Admission::Close(Closing::NotAllowedYet));
    }

    #[test]
    fn only_offered_mechanisms_begin() {
        let now = Instant::now();
        for name in ["SCRAM-SHA-256", "plain", "", "GSSAPI"] {
            let mut login = Login::begun();
            assert_eq!(login.handshake(name, 1, &OFFERED, now), Handshake::Unsupported, "{name}");
            assert_eq!(login.admit(ApiKey::SaslHandshake, now), Admission::Close(Closing::NotAllowedYet), "{name}");
        }
        let mut login = Login::begun();
        login.handshake("PLAIN", 0, &OFFERED, now);
        assert!(login.expects_raw_token());
    }

    #[test]
    fn a_session_without_an_end_is_never_authenticated_again() {
        let now = Instant::now();
        let mut login = in_for(None, now);
        let later = now + 1000 * SECOND;
        assert_eq!(login.admit(ApiKey::SaslHandshake, later), Admission::IllegalState);
        assert_eq!(login.admit(ApiKey::SaslAuthenticate, later), Admission::IllegalState);
        assert_eq!(login.admit(ApiKey::Produce, later), Admission::Serve);
    }

    #[test]
    fn a_session_that_ends_may_be_renewed_once_a_second_also_when_it_has_ended() {
        let now = Instant::now();
        let mut login = in_for(Some(10 * SECOND), now);
        // With a token of which little is left, a client must renew its first session at once.
        assert_eq!(login.admit(ApiKey::SaslHandshake, now), Admission::Handshake);
        assert_eq!(login.admit(ApiKey::Fetch, now + 10 * SECOND), Admission::Serve);
        assert_eq!(login.admit(ApiKey::Fetch, now + 11 * SECOND), Admission::Close(Closing::Expired));
        assert_eq!(login.admit(ApiKey::SaslHandshake, now + 11 * SECOND), Admission::Handshake);
        login.handshake("PLAIN", 1, &OFFERED, now + 11 * SECOND);
        assert!(login.is_done() && !login.is_stranger());
        assert!(login.succeeded(alice(), Some(10 * SECOND), now + 11 * SECOND));
        assert_eq!(login.admit(ApiKey::Fetch, now + 20 * SECOND), Admission::Serve);
        assert_eq!(login.admit(ApiKey::SaslHandshake, now + 11 * SECOND + SECOND / 2), Admission::IllegalState);
    }

    #[test]
    fn a_client_stays_who_it_is_and_with_its_mechanism() {
        let now = Instant::now();
        let mut login = in_for(Some(10 * SECOND), now);
        login.handshake("PLAIN", 1, &OFFERED, now + SECOND);
        assert!(!login.succeeded(Principal::new("bob"), None, now + SECOND));
        assert!(!login.is_done());
        let mut login = in_for(Some(10 * SECOND), now);
        assert_eq!(login.handshake("SCRAM-SHA-512", 1, &OFFERED, now + SECOND), Handshake::Pretend);
        let close = Admission::Close(Closing::OtherMechanism);
        assert_eq!(login.admit(ApiKey::SaslAuthenticate, now + SECOND), close);
    }

    #[test]
    fn a_session_lasts_until_the_first_of_its_ends() {
        for (token, max, expected) in [
            (None, None, None),
            (Some(SECOND), None, Some(SECOND)),
            (None, Some(SECOND), Some(SECOND)),
            (Some(3 * SECOND), Some(SECOND), Some(SECOND)),
            (Some(SECOND), Some(3 * SECOND), Some(SECOND)),
        ] {
            assert_eq!(lifetime(token, max), expected, "{token:?} {max:?}");
        }
    }

    #[test]
    fn where_nobody_says_who_it_is_sasl_is_out_of_order() {
        let mut login = Login::settled();
        assert_eq!(login.admit(ApiKey::SaslHandshake, Instant::now()), Admission::IllegalState);
        assert_eq!(login.admit(ApiKey::Metadata, Instant::now()), Admission::Serve);
        assert_eq!(login.principal(), None);
    }
}
