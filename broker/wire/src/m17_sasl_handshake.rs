//! SaslHandshake: with which mechanism a client will say who it is (KIP-43).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

/// In version 0 the tokens follow without headers, each with its length in front; from version 1 on in
/// [`SaslAuthenticateRequest`](crate::SaslAuthenticateRequest)s (KIP-152).
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = SaslHandshake, versions = "0-1")]
pub struct SaslHandshakeRequest {
    pub mechanism: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = SaslHandshake)]
pub struct SaslHandshakeResponse {
    pub error_code: ErrorCode,
    /// Those that the listener has.
    pub mechanisms: Vec<Str>,
}
