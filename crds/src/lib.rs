//! The contract between operator and brokers: resource types, how they are written, leases. What a partition's
//! assignment may become is decided by `ottla_rules`, which knows no Kubernetes.
//!
//! - [`KafkaCluster`], [`KafkaTopic`]: what users ask for, and what became of it
//! - [`KafkaAssignment`]: who holds, leads and is in sync with partitions
//! - [`change`]: how operator and brokers write it
//! - [`lease`]: who is there, and who may act
//! - [`watch`]: how long watches live, and when one that broke begins anew
//! - [`counted`]: a client that counts its writes
//! - [`names`]: what objects are called
//! - [`broker_file`]: what a broker on Kubernetes is told by the operator
//! - [`all`]: the kinds' definitions; the YAML files beside this crate are generated from them

pub mod broker_file;
pub mod change;
mod counted;
mod kafka_assignment;
mod kafka_cluster;
mod kafka_topic;
pub mod lease;
pub mod names;
mod pod_template;
mod schema;
pub mod versions;
pub mod watch;
mod words;

pub use counted::counted;
pub use kafka_assignment::{KafkaAssignment, KafkaAssignmentSpec, PARTITIONS_PER_OBJECT};
pub use kafka_cluster::{
    BrokerOverride, BrokerState, BrokerStatus, Brokers, Endpoint, KafkaCluster, KafkaClusterSpec, KafkaClusterStatus,
    Listener, ListenerStatus, ListenerType, Rack, Storage, TopicDefaults,
};
pub use kafka_topic::{
    DeletionPolicy, KafkaTopic, KafkaTopicSpec, KafkaTopicStatus, Placement, PreferredElection, Recovery,
};
pub use pod_template::{Amounts, PodTemplate, Resources, SecretName, TopologySpread, Unsatisfiable};
pub use schema::{ClusterRef, GROUP, VERSION, all};
