//! Where a simulated disk hears of changes: one for each thread, for a simulation runs in one; or one for a directory,
//! where a test has threads.
//!
//! The changes are made to real files all the same. The simulation remembers what a machine would lose with its power,
//! takes it away when that happens, and refuses what a full or broken disk refuses.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::DiskChange;

/// Hears of each change before it is made, and may refuse it.
pub type StandIn = Box<dyn FnMut(DiskChange<'_>) -> io::Result<()>>;

thread_local! {
    static STAND_IN: RefCell<Option<StandIn>> = const { RefCell::new(None) };
}

/// From now on this thread's disk is `disk`; none: the real one.
pub fn stand_in(disk: Option<StandIn>) {
    STAND_IN.set(disk);
}

type Hears = dyn Fn(DiskChange<'_>) -> io::Result<()> + Send + Sync;

/// Somebody hears of the changes below a directory, of every thread, until this is dropped.
#[must_use = "nobody hears of a change any more once this is dropped"]
pub struct Below {
    disk: Arc<Hears>,
}

static BELOW: Mutex<Vec<(PathBuf, Arc<Hears>)>> = Mutex::new(Vec::new());

/// From now on the disk below `dir` is `disk`, until what is returned is dropped.
pub fn stand_in_below(dir: &Path, disk: impl Fn(DiskChange<'_>) -> io::Result<()> + Send + Sync + 'static) -> Below {
    let disk: Arc<Hears> = Arc::new(disk);
    BELOW.lock().push((dir.to_owned(), disk.clone()));
    Below { disk }
}

impl Drop for Below {
    fn drop(&mut self) {
        BELOW.lock().retain(|(_, disk)| !Arc::ptr_eq(disk, &self.disk));
    }
}

/// Counts, until it is dropped, how often small files are read as a whole and directories are listed below a directory.
/// These change nothing, so a stand-in does not hear of them; but a start pays for each.
#[must_use = "nobody counts any more once this is dropped"]
pub struct Looks {
    count: Arc<AtomicUsize>,
}

static LOOKS: Mutex<Vec<(PathBuf, Arc<AtomicUsize>)>> = Mutex::new(Vec::new());

impl Looks {
    /// Counts from now on.
    pub fn below(dir: &Path) -> Looks {
        let count = Arc::<AtomicUsize>::default();
        LOOKS.lock().push((dir.to_owned(), count.clone()));
        Looks { count }
    }

    /// How many there were since the last call.
    pub fn take(&self) -> usize {
        self.count.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        LOOKS.lock().retain(|(_, count)| !Arc::ptr_eq(count, &self.count));
    }
}

pub(super) fn look(path: &Path) {
    let looks = LOOKS.lock();
    let counts = looks.iter().filter(|(dir, _)| path.starts_with(dir));
    counts.for_each(|(_, count)| _ = count.fetch_add(1, Ordering::Relaxed));
}

pub(super) fn tell(change: DiskChange<'_>) -> io::Result<()> {
    STAND_IN.with_borrow_mut(|disk| disk.as_mut().map_or(Ok(()), |disk| disk(change)))?;
    let hears = |(dir, disk): &(PathBuf, Arc<Hears>)| change.path().starts_with(dir).then(|| disk.clone());
    let below: Vec<_> = BELOW.lock().iter().filter_map(hears).collect();
    below.iter().try_for_each(|disk| disk(change))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_stand_in_that_was_dropped_hears_nothing_while_a_thread_waits_in_another() {
        let (slow, broken) = (Path::new("/slow"), Path::new("/broken"));
        let (entered, wait_for_entry) = mpsc::sync_channel(0);
        let (leave, wait_to_leave) = mpsc::sync_channel(0);
        let wait_to_leave = Mutex::new(wait_to_leave);
        let slow_disk = stand_in_below(slow, move |_| {
            entered.send(()).unwrap();
            wait_to_leave.lock().recv().map_err(io::Error::other)
        });
        let broken_disk = stand_in_below(broken, |_| Err(io::ErrorKind::StorageFull.into()));
        let waiting = thread::spawn(|| tell(DiskChange::Create(slow)));
        wait_for_entry.recv().unwrap();
        tell(DiskChange::Create(broken)).unwrap_err();
        drop(broken_disk);
        let after = tell(DiskChange::Create(broken));
        leave.send(()).unwrap();
        waiting.join().unwrap().unwrap();
        drop(slow_disk);
        after.unwrap();
        tell(DiskChange::Create(slow)).unwrap();
    }
}
