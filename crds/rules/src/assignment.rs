//! A partition's assignment and its only transitions.
//!
//! An assignment says which brokers hold a partition, which of them leads, and which are in sync. It lives in one entry
//! of a `KafkaAssignment` and changes only by the functions of this module, each applied under compare-and-swap on the
//! entry's partition epoch. Values in, values out: no client, clock or randomness.
//!
//! - `election`: the operator drops members that are gone and elects
//! - `isr`: the leader shrinks and expands the ISR
//! - `high_watermark`: what the ISR has, the leader may acknowledge
//! - `reassignment`: the operator moves replicas
//! - `recovery`: what is left when no in-sync member is valid
//! - `damage`: a broker gives up a replica that it can't read
//! - `age`: which of two entries is newer, or that history forked
//!
//! Always: a change adds 1 to the partition epoch; a change of leader, and a change by which a replica leaves, adds 1
//! to the leader epoch; neither ever falls; the ISR never shrinks below the floor; who has a leader has no reports.

mod age;
mod damage;
mod election;
mod high_watermark;
mod isr;
mod reassignment;
mod recovery;

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use age::Age;
pub use damage::Remedy;
pub use high_watermark::{Position, high_watermark};
pub use isr::{Follower, Leader, maximal_isr};
pub use recovery::RecoveryOrder;

/// A broker's id: its ordinal in the StatefulSet, from 0. −1 never occurs: "nobody" is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BrokerId(pub i32);

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random id of a data directory's content, 1 ..= 2^63 − 1. A broker that may have lost unflushed data draws a new
/// one, which makes every in-sync entry that names the old one void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Incarnation(pub i64);

impl Incarnation {
    /// No content at all: an in-sync entry that its broker has taken back.
    pub const NONE: Incarnation = Incarnation(0);
}

/// A member of the in-sync replicas: a broker *with the content it had*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IsrMember {
    /// The broker.
    pub broker: BrokerId,
    /// Its incarnation when it joined; 0 when it has found since that it can't read what it had.
    pub incarnation: Incarnation,
}

/// One partition's entry in a `KafkaAssignment`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "self.partitionEpoch >= oldSelf.partitionEpoch && self.leaderEpoch >= oldSelf.leaderEpoch", "message": "an entry can not vanish, nor its epochs fall" },
    { "rule": "self.leaderEpoch > oldSelf.leaderEpoch \
         || (has(self.leader) ? self.leader : -1) == (has(oldSelf.leader) ? oldSelf.leader : -1)", "message": "a leader can not change without its epoch" },
    { "rule": "self.leaderEpoch > oldSelf.leaderEpoch || oldSelf.replicas.all(b, b in self.replicas)", "message": "a replica can not leave without a new leader epoch" },
    { "rule": "(!has(self.leader) || self.leader in self.replicas) && self.isr.all(m, m.broker in self.replicas) \
         && (!has(self.adding) || self.adding.all(b, b in self.replicas)) \
         && (!has(self.removing) || self.removing.all(b, b in self.replicas))", "message": "leader, isr, adding and removing must be among the replicas" },
]))]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The partition's number within its topic, from 0.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// Who holds it, in order of preference to lead. During a reassignment: the union of old and new.
    #[schemars(length(max = 64))]
    pub replicas: Vec<BrokerId>,
    /// Replicas that a reassignment adds; a subset of `replicas`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub adding: Vec<BrokerId>,
    /// Replicas that a reassignment removes when it is done; a subset of `replicas`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub removing: Vec<BrokerId>,
    /// Who leads; `None` while no in-sync member can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<BrokerId>,
    /// Grows by 1 with each change of leader, and when a replica leaves, from 0.
    #[schemars(range(min = 0))]
    pub leader_epoch: i32,
    /// Grows by 1 with each change at all, from 0: the token of compare-and-swap.
    #[schemars(range(min = 0))]
    pub partition_epoch: i32,
    /// Who holds every acknowledged record.
    #[schemars(length(max = 64))]
    pub isr: Vec<IsrMember>,
    /// What brokers with void entries still have, published while no in-sync member is valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub reports: Vec<RecoveryReport>,
}

/// What a broker that can not lead still has of a partition: the material of a recovery election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryReport {
    /// The broker.
    pub broker: BrokerId,
    /// Its incarnation now.
    pub incarnation: Incarnation,
    /// The leader epoch of its last batch; -1 of an empty log.
    pub last_epoch: i32,
    /// The offset after its last record.
    pub log_end: i64,
}

/// The brokers that are there, as an observer sees them: one that is missing looks dead.
pub type Live = BTreeMap<BrokerId, LiveBroker>;

/// A broker that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LiveBroker {
    /// What its data directory holds now.
    pub incarnation: Incarnation,
    /// Whether it asked to lead nothing.
    pub draining: bool,
}

/// What an ISR entry is worth, as an observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The broker is there with the content that joined.
    Valid,
    /// The same, but it wants to leave.
    Draining,
    /// The broker is there with other content, or has taken the entry back: it is worth nothing, for ever.
    Void,
    /// The broker is not there; its content may come back.
    Dead,
}

impl IsrMember {
    fn standing(&self, live: &Live) -> Standing {
        match live.get(&self.broker) {
            _ if self.incarnation == Incarnation::NONE => Standing::Void,
            None => Standing::Dead,
            Some(broker) if broker.incarnation != self.incarnation => Standing::Void,
            Some(broker) if broker.draining => Standing::Draining,
            Some(_) => Standing::Valid,
        }
    }

    /// Whether the broker is there with the content that joined.
    fn is_valid(&self, live: &Live) -> bool {
        live.get(&self.broker).is_some_and(|broker| broker.incarnation == self.incarnation)
    }
}

/// How new an assignment is: leader epoch first, then partition epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epochs {
    /// The leader epoch.
    pub leader: i32,
    /// The partition epoch.
    pub partition: i32,
}

/// Why a transition is not to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The asker does not lead, or not in this epoch, or not with this content.
    #[error("the broker does not lead the partition in this epoch with this incarnation")]
    NotLeader,
    /// One ISR write per partition is in flight at most.
    #[error("the outcome of an earlier change is not known yet")]
    WriteInFlight,
    /// Members below `min(min.insync.replicas, replication factor)` stay, even when they are dead.
    #[error("the ISR would fall below its floor of {0}")]
    Floor(usize),
    /// The broker holds no replica.
    #[error("the broker is not a replica")]
    NotReplica,
    /// The broker is not in the ISR.
    #[error("the broker is not in the ISR")]
    NotInIsr,
    /// The broker is in the ISR already, with this content.
    #[error("the broker is in the ISR already")]
    InIsr,
    /// The follower keeps up.
    #[error("the follower is caught up")]
    CaughtUp,
    /// The follower has not got far enough in this leader epoch.
    #[error("the follower is behind")]
    Behind,
    /// The follower is known as dead or draining.
    #[error("the follower is leaving")]
    Leaving,
    /// A reassignment is under way.
    #[error("a reassignment is under way")]
    Reassigning,
    /// No reassignment is under way.
    #[error("no reassignment is under way")]
    NotReassigning,
    /// A target without replicas, or with one twice.
    #[error("a partition needs at least one replica, and each broker once")]
    BadTarget,
    /// The partition has a leader, or a member that can lead.
    #[error("the partition needs no recovery")]
    NoRecovery,
    /// An order to recover was given, or a report measured, for another leader epoch.
    #[error("what was said is about another leader epoch")]
    OtherEpoch,
    /// Nothing would change.
    #[error("nothing would change")]
    Unchanged,
    /// An epoch has reached its end.
    #[error("the epochs are exhausted")]
    Exhausted,
}

impl Assignment {
    /// A partition that nobody holds yet, or `None` while no replica is there to lead it. In sync are the replicas that
    /// are there and stay, or where there is none the draining ones. Nothing is acknowledged yet, so the ISR may be
    /// below the floor: until others have joined, it acknowledges nothing that needs more.
    pub fn create(partition: i32, replicas: Vec<BrokerId>, live: &Live) -> Option<Self> {
        let in_sync = |draining: bool| -> Vec<IsrMember> {
            let member = |broker: &BrokerId| {
                let there = live.get(broker).filter(|there| there.draining == draining)?;
                Some(IsrMember { broker: *broker, incarnation: there.incarnation })
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
            leader_epoch: 0,
            partition_epoch: 0,
            isr,
            reports: Vec::new(),
        };
        created.leader = Some(created.successor(live)?);
        Some(created)
    }

    /// How new this is.
    pub fn epochs(&self) -> Epochs {
        Epochs { leader: self.leader_epoch, partition: self.partition_epoch }
    }

    /// Whether `broker` leads with what its disk holds now. `acted_on` is the newest that it ever acted on: anything
    /// older or a fork of it comes from an API server that was set back, and moves nobody.
    pub fn may_lead(&self, broker: BrokerId, incarnation: Incarnation, acted_on: Option<Epochs>) -> bool {
        self.leader == Some(broker)
            && self.isr.contains(&IsrMember { broker, incarnation })
            && acted_on.is_none_or(|acted_on| matches!(self.epochs().age(acted_on), Age::Same | Age::Newer))
    }

    /// On how many brokers the partition is kept when no reassignment is under way.
    pub fn replication_factor(&self) -> usize {
        self.replicas.len().saturating_sub(self.adding.len())
    }

    /// How many members the ISR keeps at least, dead or alive: with them gone, so would be acknowledged records.
    pub fn floor(&self, min_in_sync: usize) -> usize {
        min_in_sync.min(self.replication_factor()).max(1)
    }

    fn member(&self, broker: BrokerId) -> Option<&IsrMember> {
        self.isr.iter().find(|member| member.broker == broker)
    }

    /// `next` in the place of this one, with the epochs that it must have.
    fn changed_to(&self, mut next: Self) -> Result<Self, Refusal> {
        next.leader_epoch = self.leader_epoch;
        next.partition_epoch = self.partition_epoch;
        if next.leader.is_some() {
            // A log that follows is cut and grows: what was reported of it is true no longer.
            next.reports.clear();
        }
        if next == *self {
            return Err(Refusal::Unchanged);
        }
        next.partition_epoch = self.partition_epoch.checked_add(1).ok_or(Refusal::Exhausted)?;
        // A replica that leaves removes its log. Should it come back, its leader must not count what it had before:
        // positions are counted in one leader epoch (Kafka: PartitionChangeBuilder,
        // triggerLeaderEpochBumpForReplicaReassignmentIfNeeded).
        let leaves = |broker: &BrokerId| !next.replicas.contains(broker);
        if next.leader != self.leader || self.replicas.iter().any(leaves) {
            next.leader_epoch = self.leader_epoch.checked_add(1).ok_or(Refusal::Exhausted)?;
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
