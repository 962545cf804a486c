//! AddOffsetsToTxn: the offsets of a group become part of a transaction before the first is committed in it.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = AddOffsetsToTxn, versions = "0-4", flexible = "3+")]
pub struct AddOffsetsToTxnRequest {
    pub transactional_id: Str,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub group_id: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = AddOffsetsToTxn)]
pub struct AddOffsetsToTxnResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
}
