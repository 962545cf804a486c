//! InitProducerId: an identity by which a broker recognises repeated batches of a producer.
//!
//! Kafka has a version 6 for two-phase commit, which is unstable: clients would use it if it were advertised.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = InitProducerId, versions = "0-5", flexible = "2+")]
pub struct InitProducerIdRequest {
    /// Null for a producer without transactions.
    #[wire(nullable)]
    pub transactional_id: Option<Str>,
    /// A transaction that is open for longer is aborted.
    pub transaction_timeout_ms: i32,
    /// With the epoch: to bump the epoch of an identity the producer already has (KIP-360). Else −1.
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
