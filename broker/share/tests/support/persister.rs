//! A share coordinator as simple as it can be: what it was sent of each record, and the start.

use std::collections::BTreeMap;

use ottla_share::{DeliveryState, Offset, StateBatch, StateWrite, Stored};

#[derive(Clone, Default, Debug)]
pub struct Persister {
    pub start: Offset,
    pub records: BTreeMap<Offset, (DeliveryState, i16)>,
}

impl Persister {
    pub fn store(&mut self, write: &StateWrite) {
        self.start = self.start.max(write.start);
        for batch in &write.batches {
            for offset in batch.first..=batch.last {
                self.records.insert(offset, (batch.state, batch.delivery_count));
            }
        }
        self.records = self.records.split_off(&self.start);
    }

    pub fn read(&self) -> Stored {
        let mut batches: Vec<StateBatch> = Vec::new();
        for (&offset, &(state, delivery_count)) in &self.records {
            match batches.last_mut() {
                Some(last)
                    if last.last + 1 == offset && (last.state, last.delivery_count) == (state, delivery_count) =>
                {
                    last.last = offset;
                }
                _ => batches.push(StateBatch { first: offset, last: offset, state, delivery_count }),
            }
        }
        Stored { state_epoch: 0, start: self.start, batches }
    }
}
