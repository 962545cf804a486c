//! How full the disk is, as `df` counts: of blocks that are kept for others, none is full or free.

use std::io;
use std::path::Path;

/// The space of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    /// What is filled.
    pub used: u64,
    /// What this process can still fill. Less than what is not filled where a quota or the superuser's reserve counts.
    pub free: u64,
}

impl DiskSpace {
    /// That of the file system with this folder.
    ///
    /// # Errors
    /// When the folder can't be reached.
    pub(crate) fn of(folder: &Path) -> io::Result<DiskSpace> {
        let disk = rustix::fs::statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(DiskSpace { used: bytes(disk.f_blocks.saturating_sub(disk.f_bfree)), free: bytes(disk.f_bavail) })
    }

    /// All that this process could fill.
    pub(crate) fn size(&self) -> u64 {
        self.used.saturating_add(self.free)
    }

    /// Which part of it is filled, from 0 to 1.
    pub(crate) fn used_part(&self) -> f64 {
        self.used as f64 / self.size().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_others_is_neither_used_nor_free() {
        let disk = DiskSpace { used: 60, free: 20 };
        assert_eq!((disk.size(), disk.used_part()), (80, 0.75));
        assert_eq!(DiskSpace { used: 0, free: 0 }.used_part(), 0.0);
        let here = DiskSpace::of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(here.used > 0 && here.used_part() <= 1.0, "{here:?}");
        assert!(DiskSpace::of(Path::new("/no/such/folder")).is_err());
    }
}
