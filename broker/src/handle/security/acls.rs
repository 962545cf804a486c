//! DescribeAcls, CreateAcls, DeleteAcls (KIP-140): the ACLs of the KafkaUsers.
//!
//! Codes that Kafka does not know either are refused as by `AclControlManager`; a code 0 is no request of a client.

use ottla_access::acl::AclFilter;
use ottla_access::{
    Acl, AclHost, AclOperation, Authorizer, Operation, PatternType, Permission, Principal, ResourceType,
};
use ottla_wire::m29_describe_acls::{AclDescription, DescribeAclsRequest, DescribeAclsResource, DescribeAclsResponse};
use ottla_wire::m30_create_acls::{AclCreation, AclCreationResult, CreateAclsRequest, CreateAclsResponse};
use ottla_wire::m31_delete_acls::{
    DeleteAclsFilter, DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsRequest, DeleteAclsResponse,
};
use ottla_wire::{ErrorCode, Str};

use crate::ask::{Ask, AskRefusal};
use crate::handle::context::{Context, Deadline};
use crate::reply::{CloseReason, Reply};

/// Kafka's brokers say it so, and its controllers say [`NO_AUTHORIZER`].
const NO_AUTHORIZER_ON_THE_BROKER: Str = Str::from_static("No Authorizer is configured on the broker");
const NO_AUTHORIZER: &str = "No Authorizer is configured.";
/// The most entries that one request creates or deletes (`QuorumController.MAX_RECORDS_PER_USER_OP`).
const MOST: usize = 10_000;

/// Answers from the image.
pub(crate) fn describe(context: &Context, request: DescribeAclsRequest) -> Reply {
    let refuse = |error_code, error_message| {
        context.reply(&DescribeAclsResponse { error_code, error_message, ..Default::default() })
    };
    let filter = AclFilter {
        kind: request.resource_type_filter,
        name: request.resource_name_filter,
        pattern: request.pattern_type_filter,
        principal: request.principal_filter,
        host: request.host_filter,
        operation: request.operation,
        permission: request.permission_type,
    };
    if !is_known(&filter) {
        return Reply::Close(CloseReason::Malformed);
    }
    if !context.may_cluster(Operation::Describe) {
        return refuse(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, None);
    }
    let Some(rules) = &context.image.access.authorizer else {
        return refuse(ErrorCode::SECURITY_DISABLED, Some(NO_AUTHORIZER_ON_THE_BROKER));
    };
    let mut found: Vec<&Acl> = matching(rules, &filter).collect();
    found.sort_by_key(|acl| (acl.kind, acl.pattern, acl.name.clone()));
    let of_one =
        found.chunk_by(|one, other| (one.kind, one.pattern, &one.name) == (other.kind, other.pattern, &other.name));
    let resources = of_one.filter_map(|acls| {
        let resource = acls.first()?;
        Some(DescribeAclsResource {
            resource_type: resource.kind.code(),
            resource_name: resource.name.clone(),
            pattern_type: resource.pattern.code(),
            acls: acls.iter().map(|acl| description(acl)).collect(),
        })
    });
    context.reply(&DescribeAclsResponse { resources: resources.collect(), ..Default::default() })
}

/// Changes the KafkaUsers of the principals; each entry that can't be is refused by itself.
pub(crate) fn create(context: &Context, request: CreateAclsRequest) -> Reply {
    let creations = request.creations;
    let refused = |refused: AskRefusal| {
        let (error_code, error_message) = AskRefusal::to_wire(Some(refused));
        let result = AclCreationResult { error_code, error_message };
        context.reply(&CreateAclsResponse { results: vec![result; creations.len()], ..Default::default() })
    };
    if creations.iter().any(|creation| codes(creation).contains(&0)) {
        return Reply::Close(CloseReason::Malformed);
    }
    if let Err(why) = may_change(context) {
        return refused(why);
    }
    if creations.len() > MOST {
        return refused(invalid(format!("The request has more than {MOST} ACLs.")));
    }
    let wanted: Vec<Result<Acl, AskRefusal>> = creations.iter().map(acl).collect();
    let add: Vec<Acl> = wanted.iter().flatten().cloned().collect();
    let context_later = context.clone();
    context.later(async move {
        let done = context_later.change_acls(add, Vec::new()).await;
        let result = |wanted: Result<Acl, AskRefusal>| {
            let (error_code, error_message) = AskRefusal::to_wire(wanted.and_then(|_| done.clone()).err());
            AclCreationResult { error_code, error_message }
        };
        CreateAclsResponse { results: wanted.into_iter().map(result).collect(), ..Default::default() }
    })
}

/// Takes the entries that the filters select out of the KafkaUsers.
pub(crate) fn delete(context: &Context, request: DeleteAclsRequest) -> Reply {
    let filters: Vec<AclFilter> = request.filters.into_iter().map(filter).collect();
    let refused = |refused: AskRefusal| {
        let (error_code, error_message) = AskRefusal::to_wire(Some(refused));
        let result = DeleteAclsFilterResult { error_code, error_message, ..Default::default() };
        context.reply(&DeleteAclsResponse { filter_results: vec![result; filters.len()], ..Default::default() })
    };
    if !filters.iter().all(is_known) {
        return Reply::Close(CloseReason::Malformed);
    }
    if let Err(why) = may_change(context) {
        return refused(why);
    }
    let Some(rules) = &context.image.access.authorizer else { return refused(disabled()) };
    let found: Vec<Vec<Acl>> = filters.iter().map(|filter| matching(rules, filter).cloned().collect()).collect();
    let remove: Vec<Acl> = found.iter().flatten().cloned().collect();
    if remove.len() > MOST {
        return refused(invalid(format!("Cannot remove more than {MOST} acls in a single delete operation.")));
    }
    let context_later = context.clone();
    context.later(async move {
        let (error_code, error_message) =
            AskRefusal::to_wire(context_later.change_acls(Vec::new(), remove).await.err());
        let matching = |acl: &Acl| {
            let AclDescription { principal, host, operation, permission_type } = description(acl);
            DeleteAclsMatchingAcl {
                error_code,
                error_message: error_message.clone(),
                resource_type: acl.kind.code(),
                resource_name: acl.name.clone(),
                pattern_type: acl.pattern.code(),
                principal,
                host,
                operation,
                permission_type,
            }
        };
        let result = |acls: Vec<Acl>| DeleteAclsFilterResult {
            matching_acls: acls.iter().map(matching).collect(),
            ..Default::default()
        };
        DeleteAclsResponse { filter_results: found.into_iter().map(result).collect(), ..Default::default() }
    })
}

impl Context {
    /// Changes the entries.
    async fn change_acls(&self, add: Vec<Acl>, remove: Vec<Acl>) -> Result<(), AskRefusal> {
        if add.is_empty() && remove.is_empty() {
            return Ok(());
        }
        self.ask(Deadline::default(), |answer| Ask::ChangeAcls { add, remove, answer }).await
    }
}

fn may_change(context: &Context) -> Result<(), AskRefusal> {
    if !context.may_cluster(Operation::Alter) {
        return Err(AskRefusal::new(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "Cluster authorization failed."));
    }
    if context.image.access.authorizer.is_none() { Err(disabled()) } else { Ok(()) }
}

fn disabled() -> AskRefusal {
    AskRefusal::new(ErrorCode::SECURITY_DISABLED, NO_AUTHORIZER)
}

fn invalid(message: impl Into<String>) -> AskRefusal {
    AskRefusal::new(ErrorCode::INVALID_REQUEST, message)
}

fn matching<'a>(rules: &'a Authorizer, filter: &AclFilter) -> impl Iterator<Item = &'a Acl> {
    rules.acls().iter().filter(|acl| filter.matches(acl))
}

fn filter(filter: DeleteAclsFilter) -> AclFilter {
    AclFilter {
        kind: filter.resource_type_filter,
        name: filter.resource_name_filter,
        pattern: filter.pattern_type_filter,
        principal: filter.principal_filter,
        host: filter.host_filter,
        operation: filter.operation,
        permission: filter.permission_type,
    }
}

/// Whether Kafka has a meaning for each code of a filter.
fn is_known(filter: &AclFilter) -> bool {
    const ANY: i8 = 1;
    const MATCH: i8 = 2;
    (filter.kind == ANY || ResourceType::from_code(filter.kind).is_some())
        && (matches!(filter.pattern, ANY | MATCH) || PatternType::from_code(filter.pattern).is_some())
        && (filter.operation == ANY || AclOperation::from_code(filter.operation).is_some())
        && (filter.permission == ANY || Permission::from_code(filter.permission).is_some())
}

fn codes(creation: &AclCreation) -> [i8; 4] {
    [creation.resource_type, creation.resource_pattern_type, creation.operation, creation.permission_type]
}

/// The entry that a creation asks for.
fn acl(creation: &AclCreation) -> Result<Acl, AskRefusal> {
    let AclCreation {
        resource_type,
        resource_name,
        resource_pattern_type,
        principal,
        host,
        operation,
        permission_type,
    } = creation;
    let kind = ResourceType::from_code(*resource_type);
    let kind = kind.ok_or_else(|| invalid(format!("Invalid resourceType {}", word(*resource_type))))?;
    if kind == ResourceType::Cluster && **resource_name != *ResourceType::CLUSTER_NAME {
        let only = ResourceType::CLUSTER_NAME;
        return Err(invalid(format!("The only valid name for the CLUSTER resource is {only}")));
    }
    if resource_name.is_empty() {
        return Err(invalid("Invalid empty resource name"));
    }
    let pattern = PatternType::from_code(*resource_pattern_type);
    let pattern = pattern.ok_or_else(|| invalid(format!("Invalid patternType {}", word(*resource_pattern_type))))?;
    let operation = AclOperation::from_code(*operation)
        .ok_or_else(|| invalid(format!("Invalid operation {}", word(*operation))))?;
    let permission = Permission::from_code(*permission_type)
        .ok_or_else(|| invalid(format!("Invalid permissionType {}", word(*permission_type))))?;
    let (kind_of_principal, name) = principal.split_once(':').ok_or_else(|| {
        invalid(format!(
            "Could not parse principal from `{principal}` (no colon is present separating the principal type from the \
             principal name)"
        ))
    })?;
    if kind_of_principal != Principal::TYPE || name.is_empty() {
        return Err(invalid(format!("The principal {principal} can have no ACL: principals are User:NAME")));
    }
    let host = AclHost::new(host.clone());
    Ok(Acl {
        kind,
        principal: Principal::new(Str::from(name)),
        pattern,
        name: resource_name.clone(),
        host,
        operation,
        permission,
    })
}

/// Kafka's word for a code that an entry can't have.
fn word(code: i8) -> &'static str {
    match code {
        1 => "ANY",
        2 => "MATCH",
        _ => "UNKNOWN",
    }
}

fn description(acl: &Acl) -> AclDescription {
    AclDescription {
        principal: acl.principal.to_string().into(),
        host: acl.host.text().clone(),
        operation: acl.operation.code(),
        permission_type: acl.permission.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_users_have_acls() {
        let of = |principal: &str| {
            acl(&AclCreation {
                resource_type: ResourceType::Topic.code(),
                resource_name: "t".into(),
                resource_pattern_type: PatternType::Literal.code(),
                principal: principal.into(),
                host: "*".into(),
                operation: Operation::Read.code(),
                permission_type: 3, // allow
            })
        };
        assert_eq!(of("User:ada").map(|acl| acl.principal), Ok(Principal::new("ada")));
        for principal in ["Group:ada", "user:ada", "User:", ":ada", "ada", ""] {
            assert_eq!(of(principal).map_err(|why| why.code), Err(ErrorCode::INVALID_REQUEST), "{principal}");
        }
    }
}
