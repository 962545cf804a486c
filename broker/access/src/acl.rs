//! One access control list entry, and what selects entries (Kafka's `AclBinding`, `AclBindingFilter`).

use std::net::IpAddr;

use ottla_wire::Str;

use crate::{Operation, Principal, ResourceType};

/// The name of a literal entry that stands for every resource of its type; also the name of the principal that is
/// everybody, and the host that is every host.
pub const WILDCARD: &str = "*";

/// The code of anything, in filters.
const ANY: i8 = 1;
/// The code of "every way in which an entry may match this name", in filters.
const MATCH: i8 = 2;
/// The code of every operation.
const ALL: i8 = 2;

/// How the name of an entry stands for names of resources (KIP-290).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatternType {
    /// The resource of this name; every one if it is [`WILDCARD`].
    Literal = 3,
    /// Every resource whose name starts with this one. [`WILDCARD`] is an ordinary name here.
    Prefixed = 4,
}

impl PatternType {
    /// Kafka's code.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The type of this code. `None`: any (1), match (2), or unknown.
    pub fn from_code(code: i8) -> Option<PatternType> {
        [PatternType::Literal, PatternType::Prefixed].into_iter().find(|pattern| pattern.code() == code)
    }
}

/// What an entry says about those whom it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// They may not, whatever another entry allows.
    Deny = 2,
    /// They may, unless another entry denies it.
    Allow = 3,
}

impl Permission {
    /// Kafka's code.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The permission of this code. `None`: any (1), or unknown.
    pub fn from_code(code: i8) -> Option<Permission> {
        [Permission::Deny, Permission::Allow].into_iter().find(|permission| permission.code() == code)
    }
}

/// The operation of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AclOperation {
    /// Every operation.
    All,
    /// This one, and those that it implies where it is allowed.
    One(Operation),
}

impl AclOperation {
    /// Kafka's code.
    pub fn code(self) -> i8 {
        match self {
            AclOperation::All => ALL,
            AclOperation::One(operation) => operation.code(),
        }
    }

    /// The operation of this code. `None`: any (1), or unknown.
    pub fn from_code(code: i8) -> Option<AclOperation> {
        if code == ALL { Some(AclOperation::All) } else { Operation::from_code(code).map(AclOperation::One) }
    }
}

/// From where clients connect whom an entry matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclHost(Str);

impl AclHost {
    /// An address, or [`WILDCARD`] for every host. Another text matches no client, as in Kafka.
    pub fn new(host: impl Into<Str>) -> AclHost {
        AclHost(host.into())
    }

    /// As it was written.
    pub fn text(&self) -> &Str {
        &self.0
    }

    /// Whether it stands for every host.
    pub fn is_any(&self) -> bool {
        &*self.0 == WILDCARD
    }

    /// The address; `None`: the text is not an address, as [`WILDCARD`] is not. Kafka compares its text, so that `::1`
    /// matches nobody there; here addresses are compared, and an IPv4 address in IPv6 is the IPv4 address.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse::<IpAddr>().ok().map(|address| address.to_canonical())
    }
}

/// An entry. The order puts the entries of one principal together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// The type of the resources.
    pub kind: ResourceType,
    /// Whom it matches; the name [`WILDCARD`] is everybody.
    pub principal: Principal,
    /// How `name` stands for resources.
    pub pattern: PatternType,
    /// The name, or the beginning of names.
    pub name: Str,
    /// From where they connect.
    pub host: AclHost,
    /// What they do.
    pub operation: AclOperation,
    /// Whether they may.
    pub permission: Permission,
}

/// What selects entries: a filter of DescribeAcls or DeleteAcls, with the codes of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFilter {
    /// The code of the resource type; 1 for any.
    pub kind: i8,
    /// The name; `None` for any.
    pub name: Option<Str>,
    /// The code of the pattern type; 1 for any, 2 for every entry that matches a resource called `name`.
    pub pattern: i8,
    /// The principal with its type (`User:x`), compared as text; `None` for any.
    pub principal: Option<Str>,
    /// The host, compared as text; `None` for any.
    pub host: Option<Str>,
    /// The code of the operation; 1 for any.
    pub operation: i8,
    /// The code of the permission; 1 for any.
    pub permission: i8,
}

impl AclFilter {
    /// Selects every entry.
    pub const ANY: AclFilter =
        AclFilter { kind: ANY, name: None, pattern: ANY, principal: None, host: None, operation: ANY, permission: ANY };

    /// Whether the filter selects an entry (`AclBindingFilter.matches`). A code that is unknown selects none.
    pub fn matches(&self, acl: &Acl) -> bool {
        let is = |wanted: i8, code: i8| wanted == ANY || wanted == code;
        is(self.kind, acl.kind.code())
            && is(self.operation, acl.operation.code())
            && is(self.permission, acl.permission.code())
            && self.principal.as_deref().is_none_or(|wanted| is_written(&acl.principal, wanted))
            && self.host.as_deref().is_none_or(|wanted| wanted == &**acl.host.text())
            && self.matches_name(acl)
    }

    fn matches_name(&self, acl: &Acl) -> bool {
        let Some(wanted) = self.name.as_deref() else {
            return matches!(self.pattern, ANY | MATCH) || self.pattern == acl.pattern.code();
        };
        if self.pattern == MATCH {
            return match acl.pattern {
                PatternType::Literal => &*acl.name == wanted || &*acl.name == WILDCARD,
                PatternType::Prefixed => wanted.starts_with(&*acl.name),
            };
        }
        (self.pattern == ANY || self.pattern == acl.pattern.code()) && &*acl.name == wanted
    }
}

fn is_written(principal: &Principal, wanted: &str) -> bool {
    let name = wanted.strip_prefix(Principal::TYPE).and_then(|rest| rest.strip_prefix(':'));
    name.is_some_and(|name| name == &**principal.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(pattern: PatternType, name: &'static str) -> Acl {
        Acl {
            kind: ResourceType::Topic,
            principal: Principal::new("ann"),
            pattern,
            name: Str::from(name),
            host: AclHost::new("10.0.0.7"),
            operation: AclOperation::One(Operation::Read),
            permission: Permission::Allow,
        }
    }

    #[test]
    fn a_filter_selects_by_name_and_pattern_as_kafka_does() {
        let entries = [
            acl(PatternType::Literal, "orders"),
            acl(PatternType::Literal, "*"),
            acl(PatternType::Prefixed, "ord"),
            acl(PatternType::Prefixed, "*"),
            acl(PatternType::Literal, "ord"),
        ];
        for (pattern, name, expected) in [
            (1, None, [true; 5]),
            (2, None, [true; 5]),
            (3, None, [true, true, false, false, true]),
            (4, None, [false, false, true, true, false]),
            (0, None, [false; 5]),
            (1, Some("ord"), [false, false, true, false, true]),
            (2, Some("orders"), [true, true, true, false, false]),
            (3, Some("orders"), [true, false, false, false, false]),
            (3, Some("*"), [false, true, false, false, false]),
            (4, Some("ord"), [false, false, true, false, false]),
            (4, Some("orders"), [false; 5]),
        ] {
            let filter = AclFilter { pattern, name: name.map(Str::from), ..AclFilter::ANY };
            assert_eq!(entries.each_ref().map(|entry| filter.matches(entry)), expected, "{pattern} {name:?}");
        }
    }

    #[test]
    fn the_other_fields_of_a_filter_are_compared_as_written() {
        let entry = acl(PatternType::Literal, "orders");
        for (filter, expected) in [
            (AclFilter { kind: 2, ..AclFilter::ANY }, true),
            (AclFilter { kind: 3, ..AclFilter::ANY }, false),
            (AclFilter { kind: 0, ..AclFilter::ANY }, false),
            (AclFilter { operation: 3, ..AclFilter::ANY }, true),
            (AclFilter { operation: 2, ..AclFilter::ANY }, false),
            (AclFilter { permission: 3, ..AclFilter::ANY }, true),
            (AclFilter { permission: 2, ..AclFilter::ANY }, false),
            (AclFilter { principal: Some("User:ann".into()), ..AclFilter::ANY }, true),
            (AclFilter { principal: Some("User:*".into()), ..AclFilter::ANY }, false),
            (AclFilter { principal: Some("ann".into()), ..AclFilter::ANY }, false),
            (AclFilter { host: Some("10.0.0.7".into()), ..AclFilter::ANY }, true),
            (AclFilter { host: Some("::ffff:10.0.0.7".into()), ..AclFilter::ANY }, false),
            (AclFilter { host: Some("*".into()), ..AclFilter::ANY }, false),
        ] {
            assert_eq!(filter.matches(&entry), expected, "{filter:?}");
        }
    }

    #[test]
    fn codes_are_kafkas() {
        let codes = [1, 2, 3, 4, 5].map(|code| PatternType::from_code(code).map(PatternType::code));
        assert_eq!(codes, [None, None, Some(3), Some(4), None]);
        let codes = [1, 2, 3, 4].map(|code| Permission::from_code(code).map(Permission::code));
        assert_eq!(codes, [None, Some(2), Some(3), None]);
        let codes = [0, 1, 2, 3, 15, 16].map(|code| AclOperation::from_code(code).map(AclOperation::code));
        assert_eq!(codes, [None, None, Some(2), Some(3), Some(15), None]);
    }
}
