//! Segments that recovery takes out of a log: put beside it, for somebody to look at.
//!
//! What lies behind a hole can't stay, for no reader would get past the hole, and the log would give a wrong length.
//! But another program's log, or one of an earlier version, may have had that hole from the start: so nothing that is
//! whole disappears unseen.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::disk::{self, DiskResult};
use crate::folder;
use crate::log::remove_segment_files;
use crate::segment::{self, LOG};

/// Takes the segments that begin at `bases` out of the log in `dir`, from the last to the first, so that a crash leaves
/// no hole. Gives the folder in which they are now; none when they were empty.
pub(super) fn put_aside(dir: &Path, bases: &[i64]) -> DiskResult<Option<PathBuf>> {
    let mut aside = None;
    for base_offset in bases.iter().rev() {
        let log = segment::path(dir, *base_offset, LOG);
        if disk::stat(&log)?.0 > 0 {
            let to = match &aside {
                Some(to) => to,
                None => aside.insert(create_beside(dir, bases)?),
            };
            disk::rename(&log, &segment::path(to, *base_offset, LOG))?;
        }
        remove_segment_files(dir, *base_offset)?;
    }
    aside.iter().try_for_each(|to| disk::sync_dir(to))?;
    Ok(aside)
}

/// A folder that is not there yet: an earlier crash may have cut the log at the same place.
fn create_beside(dir: &Path, bases: &[i64]) -> DiskResult<PathBuf> {
    let first = bases.first().copied().unwrap_or_default().unsigned_abs();
    let mut folders = (0..).map(|nth| folder::stray_beside(dir, Uuid::from_u64_pair(nth, first)));
    let free = folders.find(|folder| !folder.exists()).unwrap_or_default();
    disk::create_dirs(&free)?;
    free.parent().map_or(Ok(()), disk::sync_dir)?;
    Ok(free)
}
