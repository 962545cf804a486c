//! Ids for idempotent producers: never given twice, taken from the cluster in blocks.

use std::ops::Range;

use futures::FutureExt;
use tokio::sync::{Mutex, oneshot};

use crate::ask::{Ask, AskRefusal, AskSender, PRODUCER_ID_BLOCK};

/// The block that is being used up, and the one after it.
pub struct ProducerIds {
    ask: AskSender,
    blocks: Mutex<Blocks>,
}

struct Blocks {
    left: Range<i64>,
    /// The first id of the next block, once the cluster has given it.
    next: Option<oneshot::Receiver<Result<i64, AskRefusal>>>,
}

impl ProducerIds {
    /// No block: the first producer waits for one.
    pub fn new(ask: AskSender) -> ProducerIds {
        ProducerIds { ask, blocks: Mutex::new(Blocks { left: 0..0, next: None }) }
    }

    /// The next id; waits for a block where there is none.
    ///
    /// With the first id of a block the next block is asked for, so a whole one is left when the API server goes away.
    /// Kafka's `RPCProducerIdManager` asks when a tenth of the block is left.
    ///
    /// # Errors
    /// When the cluster can't give a block now: the producer asks again.
    pub async fn next(&self) -> Result<i64, AskRefusal> {
        let mut blocks = self.blocks.lock().await;
        if blocks.left.is_empty() {
            blocks.left = self.block(&mut blocks.next).await?;
        }
        if blocks.next.is_none() {
            let (answer, next) = oneshot::channel();
            // With no room in the queue the next producer asks.
            blocks.next = self.ask.try_send(Ask::ProducerIds { answer }).ok().map(|()| next);
        }
        blocks.left.next().ok_or_else(AskRefusal::stopping)
    }

    /// The next id, if there is one without waiting; else a block is asked for.
    pub fn at_hand(&self) -> Option<i64> {
        let next = || self.next().now_or_never();
        // After a refusal a block is asked for again.
        next()?.ok().or_else(|| next()?.ok())
    }

    /// Waits for a block. If the caller goes away meanwhile, the next one waits for the same.
    async fn block(
        &self,
        next: &mut Option<oneshot::Receiver<Result<i64, AskRefusal>>>,
    ) -> Result<Range<i64>, AskRefusal> {
        if next.is_none() {
            let (answer, answered) = oneshot::channel();
            self.ask.send(Ask::ProducerIds { answer }).await.map_err(|_| AskRefusal::stopping())?;
            *next = Some(answered);
        }
        let answered = next.as_mut().ok_or_else(AskRefusal::stopping)?;
        let first = answered.await.unwrap_or_else(|_| Err(AskRefusal::stopping()));
        *next = None;
        first.map(|first| first..first + PRODUCER_ID_BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::ErrorCode;
    use tokio::sync::mpsc;

    use super::*;
    use crate::ask::Answer;

    fn asked(asks: &mut mpsc::Receiver<Ask>) -> Option<Answer<i64>> {
        match asks.try_recv() {
            Ok(Ask::ProducerIds { answer }) => Some(answer),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }

    #[tokio::test]
    async fn a_whole_block_is_left_when_the_api_server_goes_away() {
        let (ask, mut asks) = mpsc::channel(8);
        let ids = ProducerIds::new(ask);
        let first = tokio::spawn(async move { (ids.next().await, ids) });
        let Some(Ask::ProducerIds { answer }) = asks.recv().await else { panic!("it asks") };
        answer.send(Ok(5_000)).unwrap();
        let (first, ids) = first.await.unwrap();
        assert_eq!(first, Ok(5_000));
        asked(&mut asks).expect("it asks for the next block at once").send(Ok(9_000)).unwrap();

        // The API server answers nothing from here on.
        for id in (5_001..6_000).chain(9_000..10_000) {
            assert_eq!(ids.next().await, Ok(id));
        }
        let unanswered = asked(&mut asks).expect("it asks for a third block");
        assert!(asked(&mut asks).is_none(), "and once only");

        // A client that waits goes away; the one after it gets the block.
        tokio::select! {
            biased;
            id = ids.next() => panic!("{id:?}"),
            () = std::future::ready(()) => {}
        }
        unanswered.send(Ok(20_000)).unwrap();
        assert_eq!(ids.next().await, Ok(20_000));
    }

    #[tokio::test]
    async fn an_id_at_hand_is_waited_for_by_nobody() {
        let (ask, mut asks) = mpsc::channel(8);
        let ids = ProducerIds::new(ask);
        assert_eq!(ids.at_hand(), None);
        let refused = asked(&mut asks).expect("it asks for a block");
        assert_eq!(ids.at_hand(), None, "that has not come");
        assert!(asked(&mut asks).is_none(), "it asks once");
        refused.send(Err(AskRefusal::new(ErrorCode::UNKNOWN_SERVER_ERROR, "not now"))).unwrap();
        assert_eq!(ids.at_hand(), None);
        asked(&mut asks).expect("it asks again").send(Ok(5_000)).unwrap();
        assert_eq!([ids.at_hand(), ids.at_hand()], [Some(5_000), Some(5_001)]);
        asked(&mut asks).expect("it asks for the next block at once").send(Ok(9_000)).unwrap();
        assert_eq!(ids.next().await, Ok(5_002));
    }

    #[tokio::test]
    async fn a_refusal_is_for_those_who_wait_and_the_next_one_asks_again() {
        let (ask, mut asks) = mpsc::channel(8);
        let ids = ProducerIds::new(ask);
        for answer in [Err(AskRefusal::new(ErrorCode::UNKNOWN_SERVER_ERROR, "exhausted")), Ok(7)] {
            let (next, ()) = tokio::join!(ids.next(), async {
                let Some(Ask::ProducerIds { answer: sender }) = asks.recv().await else { panic!("it asks") };
                sender.send(answer.clone()).unwrap();
            });
            assert_eq!(next, answer);
        }
    }
}
