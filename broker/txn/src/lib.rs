//! The transaction coordinator as a pure state machine: values in, values out.
//!
//! One [`Shard`] holds every transactional id of one `__transaction_state` partition. The broker's host owns it under a
//! lock, hands it requests, the time and fresh producer ids, and carries out the [`Effects`] that come back: records to
//! append, replies to deliver, markers to write. Nothing in here waits, logs, reads a clock or draws a random number.
//!
//! | module | its job |
//! |---|---|
//! | [`transaction`] | one transactional id: its state, and every change as a function from value to value |
//! | [`shard`] | the ids of one partition; loading, requests, the fate of appends |
//! | `init_producer_id`, `add_partitions`, `end_txn` | one request each: what it comes to |
//! | `markers` | from the decision to the end: markers, their results, the completion |
//! | `timeouts` | what happens by itself: time-outs, expiry, completions that are repeated |
//! | `admin` | DescribeTransactions, ListTransactions |
//! | [`record`] | what is persisted, in Kafka's own record format |
//! | [`request`], [`effects`] | the plain values of requests and replies; what the host is to do |
//! | [`ids`], [`error`], [`config`] | names, refusals, settings |
//! | `producer_ids`, `turn` | fresh ids; what a request decides on, and may come to |
//!
//! # The life of a transaction
//!
//! 1. A producer gets a *producer id* and an *epoch* for its transactional id (InitProducerId). A newer instance gets a
//!    higher epoch, which fences the older one.
//! 2. Every partition is added before its first record counts: by the client (AddPartitionsToTxn, AddOffsetsToTxn), or
//!    by the partition's leader for it (KIP-890).
//! 3. EndTxn decides: the record Prepare… is the decision. Once it is committed, the producer has its answer, and
//!    nothing changes the outcome.
//! 4. Every partition gets a marker. When all have one, the record Complete… allows the next transaction.
//!
//! # States and changes
//!
//! A change is decided on what is committed, written down, and taken over when its record is committed; then it is
//! answered. A change whose append failed leaves nothing behind: 15 if too few replicas were in sync or time ran out,
//! 16 if this broker does not lead. (The shard does not abandon an append that takes long: it may still be
//! committed.) The stories in `tests/stories` show every row of this table:
//!
//! | event | in state | to state | answer, effect |
//! |---|---|---|---|
//! | any but a verification | change under way, Prepare | – | 51, any identity (EndTxn ≤ 4: if 49, 90 do not apply) |
//! | InitProducerId | unknown id | Empty | a fresh producer id, epoch 0 |
//! | InitProducerId, nothing given | Empty, Complete | Empty | epoch + 1; who had it before is fenced |
//! | InitProducerId, given as stored | Empty, Complete | Empty | epoch + 1; the epoch before is the *last* one |
//! | InitProducerId, given the last epoch | Empty, Complete | Empty | the same answer again |
//! | InitProducerId, given another | not Prepare | – | 90 |
//! | InitProducerId | Ongoing | PrepareAbort | 51; epoch + 1, and + 1 again when a new instance repeats it |
//! | add partitions | unknown id, other producer id, other epoch | – | 49, 49, 90 |
//! | add partitions | Empty, Complete | Ongoing | the transaction starts |
//! | add partitions | Ongoing | Ongoing | nothing is written if all are there |
//! | verification | Prepare; else | – | 51; 120 for a partition that is not there |
//! | EndTxn ≤ 4 | Ongoing | Prepare | nothing but success; markers |
//! | EndTxn ≤ 4 | Complete, same outcome; else | – | success again; 48 |
//! | EndTxn 5 | Ongoing | Prepare, epoch + 1 | the producer of the next transaction; markers |
//! | EndTxn 5, abort; commit | Empty, Complete | PrepareAbort, epoch + 1; – | the same; 48 |
//! | EndTxn 5 again | Complete, same outcome; else | – | the stored producer; 48, a commit of an abort 90 |
//! | every partition has its marker | Prepare | Complete | the next producer id, if one was drawn |
//! | time-out (10 s scan) | Ongoing | PrepareAbort, epoch + 1 | as for InitProducerId |
//! | expiry (hourly) | Empty, Complete, 7 days untouched | – | a tombstone |
//! | load | Prepare | – | all markers again |
//!
//! Epochs end at 32767, which fences and is never given out. A producer at 32766 gets epoch 0 of a fresh id: from
//! InitProducerId, or from EndTxn 5 (then the id is drawn with Prepare, and taken over with Complete). 90 is 47 for old
//! clients: [`TxnError::code_for_old_client`].
//!
//! # Where this differs from Kafka 4.3.1
//!
//! - The last epoch is in the record, in a tagged field of ours. So a repeated InitProducerId is answered also by the
//!   next coordinator (KAFKA-20357), and more than once after a change of the producer id.
//! - An EndTxn 5 to commit what the coordinator has aborted by itself meets 90, which a program expects of a time-out,
//!   instead of 48, which looks like a bug of its client (KAFKA-20785, as later versions of Kafka do it).
//! - In Ongoing, InitProducerId with a given epoch that is not the stored one meets 90. Kafka aborts the transaction
//!   first: a fenced producer could disturb the one that fenced it.
//! - A repeated EndTxn 5 is recognised only after an end that bumped the epoch. Kafka takes "one lower" for a
//!   repetition also after an end by the older protocol, and hands a fenced producer the identity of its successor.
//! - At an exhausted epoch, InitProducerId with another epoch than the stored one is answered like at any other epoch;
//!   Kafka fails with −1.
//! - An append that takes too long stays pending until its fate is known. Kafka drops the change, and its memory and
//!   its log may disagree.
//! - A fence of the older protocol whose append failed is taken back like any other change. Kafka keeps its epoch in
//!   memory, and remembers not to bump it twice.
//! - A marker refused with 47 ends its partition, one refused with 52 stops this coordinator. After either, Kafka
//!   forgets the transaction until its coordinator moves.
//! - What is not known to be committed when the partition is loaded is not acted upon before it is
//!   ([`Shard::replay_unsettled`]). Kafka writes markers for decisions that may yet be lost.

#![warn(unreachable_pub)]

mod config;
mod effects;
mod error;
mod ids;
pub mod record;
mod request;
mod shard;
mod transaction;

mod add_partitions;
mod admin;
mod end_txn;
mod init_producer_id;
mod markers;
mod producer_ids;
mod timeouts;
mod turn;

pub use admin::states_named;
pub use config::Config;
pub use effects::{Effects, Marker, SendId, TxnAppend, TxnAppendId, WriteMarkers};
pub use error::{TxnAppendError, TxnError};
pub use ids::{Now, ProducerIdAndEpoch, Ticket, TopicName, TopicPartition, TransactionalId};
pub use markers::MarkerResult;
pub use record::Record;
pub use request::*;
pub use shard::Shard;
pub use transaction::{Transaction, TransactionResult, TransactionState, TransactionVersion};
