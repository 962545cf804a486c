//! How a process detects that its API server was set back, and informs its watches.
//!
//! A resource version only rises, unless the API server is restored from a backup. So a Lease that is read or written
//! in a lower version than before shows a restore. A watch that continues from a version of the future may then be
//! silent for long, so it must list again. Only versions of Leases are compared with each other, and versions of one
//! object: a server may store other kinds elsewhere and count them separately.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::api::ObjectMeta;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

/// Counts how often this process has found its API server set back. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct SetBacks {
    times: Arc<Times>,
    /// The version in which this process wrote its own Lease last; 0 if it did not.
    written: Arc<AtomicU64>,
    /// The highest version of any Lease that was shown.
    shown: Arc<AtomicU64>,
}

/// The count, and who waits for it to rise. Not a `tokio::sync::watch`: that wakes its receivers in a random order, and
/// two runs of a seed of the simulation must not differ.
#[derive(Debug, Default)]
struct Times {
    count: AtomicU64,
    risen: Notify,
}

/// Is notified of each set-back after its creation.
#[derive(Debug)]
pub struct SetBackReceiver {
    times: Arc<Times>,
    /// The count that the owner knows.
    known: u64,
}

impl SetBackReceiver {
    /// Waits until the API server was set back since the last call. Cancellation safe.
    pub async fn changed(&mut self) {
        loop {
            // Created before the look, so that it hears of what comes after the look.
            let risen = self.times.risen.notified();
            let count = self.times.count.load(Ordering::Acquire);
            if count != self.known {
                self.known = count;
                return;
            }
            risen.await;
        }
    }
}

impl SetBacks {
    /// A receiver of each set-back from now on.
    pub fn subscribe(&self) -> SetBackReceiver {
        SetBackReceiver { times: self.times.clone(), known: self.times() }
    }

    /// How often the API server was set back.
    pub fn times(&self) -> u64 {
        self.times.count.load(Ordering::Acquire)
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

    /// A compare-and-swap of `read` was refused: reads the object again, and notes a set-back if it comes in a lower
    /// version. A watch would never show this object: the server counts up to the version that the watch waits for, and
    /// beyond, without a change of it.
    pub async fn look_into_conflict<K>(&self, api: &Api<K>, read: &K)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        // If the API server does not answer, the next refusal is looked into.
        let Ok(Some(stored)) = api.get_metadata_opt(&read.name_any()).await else { return };
        let (stored, seen) = (version(&stored.metadata), version(read.meta()));
        if stored.is_some() && stored < seen {
            self.note(stored, seen);
        }
    }

    /// Notes that an object came in a lower version than one that was seen before the request.
    pub fn note(&self, version: Option<u64>, seen: Option<u64>) {
        tracing::error!(
            ?version,
            ?seen,
            "the API server was set back, probably restored from a backup: listing all objects again"
        );
        self.times.count.fetch_add(1, Ordering::AcqRel);
        self.times.risen.notify_waiters();
    }
}

/// An object's resource version; `None` if the server's versions are not numbers.
pub fn version(object: &ObjectMeta) -> Option<u64> {
    object.resource_version.as_ref()?.parse().ok()
}
