//! How long a directory has been in use, counted while it is. What has counted less than its Lease says is an older
//! copy of it: a snapshot of a broker that ran.
//!
//! Always: the directory first, the Lease second. Nothing is synced: what the machine's crash leaves is not believed
//! anyway, and the end of the process takes nothing away.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use ottla_log::DiskResult;
use ottla_log::disk::{self, DiskFile};

use super::checked::{checked, read_checked};

const TICKS: &str = "ottla.ticks";

/// The count, by the process that has the directory.
#[derive(Debug)]
pub struct Ticks {
    path: PathBuf,
    count: u64,
    file: Option<DiskFile>,
}

impl Ticks {
    /// Those of this directory; 0 where nothing whole says how many.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn of(dir: &Path) -> DiskResult<Ticks> {
        let path = dir.join(TICKS);
        let count = read_checked(&path)?.unwrap_or_default();
        Ok(Ticks { path, count, file: None })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// One more: the first in a new file, whatever is there, and then over the last one in its place, for a number
    /// never gets shorter.
    ///
    /// # Errors
    /// When the disk refuses; then it is as if it had not been asked.
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

    /// Makes them durable, where there are any.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(dir: &Path) -> DiskResult<()> {
        let path = dir.join(TICKS);
        if path.exists() { DiskFile::open(&path)?.sync() } else { Ok(()) }
    }
}
