//! What all logs of a broker share: a bounded number of open descriptors and loaded indexes of sealed segments.
//! A segment that is being written keeps its own file open. Sealed ones are opened when somebody reads them, and the
//! least recently used is let go when there are too many; a reader holds the file open until done.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::disk::DiskFile;
use crate::indexes::Indexes;

/// Names a sealed segment in the caches; never used twice, so a replaced segment can't be taken for its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SegmentId(u64);

/// The caches. One per broker.
#[derive(Debug)]
pub struct Files {
    next_id: AtomicU64,
    open: Mutex<Lru<Arc<DiskFile>>>,
    indexes: Mutex<Lru<Arc<Indexes>>>,
}

impl Files {
    /// Keep at most so many sealed segments open, and so many bytes of their indexes in memory.
    pub fn new(max_open: usize, max_index_bytes: usize) -> Arc<Files> {
        Arc::new(Files {
            next_id: AtomicU64::new(0),
            open: Mutex::new(Lru::new(max_open)),
            indexes: Mutex::new(Lru::new(max_index_bytes)),
        })
    }

    pub(crate) fn new_id(&self) -> SegmentId {
        SegmentId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// A segment's file; none when it is not among those that stay open.
    pub(crate) fn file(&self, id: SegmentId) -> Option<Arc<DiskFile>> {
        self.open.lock().get(id)
    }

    pub(crate) fn put_file(&self, id: SegmentId, file: Arc<DiskFile>) {
        self.open.lock().put(id, file, 1);
    }

    /// A segment's indexes; none when they are not in memory.
    pub(crate) fn indexes(&self, id: SegmentId) -> Option<Arc<Indexes>> {
        self.indexes.lock().get(id)
    }

    pub(crate) fn put_indexes(&self, id: SegmentId, indexes: Arc<Indexes>) {
        let weight = indexes.memory();
        self.indexes.lock().put(id, indexes, weight);
    }

    pub(crate) fn forget(&self, id: SegmentId) {
        self.open.lock().remove(id);
        self.indexes.lock().remove(id);
    }
}

/// Evicts by looking at every entry: there are hundreds, and an eviction comes with an `open` that costs more.
#[derive(Debug)]
struct Lru<T> {
    capacity: usize,
    weight: usize,
    clock: u64,
    entries: HashMap<SegmentId, LruEntry<T>>,
}

#[derive(Debug)]
struct LruEntry<T> {
    value: T,
    weight: usize,
    used: u64,
}

impl<T: Clone> Lru<T> {
    fn new(capacity: usize) -> Lru<T> {
        Lru { capacity, weight: 0, clock: 0, entries: HashMap::new() }
    }

    fn get(&mut self, id: SegmentId) -> Option<T> {
        let entry = self.entries.get_mut(&id)?;
        self.clock += 1;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    fn put(&mut self, id: SegmentId, value: T, weight: usize) {
        self.remove(id);
        self.clock += 1;
        self.weight += weight;
        self.entries.insert(id, LruEntry { value, weight, used: self.clock });
        while self.weight > self.capacity {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: SegmentId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.weight -= entry.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_go_first() {
        let id = SegmentId;
        let mut lru = Lru::new(10);
        lru.put(id(1), "a", 4);
        lru.put(id(2), "b", 4);
        assert_eq!(lru.get(id(1)), Some("a"));
        lru.put(id(3), "c", 4);
        assert_eq!([1, 2, 3].map(|i| lru.get(id(i))), [Some("a"), None, Some("c")]);
        lru.put(id(4), "too large for the cache", 11);
        assert_eq!([1, 3, 4].map(|i| lru.get(id(i))), [None, None, None]);
        assert_eq!(lru.weight, 0);
    }
}
