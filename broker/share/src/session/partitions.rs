//! The partitions of one session, in order: what had records goes to the back, so that every partition gets its turn.

use std::collections::BTreeMap;

use ottla_wire::TopicIdPartition;

#[derive(Clone, Copy, Debug)]
struct CachedSharePartition {
    place: u64,
    /// The next response names it even if there is nothing to say: the client has just asked for it, or heard of an
    /// error, which is over.
    is_owed: bool,
}

/// See the module.
#[derive(Clone, Default, Debug)]
pub(super) struct Partitions {
    known: BTreeMap<TopicIdPartition, CachedSharePartition>,
    places: BTreeMap<u64, TopicIdPartition>,
    next_place: u64,
}

impl Partitions {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn in_order(&self) -> Vec<TopicIdPartition> {
        self.places.values().copied().collect()
    }

    /// Adds it to the back, if it is not there yet.
    pub(super) fn add(&mut self, partition: TopicIdPartition, is_owed: bool) {
        if !self.known.contains_key(&partition) {
            self.next_place += 1;
            self.known.insert(partition, CachedSharePartition { place: self.next_place, is_owed });
            self.places.insert(self.next_place, partition);
        }
    }

    pub(super) fn forget(&mut self, partition: TopicIdPartition) {
        if let Some(known) = self.known.remove(&partition) {
            self.places.remove(&known.place);
        }
    }

    /// Whether a response names the partition, of which the fetch had records, or an error.
    pub(super) fn answer(&mut self, partition: TopicIdPartition, has_records: bool, has_error: bool) -> bool {
        let Some(known) = self.known.get_mut(&partition) else { return has_records || has_error };
        let named = has_records || has_error || known.is_owed;
        known.is_owed = has_error;
        if has_records {
            self.next_place += 1;
            self.places.remove(&known.place);
            self.places.insert(self.next_place, partition);
            known.place = self.next_place;
        }
        named
    }
}
