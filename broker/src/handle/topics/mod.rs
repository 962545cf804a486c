//! Topics: created, deleted, given more partitions or other replicas and leaders.

pub(super) mod alter_partition_reassignments;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delete_topics;
pub(super) mod elect_leaders;
pub(super) mod internal_topics;
pub(super) mod list_partition_reassignments;
