//! Batches of records whose delivery is in the same state, and how they are combined: Kafka's
//! `PersisterStateBatchCombiner`.

use std::collections::BTreeSet;

/// Records of a partition whose delivery is in the same state. They are ordered by their first offset, then by their
/// last, then by what wins where they overlap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StateBatch {
    /// The first offset.
    pub first_offset: i64,
    /// The last offset, not below the first.
    pub last_offset: i64,
    /// How often they were acquired.
    pub delivery_count: i16,
    /// 0 available, 2 acknowledged, 4 archived.
    pub delivery_state: i8,
}

/// Stands for a start offset that has not been chosen, or has not changed.
pub(super) const NO_OFFSET: i64 = -1;

impl StateBatch {
    /// Whether it has records.
    pub(super) fn is_valid(&self) -> bool {
        0 <= self.first_offset && self.first_offset <= self.last_offset
    }

    /// Where two batches overlap the greater one counts: records are acquired more and more often, and end in a state
    /// with a high number.
    fn priority(&self) -> (i16, i8) {
        (self.delivery_count, self.delivery_state)
    }

    /// The part from this offset on, if there is one.
    fn starting_at(self, offset: i64) -> Option<StateBatch> {
        (self.last_offset >= offset).then(|| StateBatch { first_offset: self.first_offset.max(offset), ..self })
    }

    fn overlaps(&self, next: &StateBatch) -> bool {
        next.first_offset <= self.last_offset
    }

    fn continues_in(&self, next: &StateBatch) -> bool {
        self.last_offset.checked_add(1) == Some(next.first_offset) && self.priority() == next.priority()
    }
}

/// What the old and the new batches say together, from the start offset on: sorted, without overlaps.
pub(super) fn combine(old: &[StateBatch], new: &[StateBatch], start_offset: i64) -> Vec<StateBatch> {
    let valid = old.iter().chain(new).filter(|batch| batch.is_valid());
    let mut waiting: BTreeSet<StateBatch> = valid.filter_map(|batch| batch.starting_at(start_offset)).collect();
    let mut combined = Vec::with_capacity(waiting.len());
    while let Some(first) = waiting.pop_first() {
        let second = waiting.first().copied().filter(|second| first.overlaps(second) || first.continues_in(second));
        match second {
            Some(second) => {
                waiting.remove(&second);
                merge(first, second, &mut waiting);
            }
            None => combined.push(first),
        }
    }
    combined
}

/// Puts back what the two are together; `first` is the lesser one.
fn merge(first: StateBatch, second: StateBatch, waiting: &mut BTreeSet<StateBatch>) {
    if first.priority() == second.priority() {
        waiting.insert(StateBatch { last_offset: first.last_offset.max(second.last_offset), ..first });
    } else if first.priority() > second.priority() {
        waiting.insert(first);
        waiting.extend(after(second, first.last_offset));
    } else {
        waiting.extend(before(first, second.first_offset));
        waiting.insert(second);
        waiting.extend(after(first, second.last_offset));
    }
}

/// The part below this offset.
fn before(batch: StateBatch, offset: i64) -> Option<StateBatch> {
    (batch.first_offset < offset).then(|| StateBatch { last_offset: offset - 1, ..batch })
}

/// The part above this offset.
fn after(batch: StateBatch, offset: i64) -> Option<StateBatch> {
    (batch.last_offset > offset).then(|| StateBatch { first_offset: offset + 1, ..batch })
}
