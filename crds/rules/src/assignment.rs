//! A partition's assignment and its only transitions.
//!
//! An assignment says which brokers hold a partition, which of them leads, and which are in sync. It lives in one entry
//! of a `KafkaAssignment` and changes only by the functions of this module, each applied under compare-and-swap on the
//! entry's partition epoch. Values in, values out: no client, clock or randomness.
//!
//! - `election`: the operator removes void, dead and draining members, and elects
//! - `isr`: the leader shrinks and expands the ISR
//! - `high_watermark`: the records that all in-sync replicas have, which the leader may acknowledge
//! - `reassignment`: the operator moves replicas
//! - `recovery`: elections without a valid in-sync replica
//! - `damage`: a broker disowns a log that it can't read
//! - `epochs`: the counters by which entries are compared
//! - `age`: which of two entries is newer, or whether they are a fork
//!
//! Always: a change adds 1 to the partition epoch; a change of leader, and a change by which a replica leaves, adds 1
//! to the leader epoch; neither ever falls; the ISR never shrinks below the floor; an entry with a leader has no
//! reports.

mod age;
mod damage;
mod election;
mod epochs;
mod high_watermark;
mod isr;
mod reassignment;
mod recovery;

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use age::Age;
pub use damage::Remedy;
pub use epochs::{Epochs, LeaderEpoch, PartitionEpoch};
pub use high_watermark::{Position, high_watermark};
pub use isr::{Follower, Leader, maximal_isr};
pub use recovery::RecoveryOrder;

/// A broker's id: its ordinal in the StatefulSet, from 0.
// Never −1: "no broker" is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BrokerId(pub i32);

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random id of a data directory's content, 1 ..= 2^63 − 1. A broker that may have lost unflushed data draws a new
/// id. Every ISR member with the old id is then void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Incarnation(pub i64);

impl Incarnation {
    /// No content: the incarnation of an ISR member whose broker has disowned its log.
    pub const NONE: Incarnation = Incarnation(0);
}

/// A member of the in-sync replicas (ISR): a broker with the content that its disk had when it joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IsrMember {
    /// The broker's id.
    pub broker: BrokerId,
    /// The broker's incarnation when it joined. 0: the broker has disowned its log since, because it can't read it.
    pub incarnation: Incarnation,
}

/// One partition's entry in a `KafkaAssignment`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "self.partitionEpoch >= oldSelf.partitionEpoch && self.leaderEpoch >= oldSelf.leaderEpoch", "message": "an entry can not be removed, and its epochs can not fall" },
    { "rule": "self.leaderEpoch > oldSelf.leaderEpoch \
         || (has(self.leader) ? self.leader : -1) == (has(oldSelf.leader) ? oldSelf.leader : -1)", "message": "the leader can not change without a higher leader epoch" },
    { "rule": "self.leaderEpoch > oldSelf.leaderEpoch || oldSelf.replicas.all(b, b in self.replicas)", "message": "a replica can not leave without a higher leader epoch" },
    { "rule": "(!has(self.leader) || self.leader in self.replicas) && self.isr.all(m, m.broker in self.replicas) \
         && (!has(self.adding) || self.adding.all(b, b in self.replicas)) \
         && (!has(self.removing) || self.removing.all(b, b in self.replicas))", "message": "leader, isr, adding and removing must be among the replicas" },
]))]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The partition's number within its topic, from 0.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// The ids of the brokers that hold the partition, in order of preference to lead. During a reassignment: the old
    /// and the new ones.
    #[schemars(length(max = 64))]
    pub replicas: Vec<BrokerId>,
    /// The replicas that a reassignment adds, a subset of `replicas`. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub adding: Vec<BrokerId>,
    /// The replicas that a reassignment removes when it completes, a subset of `replicas`. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub removing: Vec<BrokerId>,
    /// The id of the leader. Absent: no in-sync replica can lead, and clients can not use the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<BrokerId>,
    /// A counter from 0 that rises by 1 with each change of leader, and when a replica leaves or disowns its log.
    #[schemars(range(min = 0))]
    pub leader_epoch: LeaderEpoch,
    /// A counter from 0 that rises by 1 with each change of this entry: the token of compare-and-swap.
    #[schemars(range(min = 0))]
    pub partition_epoch: PartitionEpoch,
    /// The in-sync replicas: the brokers that hold every acknowledged record.
    #[schemars(length(max = 64))]
    pub isr: Vec<IsrMember>,
    /// What each replica has of a partition without a leader, as a recovery election needs it. Absent: no report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub reports: Vec<RecoveryReport>,
    /// The offset at which the leader's log must begin, or later: earlier records were deleted, and the leader that a
    /// recovery election chose may still have them. Absent: the leader has deleted what must be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub log_start: Option<i64>,
}

/// What a broker has of a partition without a leader. A recovery election compares these reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryReport {
    /// The broker's id.
    pub broker: BrokerId,
    /// The broker's incarnation when it reported.
    pub incarnation: Incarnation,
    /// The leader epoch of the last batch in its log. -1: the log is empty.
    pub last_epoch: LeaderEpoch,
    /// The offset after the last record in its log.
    pub log_end: i64,
    /// The offset at which its log begins: earlier records were deleted. Absent: an older broker, which does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub log_start: Option<i64>,
}

/// The live brokers, as an observer judges them. A broker that is not in the map is judged dead.
pub type Live = BTreeMap<BrokerId, LiveBroker>;

/// A live broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LiveBroker {
    /// The incarnation of its data directory now.
    pub incarnation: Incarnation,
    /// Whether the broker is draining: it should lead no partition.
    pub draining: bool,
}

/// The state of an ISR member, as an observer judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IsrMemberState {
    /// The broker is live with the incarnation that joined.
    Valid,
    /// As `Valid`, but the broker is draining.
    Draining,
    /// The broker is live with another incarnation, or has disowned its log. This never changes.
    Void,
    /// The broker is dead. Its content may return.
    Dead,
}

impl IsrMember {
    fn state(&self, live: &Live) -> IsrMemberState {
        match live.get(&self.broker) {
            _ if self.incarnation == Incarnation::NONE => IsrMemberState::Void,
            None => IsrMemberState::Dead,
            Some(broker) if broker.incarnation != self.incarnation => IsrMemberState::Void,
            Some(broker) if broker.draining => IsrMemberState::Draining,
            Some(_) => IsrMemberState::Valid,
        }
    }

    /// Whether the broker is live with the incarnation that joined.
    fn is_valid(&self, live: &Live) -> bool {
        live.get(&self.broker).is_some_and(|broker| broker.incarnation == self.incarnation)
    }
}

/// Why a transition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The broker is not the leader, or not in this leader epoch, or not with this incarnation.
    #[error("the broker does not lead the partition in this epoch with this incarnation")]
    NotLeader,
    /// At most one change of the ISR of a partition is in flight.
    #[error("the outcome of an earlier change is not known yet")]
    WriteInFlight,
    /// The ISR keeps at least `min(min.insync.replicas, replication factor)` members, even dead ones.
    #[error("the ISR would fall below its floor of {0}")]
    Floor(usize),
    /// The broker holds no replica.
    #[error("the broker is not a replica")]
    NotReplica,
    /// The broker is not in the ISR.
    #[error("the broker is not in the ISR")]
    NotInIsr,
    /// The broker is in the ISR already, with this incarnation.
    #[error("the broker is in the ISR already")]
    InIsr,
    /// The follower is at the leader's log end, or was so recently.
    #[error("the follower was at the log end recently")]
    CaughtUp,
    /// The replica has not caught up, or has not reported its log, in this leader epoch.
    #[error("the replica has not caught up, or has not reported, in this leader epoch")]
    Behind,
    /// The follower is dead or draining.
    #[error("the follower is dead or draining")]
    Leaving,
    /// A reassignment is in progress.
    #[error("a reassignment is in progress")]
    Reassigning,
    /// No reassignment is in progress.
    #[error("no reassignment is in progress")]
    NotReassigning,
    /// The target of a reassignment has no replica, or a broker twice.
    #[error("a partition needs at least one replica, and each replica on another broker")]
    BadTarget,
    /// The partition has a leader, or a member that can lead.
    #[error("the partition needs no recovery")]
    NoRecovery,
    /// An order to recover, or a report, is for another leader epoch.
    #[error("the order or report is for another leader epoch")]
    OtherEpoch,
    /// The transition would change nothing.
    #[error("the transition would change nothing")]
    Unchanged,
    /// An epoch has reached its largest value.
    #[error("an epoch has reached its largest value")]
    Exhausted,
}

impl Assignment {
    /// The first entry of a new partition; `None` while no replica is live. The ISR is the replicas that are live and
    /// not draining, or if there is none, the draining ones. No record is acknowledged yet, so the ISR may be below the
    /// floor; until others have joined, the leader acknowledges nothing that needs more replicas.
    pub fn create(partition: i32, replicas: Vec<BrokerId>, live: &Live) -> Option<Self> {
        let in_sync = |draining: bool| -> Vec<IsrMember> {
            let member = |broker: &BrokerId| {
                let found = live.get(broker).filter(|found| found.draining == draining)?;
                Some(IsrMember { broker: *broker, incarnation: found.incarnation })
            };
            replicas.iter().filter_map(member).collect()
        };
        let mut isr = in_sync(false);
        if isr.is_empty() {
            isr = in_sync(true);
        }
        let mut created = Self {
            partition,
            replicas,
            adding: Vec::new(),
            removing: Vec::new(),
            leader: None,
            leader_epoch: LeaderEpoch::FIRST,
            partition_epoch: PartitionEpoch::FIRST,
            isr,
            reports: Vec::new(),
            log_start: None,
        };
        created.leader = Some(created.successor(live)?);
        Some(created)
    }

    /// The two epochs, by which [`Age`] compares entries.
    pub fn epochs(&self) -> Epochs {
        Epochs { leader: self.leader_epoch, partition: self.partition_epoch }
    }

    /// Whether `broker` may lead with the incarnation that it has now. `acted_on` is the newest entry that it has acted
    /// on: an entry that is older, or a fork of it, comes from an API server that was set back, and is ignored.
    pub fn may_lead(&self, broker: BrokerId, incarnation: Incarnation, acted_on: Option<Epochs>) -> bool {
        self.leader == Some(broker)
            && self.isr.contains(&IsrMember { broker, incarnation })
            && acted_on.is_none_or(|acted_on| matches!(self.epochs().age(acted_on), Age::Same | Age::Newer))
    }

    /// The number of replicas before a reassignment adds any, and after it has removed the old ones.
    pub fn replication_factor(&self) -> usize {
        self.replicas.len().saturating_sub(self.adding.len())
    }

    /// The least number of members of the ISR, live or dead. With fewer members, acknowledged records could be lost.
    pub fn floor(&self, min_in_sync: usize) -> usize {
        min_in_sync.min(self.replication_factor()).max(1)
    }

    /// Whether a broker is in the ISR, live and with the content that joined.
    pub fn has_in_sync(&self, broker: BrokerId, live: &Live) -> bool {
        self.isr.iter().any(|member| member.broker == broker && member.is_valid(live))
    }

    fn member(&self, broker: BrokerId) -> Option<&IsrMember> {
        self.isr.iter().find(|member| member.broker == broker)
    }

    /// `next` with the epochs that follow those of this entry.
    fn changed_to(&self, mut next: Self) -> Result<Self, Refusal> {
        next.leader_epoch = self.leader_epoch;
        next.partition_epoch = self.partition_epoch;
        if next.leader.is_some() {
            // A follower truncates its log and appends to it, so its report is no longer true.
            next.reports.clear();
        }
        if next == *self {
            return Err(Refusal::Unchanged);
        }
        next.partition_epoch = self.partition_epoch.next().ok_or(Refusal::Exhausted)?;
        // A replica that leaves removes its log. If it joins again, its leader must not count the position that it had
        // before: positions count in one leader epoch (Kafka: PartitionChangeBuilder,
        // triggerLeaderEpochBumpForReplicaReassignmentIfNeeded).
        let leaves = |broker: &BrokerId| !next.replicas.contains(broker);
        if next.leader != self.leader || self.replicas.iter().any(leaves) {
            next.leader_epoch = self.leader_epoch.next().ok_or(Refusal::Exhausted)?;
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
