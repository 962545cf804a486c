//! Share sessions: which partitions a member fetches, so that it does not repeat them with every request (Kafka:
//! `ShareSessionCache`, `ShareSession`, `ShareSessionContext`).
//!
//! - `sessions`: all of a broker; requests, and how sessions end
//! - `partitions`: those of one session, in order, and which of them the client has to hear of

mod partitions;
mod sessions;

pub use sessions::{Ended, Fetch, Fetched, Sessions, ShareFetch};
