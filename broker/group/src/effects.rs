//! What a turn of a shard asks its host for: replies to deliver, records to append.

use crate::ids::{Producer, Ticket};
use crate::record::Record;
use crate::request::Reply;

/// What the host is to do.
#[derive(Default, PartialEq, Debug)]
#[must_use]
pub struct Effects {
    /// Deliver these now.
    pub replies: Vec<(Ticket, Reply)>,
    /// Append these, in this order, and say what became of them.
    pub appends: Vec<Append>,
}

impl Effects {
    /// These, then those.
    pub fn extend(&mut self, others: Effects) {
        let Effects { replies, appends } = others;
        self.replies.extend(replies);
        self.appends.extend(appends);
    }
}

/// Names an append until its fate is known. Grows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AppendId(pub u64);

/// Records that belong together: one batch.
#[derive(PartialEq, Debug)]
pub struct Append {
    /// For [`Shard::appended`](crate::Shard::appended).
    pub id: AppendId,
    /// The producer in whose transaction they are, if in one.
    pub producer: Option<Producer>,
    /// Not empty.
    pub records: Vec<Record>,
}
