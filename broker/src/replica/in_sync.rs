//! Who is in sync, in the background: followers that lag behind leave the ISR, those that have caught up join it.
//!
//! What is due is decided by the partition; here it is asked for, until it is known to be written or superseded.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ottla_wire::TopicIdPartition;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::Replicas;
use super::partition::Partition;
use super::partition::in_sync::IsrChange;
use crate::ask::{Ask, Swap};
use crate::env;

/// Partitions of which followers have caught up, looked at together.
const AT_ONCE: usize = 256;
/// Pause before a change is asked for again that was refused.
const RETRY: Duration = Duration::from_secs(1);

impl Replicas {
    /// Keeps the ISRs of what is led here until the broker stops. `max_lag` is asked each time; `joining` names
    /// partitions whose followers have just caught up.
    pub async fn keep_in_sync(
        self: Arc<Self>,
        max_lag: impl Fn() -> Duration,
        mut joining: mpsc::Receiver<TopicIdPartition>,
    ) {
        let mut asked = FuturesUnordered::new();
        let mut next_look = env::now();
        let mut keys = Vec::new();
        loop {
            let partitions: Vec<Arc<Partition>> = tokio::select! {
                biased;
                Some(partition) = asked.next() => vec![partition],
                () = env::sleep_until(next_look) => {
                    // Kafka's pace: a laggard is out after one and a half times the lag that is allowed.
                    next_look = env::now() + max_lag() / 2;
                    self.all()
                }
                1.. = joining.recv_many(&mut keys, AT_ONCE) => {
                    let running = self.running.read();
                    keys.drain(..).filter_map(|key| running.get(&key).cloned()).collect()
                }
            };
            let propose = |partition: Arc<Partition>| Some((partition.propose_isr()?, partition));
            let changes = self.workers.run(move || partitions.into_iter().filter_map(propose).collect::<Vec<_>>());
            for (change, partition) in changes.await {
                let span = partition.span();
                asked.push(self.clone().ask_for(partition, change).instrument(span));
            }
        }
    }

    /// Asks for a change until it is written or something else is. Which of the two, the image will show.
    async fn ask_for(self: Arc<Self>, partition: Arc<Partition>, change: IsrChange) -> Arc<Partition> {
        let IsrChange { next, expands } = change;
        while partition.is_undecided(&next) {
            let (answer, answered) = oneshot::channel();
            let ask = Ask::ChangeIsr { topic_id: partition.topic_id, next: Box::new(next.clone()), answer };
            if self.ask.send(ask).await.is_err() {
                break;
            }
            match answered.await {
                Ok(Ok(Swap::Done)) => {
                    if expands { &self.metrics.replicas.isr_expands } else { &self.metrics.replicas.isr_shrinks }.inc();
                    break;
                }
                Ok(Ok(Swap::Moved)) => break,
                Ok(Err(refused)) => {
                    tracing::warn!(%refused, "a change of the in-sync replicas is refused: asking again");
                }
                // The broker stops, or a later change took this one's place.
                Err(_) => break,
            }
            env::sleep_until(env::now() + RETRY).await;
        }
        partition
    }
}
