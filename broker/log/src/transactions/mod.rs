//! The transactions of one partition, as its log shows them (KIP-98).
//!
//! * [`undecided`]: those that keep readers with isolation level read_committed waiting
//! * [`markers`]: the records that end them
//! * [`verification`]: whether the coordinator knows them
//! * [`index`]: the aborted ones of a segment; [`search`]: those of a range of offsets

pub(crate) mod index;
pub(crate) mod markers;
pub(crate) mod search;
pub(crate) mod undecided;
pub(crate) mod verification;

pub use index::AbortedTransaction;
pub use search::AbortedSearch;
pub use undecided::Ended;
pub use verification::{Verification, VerificationGuard};
