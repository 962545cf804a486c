//! The addresses and rack of each broker, from pods, nodes and Services. Pure.
//!
//! An address that can't be seen at the moment (a pod is being replaced, a node is gone) stays as it was last: clients
//! should not get a broker without an address for a second.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use ottla_crds::{BrokerStatus, Endpoint, ListenerStatus, ListenerType, names};
use ottla_rules::assignment::BrokerId;

use super::read::Read;
use super::validate::{Listener, ValidatedCluster};
use crate::plan::platform::BrokerPlace;

/// The place of each broker.
pub fn places(cluster: &ValidatedCluster, read: &Read) -> BTreeMap<BrokerId, BrokerPlace> {
    let said = read.cluster.as_ref().and_then(|cluster| cluster.status.as_ref());
    let said: BTreeMap<BrokerId, &BrokerStatus> =
        said.into_iter().flat_map(|status| &status.brokers).map(|broker| (broker.id, broker)).collect();
    let place = |id: BrokerId| {
        let said = said.get(&id).copied();
        let pod = read.pods.get(&cluster.pod(id)).map(|pod| &**pod);
        let node = pod.and_then(|pod| Some(&**read.nodes.get(pod.spec.as_ref()?.node_name.as_ref()?)?));
        let rack = cluster.rack_key.as_ref().and_then(|key| {
            let label = node.and_then(|node| node.metadata.labels.as_ref()?.get(key).cloned());
            label.or_else(|| said?.rack.clone())
        });
        let address = pod.and_then(|pod| pod.status.as_ref()?.pod_ip.clone()).or_else(|| said?.address.clone());
        let endpoint = |listener: &Listener| {
            let known = endpoint(cluster, read, id, (pod, node), listener);
            known.or_else(|| said?.endpoints.iter().find(|endpoint| endpoint.listener == listener.name).cloned())
        };
        // Brokers of pods that were created before the cluster had authorities don't listen there.
        let replication = match pod {
            Some(pod) => bound_port(pod, names::REPLICATION_LISTENER).map(|port| Endpoint {
                listener: names::REPLICATION_LISTENER.to_owned(),
                host: pod_host(cluster, id),
                port,
            }),
            None => said.and_then(|said| {
                said.endpoints.iter().find(|endpoint| endpoint.listener == names::REPLICATION_LISTENER).cloned()
            }),
        };
        (
            id,
            BrokerPlace {
                rack,
                node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
                address,
                endpoints: cluster.listeners.iter().filter_map(endpoint).chain(replication).collect(),
            },
        )
    };
    cluster.brokers().map(place).collect()
}

fn endpoint(
    cluster: &ValidatedCluster,
    read: &Read,
    id: BrokerId,
    (pod, node): (Option<&Pod>, Option<&Node>),
    listener: &Listener,
) -> Option<Endpoint> {
    let service_name = names::broker_service(&cluster.name, id, &listener.name);
    let (host, port) = match listener.type_ {
        ListenerType::Internal => {
            let bound = pod.and_then(|pod| bound_port(pod, &listener.name));
            (pod_host(cluster, id), bound.unwrap_or(i32::from(listener.port)))
        }
        ListenerType::ClusterIp => (format!("{service_name}.{}.svc", cluster.namespace), i32::from(listener.port)),
        ListenerType::NodePort => {
            let ports = read.services.get(&service_name)?.spec.as_ref()?.ports.as_ref()?;
            (node_address(node?)?, ports.first()?.node_port?)
        }
        ListenerType::LoadBalancer => (balancer(read.services.get(&service_name)?)?, i32::from(listener.port)),
        ListenerType::Unknown => return None,
    };
    Some(Endpoint { listener: listener.name.clone(), host, port })
}

/// The name of a broker's pod.
fn pod_host(cluster: &ValidatedCluster, id: BrokerId) -> String {
    let (name, service) = (cluster.pod(id), names::headless_service(&cluster.name));
    format!("{name}.{service}.{}.svc", cluster.namespace)
}

/// The port on which a pod's broker listens: that of the spec when the pod was created. Services refer to it by name.
pub(super) fn bound_port(pod: &Pod, listener: &str) -> Option<i32> {
    let mut ports = pod.spec.as_ref()?.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports.find(|port| port.name.as_deref() == Some(listener)).map(|port| port.container_port)
}

/// A node's external address, or else its internal one, which clients outside can reach on many sites.
fn node_address(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let of_type = |type_: &str| addresses.iter().find(|address| address.type_ == type_);
    let address = of_type("ExternalIP").or_else(|| of_type("ExternalDNS")).or_else(|| of_type("InternalIP"));
    address.map(|address| address.address.clone())
}

fn balancer(service: &Service) -> Option<String> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
    ingress.hostname.clone().or_else(|| ingress.ip.clone())
}

/// The `bootstrap.servers` of each listener: inside, the Service of all ready brokers; outside, every broker.
pub fn listeners(cluster: &ValidatedCluster, places: &BTreeMap<BrokerId, BrokerPlace>) -> Vec<ListenerStatus> {
    let listener = |listener: &Listener| {
        let bootstrap_servers = match listener.type_ {
            ListenerType::Internal | ListenerType::ClusterIp => {
                format!("{}.{}.svc:{}", names::bootstrap_service(&cluster.name), cluster.namespace, listener.port)
            }
            ListenerType::NodePort | ListenerType::LoadBalancer | ListenerType::Unknown => {
                let endpoints = places.values().flat_map(|place| &place.endpoints);
                let here = endpoints.filter(|endpoint| endpoint.listener == listener.name);
                here.map(|endpoint| format!("{}:{}", in_brackets(&endpoint.host), endpoint.port))
                    .collect::<Vec<_>>()
                    .join(",")
            }
        };
        ListenerStatus { name: listener.name.clone(), bootstrap_servers }
    };
    cluster.listeners.iter().map(listener).filter(|status| !status.bootstrap_servers.is_empty()).collect()
}

fn in_brackets(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_crds::KafkaCluster;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn cluster(status: Value) -> (ValidatedCluster, Read) {
        let object: KafkaCluster = from(json!({
            "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster",
            "metadata": { "name": "prod", "namespace": "kafka" },
            "spec": {
                "brokers": { "replicas": 1, "storage": { "size": "1Gi" } },
                "rack": { "topologyKey": "zone" },
                "listeners": [
                    { "name": "internal", "port": 9092 },
                    { "name": "outside", "port": 9094, "type": "nodePort" },
                    { "name": "balanced", "port": 9095, "type": "loadBalancer" },
                    { "name": "stable", "port": 9096, "type": "clusterIP" },
                ],
            },
            "status": status,
        }));
        let valid = ValidatedCluster::new(&object, "ottla:1").unwrap();
        (valid, Read { cluster: Some(Arc::new(object)), ..Read::default() })
    }

    fn from<K: DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).unwrap()
    }

    fn with_everything(read: &mut Read) {
        let pod: Pod = from(
            json!({ "metadata": { "name": "prod-broker-0" }, "spec": { "nodeName": "n1", "containers": [] }, "status": { "podIP": "10.1.0.7" } }),
        );
        read.pods.insert("prod-broker-0".to_owned(), Arc::new(pod));
        let node: Node = from(json!({
            "metadata": { "name": "n1", "labels": { "zone": "a" } },
            "status": { "addresses": [
                { "type": "InternalIP", "address": "10.0.0.1" }, { "type": "ExternalIP", "address": "192.0.2.1" }
            ] },
        }));
        read.nodes.insert("n1".to_owned(), Arc::new(node));
        for (name, service) in [
            ("prod-broker-0-outside", json!({ "spec": { "ports": [{ "port": 9094, "nodePort": 30001 }] } })),
            (
                "prod-broker-0-balanced",
                json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "2001:db8::1" }] } } }),
            ),
        ] {
            read.services.insert(name.to_owned(), Arc::new(from(service)));
        }
    }

    fn told(place: &BrokerPlace) -> Vec<String> {
        place.endpoints.iter().map(|e| format!("{} {} {}", e.listener, e.host, e.port)).collect()
    }

    #[test]
    fn each_listener_has_its_own_way_to_a_broker() {
        let (cluster, mut read) = cluster(json!({}));
        let places_before = places(&cluster, &read);
        assert_eq!(
            told(&places_before[&BrokerId(0)]),
            ["internal prod-broker-0.prod-brokers.kafka.svc 9092", "stable prod-broker-0-stable.kafka.svc 9096"],
            "what rests on names alone is known at once"
        );
        with_everything(&mut read);
        let places = places(&cluster, &read);
        let place = &places[&BrokerId(0)];
        assert_eq!((place.rack.as_deref(), place.address.as_deref()), (Some("a"), Some("10.1.0.7")));
        assert_eq!(
            told(place),
            [
                "internal prod-broker-0.prod-brokers.kafka.svc 9092",
                "outside 192.0.2.1 30001",
                "balanced 2001:db8::1 9095",
                "stable prod-broker-0-stable.kafka.svc 9096",
            ]
        );
        let bootstrap: Vec<String> =
            listeners(&cluster, &places).into_iter().map(|l| format!("{} {}", l.name, l.bootstrap_servers)).collect();
        assert_eq!(
            bootstrap,
            [
                "internal prod-bootstrap.kafka.svc:9092",
                "outside 192.0.2.1:30001",
                "balanced [2001:db8::1]:9095",
                "stable prod-bootstrap.kafka.svc:9096",
            ]
        );
    }

    #[test]
    fn a_broker_is_where_it_listens_until_it_has_read_the_new_port() {
        let (cluster, mut read) = cluster(json!({}));
        let container = json!({ "name": "broker", "ports": [{ "name": "internal", "containerPort": 9192 }] });
        let pod: Pod = from(json!({ "metadata": { "name": "prod-broker-0" }, "spec": { "containers": [container] } }));
        read.pods.insert("prod-broker-0".to_owned(), Arc::new(pod));
        let places = places(&cluster, &read);
        assert!(told(&places[&BrokerId(0)]).contains(&"internal prod-broker-0.prod-brokers.kafka.svc 9192".to_owned()));
    }

    #[test]
    fn a_broker_whose_pod_is_away_keeps_its_address_and_rack() {
        let endpoint = json!({ "listener": "outside", "host": "192.0.2.1", "port": 30001 });
        let (cluster, read) = cluster(json!({
            "brokers": [{ "id": 0, "state": "Offline", "rack": "a", "endpoints": [endpoint] }],
        }));
        let place = &places(&cluster, &read)[&BrokerId(0)];
        assert_eq!(place.rack.as_deref(), Some("a"));
        assert!(told(place).contains(&"outside 192.0.2.1 30001".to_owned()));
    }
}
