//! What must always hold, by name: [`property`](crate::property) says what it means.

/// What was answered as committed counts in both partitions, as soon as the transaction is complete.
pub const COMMITTED: &str = "what was answered as committed counts, in every partition";
/// What was answered as aborted counts nowhere.
pub const ABORTED: &str = "what was answered as aborted counts in no partition";
/// A transaction has one outcome.
pub const ATOMIC: &str = "a transaction has the same outcome in every partition";
/// A fenced producer has nothing of its successor.
pub const ONE_PRODUCER: &str = "an identity belongs to one producer";
/// The decision is made once.
pub const DECIDED_ONCE: &str = "a transaction is decided once";
/// Records follow the decision.
pub const AS_DECIDED: &str = "records have the outcome that was decided for their transaction";
/// Nothing of a fenced producer, or of an earlier transaction, gets into a later one.
pub const OWN_RECORDS: &str = "a transaction ends with its own records alone";
/// No transaction hangs.
pub const NONE_HANGS: &str = "a transaction is open in a partition only while its coordinator knows it";
/// A replaced coordinator changes nothing.
pub const REPLACED: &str = "behind the marker of a coordinator is none of one before it";
/// Requests are taken for what they are.
pub const OWN_REQUESTS: &str = "a request changes no other transaction than its own";
/// Readers of committed records see what is decided.
pub const STABLE: &str = "what readers of committed records see is decided for good";
