//! The world outside: clock, randomness, worker threads.
//!
//! Nothing else in the broker reads a clock, draws a number or starts a thread, and nothing but `ottla_client` connects
//! to other brokers, so that a whole cluster can run in one deterministic thread on simulated ones.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A point on the monotonic clock.
pub use tokio::time::Instant;

/// Now, on the monotonic clock: for waiting and measuring.
pub fn now() -> Instant {
    Instant::now()
}

/// Now, as Kafka writes it: milliseconds since 1970. For timestamps in records and objects, never for waiting.
pub fn wall_clock_ms() -> i64 {
    #[cfg(feature = "simulated")]
    if let Some(now) = simulated::wall_clock_ms() {
        return now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How much of an answer is copied to memory where it is at most `bytes`: a simulation has less copied, and more sent
/// from files.
pub fn most_copied(bytes: usize) -> usize {
    #[cfg(feature = "simulated")]
    let bytes = bytes.min(simulated::most_copied());
    bytes
}

/// Resolves at `deadline`.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// A random id, for members, connections and incarnations.
pub fn random_uuid() -> uuid::Uuid {
    #[cfg(feature = "simulated")]
    if let Some(drawn) = simulated::random_uuid() {
        return drawn;
    }
    uuid::Uuid::new_v4()
}

/// Random bytes, for keys and nonces: all of their bits, where some of a UUID's are fixed.
pub fn random_bytes() -> [u8; 16] {
    #[cfg(feature = "simulated")]
    if let Some(drawn) = simulated::random_uuid() {
        return drawn.into_bytes();
    }
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// Runs a small job that blocks on the disk away from the tasks' threads. A simulation runs it at once: a thread that
/// ends when it likes makes two runs of a seed differ.
///
/// # Errors
/// When the job panicked or the runtime stops.
pub async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    #[cfg(feature = "simulated")]
    if simulated::is_on() {
        return Ok(job());
    }
    tokio::task::spawn_blocking(job).await
}

/// What a simulation puts in the place of clock and randomness. One of each for each thread: a simulation runs in one.
#[cfg(feature = "simulated")]
pub mod simulated {
    use std::cell::{Cell, RefCell};

    use uuid::Uuid;

    pub use super::Job;

    /// Draws the next id.
    pub type Draw = Box<dyn FnMut() -> Uuid>;

    thread_local! {
        static WALL_CLOCK_MS: Cell<Option<i64>> = const { Cell::new(None) };
        static DRAW: RefCell<Option<Draw>> = const { RefCell::new(None) };
        static COPY_AT_MOST: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// How many bytes of records an answer copies to memory at most, from now on; more is read from files as it is
    /// sent.
    pub fn copy_at_most(bytes: usize) {
        COPY_AT_MOST.set(bytes);
    }

    pub(super) fn most_copied() -> usize {
        COPY_AT_MOST.get()
    }

    /// What the wall clock shows from now on, in milliseconds since 1970; none: what the machine's shows.
    pub fn set_wall_clock(now_ms: Option<i64>) {
        WALL_CLOCK_MS.set(now_ms);
    }

    /// Who draws random ids from now on; none: the machine.
    pub fn draw_ids(draw: Option<Draw>) {
        DRAW.set(draw);
    }

    /// Whether this thread runs a simulation.
    pub(super) fn is_on() -> bool {
        DRAW.with_borrow(Option::is_some)
    }

    pub(super) fn wall_clock_ms() -> Option<i64> {
        WALL_CLOCK_MS.get()
    }

    pub(super) fn random_uuid() -> Option<Uuid> {
        DRAW.with_borrow_mut(|draw| draw.as_mut().map(|draw| draw()))
    }
}

/// From now on a panic of any thread ends the process, after its message. A panic is a bug of ours: a lock may guard
/// half a change, a reactor or a worker is missing for good. A start recovers from what is on disk; nothing recovers
/// from that.
pub fn end_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

/// What a worker does.
pub type Job = Box<dyn FnOnce() + Send>;

/// A fixed pool of threads for what blocks: fsync, roll, unlink, cold reads, recovery. Dropping it lets the threads
/// finish what is queued and end.
#[derive(Clone)]
pub struct Workers {
    queue: Queue,
    /// The places in the queue for jobs that [`Workers::run`] brings.
    places: Arc<Semaphore>,
    work: Arc<Mutex<Work>>,
}

/// The way to the workers.
#[derive(Clone)]
enum Queue {
    Threads(std::sync::mpsc::Sender<Job>),
    /// A simulation runs the jobs, when it likes.
    #[cfg(feature = "simulated")]
    Simulated(tokio::sync::mpsc::UnboundedSender<Job>),
}

/// What there is to do, and how it gets on.
struct Work {
    /// Jobs that are queued or run.
    unfinished: usize,
    /// When one was finished, or there was one again.
    progress: Instant,
}

/// How many jobs may wait for a worker; the task that brings one more waits, and its thread serves others meanwhile.
const QUEUE_BOUND: usize = 4096;

impl Workers {
    /// Starts `threads` threads named `disk-0`, `disk-1`…
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(threads: usize) -> std::io::Result<Workers> {
        let (queue, jobs) = std::sync::mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let work = Arc::new(Mutex::new(Work { unfinished: 0, progress: now() }));
        for n in 0..threads {
            let (jobs, work) = (jobs.clone(), work.clone());
            std::thread::Builder::new().name(format!("disk-{n}")).spawn(move || {
                loop {
                    // The guard is dropped before the job runs: the lock is held while waiting for one, never during
                    // one.
                    let next = jobs.lock().recv();
                    match next {
                        Ok(job) => job(),
                        Err(_) => return,
                    }
                    let mut work = work.lock();
                    work.unfinished -= 1;
                    work.progress = now();
                }
            })?;
        }
        Ok(Workers { queue: Queue::Threads(queue), places: Arc::new(Semaphore::new(QUEUE_BOUND)), work })
    }

    /// Workers that are no threads: the holder of the receiver runs the jobs.
    #[cfg(feature = "simulated")]
    pub fn simulated() -> (Workers, tokio::sync::mpsc::UnboundedReceiver<Job>) {
        let (queue, jobs) = tokio::sync::mpsc::unbounded_channel();
        let work = Arc::new(Mutex::new(Work { unfinished: 0, progress: now() }));
        // A simulation runs a job when it likes, and never keeps one waiting for a place.
        let places = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        (Workers { queue: Queue::Simulated(queue), places, work }, jobs)
    }

    /// Has a worker run `job`, and never waits: for jobs of which there can't be many at once.
    pub fn start_job(&self, job: impl FnOnce() + Send + 'static) {
        #[cfg(feature = "simulated")]
        if let Queue::Simulated(queue) = &self.queue {
            // Nobody is there to run it when the process is being killed.
            let _ = queue.send(Box::new(job));
            return;
        }
        {
            let mut work = self.work.lock();
            if work.unfinished == 0 {
                work.progress = now();
            }
            work.unfinished += 1;
        }
        match &self.queue {
            Queue::Threads(queue) => {
                let sent = queue.send(Box::new(job));
                assert!(sent.is_ok(), "workers live as long as their handles");
            }
            #[cfg(feature = "simulated")]
            Queue::Simulated(_) => {}
        }
    }

    /// How long no job was finished although there are some.
    pub fn stalled_for(&self, now: Instant) -> Duration {
        self.progress().stalled_for(now)
    }

    /// The workers' progress, for a room that must not keep them alive.
    pub fn progress(&self) -> Progress {
        Progress(self.work.clone())
    }

    /// Runs `job` on a worker; the answer comes through the future. A job that finds the queue full waits in the future
    /// for a place. From the time that it is in the queue it runs, even when the future is dropped.
    pub fn run<T, F>(&self, job: F) -> impl Future<Output = T> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        let job = move || {
            let _ = done.send(job());
        };
        let waiting = match self.places.clone().try_acquire_owned() {
            Ok(place) => {
                self.start_in(place, job);
                None
            }
            Err(_) => Some((self.clone(), job)),
        };
        async move {
            if let Some((workers, job)) = waiting {
                let place = workers.places.clone().acquire_owned().await.expect("nobody closes the queue");
                workers.start_in(place, job);
            }
            answer.await.expect("a worker answers every job")
        }
    }

    /// Has a worker run `job`, which has its place in the queue until then.
    fn start_in(&self, place: OwnedSemaphorePermit, job: impl FnOnce() + Send + 'static) {
        self.start_job(move || {
            drop(place);
            job();
        });
    }
}

/// How the workers get on.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<Work>>);

impl Progress {
    /// How long no job was finished although there are some.
    pub fn stalled_for(&self, now: Instant) -> Duration {
        let work = self.0.lock();
        if work.unfinished == 0 { Duration::ZERO } else { now.saturating_duration_since(work.progress) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn workers_stall_while_a_job_hangs_and_never_without_one() {
        let workers = Workers::start(1).unwrap();
        let later = now() + Duration::from_secs(60);
        assert_eq!(workers.stalled_for(later), Duration::ZERO);
        let (finish, hang) = std::sync::mpsc::channel::<()>();
        let hanging = workers.run(move || hang.recv().is_ok());
        assert!(workers.stalled_for(later) > Duration::from_secs(50));
        finish.send(()).unwrap();
        assert!(hanging.await);
        // A job is answered a moment before it counts as finished.
        while workers.stalled_for(later) > Duration::ZERO {
            tokio::task::yield_now().await;
        }
    }
    #[tokio::test]
    async fn who_brings_a_job_to_a_full_queue_waits_without_its_thread() {
        const LIMIT: Duration = Duration::from_secs(60);
        let workers = Workers::start(1).unwrap();
        let (finish, hang) = std::sync::mpsc::channel::<()>();
        let hanging = workers.run(move || hang.recv().is_ok());
        let (queued, is_queued) = std::sync::mpsc::channel();
        let caller = workers.clone();
        std::thread::spawn(move || {
            let jobs: Vec<_> = (0..2 * QUEUE_BOUND).map(|number| caller.run(move || number)).collect();
            let _ = queued.send(jobs);
        });
        let jobs = is_queued.recv_timeout(LIMIT).expect("no call blocks its thread");
        finish.send(()).unwrap();
        assert!(hanging.await);
        let answers = tokio::time::timeout(LIMIT, futures::future::join_all(jobs)).await.unwrap();
        assert!(answers.into_iter().eq(0..2 * QUEUE_BOUND), "each job is run once");
    }
}
