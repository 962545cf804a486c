//! Transactions: whether a transactional batch may be appended.
//!
//! - [`verifier`]: asks the transaction coordinators of this broker and of others

pub mod verifier;
