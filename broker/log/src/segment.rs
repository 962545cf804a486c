//! The active segment: the last of its log, the one that grows.
//!
//! Its indexes live in memory and reach their files when it is flushed or sealed. Knows nothing of offsets' meaning, of
//! epochs or producers: it puts batches where its log says.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_batch::{BatchHeader, Stamped};

use crate::config::LogConfig;
use crate::disk::{self, DiskFile, DiskResult};
use crate::index::{self, OffsetIndex};
use crate::indexes::Indexes;
use crate::time_index::{self, NO_TIMESTAMP, TimeIndex};
use crate::transactions::index::TransactionIndex;
use crate::walk::{BatchPlace, LogError, Walk};

pub(crate) const LOG: &str = "log";
pub(crate) const OFFSET_INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const TRANSACTION_INDEX: &str = "txnindex";
pub(crate) const SNAPSHOT: &str = "snapshot";

/// The files that come and go with a segment, the log last: as long as it is there the others can be rebuilt.
pub(crate) const EXTENSIONS: [&str; 5] = [OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX, SNAPSHOT, LOG];

/// Space is reserved for segments that have shown that they grow: thousands of quiet partitions must not hold 4 MiB
/// each.
const RESERVE_FROM: u64 = 1 << 20;
const RESERVE_MIN: u64 = 4 << 20;
const RESERVE_MAX: u64 = 32 << 20;

/// The name of one of a segment's files.
pub(crate) fn path(dir: &Path, base_offset: i64, extension: &str) -> PathBuf {
    dir.join(format!("{base_offset:020}.{extension}"))
}

/// Whether a segment that begins at `base_offset` can hold this offset, which is not below it: its indexes count
/// offsets from its base, in 31 bits.
pub(crate) fn spans(base_offset: i64, offset: i64) -> bool {
    offset.saturating_sub(base_offset) <= i64::from(i32::MAX)
}

/// The offset and the extension in a file name such as [`path`] gives.
pub(crate) fn parse_name(name: &str) -> Option<(i64, &str)> {
    let (offset, extension) = name.split_once('.')?;
    let digits = offset.len() == 20 && offset.bytes().all(|b| b.is_ascii_digit());
    Some((offset.parse().ok().filter(|_| digits)?, extension))
}

/// The offsets in those of a folder's file names that have this extension.
pub(crate) fn offsets_of(names: &[String], extension: &str) -> BTreeSet<i64> {
    names.iter().filter_map(|name| parse_name(name)).filter(|(_, e)| *e == extension).map(|(o, _)| o).collect()
}

#[derive(Debug)]
pub(crate) struct Active {
    dir: PathBuf,
    pub base_offset: i64,
    pub size: u64,
    pub indexes: Indexes,
    file: Arc<DiskFile>,
    reserved: u64,
    /// Entries that the index files hold.
    on_file: (usize, usize),
    /// Entries that the file of the transaction index holds.
    aborted_on_file: usize,
    /// It was opened, and its transaction index is missing or wrong: the log must make it from its batches.
    pub lacks_aborted: bool,
    first_timestamp: Option<i64>,
    created_ms: i64,
    /// Its tail was cut: what follows goes to the next segment.
    pub is_cut: bool,
}

impl Active {
    pub(crate) fn create(dir: &Path, base_offset: i64, now_ms: i64) -> DiskResult<Active> {
        let file = Arc::new(DiskFile::create(&path(dir, base_offset, LOG))?);
        let indexes = Indexes::new(base_offset);
        write_indexes(dir, base_offset, &indexes, (0, 0))?;
        Ok(Active {
            dir: dir.to_owned(),
            base_offset,
            size: 0,
            indexes,
            file,
            reserved: 0,
            on_file: (0, 0),
            aborted_on_file: 0,
            lacks_aborted: false,
            first_timestamp: None,
            created_ms: now_ms,
            is_cut: false,
        })
    }

    /// Continue a segment as its files show it. Gives the offset after its last batch, if it has one.
    pub(crate) fn open(
        dir: &Path,
        base_offset: i64,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<(Active, Option<i64>), LogError> {
        let file = Arc::new(DiskFile::open(&path(dir, base_offset, LOG))?);
        let size = file.size()?;
        let loaded = load_indexes(dir, base_offset, size)?;
        let mut lacks_aborted = loaded.is_none();
        let mut indexes = match loaded {
            Some(indexes) => indexes,
            None => {
                write_indexes(dir, base_offset, &Indexes::new(base_offset), (0, 0))?;
                Indexes::new(base_offset)
            }
        };
        let on_file = indexes.entries();
        let next_offset = indexes.catch_up(&file, size, config.index_interval_bytes.into())?;
        match load_aborted(dir, base_offset, next_offset.unwrap_or(base_offset))? {
            Some(aborted) if !lacks_aborted => indexes.aborted = aborted,
            _ => lacks_aborted = true,
        }
        let mut active = Active::resume(dir, base_offset, file, size, indexes, on_file, now_ms)?;
        active.lacks_aborted = lacks_aborted;
        Ok((active, next_offset))
    }

    /// Continue a segment whose batches were all checked; its transaction index follows.
    pub(crate) fn recovered(
        dir: &Path,
        base_offset: i64,
        file: Arc<DiskFile>,
        size: u64,
        indexes: Indexes,
        now_ms: i64,
    ) -> Result<Active, LogError> {
        file.truncate(size)?;
        write_indexes(dir, base_offset, &indexes, (0, 0))?;
        let on_file = indexes.entries();
        Active::resume(dir, base_offset, file, size, indexes, on_file, now_ms)
    }

    fn resume(
        dir: &Path,
        base_offset: i64,
        file: Arc<DiskFile>,
        size: u64,
        indexes: Indexes,
        on_file: (usize, usize),
        now_ms: i64,
    ) -> Result<Active, LogError> {
        let first = Walk::new(&file, 0, size).next()?;
        Ok(Active {
            dir: dir.to_owned(),
            base_offset,
            size,
            aborted_on_file: indexes.aborted.len(),
            lacks_aborted: false,
            indexes,
            file,
            reserved: 0,
            on_file,
            first_timestamp: first.map(|place| place.header.max_timestamp),
            created_ms: now_ms,
            is_cut: false,
        })
    }

    pub(crate) fn file(&self) -> &Arc<DiskFile> {
        &self.file
    }

    /// Must batches of `len` bytes, of which this is the last, go to a new segment?
    pub(crate) fn must_roll(&self, len: u64, last: &BatchHeader, now_ms: i64, config: &LogConfig) -> bool {
        let offset_too_far = !spans(self.base_offset, last.last_offset());
        if self.size == 0 {
            return offset_too_far;
        }
        // By the records' own time where there is one, so that replicas roll alike (KIP-33).
        let age_ms = match self.first_timestamp {
            Some(first) if first != NO_TIMESTAMP && last.max_timestamp != NO_TIMESTAMP => {
                last.max_timestamp.saturating_sub(first)
            }
            _ => now_ms.saturating_sub(self.created_ms),
        };
        offset_too_far
            || self.is_cut
            || self.size + len > u64::from(config.segment_bytes)
            || age_ms > config.segment_ms_with_jitter(self.base_offset, self.created_ms)
            || self.indexes.are_full(config.segment_index_bytes.into())
    }

    /// Write batches of `len` bytes at the end. After an error the segment is what it was, but its file may hold more
    /// until [`Active::cut`].
    pub(crate) fn append(&mut self, batches: &[Stamped], len: u64, config: &LogConfig) -> DiskResult<()> {
        self.reserve(len, config)?;
        let mut slices: Vec<IoSlice<'_>> = batches.iter().flat_map(Stamped::slices).collect();
        self.file.write_all_at(&mut slices, self.size)?;
        for batch in batches {
            let (header, len) = (batch.header(), batch.len() as u64);
            self.first_timestamp.get_or_insert(header.max_timestamp);
            self.indexes.add(&header, self.size, len, config.index_interval_bytes.into());
            self.size += len;
        }
        Ok(())
    }

    fn reserve(&mut self, len: u64, config: &LogConfig) -> DiskResult<()> {
        if self.size < RESERVE_FROM || self.size + len <= self.reserved {
            return Ok(());
        }
        let left = u64::from(config.segment_bytes).saturating_sub(self.size);
        let step = self.size.clamp(RESERVE_MIN, RESERVE_MAX).min(left).max(len);
        self.reserved = self.size + step;
        self.file.reserve(self.size, step)
    }

    /// Make the file end where the segment does, and give back what was reserved.
    pub(crate) fn cut(&mut self) -> DiskResult<()> {
        self.reserved = 0;
        self.file.truncate(self.size)
    }

    /// Remove the batch at `place` and all that follow it. Gives the offset after the last that is left, if one is.
    pub(crate) fn truncate(&mut self, place: &BatchPlace, config: &LogConfig) -> Result<Option<i64>, LogError> {
        self.size = place.position;
        if self.size == 0 {
            self.empty()?;
        } else {
            self.cut()?;
            self.is_cut = true;
        }
        self.indexes.truncate(place.header.base_offset);
        let next_offset = self.indexes.catch_up(&self.file, self.size, config.index_interval_bytes.into())?;
        write_indexes(&self.dir, self.base_offset, &self.indexes, (0, 0))?;
        self.on_file = self.indexes.entries();
        self.write_aborted_from(0)?;
        Ok(next_offset)
    }

    /// Take what the log has found in the segment's batches for its transaction index.
    pub(crate) fn set_aborted(&mut self, aborted: TransactionIndex) -> DiskResult<()> {
        self.indexes.aborted = aborted;
        self.lacks_aborted = false;
        self.write_aborted_from(0)
    }

    fn write_aborted_from(&mut self, entry: usize) -> DiskResult<()> {
        write_aborted(&self.dir, self.base_offset, &self.indexes.aborted, entry)?;
        self.aborted_on_file = self.indexes.aborted.len();
        Ok(())
    }

    /// Begin again with another file: the bytes of this one may be on their way to readers.
    fn empty(&mut self) -> DiskResult<()> {
        let path = path(&self.dir, self.base_offset, LOG);
        disk::replace_unsynced(&path, &[])?;
        self.file = Arc::new(DiskFile::open(&path)?);
        (self.reserved, self.first_timestamp, self.is_cut) = (0, None, false);
        Ok(())
    }

    /// Bring the index files up to date; true when that changed them.
    pub(crate) fn write_indexes(&mut self) -> DiskResult<bool> {
        let entries = self.indexes.entries();
        let has_aborted_more = self.aborted_on_file < self.indexes.aborted.len();
        if self.on_file == entries && !has_aborted_more {
            return Ok(false);
        }
        // Should the second not be written, the first is not written again.
        if has_aborted_more {
            self.write_aborted_from(self.aborted_on_file)?;
        }
        write_indexes(&self.dir, self.base_offset, &self.indexes, self.on_file)?;
        self.on_file = entries;
        Ok(true)
    }

    /// No batch follows for now: bring the files into the form that they are left in.
    pub(crate) fn finish(&mut self) -> DiskResult<()> {
        self.indexes.finish();
        self.write_indexes()?;
        self.cut()
    }

    pub(crate) fn index_paths(&self) -> impl Iterator<Item = PathBuf> {
        let aborted = (!self.indexes.aborted.is_empty()).then_some(TRANSACTION_INDEX);
        let extensions = [TIME_INDEX, OFFSET_INDEX].into_iter().chain(aborted);
        extensions.map(|extension| path(&self.dir, self.base_offset, extension))
    }
}

/// Read the transaction index of a segment that ends before `end_offset`; none when it can't be right. A segment
/// without a file has no entries.
pub(crate) fn load_aborted(dir: &Path, base_offset: i64, end_offset: i64) -> DiskResult<Option<TransactionIndex>> {
    match disk::read(&path(dir, base_offset, TRANSACTION_INDEX))? {
        Some(bytes) => Ok(TransactionIndex::parse(base_offset, end_offset, &bytes)),
        None => Ok(Some(TransactionIndex::default())),
    }
}

/// Write a segment's transaction index from this entry on; what the file held behind it goes. Without entries there is
/// no file.
pub(crate) fn write_aborted(dir: &Path, base_offset: i64, index: &TransactionIndex, from: usize) -> DiskResult<()> {
    let path = path(dir, base_offset, TRANSACTION_INDEX);
    if index.is_empty() {
        return disk::remove(&path);
    }
    let (file, position) = (DiskFile::open_or_create(&path)?, TransactionIndex::position(from));
    file.truncate(position)?;
    file.write_all_at(&mut [IoSlice::new(&index.bytes_from(from))], position)
}

/// Read the indexes of a segment; none when one is missing or can't be right.
pub(crate) fn load_indexes(dir: &Path, base_offset: i64, segment_size: u64) -> DiskResult<Option<Indexes>> {
    let offsets = disk::read(&path(dir, base_offset, OFFSET_INDEX))?;
    let times = disk::read(&path(dir, base_offset, TIME_INDEX))?;
    let offsets = offsets.and_then(|bytes| OffsetIndex::parse(base_offset, &bytes, segment_size));
    let times = times.and_then(|bytes| TimeIndex::parse(base_offset, &bytes));
    Ok(offsets.zip(times).map(|(offsets, times)| Indexes::from_parts(base_offset, offsets, times)))
}

/// Write a segment's index files from these entries on; what they held behind them goes. The time index comes first:
/// recovery takes the offset index's word for how far both reach.
pub(crate) fn write_indexes(dir: &Path, base_offset: i64, indexes: &Indexes, from: (usize, usize)) -> DiskResult<()> {
    let write = |extension, bytes: Vec<u8>, at: usize| {
        let file = DiskFile::open_or_create(&path(dir, base_offset, extension))?;
        file.truncate(at as u64)?;
        file.write_all_at(&mut [IoSlice::new(&bytes)], at as u64)
    };
    write(TIME_INDEX, indexes.times.bytes_from(from.1), from.1 * time_index::ENTRY_LEN)?;
    write(OFFSET_INDEX, indexes.offsets.bytes_from(from.0), from.0 * index::ENTRY_LEN)
}
