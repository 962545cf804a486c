//! Deadlines by key: scheduling a key again replaces its deadline.
//!
//! Always: both maps hold the same pairs.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::ids::{GroupId, MemberId};

/// What is due.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum TimerKey {
    /// The group's join phase ends.
    Join(GroupId),
    /// Members that have not sent SyncGroup are removed.
    Sync(GroupId),
    /// A member, or an id that was handed out and not used, has been silent for too long.
    Session(GroupId, MemberId),
    /// A member of a consumer or streams group has not revoked what it must.
    Revocation(GroupId, MemberId),
    /// A classic member of a consumer group has not joined again.
    MemberJoin(GroupId, MemberId),
    /// It has not sent SyncGroup.
    MemberSync(GroupId, MemberId),
    /// Tasks of a new streams group are assigned: its first members have had time to join.
    InitialDelay(GroupId),
    /// The share coordinators have not answered a share group.
    StateCall(GroupId),
    /// Records of a consumer, streams or share group whose append failed are to be written again.
    Unwritten(GroupId),
}

impl TimerKey {
    /// Whose it is.
    pub(crate) fn group(&self) -> &GroupId {
        match self {
            TimerKey::Join(group)
            | TimerKey::Sync(group)
            | TimerKey::Session(group, _)
            | TimerKey::Revocation(group, _)
            | TimerKey::MemberJoin(group, _)
            | TimerKey::MemberSync(group, _)
            | TimerKey::InitialDelay(group)
            | TimerKey::StateCall(group)
            | TimerKey::Unwritten(group) => group,
        }
    }
}

#[derive(Default, Debug)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Duration, TimerKey)>,
    by_key: HashMap<TimerKey, Duration>,
}

impl Timers {
    pub(crate) fn schedule(&mut self, key: TimerKey, at: Duration) {
        self.cancel(&key);
        self.by_key.insert(key.clone(), at);
        self.by_time.insert((at, key));
    }

    pub(crate) fn cancel(&mut self, key: &TimerKey) {
        if let Some((key, at)) = self.by_key.remove_entry(key) {
            self.by_time.remove(&(at, key));
        }
    }

    pub(crate) fn is_scheduled(&self, key: &TimerKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// When the earliest key is due; `None`: none is scheduled.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The keys that are due, earliest first. They stay scheduled: acting on one may cancel or move another.
    pub(crate) fn due(&self, now: Duration) -> Vec<TimerKey> {
        self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect()
    }

    /// Removes the key if it is (still) due.
    pub(crate) fn take(&mut self, key: &TimerKey, now: Duration) -> bool {
        let due = self.by_key.get(key).is_some_and(|at| *at <= now);
        if due {
            self.cancel(key);
        }
        due
    }
}

/// A duration from the wire; negative counts as none.
pub(crate) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
