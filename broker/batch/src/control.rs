//! Control records: what the broker writes into a partition for its readers to skip.

use bytes::Bytes;

use crate::batch::{Batch, Stamped};
use crate::header::BatchHeader;
use crate::records::{Record, Records, RecordsError};

/// The type of a marker's control record: how its transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecordType {
    /// Its records don't count.
    Abort,
    /// Its records count.
    Commit,
}

/// The end of a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// How it ended.
    pub outcome: ControlRecordType,
    /// Epoch of the transaction coordinator that decided: an older one is out of date.
    pub coordinator_epoch: i32,
}

/// Markers have a few bytes, and brokers never compress them.
const DECOMPRESSED_MAX: usize = 1 << 10;

impl Marker {
    /// The marker in a batch. `None` in batches of data, in control batches of other types, and in a marker's batch
    /// whose record compaction has removed.
    ///
    /// # Errors
    /// When the record of a control batch can't be read.
    pub fn of(batch: &Batch) -> Result<Option<Marker>, RecordsError> {
        Marker::read(batch.header(), batch.body())
    }

    /// [`Marker::of`] a batch that has its place in the log.
    ///
    /// # Errors
    /// As there.
    pub fn of_stamped(batch: &Stamped) -> Result<Option<Marker>, RecordsError> {
        Marker::read(&batch.header(), batch.body().clone())
    }

    fn read(header: &BatchHeader, body: Bytes) -> Result<Option<Marker>, RecordsError> {
        if !header.is_control() {
            return Ok(None);
        }
        let record = Records::new(header, body, DECOMPRESSED_MAX)?.next().transpose()?;
        Ok(record.as_ref().and_then(Marker::from_record))
    }

    /// Kafka's `ControlRecordType` and `EndTransactionMarker`: later versions only add to the end of key and value, and
    /// a version is never negative.
    fn from_record(record: &Record) -> Option<Marker> {
        let (key, value) = (record.key()?, record.value()?);
        if int16(key, 0)? < 0 || int16(value, 0)? < 0 {
            return None;
        }
        let outcome = match int16(key, 2)? {
            0 => ControlRecordType::Abort,
            1 => ControlRecordType::Commit,
            _ => return None,
        };
        let coordinator_epoch = i32::from_be_bytes(value.get(2..6)?.try_into().ok()?);
        Some(Marker { outcome, coordinator_epoch })
    }

    /// Key (version 0, type) and value (version 0, coordinator epoch).
    pub(crate) fn to_record(self) -> ([u8; 4], [u8; 6]) {
        let kind: u8 = match self.outcome {
            ControlRecordType::Abort => 0,
            ControlRecordType::Commit => 1,
        };
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        ([0, 0, 0, kind], [0, 0, a, b, c, d])
    }
}

fn int16(bytes: &[u8], position: usize) -> Option<i16> {
    Some(i16::from_be_bytes(bytes.get(position..position + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{BatchBuilder, NewRecord, marker_batch};
    use crate::compress::Codec;
    use crate::header::{CONTROL_BIT, NO_SEQUENCE};

    /// A control batch with this key and value.
    fn control(key: &[u8], value: &[u8]) -> Batch {
        let mut builder = BatchBuilder::new(Codec::None).producer(7, 1, NO_SEQUENCE).transactional();
        builder.push(NewRecord { key: Some(key), value: Some(value), ..NewRecord::default() });
        let batch = builder.build();
        let attributes = batch.header().attributes | CONTROL_BIT;
        Batch::seal(BatchHeader { attributes, ..*batch.header() }, &batch.body())
    }

    #[test]
    fn a_marker_is_one_transactional_control_record() {
        for outcome in [ControlRecordType::Abort, ControlRecordType::Commit] {
            let marker = Marker { outcome, coordinator_epoch: 0x0102_0304 };
            let batch = marker_batch(7, 3, marker, 1_000);
            let header = batch.header();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 3, NO_SEQUENCE));
            assert_eq!((header.records_count, header.max_timestamp), (1, 1_000));
            assert_eq!(Marker::of(&batch).unwrap(), Some(marker));
            assert_eq!(Marker::of_stamped(&batch.stamp(42, 5, None)).unwrap(), Some(marker));
        }
    }

    #[test]
    fn only_markers_of_known_types_are_markers() {
        let abort = Some(Marker { outcome: ControlRecordType::Abort, coordinator_epoch: 9 });
        for (name, key, value, expected) in [
            ("version 0", &[0, 0, 0, 0][..], &[0, 0, 0, 0, 0, 9][..], abort),
            ("later versions, longer", &[0, 7, 0, 0, 1], &[0, 3, 0, 0, 0, 9, 5], abort),
            ("a negative version of the key", &[255, 255, 0, 0], &[0, 0, 0, 0, 0, 9], None),
            ("a negative version of the value", &[0, 0, 0, 0], &[255, 255, 0, 0, 0, 9], None),
            ("KRaft's leader change", &[0, 0, 0, 2], &[0, 0, 0, 0, 0, 9], None),
            ("a short key", &[0, 0, 0], &[0, 0, 0, 0, 0, 9], None),
            ("a short value", &[0, 0, 0, 0], &[0, 0, 0, 0, 0], None),
        ] {
            assert_eq!(Marker::of(&control(key, value)).unwrap(), expected, "{name}");
        }
        let emptied = BatchBuilder::replacing(control(b"", b"").header(), Codec::None).build();
        assert_eq!(Marker::of(&emptied).unwrap(), None, "compaction has removed its record");
    }
}
