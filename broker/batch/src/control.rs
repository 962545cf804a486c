//! Control records: what the broker writes into a partition for its readers to skip.

use crate::batch::Batch;
use crate::records::{Record, RecordsError};

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its records don't count.
    Abort,
    /// Its records count.
    Commit,
}

/// The end of a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// How it ended.
    pub outcome: Outcome,
    /// Epoch of the transaction coordinator that decided: an older one is out of date.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// The marker in a batch; none in batches of data and of control records with other meanings.
    pub fn of(batch: &Batch) -> Result<Option<Marker>, RecordsError> {
        if !batch.header().is_control() {
            return Ok(None);
        }
        // Markers are never compressed by Kafka, and have a few bytes.
        let record = batch.records(1 << 10)?.next().transpose()?;
        Ok(record.as_ref().and_then(Marker::from_record))
    }

    /// Later versions only add to the end of key and value.
    fn from_record(record: &Record) -> Option<Marker> {
        let kind = i16::from_be_bytes(record.key()?.get(2..4)?.try_into().ok()?);
        let outcome = match kind {
            0 => Outcome::Abort,
            1 => Outcome::Commit,
            _ => return None,
        };
        let coordinator_epoch = i32::from_be_bytes(record.value()?.get(2..6)?.try_into().ok()?);
        Some(Marker { outcome, coordinator_epoch })
    }

    /// Key and value, each behind its version 0.
    pub(crate) fn to_record(self) -> ([u8; 4], [u8; 6]) {
        let kind: u8 = match self.outcome {
            Outcome::Abort => 0,
            Outcome::Commit => 1,
        };
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        ([0, 0, 0, kind], [0, 0, a, b, c, d])
    }
}
