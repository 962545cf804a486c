//! The contract between operator and brokers: resource types, and the names of objects. `ottla_rules` decides how a
//! partition's assignment may change, and knows no Kubernetes; `ottla_kube` reads and writes the objects.
//!
//! - [`KafkaCluster`], [`KafkaTopic`]: what users ask for, and its state
//! - [`KafkaAssignment`]: the replicas, leaders and in-sync replicas of partitions
//! - [`names`]: the names of objects
//! - [`broker_file`]: the file by which the operator configures a broker on Kubernetes
//! - [`all`]: the kinds' definitions; the YAML files beside this crate are generated from them

pub mod broker_file;
mod kafka_assignment;
mod kafka_cluster;
mod kafka_topic;
pub mod names;
mod pod_template;
mod schema;
mod words;

pub use kafka_assignment::{KafkaAssignment, KafkaAssignmentSpec, PARTITIONS_PER_OBJECT};
pub use kafka_cluster::{
    BrokerOverride, BrokerState, BrokerStatus, Brokers, Endpoint, GroupOverride, KafkaCluster, KafkaClusterSpec,
    KafkaClusterStatus, Listener, ListenerStatus, ListenerType, Rack, Storage, TopicDefaults,
};
pub use kafka_topic::{
    DeletionPolicy, KafkaTopic, KafkaTopicSpec, KafkaTopicStatus, Placement, PreferredElection, Recovery,
};
pub use pod_template::{Amounts, PodTemplate, Resources, SecretName, TopologySpread, Unsatisfiable};
pub use schema::{ClusterRef, GROUP, VERSION, all};
