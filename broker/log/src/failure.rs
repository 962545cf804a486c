//! A data directory that has failed: known at once, and to all that use the directory.
//!
//! Linux reports an fsync that failed once; the next one succeeds without having written anything. So the failure is
//! noted where the sync is ([`crate::disk`]), no matter who asked for the sync and whether anybody still waits for the
//! answer. The thread that gets the error does what must be done first, there and then, before anything else is done
//! with the directory.
//!
//! A process has a directory to itself, so the directories in use stand in one table, by path.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

type Act = Box<dyn Fn() + Send + Sync>;

/// Whether a data directory has failed.
pub struct Failure {
    dir: PathBuf,
    is_noted: AtomicBool,
    /// In their order. The lock is held while they run: a second thread that notes the failure waits until they have.
    first_acts: Mutex<Vec<Act>>,
}

static IN_USE: Mutex<Vec<Weak<Failure>>> = Mutex::new(Vec::new());

/// The disk has failed under `path`: nobody knows what is on the device, and another try would not show it. Notes the
/// failure for the directory in use that contains `path`.
pub fn note(path: &Path) {
    let noted: Vec<_> = IN_USE.lock().iter().filter_map(Weak::upgrade).collect();
    noted.iter().filter(|failure| path.starts_with(&failure.dir)).for_each(|failure| failure.note());
}

impl Failure {
    /// Of a directory that is taken into use, and has not failed since.
    pub fn begin(dir: &Path) -> Arc<Failure> {
        let (is_noted, first_acts) = (AtomicBool::new(false), Mutex::default());
        let failure = Arc::new(Failure { dir: dir.to_owned(), is_noted, first_acts });
        let mut in_use = IN_USE.lock();
        in_use.retain(|failure| failure.strong_count() > 0);
        in_use.push(Arc::downgrade(&failure));
        failure
    }

    /// Of a directory that is in use, or is taken into use now.
    pub fn of(dir: &Path) -> Arc<Failure> {
        let last = IN_USE.lock().iter().rev().filter_map(Weak::upgrade).find(|failure| failure.dir == dir);
        last.unwrap_or_else(|| Failure::begin(dir))
    }

    /// Has `act` called when the directory fails, after those that were given before, by the thread that finds it so.
    /// It must not sync anything in the directory.
    pub fn first(&self, act: impl Fn() + Send + Sync + 'static) {
        self.first_acts.lock().push(Box::new(act));
    }

    /// The directory has failed.
    pub fn note(&self) {
        let first_acts = self.first_acts.lock();
        if !self.is_noted.swap(true, Ordering::SeqCst) {
            first_acts.iter().for_each(|act| act());
        }
    }

    /// Whether it has.
    pub fn is_noted(&self) -> bool {
        self.is_noted.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure").field("dir", &self.dir).field("is_noted", &self.is_noted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_below_a_directory_is_acted_on_once_in_order_and_concerns_no_other() {
        let (mine, other) = (Failure::begin(Path::new("/data/0")), Failure::begin(Path::new("/data/1")));
        let acted: Arc<Mutex<Vec<&str>>> = Arc::default();
        for act in ["disown", "report"] {
            let acted = acted.clone();
            mine.first(move || acted.lock().push(act));
        }
        note(Path::new("/data/0/t-0/00000000000000000000.log"));
        note(Path::new("/data/0"));
        assert_eq!(
            (mine.is_noted(), other.is_noted(), acted.lock().as_slice()),
            (true, false, &["disown", "report"][..])
        );
        assert!(Failure::of(Path::new("/data/0")).is_noted());
        let again = Failure::begin(Path::new("/data/0"));
        assert!(!again.is_noted() && !Failure::of(Path::new("/data/0")).is_noted(), "the next use has no failure");
    }
}
