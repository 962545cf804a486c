//! Ids for idempotent producers: never given twice, taken from the cluster in blocks.

use tokio::sync::{Mutex, oneshot};

use crate::ask::{Ask, AskSender, PRODUCER_ID_BLOCK, Refused};

/// The block that is being used up.
pub struct ProducerIds {
    ask: AskSender,
    left: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    /// An empty block: the first producer waits for one.
    pub fn new(ask: AskSender) -> ProducerIds {
        ProducerIds { ask, left: Mutex::new(0..0) }
    }

    /// The next id; waits for a block when this one is used up.
    ///
    /// # Errors
    /// When the cluster can't give a block now: the producer asks again.
    pub async fn next(&self) -> Result<i64, Refused> {
        let mut left = self.left.lock().await;
        if let Some(id) = left.next() {
            return Ok(id);
        }
        let (answer, answered) = oneshot::channel();
        self.ask.send(Ask::ProducerIds { answer }).await.map_err(|_| Refused::stopping())?;
        let first = answered.await.map_err(|_| Refused::stopping())??;
        *left = first + 1..first + PRODUCER_ID_BLOCK;
        Ok(first)
    }
}
