//! What comes of an exchange: an identity, or the reason why there is none.

use super::verifier::Proof;
use crate::Principal;

/// Who was let in. Has no `Debug`, because a proof has none.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who the client is.
    pub principal: Principal,
    /// The uid of its KafkaUser; `None`: an issuer's word is enough. The client is let in as long as there is a user
    /// with this name and uid.
    pub uid: Option<String>,
    /// When what it has shown expires, in milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
    /// The password that the client has proven to know; `None`: it has proven something else.
    pub proof: Option<Proof>,
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
    /// Too many passwords wait to be checked: nobody has looked at this one.
    Busy,
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
            Reason::Busy => "busy",
        }
    }
}

/// Why a token is not good. Only log and metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// It is no signed JWT, or one with a header that is not served.
    Malformed,
    /// It is of an issuer that is not known here.
    Issuer,
    /// None of the issuer's keys is the one that it names, or of its algorithm.
    Key,
    /// The key has not signed it.
    Signature,
    /// It is for somebody else.
    Audience,
    /// It is expired, not good yet, or does not say when it expires and was issued.
    Time,
    /// It does not say whose it is, or the issuer must not issue tokens for such a name.
    Name,
}

impl TokenFault {
    /// A label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            TokenFault::Malformed => "token_malformed",
            TokenFault::Issuer => "token_issuer",
            TokenFault::Key => "token_key",
            TokenFault::Signature => "token_signature",
            TokenFault::Audience => "token_audience",
            TokenFault::Time => "token_time",
            TokenFault::Name => "token_name",
        }
    }
}
