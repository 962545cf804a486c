//! Where a simulated disk hears of changes. One for each thread: a simulation runs in one.
//!
//! The changes are made to real files all the same. The simulation remembers what a machine would lose with its power, takes it away
//! when that happens, and refuses what a full or broken disk refuses.

use std::cell::RefCell;
use std::io;

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

pub(super) fn tell(change: Change<'_>) -> io::Result<()> {
    STAND_IN.with_borrow_mut(|disk| disk.as_mut().map_or(Ok(()), |disk| disk(change)))
}
