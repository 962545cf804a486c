//! A process: a runtime of its own, whose clock runs only while it runs.

use std::time::Duration;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A process. Dropped, it is killed: its tasks are gone, and so are its ends of connections.
pub(super) struct Process {
    runtime: Runtime,
    task: JoinHandle<()>,
    /// How far its clock is behind: it did not run, but time passed.
    behind: Duration,
    /// Until so much time has passed it does not run (SIGSTOP, or others take its processor).
    frozen_for: Duration,
}

impl Process {
    /// Starts a process that does `what`.
    pub(super) fn start(what: impl Future<Output = ()> + Send + 'static) -> Result<Process> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let task = runtime.spawn(what);
        Ok(Process { runtime, task, behind: Duration::ZERO, frozen_for: Duration::ZERO })
    }

    /// It does not run for so long from now on.
    pub(super) fn freeze(&mut self, time: Duration) {
        self.frozen_for = self.frozen_for.max(time);
    }

    /// It runs again.
    pub(super) fn thaw(&mut self) {
        self.frozen_for = Duration::ZERO;
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        if !self.frozen_for.is_zero() {
            self.frozen_for = self.frozen_for.saturating_sub(time);
            self.behind += time;
            return;
        }
        let behind = std::mem::take(&mut self.behind);
        self.runtime.block_on(async {
            if !behind.is_zero() {
                tokio::time::advance(behind).await;
            }
            tokio::time::sleep(time).await;
        });
    }

    /// Whether it has done what it was started for.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Does something in this process, which must not wait for others.
    pub(super) fn now<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }
}
