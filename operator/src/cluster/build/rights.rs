//! The brokers' identity and rights: only for their own namespace, and no more than they need.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use ottla_crds::{GROUP, names};

use super::label::metadata;
use crate::cluster::validate::ValidatedCluster;

/// The brokers' ServiceAccount.
pub fn service_account(cluster: &ValidatedCluster) -> ServiceAccount {
    ServiceAccount { metadata: metadata(cluster, names::brokers(&cluster.name)), ..ServiceAccount::default() }
}

/// Their Role.
pub fn role(cluster: &ValidatedCluster) -> Role {
    let own_cluster = vec![cluster.name.clone()];
    let own_leases = cluster.brokers().map(|id| names::broker(&cluster.name, id)).collect();
    let own_secrets = (0..names::SCRAM_SHARDS).map(|shard| names::scram_secret(&cluster.name, shard)).collect();
    // Changes are patches; brokers of earlier versions update.
    let rules = vec![
        // Broker settings that are changed on the wire go into the spec.
        rule(GROUP, &["kafkaclusters"], &["get", "list", "watch", "update", "patch"], own_cluster.clone()),
        // Blocks of producer ids.
        rule(GROUP, &["kafkaclusters/status"], &["update", "patch"], own_cluster),
        rule(GROUP, &["kafkatopics"], &["get", "list", "watch", "create", "update", "patch", "delete"], Vec::new()),
        // ACLs that are changed on the wire.
        rule(GROUP, &["kafkausers"], &["get", "list", "watch", "create", "update", "patch"], Vec::new()),
        // What is kept of passwords.
        rule("", &["secrets"], &["get", "list", "watch"], own_secrets),
        rule("", &["secrets"], &["get", "list", "watch", "patch"], vec![names::scram_by_clients(&cluster.name)]),
        // The keys of issuers of tokens.
        rule("", &["configmaps"], &["get", "list", "watch"], vec![names::issuer_keys(&cluster.name)]),
        rule(GROUP, &["kafkaassignments"], &["get", "list", "watch", "patch"], Vec::new()),
        rule(LEASES, &["leases"], &["get", "update"], own_leases),
        // A name can't be asked for at creation. The others' Leases show whether a broker knows more than an API server
        // that was set back.
        rule(LEASES, &["leases"], &["create", "list"], Vec::new()),
    ];
    Role { metadata: metadata(cluster, names::brokers(&cluster.name)), rules: Some(rules) }
}

/// The API group of Leases.
const LEASES: &str = "coordination.k8s.io";

fn rule(group: &str, resources: &[&str], verbs: &[&str], names: Vec<String>) -> PolicyRule {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    PolicyRule {
        api_groups: Some(owned(&[group])),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        resource_names: (!names.is_empty()).then_some(names),
        non_resource_urls: None,
    }
}

/// The RoleBinding of both.
pub fn role_binding(cluster: &ValidatedCluster) -> RoleBinding {
    let name = names::brokers(&cluster.name);
    RoleBinding {
        metadata: metadata(cluster, name.clone()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name,
            namespace: Some(cluster.namespace.clone()),
            api_group: None,
        }]),
    }
}
