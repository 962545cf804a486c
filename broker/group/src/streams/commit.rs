//! Who may commit offsets to a streams group, and fetch them from it.

use crate::error::GroupError;
use crate::ids::MemberId;
use crate::record::TasksWithEpochs;
use crate::request::{CommitRequest, OffsetToCommit};
use crate::streams::group::StreamsGroup;

impl StreamsGroup {
    /// A member of the current epoch; or of an older one, for topics of active tasks that it has had since then.
    /// Without members, anybody who does not say who it is; in a transaction such a producer always may.
    pub(crate) fn may_commit(&self, request: &CommitRequest, is_transactional: bool) -> Result<(), GroupError> {
        let says_nothing = request.generation < 0 && request.member.is_empty() && request.instance.is_none();
        if (request.generation < 0 && self.members.is_empty()) || (is_transactional && says_nothing) {
            return Ok(());
        }
        let member = self.members.get(&request.member).ok_or(GroupError::UnknownMemberId)?;
        if !is_transactional && !request.knows_group_id_not_found {
            return Err(GroupError::UnsupportedVersion);
        }
        let current = &member.current;
        let since = |offset: &OffsetToCommit| {
            let id = self.reader(&offset.topic)?;
            let of = |active: &TasksWithEpochs| active.get(id)?.get(&offset.partition).copied();
            of(&current.assigned.active).or_else(|| of(&current.revoking.active))
        };
        let is_its_own = |offset: &OffsetToCommit| since(offset).is_some_and(|epoch| request.generation >= epoch);
        let is_allowed = request.generation == current.epoch
            || (request.generation < current.epoch && request.offsets.iter().all(is_its_own));
        match is_allowed {
            true => Ok(()),
            false if is_transactional => Err(GroupError::IllegalGeneration),
            false => Err(GroupError::StaleMemberEpoch),
        }
    }

    /// A member of the current epoch, or a client that does not say who it is.
    pub(crate) fn may_fetch(&self, member: Option<&MemberId>, epoch: i32) -> Result<(), GroupError> {
        let Some(id) = member else {
            return if epoch < 0 { Ok(()) } else { Err(GroupError::UnknownMemberId) };
        };
        let member = self.members.get(id).ok_or(GroupError::UnknownMemberId)?;
        if member.current.epoch == epoch { Ok(()) } else { Err(GroupError::StaleMemberEpoch) }
    }

    /// The subtopology that reads the topic.
    fn reader(&self, topic: &str) -> Option<&String> {
        let mut parts = self.topology.iter().flat_map(|topology| &topology.subtopologies);
        parts.find(|part| part.reads().any(|name| **name == *topic)).map(|part| &part.id)
    }
}
