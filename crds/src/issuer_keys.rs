//! The public keys of an issuer of tokens: the format between the operator, which reads them, and brokers.

use serde::{Deserialize, Serialize};

/// An entry of the ConfigMap [`issuer_keys`](crate::names::issuer_keys).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerKeys {
    /// The issuer's name, as in the claim `iss`; absent: the one in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Its keys: a JWKS (RFC 7517), as it was read.
    pub jwks: String,
}
