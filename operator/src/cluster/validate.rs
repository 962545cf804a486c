//! From an admitted spec to one that can be built. Later steps never see the raw spec.
//!
//! Admission has refused what it could; these checks need more than the object itself: the operator's options, and
//! Kafka's settings.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::ResourceExt;
use ottla_access::MappingRules;
use ottla_access::certificate::mapping::InvalidRules;
use ottla_config::check_cluster;
use ottla_crds::{
    DeletionPolicy, IssuerRef, KafkaCluster, ListenerType, PodTemplate, Resources, TopologySpread, Unsatisfiable, names,
};
use ottla_rules::assignment::BrokerId;

use super::pools::{self, Pool};
use crate::plan::rollout::windows::{self, Unusable};

/// Any user that is not root: the image has no users.
const USER: i64 = 65532;
/// The default of the time that brokers have to stop, in seconds.
const GRACE_SECONDS: u32 = 60;

/// A cluster that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedCluster {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its pools, by their first broker. The first is the default pool, which begins with broker 0.
    pub pools: Vec<Pool>,
    /// The brokers' image.
    pub image: String,
    /// The resources of each broker.
    pub resources: Resources,
    /// Additions to their pods.
    pub pods: PodTemplate,
    /// The listeners, of which at least one is internal.
    pub listeners: Vec<Listener>,
    /// Whether brokers have certificates of the cluster's authorities, and reach each other under TLS.
    pub has_authorities: bool,
    /// The node label that names a broker's rack; `None`: brokers have no rack.
    pub rack_key: Option<String>,
    /// Whether volumes are deleted with the cluster.
    pub deletion_policy: DeletionPolicy,
    /// The user id and group id of the brokers' processes; `None`: the platform chooses.
    pub user: Option<i64>,
}

/// A port on which every broker serves clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// The port that brokers bind.
    pub port: u16,
    /// From where clients reach it.
    pub type_: ListenerType,
    /// The Secret with a certificate of its own; `None`: it has none, or the brokers'.
    pub certificate: Option<String>,
    /// The issuer of cert-manager that fills this Secret; `None`: somebody else does.
    pub issuer: Option<IssuerRef>,
    /// Who may connect besides brokers and operators; empty: everybody.
    pub peers: Vec<NetworkPolicyPeer>,
}

/// Why a cluster can't be built. It waits for a change of its spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is no volume: data would be lost with the pod.
    #[error("brokers.storage is required on Kubernetes: set the size of each broker's volume")]
    NoStorage,
    /// Brokers run without root's rights.
    #[error("listeners: brokers can not listen on port {0} of {1}, which needs root: set a port from 1024 to 65535")]
    PrivilegedPort(i32, String),
    /// Only an object that was never admitted.
    #[error("listeners: {0} of {1} is not a port: set a port from 1024 to 65535")]
    Port(i32, String),
    /// Only an object that was never admitted.
    #[error("listeners: one must be of type internal")]
    NoInternalListener,
    /// The rules of a listener can't be read.
    #[error("listeners: {0} of {1}")]
    MappingRules(InvalidRules, String),
    /// A word of a newer version.
    #[error("listeners: this version of the operator does not know the type of {0}: upgrade the operator")]
    UnknownListenerType(String),
    /// A word of a newer version.
    #[error(
        "brokers.podTemplate.topologySpread: this version of the operator does not know the \
         whenUnsatisfiable of {0}: upgrade the operator"
    )]
    UnknownSpread(String),
    /// A window of rolls can't be read.
    #[error("rollout.windows: {0}")]
    Window(#[from] Unusable),
    /// Brokers of both would have the same ids.
    #[error(
        "pools: broker {2} would belong to {0} and to {1}: give one of them a firstBroker that leaves room (take the pool \
         out of the list, and add it with another firstBroker), or lower replicas"
    )]
    PoolsOverlap(String, String, i32),
    /// Its brokers would get other ids.
    #[error(
        "pools: a pool {0} exists with another firstBroker: add it as it is in status.pools, or choose another name"
    )]
    AnotherPool(String),
    /// Its brokers would get other ids.
    #[error("pools: the brokers of the pool {0} begin with {1}: set its firstBroker to {1}, or choose another name")]
    OtherFirst(String, i32),
    /// An id must not come to stand for another volume.
    #[error(
        "pools: {2} belongs to {1}, and broker {0} would become one of {3}: set firstBroker to an id above {0} \
         (take the pool out of the list, and add it with another firstBroker), or delete the claim if the broker \
         has left and its records are not needed"
    )]
    IdTaken(BrokerId, String, String, String),
    /// Nobody knows which volumes its brokers have.
    #[error(
        "pools: {0} belongs to a pool that neither spec.pools nor status.pools names, so nothing is changed: add the pool \
         again, with the firstBroker that it had, or delete this object if its records are not needed"
    )]
    UnknownPool(String),
    /// A setting that is not supported.
    #[error("config: {0}")]
    Config(String),
}

impl ValidatedCluster {
    /// The cluster that `object` asks for. Where it names no image, brokers run `unnamed_image`.
    ///
    /// # Errors
    /// What the user must change.
    pub fn new(object: &KafkaCluster, unnamed_image: &str) -> Result<ValidatedCluster, Invalid> {
        let spec = &object.spec;
        let own = spec.brokers.overrides.iter().map(|entry| &entry.config);
        let groups = spec.groups.iter().map(|entry| &entry.config);
        check_cluster(&spec.broker_config(), own, groups).map_err(|error| Invalid::Config(error.to_string()))?;
        let listeners = spec
            .listeners
            .iter()
            .map(|one| listener(&object.name_any(), one))
            .collect::<Result<Vec<Listener>, Invalid>>()?;
        let pods = spec.brokers.pod_template.as_deref().cloned().unwrap_or_default();
        let unknown = |rule: &&TopologySpread| rule.when_unsatisfiable == Unsatisfiable::Unknown;
        if let Some(rule) = pods.topology_spread.iter().find(unknown) {
            return Err(Invalid::UnknownSpread(rule.topology_key.clone()));
        }
        windows::check(spec.rollout.as_ref().map_or(&[], |rollout| &rollout.windows))?;
        spec.inter_broker_listener().ok_or(Invalid::NoInternalListener)?;
        Ok(ValidatedCluster {
            name: object.name_any(),
            namespace: object.namespace().unwrap_or_default(),
            pools: pools::of(object)?,
            image: spec.brokers.image.clone().unwrap_or_else(|| unnamed_image.to_owned()),
            resources: spec.brokers.resources.clone().unwrap_or_default(),
            pods,
            listeners,
            has_authorities: spec.has_authorities(),
            rack_key: spec.rack.as_ref().map(|rack| rack.topology_key.clone()),
            deletion_policy: spec.deletion_policy,
            user: Some(USER),
        })
    }

    /// The time in seconds that a stopping broker has to hand its partitions over and to close its logs.
    pub fn grace_seconds(&self) -> u32 {
        self.pods
            .termination_grace_period_seconds
            .and_then(|seconds| u32::try_from(seconds).ok())
            .unwrap_or(GRACE_SECONDS)
    }

    /// The ports of a broker's pod by name: its listeners, and the one for replication where there is TLS.
    pub fn ports(&self) -> impl Iterator<Item = (&str, u16)> {
        let replication = self.has_authorities.then_some((names::REPLICATION_LISTENER, names::REPLICATION_PORT));
        self.listeners.iter().map(|listener| (listener.name.as_str(), listener.port)).chain(replication)
    }
}

fn listener(cluster: &str, listener: &ottla_crds::Listener) -> Result<Listener, Invalid> {
    let name = listener.name.clone();
    if listener.type_ == ListenerType::Unknown {
        return Err(Invalid::UnknownListenerType(name));
    }
    for rules in listener.authentication.iter().filter_map(|way| way.principal_mapping_rules.as_deref()) {
        MappingRules::parse(rules).map_err(|error| Invalid::MappingRules(error, name.clone()))?;
    }
    match u16::try_from(listener.port) {
        Ok(port @ 1024..) => {
            let named = listener.tls.as_ref().and_then(|tls| Some(tls.secret_ref.as_ref()?.name.clone()));
            let issuer = listener.tls.as_ref().and_then(|tls| tls.issuer_ref.clone());
            let issued = issuer.as_ref().map(|_| names::listener_certificate(cluster, &name));
            let (certificate, peers) = (named.or(issued), listener.network_policy_peers.clone());
            Ok(Listener { name, port, type_: listener.type_, certificate, issuer, peers })
        }
        Ok(_) => Err(Invalid::PrivilegedPort(listener.port, name)),
        Err(_) => Err(Invalid::Port(listener.port, name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn validate(spec: serde_json::Value) -> Result<ValidatedCluster, Invalid> {
        let spec = serde_json::from_value(spec).unwrap();
        ValidatedCluster::new(&KafkaCluster::new("prod", spec), "ottla:1")
    }

    #[test]
    fn what_can_not_be_built_is_refused_with_what_to_change() {
        let brokers = json!({ "storage": { "size": "1Gi" } });
        let port = |port: i32| json!([{ "name": "a", "port": port, "type": "internal" }]);
        for (spec, expected) in [
            (json!({}), Invalid::NoStorage),
            (json!({ "brokers": brokers, "listeners": port(80) }), Invalid::PrivilegedPort(80, "a".to_owned())),
            (json!({ "brokers": brokers, "listeners": port(70_000) }), Invalid::Port(70_000, "a".to_owned())),
            (
                json!({ "brokers": brokers, "listeners": [{ "name": "a", "port": 9092, "type": "nodePort" }] }),
                Invalid::NoInternalListener,
            ),
            (
                json!({ "brokers": brokers, "listeners": [{ "name": "a", "port": 9092, "type": "gateway" }] }),
                Invalid::UnknownListenerType("a".to_owned()),
            ),
            (
                json!({ "brokers": brokers, "listeners": [{ "name": "a", "port": 9092, "tls": {}, "authentication": [
                    { "type": "tls", "principalMappingRules": "CN" }] }] }),
                Invalid::MappingRules(InvalidRules::Shape("CN".to_owned()), "a".to_owned()),
            ),
            (
                json!({ "brokers": { "storage": { "size": "1Gi" }, "podTemplate": {
                    "topologySpread": [{ "topologyKey": "zone", "whenUnsatisfiable": "Evict" }] } } }),
                Invalid::UnknownSpread("zone".to_owned()),
            ),
        ] {
            assert_eq!(validate(spec), Err(expected));
        }
        let unknown = validate(json!({ "brokers": brokers, "config": { "no.such.setting": "1" } })).unwrap_err();
        assert!(unknown.to_string().contains("no.such.setting"), "{unknown}");
    }

    #[test]
    fn the_image_that_the_spec_names_comes_first() {
        for (brokers, image) in [
            (json!({ "storage": { "size": "1Gi" } }), "ottla:1"),
            (json!({ "storage": { "size": "1Gi" }, "image": "mine:2" }), "mine:2"),
        ] {
            assert_eq!(validate(json!({ "brokers": brokers })).unwrap().image, image);
        }
    }
}
