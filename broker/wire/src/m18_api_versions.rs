//! ApiVersions: what a client asks first, to learn which versions of the other APIs it may use.
//!
//! A client begins with the newest version it has, which may be newer than ours. It is answered all the same, in
//! version 0, and asks again (KIP-511).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::message::ApiKey;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ApiVersions, versions = "0-4", flexible = "3+")]
pub struct ApiVersionsRequest {
    #[wire(versions = "3+")]
    pub client_software_name: Str,
    #[wire(versions = "3+")]
    pub client_software_version: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ApiVersions)]
pub struct ApiVersionsResponse {
    pub error_code: ErrorCode,
    pub api_keys: Vec<ApiVersion>,
    #[wire(versions = "1+")]
    pub throttle_time_ms: i32,
    /// Before version 4, without those whose minimum is 0: older Java clients throw at them (KAFKA-17011).
    #[wire(versions = "3+", tag = 0)]
    pub supported_features: Vec<SupportedFeatureKey>,
    /// −1 makes clients ignore the finalized features.
    #[wire(versions = "3+", tag = 1, default = -1)]
    pub finalized_features_epoch: i64,
    #[wire(versions = "3+", tag = 2)]
    pub finalized_features: Vec<FinalizedFeatureKey>,
    #[wire(versions = "3+", tag = 3)]
    pub zk_migration_ready: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ApiVersion {
    pub api_key: i16,
    pub min_version: i16,
    pub max_version: i16,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct SupportedFeatureKey {
    pub name: Str,
    pub min_version: i16,
    pub max_version: i16,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct FinalizedFeatureKey {
    pub name: Str,
    pub max_version_level: i16,
    pub min_version_level: i16,
}

impl ApiVersionsResponse {
    /// The answer, to be sent in version 0, to a version that we don't know: the versions of this API alone.
    pub fn unsupported_version() -> Self {
        Self {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            api_keys: vec![ApiVersion::of(ApiKey::ApiVersions)],
            ..Self::default()
        }
    }
}

impl ApiVersion {
    /// What we say of an API to clients.
    pub fn of(key: ApiKey) -> Self {
        let (min, max) = key.versions().into_inner();
        // librdkafka before 2.11.1 compresses only if it sees version 0 of Produce, which it never uses (KAFKA-18659).
        let min_version = if key == ApiKey::Produce { 0 } else { min };
        Self { api_key: key as i16, min_version, max_version: max }
    }
}
