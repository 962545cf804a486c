//! A listener of a KafkaCluster: where clients connect, under TLS or not, and how they say who they are.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pod_template::SecretName;

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
                 || (has(self.tls) && (has(self.tls.secretRef) || has(self.tls.issuerRef)))",
        "message": "principalMappingRules need tls.secretRef or tls.issuerRef: ca.crt of the Secret is the authority \
                    whose certificates they map",
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
    /// Who may connect: the peers of a Kubernetes NetworkPolicy, besides brokers and operators. Brokers see clients
    /// outside of the Kubernetes cluster by the address of a node, where nodes or load balancers translate addresses.
    /// Absent: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::peers::peers")]
    pub network_policy_peers: Vec<NetworkPolicyPeer>,
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
    /// The issuer of cert-manager that issues the certificate, into the Secret `CLUSTER-listener-LISTENER`. Absent: the
    /// operator issues certificates.
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
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.kubernetes) != (has(self.issuer) && has(self.jwksUrl))",
        "message": "an issuer is kubernetes, or has issuer and jwksUrl",
    },
    {
        "rule": "!has(self.kubernetes) \
                 || !self.audience.matches('^((https?://)?kubernetes\\\\.default([.:/]|$)|(k3s|rke2)$)')",
        "message": "brokers could use tokens for the audience of the API server there, as the clients that sent them: \
                    choose another audience, such as kafka, and request tokens for that",
    },
]))]
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
    #[schemars(length(max = 2048), regex(pattern = r"^(https://|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?/)"))]
    pub jwks_url: Option<String>,
    /// For whom the tokens must be, as in the claim `aud`. Tokens of ServiceAccounts must not be for the API server.
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
