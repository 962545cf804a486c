//! What the persister keeps of a share partition: `__share_group_state`, over Read- and WriteShareGroupState.

use crate::error::LoadError;
use crate::ids::Offset;

/// What has become of a record, as far as it is persisted. That a record is acquired is not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DeliveryState {
    /// 0: to be delivered, perhaps again.
    Available,
    /// 2: processed.
    Acknowledged,
    /// 4: not to be delivered any more.
    Archived,
}

impl DeliveryState {
    /// Kafka's number for it (`RecordState`).
    pub fn id(self) -> i8 {
        match self {
            DeliveryState::Available => 0,
            DeliveryState::Acknowledged => 2,
            DeliveryState::Archived => 4,
        }
    }

    /// Whether a record in this state is done with: the start of its share partition may pass it.
    pub(crate) fn is_final(self) -> bool {
        match self {
            DeliveryState::Available => false,
            DeliveryState::Acknowledged | DeliveryState::Archived => true,
        }
    }
}

impl TryFrom<i8> for DeliveryState {
    type Error = LoadError;

    /// Kafka writes neither 1 (acquired) nor 3 (archiving: on its way to a dead letter queue, KIP-1191). What they mean
    /// to a leader that holds no lock and has no such queue is available and archived.
    fn try_from(id: i8) -> Result<Self, LoadError> {
        match id {
            0 | 1 => Ok(DeliveryState::Available),
            2 => Ok(DeliveryState::Acknowledged),
            3 | 4 => Ok(DeliveryState::Archived),
            _ => Err(LoadError::UnknownState(id)),
        }
    }
}

/// Records next to each other that have become the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateBatch {
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
    /// What has become of them.
    pub state: DeliveryState,
    /// How often each was delivered.
    pub delivery_count: i16,
}

/// Adds a batch; joins it to the last one if that one ends before it and says the same.
pub(crate) fn push(batches: &mut Vec<StateBatch>, batch: StateBatch) {
    match batches.last_mut() {
        Some(last)
            if last.last + 1 == batch.first
                && (last.state, last.delivery_count) == (batch.state, batch.delivery_count) =>
        {
            last.last = batch.last;
        }
        _ => batches.push(batch),
    }
}

/// What the persister has read. A `start` of −1 means that no member ever fetched: the caller replaces it by the offset
/// that `share.auto.offset.reset` stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Epoch of the state: it changes when an administrator alters the offsets.
    pub state_epoch: i32,
    /// The start of the share partition.
    pub start: Offset,
    /// In order, without overlaps, from the start on. Between them may be holes: records of which nothing is known.
    pub batches: Vec<StateBatch>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_kafkas_numbers() {
        for state in [DeliveryState::Available, DeliveryState::Acknowledged, DeliveryState::Archived] {
            assert_eq!(DeliveryState::try_from(state.id()), Ok(state));
        }
        assert_eq!([0, 1, 2, 3, 4].map(|id| DeliveryState::try_from(id).unwrap().id()), [0, 0, 2, 4, 4]);
        assert_eq!(DeliveryState::try_from(5), Err(LoadError::UnknownState(5)));
    }
}
