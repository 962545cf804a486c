//! A compacted segment takes the place of those that it was made of.
//!
//! Its files are written under names with `.cleaned`, and synced. Renaming its log to `.swap` is the point of no
//! return: a crash before leaves the old segments, a crash after the new one, for opening the log completes what is
//! left to do. Which segments it replaces follows from its offsets, for it always keeps the last batch of the last of
//! them, be it as a bare header.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, DiskFile, DiskResult};
use crate::log::{Log, remove_segment_files};
use crate::retention::Retired;
use crate::sealed::Sealed;
use crate::segment::{self, EXTENSIONS, LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX};
use crate::walk::{LogError, Walk};

const CLEANED: &str = "cleaned";
const SWAP: &str = "swap";
const DELETED: &str = "deleted";

/// The files of a new segment. The log last: the indexes mean nothing without it. There is a transaction index, even
/// without entries, if and only if one of the old segments has one: so a crash never leaves an old one that nothing
/// replaces.
const NEW_FILES: [&str; 4] = [TRANSACTION_INDEX, OFFSET_INDEX, TIME_INDEX, LOG];

/// A compacted segment, synced, and those that it is to replace.
#[derive(Debug)]
#[must_use = "it is no part of the log yet"]
pub struct Cleaned {
    pub(crate) dir: PathBuf,
    /// The oldest first.
    pub(crate) replaces: Vec<Arc<Sealed>>,
    /// Its transaction index has entries.
    pub(crate) has_aborted: bool,
    /// Set for the last segment of a round: everything before is compacted then. None for the segments before it.
    pub(crate) first_dirty: Option<i64>,
}

impl Cleaned {
    pub(crate) fn base_offset(&self) -> i64 {
        self.replaces[0].base_offset
    }

    /// One of the old segments has a transaction index, so there is a new one.
    pub(crate) fn had_aborted(&self) -> bool {
        self.replaces.iter().any(|old| old.has_aborted)
    }

    /// Remove its files: it won't be needed.
    pub(crate) fn discard(&self) -> DiskResult<()> {
        NEW_FILES.iter().try_for_each(|extension| disk::remove(&self.path(extension, CLEANED)))
    }

    fn path(&self, extension: &str, mark: &str) -> PathBuf {
        marked(&self.dir, self.base_offset(), extension, mark)
    }

    fn rename_all(&self, from: impl Fn(&str) -> PathBuf, to: impl Fn(&str) -> PathBuf) -> DiskResult<()> {
        let had_aborted = self.had_aborted();
        let mut files = NEW_FILES.iter().filter(|extension| had_aborted || **extension != TRANSACTION_INDEX);
        files.try_for_each(|extension| disk::rename(&from(extension), &to(extension)))
    }
}

/// The name of a file that is being written.
pub(crate) fn cleaned_path(dir: &Path, base_offset: i64, extension: &str) -> PathBuf {
    marked(dir, base_offset, extension, CLEANED)
}

fn marked(dir: &Path, base_offset: i64, extension: &str, mark: &str) -> PathBuf {
    segment::path(dir, base_offset, extension).with_added_extension(mark)
}

impl Log {
    /// Put a compacted segment in place of the old ones. None when they are no longer what they were, for the log was
    /// truncated or retention took them: then the round is void.
    pub fn swap_in(&mut self, cleaned: &Cleaned) -> DiskResult<Option<Retired>> {
        let is_there = |old: &Arc<Sealed>| self.sealed.get(&old.base_offset).is_some_and(|here| Arc::ptr_eq(here, old));
        if self.failed || !cleaned.replaces.iter().all(is_there) {
            return Ok(None);
        }
        // Half-way nobody knows what the folder holds but a new start.
        let retired = self.exchange(cleaned).inspect_err(|_| self.failed = true)?;
        self.first_dirty = cleaned.first_dirty.unwrap_or(self.first_dirty);
        Ok(Some(retired))
    }

    fn exchange(&mut self, cleaned: &Cleaned) -> DiskResult<Retired> {
        let base_offset = cleaned.base_offset();
        let swap = |extension: &str| cleaned.path(extension, SWAP);
        cleaned.rename_all(|extension| cleaned.path(extension, CLEANED), swap)?;
        disk::sync_dir(&self.dir)?;
        let mut retired = Retired { segments: cleaned.replaces.len(), ..Retired::default() };
        for old in &cleaned.replaces {
            // The snapshot at the new segment's base stays: it describes the offsets before.
            let all = if old.base_offset == base_offset { &NEW_FILES[..] } else { &EXTENSIONS };
            retired.paths.append(&mut old.retire(all, DELETED)?);
            self.sealed.remove(&old.base_offset);
        }
        cleaned.rename_all(swap, |extension| segment::path(&self.dir, base_offset, extension))?;
        let end_offset = cleaned.replaces.last().map_or(base_offset, |last| last.end_offset);
        let new = Sealed::open(&self.dir, base_offset, end_offset, cleaned.has_aborted, &self.config, &self.files)?;
        self.sealed.insert(base_offset, Arc::new(new));
        disk::sync_dir(&self.dir)?;
        Ok(retired)
    }
}

/// Complete the exchange that a crash has interrupted, and forget one that had not begun; true when there was one. May
/// be interrupted itself. The folder holds files of these `names`.
pub(crate) fn complete_swaps(dir: &Path, names: &[String]) -> Result<bool, LogError> {
    let swap_of = |name: &str, extension: &str| {
        let (base_offset, rest) = segment::parse_name(name)?;
        (rest.strip_suffix(SWAP)?.strip_suffix('.')? == extension).then_some(base_offset)
    };
    let mut found = false;
    for base_offset in names.iter().filter_map(|name| swap_of(name, LOG)) {
        found = true;
        let old = names.iter().filter_map(|name| segment::parse_name(name)).filter(|(_, extension)| *extension == LOG);
        complete_swap(dir, base_offset, old.map(|(old, _)| old))?;
    }
    for extension in [TRANSACTION_INDEX, OFFSET_INDEX, TIME_INDEX] {
        for base_offset in names.iter().filter_map(|name| swap_of(name, extension)) {
            found = true;
            disk::remove(&marked(dir, base_offset, extension, SWAP))?;
        }
    }
    Ok(found)
}

fn complete_swap(dir: &Path, base_offset: i64, segments: impl Iterator<Item = i64>) -> Result<(), LogError> {
    let file = DiskFile::open(&marked(dir, base_offset, LOG, SWAP))?;
    let size = file.size()?;
    let mut walk = Walk::new(&file, 0, size);
    let mut next_offset = base_offset;
    while let Some(place) = walk.next()? {
        next_offset = place.header.next_offset();
    }
    for old in segments.filter(|old| (base_offset + 1..next_offset).contains(old)) {
        remove_segment_files(dir, old)?;
    }
    for extension in NEW_FILES {
        match disk::rename(&marked(dir, base_offset, extension, SWAP), &segment::path(dir, base_offset, extension)) {
            // The crash came after it was renamed.
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
    }
    Ok(disk::sync_dir(dir)?)
}
