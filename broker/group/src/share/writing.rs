//! What a share group does without a request: its deadlines, and the fate of its appends.

use std::time::Duration;

use crate::error::{GroupAppendError, GroupError};
use crate::share::group::ShareGroup;
use crate::timers::TimerKey;
use crate::turn::{Then, Turn};

/// How long after a failed append its records are written again, unless a request comes before.
const REWRITE_AFTER: Duration = Duration::from_secs(1);

/// A deadline of the group has passed.
pub(crate) fn expired(group: &mut ShareGroup, key: &TimerKey, turn: &mut Turn<'_>) {
    match key {
        TimerKey::Session(_, member) => group.fence(member, turn),
        TimerKey::StateCall(_) => group.call_expired(turn),
        TimerKey::Unwritten(_)
        | TimerKey::Revocation(..)
        | TimerKey::InitialDelay(_)
        | TimerKey::Join(_)
        | TimerKey::Sync(_)
        | TimerKey::MemberJoin(..)
        | TimerKey::MemberSync(..) => {}
    }
    flush(group, turn);
}

/// Appends what the group has changed, unless an append of it is under way, and makes its next call.
pub(crate) fn flush(group: &mut ShareGroup, turn: &mut Turn<'_>) {
    let records = group.history.next(turn.batch_bytes());
    turn.write(records, Then::Share { group: group.id.clone(), life: group.life });
    group.call_next(turn);
}

/// The fate of the append that was under way.
pub(crate) fn decided(group: &mut ShareGroup, result: Result<(), GroupError>, turn: &mut Turn<'_>) {
    match result {
        Ok(()) => {
            turn.replies.extend(group.history.succeeded());
            flush(group, turn);
        }
        Err(error) => {
            turn.replies.extend(group.history.failed(error));
            group.refuse_queued(error, turn);
            turn.schedule(TimerKey::Unwritten(group.id.clone()), REWRITE_AFTER);
        }
    }
}

/// The append that is under way takes too long: nobody waits for it.
pub(crate) fn delayed(group: &mut ShareGroup, turn: &mut Turn<'_>) {
    turn.replies.extend(group.history.late());
    group.refuse_queued(GroupAppendError::NotCommitted.into(), turn);
}
