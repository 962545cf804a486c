//! A checker for transactions that read, process and write, or that write to several partitions.
//!
//! As with the plain [`Checker`](crate::Checker), every record has an [`Id`](crate::Id) of its own, so a partition is a
//! list to which transactions append and of which polls read a part (Elle's list-append, Jepsen's
//! `jepsen.tests.kafka`). A test passes each [`Operation`] to the [`Checker`] as its clients saw it. At last it reads
//! every partition from start to end with read_committed, optionally with read_uncommitted too, and asks for the
//! [`Report`].
//!
//! ```
//! use ottla_history::transactions::{Checker, Given, Isolation, Kind, Operation, Outcome, Protocol};
//! use ottla_history::{Id, Partition};
//!
//! let mut checker = Checker::default();
//! let (input, output, group) = (Partition(0), Partition(1), 7);
//! let (order, invoice) = (Id { producer: 1, sequence: 0 }, Id { producer: 2, sequence: 0 });
//!
//! // Client 1 writes an order, without a transaction.
//! checker.observe(Operation::Sent { id: order });
//! checker.observe(Operation::Acknowledged { id: order, partition: input, offset: Some(0) });
//!
//! // Client 2 takes the order and writes an invoice: both or nothing.
//! checker.observe(Operation::Begun { client: 2, protocol: Protocol::V2 });
//! let given = Given { partition: input, offset: 0, id: Some(order) };
//! checker.observe(Operation::Polled { client: 2, records: vec![given] });
//! checker.observe(Operation::Sent { id: invoice });
//! checker.observe(Operation::OffsetsSent { client: 2, group, partition: input, taken: 0..1 });
//! checker.observe(Operation::Ended { client: 2, outcome: Outcome::Committed });
//!
//! // The last reads: the order is there, the invoice is not.
//! let isolation = Isolation::ReadCommitted;
//! checker.observe(Operation::Logged { isolation, partition: input, offset: 0, id: Some(order) });
//! checker.observe(Operation::LogRead { isolation, partition: input, start: 0, end: 1 });
//! checker.observe(Operation::LogRead { isolation, partition: output, start: 0, end: 0 });
//! checker.observe(Operation::GroupRead { group, partition: input, offset: Some(1) });
//! assert_eq!(checker.report().kinds(), [Kind::Lost, Kind::OffsetMismatch]);
//! ```
//!
//! **Circular information flow (G1c).** Kafka does not isolate writes: while one transaction is open, others append to
//! the same partitions. So a cycle of transactions that follows the order of their writes is ordinary ([`Allowed`]). A
//! cycle of *events* is impossible: a client appends a record after its earlier polls and transactions; a transaction
//! is decided after its last append; the records of a partition are appended in the order of their offsets; a poll
//! returns records of a transaction after its decision. [`Kind::CircularFlow`] is a cycle of these. Without the order
//! of offsets what remains is transactions that read each other's records.
//!
//! **Outcomes.** A transaction whose EndTxn timed out is in doubt: all of it is committed, offsets included, or
//! nothing.
//!
//! **Protocols.** Before KIP-890 ([`Protocol::V1`]) a broker can take a delayed request of one transaction for the next
//! one's of the same producer (KAFKA-17754). Violations that this may explain are counted apart and do not fail.
//!
//! Memory: about 170 bytes a record that one consumer was given, most of it while the checker judges.

mod checker;
mod flow;
mod graph;
mod history;
mod log;
mod offsets;
mod operation;
mod records;
mod report;

pub use checker::Checker;
pub use operation::{Given, Isolation, Operation, Outcome, Protocol};
pub use report::{Allowed, Counts, Kind, Report};
