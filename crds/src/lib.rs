//! The contract between operator and brokers: resource types, and the names of objects. `ottla_rules` decides how a
//! partition's assignment may change, and knows no Kubernetes; `ottla_kube` reads and writes the objects.
//!
//! - [`KafkaCluster`], [`KafkaTopic`]: what users ask for, and its state
//! - [`KafkaUser`]: who may connect, do what, and how much
//! - [`KafkaRebalance`]: moves of replicas that a user asks for once
//! - [`KafkaAssignment`]: the replicas, leaders and in-sync replicas of partitions
//! - [`names`]: the names of objects
//! - [`BrokerLoads`]: the loads of a broker, as the operator reads them
//! - [`broker_file`]: the file by which the operator configures a broker on Kubernetes
//! - [`quantity`]: bytes as Kubernetes writes them
//! - [`all`]: the kinds' definitions; the YAML files beside this crate are generated from them

pub mod broker_file;
mod broker_loads;
mod cluster_status;
mod definitions;
mod issuer_keys;
mod kafka_assignment;
mod kafka_cluster;
mod kafka_rebalance;
mod kafka_topic;
mod kafka_user;
mod listener;
pub mod names;
mod peers;
mod pod_template;
mod pool;
pub mod quantity;
mod rebalance;
mod rollout;
mod schema;
mod security;
mod storage;
mod words;

pub use broker_loads::{BrokerLoads, Latency, ReplicaLoad};
pub use cluster_status::{
    AuthorityStatus, BrokerState, BrokerStatus, Endpoint, FeaturesStatus, IssuerStatus, KafkaClusterStatus,
    ListenerStatus, MoveBlocker, MovesStatus,
};
pub use definitions::{CONTRACT, all};
pub use issuer_keys::IssuerKeys;
pub use kafka_assignment::{KafkaAssignment, KafkaAssignmentSpec, PARTITIONS_PER_OBJECT};
pub use kafka_cluster::{
    BrokerOverride, Brokers, FeaturesSpec, GroupOverride, KafkaCluster, KafkaClusterSpec, Rack, TopicDefaults,
    WireChanges,
};
pub use kafka_rebalance::{
    BrokerChange, KafkaRebalance, KafkaRebalanceSpec, KafkaRebalanceStatus, RebalanceMode, RebalanceState,
};
pub use kafka_topic::{
    DeletionPolicy, KafkaTopic, KafkaTopicSpec, KafkaTopicStatus, Placement, PreferredElection, Recovery,
};
pub use kafka_user::{
    AclAccess, AclOperation, AclPattern, AclResource, ByClients, CertificateStatus, ClientQuotas, KafkaUser,
    KafkaUserSpec, KafkaUserStatus, Password, PasswordSource, Quotas, SecretKey, UserAcl, UserAuthentication,
    UserAuthenticationType, UserAuthorization, UserQuotas,
};
pub use listener::{
    Issuer, IssuerRef, KubernetesIssuer, Listener, ListenerAuthentication, ListenerAuthenticationType, ListenerTls,
    ListenerType,
};
pub use pod_template::{Amounts, PodTemplate, Resources, SecretName, TopologySpread, Unsatisfiable};
pub use pool::{Pool, PoolPods, PoolStatus};
pub use rebalance::{Occasion, Rebalance};
pub use rollout::{
    Day, FailedRevision, Interrupt, OperatorUpgrade, Rollout, RolloutBacklog, RolloutBlocker, RolloutPolicy,
    RolloutProgress, RolloutState, RolloutStatus, Window,
};
pub use schema::{ClusterRef, GROUP, VERSION};
pub use security::{Authority, Authorization, ClusterQuotas, IpQuota, Security};
pub use storage::{OnLostNode, RemovedVolumes, Storage};
