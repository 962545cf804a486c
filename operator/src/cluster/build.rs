//! Every object of a cluster, from its spec: pure functions of values, one file per Kubernetes resource.
//!
//! Always: what is built has the cluster's label and ours, so that an object which is no longer built is found and
//! removed; no owner references to or from volumes and the KafkaCluster, so that a definition that is deleted by
//! mistake does not delete the brokers.

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::ApiResource;
use ottla_crds::names;
use serde::Serialize;
use serde_json::Value;

use super::pools::Pool;
use super::revision::Revision;
use super::validate::ValidatedCluster;

pub mod bootstrap_service;
pub mod broker_services;
pub mod config_map;
pub mod headless_service;
pub mod label;
pub mod network_policy;
pub mod pod;
pub mod pod_disruption_budget;
pub mod rights;
pub mod stateful_set;

/// The kinds that are built, in the order in which they are applied: what pods need comes before pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The identity of the brokers' pods.
    ServiceAccount,
    /// The brokers' rights.
    Role,
    /// Gives the rights to the identity.
    RoleBinding,
    /// Their revisions.
    ConfigMap,
    /// The addresses of brokers.
    Service,
    /// Who may connect to brokers.
    NetworkPolicy,
    /// How many brokers may be evicted at once.
    PodDisruptionBudget,
    /// The brokers' pods.
    StatefulSet,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 8] = [
        Kind::ServiceAccount,
        Kind::Role,
        Kind::RoleBinding,
        Kind::ConfigMap,
        Kind::Service,
        Kind::NetworkPolicy,
        Kind::PodDisruptionBudget,
        Kind::StatefulSet,
    ];

    /// The kind's API resource.
    pub fn resource(self) -> ApiResource {
        match self {
            Kind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Kind::Role => ApiResource::erase::<Role>(&()),
            Kind::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Kind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Kind::Service => ApiResource::erase::<Service>(&()),
            Kind::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Kind::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Kind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        }
    }
}

/// An object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All fields that the operator sets.
    pub value: Value,
    /// What stands in the place of `value` if the API server refuses that, where the object does not exist yet; where
    /// it exists, it stays as it is. `None`: nothing can, and nothing that comes later is applied either.
    pub else_value: Option<Value>,
}

impl Built {
    fn new<K: Resource + Serialize>(kind: Kind, name: String, object: &K) -> Built {
        assert_eq!(kind.resource().kind, K::KIND, "the kind of what is built");
        let value = serde_json::to_value(object).expect("a Kubernetes object is JSON");
        Built { kind, name, value, else_value: None }
    }

    fn or_else<K: Resource + Serialize>(self, object: &K) -> Built {
        Built { else_value: Built::new(self.kind, String::new(), object).value.into(), ..self }
    }
}

/// Every object of the cluster, in the order in which they are applied. `sets`: the pools that have a StatefulSet, and
/// the volume size in the template of the existing one; `None`: it does not exist. `pinned`: the revision that new pods
/// get; `other`: one more that is kept.
pub fn build(
    cluster: &ValidatedCluster,
    sets: &[(&Pool, Option<&str>)],
    (pinned, other): (&Revision, Option<&Revision>),
) -> Vec<Built> {
    let rights_name = names::brokers(&cluster.name);
    let service = |service: Service| {
        let name = service.metadata.name.clone().unwrap_or_default();
        Built::new(Kind::Service, name, &service)
    };
    let mut built = vec![
        Built::new(Kind::ServiceAccount, rights_name.clone(), &rights::service_account(cluster)),
        Built::new(Kind::Role, rights_name.clone(), &rights::role(cluster)),
        Built::new(Kind::RoleBinding, rights_name, &rights::role_binding(cluster)),
    ];
    built.extend([pinned].into_iter().chain(other).map(|revision| {
        let name = names::revision(&cluster.name, &revision.hash);
        Built::new(Kind::ConfigMap, name, &revision.config_map(cluster))
    }));
    built.extend([
        service(headless_service::headless_service(cluster)),
        service(bootstrap_service::bootstrap_service(cluster)),
    ]);
    built.extend(broker_services::broker_services(cluster).into_iter().map(service));
    built.extend([
        Built::new(Kind::NetworkPolicy, names::brokers(&cluster.name), &network_policy::network_policy(cluster))
            .or_else(&network_policy::closed(cluster)),
        Built::new(
            Kind::PodDisruptionBudget,
            names::brokers(&cluster.name),
            &pod_disruption_budget::pod_disruption_budget(cluster),
        ),
    ]);
    built.extend(sets.iter().map(|(pool, claim_size)| {
        let template = pinned.template_of(pool);
        let set = stateful_set::stateful_set(cluster, pool, *claim_size, &template);
        Built::new(Kind::StatefulSet, pool.stateful_set(&cluster.name), &set)
    }));
    built
}

#[cfg(test)]
mod tests;
