//! Answers that name leaders wait for an expected election: a client that gets the old leader once more asks again only
//! after its own back-off, which may be longer than all other delays of a broker's death.
//!
//! They never wait for long, because later requests of the connection are answered after them; and a leader that was
//! not replaced within [`PATIENCE`] may be alive, and unreachable only for this broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ResponseMessage;
use tokio::sync::watch;

use crate::env::{self, Instant};
use crate::handle::context::Context;
use crate::image::{BrokerId, ClusterImage, ImageReceiver};
use crate::replica::fetching::Doubts;
use crate::reply::Reply;

/// How long after a leader has become silent an election may come: longer than the operator needs to judge it dead.
const PATIENCE: Duration = Duration::from_millis(500);

/// Returns `answer` for the newest image, once no election is expected for the `leaders` that it names.
pub(super) fn reply<Q: 'static, R: ResponseMessage + 'static>(
    context: &Context,
    request: Q,
    leaders: fn(&ClusterImage, &Q) -> BTreeSet<BrokerId>,
    answer: fn(&Context, Q) -> R,
) -> Reply {
    let doubts = context.handler.replicas.doubts();
    if awaited(&doubts.borrow(), || leaders(&context.image, &request)).is_none() {
        return context.reply(&answer(context, request));
    }
    let mut context_later = context.clone();
    context.later(async move {
        let images = context_later.handler.images.clone();
        context_later.image = settled(images, doubts, |image| leaders(image, &request)).await;
        answer(&context_later, request)
    })
}

/// Until when an answer that names these leaders waits; `None`: it need not wait.
fn awaited(doubts: &Doubts, leaders: impl FnOnce() -> BTreeSet<BrokerId>) -> Option<Instant> {
    if doubts.is_empty() {
        return None;
    }
    let since = leaders().iter().filter_map(|leader| doubts.get(leader)).max()?;
    Some(*since + PATIENCE).filter(|until| *until > env::now())
}

/// The newest image, once no election is expected for the `leaders` that it shows.
async fn settled(
    mut images: ImageReceiver,
    mut doubts: watch::Receiver<Doubts>,
    leaders: impl Fn(&ClusterImage) -> BTreeSet<BrokerId>,
) -> Arc<ClusterImage> {
    loop {
        let image = images.borrow_and_update().clone();
        let Some(until) = awaited(&doubts.borrow_and_update(), || leaders(&image)) else { return image };
        // A sender that is gone: the broker stops.
        let stops = tokio::select! {
            biased;
            () = env::sleep_until(until) => false,
            shown = images.changed() => shown.is_err(),
            changed = doubts.changed() => changed.is_err(),
        };
        if stops {
            return image;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image in which this broker leads; its name is the cluster's id.
    fn led_by(leader: i32) -> Arc<ClusterImage> {
        Arc::new(ClusterImage { cluster_id: leader.to_string().into(), ..ClusterImage::default() })
    }

    fn leader_of(image: &ClusterImage) -> BrokerId {
        BrokerId(image.cluster_id.parse().unwrap())
    }

    struct Story {
        images: watch::Sender<Arc<ClusterImage>>,
        doubts: watch::Sender<Doubts>,
    }

    impl Story {
        /// Broker 0 leads and broke a connection just now.
        fn begin() -> Story {
            let doubts = Doubts::from([(BrokerId(0), env::now())]);
            Story { images: watch::Sender::new(led_by(0)), doubts: watch::Sender::new(doubts) }
        }

        /// Who an answer says that leads, and how long it waited, while `meanwhile` happens.
        async fn told(&self, meanwhile: impl Future<Output = ()>) -> (BrokerId, Duration) {
            let asked = env::now();
            let leaders = |image: &ClusterImage| BTreeSet::from([leader_of(image)]);
            let answer = async {
                let image = settled(self.images.subscribe(), self.doubts.subscribe(), leaders).await;
                (leader_of(&image), env::now() - asked)
            };
            tokio::join!(answer, meanwhile).0
        }
    }

    async fn after(pause: Duration) {
        env::sleep_until(env::now() + pause).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_for_the_next_leader_but_not_for_ever() {
        let soon = Duration::from_millis(30);
        let elected = Story::begin();
        let told = elected.told(async {
            after(soon).await;
            elected.images.send_replace(led_by(1));
        });
        assert_eq!(told.await, (BrokerId(1), soon));

        let heard_again = Story::begin();
        let told = heard_again.told(async {
            after(soon).await;
            heard_again.doubts.send_replace(Doubts::new());
        });
        assert_eq!(told.await, (BrokerId(0), soon));

        let out_of_reach = Story::begin();
        assert_eq!(out_of_reach.told(async {}).await, (BrokerId(0), PATIENCE));
        assert_eq!(out_of_reach.told(async {}).await, (BrokerId(0), Duration::ZERO), "that was tried before");

        let another_is_in_doubt = Story::begin();
        another_is_in_doubt.images.send_replace(led_by(2));
        assert_eq!(another_is_in_doubt.told(async {}).await, (BrokerId(2), Duration::ZERO));
    }
}
