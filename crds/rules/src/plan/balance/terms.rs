//! What plans are made of, and what they say.

use std::{collections::BTreeSet, fmt};

use crate::assignment::{Assignment, BrokerId};

/// The part of a disk that may be full after a plan: the rest is for growth until the next one.
pub(super) const FULL_AFTER: f64 = 0.80;
/// The part of a disk that may be full while replicas move: those that leave are removed only after their move.
pub(super) const FULL_DURING: f64 = 0.85;

/// The part of a disk beyond which replicas move away without being asked, and moves to it are cancelled.
pub(super) const FULL_RELIEVED: f64 = 0.90;
/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// Its rack; `None`: it counts as a rack of its own.
    pub rack: Option<String>,
    /// The Kubernetes node of its pod; `None`: it counts as a node of its own.
    pub node: Option<String>,
    /// The bytes that its disk can hold; `None`: unknown. If it is unknown of one, all brokers count as equal.
    pub capacity: Option<u64>,
    /// The bytes that its disk holds now, those of other programs included; `None`: those of its replicas.
    pub used: Option<u64>,
    /// What it should do.
    pub role: Role,
}

/// What a broker should do with replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It keeps and gets replicas.
    Serves,
    /// It keeps what it has, and nothing moves to it. Moves in progress end.
    Cordoned,
    /// The same, because it has not said how much space its disk has.
    Silent,
    /// It must become empty. Moves to it that are in progress are cancelled.
    Leaves,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition<'a> {
    /// Its topic's name.
    pub topic: &'a str,
    /// Its entry as read.
    pub entry: &'a Assignment,
    /// Whether a user placed it (`spec.placement` of its KafkaTopic): it does not move.
    pub pinned: bool,
    /// What each of its replicas has to do; zeros: unknown.
    pub load: Load,
}

/// The load of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The bytes of its log: each replica has them.
    pub bytes: u64,
    /// The bytes per second that producers send: each replica writes them.
    pub bytes_in: u64,
    /// The bytes per second that consumers fetch: the leader sends them, besides `bytes_in` to each follower.
    pub bytes_out: u64,
}

/// How many replicas may be copied at a time. Those of reassignments that are in progress count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// To one broker.
    pub into_broker: usize,
    /// From one broker: the leader sends them.
    pub out_of_broker: usize,
    /// In the cluster. As many reassignments that copy nothing may start in one round.
    pub total: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { into_broker: 4, out_of_broker: 4, total: 64 }
    }
}

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Replace lost replicas, empty the brokers that leave, and relieve disks that are fuller than 90 %.
    Evacuate,
    /// That, then separate replicas that share a rack, then make every load even.
    Full,
    /// Make the numbers of leaders, and the bytes that they send, even by other orders of preference: nothing moves.
    Leaders,
    /// As `Full`, but only these brokers get replicas and leaders, besides those that others must leave.
    Fill {
        /// The brokers to fill.
        to: BTreeSet<BrokerId>,
    },
}

/// A reassignment to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The wanted replicas, in order of preference to lead.
    pub target: Vec<BrokerId>,
    /// Why it moves: the first reason, if there are several.
    pub purpose: Purpose,
}

/// Why a partition moves, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A replica is on a broker that the cluster does not have.
    Lost,
    /// A broker leaves.
    Evacuation,
    /// Replicas share a rack or a node.
    Racks,
    /// A disk is too full.
    Disk,
    /// A load is uneven.
    Balance,
}

/// A replica that can not leave its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The broker that the replica should leave.
    pub broker: BrokerId,
    /// Why it can not.
    pub reason: Reason,
}

/// Why a replica can not leave its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Every broker that could take it would have a disk that is too full.
    NotEnoughSpace,
    /// A broker that could take it has not said how much space its disk has.
    SpaceUnknown,
    /// Only a cordoned broker could take it without two replicas in one rack.
    TooFewRacks,
    /// Every broker that serves has a replica of the partition already.
    TooFewBrokers,
    /// A user placed the partition there.
    PlacedByHand,
    /// The partition has no leader from which its records could be copied.
    LastReplica,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = FULL_AFTER * 100.0;
        match self {
            Reason::NotEnoughSpace => write!(f, "no other broker has space for it below {percent} % of its disk"),
            Reason::SpaceUnknown => f.write_str("a broker that could take it has not said how much space its disk has"),
            Reason::TooFewRacks => f.write_str("only a cordoned broker could take it without two replicas in one rack"),
            Reason::TooFewBrokers => f.write_str("every broker that serves has a replica of it already"),
            Reason::PlacedByHand => f.write_str("spec.placement of its KafkaTopic names the broker"),
            Reason::LastReplica => f.write_str("it has no leader from which its records could be copied"),
        }
    }
}
