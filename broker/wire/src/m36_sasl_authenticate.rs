//! SaslAuthenticate: a client's next token, and the broker's (KIP-152).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

/// The token may be a password: `Debug` does not print it.
#[derive(Clone, PartialEq, Message)]
#[wire(request = SaslAuthenticate, versions = "0-2", flexible = "2+")]
pub struct SaslAuthenticateRequest {
    pub auth_bytes: Bytes,
}

impl std::fmt::Debug for SaslAuthenticateRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SaslAuthenticateRequest {{ {} bytes }}", self.auth_bytes.len())
    }
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = SaslAuthenticate)]
pub struct SaslAuthenticateResponse {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub auth_bytes: Bytes,
    /// For how long the client may use the connection before it must authenticate again (KIP-368); 0: as long as it
    /// likes.
    #[wire(versions = "1+")]
    pub session_lifetime_ms: i64,
}
