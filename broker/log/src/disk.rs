//! Every file operation of this crate, so that a simulated disk has one place to stand in for.
//!
//! A thin layer: no caching, no retries, no policy. Each error says what was attempted on which path; the caller
//! decides whether it is final ([`DiskError::lacks_room`] distinguishes a full disk, and too many open files, from a
//! broken disk).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::failure;
use crate::under_way::{self, DiskOperationKind};

#[cfg(feature = "simulated")]
pub mod simulated;

/// The disk did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}: {source}", path.display())]
pub struct DiskError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl DiskError {
    pub(crate) fn new(action: &'static str, path: &Path, source: impl Into<io::Error>) -> DiskError {
        DiskError { action, path: path.to_owned(), source: source.into() }
    }

    /// There is no room: the disk or the quota is full, or no file can be opened. Everything else about the disk is
    /// well, and there may be room again.
    pub fn lacks_room(&self) -> bool {
        matches!(self.source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) || self.lacks_files()
    }

    /// The process, or the machine, has too many open files: the disk was not asked for anything.
    pub fn lacks_files(&self) -> bool {
        let errno = Errno::from_io_error(&self.source);
        errno.is_some_and(|errno| errno == Errno::MFILE || errno == Errno::NFILE)
    }

    /// The file is not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == ErrorKind::NotFound
    }
}

/// What a disk operation gives.
pub type DiskResult<T> = Result<T, DiskError>;

/// A change, as a simulated disk hears of it before it is made; and an opening, which changes nothing.
#[derive(Clone, Copy, Debug)]
pub enum DiskChange<'a> {
    /// A file or directory that exists is opened.
    Open(&'a Path),
    /// A file comes to be, or becomes empty.
    Create(&'a Path),
    /// Bytes are written to a file.
    Write(&'a Path),
    /// A file becomes so long.
    Truncate(&'a Path, u64),
    /// What is in a file shall be on the device.
    Sync(&'a Path),
    /// The names in a directory shall be on the device.
    SyncDir(&'a Path),
    /// A directory comes to be.
    CreateDir(&'a Path),
    /// A file or directory gets another name, which a file may have now.
    Rename(&'a Path, &'a Path),
    /// A file goes, or a directory with all that is in it.
    Remove(&'a Path),
}

impl<'a> DiskChange<'a> {
    /// What is changed; of a new name the old one.
    pub fn path(&self) -> &'a Path {
        match self {
            DiskChange::Open(path)
            | DiskChange::Create(path)
            | DiskChange::Write(path)
            | DiskChange::Truncate(path, _)
            | DiskChange::Sync(path)
            | DiskChange::SyncDir(path)
            | DiskChange::CreateDir(path)
            | DiskChange::Rename(path, _)
            | DiskChange::Remove(path) => path,
        }
    }
}

/// Reports a change to a simulated disk, which may refuse it; and a look, which is counted.
#[cfg(feature = "simulated")]
use simulated::{look, tell};

#[cfg(not(feature = "simulated"))]
#[inline]
fn tell(_: DiskChange<'_>) -> io::Result<()> {
    Ok(())
}

#[cfg(not(feature = "simulated"))]
#[inline]
fn look(_: &Path) {}

/// The mode of a file that only its owner may read and write.
const PRIVATE: u32 = 0o600;

/// Most slices that the kernel takes in one write (`UIO_MAXIOV`).
const MAX_SLICES: usize = 1024;

/// An open file with positions instead of a cursor, so that any number of readers can share it.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: Arc<Path>,
}

impl DiskFile {
    /// Open an existing file for reading and writing.
    pub fn open(path: &Path) -> DiskResult<DiskFile> {
        tell(DiskChange::Open(path)).map_err(|e| DiskError::new("open", path, e))?;
        DiskFile::open_with(path, OpenOptions::new().read(true).write(true))
    }

    /// Open a file for reading and writing; create it when it is missing.
    pub fn open_or_create(path: &Path) -> DiskResult<DiskFile> {
        if !path.exists() {
            tell(DiskChange::Create(path)).map_err(|e| DiskError::new("create", path, e))?;
        } else {
            tell(DiskChange::Open(path)).map_err(|e| DiskError::new("open", path, e))?;
        }
        DiskFile::open_with(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    /// Create a file, or empty the one that is there.
    pub fn create(path: &Path) -> DiskResult<DiskFile> {
        let _waits = under_way::begin(DiskOperationKind::Write, &path.into());
        tell(DiskChange::Create(path)).map_err(|e| DiskError::new("create", path, e))?;
        DiskFile::open_with(path, OpenOptions::new().read(true).write(true).create(true).truncate(true))
    }

    /// The same for a file that only its owner may read and write.
    pub fn create_private(path: &Path) -> DiskResult<DiskFile> {
        let _waits = under_way::begin(DiskOperationKind::Write, &path.into());
        tell(DiskChange::Create(path)).map_err(|e| DiskError::new("create", path, e))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(PRIVATE);
        let file = DiskFile::open_with(path, &options)?;
        // One that was there has the mode that it had.
        let narrowed = file.file.set_permissions(Permissions::from_mode(PRIVATE));
        narrowed.map_err(|e| file.error("set the mode of", e))?;
        Ok(file)
    }

    fn open_with(path: &Path, options: &OpenOptions) -> DiskResult<DiskFile> {
        let file = options.open(path).map_err(|e| DiskError::new("open", path, e))?;
        Ok(DiskFile { file, path: path.into() })
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn size(&self) -> DiskResult<u64> {
        Ok(self.file.metadata().map_err(|e| self.error("stat", e))?.len())
    }

    /// Fill `bytes` from `position`; a file that ends before is an error.
    pub fn read_exact_at(&self, bytes: &mut [u8], position: u64) -> DiskResult<()> {
        self.file.read_exact_at(bytes, position).map_err(|e| self.error("read", e))
    }

    /// Write all slices one after the other from `position`, with as few system calls as the kernel allows.
    pub fn write_all_at(&self, mut slices: &mut [IoSlice<'_>], mut position: u64) -> DiskResult<()> {
        // Strip empty slices, or "nothing written" would mean nothing.
        IoSlice::advance_slices(&mut slices, 0);
        let _waits = under_way::begin(DiskOperationKind::Write, &self.path);
        tell(DiskChange::Write(&self.path)).map_err(|e| self.error("write", e))?;
        while !slices.is_empty() {
            let batch = &slices[..slices.len().min(MAX_SLICES)];
            match rustix::io::pwritev(&self.file, batch, position) {
                Ok(0) => return Err(self.error("write", ErrorKind::WriteZero)),
                Ok(written) => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.error("write", e)),
            }
        }
        Ok(())
    }

    /// Make the file `size` bytes long. Space reserved beyond that is given back.
    pub fn truncate(&self, size: u64) -> DiskResult<()> {
        let truncated = tell(DiskChange::Truncate(&self.path, size)).and_then(|()| self.file.set_len(size));
        truncated.map_err(|e| self.error("truncate", e))
    }

    /// Reserve space without changing the file's length. A file system that can't, or has too little, is no error: the
    /// write will show it.
    pub fn reserve(&self, position: u64, len: u64) -> DiskResult<()> {
        let _waits = under_way::begin(DiskOperationKind::Write, &self.path);
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, position, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSPC | Errno::DQUOT | Errno::INTR) => Ok(()),
            Err(e) => Err(self.error("reserve space for", e)),
        }
    }

    /// Set the time of the last change, in milliseconds since 1970.
    pub fn set_modified(&self, modified_ms: i64) -> DiskResult<()> {
        let since_1970 = Duration::from_millis(modified_ms.unsigned_abs());
        self.file.set_modified(UNIX_EPOCH + since_1970).map_err(|e| self.error("set the time of", e))
    }

    /// Wait until the data is on the device. After an error nothing is known of what was written; never try again. The
    /// directory has failed ([`crate::failure`]).
    pub fn sync(&self) -> DiskResult<()> {
        let synced = tell(DiskChange::Sync(&self.path)).and_then(|()| self.file.sync_data());
        synced.inspect_err(|_| failure::note(&self.path)).map_err(|e| self.error("sync", e))
    }

    fn error(&self, action: &'static str, source: impl Into<io::Error>) -> DiskError {
        DiskError::new(action, &self.path, source)
    }
}

/// For `sendfile` and its like.
impl AsFd for DiskFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Make renames, creations and removals in a directory durable. After an error, as with [`DiskFile::sync`]; but for one
/// that [lacks files](DiskError::lacks_files), after which it may be tried again.
pub fn sync_dir(dir: &Path) -> DiskResult<()> {
    let open =
        tell(DiskChange::Open(dir)).and_then(|()| File::open(dir)).map_err(|e| DiskError::new("open", dir, e))?;
    let synced = tell(DiskChange::SyncDir(dir)).and_then(|()| open.sync_all());
    synced.inspect_err(|_| failure::note(dir)).map_err(|e| DiskError::new("sync", dir, e))
}

/// Create a directory and those above it.
pub fn create_dirs(dir: &Path) -> DiskResult<()> {
    tell(DiskChange::CreateDir(dir))
        .and_then(|()| fs::create_dir_all(dir))
        .map_err(|e| DiskError::new("create", dir, e))
}

/// Give a file or directory another name.
pub fn rename(from: &Path, to: &Path) -> DiskResult<()> {
    let _waits = under_way::begin(DiskOperationKind::Write, &from.into());
    tell(DiskChange::Rename(from, to))
        .and_then(|()| fs::rename(from, to))
        .map_err(|e| DiskError::new("rename", from, e))
}

/// Remove a file; one that is not there is removed already.
pub fn remove(path: &Path) -> DiskResult<()> {
    match tell(DiskChange::Remove(path)).and_then(|()| fs::remove_file(path)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(DiskError::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Remove a directory with everything in it; one that is not there is removed already.
pub fn remove_dir(path: &Path) -> DiskResult<()> {
    match tell(DiskChange::Remove(path)).and_then(|()| fs::remove_dir_all(path)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(DiskError::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Names in a directory, in no order. Names that are not UTF-8 can't be ours and are left out.
pub fn list(dir: &Path) -> DiskResult<Vec<String>> {
    look(dir);
    let error = |e| DiskError::new("list", dir, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(error)? {
        names.extend(entry.map_err(error)?.file_name().into_string());
    }
    Ok(names)
}

/// When a file or directory last changed in any way, its name included. Milliseconds since 1970.
pub fn changed_ms(path: &Path) -> DiskResult<i64> {
    let stat = rustix::fs::stat(path).map_err(|e| DiskError::new("stat", path, e))?;
    Ok(stat.st_ctime as i64 * 1000 + stat.st_ctime_nsec as i64 / 1_000_000)
}

/// Length in bytes and time of the last change in milliseconds since 1970.
pub fn stat(path: &Path) -> DiskResult<(u64, i64)> {
    let stat = rustix::fs::stat(path).map_err(|e| DiskError::new("stat", path, e))?;
    let modified_ms = stat.st_mtime as i64 * 1000 + stat.st_mtime_nsec as i64 / 1_000_000;
    Ok((stat.st_size as u64, modified_ms))
}

/// The whole of a small file; none when it is not there.
pub fn read(path: &Path) -> DiskResult<Option<Vec<u8>>> {
    look(path);
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(DiskError::new("read", path, e)),
    }
}

/// Replace a small file so that a crash leaves the old or the new one, whole. Durable when it returns.
pub fn replace(path: &Path, bytes: &[u8]) -> DiskResult<()> {
    replace_by(DiskFile::create, path, bytes)
}

/// The same for a file that only its owner may read.
pub fn replace_private(path: &Path, bytes: &[u8]) -> DiskResult<()> {
    replace_by(DiskFile::create_private, path, bytes)
}

fn replace_by(create: fn(&Path) -> DiskResult<DiskFile>, path: &Path, bytes: &[u8]) -> DiskResult<()> {
    let _waits = under_way::begin(DiskOperationKind::Sync, &path.into());
    let (file, temporary) = write_beside(create, path, bytes)?;
    file.sync()?;
    rename(&temporary, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Replace a small file so that the end of the process leaves the old or the new one, whole. A crash of the machine may
/// leave anything.
pub fn replace_unsynced(path: &Path, bytes: &[u8]) -> DiskResult<()> {
    let (_, temporary) = write_beside(DiskFile::create, path, bytes)?;
    rename(&temporary, path)
}

fn write_beside(
    create: fn(&Path) -> DiskResult<DiskFile>,
    path: &Path,
    bytes: &[u8],
) -> DiskResult<(DiskFile, PathBuf)> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let file = create(&temporary)?;
    file.write_all_at(&mut [IoSlice::new(bytes)], 0)?;
    Ok((file, temporary))
}
