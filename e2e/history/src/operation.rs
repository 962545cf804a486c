//! What a client did and what it was answered.

use std::ops::Range;

use crate::Id;

/// A partition, by a number that the test gives it: another one for each partition of each topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

/// What a producer was answered about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is written.
    Acknowledged {
        /// Where.
        partition: Partition,
        /// At which offset, if the client got it: of a retry that was a duplicate it may not be.
        offset: Option<i64>,
    },
    /// It is certainly not written, and never will be.
    Failed,
    /// Nobody knows: it may be there once, or not at all.
    Unknown,
}

/// One thing that a client saw. In whatever order, but for what one reader does: that, as it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A record was sent; reported once, when its outcome is known or when nobody waits for it any more.
    Produced {
        /// The record.
        id: Id,
        /// What became of it.
        outcome: Outcome,
    },
    /// The transaction of these records is aborted for certain.
    Aborted {
        /// Their producer.
        producer: u32,
        /// The sequences of their ids.
        sequences: Range<u32>,
    },
    /// A consumer goes to an offset: its first, after a rebalance, or because it had to.
    Seeked {
        /// The consumer, by a number that the test gives it.
        reader: u32,
        /// Where it reads.
        partition: Partition,
        /// What it reads next.
        offset: i64,
    },
    /// A consumer was given a record.
    Read {
        /// The consumer.
        reader: u32,
        /// Where it reads.
        partition: Partition,
        /// Of the record.
        offset: i64,
        /// What [`Id::read`] says of its value.
        id: Option<Id>,
    },
    /// A client asked for the end of a partition.
    EndRead {
        /// Of which.
        partition: Partition,
        /// The answer.
        offset: i64,
        /// [`Checker::known_end`](crate::Checker::known_end) when it was asked.
        known: i64,
    },
    /// A group's offset was committed.
    Committed {
        /// The group, by a number that the test gives it.
        group: u32,
        /// The partition.
        partition: Partition,
        /// The offset.
        offset: i64,
    },
    /// A commit is on its way. Unless [`Operation::Committed`] says that it was acknowledged, it may be obeyed at any
    /// time from now on: a client that loses its connection may have later commits acknowledged before it.
    CommitInDoubt {
        /// The group.
        group: u32,
        /// The partition.
        partition: Partition,
        /// The offset.
        offset: i64,
    },
    /// A client asked for a group's committed offset.
    CommitRead {
        /// The group.
        group: u32,
        /// The partition.
        partition: Partition,
        /// The answer; none if there is none.
        offset: Option<i64>,
        /// [`Checker::known_commit`](crate::Checker::known_commit) when it was asked.
        known: Option<i64>,
    },
    /// A record of the last read of a partition, from its start to its end, when all is over.
    Logged {
        /// The partition.
        partition: Partition,
        /// Of the record.
        offset: i64,
        /// What [`Id::read`] says of its value.
        id: Option<Id>,
    },
    /// What that read found at an offset may be a late copy: its producer sent the record again when brokers may have
    /// forgotten it (`producer.id.expiration.ms`), and Kafka writes it then once more, wherever the log ends.
    Late {
        /// The partition.
        partition: Partition,
        /// Of the copy.
        offset: i64,
    },
    /// That read is done.
    LogRead {
        /// The partition.
        partition: Partition,
        /// Its first offset: what lies before it was deleted by right.
        start: i64,
        /// Its end.
        end: i64,
    },
}
