//! The status of a KafkaCluster.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use ottla_rules::assignment::BrokerId;
use ottla_rules::features::Features;
use ottla_rules::plan::roster::Wanted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pool::PoolStatus;
use crate::rollout::RolloutStatus;
use crate::schema;

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
    /// The size of the smallest volume of the default pool's brokers. `spec.brokers.storage.size` can not be less.
    /// Absent: there is no volume yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub volume_size: Option<String>,
    /// Kafka's cluster id: a UUID as 22 characters of base64. Absent: the cluster has no id yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 22, max = 22))]
    pub cluster_id: Option<String>,
    /// The number of brokers of the default pool that are live, which `kubectl scale` reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The number of brokers that the spec asks for, those of all pools together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_count: Option<i32>,
    /// The pools beside the default one, those included that were removed from the spec and whose brokers have not left
    /// or have left volumes. Absent: there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub pools: Vec<PoolStatus>,
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
    /// The moves of replicas that the operator makes by itself. Absent: there are none to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moves: Option<MovesStatus>,
    /// The levels of features that clients use, and those that brokers support beyond. Absent: none was finalized yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<FeaturesStatus>,
    /// What the operator does with the brokers' pods, in a few words. Absent on a laptop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub summary: Option<String>,
    /// The revision that brokers run, and how far a roll to another is. Absent on a laptop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Ready, Available, Degraded, Replicable; on Kubernetes also Progressing and Paused, and Reconciling or Stalled
    /// while they are True, for tools that read these; SetBack after the API server was restored from a backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The levels of features.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeaturesStatus {
    /// The finalized levels, which are never lowered.
    #[serde(flatten)]
    pub finalized: Features,
    /// The higher levels that every broker supports. They are finalized once every broker has supported them for
    /// `spec.features.settleFor`; until then brokers can return to a version without them. A broker that has never been
    /// live does not begin that time again, and nothing is finalized before it is. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub supported: BTreeMap<String, i16>,
    /// Since when every broker supports these. Absent: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub supported_since: Option<Time>,
    /// The brokers that hold a level back which others support. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub behind: Vec<BrokerId>,
}

impl FeaturesStatus {
    /// When the supported levels are finalized, if every broker supports them until then; `None`: there are none.
    pub fn settled_at(&self, settle_for: Duration) -> Option<Timestamp> {
        let since = self.supported_since.as_ref().filter(|_| !self.supported.is_empty())?;
        since.0.checked_add(settle_for).ok()
    }
}

/// The progress of the moves that the operator makes by itself. It is written for each percent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovesStatus {
    /// The number of replicas to move, those that have moved included.
    #[schemars(range(min = 0))]
    pub total: i32,
    /// The number of replicas that have not moved yet, without those that `blockedBy` names.
    #[schemars(range(min = 0))]
    pub left: i32,
    /// How much of it is done.
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
    /// How long it will take at the present rate, such as `2h10m`. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<String>,
    /// The bytes per second that each broker copies at most of replicas that are moved to it, such as `80Mi`. Absent:
    /// none are being copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// What replicas that should move wait for. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub waiting_for: Option<String>,
    /// The replicas that can't move until somebody acts. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub blocked_by: Vec<MoveBlocker>,
}

/// Replicas of a topic that can't leave a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoveBlocker {
    /// The broker that the replicas should leave.
    pub broker: BrokerId,
    /// PlacedByHand, NotEnoughSpace, SpaceUnknown, TooFewRacks, TooFewBrokers or LastReplica.
    pub reason: String,
    /// The topic's name.
    pub topic: String,
    /// The numbers of its partitions, such as `0–3, 7`.
    pub partitions: String,
    /// Why, and what to do.
    pub message: String,
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
    /// What the phase waits for, in a word: WaitingForTrust while brokers do not trust both keys;
    /// WaitingForCertificates while brokers use an old certificate; WaitingForClients for as long as the spec says.
    /// Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the phase waits for, with the brokers or the time. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// When the authority's certificate ends, in RFC 3339. It is renewed long before.
    pub not_after: String,
}

impl AuthorityStatus {
    /// The reason while brokers do not trust both keys.
    pub const WAITING_FOR_TRUST: &str = "WaitingForTrust";
    /// The reason while brokers use an old certificate.
    pub const WAITING_FOR_CERTIFICATES: &str = "WaitingForCertificates";
    /// The reason while clients have time to follow.
    pub const WAITING_FOR_CLIENTS: &str = "WaitingForClients";

    /// Whether the rotation waits for brokers: for seconds, unless something is wrong.
    pub fn waits_for_brokers(&self) -> bool {
        self.reason
            .as_deref()
            .is_some_and(|reason| [Self::WAITING_FOR_TRUST, Self::WAITING_FOR_CERTIFICATES].contains(&reason))
    }
}

/// The state of an issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// `kubernetes`, or where the issuer's keys are.
    pub name: String,
    /// How many of its keys brokers know that can check signatures.
    pub keys: i64,
    /// Why the keys can't be read at the moment (those that were read last are still good), or which listeners take
    /// tokens that are for the API server: these get no keys if nobody had them before. Absent: nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A broker as clients and administrators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// The broker's id: the number at the end of its pod's name.
    pub id: BrokerId,
    /// The broker's pool. Absent: the default pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub pool: Option<String>,
    /// The broker's rack. Absent: unknown, or `spec.rack` is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// The Kubernetes node of the broker's pod; while its pod has none, the last one. Absent: a laptop, or no node has
    /// taken the pod yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node: Option<String>,
    /// Its pod's address; none on a laptop. Brokers connect there while nobody answers for its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the broker is live.
    #[serde(deserialize_with = "crate::words::broker_state")]
    pub state: BrokerState,
    /// Whether the broker was added to brokers that hold replicas, and has not got its part of them yet
    /// (`spec.rebalance.auto`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfilled: bool,
    /// What the spec wants of the broker.
    #[serde(default, deserialize_with = "crate::words::wanted")]
    pub wanted: Wanted,
    /// The PersistentVolumeClaim of the broker's volume. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub claim: Option<String>,
    /// The uid of this claim: another after the volume was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub volume: Option<String>,
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
