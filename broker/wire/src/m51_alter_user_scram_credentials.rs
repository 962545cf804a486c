//! AlterUserScramCredentials: gives users passwords, and takes them away (KIP-554).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = AlterUserScramCredentials, versions = "0", flexible = "0+")]
pub struct AlterUserScramCredentialsRequest {
    pub deletions: Vec<ScramCredentialDeletion>,
    pub upsertions: Vec<ScramCredentialUpsertion>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ScramCredentialDeletion {
    pub name: Str,
    /// 1: SCRAM-SHA-256; 2: SCRAM-SHA-512.
    pub mechanism: i8,
}

/// Who has the salted password can log in with it: `Debug` does not print it.
#[derive(Clone, PartialEq, Message)]
pub struct ScramCredentialUpsertion {
    pub name: Str,
    /// 1: SCRAM-SHA-256; 2: SCRAM-SHA-512.
    pub mechanism: i8,
    pub iterations: i32,
    pub salt: Bytes,
    pub salted_password: Bytes,
}

impl std::fmt::Debug for ScramCredentialUpsertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramCredentialUpsertion {{ {:?}, mechanism {} }}", self.name, self.mechanism)
    }
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = AlterUserScramCredentials)]
pub struct AlterUserScramCredentialsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<ScramAlterationResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ScramAlterationResult {
    pub user: Str,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
}
