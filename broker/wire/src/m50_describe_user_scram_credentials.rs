//! DescribeUserScramCredentials: which users have passwords, and for which mechanisms (KIP-554).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeUserScramCredentials, versions = "0", flexible = "0+")]
pub struct DescribeUserScramCredentialsRequest {
    /// Null or empty for all.
    #[wire(nullable)]
    pub users: Option<Vec<ScramUserName>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ScramUserName {
    pub name: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeUserScramCredentials)]
pub struct DescribeUserScramCredentialsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub results: Vec<ScramUserDescription>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ScramUserDescription {
    pub user: Str,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub credential_infos: Vec<ScramCredentialInfo>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ScramCredentialInfo {
    /// 1: SCRAM-SHA-256; 2: SCRAM-SHA-512.
    pub mechanism: i8,
    pub iterations: i32,
}
