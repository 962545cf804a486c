//! A log's segments, as its files show them: believed, checked, or cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ottla_batch::BatchHeader;

use super::aside;
use super::hint::{Opened, RecoveryHint};
use super::scan::Scan;
use crate::config::LogConfig;
use crate::disk::{self, DiskResult};
use crate::epochs::Epochs;
use crate::files::Files;
use crate::sealed::Sealed;
use crate::segment::{self, Active, LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX};
use crate::walk::LogError;

pub(super) struct Segments {
    pub sealed: BTreeMap<i64, Arc<Sealed>>,
    pub active: Active,
    pub log_end: i64,
    /// Of the batches that were checked.
    pub epochs: Epochs,
    /// The last of them; `None`: there is none.
    pub last: Option<BatchHeader>,
    /// Bases of the segments whose transaction index must be made from their batches.
    pub unindexed: BTreeSet<i64>,
    /// The active segment's files were just created.
    pub is_new: bool,
}

impl Segments {
    pub(super) fn create(dir: &Path, base_offset: i64, now_ms: i64) -> Result<Segments, LogError> {
        let active = Active::create(dir, base_offset, now_ms)?;
        // Before a segment follows it: if a log lost its first segment, nobody could see that the log does not begin
        // with the next.
        disk::sync_dir(dir)?;
        Ok(Segments {
            sealed: BTreeMap::new(),
            active,
            log_end: base_offset,
            epochs: Epochs::default(),
            last: None,
            unindexed: BTreeSet::new(),
            is_new: true,
        })
    }

    pub(super) fn open(
        dir: &Path,
        names: &[String],
        config: &LogConfig,
        hint: &RecoveryHint,
        files: &Arc<Files>,
        now_ms: i64,
        opened: &mut Opened,
    ) -> Result<Segments, LogError> {
        let bases: Vec<i64> = segment::offsets_of(names, LOG).into_iter().collect();
        let trusted_up_to = if hint.clean { i64::MAX } else { hint.recovery_point };
        let mut sealed = BTreeMap::new();
        let (mut epochs, mut last, mut unindexed) = (Epochs::default(), None, BTreeSet::new());
        let index_files = IndexFiles::of(names);
        for (i, &base_offset) in bases.iter().enumerate() {
            let end_offset = bases.get(i + 1).copied();
            // A cut is not on the device before what is written behind it: what was cut off one that ends there may be
            // back.
            let is_trusted = |end: &i64| *end < trusted_up_to || (*end == trusted_up_to && hint.intact);
            if let Some(end_offset) = end_offset.filter(is_trusted) {
                let has_aborted = index_files.has_aborted(dir, base_offset, end_offset)?;
                if has_aborted.is_none() {
                    unindexed.insert(base_offset);
                }
                let has_aborted = has_aborted == Some(true);
                let segment = Sealed::open(dir, base_offset, end_offset, has_aborted, config, files)?;
                sealed.insert(base_offset, Arc::new(segment));
                continue;
            }
            if hint.clean {
                match Active::open(dir, base_offset, config, now_ms) {
                    Ok((active, next_offset)) => {
                        if active.lacks_aborted {
                            unindexed.insert(base_offset);
                        }
                        return Ok(Segments {
                            sealed,
                            active,
                            log_end: next_offset.unwrap_or(base_offset),
                            epochs,
                            last,
                            unindexed,
                            is_new: false,
                        });
                    }
                    Err(LogError::Corrupt { .. }) => {} // not so clean: find out how bad it is
                    Err(error) => return Err(error),
                }
            }
            unindexed.insert(base_offset);
            let mut scan = Scan::run(dir, base_offset, end_offset, last.as_ref(), config, hint)?;
            opened.checked_bytes += scan.checked_bytes;
            opened.corrupt.append(&mut scan.corrupt);
            epochs.extend(&scan.epochs);
            last = scan.last.or(last);
            let later = bases.get(i + 1..).unwrap_or_default();
            match end_offset {
                Some(end_offset) if scan.cut_bytes == 0 && !scan.has_lost_its_end(base_offset, end_offset, hint) => {
                    scan.indexes.finish();
                    segment::write_indexes(dir, base_offset, &scan.indexes, (0, 0))?;
                    let segment = Sealed::open(dir, base_offset, end_offset, false, config, files)?;
                    sealed.insert(base_offset, Arc::new(segment));
                }
                _ => {
                    opened.cut_bytes += scan.cut_bytes;
                    opened.aside = aside::put_aside(dir, later)?;
                    let Scan { file, size, indexes, next_offset, .. } = scan;
                    let active = Active::recovered(dir, base_offset, file, size, indexes, now_ms)?;
                    let log_end = next_offset;
                    return Ok(Segments { sealed, active, log_end, epochs, last, unindexed, is_new: false });
                }
            }
        }
        Segments::create(dir, hint.log_start, now_ms)
    }
}

/// Which segments have which index files.
struct IndexFiles {
    offsets: BTreeSet<i64>,
    times: BTreeSet<i64>,
    transactions: BTreeSet<i64>,
}

impl IndexFiles {
    fn of(names: &[String]) -> IndexFiles {
        let [offsets, times, transactions] =
            [OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX].map(|extension| segment::offsets_of(names, extension));
        IndexFiles { offsets, times, transactions }
    }

    /// Whether a segment has aborted transactions. `None` when its index does not say: the index can't be right, or may
    /// be missing. Where no transaction was aborted there is no file, so an operator who removes index files to have
    /// them rebuilt removes the other indexes, too (Kafka's `LogLoader` asks the same).
    fn has_aborted(&self, dir: &Path, base_offset: i64, end_offset: i64) -> DiskResult<Option<bool>> {
        if !self.offsets.contains(&base_offset) || !self.times.contains(&base_offset) {
            return Ok(None);
        }
        if !self.transactions.contains(&base_offset) {
            return Ok(Some(false));
        }
        let index = segment::load_aborted(dir, base_offset, end_offset)?;
        Ok(index.map(|index| !index.is_empty()))
    }
}
