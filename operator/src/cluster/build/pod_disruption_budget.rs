//! How many brokers may be evicted at once.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ottla_crds::names;

use super::label::{metadata, selector};
use crate::cluster::validate::ValidatedCluster;

/// One broker at a time may be away or not in sync yet: a pod is ready when its replicas are in sync.
pub fn pod_disruption_budget(cluster: &ValidatedCluster) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(cluster, names::brokers(&cluster.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(cluster)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
