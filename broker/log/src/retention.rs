//! Which old segments go, and removing them: first by name, under the lock ([`crate::expired`]); then, after
//! `file.delete.delay.ms`, for good.

use std::path::PathBuf;

use crate::config::LogConfig;
use crate::disk::{self, DiskResult};
use crate::expired::EXPIRED;
use crate::log::Log;
use crate::segment::{Active, EXTENSIONS};
use crate::time_index::NO_TIMESTAMP;
use crate::walk::LogError;

/// What retention wants to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub end_offset: i64,
    pub size: u64,
    /// Its largest timestamp.
    pub timestamp: i64,
}

/// How many of the oldest segments go? Each must end at or below the high watermark, and be below the log's start, too
/// old, or more than `retention.bytes` allows.
pub(crate) fn decide(
    oldest_first: impl Iterator<Item = Result<SegmentFacts, LogError>>,
    config: &LogConfig,
    mut log_size: u64,
    log_start: i64,
    high_watermark: i64,
    now_ms: i64,
) -> Result<usize, LogError> {
    let mut count = 0;
    for segment in oldest_first {
        let SegmentFacts { end_offset, size, timestamp } = segment?;
        let deleted = end_offset <= log_start;
        let too_old = config.retention_ms.is_some_and(|limit| now_ms.saturating_sub(timestamp) > limit);
        let too_much = config.retention_bytes.is_some_and(|limit| log_size.saturating_sub(size) >= limit);
        if end_offset > high_watermark || !(deleted || too_old || too_much) {
            break;
        }
        log_size -= size;
        count += 1;
    }
    Ok(count)
}

/// Segments that are no longer part of the log; their files wait under other names, for somebody may still read them.
#[derive(Debug, Default)]
#[must_use = "the files stay until they are unlinked"]
pub struct Retired {
    /// How many segments.
    pub segments: usize,
    pub(crate) paths: Vec<PathBuf>,
    /// The folder, if it was not synced since the files got their names.
    pub(crate) unsynced: Option<PathBuf>,
}

impl Retired {
    /// Remove the files, once the device knows that all of them were taken. For a thread that may wait for the disk.
    pub fn unlink(self) -> DiskResult<()> {
        match self.unsynced.as_deref().map_or(Ok(()), disk::sync_dir) {
            // The replica was removed, and its files with it.
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        }
        self.paths.iter().try_for_each(|path| disk::remove(path))
    }
}

impl Log {
    /// Records below `offset` can't be read any more (DeleteRecords); retention takes their segments later. No file is
    /// written: the one of leader epochs may know more than the log has, until its next epoch begins or it is opened.
    pub fn advance_log_start(&mut self, offset: i64) {
        if offset > self.log_start {
            self.log_start = offset.min(self.log_end);
            self.epochs.truncate_start(self.log_start);
        }
    }

    /// Take segments out of the log that retention no longer wants. For a log with `delete` in its cleanup policy; for
    /// others give a config without limits, so that only what is below the log's start goes. Producers that have been
    /// quiet for too long are forgotten as well.
    pub fn apply_retention(&mut self, high_watermark: i64, now_ms: i64) -> Result<Retired, LogError> {
        self.producers.expire(now_ms, self.config.producer_expiration_ms);
        let sealed = self.sealed.values().map(|segment| {
            let timestamp = segment.age_timestamp()?;
            Ok(SegmentFacts { end_offset: segment.end_offset, size: segment.size, timestamp })
        });
        // An active segment goes as well, if it holds anything: the last records of a quiet topic expire like others.
        let active = (self.active.size > 0).then(|| Ok(self.active_facts(now_ms)));
        let facts = sealed.chain(active);
        let count = decide(facts, &self.config, self.size(), self.log_start, high_watermark, now_ms)?;
        let mut retired = Retired { unsynced: Some(self.dir.clone()), ..Retired::default() };
        if count > self.sealed.len() {
            self.roll(now_ms)?;
        }
        for _ in 0..count {
            let Some(oldest) = self.sealed.first_entry() else { break };
            match oldest.get().retire(&EXTENSIONS, EXPIRED) {
                Ok(mut paths) => retired.paths.append(&mut paths),
                Err(error) if retired.segments == 0 => return Err(error.into()),
                // Those that were taken must be unlinked. The next round tries again, and reports the error.
                Err(_) => break,
            }
            self.log_start = self.log_start.max(oldest.remove().end_offset);
            retired.segments += 1;
        }
        self.epochs.truncate_start(self.log_start);
        Ok(retired)
    }

    fn active_facts(&self, now_ms: i64) -> SegmentFacts {
        let Active { size, indexes, .. } = &self.active;
        let timestamp = Some(indexes.largest.timestamp).filter(|t| *t != NO_TIMESTAMP).unwrap_or(now_ms);
        SegmentFacts { end_offset: self.log_end, size: *size, timestamp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_segments_go_for_one_of_three_reasons_and_never_above_the_high_watermark() {
        let segments = [(10, 100, 1_000), (20, 100, 2_000), (30, 100, 3_000)]
            .map(|(end_offset, size, timestamp)| SegmentFacts { end_offset, size, timestamp });
        let keep = LogConfig { retention_ms: None, retention_bytes: None, ..LogConfig::default() };
        let by_time = |ms| LogConfig { retention_ms: Some(ms), ..keep.clone() };
        let by_size = |bytes| LogConfig { retention_bytes: Some(bytes), ..keep.clone() };
        for (name, config, log_start, high_watermark, expected) in [
            ("no reason", keep.clone(), 0, 30, 0),
            ("within the log's start", keep.clone(), 19, 30, 1),
            ("up to the log's start", keep.clone(), 20, 30, 2),
            ("not older than allowed", by_time(3_000), 0, 30, 0),
            ("older than allowed", by_time(2_999), 0, 30, 1),
            ("all too old", by_time(0), 0, 30, 3),
            ("not above the high watermark", by_time(0), 0, 29, 2),
            ("not more than allowed", by_size(201), 0, 30, 0),
            ("enough without the first", by_size(200), 0, 30, 1),
            ("no bytes allowed", by_size(0), 0, 30, 3),
            ("one for the start, one for its size", by_size(100), 10, 30, 2),
        ] {
            let count = decide(segments.into_iter().map(Ok), &config, 300, log_start, high_watermark, 4_000);
            assert_eq!(count.unwrap(), expected, "{name}");
        }
    }
}
