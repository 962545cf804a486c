//! The world outside: clock, randomness, worker threads.
//!
//! Nothing else in the broker reads a clock, draws a number or starts a thread, so that a whole cluster can run in one
//! deterministic thread on simulated ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

/// A point on the monotonic clock.
pub use tokio::time::Instant;

/// Now, on the monotonic clock: for waiting and measuring.
pub fn now() -> Instant {
    Instant::now()
}

/// Now, as Kafka writes it: milliseconds since 1970. For timestamps in records and objects, never for waiting.
pub fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Resolves at `deadline`.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// A random id, for members, connections and incarnations.
pub fn random_uuid() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

type Job = Box<dyn FnOnce() + Send>;

/// A fixed pool of threads for what blocks: fsync, roll, unlink, cold reads, recovery. Dropping it lets the threads finish
/// what is queued and end.
#[derive(Clone)]
pub struct Workers {
    queue: std::sync::mpsc::SyncSender<Job>,
}

/// Jobs that may wait for a worker; a caller beyond that waits itself.
const QUEUE_BOUND: usize = 4096;

impl Workers {
    /// Starts `threads` threads named `disk-0`, `disk-1`…
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(threads: usize) -> std::io::Result<Workers> {
        let (queue, jobs) = std::sync::mpsc::sync_channel::<Job>(QUEUE_BOUND);
        let jobs = std::sync::Arc::new(parking_lot::Mutex::new(jobs));
        for n in 0..threads {
            let jobs = jobs.clone();
            std::thread::Builder::new().name(format!("disk-{n}")).spawn(move || {
                loop {
                    // The guard is dropped before the job runs: the lock is held while waiting for one, never during one.
                    let next = jobs.lock().recv();
                    match next {
                        Ok(job) => job(),
                        Err(_) => return,
                    }
                }
            })?;
        }
        Ok(Workers { queue })
    }

    /// Has a worker run `job`; waits for a place in the queue when it is full.
    pub fn start_job(&self, job: impl FnOnce() + Send + 'static) {
        let sent = self.queue.send(Box::new(job));
        assert!(sent.is_ok(), "workers live as long as their handles");
    }

    /// Runs `job` on a worker; the answer comes through the future. The job runs even when the future is dropped.
    pub fn run<T, F>(&self, job: F) -> impl Future<Output = T> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        self.start_job(move || {
            let _ = done.send(job());
        });
        async move { answer.await.expect("a worker answers every job") }
    }
}
