//! What a turn of a shard asks its host for: replies to deliver, records to append, topics to look up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::TopicIdPartition;
use uuid::Uuid;

use crate::ids::{GroupId, Producer, Ticket};
use crate::record::{Partitions, Record};
use crate::request::GroupReply;
use crate::share_state::StateError;
use crate::topics::Topics;

/// What the host is to do.
#[derive(Default, PartialEq, Debug)]
#[must_use]
pub struct Effects {
    /// Deliver these now.
    pub replies: Vec<(Ticket, GroupReply)>,
    /// Append these, in this order, and say what became of them.
    pub appends: Vec<GroupAppend>,
    /// Look these up, off the shard's lock, and answer with
    /// [`Shard::looked_up`](crate::Shard::looked_up).
    pub lookups: Vec<Lookup>,
    /// Ask this of the share coordinators, and answer with
    /// [`Shard::state_call_answered`](crate::Shard::state_call_answered).
    pub state_calls: Vec<StateCall>,
}

impl Effects {
    /// These, then those.
    pub fn extend(&mut self, others: Effects) {
        let Effects { replies, appends, lookups, state_calls } = others;
        self.replies.extend(replies);
        self.appends.extend(appends);
        self.lookups.extend(lookups);
        self.state_calls.extend(state_calls);
    }
}

/// Names an append until its fate is known. Grows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupAppendId(pub u64);

/// Records that belong together: one batch.
#[derive(PartialEq, Debug)]
pub struct GroupAppend {
    /// For [`Shard::appended`](crate::Shard::appended).
    pub id: GroupAppendId,
    /// The producer in whose transaction they are; `None`: they are in no transaction.
    pub producer: Option<Producer>,
    /// Not empty.
    pub records: Vec<Record>,
}

/// Regular expressions whose topics are to be looked up. A group has one lookup under way at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// Whose they are.
    pub group: GroupId,
    /// Who asked: names count that this client may describe.
    pub asker: Asker,
    /// The expressions.
    pub patterns: BTreeSet<String>,
    /// Where to look.
    pub topics: Arc<Topics>,
}

/// The client whose request led to a [`Lookup`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The name of its principal.
    pub principal: String,
    /// Where it is, as Kafka prints it: `/10.0.0.1`.
    pub host: String,
}

/// Names a call of one share group until it is answered. Grows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StateCallId(pub u64);

/// What a share group asks of the share coordinators. One call of a group is under way at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateCall {
    /// Names the call.
    pub id: StateCallId,
    /// Whose it is.
    pub group: GroupId,
    /// Which group of this name.
    pub life: u64,
    /// What is asked.
    pub what: StateCallKind,
}

/// The request to the share coordinators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StateCallKind {
    /// InitializeShareGroupState.
    Initialize {
        /// The group's epoch.
        state_epoch: i32,
        /// By topic: partitions, and where each begins; −1 leaves the choice to the leader.
        offsets: BTreeMap<Uuid, BTreeMap<i32, i64>>,
    },
    /// DeleteShareGroupState.
    Delete {
        /// What to delete; may be empty.
        partitions: Partitions,
    },
}

/// What became of each partition of a [`StateCall`].
pub type StateResults = BTreeMap<TopicIdPartition, Result<(), StateError>>;
