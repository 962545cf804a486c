//! Offsets by timestamp, by record and not by batch (ListOffsets). In two steps like reading: [`Log::search`] notes
//! what there is under the partition's lock, [`Search::run`] may wait for the disk.

use std::sync::Arc;

use ottla_batch::Batch;

use crate::disk::DiskFile;
use crate::indexes::Indexes;
use crate::log::Log;
use crate::sealed::Sealed;
use crate::time_index::NO_TIMESTAMP;
use crate::walk::{BatchPlace, LogError, Walk};

/// Most bytes that a search decompresses of one batch, a piece at a time: as many as are taken from a producer.
const SEARCHED_MAX: usize = i32::MAX as usize;

/// Which record is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchTarget {
    /// The first whose timestamp is at least this.
    FirstAt(i64),
    /// The first of those with the largest timestamp.
    Latest,
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
    /// The leader epoch that it was appended under.
    pub leader_epoch: i32,
}

/// The log as it was when the lock was held.
#[derive(Debug)]
pub struct Search {
    log_start: i64,
    wanted: SearchTarget,
    sealed: Vec<Arc<Sealed>>,
    active: Region,
    active_largest: i64,
}

/// Batches of one segment to search.
#[derive(Debug)]
struct Region {
    file: Arc<DiskFile>,
    from: u64,
    size: u64,
}

impl Log {
    /// Search the log for a record.
    pub fn search(&self, wanted: SearchTarget) -> Search {
        let indexes = &self.active.indexes;
        let timestamp = match wanted {
            SearchTarget::FirstAt(timestamp) => timestamp,
            SearchTarget::Latest => indexes.largest.timestamp,
        };
        Search {
            log_start: self.log_start,
            wanted,
            sealed: self.sealed.values().filter(|segment| segment.end_offset > self.log_start).cloned().collect(),
            active: Region {
                file: self.active.file().clone(),
                from: begin(indexes, timestamp, self.log_start),
                size: self.active.size,
            },
            active_largest: indexes.largest.timestamp,
        }
    }
}

/// Where to begin to look for a timestamp.
fn begin(indexes: &Indexes, timestamp: i64, log_start: i64) -> u64 {
    let before = indexes.times.offset_before(timestamp).unwrap_or(log_start);
    indexes.offsets.position_before(before.max(log_start))
}

impl Search {
    /// Find the record; none when the log holds none. May wait for the disk.
    pub fn run(&self) -> Result<Option<FoundRecord>, LogError> {
        let timestamp = match self.wanted {
            SearchTarget::FirstAt(timestamp) => timestamp,
            SearchTarget::Latest => match self.largest()? {
                NO_TIMESTAMP => return Ok(None),
                largest => largest,
            },
        };
        for segment in &self.sealed {
            match self.first_in_sealed(timestamp, segment) {
                Ok(None) => {}
                // Retention has taken it meanwhile: the log starts further up.
                Err(LogError::Disk(error)) if error.is_not_found() => {}
                found => return found,
            }
        }
        if self.active_largest < timestamp { Ok(None) } else { self.first_at(timestamp, &self.active) }
    }

    fn largest(&self) -> Result<i64, LogError> {
        let mut largest = self.active_largest;
        for segment in &self.sealed {
            largest = largest.max(segment.largest()?.timestamp);
        }
        Ok(largest)
    }

    fn first_in_sealed(&self, timestamp: i64, segment: &Sealed) -> Result<Option<FoundRecord>, LogError> {
        if segment.largest()?.timestamp < timestamp {
            return Ok(None);
        }
        let file = segment.file()?;
        let from = begin(&*segment.indexes(&file)?, timestamp, self.log_start);
        self.first_at(timestamp, &Region { file, from, size: segment.size })
    }

    fn first_at(&self, timestamp: i64, region: &Region) -> Result<Option<FoundRecord>, LogError> {
        let mut walk = Walk::new(&region.file, region.from, region.size);
        while let Some(place) = walk.next()? {
            let header = &place.header;
            if header.max_timestamp < timestamp || header.last_offset() < self.log_start {
                continue;
            }
            if let Some(found) = self.first_in_batch(timestamp, &region.file, &place)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn first_in_batch(
        &self,
        timestamp: i64,
        file: &DiskFile,
        place: &BatchPlace,
    ) -> Result<Option<FoundRecord>, LogError> {
        let corrupt =
            |reason: String| LogError::Corrupt { path: file.path().to_owned(), position: place.position, reason };
        let mut bytes = vec![0; place.len as usize];
        file.read_exact_at(&mut bytes, place.position)?;
        let batch = Batch::parse(&bytes.into()).map_err(|error| corrupt(error.to_string()))?;
        let header = &place.header;
        let leader_epoch = header.partition_leader_epoch;
        // Compressed records are taken as they come: where they can't be read, the header stands for them.
        let unread = FoundRecord {
            offset: header.base_offset.max(self.log_start),
            timestamp: header.max_timestamp,
            leader_epoch,
        };
        let offset = |delta: i32| header.base_offset + i64::from(delta);
        let found = batch.find(SEARCHED_MAX, |delta, at| at >= timestamp && offset(delta) >= self.log_start);
        let Ok(found) = found else { return Ok(Some(unread)) };
        Ok(found.map(|(delta, timestamp)| FoundRecord { offset: offset(delta), timestamp, leader_epoch }))
    }
}
