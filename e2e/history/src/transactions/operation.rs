//! What a client did, and the answers that it got.

use std::ops::Range;

use crate::{Id, Partition};

/// How brokers distinguish one transaction of a producer from the next: `transaction.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// They don't: the epoch stays. Produce ≤ 11, EndTxn ≤ 4.
    V1,
    /// Every transaction has an epoch of its own (KIP-890). Produce ≥ 12, EndTxn ≥ 5.
    V2,
}

/// The answer that a client got to the end of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed.
    Committed,
    /// It is aborted, or will be: no commit was ever asked for.
    Aborted,
    /// A commit was asked for and not answered: the transaction is committed as a whole or not at all.
    InDoubt,
}

/// Which records a read is given: `isolation.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions and those without a transaction, up to the last stable offset.
    ReadCommitted,
    /// All, up to the high watermark.
    ReadUncommitted,
}

/// A record that a consumer was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where it lies.
    pub partition: Partition,
    /// Its offset.
    pub offset: i64,
    /// What [`Id::read`] says of its value.
    pub id: Option<Id>,
}

/// One thing that a client saw.
///
/// A client has a number, which is the `producer` of its records' ids; it is at most one producer and one consumer. A
/// client that restarts is another client. The test reports the operations of one client in the order in which the
/// client did them, and those of different clients in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A client began a transaction. Its last one is in doubt if its end was not reported.
    Begun {
        /// The client.
        client: u32,
        /// The protocol of this transaction.
        protocol: Protocol,
    },
    /// A client sent a record: in its transaction, or, if none is open, without one.
    Sent {
        /// The record.
        id: Id,
    },
    /// A record was acknowledged. Optional for a record in a transaction: a commit acknowledges all of them.
    Acknowledged {
        /// The record.
        id: Id,
        /// Where it lies.
        partition: Partition,
        /// Its offset; none if the answer had none, as after a retry.
        offset: Option<i64>,
    },
    /// A poll with read_committed returned records. If no transaction is open, they count for the client's next one.
    Polled {
        /// The client.
        client: u32,
        /// The records; those of one partition in the order in which the poll returned them.
        records: Vec<Given>,
    },
    /// A client sent a group's offset with its open transaction.
    OffsetsSent {
        /// The client.
        client: u32,
        /// The group, by a number that the test gives it.
        group: u32,
        /// The partition that the group consumes.
        partition: Partition,
        /// The input whose output the transaction holds: from its first record to the offset that it commits.
        taken: Range<i64>,
    },
    /// A client's transaction ended. A transaction whose end is not reported is in doubt.
    Ended {
        /// The client.
        client: u32,
        /// How it ended.
        outcome: Outcome,
    },
    /// A consumer set its position: at the start, or because its application called seek.
    Seeked {
        /// The client.
        client: u32,
        /// Where it reads.
        partition: Partition,
        /// What it reads next.
        offset: i64,
    },
    /// A rebalance assigned a partition to a subscribed consumer, again or for the first time: its position may change.
    Assigned {
        /// The client.
        client: u32,
        /// The partition.
        partition: Partition,
    },
    /// A consumer has reached the end of a partition. Ignored if its position before is not known: at the start, or
    /// after a rebalance, until it seeks or is given a record.
    AtEnd {
        /// The client.
        client: u32,
        /// Where it reads.
        partition: Partition,
        /// Its position.
        offset: i64,
    },
    /// A record of the last read of a partition from start to end, after every transaction has ended.
    Logged {
        /// The read's isolation.
        isolation: Isolation,
        /// The partition.
        partition: Partition,
        /// Of the record.
        offset: i64,
        /// What [`Id::read`] says of its value.
        id: Option<Id>,
    },
    /// A last read is complete. Every partition needs one with read_committed.
    LogRead {
        /// The read's isolation.
        isolation: Isolation,
        /// The partition.
        partition: Partition,
        /// The log's start offset: records before it were deleted, by retention or DeleteRecords.
        start: i64,
        /// The end: the last stable offset or the high watermark.
        end: i64,
    },
    /// A group's committed offset, after every transaction has ended.
    GroupRead {
        /// The group.
        group: u32,
        /// The partition.
        partition: Partition,
        /// The offset; none if the group has committed none.
        offset: Option<i64>,
    },
}
