//! What the log does to a share partition: its start moves, compaction leaves holes, transactions are aborted.

use super::batch::SlotState;
use super::share_partition::SharePartition;
use crate::ids::Offset;

impl SharePartition {
    /// Forgets records before the log's start: nobody can read them any more. Acknowledgements of them succeed, and
    /// change nothing. The new start is persisted with the next change.
    pub fn move_log_start(&mut self, log_start: Offset) {
        if log_start <= self.start {
            return;
        }
        self.forget_before(log_start);
        self.end = self.end.max(log_start);
        self.advance();
    }

    /// Archives what could be delivered between two offsets, the last one excluded: the log has no records there. What
    /// members hold is theirs until they answer; then it is read for again, and found missing.
    pub(super) fn archive_missing(&mut self, first: Offset, until: Offset) {
        if first >= until {
            return;
        }
        self.forget_unread(first, until - 1);
        self.change(first, until - 1, |slot| {
            if slot.is_available() {
                slot.state = SlotState::Archived;
            }
        });
    }
}
