//! May a principal do this? The rules of Kafka's `StandardAuthorizer`, on an immutable snapshot.
//!
//! Super users first, then any denial, then what is allowed. Each question takes a probe of a hash table for the name,
//! one for the wildcard, and one for each length of prefix that occurs; so there is no cache but
//! [`Questions`](crate::Questions).

use std::collections::BTreeSet;
use std::net::IpAddr;

use hashbrown::HashMap;
use ottla_wire::Str;

use crate::acl::{Acl, AclHost, AclOperation, PatternType, Permission, WILDCARD};
use crate::{Operation, Principal, ResourceType};

/// May this client do this to that resource?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who the client is.
    pub principal: &'a Principal,
    /// From where it is connected.
    pub host: IpAddr,
    /// What it wants to do.
    pub operation: Operation,
    /// The type of the resource.
    pub kind: ResourceType,
    /// The name of the resource.
    pub name: &'a str,
}

/// Operations, as bits by Kafka's codes.
type Operations = u16;

const EVERY: Operations = Operations::MAX;

/// The compiled rules of a cluster with authorization.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authorizer {
    super_users: BTreeSet<Principal>,
    /// Whether a resource that no ACL matches is open to everybody.
    allow_everyone_if_no_acl_found: bool,
    /// Every entry, sorted, each once.
    acls: Vec<Acl>,
    topics: Patterns,
    groups: Patterns,
    cluster: Patterns,
    transactional_ids: Patterns,
    delegation_tokens: Patterns,
    users: Patterns,
}

/// The entries of one type of resource, by what they stand for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Patterns {
    literal: HashMap<Str, Entries>,
    prefixed: HashMap<Str, Entries>,
    /// The lengths of all prefixes in bytes, rising.
    prefix_lengths: Vec<usize>,
}

/// The entries of one pattern.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entries {
    /// Of the principal [`WILDCARD`].
    of_everybody: Grants,
    of_principals: HashMap<Principal, Grants>,
}

/// What the entries of one pattern and principal say.
#[derive(Clone, Debug, Default, PartialEq)]
struct Grants {
    from_anywhere: Verdicts,
    from_hosts: HashMap<IpAddr, Verdicts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Verdicts {
    allowed: Operations,
    denied: Operations,
}

/// What has been found out about a question so far.
#[derive(Default)]
struct Findings {
    verdicts: Verdicts,
    /// Whether any entry of anybody matches the resource.
    any_entry: bool,
}

impl Authorizer {
    /// Compiles the rules.
    ///
    /// `super_users` may do everything. `allow_everyone_if_no_acl_found`: whether a resource that no entry matches is
    /// open to everybody (Kafka's setting `allow.everyone.if.no.acl.found`).
    pub fn new(
        super_users: impl IntoIterator<Item = Principal>,
        allow_everyone_if_no_acl_found: bool,
        acls: impl IntoIterator<Item = Acl>,
    ) -> Authorizer {
        let acls: BTreeSet<Acl> = acls.into_iter().collect();
        let mut authorizer = Authorizer {
            super_users: super_users.into_iter().collect(),
            allow_everyone_if_no_acl_found,
            ..Authorizer::default()
        };
        for acl in &acls {
            authorizer.patterns_mut(acl.kind).add(acl);
        }
        for kind in ResourceType::ALL {
            authorizer.patterns_mut(kind).measure_prefixes();
        }
        authorizer.acls = acls.into_iter().collect();
        authorizer
    }

    /// Every entry, sorted, each once.
    pub fn acls(&self) -> &[Acl] {
        &self.acls
    }

    /// Whether it may.
    pub fn allows(&self, question: Question<'_>) -> bool {
        let Question { principal, host, operation, kind, name } = question;
        if self.super_users.contains(principal) {
            return true;
        }
        self.is_allowed(&self.findings(principal, host, kind, name), operation)
    }

    /// The operations out of `operations` that `principal` may do to the resource, as bits by Kafka's codes (KIP-430).
    pub fn allowed(
        &self,
        principal: &Principal,
        host: IpAddr,
        operations: &[Operation],
        kind: ResourceType,
        name: &str,
    ) -> i32 {
        let is_super = self.super_users.contains(principal);
        let findings = self.findings(principal, host, kind, name);
        let allowed = operations.iter().filter(|operation| is_super || self.is_allowed(&findings, **operation));
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }

    /// Whether there may be a resource of the type to which `principal` may do `operation`: Kafka's
    /// `authorizeByResourceType`. An operation that is implied by another one does not count, as there.
    pub fn allows_any(&self, principal: &Principal, host: IpAddr, operation: Operation, kind: ResourceType) -> bool {
        // Kafka's own name for a resource that no entry names: so super users, and clusters that allow what no entry
        // matches.
        if self.allows(Question { principal, host, operation, kind, name: "hardcode" }) {
            return true;
        }
        let host = host.to_canonical();
        let everybody = Principal::new(WILDCARD);
        let of_principal = self.acls_of(kind, principal).iter().chain(self.acls_of(kind, &everybody));
        let matching: Vec<&Acl> =
            of_principal.filter(|acl| is_at(&acl.host, host) && covers(acl.operation, operation)).collect();
        let denials = matching.iter().filter(|acl| acl.permission == Permission::Deny);
        let denials: BTreeSet<(PatternType, &str)> = denials.map(|acl| (acl.pattern, &*acl.name)).collect();
        if denials.contains(&(PatternType::Literal, WILDCARD)) {
            return false;
        }
        let has_denied_prefix = |name: &str| {
            let mut prefixes = (1..=name.len()).filter_map(|end| name.get(..end));
            prefixes.any(|prefix| denials.contains(&(PatternType::Prefixed, prefix)))
        };
        matching.iter().filter(|acl| acl.permission == Permission::Allow).any(|acl| match acl.pattern {
            PatternType::Literal if &*acl.name == WILDCARD => true,
            PatternType::Literal => {
                !denials.contains(&(PatternType::Literal, &*acl.name)) && !has_denied_prefix(&acl.name)
            }
            PatternType::Prefixed => !has_denied_prefix(&acl.name),
        })
    }

    fn is_allowed(&self, findings: &Findings, operation: Operation) -> bool {
        let Verdicts { allowed, denied } = findings.verdicts;
        if denied & bit(operation) != 0 {
            return false;
        }
        allowed & bit(operation) != 0 || !findings.any_entry && self.allow_everyone_if_no_acl_found
    }

    fn findings(&self, principal: &Principal, host: IpAddr, kind: ResourceType, name: &str) -> Findings {
        let (patterns, host) = (self.patterns(kind), host.to_canonical());
        let mut findings = Findings::default();
        let mut look = |entries: Option<&Entries>| {
            if let Some(entries) = entries {
                entries.find(principal, host, &mut findings);
            }
        };
        look(patterns.literal.get(name));
        if name != WILDCARD {
            look(patterns.literal.get(WILDCARD));
        }
        for length in &patterns.prefix_lengths {
            if *length > name.len() {
                break;
            }
            look(name.get(..*length).and_then(|prefix| patterns.prefixed.get(prefix)));
        }
        findings
    }

    /// The entries of one type and principal.
    fn acls_of(&self, kind: ResourceType, principal: &Principal) -> &[Acl] {
        let wanted = (kind, principal);
        let from = self.acls.partition_point(|acl| (acl.kind, &acl.principal) < wanted);
        let to = self.acls.partition_point(|acl| (acl.kind, &acl.principal) <= wanted);
        &self.acls[from..to]
    }

    fn patterns(&self, kind: ResourceType) -> &Patterns {
        match kind {
            ResourceType::Topic => &self.topics,
            ResourceType::Group => &self.groups,
            ResourceType::Cluster => &self.cluster,
            ResourceType::TransactionalId => &self.transactional_ids,
            ResourceType::DelegationToken => &self.delegation_tokens,
            ResourceType::User => &self.users,
        }
    }

    fn patterns_mut(&mut self, kind: ResourceType) -> &mut Patterns {
        match kind {
            ResourceType::Topic => &mut self.topics,
            ResourceType::Group => &mut self.groups,
            ResourceType::Cluster => &mut self.cluster,
            ResourceType::TransactionalId => &mut self.transactional_ids,
            ResourceType::DelegationToken => &mut self.delegation_tokens,
            ResourceType::User => &mut self.users,
        }
    }
}

impl Patterns {
    fn add(&mut self, acl: &Acl) {
        let by_name = match acl.pattern {
            PatternType::Literal => &mut self.literal,
            PatternType::Prefixed => &mut self.prefixed,
        };
        let entries = by_name.entry(acl.name.clone()).or_default();
        let grants = if &**acl.principal.name() == WILDCARD {
            &mut entries.of_everybody
        } else {
            entries.of_principals.entry(acl.principal.clone()).or_default()
        };
        let verdicts = if acl.host.is_any() {
            &mut grants.from_anywhere
        } else if let Some(address) = acl.host.address() {
            grants.from_hosts.entry(address).or_default()
        } else {
            return; // It matches no client, but it is an entry of the resource.
        };
        match acl.permission {
            Permission::Allow => verdicts.allowed |= with_implied(acl.operation),
            Permission::Deny => verdicts.denied |= only(acl.operation),
        }
    }

    fn measure_prefixes(&mut self) {
        let lengths: BTreeSet<usize> = self.prefixed.keys().map(|prefix| prefix.len()).collect();
        self.prefix_lengths = lengths.into_iter().collect();
    }
}

impl Entries {
    fn find(&self, principal: &Principal, host: IpAddr, findings: &mut Findings) {
        findings.any_entry = true;
        self.of_everybody.find(host, findings);
        if let Some(grants) = self.of_principals.get(principal) {
            grants.find(host, findings);
        }
    }
}

impl Grants {
    fn find(&self, host: IpAddr, findings: &mut Findings) {
        findings.verdicts.add(self.from_anywhere);
        if !self.from_hosts.is_empty()
            && let Some(verdicts) = self.from_hosts.get(&host)
        {
            findings.verdicts.add(*verdicts);
        }
    }
}

impl Verdicts {
    fn add(&mut self, other: Verdicts) {
        self.allowed |= other.allowed;
        self.denied |= other.denied;
    }
}

fn bit(operation: Operation) -> Operations {
    1 << operation.code()
}

fn only(operation: AclOperation) -> Operations {
    match operation {
        AclOperation::All => EVERY,
        AclOperation::One(operation) => bit(operation),
    }
}

/// What an entry allows that allows this.
fn with_implied(operation: AclOperation) -> Operations {
    let implied = match operation {
        AclOperation::One(Operation::Read | Operation::Write | Operation::Delete | Operation::Alter) => {
            bit(Operation::Describe)
        }
        AclOperation::One(Operation::AlterConfigs) => bit(Operation::DescribeConfigs),
        AclOperation::One(_) | AclOperation::All => 0,
    };
    only(operation) | implied
}

fn covers(entry: AclOperation, operation: Operation) -> bool {
    only(entry) & bit(operation) != 0
}

fn is_at(entry: &AclHost, host: IpAddr) -> bool {
    entry.is_any() || entry.address() == Some(host)
}

#[cfg(test)]
mod tests;
