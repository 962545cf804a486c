//! AddPartitionsToTxn: partitions become part of a transaction before its first records are written there.
//!
//! Clients send versions 0–3, about one transaction. Versions 4 and 5 are for brokers (KIP-890): partition leaders ask
//! about the transactions of many producers, and may only want to know whether a partition is in one.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = AddPartitionsToTxn, versions = "0-5", flexible = "3+")]
pub struct AddPartitionsToTxnRequest {
    #[wire(versions = "4+")]
    pub transactions: Vec<AddPartitionsToTxnTransaction>,
    #[wire(versions = "0-3")]
    pub v3_and_below_transactional_id: Str,
    #[wire(versions = "0-3")]
    pub v3_and_below_producer_id: i64,
    #[wire(versions = "0-3")]
    pub v3_and_below_producer_epoch: i16,
    #[wire(versions = "0-3")]
    pub v3_and_below_topics: Vec<AddPartitionsToTxnTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AddPartitionsToTxnTransaction {
    pub transactional_id: Str,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Whether to say only if the partitions are in the transaction, and not to add them.
    pub verify_only: bool,
    pub topics: Vec<AddPartitionsToTxnTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AddPartitionsToTxnTopic {
    pub name: Str,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = AddPartitionsToTxn)]
pub struct AddPartitionsToTxnResponse {
    pub throttle_time_ms: i32,
    /// Of the request as a whole: the sender is no broker.
    #[wire(versions = "4+")]
    pub error_code: ErrorCode,
    #[wire(versions = "4+")]
    pub results_by_transaction: Vec<AddPartitionsToTxnResult>,
    #[wire(versions = "0-3")]
    pub results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AddPartitionsToTxnResult {
    pub transactional_id: Str,
    pub topic_results: Vec<AddPartitionsToTxnTopicResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AddPartitionsToTxnTopicResult {
    pub name: Str,
    pub results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AddPartitionsToTxnPartitionResult {
    pub partition_index: i32,
    pub partition_error_code: ErrorCode,
}
