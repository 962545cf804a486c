//! The records of streams groups in `__consumer_offsets` (KIP-1071), in Kafka's encoding. Their keys are in
//! [`CoordinatorKey`](crate::coordinator_records::CoordinatorKey).
#![warn(missing_docs)]

use crate::codec::Str;
use ottla_wire_derive::Message;

/// Which member of which group.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0")]
pub struct StreamsGroupMemberKey {
    /// The group's id.
    pub group: Str,
    /// The member's id.
    pub member: Str,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct StreamsGroupMetadataValue {
    /// The group's epoch.
    pub epoch: i32,
    /// Of the topics that its topology uses.
    pub metadata_hash: i64,
    /// The epoch of the topology whose topics were all found as they must be; −1 for none.
    #[wire(versions = "0+", tag = 0, default = -1)]
    pub validated_topology_epoch: i32,
    /// The settings that the group's epoch was made for.
    #[wire(versions = "0+", nullable, tag = 1)]
    pub last_assignment_configs: Option<Vec<KeyValue>>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct KeyValue {
    /// The key.
    pub key: Str,
    /// The value.
    pub value: Str,
}

/// What a member has said about itself.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct StreamsGroupMemberMetadataValue {
    /// Chosen by the client, if it is a static member.
    #[wire(nullable)]
    pub instance_id: Option<Str>,
    /// Where it is.
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    /// From the header of its last request.
    pub client_id: Str,
    /// Its address, with a slash in front.
    pub client_host: Str,
    /// In milliseconds.
    #[wire(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// Of the topology that it joined with.
    pub topology_epoch: i32,
    /// Members of one process share it.
    pub process_id: Str,
    /// Where it answers interactive queries.
    #[wire(nullable)]
    pub user_endpoint: Option<Endpoint>,
    /// What the client says about its place.
    pub client_tags: Vec<KeyValue>,
}

/// A place in the network.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Endpoint {
    /// Its name or address.
    pub host: Str,
    /// Its port.
    pub port: u16,
}

/// When the target assignment was computed.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct StreamsGroupTargetAssignmentMetadataValue {
    /// For which epoch of the group.
    pub assignment_epoch: i32,
    /// In milliseconds since 1970; 0 where it is not known (KIP-1263).
    #[wire(versions = "0+", tag = 0)]
    pub assignment_timestamp: i64,
}

/// What a member is to have.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct StreamsGroupTargetAssignmentMemberValue {
    /// The tasks that it works on.
    pub active_tasks: Vec<TargetTaskIds>,
    /// The tasks whose state it copies.
    pub standby_tasks: Vec<TargetTaskIds>,
    /// The tasks that it copies to take over.
    pub warmup_tasks: Vec<TargetTaskIds>,
}

/// Tasks of a subtopology in a [`StreamsGroupTargetAssignmentMemberValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TargetTaskIds {
    /// The subtopology.
    pub subtopology_id: Str,
    /// The partitions of its topics.
    pub partitions: Vec<i32>,
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct StreamsGroupCurrentMemberAssignmentValue {
    /// The epoch that it is expected to send.
    pub member_epoch: i32,
    /// The one that it sends if it has not got the answer with the new one.
    pub previous_member_epoch: i32,
    /// 0 stable, 1 it is to revoke tasks, 2 it waits for tasks.
    pub state: i8,
    /// The tasks that it works on.
    pub active_tasks: Vec<CurrentTaskIds>,
    /// The tasks whose state it copies.
    pub standby_tasks: Vec<CurrentTaskIds>,
    /// The tasks that it copies to take over.
    pub warmup_tasks: Vec<CurrentTaskIds>,
    /// Those that it is to revoke.
    pub active_tasks_pending_revocation: Vec<CurrentTaskIds>,
    /// Those that it is to revoke.
    pub standby_tasks_pending_revocation: Vec<CurrentTaskIds>,
    /// Those that it is to revoke.
    pub warmup_tasks_pending_revocation: Vec<CurrentTaskIds>,
}

/// Tasks of a subtopology in a [`StreamsGroupCurrentMemberAssignmentValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CurrentTaskIds {
    /// The subtopology.
    pub subtopology_id: Str,
    /// The partitions of its topics.
    pub partitions: Vec<i32>,
    /// The member's epoch when it got each of them; of active tasks only.
    #[wire(versions = "0+", nullable, tag = 0)]
    pub assignment_epochs: Option<Vec<i32>>,
}

/// What the group works on.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct StreamsGroupTopologyValue {
    /// Its epoch.
    pub epoch: i32,
    /// Its parts.
    pub subtopologies: Vec<Subtopology>,
}

/// A part of a [`StreamsGroupTopologyValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Subtopology {
    /// Names it within the topology.
    pub subtopology_id: Str,
    /// The topics that it reads.
    pub source_topics: Vec<Str>,
    /// Expressions of topics that it reads.
    pub source_topic_regex: Vec<Str>,
    /// The topics that hold its state.
    pub state_changelog_topics: Vec<TopicInfo>,
    /// The repartition topics that it writes.
    pub repartition_sink_topics: Vec<Str>,
    /// The repartition topics that it reads.
    pub repartition_source_topics: Vec<TopicInfo>,
    /// Topics that must have as many partitions as each other.
    pub copartition_groups: Vec<CopartitionGroup>,
}

/// Topics that must have as many partitions as each other: indices into the lists of their [`Subtopology`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CopartitionGroup {
    /// Into `source_topics`.
    pub source_topics: Vec<i16>,
    /// Into `source_topic_regex`.
    pub source_topic_regex: Vec<i16>,
    /// Into `repartition_source_topics`.
    pub repartition_source_topics: Vec<i16>,
}

/// An internal topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicInfo {
    /// Its name.
    pub name: Str,
    /// 0 if the coordinator is to decide.
    pub partitions: i32,
    /// 0 for the default.
    pub replication_factor: i16,
    /// Its settings.
    pub topic_configs: Vec<KeyValue>,
}
