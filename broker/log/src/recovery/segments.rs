//! A log's segments, as its files show them: believed, checked, or cut off.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_batch::BatchHeader;

use super::scan::Scan;
use super::{Opened, RecoveryHint, aside, offsets_of};
use crate::config::LogConfig;
use crate::disk;
use crate::epochs::Epochs;
use crate::files::Files;
use crate::sealed::Sealed;
use crate::segment::{self, Active, LOG};
use crate::walk::LogError;

pub(super) struct Segments {
    pub sealed: BTreeMap<i64, Arc<Sealed>>,
    pub active: Active,
    pub log_end: i64,
    /// Of the batches that were checked.
    pub epochs: Epochs,
    /// The last of them.
    pub last: Option<BatchHeader>,
    /// The active segment's files were just created.
    pub is_new: bool,
}

impl Segments {
    pub fn create(dir: &Path, base_offset: i64, now_ms: i64) -> Result<Segments, LogError> {
        let active = Active::create(dir, base_offset, now_ms)?;
        // Before a segment follows it: of a log that lost its first one nobody could tell that it does not begin with
        // the next.
        disk::sync_dir(dir)?;
        Ok(Segments {
            sealed: BTreeMap::new(),
            active,
            log_end: base_offset,
            epochs: Epochs::default(),
            last: None,
            is_new: true,
        })
    }

    pub fn open(
        dir: &Path,
        names: &[String],
        config: &LogConfig,
        hint: &RecoveryHint,
        files: &Arc<Files>,
        now_ms: i64,
        opened: &mut Opened,
    ) -> Result<Segments, LogError> {
        let bases: Vec<i64> = offsets_of(names, LOG).into_iter().collect();
        let trusted_up_to = if hint.clean { i64::MAX } else { hint.recovery_point };
        let mut sealed = BTreeMap::new();
        let (mut epochs, mut last) = (Epochs::default(), None);
        for (i, &base_offset) in bases.iter().enumerate() {
            let end_offset = bases.get(i + 1).copied();
            // A cut is not on the device before what is written behind it: what was cut off one that ends there may be
            // back.
            let is_trusted = |end: &i64| *end < trusted_up_to || (*end == trusted_up_to && hint.intact);
            if let Some(end_offset) = end_offset.filter(is_trusted) {
                let segment = Sealed::open(dir, base_offset, end_offset, config, files)?;
                sealed.insert(base_offset, Arc::new(segment));
                continue;
            }
            if hint.clean {
                match Active::open(dir, base_offset, config, now_ms) {
                    Ok((active, next_offset)) => {
                        return Ok(Segments {
                            sealed,
                            active,
                            log_end: next_offset.unwrap_or(base_offset),
                            epochs,
                            last,
                            is_new: false,
                        });
                    }
                    Err(LogError::Corrupt { .. }) => {} // not so clean: find out how bad it is
                    Err(error) => return Err(error),
                }
            }
            let mut scan = Scan::run(dir, base_offset, end_offset, config, hint)?;
            opened.checked_bytes += scan.checked_bytes;
            opened.corrupt.append(&mut scan.corrupt);
            epochs.extend(&scan.epochs);
            last = scan.last.or(last);
            let later = bases.get(i + 1..).unwrap_or_default();
            match end_offset {
                Some(end_offset) if scan.cut_bytes == 0 && !scan.has_lost_its_end(dir, later, config, hint) => {
                    scan.indexes.finish();
                    segment::write_indexes(dir, base_offset, &scan.indexes, (0, 0))?;
                    let segment = Sealed::open(dir, base_offset, end_offset, config, files)?;
                    sealed.insert(base_offset, Arc::new(segment));
                }
                _ => {
                    opened.cut_bytes += scan.cut_bytes;
                    opened.aside = aside::put_aside(dir, later)?;
                    let Scan { file, size, indexes, next_offset, .. } = scan;
                    let active = Active::recovered(dir, base_offset, file, size, indexes, now_ms)?;
                    return Ok(Segments { sealed, active, log_end: next_offset, epochs, last, is_new: false });
                }
            }
        }
        Segments::create(dir, hint.log_start, now_ms)
    }
}
