//! Who may commit offsets to a consumer group, and fetch them from it.

use crate::consumer::group::ConsumerGroup;
use crate::error::GroupError;
use crate::ids::MemberId;
use crate::record::Assigned;
use crate::request::{CommitRequest, OffsetToCommit};

impl ConsumerGroup {
    /// A member of the current epoch; or of an older one, for partitions that it has had since then (KIP-1251). Without
    /// members, anybody who does not say who it is; in a transaction such a producer always may.
    pub(crate) fn may_commit(&self, request: &CommitRequest, is_transactional: bool) -> Result<(), GroupError> {
        let says_nothing = request.generation < 0 && request.member.is_empty() && request.instance.is_none();
        if (request.generation < 0 && self.members.is_empty()) || (is_transactional && says_nothing) {
            return Ok(());
        }
        let member = self.members.get(&request.member).ok_or(GroupError::UnknownMemberId)?;
        let is_classic = member.value.classic.is_some();
        if !is_transactional && !is_classic && !request.knows_group_id_not_found {
            return Err(GroupError::UnsupportedVersion);
        }
        let current = &member.current;
        let since = |offset: &OffsetToCommit| {
            let topic = offset.topic_id?;
            let of = |assigned: &Assigned| assigned.get(&topic)?.get(&offset.partition).copied();
            of(&current.assigned).or_else(|| of(&current.revoking))
        };
        let is_its_own = |offset: &OffsetToCommit| since(offset).is_some_and(|epoch| request.generation >= epoch);
        let is_allowed = request.generation == current.epoch
            || (request.generation < current.epoch && request.offsets.iter().all(is_its_own));
        match is_allowed {
            true => Ok(()),
            false if is_classic || is_transactional => Err(GroupError::IllegalGeneration),
            false => Err(GroupError::StaleMemberEpoch),
        }
    }

    /// A member of the current epoch, or a client that does not say who it is.
    pub(crate) fn may_fetch(&self, member: Option<&MemberId>, epoch: i32) -> Result<(), GroupError> {
        let Some(id) = member else {
            return if epoch < 0 { Ok(()) } else { Err(GroupError::UnknownMemberId) };
        };
        let member = self.members.get(id).ok_or(GroupError::UnknownMemberId)?;
        match member.current.epoch == epoch {
            true => Ok(()),
            false if member.value.classic.is_some() => Err(GroupError::IllegalGeneration),
            false => Err(GroupError::StaleMemberEpoch),
        }
    }
}
