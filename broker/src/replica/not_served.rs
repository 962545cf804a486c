//! Why a partition can't be used here and now.

/// Why a partition can't be used here and now. A client asks elsewhere or again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// There is no topic of this name, or it has no such partition.
    #[error("no such topic or partition")]
    UnknownTopicOrPartition,
    /// There is no topic of this id.
    #[error("no such topic id")]
    UnknownTopicId,
    /// The client may not use the topic.
    #[error("the client is not authorized to use the topic")]
    Denied,
    /// This broker does not lead the partition, or does not know yet that it does.
    #[error("not the leader")]
    NotLeader,
    /// The client knows an older leader epoch.
    #[error("the leader epoch is older than the present one")]
    FencedLeaderEpoch,
    /// The client knows a newer leader epoch.
    #[error("the leader epoch is newer than the one that this broker knows")]
    UnknownLeaderEpoch,
    /// Its disk or its files failed.
    #[error("the partition's disk failed")]
    Storage,
}
