//! APIs about the cluster: its brokers, topics, leaders and directories, and the APIs that it serves.

pub(super) mod api_versions;
pub(super) mod describe_cluster;
pub(super) mod describe_log_dirs;
pub(super) mod describe_topic_partitions;
pub(super) mod metadata;
