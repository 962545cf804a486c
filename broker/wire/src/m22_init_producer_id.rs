//! InitProducerId.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = InitProducerId, versions = "0-5", flexible = "2+")]
pub struct InitProducerIdRequest {
    #[wire(nullable)]
    pub transactional_id: Option<Str>,
    pub transaction_timeout_ms: i32,
    #[wire(versions = "3+", default = -1)]
    pub producer_id: i64,
    #[wire(versions = "3+", default = -1)]
    pub producer_epoch: i16,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = InitProducerId)]
pub struct InitProducerIdResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(default = -1)]
    pub producer_id: i64,
    pub producer_epoch: i16,
}
