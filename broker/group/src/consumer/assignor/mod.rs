//! Who is to have which partition: the assignors that the coordinator runs itself. Pure: the same input has the same
//! result, whichever broker computes it.
//!
//! - `range`: consecutive partitions, so that topics with equally many are assigned alike
//! - `uniform`: equally many partitions for each, and as few moves as that allows; all subscribe to the same topics
//! - `mixed`: the same where members subscribe to different topics; `balancer`: who is next to get or lose a partition

mod balancer;
mod mixed;
mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use uuid::Uuid;

use crate::ids::{InstanceId, MemberId};
use crate::record::Partitions;

/// A server-side assignor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Assignor {
    Uniform,
    Range,
}

impl Assignor {
    /// What a group uses whose members do not care.
    pub(crate) const DEFAULT: Assignor = Assignor::Uniform;

    pub(crate) fn by_name(name: &str) -> Option<Assignor> {
        [Assignor::Uniform, Assignor::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// What each member is to have.
    pub(crate) fn assign(self, members: &Members, partitions: &Counts) -> BTreeMap<MemberId, Partitions> {
        match self {
            Assignor::Range => range::assign(members, partitions),
            Assignor::Uniform if have_one_subscription(members) => uniform::assign(members, partitions),
            Assignor::Uniform => mixed::assign(members, partitions),
        }
    }
}

/// The members among whom partitions are to be shared.
pub(crate) type Members = BTreeMap<MemberId, MemberSpec>;

/// The number of partitions of every topic that a member subscribes to.
pub(crate) type Counts = BTreeMap<Uuid, i32>;

/// What an assignor knows of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemberSpec {
    /// The instance id of a static member; `None`: a dynamic one.
    pub(crate) instance: Option<InstanceId>,
    /// The topics that it subscribes to and that exist. Members with one subscription share it.
    pub(crate) topics: Rc<BTreeSet<Uuid>>,
    /// What it was to have until now.
    pub(crate) before: Partitions,
}

fn have_one_subscription(members: &Members) -> bool {
    let mut subscriptions = members.values().map(|member| &member.topics);
    subscriptions.next().is_none_or(|first| subscriptions.all(|topics| topics == first))
}
