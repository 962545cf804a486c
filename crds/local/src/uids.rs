//! Uids, which say that an object is this one and no other of its name.

use std::cell::RefCell;

use uuid::Uuid;

/// Draws the next uid.
pub type Draw = Box<dyn FnMut() -> Uuid>;

thread_local! {
    static DRAW: RefCell<Option<Draw>> = const { RefCell::new(None) };
}

/// Who draws uids on this thread from now on, for tests that are to be the same each time; none: chance.
pub fn draw_by(draw: Option<Draw>) {
    DRAW.set(draw);
}

pub(crate) fn draw() -> Uuid {
    DRAW.with_borrow_mut(|draw| draw.as_mut().map_or_else(Uuid::new_v4, |draw| draw()))
}
