//! `KafkaUser`: one principal: how it authenticates, what it may do, and how much.
//!
//! Users write the spec, and brokers do for requests of Kafka's admin API. Only the operator writes the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, ClusterRef};

/// A user of a Kafka cluster.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ottla.io",
    version = "v1alpha1",
    kind = "KafkaUser",
    namespaced,
    status = "KafkaUserStatus",
    derive = "PartialEq",
    doc = "A user of a Kafka cluster.",
    shortname = "oku",
    category = "ottla",
    selectable = ".spec.clusterRef.name",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Authentication", type_ = "string", json_path = ".spec.authentication.type"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Principal", type_ = "string", json_path = ".status.principal", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secret", priority = 1),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("self.spec.clusterRef.name == oldSelf.spec.clusterRef.name", "clusterRef is immutable")
)]
#[x_kube(
    validation = (
        "has(self.principalName) == has(oldSelf.principalName) \
         && (!has(self.principalName) || self.principalName == oldSelf.principalName)",
        "principalName is immutable"
    ),
    validation = (
        "!has(self.principalName) || !self.principalName.startsWith('User:')",
        "principalName is the name alone: leave out 'User:'"
    ),
    validation = (
        "!has(self.principalName) || self.principalName != '*' || !has(self.authentication)",
        "the user '*' is everybody and can not authenticate: remove authentication"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaUserSpec {
    /// The KafkaCluster that the user belongs to; immutable.
    pub cluster_ref: ClusterRef,
    /// The name of the principal: `User:` and this; immutable. `*` is everybody: its ACLs hold for all users, and its
    /// quotas for each user without its own. Absent: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\P{Cc}*$"))]
    pub principal_name: Option<String>,
    /// How the user authenticates. Absent: with a token of an issuer, such as a ServiceAccount's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<UserAuthentication>,
    /// What the user may do. Absent: nothing by this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<UserAuthorization>,
    /// How much the user may do. Absent: the quotas of the user `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<UserQuotas>,
}

/// How a user authenticates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.type == 'scram' || !has(self.password)",
        "message": "only a user of type scram has a password",
    },
    {
        "rule": "self.type == 'tls' || (!has(self.validityDays) && !has(self.renewalDays))",
        "message": "only a user of type tls has validityDays and renewalDays",
    },
    {
        "rule": "!has(self.validityDays) || !has(self.renewalDays) || self.renewalDays < self.validityDays",
        "message": "renewalDays must be less than validityDays",
    },
]))]
pub struct UserAuthentication {
    /// `scram`: with a password. `tls`: with a certificate that the operator issues.
    #[serde(rename = "type")]
    pub type_: UserAuthenticationType,
    /// Where the password is. Absent: the operator generates one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// How long a certificate is valid, in days. Default: 365.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub validity_days: Option<i32>,
    /// How long before its end a certificate is renewed, in days. Default: a third of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3649))]
    pub renewal_days: Option<i32>,
}

/// How a user authenticates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UserAuthenticationType {
    /// With a password.
    #[default]
    Scram,
    /// With a certificate.
    Tls,
}

/// A password that a user has chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.valueFrom) != has(self.byClients)",
    "message": "a password is in a Secret (valueFrom) or set by clients (byClients)",
}]))]
pub struct Password {
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<PasswordSource>,
    /// Clients set it by Kafka's API, as `kafka-configs.sh` does. Nobody keeps it; there is no Secret of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_clients: Option<ByClients>,
}

/// Clients set the password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ByClients {}

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordSource {
    /// A key of a Secret in the same namespace.
    pub secret_key_ref: SecretKey,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What a user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserAuthorization {
    /// The user's ACLs. Entries of different writers, such as Git and `kafka-acls`, stand beside each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 5000),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["resource", "name", "pattern", "host", "access"]
        )
    )]
    pub acls: Vec<UserAcl>,
}

/// An ACL: operations on resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.resource != 'cluster' || (self.name == 'kafka-cluster' && self.pattern == 'literal')",
    "message": "the only resource of type cluster is kafka-cluster, with pattern literal",
}]))]
pub struct UserAcl {
    /// The type of the resource.
    pub resource: AclResource,
    /// Its name, or the beginning of its name; `*` is every name where pattern is literal. Default: kafka-cluster, the
    /// only name of a cluster.
    #[serde(default = "cluster_name")]
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,
    /// Whether name is a whole name or the beginning of one. Default: literal.
    #[serde(default)]
    pub pattern: AclPattern,
    /// The address that the user connects from. Default: `*`, any.
    #[serde(default = "any_host")]
    #[schemars(length(min = 1, max = 64))]
    pub host: String,
    /// Whether the operations are allowed or denied. A denial takes precedence. Default: allow.
    #[serde(default)]
    pub access: AclAccess,
    /// The operations.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub operations: Vec<AclOperation>,
}

fn cluster_name() -> String {
    "kafka-cluster".to_owned()
}

fn any_host() -> String {
    "*".to_owned()
}

/// A type of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AclResource {
    /// A topic.
    Topic,
    /// A group.
    Group,
    /// The cluster.
    Cluster,
    /// A transactional id.
    TransactionalId,
    /// A delegation token.
    DelegationToken,
    /// A user.
    User,
}

/// Whether an ACL names a resource or the beginning of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AclPattern {
    /// The whole name.
    #[default]
    Literal,
    /// The beginning of the name.
    Prefix,
}

/// Whether an ACL allows or denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AclAccess {
    /// Allow.
    #[default]
    Allow,
    /// Deny.
    Deny,
}

/// An operation, by Kafka's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AclOperation {
    /// Every operation.
    All,
    /// Read records, or be a member of a group.
    Read,
    /// Write records.
    Write,
    /// Create topics.
    Create,
    /// Delete topics, records or groups.
    Delete,
    /// Change topics or ACLs.
    Alter,
    /// See that a resource exists.
    Describe,
    /// What brokers do for each other.
    ClusterAction,
    /// See settings.
    DescribeConfigs,
    /// Change settings.
    AlterConfigs,
    /// Get producer ids.
    IdempotentWrite,
    /// Make delegation tokens for others.
    CreateTokens,
    /// See delegation tokens of others.
    DescribeTokens,
    /// Prepare transactions that another system decides.
    TwoPhaseCommit,
}

/// How much a client may do. Each broker counts for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// Bytes per second of Produce requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub producer_byte_rate: Option<i64>,
    /// Bytes per second of answers to fetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub consumer_byte_rate: Option<i64>,
    /// Time of a broker's threads: 100 is one thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001))]
    pub request_percentage: Option<f64>,
    /// Partitions that are created, added or deleted per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001))]
    pub controller_mutation_rate: Option<f64>,
}

/// How much a user may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserQuotas {
    /// Of all its clients together.
    #[serde(flatten)]
    pub all: Quotas,
    /// Of its clients with one `client.id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["clientId"])
    )]
    pub clients: Vec<ClientQuotas>,
}

/// How much clients with one `client.id` may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientQuotas {
    /// The `client.id`; `*` stands for each without quotas of its own.
    #[schemars(length(min = 1, max = 512))]
    pub client_id: String,
    /// The quotas.
    #[serde(flatten)]
    pub quotas: Quotas,
}

/// The state of a user. Written by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaUserStatus {
    /// `metadata.generation` of the last spec that the operator read. Absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The principal: `User:` and its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The Secret with the user's credentials. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The user's certificate. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// Ready; Stalled or Reconciling while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// A certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// When it ends, in RFC 3339.
    pub not_after: String,
}

impl UserAuthentication {
    /// That of a user whose password clients set.
    pub fn by_clients() -> UserAuthentication {
        let password = Password { by_clients: Some(ByClients {}), ..Password::default() };
        UserAuthentication { password: Some(password), ..UserAuthentication::default() }
    }

    /// Whether clients set the password.
    pub fn is_by_clients(&self) -> bool {
        self.password.as_ref().is_some_and(|password| password.by_clients.is_some())
    }
}

impl KafkaUser {
    /// The finalizer that keeps a KafkaUser until what the operator made for it is gone.
    pub const FINALIZER: &str = "ottla.io/user";

    /// The principal's name, without its type.
    pub fn principal_name(&self) -> &str {
        self.spec.principal_name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}
