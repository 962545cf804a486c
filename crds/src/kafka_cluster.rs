//! `KafkaCluster`: the brokers that a user asks for, and their state.
//!
//! The spec belongs to users, the status to the operator, except `nextProducerIdBlock`: a broker that needs producer
//! ids takes the next block by compare-and-swap.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClientQuotas,
    kafka_topic::DeletionPolicy,
    pod_template::{PodTemplate, Resources, SecretName},
    schema,
};
use ottla_rules::assignment::BrokerId;
use ottla_rules::features::Features;

/// A Kafka cluster.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ottla.io",
    version = "v1alpha1",
    kind = "KafkaCluster",
    namespaced,
    status = "KafkaClusterStatus",
    derive = "PartialEq",
    doc = "A Kafka cluster.",
    shortname = "okc",
    category = "ottla",
    scale(spec_replicas_path = ".spec.brokers.replicas", status_replicas_path = ".status.replicas"),
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".spec.brokers.replicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    printcolumn(name = "ClusterId", type_ = "string", json_path = ".status.clusterId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    // Pods are called <cluster>-broker-<id> and Services after them, which leaves 40 characters of a DNS label.
    validation = (
        "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
        "a cluster's name has at most 40 lower-case letters, digits and dashes and starts with a letter"
    ),
    // Services of single brokers are called <cluster>-broker-<id>-<listener>.
    validation = (
        "self.spec.listeners.all(l, l.type == 'internal' \
         || size(self.metadata.name) + size(l.name) <= 51)",
        "the name of a listener that is not internal and the cluster's name have at most 51 characters together"
    ),
    // A mistaken size can be corrected until a volume has that size.
    validation = (
        "!has(self.spec.brokers.storage) || !has(oldSelf.spec.brokers.storage) \
         || quantity(self.spec.brokers.storage.size).compareTo(quantity(oldSelf.spec.brokers.storage.size)) >= 0 \
         || has(oldSelf.status) && has(oldSelf.status.volumeSize) \
         && quantity(self.spec.brokers.storage.size).compareTo(quantity(oldSelf.status.volumeSize)) >= 0",
        "brokers.storage.size can not be reduced below what the brokers' volumes have (status.volumeSize)"
    )
)]
#[x_kube(
    validation = (
        "!has(self.defaults) || !has(self.defaults.replicationFactor) \
         || self.defaults.replicationFactor <= self.brokers.replicas",
        "defaults.replicationFactor can not be more than brokers.replicas"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.minInSyncReplicas) || self.defaults.minInSyncReplicas == 1 \
         || has(self.defaults.replicationFactor) || (has(self.config) && 'default.replication.factor' in self.config)",
        "defaults.minInSyncReplicas can not be more than defaults.replicationFactor, which is 1 if it is not set"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.partitions) || !has(self.config) \
         || !('num.partitions' in self.config) || self.config['num.partitions'] == string(self.defaults.partitions)",
        "defaults.partitions and num.partitions in config differ: set only one of them"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.replicationFactor) || !has(self.config) \
         || !('default.replication.factor' in self.config) \
         || self.config['default.replication.factor'] == string(self.defaults.replicationFactor)",
        "defaults.replicationFactor and default.replication.factor in config differ: set only one of them"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.minInSyncReplicas) || !has(self.config) \
         || !('min.insync.replicas' in self.config) \
         || self.config['min.insync.replicas'] == string(self.defaults.minInSyncReplicas)",
        "defaults.minInSyncReplicas and min.insync.replicas in config differ: set only one of them"
    ),
    // On a laptop brokers have no volumes of their own: the operator could not see what a leaving broker still holds.
    validation = (
        "has(self.brokers.storage) || self.brokers.replicas >= oldSelf.brokers.replicas",
        "brokers.replicas can not be reduced on a laptop"
    ),
    validation = (
        "has(self.brokers.storage) == has(oldSelf.brokers.storage)",
        "brokers.storage can not be added or removed"
    ),
    validation = (
        "!has(self.brokers.storage) || !has(oldSelf.brokers.storage) \
         || (has(self.brokers.storage.storageClassName) ? self.brokers.storage.storageClassName : '') \
         == (has(oldSelf.brokers.storage.storageClassName) ? oldSelf.brokers.storage.storageClassName : '')",
        "brokers.storage.storageClassName is immutable"
    ),
    validation = (
        "self.listeners.all(a, self.listeners.exists_one(b, b.port == a.port))",
        "listeners must have different ports"
    ),
    validation = (
        "self.listeners.exists(l, l.type == 'internal')",
        "listeners must have one of type internal: brokers connect to each other on the first of these"
    ),
    validation = (
        "self.listeners.all(l, l.port != 9404 && l.name != 'http')",
        "no listener can have port 9404 or the name http: brokers serve metrics and probes on that port"
    ),
    // Accepted settings are obeyed: what this version does not do yet is refused.
    validation = (
        "self.listeners.all(l, !has(l.tls) || !has(l.tls.issuerRef))",
        "this version of Ottla requests no certificates of cert-manager: create a Certificate, and name its Secret in \
        tls.secretRef"
    ),
    // Brokers of a running cluster reach each other on the first of these until each has a certificate.
    validation = (
        "!has(self.brokers.storage) || has(oldSelf.security) || has(oldSelf.authorization) \
         || oldSelf.listeners.exists(l, has(l.tls) || has(l.authentication)) \
         || !self.listeners.exists(l, l.type == 'internal' && (has(l.tls) || has(l.authentication)))",
        "to secure an internal listener of a running cluster, first set security: {} and restart every broker: then \
         brokers have certificates and reach each other without it"
    ),
    validation = (
        "self.listeners.all(l, l.port != 9091 && l.name != 'replication')",
        "no listener can have port 9091 or the name replication: brokers reach each other on that port"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterSpec {
    /// The brokers.
    #[serde(default)]
    pub brokers: Brokers,
    /// The ports on which every broker serves clients. Default: one listener named `internal`, type `internal`, port
    /// 9092.
    #[serde(default = "default_listeners")]
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub listeners: Vec<Listener>,
    /// Settings of all brokers, by Kafka's names. A setting that is not named has Kafka's default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
    /// Settings of single groups. A group that is not named, or a setting, has that of all brokers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub groups: Vec<GroupOverride>,
    /// What users may do. Absent: everybody may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// How much clients may do that are known by their `client.id` or address. For users see KafkaUser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<ClusterQuotas>,
    /// The authorities that issue the certificates of brokers and users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Defaults of topics that do not set these values themselves.
    #[serde(default)]
    pub defaults: TopicDefaults,
    /// The node label that names a broker's rack. Absent: brokers have no rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Rack>,
    /// While true, the operator changes no Kubernetes object of this cluster. It still elects leaders, creates and
    /// deletes topics, and writes the status.
    #[serde(default)]
    pub paused: bool,
    /// Whether the brokers' volumes are deleted with this object. Default: Retain.
    #[serde(default = "retain", deserialize_with = "crate::words::deletion_policy")]
    pub deletion_policy: DeletionPolicy,
}

fn retain() -> DeletionPolicy {
    DeletionPolicy::Retain
}

fn default_listeners() -> Vec<Listener> {
    vec![Listener { name: "internal".to_owned(), port: 9092, ..Listener::default() }]
}

/// The brokers of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Brokers {
    /// The number of brokers. When it is reduced, the brokers with the highest ids leave, each as soon as it holds no
    /// replica.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
    /// The volume of each broker. Required on Kubernetes. Absent on a laptop, where `ottla --data` names the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The container image of the brokers. Absent: the image in `status.image`, which is the operator's own image when
    /// the cluster is created. A pod runs a new image only after it was deleted and created again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// The processor time and memory that each broker requests, and the limits on both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Additions to the brokers' pods: labels, scheduling, pull secrets. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<Box<PodTemplate>>,
    /// Settings of single brokers; they take precedence over `config`. Only settings that a running broker can change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["broker"])
    )]
    pub overrides: Vec<BrokerOverride>,
}

/// The settings of one broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerOverride {
    /// The broker's id.
    #[schemars(range(min = 0, max = 999))]
    pub broker: BrokerId,
    /// Broker settings by Kafka's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
}

/// The settings of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupOverride {
    /// The group's id.
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,
    /// Group settings by Kafka's names, such as `consumer.session.timeout.ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
}

fn one() -> i32 {
    1
}

impl Default for Brokers {
    fn default() -> Self {
        Self { replicas: 1, storage: None, image: None, resources: None, pod_template: None, overrides: Vec::new() }
    }
}

impl Brokers {
    /// The settings that only this broker has.
    pub fn own_config(&self, broker: BrokerId) -> BTreeMap<String, String> {
        let own = self.overrides.iter().find(|entry| entry.broker == broker);
        own.map(|entry| entry.config.clone()).unwrap_or_default()
    }

    /// Replaces the settings that only this broker has; empty settings remove its entry.
    pub fn set_own_config(&mut self, broker: BrokerId, config: BTreeMap<String, String>) {
        self.overrides.retain(|entry| entry.broker != broker);
        if !config.is_empty() {
            self.overrides.push(BrokerOverride { broker, config });
            self.overrides.sort_by_key(|entry| entry.broker);
        }
    }
}

/// A broker's volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The size of the volume, such as `100Gi`. It can be raised, and lowered again until a volume has grown
    /// (`status.volumeSize`).
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub size: String,
    /// The volume's StorageClass; immutable. Absent: the default StorageClass of the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// A port on which every broker serves clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.authentication) || self.authentication.all(a, !(a.type in ['plain', 'oauthbearer', 'tls'])) \
                 || has(self.tls)",
        "message": "authentication by plain, oauthbearer or tls needs TLS: add tls: {}",
    },
    {
        "rule": "!has(self.authentication) || self.authentication.all(a, a.type != 'tls') \
                 || size(self.authentication) == 1",
        "message": "authentication of type tls stands alone: give other mechanisms a listener of their own",
    },
    {
        "rule": "!has(self.authentication) || self.authentication.all(a, !has(a.principalMappingRules)) \
                 || (has(self.tls) && has(self.tls.secretRef))",
        "message": "principalMappingRules need tls.secretRef: its ca.crt is the authority whose certificates they map",
    },
    {
        "rule": "self.type in ['internal', 'clusterIP'] || (has(self.insecure) && self.insecure) || (has(self.tls) \
                 && has(self.authentication) && size(self.authentication) > 0)",
        "message": "a listener outside of the Kubernetes cluster needs tls and authentication, or insecure: true",
    },
    {
        "rule": "has(self.tls) || !has(self.authentication) || size(self.authentication) == 0 \
                 || (has(self.insecure) && self.insecure)",
        "message": "passwords without TLS can be guessed by everybody who reads along: add tls: {}, or insecure: true",
    },
]))]
pub struct Listener {
    /// The listener's name. The ports of its Services have the same name.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The TCP port on which brokers listen. Not 9404, which serves metrics and probes.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// From where clients reach the listener, and at which address.
    #[serde(default, rename = "type", deserialize_with = "crate::words::listener_type")]
    pub type_: ListenerType,
    /// Whether clients speak TLS, and with which certificate the brokers do. Absent: the listener is plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// How clients authenticate: one `tls`, or one or more of the others. Absent: they don't, and are `User:ANONYMOUS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 4),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub authentication: Vec<ListenerAuthentication>,
    /// Accepts that everybody who reaches the listener can use it, or read along. Required for a listener outside of
    /// the Kubernetes cluster without TLS and authentication, and for passwords by SCRAM without TLS.
    #[serde(default)]
    pub insecure: bool,
}

/// TLS on a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.secretRef) || !has(self.issuerRef)",
    "message": "set only one of secretRef and issuerRef",
}]))]
pub struct ListenerTls {
    /// The Secret with the brokers' certificate (`tls.crt`) and key (`tls.key`), and with the authority whose clients
    /// `principalMappingRules` map (`ca.crt`). Absent: the operator issues certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
    /// The issuer of cert-manager that issues the certificate. Absent: the operator issues certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Issuer or ClusterIssuer.
    #[schemars(length(min = 1, max = 64))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How clients of a listener authenticate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(self.type == 'oauthbearer') == (has(self.issuers) && size(self.issuers) > 0)",
        "message": "oauthbearer, and nothing else, needs issuers",
    },
    {
        "rule": "!has(self.issuers) || size(self.issuers) < 2 \
                 || self.issuers.all(a, has(a.kubernetes) || has(a.principalPrefix))",
        "message": "users of two issuers may have the same name: set principalPrefix of each issuer but kubernetes",
    },
    {
        "rule": "self.type == 'tls' || !has(self.principalMappingRules)",
        "message": "only tls has principalMappingRules",
    },
]))]
pub struct ListenerAuthentication {
    /// The mechanism.
    #[serde(rename = "type")]
    pub type_: ListenerAuthenticationType,
    /// Whose tokens are good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub issuers: Vec<Issuer>,
    /// Makes principals of the subjects of certificates that the authority in `tls.secretRef` has issued, as Kafka's
    /// `ssl.principal.mapping.rules`: DEFAULT, or RULE:pattern/replacement/ with L or U, separated by commas. Absent:
    /// only certificates of KafkaUsers are good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub principal_mapping_rules: Option<String>,
}

/// How clients authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ListenerAuthenticationType {
    /// SCRAM-SHA-512: a password that is never sent.
    #[default]
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// PLAIN: a password that is sent, under TLS.
    #[serde(rename = "plain")]
    Plain,
    /// OAUTHBEARER: a token of an issuer, under TLS.
    #[serde(rename = "oauthbearer")]
    Oauthbearer,
    /// A certificate.
    #[serde(rename = "tls")]
    Tls,
}

/// An issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.kubernetes) != (has(self.issuer) && has(self.jwksUrl))",
    "message": "an issuer is kubernetes, or has issuer and jwksUrl",
}]))]
pub struct Issuer {
    /// The Kubernetes cluster itself, whose tokens are those of ServiceAccounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesIssuer>,
    /// The issuer's name, as in the claim `iss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
    /// Where the issuer's public keys are: a JWKS, which the operator reads each minute. Without TLS from its own host
    /// only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^(https://|http://(localhost|127\.0\.0\.1|\[::1\])[:/])"))]
    pub jwks_url: Option<String>,
    /// For whom the tokens must be, as in the claim `aud`.
    #[schemars(length(min = 1, max = 1024))]
    pub audience: String,
    /// The claim with the user's name. Default: sub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub principal_claim: Option<String>,
    /// What comes before the names of this issuer's users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub principal_prefix: Option<String>,
}

impl Issuer {
    /// The entry with the issuer's keys in the ConfigMap [`issuer_keys`](crate::names::issuer_keys); issuers with the
    /// same keys share one.
    pub fn entry(&self) -> String {
        self.jwks_url.as_deref().map_or_else(|| "kubernetes".to_owned(), crate::names::digest)
    }
}

/// The Kubernetes cluster as an issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KubernetesIssuer {}

/// What users may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// The names of principals that may do everything, without `User:`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "set"))]
    pub super_users: Vec<String>,
    /// Whether everybody may use a resource that no ACL names, as Kafka's `allow.everyone.if.no.acl.found`.
    #[serde(default)]
    pub allow_everyone_if_no_acl_found: bool,
}

/// How much clients may do that are known by their `client.id` or address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterQuotas {
    /// Clients with one `client.id`, of any user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["clientId"])
    )]
    pub clients: Vec<ClientQuotas>,
    /// Clients at one address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["ip"]))]
    pub ips: Vec<IpQuota>,
}

/// How many connections an address may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpQuota {
    /// The address; `*` stands for each without a quota of its own.
    #[schemars(length(min = 1, max = 64))]
    pub ip: String,
    /// New connections per second, at each broker.
    #[schemars(range(min = 1))]
    pub connection_creation_rate: i32,
}

/// The authorities of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// The authority of the brokers' certificates.
    #[serde(default)]
    pub cluster_ca: Authority,
    /// The authority of the users' certificates.
    #[serde(default)]
    pub clients_ca: Authority,
}

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// Counts the authority's keys. Raise it by one for a new key: brokers trust both until everybody has the new one.
    #[serde(default = "one_i64")]
    #[schemars(range(min = 1))]
    pub key_generation: i64,
    /// How many days clients have, when there is a new key, to trust the brokers' new authority or to use their users'
    /// new certificates. Default: 7.
    #[serde(default = "a_week")]
    #[schemars(range(min = 0, max = 365))]
    pub overlap_days: i64,
}

impl Default for Authority {
    fn default() -> Authority {
        Authority { key_generation: 1, overlap_days: a_week() }
    }
}

fn a_week() -> i64 {
    7
}

fn one_i64() -> i64 {
    1
}

/// From where clients reach a listener, and at which address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ListenerType {
    /// Clients inside the Kubernetes cluster, at the DNS name of each pod.
    #[default]
    Internal,
    /// Clients outside, at a port of the node that the broker runs on.
    NodePort,
    /// Clients outside, at one load balancer per broker.
    LoadBalancer,
    /// Clients inside, at one address per broker, which stays the same when the broker's pod is replaced.
    #[serde(rename = "clusterIP")]
    ClusterIp,
    /// A type of a newer version: no operator of this version builds the cluster.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    Unknown,
}

/// Defaults of topics that do not set these values themselves. The fields stand for Kafka's settings `num.partitions`,
/// `default.replication.factor` and `min.insync.replicas`, which can be set in `config` instead. A value that is set in
/// neither place is 1, as in Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minInSyncReplicas) || !has(self.replicationFactor) \
             || self.minInSyncReplicas <= self.replicationFactor",
    "message": "minInSyncReplicas can not be more than replicationFactor",
}]))]
pub struct TopicDefaults {
    /// The number of partitions of a topic (`num.partitions`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: Option<i32>,
    /// The number of replicas of each partition (`default.replication.factor`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replication_factor: Option<i32>,
    /// The number of in-sync replicas, the leader included, that a write with acks=all needs (`min.insync.replicas`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub min_in_sync_replicas: Option<i32>,
}

impl TopicDefaults {
    /// The fields by Kafka's names.
    fn by_name(&mut self) -> [(&'static str, &mut Option<i32>); 3] {
        [
            ("num.partitions", &mut self.partitions),
            ("default.replication.factor", &mut self.replication_factor),
            ("min.insync.replicas", &mut self.min_in_sync_replicas),
        ]
    }

    /// Kafka's names of the fields that are set.
    fn set(mut self) -> Vec<&'static str> {
        self.by_name().into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect()
    }
}

/// Where a broker's rack is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rack {
    /// The node label whose value is the rack, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
}

/// The state of a cluster. Written by the operator, except `nextProducerIdBlock`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterStatus {
    /// `metadata.generation` of the last spec that the operator applied. Absent: no spec was applied yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The namespace of the operator that operates the cluster. Operators of other namespaces do not change the cluster
    /// while that operator runs. Absent: no operator has claimed the cluster yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub operator: Option<String>,
    /// The image of the brokers' pods while `spec.brokers.image` is absent. An upgrade of the operator does not change
    /// it. Absent: no pod was created yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// The size of the brokers' smallest volume. `spec.brokers.storage.size` can not be less. Absent: there is no
    /// volume yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub volume_size: Option<String>,
    /// Kafka's cluster id: a UUID as 22 characters of base64. Absent: the cluster has no id yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 22, max = 22))]
    pub cluster_id: Option<String>,
    /// The number of brokers that exist, which `kubectl scale` reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The state of each broker, ordered by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"])
    )]
    pub brokers: Vec<BrokerStatus>,
    /// The addresses of each listener, as clients need them for `bootstrap.servers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub listeners: Vec<ListenerStatus>,
    /// The first producer id that no broker has taken yet; brokers take blocks of 1,000. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub next_producer_id_block: Option<i64>,
    /// The authorities of certificates: cluster, which issues those of brokers, and clients, which issues those of
    /// users. Absent: there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 2),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub authorities: Vec<AuthorityStatus>,
    /// The issuers of tokens that listeners name, by where their keys are. Absent: listeners name none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 128),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub issuers: Vec<IssuerStatus>,
    /// The levels of features that all brokers support, so that clients use them. Absent: none was finalized yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// Ready, Available, Degraded, Replicable; on Kubernetes also Progressing and Paused; SetBack after the API server
    /// was restored from a backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The state of an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityStatus {
    /// cluster or clients.
    pub name: String,
    /// The generation of the key that issues certificates.
    pub key_generation: i64,
    /// Steady; TrustBoth while everybody learns to trust a new key; Renew while certificates of the old key are
    /// replaced.
    pub phase: String,
    /// What the phase waits for. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// When the authority's certificate ends, in RFC 3339. It is renewed long before.
    pub not_after: String,
}

/// The state of an issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// `kubernetes`, or where the issuer's keys are.
    pub name: String,
    /// How many of its keys brokers know that can check signatures.
    pub keys: i64,
    /// Why the keys can't be read at the moment; those that were read last are still good. Absent: they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A broker as clients and administrators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// The broker's id: the number at the end of its pod's name.
    pub id: BrokerId,
    /// The broker's rack. Absent: unknown, or `spec.rack` is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Its pod's address; none on a laptop. Brokers connect there while nobody answers for its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the broker is live.
    #[serde(deserialize_with = "crate::words::broker_state")]
    pub state: BrokerState,
    /// The address that the broker advertises to clients on each listener, and to brokers on `replication`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 9),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["listener"])
    )]
    pub endpoints: Vec<Endpoint>,
}

/// Whether a broker is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BrokerState {
    /// The broker is live: it renews its Lease or answers the operator.
    Online,
    /// The broker is live and hands its partitions over before it stops.
    Draining,
    /// The operator judges the broker dead, or has never seen it.
    Offline,
}

/// The address at which clients reach a broker on one listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    /// The host name or IP address that the broker advertises.
    pub host: String,
    /// The TCP port that the broker advertises.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// The addresses with which clients begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The listener's name.
    pub name: String,
    /// A value for the client setting `bootstrap.servers`: host:port pairs, separated by commas.
    pub bootstrap_servers: String,
}

impl KafkaClusterSpec {
    /// The listener on which brokers connect to each other: the first of type internal. `None` only if the object was
    /// written without validation.
    pub fn inter_broker_listener(&self) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.type_ == ListenerType::Internal)
    }

    /// Whether the cluster has authorities: its brokers have certificates then, and reach each other under TLS.
    pub fn has_authorities(&self) -> bool {
        let is_secured = |listener: &Listener| listener.tls.is_some();
        self.security.is_some() || self.authorization.is_some() || self.listeners.iter().any(is_secured) || {
            // Brokers could not connect to each other there.
            self.inter_broker_listener().is_some_and(|listener| !listener.authentication.is_empty())
        }
    }

    /// The brokers' settings by Kafka's names: those in `config` and those in `defaults`, which validation keeps equal
    /// where both set a value. `min.insync.replicas` is always present, as in Kafka with eligible leader replicas.
    pub fn broker_config(&self) -> BTreeMap<String, String> {
        let mut config = self.config.clone();
        for (name, value) in self.defaults.clone().by_name() {
            if let Some(value) = value {
                config.entry(name.to_owned()).or_insert_with(|| value.to_string());
            }
        }
        config.entry("min.insync.replicas".to_owned()).or_insert_with(|| "1".to_owned());
        config
    }

    /// The settings that a group has for itself.
    pub fn group_config(&self, group: &str) -> BTreeMap<String, String> {
        let own = self.groups.iter().find(|entry| entry.name == group);
        own.map(|entry| entry.config.clone()).unwrap_or_default()
    }

    /// Replaces the settings that a group has for itself; empty settings remove its entry.
    pub fn set_group_config(&mut self, group: &str, config: BTreeMap<String, String>) {
        self.groups.retain(|entry| entry.name != group);
        if !config.is_empty() {
            self.groups.push(GroupOverride { name: group.to_owned(), config });
            self.groups.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }

    /// Changes the spec so that `broker_config` returns `wanted`. A setting that is in `defaults` is changed there.
    pub fn set_broker_config(&mut self, wanted: &BTreeMap<String, String>) {
        let before = self.broker_config();
        for (name, value) in self.defaults.by_name().into_iter().filter(|(_, value)| value.is_some()) {
            *value = wanted.get(name).and_then(|wanted| wanted.trim().parse().ok());
        }
        self.config.retain(|name, _| wanted.contains_key(name));
        let elsewhere = self.defaults.clone().set();
        let is_new = |name: &str, value: &String| {
            before.get(name) != Some(value) && (self.config.contains_key(name) || !elsewhere.contains(&name))
        };
        let changed = wanted.iter().filter(|(name, value)| is_new(name, value));
        let changed: Vec<_> = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.config.extend(changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_setting_that_is_in_defaults_is_changed_there() {
        let mut spec = KafkaClusterSpec {
            config: config(&[("num.partitions", "6"), ("log.retention.hours", "1")]),
            defaults: TopicDefaults { min_in_sync_replicas: Some(1), ..TopicDefaults::default() },
            ..KafkaClusterSpec::default()
        };
        let expected = config(&[("num.partitions", "6"), ("log.retention.hours", "1"), ("min.insync.replicas", "1")]);
        assert_eq!(spec.broker_config(), expected);

        let wanted = config(&[("num.partitions", "7"), ("min.insync.replicas", "2")]);
        spec.set_broker_config(&wanted);
        assert_eq!(spec.broker_config(), wanted);
        assert_eq!(
            (spec.config.clone(), spec.defaults.min_in_sync_replicas),
            (config(&[("num.partitions", "7")]), Some(2))
        );

        spec.set_broker_config(&config(&[("default.replication.factor", "3")]));
        assert_eq!(spec.config, config(&[("default.replication.factor", "3")]));
        assert_eq!(spec.defaults, TopicDefaults::default());
        assert_eq!(spec.broker_config()["min.insync.replicas"], "1");

        spec.set_broker_config(&config(&[("min.insync.replicas", "2")]));
        assert_eq!(spec.config, config(&[("min.insync.replicas", "2")]));
    }
}
