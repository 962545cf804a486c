//! APIs of transactions: for producers, for other brokers, for administrators.

pub(super) mod add_offsets_to_txn;
pub(super) mod add_partitions_to_txn;
pub(super) mod describe_producers;
pub(super) mod describe_transactions;
pub(super) mod end_txn;
pub(super) mod list_transactions;
pub(super) mod txn_offset_commit;
pub(super) mod write_txn_markers;

use ottla_txn::{ProducerIdAndEpoch, TxnError};
use ottla_wire::ErrorCode;

/// The version of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn from which on clients know PRODUCER_FENCED (KIP-588).
const FENCED_FROM: i16 = 2;

/// The code of an outcome for a client of this version.
fn code<T>(result: &Result<T, TxnError>, version: i16) -> ErrorCode {
    match result {
        Ok(_) => ErrorCode::NONE,
        Err(error) if version < FENCED_FROM => error.code_for_old_client(),
        Err(error) => error.code(),
    }
}

fn producer(producer_id: i64, producer_epoch: i16) -> ProducerIdAndEpoch {
    ProducerIdAndEpoch { producer_id, producer_epoch }
}
