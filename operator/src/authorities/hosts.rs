//! The names and addresses under which clients connect to a broker: they stand in its certificate.

use std::collections::BTreeSet;

use kube::ResourceExt;
use ottla_crds::{KafkaCluster, names};
use ottla_rules::assignment::BrokerId;

/// The end of names in most Kubernetes clusters. Names without it are in certificates, too.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// The names and addresses of a broker: those of its pod and of the bootstrap Service, which are known before the pod
/// exists, and whatever the status says that it advertises.
pub fn hosts(cluster: &KafkaCluster, id: BrokerId) -> Vec<String> {
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let mut hosts = BTreeSet::new();
    if cluster.spec.brokers.storage.is_some() {
        let pod = format!("{}.{}", cluster.pod(id), names::headless_service(&name));
        let bootstrap = names::bootstrap_service(&name);
        hosts.insert(bootstrap.clone());
        hosts.insert(format!("{bootstrap}.{namespace}"));
        hosts.extend([pod, bootstrap].iter().flat_map(|service| qualified(service, &namespace)));
    } else {
        hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    }
    let brokers = cluster.status.iter().flat_map(|status| &status.brokers).filter(|broker| broker.id == id);
    hosts.extend(brokers.flat_map(|broker| &broker.endpoints).map(|endpoint| endpoint.host.clone()));
    hosts.into_iter().collect()
}

/// The names of a Service, or of a pod behind one, that hold in all namespaces: without and with the cluster's domain.
pub fn qualified(service: &str, namespace: &str) -> [String; 2] {
    let name = format!("{service}.{namespace}.svc");
    [format!("{name}.{CLUSTER_DOMAIN}"), name]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(storage: Value, status: Value) -> KafkaCluster {
        serde_json::from_value(json!({
            "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster",
            "metadata": { "name": "prod", "namespace": "kafka" },
            "spec": { "brokers": { "storage": storage } }, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_broker_is_reached_at_its_pod_at_the_bootstrap_service_and_where_it_advertises() {
        let outside = json!({ "listener": "outside", "host": "192.0.2.1", "port": 30001 });
        let status = json!({ "brokers": [
            { "id": 0, "state": "Online", "endpoints": [outside] },
            { "id": 1, "state": "Online", "endpoints": [{ "listener": "outside", "host": "192.0.2.2", "port": 1 }] },
        ] });
        assert_eq!(
            hosts(&cluster(json!({ "size": "1Gi" }), status), BrokerId(0)),
            [
                "192.0.2.1",
                "prod-bootstrap",
                "prod-bootstrap.kafka",
                "prod-bootstrap.kafka.svc",
                "prod-bootstrap.kafka.svc.cluster.local",
                "prod-broker-0.prod-brokers.kafka.svc",
                "prod-broker-0.prod-brokers.kafka.svc.cluster.local",
            ]
        );
        assert_eq!(hosts(&cluster(json!(null), json!({})), BrokerId(0)), ["127.0.0.1", "::1", "localhost"]);
    }
}
