//! The coordination protocol as transcripts: each story is one partition, and shows its entry after each change.
//!
//! Read `leading` first, then `in_sync`, `recovery`, `moving` and `restored`; `crds/README.md` has the tables and the
//! glossary. Brokers 0 to 3 exist, and `min.insync.replicas` is 2. An entry is one line:
//!
//! ```text
//! leader 0 in epoch 4 (change 7), replicas 0 1 2, ISR 0a 1a 2b
//! ```
//!
//! 4 is the leader epoch, 7 the partition epoch. `2b` is broker 2 with its second incarnation: `a` is the content of
//! its first disk, `b` that of the next one, and `-` stands for a log that its broker has disowned.
//!
//! `UPDATE_EXPECT=1 cargo test -p ottla-rules` rewrites the transcripts: read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod in_sync;
mod leading;
mod moving;
mod recovery;
mod restored;
mod story;
