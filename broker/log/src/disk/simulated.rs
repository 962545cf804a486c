//! Where a simulated disk hears of changes: one for each thread, for a simulation runs in one; or one for a directory,
//! where a test has threads.
//!
//! The changes are made to real files all the same. The simulation remembers what a machine would lose with its power,
//! takes it away when that happens, and refuses what a full or broken disk refuses.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Change;

/// Hears of each change before it is made, and may refuse it.
pub type StandIn = Box<dyn FnMut(Change<'_>) -> io::Result<()>>;

thread_local! {
    static STAND_IN: RefCell<Option<StandIn>> = const { RefCell::new(None) };
}

/// From now on this thread's disk is `disk`; none: the real one.
pub fn stand_in(disk: Option<StandIn>) {
    STAND_IN.set(disk);
}

/// Hears of the changes below a directory, of every thread, as long as it lives.
pub struct Below {
    dir: PathBuf,
    disk: Box<dyn Fn(Change<'_>) -> io::Result<()> + Send + Sync>,
}

static BELOW: Mutex<Vec<Weak<Below>>> = Mutex::new(Vec::new());

/// From now on the disk below `dir` is `disk`, until what is returned is dropped.
pub fn stand_in_below(dir: &Path, disk: impl Fn(Change<'_>) -> io::Result<()> + Send + Sync + 'static) -> Arc<Below> {
    let below = Arc::new(Below { dir: dir.to_owned(), disk: Box::new(disk) });
    let mut all = BELOW.lock();
    all.retain(|below| below.strong_count() > 0);
    all.push(Arc::downgrade(&below));
    below
}

pub(super) fn tell(change: Change<'_>) -> io::Result<()> {
    STAND_IN.with_borrow_mut(|disk| disk.as_mut().map_or(Ok(()), |disk| disk(change)))?;
    let below: Vec<_> = BELOW.lock().iter().filter_map(Weak::upgrade).collect();
    below.iter().filter(|below| change.path().starts_with(&below.dir)).try_for_each(|below| (below.disk)(change))
}
