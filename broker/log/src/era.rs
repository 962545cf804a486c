//! Whether the log still has what a reader found: readers work without the partition's lock, and send later still.
//!
//! A log is in one era from one cut of its tail to the next. A reader keeps the era in which it found its batches, and
//! asks it before it sends them. The eras hold on to each other in one direction, old to new, so those that nobody asks
//! go away.

use std::sync::{Arc, OnceLock};

/// The time between two cuts of a log.
#[derive(Debug, Default)]
pub struct Era {
    /// Where the log was cut, and the era after that.
    end: OnceLock<(i64, Arc<Era>)>,
}

impl Era {
    /// Whether the log has been cut since this era began, anywhere.
    pub fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// Whether the log still has every batch of this era that ended at or before `offset`.
    pub fn keeps(&self, offset: i64) -> bool {
        let mut era = self;
        while let Some((cut, next)) = era.end.get() {
            if *cut < offset {
                return false;
            }
            era = next;
        }
        true
    }

    /// The log is about to be cut at `offset`. Called before its files change.
    pub(crate) fn cut(era: &mut Arc<Era>, offset: i64) {
        let next = Arc::new(Era::default());
        let ended = std::mem::replace(era, next.clone());
        ended.end.set((offset, next)).expect("only the log ends its era, and once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_keeps_what_no_later_cut_has_taken() {
        let mut now = Arc::new(Era::default());
        let first = now.clone();
        assert!(first.keeps(i64::MAX) && !first.has_ended());
        Era::cut(&mut now, 20);
        let second = now.clone();
        Era::cut(&mut now, 30);
        assert!(first.has_ended() && second.has_ended() && !now.has_ended());
        for (offset, by_first, by_second) in
            [(20, true, true), (21, false, true), (30, false, true), (31, false, false)]
        {
            assert_eq!((first.keeps(offset), second.keeps(offset)), (by_first, by_second), "{offset}");
        }
        Era::cut(&mut now, 10);
        assert!(first.keeps(10) && !first.keeps(11) && !second.keeps(11));
    }
}
