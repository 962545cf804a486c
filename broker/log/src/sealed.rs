//! A sealed segment: it never changes, and its file and indexes are opened when somebody needs them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use crate::config::LogConfig;
use crate::disk::{self, DiskFile, DiskResult};
use crate::files::{Files, SegmentId};
use crate::indexes::Indexes;
use crate::segment::{Active, LOG, TIME_INDEX, TRANSACTION_INDEX, load_indexes, path, write_indexes};
use crate::time_index::{self, NO_TIMESTAMP, TimeEntry};
use crate::transactions::index::TransactionIndex;
use crate::walk::LogError;

#[derive(Debug)]
pub(crate) struct Sealed {
    id: SegmentId,
    files: Arc<Files>,
    dir: PathBuf,
    pub base_offset: i64,
    /// The base offset of the segment after it.
    pub end_offset: i64,
    pub size: u64,
    /// Aborted transactions have their markers in it: it has a transaction index.
    pub has_aborted: bool,
    index_interval: u64,
    largest: OnceLock<TimeEntry>,
    /// Its files have names with this mark, and their former names may be another segment's. Held while the files are
    /// opened or renamed.
    retired: RwLock<Option<&'static str>>,
}

impl Sealed {
    /// A segment found on disk.
    pub(crate) fn open(
        dir: &Path,
        base_offset: i64,
        end_offset: i64,
        has_aborted: bool,
        config: &LogConfig,
        files: &Arc<Files>,
    ) -> DiskResult<Sealed> {
        let (size, _) = disk::stat(&path(dir, base_offset, LOG))?;
        Ok(Sealed {
            id: files.new_id(),
            files: files.clone(),
            dir: dir.to_owned(),
            base_offset,
            end_offset,
            size,
            has_aborted,
            index_interval: config.index_interval_bytes.into(),
            largest: OnceLock::new(),
            retired: RwLock::default(),
        })
    }

    /// The active segment has had its last batch, and is finished.
    pub(crate) fn from_active(
        active: Active,
        dir: &Path,
        end_offset: i64,
        config: &LogConfig,
        files: &Arc<Files>,
    ) -> Sealed {
        let sealed = Sealed {
            id: files.new_id(),
            files: files.clone(),
            dir: dir.to_owned(),
            base_offset: active.base_offset,
            end_offset,
            size: active.size,
            has_aborted: !active.indexes.aborted.is_empty(),
            index_interval: config.index_interval_bytes.into(),
            largest: OnceLock::from(active.indexes.largest),
            retired: RwLock::default(),
        };
        files.put_file(sealed.id, active.file().clone());
        sealed
    }

    pub(crate) fn file(&self) -> DiskResult<Arc<DiskFile>> {
        if let Some(file) = self.files.file(self.id) {
            return Ok(file);
        }
        let retired = self.retired.read();
        let file = Arc::new(DiskFile::open(&self.path(LOG, *retired))?);
        self.files.put_file(self.id, file.clone());
        Ok(file)
    }

    /// Its indexes, rebuilt from its file when theirs are missing or can't be right.
    pub(crate) fn indexes(&self, file: &DiskFile) -> Result<Arc<Indexes>, LogError> {
        if let Some(indexes) = self.files.indexes(self.id) {
            return Ok(indexes);
        }
        let retired = self.retired.read();
        let loaded = if retired.is_some() { None } else { load_indexes(&self.dir, self.base_offset, self.size)? };
        let mut indexes = match loaded {
            Some(indexes) => indexes,
            None => self.rebuild_indexes(file, retired.is_none())?,
        };
        if self.has_aborted {
            indexes.aborted = self.load_aborted(*retired)?;
        }
        let indexes = Arc::new(indexes);
        self.files.put_indexes(self.id, indexes.clone());
        Ok(indexes)
    }

    /// The aborted transactions whose markers are in it.
    pub(crate) fn aborted(&self) -> Result<TransactionIndex, LogError> {
        if !self.has_aborted {
            return Ok(TransactionIndex::default());
        }
        Ok(self.indexes(&*self.file()?)?.aborted.clone())
    }

    /// It was whole when the log was opened, or was written since: what is wrong with it now, the next start mends.
    fn load_aborted(&self, mark: Option<&str>) -> Result<TransactionIndex, LogError> {
        let file = DiskFile::open(&self.path(TRANSACTION_INDEX, mark))?;
        let mut bytes = vec![0; file.size()? as usize];
        file.read_exact_at(&mut bytes, 0)?;
        TransactionIndex::parse(self.base_offset, self.end_offset, &bytes).ok_or_else(|| LogError::Corrupt {
            path: file.path().to_owned(),
            position: 0,
            reason: "these are not the aborted transactions of the segment".into(),
        })
    }

    fn rebuild_indexes(&self, file: &DiskFile, write: bool) -> Result<Indexes, LogError> {
        let mut indexes = Indexes::new(self.base_offset);
        indexes.catch_up(file, self.size, self.index_interval)?;
        indexes.finish();
        if write {
            write_indexes(&self.dir, self.base_offset, &indexes, (0, 0))?;
            tracing::warn!(dir = %self.dir.display(), segment = self.base_offset, "rebuilt the indexes of a segment");
        }
        Ok(indexes)
    }

    /// The largest timestamp in it: the last entry of its time index, read alone, for retention asks every segment.
    pub(crate) fn largest(&self) -> Result<TimeEntry, LogError> {
        if let Some(largest) = self.largest.get() {
            return Ok(*largest);
        }
        let largest = match self.last_time_entry()? {
            Some(largest) => largest,
            None => self.indexes(&*self.file()?)?.largest,
        };
        Ok(*self.largest.get_or_init(|| largest))
    }

    fn last_time_entry(&self) -> DiskResult<Option<TimeEntry>> {
        let retired = self.retired.read();
        if retired.is_some() {
            return Ok(None);
        }
        let path = path(&self.dir, self.base_offset, TIME_INDEX);
        let file = match DiskFile::open(&path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = file.size()?;
        let entry_len = time_index::ENTRY_LEN as u64;
        let Some(position) = size.checked_sub(entry_len).filter(|_| size.is_multiple_of(entry_len)) else {
            return Ok(None);
        };
        let mut entry = [0; time_index::ENTRY_LEN];
        file.read_exact_at(&mut entry, position)?;
        Ok(Some(time_index::parse_entry(self.base_offset, &entry)))
    }

    /// When its youngest record was written, or the file when records have no timestamps.
    pub(crate) fn age_timestamp(&self) -> Result<i64, LogError> {
        match self.largest()?.timestamp {
            NO_TIMESTAMP => Ok(self.modified_ms()?),
            timestamp => Ok(timestamp),
        }
    }

    /// When its file was last written.
    pub(crate) fn modified_ms(&self) -> DiskResult<i64> {
        Ok(disk::stat(&path(&self.dir, self.base_offset, LOG))?.1)
    }

    /// Take its files out of the log by giving them names that end with `mark`, under which a reader that still holds
    /// the segment finds them until they are removed. Gives those names.
    ///
    /// # Errors
    /// When the disk refuses: the segment is what it was.
    pub(crate) fn retire(&self, extensions: &[&str], mark: &'static str) -> DiskResult<Vec<PathBuf>> {
        let mut retired = self.retired.write();
        let mut renamed = Vec::new();
        for extension in extensions {
            let (from, to) = (self.path(extension, None), self.path(extension, Some(mark)));
            match disk::rename(&from, &to) {
                Ok(()) => renamed.push((from, to)),
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    // What can't be renamed back either is an index: the next start makes it again.
                    renamed.iter().rev().for_each(|(from, to)| _ = disk::rename(to, from));
                    return Err(error);
                }
            }
        }
        *retired = Some(mark);
        Ok(renamed.into_iter().map(|(_, to)| to).collect())
    }

    fn path(&self, extension: &str, mark: Option<&str>) -> PathBuf {
        let path = path(&self.dir, self.base_offset, extension);
        mark.map_or_else(|| path.clone(), |mark| path.with_added_extension(mark))
    }
}

/// Nobody can ask for it any more: its place in the caches is for others.
impl Drop for Sealed {
    fn drop(&mut self) {
        self.files.forget(self.id);
    }
}
