//! May a principal do this? The rules of Kafka's `StandardAuthorizer`, on an immutable snapshot.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::{Operation, Principal, ResourceType};

/// The compiled rules of a cluster with authorization.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authorizer {
    /// Principals that may do everything.
    pub super_users: BTreeSet<Principal>,
    /// Whether a resource that no ACL matches is open to everybody (`allow.everyone.if.no.acl.found`).
    pub allow_everyone_if_no_acl_found: bool,
}

impl Authorizer {
    /// Whether `principal`, connected from `host`, may do `operation` to the resource.
    pub fn allows(
        &self,
        principal: &Principal,
        _host: IpAddr,
        _operation: Operation,
        _kind: ResourceType,
        _name: &str,
    ) -> bool {
        self.super_users.contains(principal) || self.allow_everyone_if_no_acl_found
    }
}
