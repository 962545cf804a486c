//! What clients saw, in; what is wrong with it, out.
//!
//! A test gives every record an [`Id`] of its own, reports each [`Operation`] to the [`Checker`] as its clients saw it,
//! at last reads every partition from start to end, and asks for the [`Report`]. Nothing here knows the product: the
//! simulation, real processes and a real cluster are judged alike, and so is Apache Kafka.
//!
//! ```
//! use ottla_history::{Checker, Id, Operation, Outcome, Partition};
//!
//! let mut checker = Checker::default();
//! let (id, partition) = (Id { producer: 1, sequence: 0 }, Partition(0));
//! checker.observe(Operation::Produced { id, outcome: Outcome::Acknowledged { partition, offset: Some(0) } });
//! checker.observe(Operation::Logged { partition, offset: 0, id: Id::read(&id.payload(100)) });
//! checker.observe(Operation::LogRead { partition, start: 0, end: 1 });
//! let report = checker.report();
//! assert!(report.is_good(), "{report}");
//! ```
//!
//! Operations are not kept, only about 100 bytes a record: ten million records take a gigabyte.
//!
//! [`transactions`] has a second checker, for transactions: what they may read, and what must become of them.

#![warn(unreachable_pub)]

mod checker;
mod id;
mod operation;
mod report;
pub mod transactions;

pub use checker::Checker;
pub use id::Id;
pub use operation::{Operation, Outcome, Partition};
pub use report::{Counts, Kind, Report};
