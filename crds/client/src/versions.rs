//! How a process detects that its API server was set back, and informs its watches.
//!
//! A resource version only rises, unless the API server is restored from a backup. So a Lease that is read or written
//! in a lower version than before shows a restore. A watch that continues from a version of the future may then be
//! silent for long, so it must list again. Only versions of Leases are compared with each other: a server may store
//! other kinds elsewhere and count them separately.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::api::ObjectMeta;
use tokio::sync::watch;

/// Counts how often this process has found its API server set back. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct SetBacks {
    times: Arc<watch::Sender<u64>>,
    /// The version in which this process wrote its own Lease last; 0 if it did not.
    written: Arc<AtomicU64>,
    /// The highest version of any Lease that was shown.
    shown: Arc<AtomicU64>,
}

impl SetBacks {
    /// A receiver that is notified each time.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.times.subscribe()
    }

    /// How often the API server was set back.
    pub fn times(&self) -> u64 {
        *self.times.borrow()
    }

    /// The version of this process's last write of its own Lease; `None` before the first. Later reads are no older.
    pub fn written(&self) -> Option<u64> {
        Some(self.written.load(Ordering::Relaxed)).filter(|written| *written > 0)
    }

    /// This process has written its own Lease in this version.
    pub fn wrote(&self, version: Option<u64>) {
        self.written.store(version.unwrap_or_default(), Ordering::Relaxed);
    }

    /// This process read its own Lease in this version; its last write before the request was `written`. Returns
    /// whether the API server was set back since.
    pub fn compare(&self, version: Option<u64>, written: Option<u64>) -> bool {
        let is_set_back = version < written;
        if is_set_back {
            self.note(version, written);
            self.wrote(version);
        }
        is_set_back
    }

    /// A watch has shown a Lease in this version.
    pub fn was_shown(&self, version: Option<u64>) {
        self.shown.fetch_max(version.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Forgets the versions shown: they are from before the API server was set back.
    pub fn forget_shown(&self) {
        self.shown.store(0, Ordering::Relaxed);
    }

    /// The highest version in which a watch has shown any Lease; `None` before the first. A later list is no older.
    pub fn shown(&self) -> Option<u64> {
        Some(self.shown.load(Ordering::Relaxed)).filter(|shown| *shown > 0)
    }

    /// A list of Leases came in this version; the highest version before the request was `shown`. Returns whether the
    /// API server was set back since.
    pub fn compare_list(&self, version: Option<u64>, shown: Option<u64>) -> bool {
        let is_set_back = version.is_some() && version < shown;
        if is_set_back {
            self.note(version, shown);
        }
        is_set_back
    }

    /// Notes that an object came in a lower version than one that was seen before the request.
    pub fn note(&self, version: Option<u64>, seen: Option<u64>) {
        tracing::error!(
            ?version,
            ?seen,
            "the API server was set back, probably restored from a backup: listing all objects again"
        );
        self.times.send_modify(|times| *times += 1);
    }
}

/// An object's resource version; `None` if the server's versions are not numbers.
pub fn version(object: &ObjectMeta) -> Option<u64> {
    object.resource_version.as_ref()?.parse().ok()
}
