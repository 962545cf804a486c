//! What is on its way. It arrives at any time and in any order, but for what a producer sends on one connection.

use bytes::Bytes;
use ottla_broker::replica::partition::following::NextFetch;
use ottla_crds::assignment::Assignment;
use ottla_wire::m01_fetch::{FetchPartition, PartitionData};

use crate::client::Connection;

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
    /// A producer's batch.
    Produce {
        /// Who.
        producer: usize,
        /// On which connection.
        connection: Connection,
        /// Which of its batches.
        sequence: u32,
        /// The batch.
        batch: Bytes,
    },
    /// What became of it.
    Produced {
        /// Who.
        producer: usize,
        /// On which connection.
        connection: Connection,
        /// Which of its batches.
        sequence: u32,
        /// Its offset; none: try again.
        offset: Option<i64>,
    },
    /// A write to the API server.
    Write {
        /// Whose.
        by: Writer,
        /// What it makes of the entry before it.
        next: Box<Assignment>,
    },
}

/// Who writes to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A leading broker.
    Broker(usize),
    /// An operator.
    Operator(usize),
}
