//! What slows the copying of replicas down (KIP-73): which replicas topics name, and the rates that brokers keep to.

use std::collections::BTreeSet;

/// The settings that Kafka keeps beside its other broker settings, and describes without their default.
pub(crate) const QUOTAS: [&str; 3] = [
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// The replicas of a topic whose copying is slowed down while they are not in sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    /// Of every partition, on every broker.
    All,
    /// Partition and broker.
    These(BTreeSet<(i32, i32)>),
}

impl ThrottledReplicas {
    /// Whether the replica of this partition on this broker is among them.
    pub fn contains(&self, partition: i32, broker: i32) -> bool {
        match self {
            ThrottledReplicas::All => true,
            ThrottledReplicas::These(replicas) => replicas.contains(&(partition, broker)),
        }
    }

    /// Reads a list of `partition:broker`, or of one `*`; none when it is neither. Kafka takes empty members, too.
    pub(crate) fn read(members: &[String]) -> Option<ThrottledReplicas> {
        let mut members = members.iter().filter(|member| !member.is_empty()).peekable();
        if members.next_if(|member| *member == "*").is_some() {
            return members.next().is_none().then_some(ThrottledReplicas::All);
        }
        let replicas = members.map(|member| {
            let (partition, broker) = member.split_once(':')?;
            Some((id(partition)?, id(broker)?))
        });
        replicas.collect::<Option<_>>().map(ThrottledReplicas::These)
    }
}

/// Digits only.
fn id(text: &str) -> Option<i32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}
