//! What is on its way. It arrives at any time and in any order.

use ottla_broker::replica::partition::following::NextFetch;
use ottla_crds::assignment::Assignment;
use ottla_wire::m01_fetch::{FetchPartition, PartitionData};

/// Something on its way.
#[derive(Clone, Debug)]
pub enum Flight {
    /// A follower's fetch. It arrives also when its process is gone.
    Fetch {
        /// The follower.
        from: usize,
        /// Which of its processes.
        life: u64,
        /// The incarnation that it carries.
        incarnation: i64,
        /// The leader.
        to: usize,
        /// What is asked.
        wanted: FetchPartition,
        /// The same, as the follower will want to know it again.
        asked: NextFetch,
    },
    /// The answer. It finds only the process that asked.
    Answer {
        /// The leader.
        from: usize,
        /// The follower.
        to: usize,
        /// Which of its processes.
        life: u64,
        /// What was asked.
        asked: NextFetch,
        /// The answer.
        data: Box<PartitionData>,
    },
    /// A leader's write to the API server.
    IsrWrite {
        /// The leader.
        from: usize,
        /// What it makes of the entry before it.
        next: Box<Assignment>,
    },
}
