//! DescribeLogDirs.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeLogDirs, versions = "1-5", flexible = "2+")]
pub struct DescribeLogDirsRequest {
    #[wire(nullable)]
    pub topics: Option<Vec<DescribableLogDirTopic>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribableLogDirTopic {
    pub topic: Str,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeLogDirs)]
pub struct DescribeLogDirsResponse {
    pub throttle_time_ms: i32,
    #[wire(versions = "3+")]
    pub error_code: ErrorCode,
    pub results: Vec<DescribeLogDirsResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeLogDirsResult {
    pub error_code: ErrorCode,
    pub log_dir: Str,
    pub topics: Vec<DescribeLogDirsTopic>,
    #[wire(versions = "4+", default = -1)]
    pub total_bytes: i64,
    #[wire(versions = "4+", default = -1)]
    pub usable_bytes: i64,
    #[wire(versions = "5+")]
    pub is_cordoned: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeLogDirsTopic {
    pub name: Str,
    pub partitions: Vec<DescribeLogDirsPartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeLogDirsPartition {
    pub partition_index: i32,
    pub partition_size: i64,
    pub offset_lag: i64,
    pub is_future_key: bool,
}
