//! One partition's log on disk, in Kafka's own files. Knows nothing of clusters, requests or clocks: what it needs to
//! know is given to it.
//!
//! * [`log`]: a partition's log: append, roll, read; [`read`]: what a read gives; [`search`]: offsets by timestamp
//! * [`recovery`]: opening a log, after a clean stop or a crash
//! * [`truncate`], [`retention`]: taking away its tail and its head; [`expired`]: what retention took, until it is
//!   unlinked; [`era`]: what readers learn of a cut; [`flush`]: getting it onto the device
//! * [`compaction`]: leaving only the last record of each key
//! * [`segment`] the one that is written, [`sealed`] those that are not; [`indexes`], [`index`], [`time_index`]
//! * [`producers`] and [`snapshot`]: idempotent and transactional producers; [`transactions`]: what they begin and end;
//!   [`epochs`]: leader epochs
//! * [`checkpoints`], [`metadata`], [`folder`]: the other files of a data directory, and the names of its folders
//! * [`walk`]: from batch to batch in a file; [`chunk`]: the same, checked; [`files`]: descriptors and indexes shared
//!   by all logs
//! * [`disk`]: every file operation; [`failure`]: a directory that has failed; [`under_way`]: what threads wait for

#![warn(unreachable_pub)]
#![allow(rustdoc::private_intra_doc_links, reason = "the map above is for developers of this crate")]

pub mod checkpoints;
mod chunk;
pub mod compaction;
mod config;
pub mod disk;
mod epochs;
mod era;
mod expired;
pub mod failure;
mod files;
pub mod flush;
pub mod folder;
mod index;
mod indexes;
mod log;
pub mod metadata;
pub mod producers;
mod read;
mod recovery;
pub mod retention;
pub mod scrub;
mod sealed;
mod search;
mod segment;
mod snapshot;
mod time_index;
mod transactions;
mod truncate;
pub mod under_way;
mod walk;

pub use compaction::Compaction;
pub use config::{CompactionConfig, LogConfig};
pub use disk::{DiskError, DiskFile, DiskResult};
pub use epochs::Epochs;
pub use era::Era;
pub use files::Files;
pub use log::{Appended, Log, LogAppendError};
pub use producers::{Admission, ProducerError, Producers};
pub use read::{LogSlice, OutOfRange, ReadBounds, ReadError, Window};
pub use recovery::{Opened, RecoveryHint, put_aside_from};
pub use search::{FoundRecord, Search, SearchTarget};
pub use transactions::{AbortedSearch, AbortedTransaction, Ended, Verification, VerificationGuard};
pub use walk::LogError;
