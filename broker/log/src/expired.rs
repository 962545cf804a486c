//! Files of segments that retention has taken, until they are unlinked: they wait under names with a mark of their own.
//!
//! Names reach the device in any order. When the power goes before the folder is synced, an old segment may be back
//! under its own name while a newer one is not. The mark says what became of all: retention takes the oldest segments
//! first, so everything up to the last marked one was taken. Always: no mark goes before the folder was synced since
//! the last segment was marked.

use std::path::Path;

use crate::chunk::Chunk;
use crate::disk::{self, DiskFile, DiskResult};
use crate::log::remove_segment_files;
use crate::segment::{self, LOG};

/// Follows the name of such a file. Kafka, and every version of this crate, removes files that end like it.
pub(crate) const EXPIRED: &str = "expired.deleted";

/// The segments that are marked.
fn marked(names: &[String]) -> impl Iterator<Item = i64> {
    names.iter().filter_map(|name| {
        let (base_offset, extension) = segment::parse_name(name)?;
        (extension.strip_prefix(LOG)?.strip_prefix('.')? == EXPIRED).then_some(base_offset)
    })
}

/// Remove what retention had taken from a log that is not open. Where nothing else is left, an empty segment begins
/// where the last one ended, or the log would give out its offsets again. True when anything had been taken. May be
/// interrupted. The folder holds files of these `names`.
pub(crate) fn complete_retention(dir: &Path, names: &[String]) -> DiskResult<bool> {
    let Some(last) = marked(names).max() else { return Ok(false) };
    let logs = names.iter().filter_map(|name| segment::parse_name(name)).filter(|(_, extension)| *extension == LOG);
    let (taken, left): (Vec<i64>, Vec<i64>) = logs.map(|(base_offset, _)| base_offset).partition(|base| *base <= last);
    taken.iter().try_for_each(|base_offset| remove_segment_files(dir, *base_offset))?;
    if !taken.is_empty() {
        tracing::info!(dir = %dir.display(), segments = taken.len(), "removed segments that a crash had brought back");
    }
    if left.is_empty() {
        let end_offset = end_of(&segment::path(dir, last, LOG).with_added_extension(EXPIRED), last)?;
        DiskFile::create(&segment::path(dir, end_offset, LOG))?;
    }
    remove_marked(dir, names).map(|()| true)
}

/// Before a log starts again at another offset: what is marked says nothing of the segments to come. The folder must be
/// synced before anything is appended.
pub(crate) fn forget(dir: &Path) -> DiskResult<()> {
    let names = disk::list(dir)?;
    if marked(&names).next().is_some() { remove_marked(dir, &names) } else { Ok(()) }
}

fn remove_marked(dir: &Path, names: &[String]) -> DiskResult<()> {
    disk::sync_dir(dir)?;
    let mut expired = names.iter().filter(|name| name.ends_with(EXPIRED));
    expired.try_for_each(|name| disk::remove(&dir.join(name)))
}

/// The offset after a segment's last whole batch.
fn end_of(path: &Path, base_offset: i64) -> DiskResult<i64> {
    let file = DiskFile::open(path)?;
    let size = file.size()?;
    let mut chunk = Chunk::new(&file, size);
    let (mut position, mut end_offset) = (0, base_offset);
    while position < size
        && let Ok(batch) = chunk.batch_at(position)?
        && batch.header().base_offset >= end_offset
        && batch.header().last_offset_delta >= 0
    {
        position += batch.bytes().len() as u64;
        end_offset = batch.header().next_offset();
    }
    Ok(end_offset)
}
