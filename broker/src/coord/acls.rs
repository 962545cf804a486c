//! The ACLs of KafkaUsers, as the authorizer knows them, and back: pure functions.

use std::collections::BTreeMap;

use bytestring::ByteString as Str;
use ottla_access::{Acl, AclHost, AclOperation, Operation, PatternType, Permission, Principal, ResourceType};
use ottla_crds::{AclAccess, AclPattern, AclResource, KafkaUser, UserAcl};

/// The entries of a user, one for each operation. Its principal is `name`.
pub(super) fn of_user(name: &str, user: &KafkaUser) -> Vec<Acl> {
    let principal = Principal::new(name);
    let acls = user.spec.authorization.iter().flat_map(|authorization| &authorization.acls);
    acls.flat_map(|acl| acl.operations.iter().map(|operation| entry(&principal, acl, *operation))).collect()
}

/// The KafkaUser of each principal: of two the older, as the operator says, too.
pub(super) fn by_principal<'a>(users: impl Iterator<Item = &'a KafkaUser>) -> BTreeMap<&'a str, &'a KafkaUser> {
    let mut users: Vec<&KafkaUser> = users.collect();
    users.sort_by_key(|user| (user.metadata.creation_timestamp.clone(), user.metadata.uid.clone()));
    users.reverse(); // the last of a name wins
    let is_there = |user: &&KafkaUser| user.metadata.deletion_timestamp.is_none();
    users.into_iter().filter(is_there).map(|user| (user.principal_name(), user)).collect()
}

/// A user's ACLs with these entries and without those. What does not change stays where it is, as its writer put it.
pub(super) fn changed(before: &[UserAcl], add: &[Acl], remove: &[Acl]) -> Vec<UserAcl> {
    let mut after = before.to_vec();
    for acl in remove.iter().map(user_acl) {
        for own in after.iter_mut().filter(|own| is_same(own, &acl)) {
            own.operations.retain(|operation| !acl.operations.contains(operation));
        }
    }
    after.retain(|own| !own.operations.is_empty());
    for acl in add.iter().map(user_acl) {
        match after.iter_mut().find(|own| is_same(own, &acl)) {
            Some(own) => {
                let new = acl.operations.into_iter().filter(|operation| !own.operations.contains(operation));
                let new: Vec<_> = new.collect();
                own.operations.extend(new);
            }
            None => after.push(acl),
        }
    }
    after
}

/// Whether both are the same item of the list, whatever their operations.
fn is_same(one: &UserAcl, other: &UserAcl) -> bool {
    let key = |acl: &UserAcl| (acl.resource, acl.name.clone(), acl.pattern, acl.host.clone(), acl.access);
    key(one) == key(other)
}

/// An entry as an item of a KafkaUser.
fn user_acl(acl: &Acl) -> UserAcl {
    UserAcl {
        resource: match acl.kind {
            ResourceType::Topic => AclResource::Topic,
            ResourceType::Group => AclResource::Group,
            ResourceType::Cluster => AclResource::Cluster,
            ResourceType::TransactionalId => AclResource::TransactionalId,
            ResourceType::DelegationToken => AclResource::DelegationToken,
            ResourceType::User => AclResource::User,
        },
        name: acl.name.to_string(),
        pattern: match acl.pattern {
            PatternType::Literal => AclPattern::Literal,
            PatternType::Prefixed => AclPattern::Prefix,
        },
        host: acl.host.text().to_string(),
        access: match acl.permission {
            Permission::Allow => AclAccess::Allow,
            Permission::Deny => AclAccess::Deny,
        },
        operations: vec![match acl.operation {
            AclOperation::All => ottla_crds::AclOperation::All,
            AclOperation::One(Operation::Read) => ottla_crds::AclOperation::Read,
            AclOperation::One(Operation::Write) => ottla_crds::AclOperation::Write,
            AclOperation::One(Operation::Create) => ottla_crds::AclOperation::Create,
            AclOperation::One(Operation::Delete) => ottla_crds::AclOperation::Delete,
            AclOperation::One(Operation::Alter) => ottla_crds::AclOperation::Alter,
            AclOperation::One(Operation::Describe) => ottla_crds::AclOperation::Describe,
            AclOperation::One(Operation::ClusterAction) => ottla_crds::AclOperation::ClusterAction,
            AclOperation::One(Operation::DescribeConfigs) => ottla_crds::AclOperation::DescribeConfigs,
            AclOperation::One(Operation::AlterConfigs) => ottla_crds::AclOperation::AlterConfigs,
            AclOperation::One(Operation::IdempotentWrite) => ottla_crds::AclOperation::IdempotentWrite,
            AclOperation::One(Operation::CreateTokens) => ottla_crds::AclOperation::CreateTokens,
            AclOperation::One(Operation::DescribeTokens) => ottla_crds::AclOperation::DescribeTokens,
            AclOperation::One(Operation::TwoPhaseCommit) => ottla_crds::AclOperation::TwoPhaseCommit,
        }],
    }
}

fn entry(principal: &Principal, acl: &UserAcl, operation: ottla_crds::AclOperation) -> Acl {
    Acl {
        kind: match acl.resource {
            AclResource::Topic => ResourceType::Topic,
            AclResource::Group => ResourceType::Group,
            AclResource::Cluster => ResourceType::Cluster,
            AclResource::TransactionalId => ResourceType::TransactionalId,
            AclResource::DelegationToken => ResourceType::DelegationToken,
            AclResource::User => ResourceType::User,
        },
        principal: principal.clone(),
        pattern: match acl.pattern {
            AclPattern::Literal => PatternType::Literal,
            AclPattern::Prefix => PatternType::Prefixed,
        },
        name: Str::from(acl.name.as_str()),
        host: AclHost::new(acl.host.as_str()),
        operation: match operation {
            ottla_crds::AclOperation::All => AclOperation::All,
            ottla_crds::AclOperation::Read => AclOperation::One(Operation::Read),
            ottla_crds::AclOperation::Write => AclOperation::One(Operation::Write),
            ottla_crds::AclOperation::Create => AclOperation::One(Operation::Create),
            ottla_crds::AclOperation::Delete => AclOperation::One(Operation::Delete),
            ottla_crds::AclOperation::Alter => AclOperation::One(Operation::Alter),
            ottla_crds::AclOperation::Describe => AclOperation::One(Operation::Describe),
            ottla_crds::AclOperation::ClusterAction => AclOperation::One(Operation::ClusterAction),
            ottla_crds::AclOperation::DescribeConfigs => AclOperation::One(Operation::DescribeConfigs),
            ottla_crds::AclOperation::AlterConfigs => AclOperation::One(Operation::AlterConfigs),
            ottla_crds::AclOperation::IdempotentWrite => AclOperation::One(Operation::IdempotentWrite),
            ottla_crds::AclOperation::CreateTokens => AclOperation::One(Operation::CreateTokens),
            ottla_crds::AclOperation::DescribeTokens => AclOperation::One(Operation::DescribeTokens),
            ottla_crds::AclOperation::TwoPhaseCommit => AclOperation::One(Operation::TwoPhaseCommit),
        },
        permission: match acl.access {
            AclAccess::Allow => Permission::Allow,
            AclAccess::Deny => Permission::Deny,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entries(acl: Value) -> Vec<String> {
        let spec = json!({ "clusterRef": { "name": "prod" }, "authorization": { "acls": [acl] } });
        let user = KafkaUser::new("orders", serde_json::from_value(spec).unwrap());
        let text = |acl: &Acl| {
            let Acl { kind, pattern, name, host, operation, permission, .. } = acl;
            format!("{permission:?} {operation:?} {kind:?} {pattern:?} {name} {}", host.text())
        };
        of_user("orders", &user).iter().map(text).collect()
    }

    #[test]
    fn an_acl_is_an_entry_for_each_operation() {
        for (acl, expected) in [
            (
                json!({ "resource": "topic", "name": "orders", "operations": ["Read", "Describe"] }),
                vec!["Allow One(Read) Topic Literal orders *", "Allow One(Describe) Topic Literal orders *"],
            ),
            (
                json!({ "resource": "group", "name": "a", "pattern": "prefix", "operations": ["All"] }),
                vec!["Allow All Group Prefixed a *"],
            ),
            (
                json!({ "resource": "cluster", "host": "10.0.0.7", "operations": ["ClusterAction"] }),
                vec!["Allow One(ClusterAction) Cluster Literal kafka-cluster 10.0.0.7"],
            ),
            (
                json!({ "resource": "transactionalId", "name": "*", "access": "deny", "operations": ["Write"] }),
                vec!["Deny One(Write) TransactionalId Literal * *"],
            ),
        ] {
            assert_eq!(entries(acl), expected);
        }
    }

    #[test]
    fn changes_leave_the_items_of_others_as_they_are() {
        let acls = |acls: Value| -> Vec<UserAcl> { serde_json::from_value(acls).unwrap() };
        let entries = |items: &[UserAcl]| -> Vec<Acl> {
            let principal = Principal::new("orders");
            items.iter().flat_map(|acl| acl.operations.iter().map(|op| entry(&principal, acl, *op))).collect()
        };
        let of_git = json!({ "resource": "topic", "name": "a", "operations": ["Write", "Read"] });
        let before = acls(json!([of_git, { "resource": "group", "name": "g", "operations": ["Read"] }]));
        for (story, add, remove, expected) in [
            ("nothing", json!([]), json!([]), json!(before)),
            (
                "an entry that is there",
                json!([{ "resource": "topic", "name": "a", "operations": ["Read"] }]),
                json!([]),
                json!(before),
            ),
            (
                "another operation",
                json!([{ "resource": "group", "name": "g", "operations": ["Delete"] }]),
                json!([]),
                json!([of_git, { "resource": "group", "name": "g", "operations": ["Read", "Delete"] }]),
            ),
            (
                "another item",
                json!([{ "resource": "group", "name": "g", "pattern": "prefix", "operations": ["Read"] }]),
                json!([{ "resource": "group", "name": "g", "operations": ["Read"] }]),
                json!([of_git, { "resource": "group", "name": "g", "pattern": "prefix", "operations": ["Read"] }]),
            ),
            (
                "one of two operations",
                json!([]),
                json!([{ "resource": "topic", "name": "a", "operations": ["Write"] }]),
                json!([{ "resource": "topic", "name": "a", "operations": ["Read"] }, before[1]]),
            ),
        ] {
            let after = changed(&before, &entries(&acls(add)), &entries(&acls(remove)));
            assert_eq!(after, acls(expected), "{story}");
        }
    }

    #[test]
    fn every_operation_and_resource_has_its_own() {
        for name in [
            "Read",
            "Write",
            "Create",
            "Delete",
            "Alter",
            "Describe",
            "ClusterAction",
            "DescribeConfigs",
            "AlterConfigs",
            "IdempotentWrite",
            "CreateTokens",
            "DescribeTokens",
            "TwoPhaseCommit",
        ] {
            let found = entries(json!({ "resource": "topic", "name": "t", "operations": [name] }));
            assert_eq!(found, [format!("Allow One({name}) Topic Literal t *")]);
            let item = json!({ "resource": "topic", "name": "t", "operations": [name] });
            let item: UserAcl = serde_json::from_value(item).unwrap();
            let there = entry(&Principal::new("orders"), &item, item.operations[0]);
            assert_eq!(user_acl(&there), item, "and back");
        }
        for (resource, kind) in [("delegationToken", "DelegationToken"), ("user", "User")] {
            let found = entries(json!({ "resource": resource, "name": "t", "operations": ["All"] }));
            assert_eq!(found, [format!("Allow All {kind} Literal t *")]);
        }
    }
}
