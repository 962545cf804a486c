//! A share partition as simple as it can be: each record by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_share::{DeliveryState, Offset, StateWrite};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Available,
    Held {
        member: usize,
        until: Duration,
        /// The number of a write, and what the record becomes.
        pending: Option<(u64, DeliveryState)>,
    },
    Final(DeliveryState),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    pub state: State,
    pub count: i16,
}

impl Record {
    pub fn is_final(&self) -> bool {
        matches!(self.state, State::Final(_))
    }

    fn is_complete(&self) -> bool {
        match self.state {
            State::Final(_)
            | State::Held { pending: Some((_, DeliveryState::Acknowledged | DeliveryState::Archived)), .. } => true,
            State::Held { .. } | State::Available => false,
        }
    }
}

#[derive(Clone, Default, Debug)]
pub struct Naive {
    pub records: BTreeMap<Offset, Record>,
}

pub fn settled(state: DeliveryState) -> State {
    match state {
        DeliveryState::Available => State::Available,
        DeliveryState::Acknowledged | DeliveryState::Archived => State::Final(state),
    }
}

/// What becomes of a record that was not processed.
pub fn released(record: &Record, limit: i16) -> DeliveryState {
    if record.count >= limit { DeliveryState::Archived } else { DeliveryState::Available }
}

impl Naive {
    /// What a write that is to have these records has to say of each.
    pub fn check_write(&self, write: &StateWrite, records: &BTreeMap<Offset, DeliveryState>) {
        let mut said = BTreeMap::new();
        for batch in &write.batches {
            for offset in batch.first..=batch.last {
                assert_eq!(self.records[&offset].count, batch.delivery_count, "the count of {offset}");
                assert_eq!(said.insert(offset, batch.state), None, "{offset} is in the write twice");
            }
        }
        assert_eq!(said, *records, "what is persisted");
        let complete = self.records.range(write.start..).filter(|(_, record)| record.is_complete()).count();
        assert_eq!(write.delivery_complete_count, complete as i32, "delivery complete in {write:?}");
    }

    /// These records wait for a write.
    pub fn pend(&mut self, write: u64, records: &BTreeMap<Offset, DeliveryState>) {
        for (offset, state) in records {
            if let Some(Record { state: State::Held { pending, .. }, .. }) = self.records.get_mut(offset) {
                *pending = Some((write, *state));
            }
        }
    }

    pub fn settle(&mut self, write: u64, stored: bool) {
        for record in self.records.values_mut() {
            let State::Held { pending, .. } = &mut record.state else { continue };
            if let Some((_, state)) = pending.filter(|(number, _)| *number == write) {
                if stored {
                    record.state = settled(state);
                } else {
                    *pending = None;
                }
            }
        }
    }

    /// The records whose lock, without a write under way, is of this member or over by then.
    pub fn losing(&self, member: Option<usize>, now: Option<Duration>, limit: i16) -> BTreeMap<Offset, DeliveryState> {
        let loses = |record: &Record| match record.state {
            State::Held { member: holder, until, pending: None } => {
                member == Some(holder) || now.is_some_and(|now| until <= now)
            }
            State::Held { .. } | State::Available | State::Final(_) => false,
        };
        let losing = self.records.iter().filter(|(_, record)| loses(record));
        losing.map(|(offset, record)| (*offset, released(record, limit))).collect()
    }
}
