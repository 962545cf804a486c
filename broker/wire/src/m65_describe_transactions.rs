//! DescribeTransactions: the state of transactional ids, from their coordinator.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeTransactions, versions = "0-0", flexible = "0+")]
pub struct DescribeTransactionsRequest {
    pub transactional_ids: Vec<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeTransactions)]
pub struct DescribeTransactionsResponse {
    pub throttle_time_ms: i32,
    pub transaction_states: Vec<DescribedTransactionState>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedTransactionState {
    pub error_code: ErrorCode,
    pub transactional_id: Str,
    pub transaction_state: Str,
    pub transaction_timeout_ms: i32,
    /// Milliseconds since 1970, or −1.
    pub transaction_start_time_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Those that lack a marker, once the outcome is decided.
    pub topics: Vec<DescribedTransactionTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedTransactionTopic {
    pub topic: Str,
    pub partitions: Vec<i32>,
}
