//! How a process learns that its API server was set back, and tells whoever watches there.
//!
//! A resource version only rises, unless the API server is restored from a backup. So a Lease that is read or written
//! in a lower version than before shows a restore. Watches that go on from a version of the future may be silent for
//! long then: whoever watches must list again. Only versions of Leases are compared, with each other: a server may keep
//! other kinds elsewhere, and count them on their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::api::ObjectMeta;
use tokio::sync::watch;

/// How often one process has found its API server set back; its clones are the same.
#[derive(Clone, Debug, Default)]
pub struct SetBacks {
    times: Arc<watch::Sender<u64>>,
    /// The version in which this process wrote its own Lease last; 0 if it did not.
    written: Arc<AtomicU64>,
    /// The highest version of any Lease that was shown.
    shown: Arc<AtomicU64>,
}

impl SetBacks {
    /// Tells of the next ones.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.times.subscribe()
    }

    /// How many there were.
    pub fn times(&self) -> u64 {
        *self.times.borrow()
    }

    /// The version in which this process wrote its own Lease last, if it has: whatever is read later is no older.
    pub fn written(&self) -> Option<u64> {
        Some(self.written.load(Ordering::Relaxed)).filter(|written| *written > 0)
    }

    /// This process has written its own Lease in this version.
    pub fn wrote(&self, version: Option<u64>) {
        self.written.store(version.unwrap_or_default(), Ordering::Relaxed);
    }

    /// This process's own Lease came in this version, asked for when it had been `written`. Whether the API server was
    /// set back since.
    pub fn compare(&self, version: Option<u64>, written: Option<u64>) -> bool {
        let is_set_back = version < written;
        if is_set_back {
            self.note(version, written);
            self.wrote(version);
        }
        is_set_back
    }

    /// A Lease was shown in this version.
    pub fn was_shown(&self, version: Option<u64>) {
        self.shown.fetch_max(version.unwrap_or_default(), Ordering::Relaxed);
    }

    /// What was shown was shown before the API server was set back.
    pub fn forget_shown(&self) {
        self.shown.store(0, Ordering::Relaxed);
    }

    /// The highest version in which any Lease was shown, if one was: a list that is read later is no older.
    pub fn shown(&self) -> Option<u64> {
        Some(self.shown.load(Ordering::Relaxed)).filter(|shown| *shown > 0)
    }

    /// A list of Leases came in this version, asked for when what was `shown` had that one. Whether the API server was
    /// set back since.
    pub fn compare_list(&self, version: Option<u64>, shown: Option<u64>) -> bool {
        let is_set_back = version.is_some() && version < shown;
        if is_set_back {
            self.note(version, shown);
        }
        is_set_back
    }

    /// An object came in a lower version than one that was seen before it was asked for.
    pub fn note(&self, version: Option<u64>, seen: Option<u64>) {
        tracing::error!(
            ?version,
            ?seen,
            "the API server was set back, probably restored from a backup: everything is listed anew"
        );
        self.times.send_modify(|times| *times += 1);
    }
}

/// An object's resource version; none of a server that does not count.
pub fn version(object: &ObjectMeta) -> Option<u64> {
    object.resource_version.as_ref()?.parse().ok()
}
