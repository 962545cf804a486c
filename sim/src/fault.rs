//! The faults of COORDINATION §7 that are marked S, each with the place where it is played.

use std::collections::BTreeMap;

/// How often each fault was played.
pub type Counts = BTreeMap<Fault, u64>;

/// Where a fault is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// [`crate::world`]: partitions, logs, clients.
    Replicas,
    /// [`crate::control_plane`]: operators, brokers' windows, the embedded API.
    ControlPlane,
    /// Another deterministic test.
    Elsewhere(&'static str),
}

macro_rules! faults {
    ($($(#[doc = $words:literal])+ $name:ident: $stage:expr;)+) => {
        /// A fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $words])+ $name,)+
        }

        impl Fault {
            /// All of them, in the order of §7.
            pub const ALL: &[Fault] = &[$(Fault::$name),+];

            /// The words of §7.
            pub fn words(self) -> &'static str {
                match self { $(Fault::$name => concat!($($words),+).trim_ascii(),)+ }
            }

            /// Where it is played.
            pub fn stage(self) -> Stage {
                match self { $(Fault::$name => $stage,)+ }
            }
        }
    };
}

use Stage::{ControlPlane, Elsewhere, Replicas};

faults! {
    /// operator paused and resumed with stale views
    OperatorPaused: Replicas;
    /// two operators at once
    TwoOperators: Replicas;
    /// Lease deleted, restored, skewed clocks
    LeaseTrouble: ControlPlane;
    /// leader cut off from API, from followers, from both
    LeaderCutOff: Replicas;
    /// ISR write lost, late or twice
    IsrWriteTrouble: Replicas;
    /// follower returns with an empty disk while joining
    EmptyDisk: Replicas;
    /// last replica standing loses its tail
    LastReplicaLosesItsTail: Replicas;
    /// every replica crashes lossy
    EveryReplicaCrashes: Replicas;
    /// divergence after fast fail-overs
    Divergence: Replicas;
    /// volume lost, replaced
    VolumeLost: ControlPlane;
    /// volume restored from a snapshot
    VolumeRestored: Replicas;
    /// volume mounted twice
    VolumeMountedTwice: Replicas;
    /// fsync error once: directory offline, no retry
    SyncFails: Replicas;
    /// no space left, or too many open files: produce refused, broker alive, room comes back
    NoSpace: Replicas;
    /// torn writes, lost tail, lost directory entries
    TornWrites: Replicas;
    /// bit rot in the middle of a segment
    BitRot: Elsewhere(
        "`e2e/tests/chaos`: `rot_in_a_sealed_segment_is_found_and_healed_from_a_replica`; \
         `broker/log` on files"
    );
    /// crash during recovery, twice
    CrashDuringRecovery: Replicas;
    /// flapping and one-way partitions
    Links: Replicas;
    /// API server away for an hour, then back: no fencing storm, no restarts
    ApiAway: ControlPlane;
    /// watch frozen, 410, 429, stale list
    WatchTrouble: ControlPlane;
    /// operator overloaded: no mass fencing
    OperatorOverloaded: ControlPlane;
    /// CRDs and objects deleted
    ObjectsDeleted: ControlPlane;
    /// topic missing from a list at start: no file touched
    TopicMissing: ControlPlane;
    /// retries of idempotent batches across leader changes: exactly once
    Retries: Replicas;
    /// transactions torn by delayed requests
    TornTransactions: Replicas;
    /// committed offsets never fall back to zero
    CommittedOffsets: Replicas;
    /// clock jumps
    ClockJumps: Replicas;
    /// operator killed between any two writes
    OperatorKilled: ControlPlane;
    /// slow disk on one broker
    SlowDisk: Replicas;
    /// min.insync.replicas raised and lowered (beyond §7)
    MinInSyncChanges: Replicas;
    /// disk that hangs: what was asked comes minutes later, when others lead and connections have ended (beyond §7)
    HangingDisk: Replicas;
    /// connection that breaks in the middle of what is sent on it (beyond §7)
    BrokenConnection: Replicas;
    /// answers that are taken late, and files that they lie in meanwhile (beyond §7)
    StalledConnections: Replicas;
    /// every machine loses its power, and one its volume, where all is flushed first (beyond §7)
    OnlyTheFlushedStays: Replicas;
    /// leader that is cut back and copies another while its own answers are under way (beyond §7)
    Overtaken: Replicas;
    /// replica moved to other brokers, which removes its files, and back (beyond §7)
    Moved: Replicas;
    /// replica moved away and back before its leader, which stays, heard of either (beyond §7)
    MovedBack: Replicas;
    /// process killed, its directory intact (beyond §7)
    Killed: Replicas;
    /// fsync that fails during a stop, and loses what it had to write (beyond §7)
    StopFails: Replicas;
    /// truncation undone by a loss of power (beyond §7)
    CutUndone: Replicas;
    /// log that lost its tail or its folder while its broker was down (beyond §7)
    Shortened: Replicas;
    /// records deleted for good, while leaders come and go (beyond §7)
    DeleteRecords: Replicas;
    /// log whose first records are gone, by retention or DeleteRecords (beyond §7)
    LogStart: Replicas;
    /// consumer that reads from followers (beyond §7)
    FollowerFetch: Replicas;
    /// log of a coordinator that is compacted, and read by the next coordinator (beyond §7)
    Compacted: Replicas;
    /// records that the leader alone acknowledges (beyond §7)
    LeaderAcknowledges: Replicas;
    /// producer that its leader may have forgotten, and that sends again (beyond §7)
    ProducerForgotten: Replicas;
    /// offsets that a transaction commits with what was made of the input, while coordinators die (beyond §7)
    OffsetsInTransactions: Replicas;
    /// offset of a group asked for while a transaction that commits it has not ended (beyond §7)
    PendingOffsets: Replicas;
    /// member that has lost its place in its group, and commits offsets in its transaction (beyond §7)
    MemberFenced: Replicas;
    /// topic that a broker's lists lack for a while: nobody has deleted it, and its groups' offsets stay (beyond §7)
    TopicUnseen: Replicas;
    /// coordinator that is cut off and deserted while another leads: it sends clients away (beyond §7)
    DesertedCoordinator: Replicas;
    /// cut between operators and brokers alone: moves nobody (beyond §7)
    OperatorCutOff: ControlPlane;
    /// broker that is stopped: hands over in time, and returns (beyond §7)
    Drain: ControlPlane;
    /// topic deleted, and made again: files go by its tombstone alone, and nothing stays (beyond §7)
    TopicDeleted: ControlPlane;
    /// API server set back to a backup: brokers put back what it has lost, and no history forks (beyond §7)
    ApiSetBack: ControlPlane;
    /// an administrator's order to recover: no member is dropped without it, and it is obeyed once (beyond §7)
    RecoveryOrdered: ControlPlane;
}

/// The table of the README: each fault, where it is played, and how often in a run of these counts.
pub fn table() -> String {
    let row = |fault: &Fault| {
        let stage = match fault.stage() {
            Replicas => "`world`".to_owned(),
            ControlPlane => "`control_plane`".to_owned(),
            Elsewhere(place) => place.to_owned(),
        };
        format!("| {} | `{fault:?}` | {stage} |\n", fault.words())
    };
    let rows: String = Fault::ALL.iter().map(row).collect();
    format!("| fault | here | played in |\n|---|---|---|\n{rows}")
}
