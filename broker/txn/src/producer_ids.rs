//! Fresh producer ids, drawn from blocks that the host obtains from the cluster.

use std::collections::VecDeque;
use std::ops::Range;

use crate::error::TxnError;

/// Blocks of ids that no producer has. An id that was drawn is never given again, whatever becomes of the change that
/// it was drawn for.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct ProducerIds {
    blocks: VecDeque<Range<i64>>,
}

impl ProducerIds {
    pub(crate) fn add(&mut self, block: Range<i64>) {
        self.blocks.push_back(block);
    }

    pub(crate) fn left(&self) -> i64 {
        self.blocks.iter().map(|block| block.end.saturating_sub(block.start).max(0)).sum()
    }

    /// The next id. Without one: what Kafka answers when it waits for a block, so that the client comes back.
    pub(crate) fn draw(&mut self) -> Result<i64, TxnError> {
        while let Some(block) = self.blocks.front_mut() {
            if let Some(id) = block.next() {
                return Ok(id);
            }
            self.blocks.pop_front();
        }
        Err(TxnError::CoordinatorLoadInProgress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_drawn_once_each_block_after_block() {
        let mut ids = ProducerIds::default();
        assert_eq!((ids.left(), ids.draw()), (0, Err(TxnError::CoordinatorLoadInProgress)));
        ids.add(5..7);
        ids.add(7..7);
        ids.add(20..21);
        assert_eq!(ids.left(), 3);
        assert_eq!([ids.draw(), ids.draw(), ids.draw()], [Ok(5), Ok(6), Ok(20)]);
        assert_eq!((ids.left(), ids.draw()), (0, Err(TxnError::CoordinatorLoadInProgress)));
    }
}
