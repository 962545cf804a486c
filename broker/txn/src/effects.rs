//! What a shard asks its host to do: answer, append, write markers.

use crate::ids::{Ticket, TopicPartition};
use crate::record::Record;
use crate::request::TxnReply;
use crate::transaction::{TransactionResult, TransactionVersion};

/// What the host is to do.
#[derive(Default, PartialEq, Debug)]
#[must_use]
pub struct Effects {
    /// Deliver these now.
    pub replies: Vec<(Ticket, TxnReply)>,
    /// Append these, in this order, and say what became of them.
    pub appends: Vec<TxnAppend>,
    /// Write these markers, in any order, and say what became of them.
    pub sends: Vec<WriteMarkers>,
}

impl Effects {
    /// These, then those.
    pub fn extend(&mut self, others: Effects) {
        let Effects { replies, appends, sends } = others;
        self.replies.extend(replies);
        self.appends.extend(appends);
        self.sends.extend(sends);
    }
}

/// Names an append of one shard until its fate is known. Grows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TxnAppendId(pub u64);

/// Records that belong together: one batch.
#[derive(PartialEq, Debug)]
pub struct TxnAppend {
    /// For [`Shard::decided`](crate::Shard::decided).
    pub id: TxnAppendId,
    /// Not empty.
    pub records: Vec<Record>,
}

/// Names the markers of one transaction, within one shard. Grows, so that a late answer is not taken for one about the
/// next transaction of the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SendId(pub u64);

/// Markers to write: one to each of the partitions, by WriteTxnMarkers to its leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteMarkers {
    /// For [`Shard::sent`](crate::Shard::sent).
    pub id: SendId,
    /// What to write.
    pub marker: Marker,
    /// Where. Not empty.
    pub partitions: Vec<TopicPartition>,
}

/// The end of a transaction in one partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Marker {
    /// The transaction's producer.
    pub producer_id: i64,
    /// Under V2 one more than that of the transaction's records.
    pub producer_epoch: i16,
    /// A partition refuses the markers of a coordinator with a lower epoch than it has seen (52).
    pub coordinator_epoch: i32,
    /// Commit or abort.
    pub outcome: TransactionResult,
    /// How leaders are to check the producer epoch. WriteTxnMarkers has it from version 2 on.
    pub transaction_version: TransactionVersion,
}
