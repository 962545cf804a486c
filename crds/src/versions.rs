//! How a process learns that its API server was set back, and tells whoever watches there.
//!
//! A resource version only rises, unless the API server is restored from a backup. So a Lease that is read or written in a lower version
//! than before shows a restore. Watches that go on from a version of the future may be silent for long then: whoever watches must list
//! again. Only versions of Leases are compared, with each other: a server may keep other kinds elsewhere, and count them on their own.

use std::sync::Arc;

use kube::api::ObjectMeta;
use tokio::sync::watch;

/// How often one process has found its API server set back; its clones are the same.
#[derive(Clone, Debug, Default)]
pub struct SetBacks(Arc<watch::Sender<u64>>);

impl SetBacks {
    /// Tells of the next ones.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// An object came in a lower version than one that was seen before it was asked for.
    pub fn note(&self, version: Option<u64>, seen: Option<u64>) {
        tracing::error!(
            ?version,
            ?seen,
            "the API server was set back, probably restored from a backup: everything is listed anew"
        );
        self.0.send_modify(|times| *times += 1);
    }
}

/// An object's resource version; none of a server that does not count.
pub fn version(object: &ObjectMeta) -> Option<u64> {
    object.resource_version.as_ref()?.parse().ok()
}
