//! What threads have asked of the disk and wait for: a disk that hangs returns nothing, not even an error.
//!
//! Writes are those that only fill the page cache or change names: a disk that is well takes milliseconds for one.
//! Syncs are flushes and the syncs of small files, which bring little to the device. Not here are removals and cuts of
//! large files, nor the syncs of compaction and recovery: a slow disk takes long for one of those.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What is asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskOperationKind {
    Write,
    Sync,
}

#[derive(Clone)]
struct DiskOperation {
    kind: DiskOperationKind,
    path: Arc<Path>,
    since: Instant,
}

/// What one thread waits for: one thing at a time.
type CurrentOperation = Mutex<Option<DiskOperation>>;

static THREADS: Mutex<Vec<Weak<CurrentOperation>>> = Mutex::new(Vec::new());

thread_local! {
    static WAITING: OnceCell<Arc<CurrentOperation>> = const { OnceCell::new() };
}

/// Until it is dropped, this thread waits for the disk.
#[must_use = "the thread does not wait any more once this is dropped"]
pub(crate) struct UnderWay {
    thread: Arc<CurrentOperation>,
    /// What this is a part of.
    outer: Option<DiskOperation>,
}

/// This thread asks the disk for something, which may be a part of what it waits for already.
pub(crate) fn begin(kind: DiskOperationKind, path: &Arc<Path>) -> UnderWay {
    let thread = WAITING.with(|waiting| waiting.get_or_init(register).clone());
    let asked = DiskOperation { kind, path: path.clone(), since: Instant::now() };
    let outer = thread.lock().replace(asked);
    UnderWay { thread, outer }
}

fn register() -> Arc<CurrentOperation> {
    let thread = Arc::<CurrentOperation>::default();
    let mut threads = THREADS.lock();
    threads.retain(|thread| thread.strong_count() > 0);
    threads.push(Arc::downgrade(&thread));
    thread
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.thread.lock() = self.outer.take();
    }
}

/// For how long threads have waited for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Longest {
    /// For a write, or a change of names.
    pub write: Duration,
    /// For a flush, or a small file that is synced.
    pub sync: Duration,
}

impl Longest {
    /// The longer of both.
    pub fn of_any(self) -> Duration {
        self.write.max(self.sync)
    }
}

/// The longest waits for what is in `dir`, now; zero if no thread waits.
pub fn longest(dir: &Path) -> Longest {
    let mut longest = Longest::default();
    let threads: Vec<_> = THREADS.lock().iter().filter_map(Weak::upgrade).collect();
    for thread in threads {
        let Some(asked) = thread.lock().clone().filter(|asked| asked.path.starts_with(dir)) else { continue };
        let wait = match asked.kind {
            DiskOperationKind::Write => &mut longest.write,
            DiskOperationKind::Sync => &mut longest.sync,
        };
        *wait = asked.since.elapsed().max(*wait);
    }
    longest
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_wait_is_of_its_directory_and_its_kind_and_ends() {
        let path = |path: &str| Arc::from(Path::new(path));
        let (mine, other) = (Path::new("/data/0"), Path::new("/data/1"));
        let waits = |dir| {
            let Longest { write, sync } = longest(dir);
            (!write.is_zero(), !sync.is_zero())
        };
        let flush = begin(DiskOperationKind::Sync, &path("/data/0/t-0"));
        assert_eq!((waits(mine), waits(other)), ((false, true), (false, false)));
        let part = begin(DiskOperationKind::Write, &path("/data/0/t-0/0.index"));
        assert_eq!(waits(mine), (true, false), "a thread waits for one thing at a time");
        drop(part);
        assert_eq!(waits(mine), (false, true));

        let (end, ended) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _write = begin(DiskOperationKind::Write, &path("/data/0/u-0/0.log"));
            begun.send(()).unwrap();
            let _ = ended.recv();
        });
        has_begun.recv().unwrap();
        assert_eq!((waits(mine), waits(other)), ((true, true), (false, false)), "of two threads");
        drop(end);
        thread.join().unwrap();
        drop(flush);
        assert_eq!(waits(mine), (false, false));
    }
}
