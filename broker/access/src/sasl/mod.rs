//! SASL mechanisms as state machines: a token in, an answer out.
//!
//! | module | its job |
//! |---|---|
//! | [`mechanism`] | the mechanisms and their names |
//! | [`outcome`] | whom an exchange lets in, or why it does not |
//! | [`exchange`] | one client's exchange of tokens, whatever the mechanism |
//! | [`verifier`] | what is kept of a password |
//! | [`credentials`] | the users of a cluster and their verifiers |
//! | `decoys` | what a name without a password is shown |
//! | [`scram`] | SCRAM (RFC 5802, RFC 7677): the broker's side and the client's |
//! | [`plain`] | PLAIN (RFC 4616) |
//! | [`oauthbearer`] | OAUTHBEARER (RFC 7628) |
//! | [`issuers`] | which tokens of issuers are good |

pub mod credentials;
mod decoys;
pub mod exchange;
pub mod issuers;
pub mod mechanism;
pub mod oauthbearer;
pub mod outcome;
pub mod plain;
pub mod scram;
pub mod verifier;

pub use credentials::{Credentials, CredentialsEntry, User};
pub use exchange::{Exchange, LoginInputs, SaslStep};
pub use issuers::{Issuer, Issuers, Keys};
pub use mechanism::Mechanism;
pub use outcome::{Identity, Reason, TokenFault};
pub use verifier::{Hash, Proof, Verifier};
