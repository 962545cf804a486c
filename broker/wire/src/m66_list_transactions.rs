//! ListTransactions: the transactional ids that a broker coordinates.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ListTransactions, versions = "0-2", flexible = "0+")]
pub struct ListTransactionsRequest {
    /// Any of these states; any at all if there are none.
    pub state_filters: Vec<Str>,
    /// Any of these producer ids; any at all if there are none.
    pub producer_id_filters: Vec<i64>,
    /// Open for longer than this, in milliseconds; −1: any.
    #[wire(versions = "1+", default = -1)]
    pub duration_filter: i64,
    /// A regular expression that the whole id matches; null: any (KIP-1152).
    #[wire(versions = "2+", nullable)]
    pub transactional_id_pattern: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ListTransactions)]
pub struct ListTransactionsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    /// Of the states asked for, those that there are not.
    pub unknown_state_filters: Vec<Str>,
    pub transaction_states: Vec<ListedTransactionState>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListedTransactionState {
    pub transactional_id: Str,
    pub producer_id: i64,
    pub transaction_state: Str,
}
