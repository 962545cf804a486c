//! Logs that should be open and are not yet, and how one is opened.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_client::Backoff;
use ottla_log::folder::partition_name;
use ottla_log::{Files, Log, LogError, RecoveryHint};
use ottla_wire::TopicIdPartition;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::Span;

use super::checkpoints::{Checkpoints, Positions};
use super::folders::{self, Was};
use super::partition::{Partition, StoredReplica};
use super::proposal::Proposal;
use super::rules::log_config;
use crate::ask::AskSender;
use crate::env::{self, Instant, Workers};
use crate::image::{ClusterImage, ImageReceiver, Me, Topic};
use crate::metrics::Metrics;

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

    /// When one is to be tried again; `None`: none is to be.
    pub fn next_retry(&self) -> Option<Instant> {
        self.failed.iter().filter(|(key, _)| !self.opening.contains(*key)).map(|(_, retry)| retry.at).min()
    }
}

/// Opens the logs of this broker's replicas.
pub(super) struct Opener {
    pub me: Me,
    /// The data directory.
    pub dir: PathBuf,
    pub files: Arc<Files>,
    pub workers: Workers,
    pub checkpoints: Arc<Mutex<Checkpoints>>,
    pub metrics: Arc<Metrics>,
    pub ask: AskSender,
    /// Where partitions name followers that have caught up.
    pub joining: mpsc::Sender<TopicIdPartition>,
}

impl Opener {
    /// Opens a log, or what is left of it, as the newest of these images has it; `torn`: what was known of it when a
    /// full disk tore it in this process. `None`: it is to be tried again, and why is in the log.
    pub(super) async fn open(
        &self,
        images: ImageReceiver,
        topic: Arc<Topic>,
        number: i32,
        torn: Option<Positions>,
    ) -> Option<Arc<Partition>> {
        // Recovery may take long: what is done after it looks at the newest image.
        let newest = || images.borrow().clone();
        let mut opened = self.try_to_open(&newest(), &topic, number, torn).await;
        let mut copies_anew = false;
        while let Err(OpenError::Log(LogError::Corrupt { path, .. })) = &opened {
            // Asked once: the folder knows the answer, and would want another epoch for each segment.
            copies_anew = copies_anew || self.remedy(&newest(), TopicIdPartition::new(topic.id, number)).await;
            if !copies_anew || !self.put_aside_damaged(path).await {
                break;
            }
            opened = self.try_to_open(&newest(), &topic, number, torn).await;
        }
        let opened = opened.ok()?;
        let known = opened.known();
        let OpenedLog { mut log, mut proposal, hint, stated, .. } = opened;
        // With another incarnation no broker relies on what the disk had, nor on what was just quarantined, or was to
        // be truncated.
        let is_counted_on = (hint.clean || hint.intact) && !copies_anew && torn.is_none();
        // What was flushed counts as well: its leader may have heard of it, and this broker not yet that it is
        // committed.
        let had = known.high_watermark.max(known.recovery_point);
        let has_lost = is_counted_on && log.log_end() < had;
        if has_lost {
            tracing::error!(
                log_end = log.log_end(),
                had,
                "records are missing from a log: its files were removed or shortened while the broker was down; \
                copying it again from the other replicas"
            );
            if !self.may_open_shorter(&newest(), TopicIdPartition::new(topic.id, number)).await {
                return None;
            }
            let dir = self.dir.join(partition_name(&topic.name, number));
            proposal = self.workers.run(move || Proposal::open(&dir)).await.ok()?;
        }
        if let Some(offset) = known.first_dirty {
            log.set_first_dirty(offset);
        }
        let found = StoredReplica { log, high_watermark: known.high_watermark, proposal };
        let metrics = self.metrics.topics.of(&topic.name);
        let partition = Arc::new(Partition::new(&topic, number, self.me, found, metrics, self.joining.clone()));
        // Most logs are where they were. Thousands of them need not wait for another turn of a worker.
        if torn.is_none() && !partition.positions().are_behind(&stated) {
            return Some(partition);
        }
        let (opened, checkpoints) = (partition.clone(), self.checkpoints.clone());
        let key = (topic.name.to_string(), number);
        let lowered = self.workers.run(move || checkpoints.lock().lower(key, opened.positions())).await;
        let lowered = lowered.inspect_err(|error| {
            tracing::error!(%error, "failed to write the checkpoints of a log that has lost records");
        });
        lowered.ok().map(|()| partition)
    }

    async fn try_to_open(
        &self,
        image: &Arc<ClusterImage>,
        topic: &Arc<Topic>,
        number: i32,
        torn: Option<Positions>,
    ) -> Result<OpenedLog, OpenError> {
        let (data, files, checkpoints) = (self.dir.clone(), self.files.clone(), self.checkpoints.clone());
        let (image, of) = (image.clone(), topic.clone());
        let open = move || {
            let (hint, stated) = match torn {
                Some(known) => (hint_of_torn(known), known),
                // The holder of the lock may be waiting for the disk.
                None => checkpoints.lock().of(&of.name, number),
            };
            let (log, proposal, was) = open_log(&data, &image, &of, number, hint, &files)?;
            Ok(OpenedLog { log, proposal, hint, stated, was })
        };
        let span = Span::current();
        let opened = self.workers.run(move || span.in_scope(open)).await;
        opened.inspect_err(|error| {
            // Other partitions are served; this one is tried again.
            tracing::error!(%error, "failed to open a log");
        })
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
