//! Who may do what in a cluster, and how much, beside what each KafkaUser says; and the authorities of certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kafka_user::ClientQuotas;

/// What users may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// The names of principals that may do everything, without `User:`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        inner(length(max = 1024)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [{
            "rule": "self.all(name, !name.startsWith('User:'))",
            "message": "superUsers lists names without 'User:'",
        }])
    )]
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
