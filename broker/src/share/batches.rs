//! What the machine must know of batches that were read: where they are, and whether they were aborted.

use bytes::Bytes;
use ottla_batch::{Batch, Batches, ControlRecordType, Marker};
use ottla_share::{AbortedTransaction, Acquired, BatchHeader, BatchKind, LogBatch, aborted_batches};

/// The batches in a run of bytes.
pub(super) struct Headers {
    headers: Vec<BatchHeader>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Headers {
    /// Reads them; what comes after a batch that is damaged counts as not there.
    pub(super) fn of(records: &Bytes) -> Headers {
        let (mut headers, mut ends) = (Vec::new(), Vec::new());
        let mut end = 0;
        for batch in Batches::new(records.clone()) {
            let Ok(batch) = batch else { break };
            end += batch.bytes().len();
            headers.push(BatchHeader {
                first: batch.header().base_offset,
                last: batch.header().last_offset(),
                producer_id: batch.header().producer_id,
                kind: kind(&batch),
            });
            ends.push(end);
        }
        Headers { headers, ends }
    }

    /// For the machine, with what was aborted among them.
    pub(super) fn marked(&self, aborted: &[ottla_log::AbortedTransaction]) -> Vec<LogBatch> {
        let aborted = aborted.iter().map(|transaction| AbortedTransaction {
            producer_id: transaction.producer_id,
            first: transaction.first_offset,
        });
        aborted_batches(&self.headers, &aborted.collect::<Vec<_>>())
    }

    /// From the first batch that has acquired records to the last.
    pub(super) fn covering(&self, records: &Bytes, acquired: &[Acquired]) -> Bytes {
        let (Some(first), Some(last)) = (acquired.first(), acquired.last()) else { return Bytes::new() };
        let from = self.headers.partition_point(|header| header.last < first.first);
        let until = self.headers.partition_point(|header| header.first <= last.last);
        let start = from.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = until.checked_sub(1).map_or(0, |last| self.ends[last]);
        records.slice(start..end.max(start))
    }
}

fn kind(batch: &Batch) -> BatchKind {
    match (batch.header().is_transactional(), batch.header().is_control()) {
        (true, true) => match Marker::of(batch) {
            Ok(Some(Marker { outcome: ControlRecordType::Abort, .. })) => BatchKind::AbortMarker,
            Ok(_) | Err(_) => BatchKind::Other,
        },
        (true, false) => BatchKind::Transactional,
        (false, _) => BatchKind::Other,
    }
}
