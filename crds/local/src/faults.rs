//! What tests make go wrong: a slow, unreachable, refusing or forgetful API server.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::store::{Objects, Snapshot};

/// The faults of one server; none until a test asks for them.
#[derive(Debug)]
pub struct Faults {
    state: Mutex<InjectedFaults>,
    cut: Arc<Notify>,
    objects: Arc<Objects>,
}

#[derive(Debug, Default)]
struct InjectedFaults {
    latency: Duration,
    outage: bool,
    conflicts: u32,
}

/// Why an in-process client got no answer.
#[derive(Debug, thiserror::Error)]
#[error("connection refused: the API server is out (injected)")]
pub(crate) struct Outage;

impl Faults {
    pub(crate) fn new(objects: Arc<Objects>) -> Self {
        Self { state: Mutex::default(), cut: Arc::default(), objects }
    }

    /// Every request waits this long first.
    pub fn set_latency(&self, latency: Duration) {
        self.state.lock().latency = latency;
    }

    /// While out, requests fail without an answer; going out also ends all watches.
    pub fn set_outage(&self, outage: bool) {
        self.state.lock().outage = outage;
        if outage {
            self.drop_watches();
        }
    }

    /// The next `count` writes to existing objects are refused with 409, as if somebody else had been faster.
    pub fn refuse_writes(&self, count: u32) {
        self.state.lock().conflicts = count;
    }

    /// Ends all watches that are open now, in the middle of any event.
    pub fn drop_watches(&self) {
        self.cut.notify_waiters();
    }

    /// Forgets the past: a watch from any version known so far is answered with 410 Expired.
    pub fn expire_watches(&self) {
        self.objects.forget_events();
    }

    /// What there is now, to be set back to.
    pub fn snapshot(&self) -> Snapshot {
        self.objects.snapshot()
    }

    /// Sets everything back, resource versions too, as a restore of etcd's backup does, and ends all watches. A watch
    /// from a version that is now in the future is refused with 410, or `silently` shows nothing until that version
    /// comes, as on a real server.
    pub fn set_back(&self, to: &Snapshot, silently: bool) {
        self.objects.set_back(to, silently);
        self.drop_watches();
    }

    /// While on, reads with resourceVersion 0, which may be served from a cache, show the state of this moment.
    /// Consistent reads stay consistent, as they are on a real server.
    pub fn set_stale_reads(&self, stale: bool) {
        self.objects.freeze(stale);
    }

    /// How many lists of a resource, such as `leases.coordination.k8s.io`, have shown the state that
    /// [`set_stale_reads`](Faults::set_stale_reads) keeps; those with which watches begin count, too.
    pub fn stale_lists(&self, resource: &str) -> u64 {
        self.objects.stale_lists(resource)
    }

    pub(crate) async fn reach(&self) -> Result<(), Outage> {
        let (latency, outage) = {
            let state = self.state.lock();
            (state.latency, state.outage)
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if outage { Err(Outage) } else { Ok(()) }
    }

    /// Whether this write is one of those to refuse.
    pub(crate) fn refuses_write(&self) -> bool {
        let mut state = self.state.lock();
        let refuses = state.conflicts > 0;
        state.conflicts = state.conflicts.saturating_sub(1);
        refuses
    }

    /// Resolves when watches that are open now are to end.
    pub(crate) fn cut(&self) -> OwnedNotified {
        Arc::clone(&self.cut).notified_owned()
    }
}
