//! Tables of what is allowed, and a comparison with a copy that looks at every entry.

use proptest::prelude::*;

use super::*;

/// An entry in short: `allow Read on topic literal:orders to ann from *`.
fn acl(text: &str) -> Acl {
    let words: Vec<&str> = text.split(' ').collect();
    let [permission, operation, "on", kind, pattern, "to", principal, "from", host] = words[..] else {
        panic!("not an entry: {text}")
    };
    let (pattern, name) = pattern.split_once(':').expect("a pattern and a name");
    let operation = match operation {
        "All" => AclOperation::All,
        name => AclOperation::One(operation_of(name)),
    };
    Acl {
        kind: kind_of(kind),
        principal: Principal::new(principal),
        pattern: if pattern == "literal" { PatternType::Literal } else { PatternType::Prefixed },
        name: name.into(),
        host: AclHost::new(host),
        operation,
        permission: if permission == "allow" { Permission::Allow } else { Permission::Deny },
    }
}

fn operation_of(name: &str) -> Operation {
    let found = Operation::ALL.into_iter().find(|operation| format!("{operation:?}") == name);
    found.unwrap_or_else(|| panic!("not an operation: {name}"))
}

fn kind_of(name: &str) -> ResourceType {
    match name {
        "topic" => ResourceType::Topic,
        "group" => ResourceType::Group,
        "cluster" => ResourceType::Cluster,
        _ => ResourceType::TransactionalId,
    }
}

fn authorizer(acls: &[&str]) -> Authorizer {
    Authorizer::new([Principal::new("admin")], false, acls.iter().map(|text| acl(text)))
}

fn host(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn may(rules: &Authorizer, principal: &str, from: &str, operation: &str, name: &str) -> bool {
    let (principal, host) = (&Principal::new(principal), host(from));
    rules.allows(Question { principal, host, operation: operation_of(operation), kind: ResourceType::Topic, name })
}

#[test]
fn entries_match_by_name_prefix_host_and_principal() {
    let rules = authorizer(&[
        "allow Read on topic literal:orders to ann from *",
        "allow Write on topic prefixed:ord to ann from 10.0.0.7",
        "allow All on topic prefixed:* to ann from *",
        "allow Describe on topic literal:* to * from *",
        "deny Read on topic literal:orders to eve from *",
        "allow Read on topic literal:orders to * from 10.0.0.9",
        "allow Read on group literal:orders to bob from *",
        "allow AlterConfigs on topic literal:local to ann from 0:0:0:0:0:0:0:1",
    ]);
    for (principal, from, operation, name, expected) in [
        ("ann", "10.0.0.1", "Read", "orders", true),
        ("ann", "10.0.0.1", "Read", "orders2", false),
        ("ann", "10.0.0.1", "Write", "orders", false),
        ("ann", "10.0.0.7", "Write", "orders", true),
        ("ann", "::ffff:10.0.0.7", "Write", "orders", true),
        ("ann", "10.0.0.7", "Write", "ord", true),
        ("ann", "10.0.0.7", "Write", "or", false),
        ("ann", "10.0.0.7", "Delete", "orders", false),
        ("ann", "10.0.0.1", "Delete", "*orders", true),
        ("ann", "::1", "AlterConfigs", "local", true),
        ("ann", "::1", "DescribeConfigs", "local", true),
        ("ann", "::2", "AlterConfigs", "local", false),
        ("bob", "10.0.0.1", "Read", "orders", false),
        ("bob", "10.0.0.9", "Read", "orders", true),
        ("bob", "10.0.0.1", "Describe", "anything", true),
        ("eve", "10.0.0.9", "Read", "orders", false),
        ("eve", "10.0.0.9", "Describe", "orders", true),
        ("admin", "10.0.0.9", "ClusterAction", "orders", true),
    ] {
        assert_eq!(may(&rules, principal, from, operation, name), expected, "{principal} {from} {operation} {name}");
    }
}

#[test]
fn what_is_allowed_implies_describe_and_what_is_denied_implies_nothing() {
    for (entry, expected) in [
        ("Read", vec!["Read", "Describe"]),
        ("Write", vec!["Write", "Describe"]),
        ("Create", vec!["Create"]),
        ("Delete", vec!["Delete", "Describe"]),
        ("Alter", vec!["Alter", "Describe"]),
        ("DescribeConfigs", vec!["DescribeConfigs"]),
        ("AlterConfigs", vec!["AlterConfigs", "DescribeConfigs"]),
        ("IdempotentWrite", vec!["IdempotentWrite"]),
    ] {
        let rules = authorizer(&[&format!("allow {entry} on topic literal:t to ann from *")]);
        let is_allowed = |operation: &Operation| may(&rules, "ann", "10.0.0.1", &format!("{operation:?}"), "t");
        let allowed: BTreeSet<_> = Operation::ALL.into_iter().filter(is_allowed).collect();
        assert_eq!(allowed, expected.into_iter().map(operation_of).collect(), "{entry}");
    }
    let rules = authorizer(&["allow All on topic literal:t to ann from *", "deny Read on topic literal:t to * from *"]);
    assert!(!may(&rules, "ann", "10.0.0.1", "Read", "t") && may(&rules, "ann", "10.0.0.1", "Describe", "t"));
}

#[test]
fn a_resource_is_open_to_everybody_only_while_no_entry_of_anybody_matches_it() {
    let entries =
        ["allow Read on topic prefixed:ord to ann from 10.0.0.7", "deny Read on topic literal:x to y from no"];
    let open = Authorizer::new([], true, entries.map(acl));
    for (name, expected) in [("orders", false), ("x", false), ("other", true)] {
        assert_eq!(may(&open, "bob", "10.0.0.1", "Write", name), expected, "{name}");
    }
    let (principal, host) = (&Principal::new("bob"), host("::1"));
    let (operation, kind) = (Operation::Read, ResourceType::Group);
    let group = Question { principal, host, operation, kind, name: "orders" };
    assert!(open.allows(group), "entries of topics do not concern groups");
}

#[test]
fn writing_to_any_topic_needs_an_allowance_that_no_denial_covers() {
    let allow = "allow Write on topic literal:orders to ann from *";
    let prefix = "allow Write on topic prefixed:ord to ann from *";
    for (entries, expected) in [
        (vec![], false),
        (vec![allow], true),
        (vec![allow, "deny Write on topic literal:* to * from *"], false),
        (vec![allow, "deny Write on topic literal:* to * from 10.0.0.2"], true),
        (vec![allow, "deny Write on topic literal:orders to ann from *"], false),
        (vec![allow, "deny Write on topic prefixed:o to ann from *"], false),
        (vec![allow, "deny Read on topic literal:orders to ann from *"], true),
        (vec![prefix, "deny Write on topic literal:ord to ann from *"], true),
        (vec![prefix, "deny All on topic prefixed:ord to ann from *"], false),
        (vec![prefix, "deny Write on topic prefixed:orders to ann from *"], true),
        (vec!["allow All on topic literal:* to * from *", "deny Write on topic prefixed:a to ann from *"], true),
        (vec!["allow Write on group literal:orders to ann from *"], false),
        (vec!["allow Write on topic literal:orders to bob from *"], false),
    ] {
        let rules = authorizer(&entries);
        let any = rules.allows_any(&Principal::new("ann"), host("10.0.0.1"), Operation::Write, ResourceType::Topic);
        assert_eq!(any, expected, "{entries:?}");
    }
    let rules = authorizer(&["deny Write on topic literal:* to * from *"]);
    let any = |name| rules.allows_any(&Principal::new(name), host("::1"), Operation::Write, ResourceType::Topic);
    assert_eq!([any("admin"), any("ann")], [true, false]);
}

#[test]
fn the_bits_of_all_operations_are_kafkas() {
    let admin = Principal::new("admin");
    let bits = |operations: &[Operation], kind| authorizer(&[]).allowed(&admin, host("::1"), operations, kind, "t");
    use Operation as O;
    let topic = [O::Read, O::Write, O::Create, O::Delete, O::Alter, O::Describe, O::DescribeConfigs, O::AlterConfigs];
    assert_eq!(bits(&topic, ResourceType::Topic), 3576);
    let rules = authorizer(&["allow Read on topic prefixed:t to ann from *"]);
    let ann = rules.allowed(&Principal::new("ann"), host("::1"), &topic, ResourceType::Topic, "t");
    assert_eq!(ann, 1 << 3 | 1 << 8);
}

/// Looks at every entry, as the documentation of Kafka's `StandardAuthorizer` says it.
fn naive(acls: &[Acl], open: bool, principal: &Principal, from: IpAddr, operation: Operation, name: &str) -> bool {
    let of_resource: Vec<&Acl> = acls
        .iter()
        .filter(|acl| match acl.pattern {
            PatternType::Literal => &*acl.name == name || &*acl.name == "*",
            PatternType::Prefixed => name.starts_with(&*acl.name),
        })
        .collect();
    let concerns = |acl: &&&Acl| {
        (acl.principal == *principal || &**acl.principal.name() == "*")
            && (acl.host.is_any() || acl.host.address() == Some(from))
    };
    let denies = |acl: &&Acl| {
        acl.permission == Permission::Deny
            && (acl.operation == AclOperation::All || acl.operation == AclOperation::One(operation))
    };
    let allows = |acl: &&Acl| {
        acl.permission == Permission::Allow
            && match acl.operation {
                AclOperation::All => true,
                AclOperation::One(one) if one == operation => true,
                AclOperation::One(one) => match operation {
                    Operation::Describe => {
                        matches!(one, Operation::Read | Operation::Write | Operation::Delete | Operation::Alter)
                    }
                    Operation::DescribeConfigs => one == Operation::AlterConfigs,
                    _ => false,
                },
            }
    };
    let concerned: Vec<&Acl> = of_resource.iter().filter(concerns).copied().collect();
    !concerned.iter().any(denies) && (concerned.iter().any(allows) || of_resource.is_empty() && open)
}

fn entries() -> impl Strategy<Value = Vec<Acl>> {
    let name = prop::sample::select(vec!["*", "a", "ab", "abc", "é", "éa", "b"]);
    let principal = prop::sample::select(vec!["*", "ann", "bob"]);
    let at = prop::sample::select(vec!["*", "10.0.0.1", "::1", "nowhere"]);
    let operation = prop::sample::select(Operation::ALL.to_vec());
    let operation = prop_oneof![4 => operation.prop_map(AclOperation::One), 1 => Just(AclOperation::All)];
    let entry = (name, principal, at, operation, any::<bool>(), any::<bool>()).prop_map(
        |(name, principal, at, operation, is_literal, is_allowed)| Acl {
            kind: ResourceType::Topic,
            principal: Principal::new(principal),
            pattern: if is_literal { PatternType::Literal } else { PatternType::Prefixed },
            name: name.into(),
            host: AclHost::new(at),
            operation,
            permission: if is_allowed { Permission::Allow } else { Permission::Deny },
        },
    );
    prop::collection::vec(entry, 0..12)
}

proptest! {
    #[test]
    fn the_tables_say_what_every_entry_says(acls in entries(), open in any::<bool>()) {
        let rules = Authorizer::new([], open, acls.iter().cloned());
        let again = Authorizer::new([], open, acls.iter().rev().cloned().chain(acls.clone()));
        prop_assert_eq!(&rules, &again, "neither order nor repetition matters");
        for principal in ["ann", "bob", "eve"].map(Principal::new) {
            for from in ["10.0.0.1", "10.0.0.2", "::1"].map(host) {
                for operation in Operation::ALL {
                    for name in ["a", "ab", "abcd", "éab", "b", "c", "*", "*a"] {
                        let expected = naive(&acls, open, &principal, from, operation, name);
                        let found = rules.allows(Question {
                            principal: &principal,
                            host: from,
                            operation,
                            kind: ResourceType::Topic,
                            name,
                        });
                        prop_assert_eq!(found, expected, "{} {} {:?} {}", principal, from, operation, name);
                    }
                }
            }
        }
    }
}
