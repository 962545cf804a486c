//! EndTxn: commits or aborts a transaction. From version 5 on each end gives the producer the epoch of its next
//! transaction (KIP-890).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = EndTxn, versions = "0-5", flexible = "3+")]
pub struct EndTxnRequest {
    pub transactional_id: Str,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Else it is aborted.
    pub committed: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = EndTxn)]
pub struct EndTxnResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    /// The producer of the next transaction, or −1 with an error.
    #[wire(versions = "5+", default = -1)]
    pub producer_id: i64,
    #[wire(versions = "5+", default = -1)]
    pub producer_epoch: i16,
}
