//! Logs that should be open and are not yet, and how one is opened.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::Backoff;
use ottla_log::folder::partition_name;
use ottla_log::{Files, Log, LogError, RecoveryHint};
use ottla_wire::TopicIdPartition;

use super::checkpoints::Positions;
use super::folders::{self, Was};
use super::proposal::Proposal;
use super::rules::log_config;
use crate::env::{self, Instant};
use crate::image::{ClusterImage, Topic};

/// Pause before logs that failed to open are tried again, doubled up to the second.
pub const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such pause.
pub const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Logs that should be open and are not.
#[derive(Default)]
pub struct Unopened {
    /// Being opened, which may take long.
    pub opening: HashSet<TopicIdPartition>,
    /// Failed to open; perhaps being opened again.
    pub failed: HashMap<TopicIdPartition, Retry>,
    /// Were open in this process until a full disk tore them, and what was known of them then.
    pub torn: HashMap<TopicIdPartition, Positions>,
}

/// When a log that failed to open is tried again.
pub struct Retry {
    at: Instant,
    backoff: Backoff,
}

impl Unopened {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.opening.len() + self.failed.keys().filter(|key| !self.opening.contains(*key)).count()
    }

    /// True when it is to be opened now.
    pub fn begin(&mut self, key: TopicIdPartition, now: Instant) -> bool {
        self.failed.get(&key).is_none_or(|retry| retry.at <= now) && self.opening.insert(key)
    }

    /// An attempt has ended. Gives when it is to be tried again, if it failed.
    pub fn end(&mut self, key: TopicIdPartition, is_open: bool, now: Instant) -> Option<Instant> {
        self.opening.remove(&key);
        let failed_before = self.failed.remove(&key);
        if is_open {
            self.torn.remove(&key);
            return None;
        }
        let anew = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut backoff = failed_before.map_or(anew, |before| before.backoff);
        let at = now + backoff.failed();
        self.failed.insert(key, Retry { at, backoff });
        Some(at)
    }

    /// One was open and must be opened again, in a while: there may be room then.
    pub fn add_torn(&mut self, key: TopicIdPartition, known: Positions, now: Instant) {
        self.end(key, false, now);
        self.torn.insert(key, known);
    }

    /// Forgets those that are not to be open any more.
    pub fn retain(&mut self, is_wanted: impl Fn(TopicIdPartition) -> bool) {
        self.failed.retain(|key, _| is_wanted(*key));
        self.torn.retain(|key, _| is_wanted(*key));
    }

    /// When one is to be tried again.
    pub fn next_retry(&self) -> Option<Instant> {
        self.failed.iter().filter(|(key, _)| !self.opening.contains(*key)).map(|(_, retry)| retry.at).min()
    }
}

/// A log that has been opened.
pub struct OpenedLog {
    /// The log.
    pub log: Log,
    /// What was asked for last.
    pub proposal: Proposal,
    /// How it was opened.
    pub hint: RecoveryHint,
    /// What was known of a log of its name before.
    pub stated: Positions,
    /// What was in the place of its folder.
    pub was: Was,
}

impl OpenedLog {
    /// What was known of this very log.
    pub fn known(&self) -> Positions {
        if self.was == Was::Anothers { Positions::default() } else { self.stated }
    }
}

/// How to open a log that a full disk has torn in this process.
pub fn hint_of_torn(known: Positions) -> RecoveryHint {
    let Positions { recovery_point, log_start, high_watermark, first_dirty: _ } = known;
    RecoveryHint { clean: false, intact: true, recovery_point, log_start, high_watermark }
}

/// Opens a partition's log where it is, in the folder of its name in the data directory `data`; makes it if it is not
/// there. Also gives what was in its place.
///
/// # Errors
/// When the disk refuses or the files make no sense.
pub fn open_log(
    data: &Path,
    image: &ClusterImage,
    topic: &Topic,
    number: i32,
    hint: RecoveryHint,
    files: &Arc<Files>,
) -> Result<(Log, Proposal, Was), OpenError> {
    let name = topic.name.as_ref();
    let was = folders::claim(data, name, number, topic.id, |other| image.topics.contains_key(&other))?;
    // The checkpoints know logs by name: those of a new one are about another topic of its name.
    let hint = if was == Was::Its { hint } else { RecoveryHint::default() };
    let dir = data.join(partition_name(name, number));
    let (log, opened) = Log::open(&dir, log_config(&topic.settings), hint, files, env::wall_clock_ms())?;
    if opened.cut_bytes > 0 {
        tracing::warn!(
            bytes = opened.cut_bytes,
            "truncated an incomplete batch at \
        the end of a log"
        );
    }
    if let Some(aside) = &opened.aside {
        tracing::error!(from = log.log_end(), aside = %aside.display(),
            "quarantined segments behind a gap in a log");
    }
    for error in &opened.corrupt {
        tracing::error!(%error, "a log is damaged below its recovery point");
    }
    Ok((log, Proposal::open_after(&dir, hint.clean)?, was))
}

/// Why a partition's log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder is not what it should be.
    #[error(transparent)]
    Folder(#[from] folders::ClaimError),
    /// Its segments are not.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What was proposed last can't be read.
    #[error(transparent)]
    Proposal(#[from] ottla_log::DiskError),
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_new_topics_log_begins_at_0_whatever_the_checkpoints_say_of_another_of_its_name() {
        let data = tempfile::tempdir().unwrap();
        let topic = |id| Topic {
            id: Uuid::from_u128(id),
            name: "t".into(),
            config: Default::default(),
            settings: Arc::default(),
            partitions: vec![],
        };
        let hint = RecoveryHint { recovery_point: 9, log_start: 5, ..RecoveryHint::default() };
        let files = Files::new(1, 1 << 10);
        for id in [1, 2] {
            let image = ClusterImage::default();
            let (log, ..) = open_log(data.path(), &image, &topic(id), 0, hint, &files).unwrap();
            assert_eq!((log.log_start(), log.log_end(), log.recovery_point()), (0, 0, 0), "topic {id}");
        }
        let (log, ..) = open_log(data.path(), &ClusterImage::default(), &topic(2), 0, hint, &files).unwrap();
        assert_eq!(log.log_start(), 5, "that is its own");
    }
}
