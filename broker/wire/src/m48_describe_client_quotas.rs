//! DescribeClientQuotas: how much users, client ids and addresses may do (KIP-546).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeClientQuotas, versions = "0-1", flexible = "1+")]
pub struct DescribeClientQuotasRequest {
    pub components: Vec<QuotaComponent>,
    /// Whether entities with other components are left out.
    pub strict: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuotaComponent {
    /// `user`, `client-id` or `ip`.
    pub entity_type: Str,
    /// 0: the name in `match_name`; 1: the default; 2: every name and the default.
    pub match_type: i8,
    #[wire(nullable)]
    pub match_name: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeClientQuotas)]
pub struct DescribeClientQuotasResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    /// Null with an error.
    #[wire(nullable)]
    pub entries: Option<Vec<QuotaEntry>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuotaEntry {
    pub entity: Vec<QuotaEntity>,
    pub values: Vec<QuotaValue>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuotaEntity {
    /// `user`, `client-id` or `ip`.
    pub entity_type: Str,
    /// Null for the default.
    #[wire(nullable)]
    pub entity_name: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuotaValue {
    pub key: Str,
    pub value: f64,
}
