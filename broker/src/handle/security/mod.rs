//! Who clients are, and what a cluster without an authorizer answers to requests about permissions.

pub(super) mod acls;
pub(super) mod client_quotas;
pub(super) mod delegation_tokens;
mod out_of_order;
pub(super) mod sasl;
pub(super) mod scram_credentials;
