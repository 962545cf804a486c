//! A partition's disk: no room, failures, and when it is better not to serve at all.

use std::sync::atomic::Ordering;

use ottla_log::{DiskError, LogError};

use super::role::Role;
use super::{Partition, State};

impl Partition {
    pub(super) fn note_append_error(&self, state: &mut State, error: &ottla_log::AppendError) {
        match error {
            ottla_log::AppendError::NoSpace(error) => self.note_disk_error(state, error),
            ottla_log::AppendError::OutOfOrder { .. } => {}
            ottla_log::AppendError::Disk(error) => self.note_disk_error(state, error),
            ottla_log::AppendError::Failed => self.take_offline(state, error),
        }
    }

    /// A full disk is no reason to go offline: there may be room again.
    pub(super) fn note_disk_error(&self, state: &mut State, error: &DiskError) {
        if !error.is_no_space() {
            self.disk_failed.store(true, Ordering::Relaxed);
            self.take_offline(state, error);
        } else if !std::mem::replace(&mut state.full, true) {
            tracing::error!(topic = %self.topic, partition = self.number, %error,
                "the disk is full: nothing is written to the partition until there is room; nothing of it is lost");
        }
    }

    /// The log is neither what it was nor what it should be.
    pub(super) fn note_half_cut(&self, state: &mut State, error: &LogError) {
        if let LogError::Disk(error) = error {
            self.note_disk_error(state, error);
        }
        self.take_offline(state, error);
    }

    pub(super) fn note_room(&self, state: &mut State) {
        if std::mem::take(&mut state.full) {
            // As loud as what it ends.
            tracing::error!(topic = %self.topic, partition = self.number, "the disk has room again");
        }
    }

    pub(super) fn take_offline(&self, state: &mut State, error: &dyn std::error::Error) {
        tracing::error!(topic = %self.topic, partition = self.number, %error, "partition taken offline");
        state.role = Role::Offline;
        self.disturb();
    }
}
