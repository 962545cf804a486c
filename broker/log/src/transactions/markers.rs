//! Markers (`Marker`): the control records that end transactions, taken out of batches on their way into a log, and out
//! of a log that is replayed.

use ottla_batch::{Batch, Marker, Stamped};

use crate::disk::DiskFile;
use crate::walk::{BatchPlace, LogError};

/// A control batch holds one record of a few bytes. What is larger is none of ours.
const MARKER_BATCH_MAX: u64 = 1 << 10;

/// The marker in a batch that is appended. `None` in any other batch, and where the record can't be read: on every
/// replica alike, for the batch has its checksum.
pub(crate) fn appended(batch: &Stamped) -> Option<Marker> {
    Marker::of_stamped(batch).ok().flatten()
}

/// The marker in the batch at this place of a segment file; `None` as for [`appended`].
pub(crate) fn at(file: &DiskFile, place: &BatchPlace) -> Result<Option<Marker>, LogError> {
    if !place.header.is_control() || place.len > MARKER_BATCH_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; place.len as usize];
    file.read_exact_at(&mut bytes, place.position)?;
    let batch = Batch::parse(&bytes.into());
    Ok(batch.ok().and_then(|batch| Marker::of(&batch).ok().flatten()))
}
