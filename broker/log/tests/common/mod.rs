//! What the tests of the log share.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part; tests may panic")]

use std::path::PathBuf;
use std::sync::Arc;

use ottla_batch::{BatchBuilder, BatchHeader, Codec, ControlRecordType, Marker, NewRecord, Stamped, marker_batch};

use ottla_log::{Files, Log, LogConfig, Opened, ReadBounds, RecoveryHint};
use tempfile::TempDir;

/// Tests have no clock. Shortly before Kafka wrote the files beside us, so that its records show when producers wrote
/// last.
pub const NOW: i64 = 1_795_200_000_000;

/// A log in a folder of its own.
pub struct Fixture {
    pub root: TempDir,
    pub config: LogConfig,
    pub files: Arc<Files>,
    pub log: Log,
}

impl Fixture {
    pub fn new(config: LogConfig) -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let files = Files::new(4, 1 << 20);
        let (log, _) = Log::open(&root.path().join("t-0"), config.clone(), hint(true, 0), &files, NOW).unwrap();
        Fixture { root, config, files, log }
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join("t-0")
    }

    pub fn append(&mut self, batch: &Stamped) {
        self.log.append(std::slice::from_ref(batch), NOW).unwrap();
    }

    /// Open the log again without closing it, as after a crash of the process.
    pub fn reopen_after_crash(&mut self, recovery_point: i64) -> Opened {
        self.reopen(hint(false, recovery_point))
    }

    /// Close the log and open it again.
    pub fn restart(self) -> Fixture {
        let dir = self.dir();
        let Fixture { root, config, files, mut log } = self;
        let log_start = log.log_start();
        let recovery_point = log.close().unwrap();
        let hint = RecoveryHint { clean: true, recovery_point, log_start, ..RecoveryHint::default() };
        let (log, opened) = Log::open(&dir, config.clone(), hint, &files, NOW).unwrap();
        assert_eq!((opened.checked_bytes, opened.cut_bytes, opened.corrupt.len()), (0, 0, 0), "after a clean stop");
        Fixture { root, config, files, log }
    }

    pub fn reopen(&mut self, hint: RecoveryHint) -> Opened {
        let (log, opened) = Log::open(&self.dir(), self.config.clone(), hint, &self.files, NOW).unwrap();
        self.log = log;
        opened
    }
}

pub fn hint(clean: bool, recovery_point: i64) -> RecoveryHint {
    RecoveryHint { clean, recovery_point, ..RecoveryHint::default() }
}

/// `count` records of about `len` bytes in all; each record's timestamp is its offset after [`NOW`].
pub fn batch(base_offset: i64, count: i64, len: usize) -> Stamped {
    batch_of(0, base_offset, count, len)
}

pub fn batch_of(epoch: i32, base_offset: i64, count: i64, len: usize) -> Stamped {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![base_offset as u8; len / count as usize];
    for i in 0..count {
        builder.push(NewRecord { timestamp: NOW + base_offset + i, value: Some(&value), ..NewRecord::default() });
    }
    builder.build().stamp(base_offset, epoch, None)
}

/// One record with this timestamp.
pub fn batch_at(timestamp: i64, base_offset: i64) -> Stamped {
    batch_with_times(Codec::None, base_offset, &[timestamp])
}

/// A record for each timestamp.
pub fn batch_with_times(codec: Codec, base_offset: i64, timestamps: &[i64]) -> Stamped {
    let mut builder = BatchBuilder::new(codec);
    for &timestamp in timestamps {
        builder.push(NewRecord { timestamp, value: Some(b"value"), ..NewRecord::default() });
    }
    builder.build().stamp(base_offset, 0, None)
}

/// A batch of an idempotent producer.
pub fn produced(producer_id: i64, base_sequence: i32, base_offset: i64) -> Stamped {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer_id, 0, base_sequence);
    builder.push(NewRecord { timestamp: NOW, value: Some(b"v"), ..NewRecord::default() });
    builder.build().stamp(base_offset, 0, None)
}

/// One record in a transaction.
pub fn in_transaction(producer_id: i64, epoch: i16, base_sequence: i32, base_offset: i64) -> Stamped {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer_id, epoch, base_sequence).transactional();
    builder.push(NewRecord { timestamp: NOW + base_offset, key: Some(b"k"), value: Some(b"v"), headers: &[] });
    builder.build().stamp(base_offset, 0, None)
}

/// The marker that ends a transaction, of the coordinator with epoch 0.
pub fn marker(producer_id: i64, epoch: i16, outcome: ControlRecordType, offset: i64) -> Stamped {
    marker_batch(producer_id, epoch, Marker { outcome, coordinator_epoch: 0 }, NOW + offset).stamp(offset, 0, None)
}

pub fn bytes_of(batch: &Stamped) -> Vec<u8> {
    batch.slices().iter().flat_map(|slice| slice.iter().copied()).collect()
}

/// Everything from an offset to the end.
pub fn read_all(log: &Log, mut from: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let bounds = |from| ReadBounds { from, up_to: log.log_end(), max_bytes: 1 << 20, at_least_one: true };
    while let Some(slice) = log.read(bounds(from)).unwrap() {
        bytes.extend(slice.read().unwrap());
        from = slice.next_offset;
    }
    bytes
}

/// Headers of all batches in some bytes.
pub fn headers(bytes: Vec<u8>) -> Vec<BatchHeader> {
    ottla_batch::Batches::new(bytes.into()).map(|batch| *batch.unwrap().header()).collect()
}
