//! Ticks: a counter that rises while a directory is in use. A directory with fewer ticks than its Lease is an older
//! copy: a snapshot of a running broker.
//!
//! Always: the directory first, the Lease second. The counter is not synced: after a crash of the machine the directory
//! gets a new incarnation anyway, and a crash of the process loses nothing.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use ottla_log::DiskResult;
use ottla_log::disk::{self, DiskFile};

use super::checked::{checked, read_checked};

const TICKS: &str = "ottla.ticks";

/// The counter of the process that has locked the directory.
#[derive(Debug)]
pub struct Ticks {
    path: PathBuf,
    count: u64,
    file: Option<DiskFile>,
}

impl Ticks {
    /// The ticks of this directory; 0 if the file is missing or incomplete.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn of(dir: &Path) -> DiskResult<Ticks> {
        let path = dir.join(TICKS);
        let count = read_checked(&path)?.unwrap_or_default();
        Ok(Ticks { path, count, file: None })
    }

    /// The number of ticks.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Counts one tick. The first goes to a new file, later ones overwrite the number in place, because it never gets
    /// shorter.
    ///
    /// # Errors
    /// When the disk refuses; then the count is unchanged.
    pub fn tick(&mut self) -> DiskResult<u64> {
        let count = self.count + 1;
        let text = checked(&count);
        match &self.file {
            Some(file) => file.write_all_at(&mut [IoSlice::new(text.as_bytes())], 0)?,
            None => {
                disk::replace_unsynced(&self.path, text.as_bytes())?;
                self.file = Some(DiskFile::open(&self.path)?);
            }
        }
        self.count = count;
        Ok(count)
    }

    /// Makes the ticks durable, if there are any.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(dir: &Path) -> DiskResult<()> {
        let path = dir.join(TICKS);
        if path.exists() { DiskFile::open(&path)?.sync() } else { Ok(()) }
    }
}
