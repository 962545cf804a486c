//! Metadata: who is in the cluster, and who leads which partition.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = Metadata, versions = "0-13", flexible = "9+")]
pub struct MetadataRequest {
    /// Null for all. In version 0 an empty list means all as well; later it means none.
    #[wire(nullable = "1+")]
    pub topics: Option<Vec<MetadataRequestTopic>>,
    /// Before version 4 it went without saying.
    #[wire(versions = "4+", default = true)]
    pub allow_auto_topic_creation: bool,
    #[wire(versions = "8-10")]
    pub include_cluster_authorized_operations: bool,
    #[wire(versions = "8+")]
    pub include_topic_authorized_operations: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataRequestTopic {
    /// Zero to ask by name. To ask by id works from version 12 on.
    #[wire(versions = "10+")]
    pub topic_id: Uuid,
    #[wire(nullable = "10+")]
    pub name: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = Metadata)]
pub struct MetadataResponse {
    #[wire(versions = "3+")]
    pub throttle_time_ms: i32,
    pub brokers: Vec<MetadataResponseBroker>,
    #[wire(versions = "2+", nullable)]
    pub cluster_id: Option<Str>,
    /// Where to send administrative requests.
    #[wire(versions = "1+", default = -1)]
    pub controller_id: i32,
    pub topics: Vec<MetadataResponseTopic>,
    /// A set of bits, one for each operation; `i32::MIN` if not asked for.
    #[wire(versions = "8-10", default = i32::MIN)]
    pub cluster_authorized_operations: i32,
    /// Of the request as a whole.
    #[wire(versions = "13+")]
    pub error_code: ErrorCode,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponseBroker {
    pub node_id: i32,
    pub host: Str,
    pub port: i32,
    #[wire(versions = "1+", nullable)]
    pub rack: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponseTopic {
    pub error_code: ErrorCode,
    /// Null if it was asked for by an id that we don’t know.
    #[wire(nullable = "12+")]
    pub name: Option<Str>,
    #[wire(versions = "10+")]
    pub topic_id: Uuid,
    #[wire(versions = "1+")]
    pub is_internal: bool,
    pub partitions: Vec<MetadataResponsePartition>,
    /// A set of bits, one for each operation; `i32::MIN` if not asked for.
    #[wire(versions = "8+", default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponsePartition {
    pub error_code: ErrorCode,
    pub partition_index: i32,
    /// −1 if there is none.
    pub leader_id: i32,
    #[wire(versions = "7+", default = -1)]
    pub leader_epoch: i32,
    pub replica_nodes: Vec<i32>,
    pub isr_nodes: Vec<i32>,
    #[wire(versions = "5+")]
    pub offline_replicas: Vec<i32>,
}
