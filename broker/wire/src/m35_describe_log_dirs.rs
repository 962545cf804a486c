//! DescribeLogDirs: how much each partition takes on a broker’s disks.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeLogDirs, versions = "1-5", flexible = "2+")]
pub struct DescribeLogDirsRequest {
    /// Null for all.
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
    /// Of the volume; −1 if unknown.
    #[wire(versions = "4+", default = -1)]
    pub total_bytes: i64,
    /// Of the volume; −1 if unknown.
    #[wire(versions = "4+", default = -1)]
    pub usable_bytes: i64,
    /// Whether new partitions stay away from it.
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
    /// How far behind it is: the high watermark if it is a replica here, else the replica that it will replace.
    pub offset_lag: i64,
    /// Whether it is a copy that will replace the one in another directory.
    pub is_future_key: bool,
}
