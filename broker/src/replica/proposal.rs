//! The change of the ISR that a leader asked for last, or the assignment with which a leader epoch began, on its disk.
//!
//! A broker that has acted in a leader epoch must not return to an older one: it would cut acknowledged records off its
//! log, or count for a leader of the past.
//!
//! A proposed member may be in the ISR, whether the leader knows the outcome or not. A leader that is killed and leads
//! on in the same epoch must count that replica for the high watermark, or it acknowledges records that an electable
//! member lacks (the model's mutant `ForgottenProposal`). Not synced but at a clean stop: a crash of the machine
//! changes the incarnation, and with it the leader.

use std::path::{Path, PathBuf};

use ottla_log::disk;
use ottla_rules::assignment::{Age, Epochs};

use crate::image::Assignment;

/// Beside the segments; Kafka's tools pass over it.
const FILE: &str = "isr-proposal";

/// What was asked for last, for one partition.
#[derive(Debug)]
pub struct Proposal {
    path: PathBuf,
    last: Option<Assignment>,
    /// Whether the file is on the device.
    is_synced: bool,
}

impl Proposal {
    /// Of the partition in this folder. Its broker may have ended without a clean stop.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(dir: &Path) -> disk::DiskResult<Proposal> {
        Proposal::open_after(dir, false)
    }

    /// The same; says whether its broker had stopped `clean`, which has synced it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open_after(dir: &Path, clean: bool) -> disk::DiskResult<Proposal> {
        let path = dir.join(FILE);
        // Torn: the machine has crashed. Then the incarnation is another, and nothing is led of what was.
        let last = disk::read(&path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Proposal { path, last, is_synced: clean })
    }

    /// Keeps what is about to be asked for.
    ///
    /// # Errors
    /// When the disk refuses: then it must not be asked for.
    pub fn keep(&mut self, next: &Assignment) -> disk::DiskResult<()> {
        let bytes = serde_json::to_vec(next).expect("numbers and lists are JSON");
        self.is_synced = false;
        disk::replace_unsynced(&self.path, &bytes)?;
        self.last = Some(next.clone());
        Ok(())
    }

    /// Makes what was kept durable: after a clean stop the incarnation stays even where the machine loses its power.
    ///
    /// # Errors
    /// When the disk refuses: then the stop is not clean.
    pub fn sync(&mut self) -> disk::DiskResult<()> {
        if self.last.is_none() || self.is_synced {
            return Ok(());
        }
        disk::DiskFile::open(&self.path)?.sync()?;
        self.path.parent().map_or(Ok(()), disk::sync_dir)?;
        self.is_synced = true;
        Ok(())
    }

    /// What is older than what `last` rests on has been acted on: who proposed since then might have been joined by
    /// others in between.
    pub fn acted_on(&self) -> Epochs {
        self.last.as_ref().map_or(Epochs::NONE, |last| Epochs {
            leader: last.leader_epoch,
            partition: last.partition_epoch.before_basis(),
        })
    }

    /// Whether an assignment is newer than all that was asked for and acted on here.
    pub fn is_older_than(&self, assignment: &Assignment) -> bool {
        self.last.as_ref().is_none_or(|last| assignment.epochs().age(last.epochs()) == Age::Newer)
    }

    /// What may have been written over `committed`, in the same leader epoch, without anybody here knowing; `None`:
    /// nothing.
    pub fn undecided(&self, committed: &Assignment) -> Option<Assignment> {
        let later = |last: &&Assignment| {
            last.leader_epoch == committed.leader_epoch && last.partition_epoch > committed.partition_epoch
        };
        self.last.as_ref().filter(later).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{BrokerId, LeaderEpoch, PartitionEpoch};

    fn assignment(leader_epoch: i32, partition_epoch: i32) -> Assignment {
        Assignment {
            partition: 0,
            replicas: vec![BrokerId(0), BrokerId(1)],
            adding: vec![],
            removing: vec![],
            leader: Some(BrokerId(0)),
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: PartitionEpoch(partition_epoch),
            isr: vec![],
            reports: vec![],
            log_start: None,
        }
    }

    #[test]
    fn what_was_asked_for_is_undecided_until_something_newer_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let mut proposal = Proposal::open(dir.path()).unwrap();
        assert_eq!(proposal.undecided(&assignment(3, 7)), None);
        proposal.keep(&assignment(3, 8)).unwrap();
        let again = Proposal::open(dir.path()).unwrap();
        let cases = [(3, 6, true), (3, 7, true), (3, 8, false), (3, 9, false), (4, 8, false), (2, 7, false)];
        for (leader_epoch, partition_epoch, undecided) in cases {
            let found = again.undecided(&assignment(leader_epoch, partition_epoch));
            assert_eq!(found.is_some(), undecided, "{leader_epoch} {partition_epoch}");
        }
    }

    #[test]
    fn a_file_that_a_crash_of_the_machine_has_torn_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(Proposal::open(dir.path()).unwrap().acted_on(), Epochs::NONE);
    }
}
