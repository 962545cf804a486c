//! AlterClientQuotas: changes how much users, client ids and addresses may do (KIP-546).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::m48_describe_client_quotas::QuotaEntity;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = AlterClientQuotas, versions = "0-1", flexible = "1+")]
pub struct AlterClientQuotasRequest {
    pub entries: Vec<QuotaAlteration>,
    pub validate_only: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuotaAlteration {
    pub entity: Vec<QuotaEntity>,
    pub ops: Vec<QuotaOp>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuotaOp {
    pub key: Str,
    /// Of no meaning if the quota is to be removed.
    pub value: f64,
    pub remove: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = AlterClientQuotas)]
pub struct AlterClientQuotasResponse {
    pub throttle_time_ms: i32,
    pub entries: Vec<QuotaAlterationResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuotaAlterationResult {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub entity: Vec<QuotaEntity>,
}
