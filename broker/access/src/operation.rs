//! What can be done to which kind of resource, by Kafka's names and codes (`AclOperation`, `ResourceType`,
//! `PatternType`, `AclPermissionType`).

/// What a client does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Read records, or be a member of a group.
    Read = 3,
    /// Write records.
    Write = 4,
    /// Create a topic.
    Create = 5,
    /// Delete a topic, its records, or a group.
    Delete = 6,
    /// Change a topic, or the cluster's ACLs and credentials.
    Alter = 7,
    /// See that a resource exists.
    Describe = 8,
    /// What brokers do for each other.
    ClusterAction = 9,
    /// See settings.
    DescribeConfigs = 10,
    /// Change settings.
    AlterConfigs = 11,
    /// Get a producer id without a transactional id.
    IdempotentWrite = 12,
    /// Make delegation tokens for another user.
    CreateTokens = 13,
    /// See delegation tokens of another user.
    DescribeTokens = 14,
    /// Prepare a transaction that another system decides (KIP-939).
    TwoPhaseCommit = 15,
}

impl Operation {
    /// Every operation, in the order of the codes.
    pub const ALL: [Operation; 13] = [
        Operation::Read,
        Operation::Write,
        Operation::Create,
        Operation::Delete,
        Operation::Alter,
        Operation::Describe,
        Operation::ClusterAction,
        Operation::DescribeConfigs,
        Operation::AlterConfigs,
        Operation::IdempotentWrite,
        Operation::CreateTokens,
        Operation::DescribeTokens,
        Operation::TwoPhaseCommit,
    ];

    /// Kafka's code.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The operation of this code. `None`: it is none of a single operation (1 is any, 2 is all), or unknown.
    pub fn from_code(code: i8) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.code() == code)
    }
}

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// A topic, by its name.
    Topic = 2,
    /// A group, by its id.
    Group = 3,
    /// The cluster; its name is [`ResourceType::CLUSTER_NAME`].
    Cluster = 4,
    /// A transactional id.
    TransactionalId = 5,
    /// A delegation token.
    DelegationToken = 6,
    /// Another user, for delegation tokens.
    User = 7,
}

impl ResourceType {
    /// The name of the only resource of type cluster.
    pub const CLUSTER_NAME: &str = "kafka-cluster";
    /// Every type, in the order of the codes.
    pub const ALL: [ResourceType; 6] = [
        ResourceType::Topic,
        ResourceType::Group,
        ResourceType::Cluster,
        ResourceType::TransactionalId,
        ResourceType::DelegationToken,
        ResourceType::User,
    ];

    /// Kafka's code.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The type of this code. `None`: any (1), or unknown.
    pub fn from_code(code: i8) -> Option<ResourceType> {
        ResourceType::ALL.into_iter().find(|kind| kind.code() == code)
    }
}
