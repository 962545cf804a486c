//! The share coordinators of one other broker: the requests that wait for them, and the connection, with one request in
//! flight. What comes meanwhile goes together: requests of one kind about one group are one on the wire.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use ottla_client::{ClientError, Connection, Versions};
use ottla_group::GroupId;
use ottla_group::share_state::{Request, SharePartition, StateError, StateReply};
use ottla_wire::{
    DeleteShareGroupStateRequest, InitializeShareGroupStateRequest, ReadShareGroupStateRequest,
    ReadShareGroupStateSummaryRequest, TopicIdPartition, WriteShareGroupStateRequest,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::dialer::{CallLimits, Dialer};
use crate::image::{BrokerId, ImageReceiver};
use crate::share_state::wire::{Of, StateMessage};

/// The most requests that wait for one broker. One that has so many has stopped answering.
const MOST_WAITING: usize = 10_000;
/// For its connections. An answer may take longer than a coordinator waits for its records to be committed.
const LIMITS: CallLimits =
    CallLimits { connect: Duration::from_secs(5), request: Duration::from_secs(30), max_response: 64 << 20 };

/// The share coordinators of one other broker.
pub(super) struct Node {
    dialer: Dialer,
    id: BrokerId,
    waiting: Mutex<Vec<UnsentRequest>>,
    /// Somebody waits.
    wake: Notify,
}

/// A request that was not sent yet. One that nobody waits for any more is not sent.
struct UnsentRequest {
    of: SharePartition,
    request: Request,
    answer: oneshot::Sender<StateReply>,
}

impl UnsentRequest {
    fn refuse(self) {
        let refused = self.request.refused(StateError::CoordinatorNotAvailable);
        // Nobody may be left to hear it.
        let _ = self.answer.send(refused);
    }
}

/// Requests that go together, by topic and partition.
type Round = BTreeMap<TopicIdPartition, UnsentRequest>;

struct Open {
    connection: Connection,
    versions: Versions,
}

impl Node {
    pub(super) fn new(dialer: Dialer, id: BrokerId) -> Node {
        Node { dialer, id, waiting: Mutex::default(), wake: Notify::new() }
    }

    /// Takes a request for the next round; `None` if too many wait.
    pub(super) fn put(&self, of: SharePartition, request: Request) -> Option<oneshot::Receiver<StateReply>> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MOST_WAITING {
            waiting.retain(|waiting| !waiting.answer.is_closed());
        }
        if waiting.len() >= MOST_WAITING {
            return None;
        }
        waiting.push(UnsentRequest { of, request, answer });
        drop(waiting);
        self.wake.notify_one();
        Some(answered)
    }

    /// What is to be sent next: what goes together, and of one partition no two in one request.
    fn take(&self) -> Vec<Vec<UnsentRequest>> {
        let taken = std::mem::take(&mut *self.waiting.lock());
        let mut together: HashMap<(GroupId, Discriminant<Request>), Vec<Round>> = HashMap::new();
        for waiting in taken.into_iter().filter(|waiting| !waiting.answer.is_closed()) {
            let kind = (waiting.of.group.clone(), discriminant(&waiting.request));
            let place = TopicIdPartition::new(waiting.of.topic_id, waiting.of.partition);
            let rounds = together.entry(kind).or_default();
            match rounds.iter_mut().find(|round| !round.contains_key(&place)) {
                Some(round) => {
                    round.insert(place, waiting);
                }
                None => rounds.push(BTreeMap::from([(place, waiting)])),
            }
        }
        together.into_values().flatten().map(|round| round.into_values().collect()).collect()
    }

    /// Sends, one request after the other, until it is aborted.
    pub(super) async fn send(self: Arc<Self>, images: ImageReceiver) {
        let mut open: Option<Open> = None;
        loop {
            let ended = async {
                match &mut open {
                    Some(open) => open.connection.ended().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                // As when the coordinator closes what is idle. The next request takes another one.
                _ = ended => {
                    open = None;
                    continue;
                }
                () = self.wake.notified() => {}
            }
            for round in self.take() {
                if open.is_none() {
                    open = self.connect(&images).await.inspect_err(|error| self.warn(error)).ok();
                }
                let Some(connected) = &mut open else {
                    round.into_iter().for_each(UnsentRequest::refuse);
                    continue;
                };
                if let Err((error, round)) = connected.exchange(round).await {
                    self.warn(&error);
                    open = None;
                    round.into_iter().for_each(UnsentRequest::refuse);
                }
            }
        }
    }

    async fn connect(&self, images: &ImageReceiver) -> Result<Open, ClientError> {
        let route = images.borrow().route(self.id);
        let mut connection = self.dialer.connect(route.as_ref(), "share-state", LIMITS).await?;
        let versions = connection.versions().await?;
        Ok(Open { connection, versions })
    }

    fn warn(&self, error: &ClientError) {
        tracing::warn!(coordinator = %self.id, %error, "failed to ask the share coordinators of a broker; asking again");
    }
}

impl Open {
    /// Sends one request, and hands out what is answered; what is not answered comes back.
    async fn exchange(&mut self, round: Vec<UnsentRequest>) -> Result<(), (ClientError, Vec<UnsentRequest>)> {
        let Some(first) = round.first() else { return Ok(()) };
        let group = first.of.group.clone();
        let asked: Vec<Of<Request>> = (round.iter())
            .map(|waiting| (waiting.of.topic_id, waiting.of.partition, waiting.request.clone()))
            .collect();
        let answered = match first.request {
            Request::Initialize { .. } => self.call::<InitializeShareGroupStateRequest>(&group, &asked).await,
            Request::Read { .. } => self.call::<ReadShareGroupStateRequest>(&group, &asked).await,
            Request::Write(_) => self.call::<WriteShareGroupStateRequest>(&group, &asked).await,
            Request::Delete => self.call::<DeleteShareGroupStateRequest>(&group, &asked).await,
            Request::Summarize => self.call::<ReadShareGroupStateSummaryRequest>(&group, &asked).await,
        };
        let mut replies = match answered {
            Ok(replies) => replies,
            Err(error) => return Err((error, round)),
        };
        for waiting in round {
            match replies.remove(&TopicIdPartition::new(waiting.of.topic_id, waiting.of.partition)) {
                Some(reply) => {
                    // Nobody may be left to hear it.
                    let _ = waiting.answer.send(reply);
                }
                None => waiting.refuse(),
            }
        }
        Ok(())
    }

    async fn call<M: StateMessage>(
        &mut self,
        group: &GroupId,
        asked: &[Of<Request>],
    ) -> Result<HashMap<TopicIdPartition, StateReply>, ClientError> {
        let version = self.versions.newest::<M>(M::VERSIONS)?;
        let response = self.connection.call(version, &M::asking(group, asked)).await?;
        let replies = M::replies(response).into_iter();
        Ok(replies.map(|(topic, partition, reply)| (TopicIdPartition::new(topic, partition), reply)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn place(group: &str, partition: i32) -> SharePartition {
        SharePartition { group: group.into(), topic_id: Uuid::from_u128(1), partition }
    }

    #[test]
    fn requests_of_one_kind_about_one_group_go_together_but_not_two_about_one_partition() {
        let node = Node::new(Dialer::plain(BrokerId(0)), BrokerId(1));
        let read = Request::Read { leader_epoch: 3 };
        let asked = [
            ("g", 0, Request::Delete),
            ("g", 1, Request::Delete),
            ("g", 0, Request::Delete),
            ("g", 2, read),
            ("h", 0, Request::Delete),
        ];
        let _waiting: Vec<_> =
            asked.map(|(group, partition, request)| node.put(place(group, partition), request).unwrap()).into();
        drop(node.put(place("gone", 0), Request::Delete));
        let mut rounds: Vec<Vec<(String, i32)>> = (node.take().iter())
            .map(|round| round.iter().map(|one| (one.of.group.to_string(), one.of.partition)).collect())
            .collect();
        rounds.sort();
        let round = |places: &[(&str, i32)]| -> Vec<(String, i32)> {
            places.iter().map(|(group, partition)| ((*group).to_owned(), *partition)).collect()
        };
        let expected = [round(&[("g", 0)]), round(&[("g", 0), ("g", 1)]), round(&[("g", 2)]), round(&[("h", 0)])];
        assert_eq!(rounds, expected);
    }
}
