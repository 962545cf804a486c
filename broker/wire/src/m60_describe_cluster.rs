//! DescribeCluster: who is in the cluster, for administrators.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeCluster, versions = "0-2", flexible = "0+")]
pub struct DescribeClusterRequest {
    pub include_cluster_authorized_operations: bool,
    /// 1 for brokers, 2 for controllers.
    #[wire(versions = "1+", default = 1)]
    pub endpoint_type: i8,
    #[wire(versions = "2+")]
    pub include_fenced_brokers: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeCluster)]
pub struct DescribeClusterResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    #[wire(versions = "1+", default = 1)]
    pub endpoint_type: i8,
    pub cluster_id: Str,
    /// Where to send administrative requests.
    #[wire(default = -1)]
    pub controller_id: i32,
    pub brokers: Vec<DescribeClusterBroker>,
    /// A set of bits, one for each operation; `i32::MIN` if not asked for.
    #[wire(default = i32::MIN)]
    pub cluster_authorized_operations: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeClusterBroker {
    pub broker_id: i32,
    pub host: Str,
    pub port: i32,
    #[wire(nullable)]
    pub rack: Option<Str>,
    /// Whether it is registered, but not allowed to lead.
    #[wire(versions = "2+")]
    pub is_fenced: bool,
}
