//! Whatever members, the persister, the log and the clock do, in whatever order: a share partition is what a map from
//! each offset to its state is ([`naive`]). No record is held by two members at once; none is delivered more often than
//! the limit allows; what is persisted and read again is the same but for locks; and in the end every record is
//! acknowledged or archived, for a reason.

#[path = "model/naive.rs"]
mod naive;
#[path = "support/persister.rs"]
mod persister;
#[path = "model/world.rs"]
mod world;

use proptest::prelude::*;
use world::World;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Fetch {
        member: usize,
        most: i32,
        limited: bool,
        size: i32,
        reading: usize,
    },
    /// A part of something that was delivered once, to this member or to another.
    Acknowledge {
        member: usize,
        of: usize,
        skip: i64,
        records: i64,
        kinds: Vec<i8>,
    },
    Leave(usize),
    Pass(u64),
    /// The persister answers its oldest write.
    Answer(Fate),
    /// The log's start moves so far.
    LogStart(i64),
    /// Compaction removes a batch of the log.
    Compact(usize),
    Limit(i16),
    Locks(i32),
    Restart,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Stored,
    Failed,
    /// Stored, but the leader does not learn it.
    Unknown,
}

fn op() -> impl Strategy<Value = Op> {
    let member = || 0..3_usize;
    let fetch = (member(), 1..30_i32, any::<bool>(), 1..25_i32, 1..5_usize);
    let acknowledge = (member(), any::<usize>(), 0..4_i64, 1..12_i64, prop::collection::vec(0..5_i8, 1..12));
    let fetch =
        fetch.prop_map(|(member, most, limited, size, reading)| Op::Fetch { member, most, limited, size, reading });
    let acknowledge =
        acknowledge.prop_map(|(member, of, skip, records, kinds)| Op::Acknowledge { member, of, skip, records, kinds });
    let fate = prop_oneof![4 => Just(Fate::Stored), 1 => Just(Fate::Failed), 1 => Just(Fate::Unknown)];
    prop_oneof![
        8 => fetch,
        10 => acknowledge,
        1 => member().prop_map(Op::Leave),
        3 => (1..40_u64).prop_map(Op::Pass),
        8 => fate.prop_map(Op::Answer),
        1 => (1..8_i64).prop_map(Op::LogStart),
        1 => (0..20_usize).prop_map(Op::Compact),
        1 => (2..7_i16).prop_map(Op::Limit),
        1 => (5..60_i32).prop_map(Op::Locks),
        1 => Just(Op::Restart),
    ]
}

/// Batches of the log: records that are missing before it, its records, and whether it is aborted.
fn log() -> impl Strategy<Value = Vec<(i64, i64, bool)>> {
    let hole = prop_oneof![3 => Just(0), 1 => 1..6_i64];
    prop::collection::vec((hole, 1..11_i64, prop::bool::weighted(0.15)), 4..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_share_partition_keeps_its_promises(log in log(), ops in prop::collection::vec(op(), 1..120), accepts: bool) {
        let mut world = World::new(&log);
        for op in &ops {
            world.run(op);
        }
        world.finish(accepts);
    }
}
