//! Asks share coordinators about states: the leaders of partitions read and write them, group coordinators initialise,
//! delete and summarise them. Kafka's `DefaultStatePersister`.
//!
//! - here: which broker keeps a state; what this broker keeps is asked for directly
//! - `node`: the share coordinators of one other broker: a queue, and one request in flight

mod node;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_group::share_state::{Request, SharePartition, StateError, StateReply};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use self::node::Node;
use super::{ShareStates, key};
use crate::coordinator::partition_for;
use crate::dialer::Dialer;
use crate::env;
use crate::image::{BrokerId, ClusterImage, ImageReceiver, SHARE_GROUP_STATE};

/// For how long the persister looks for a share coordinator that serves. Kafka tries five times, with pauses between
/// one and thirty seconds; a new leader here serves within tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first pause between two tries; each is twice as long as the one before, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Asks for `__share_group_state`, which does not exist yet.
pub(crate) type MakeTopic = Box<dyn Fn(&ClusterImage) + Send + Sync>;

/// Asks share coordinators.
pub struct Persister {
    dialer: Dialer,
    images: ImageReceiver,
    local: Arc<ShareStates>,
    make_topic: MakeTopic,
    /// The control runtime: requests come from the reactors, whose tasks end with a connection.
    runtime: Handle,
    nodes: Mutex<Nodes>,
}

#[derive(Default)]
struct Nodes {
    by_id: BTreeMap<BrokerId, Arc<Node>>,
    /// One for each; they end with this persister.
    senders: JoinSet<()>,
}

impl Persister {
    /// No connection yet. Must be called on the control runtime.
    pub fn new(
        dialer: Dialer,
        images: ImageReceiver,
        local: Arc<ShareStates>,
        make_topic: MakeTopic,
    ) -> Arc<Persister> {
        Arc::new(Persister { dialer, images, local, make_topic, runtime: Handle::current(), nodes: Mutex::default() })
    }

    /// Asks the share coordinator of the partition, here or on another broker, and again for a while if none serves.
    /// The reply is of the request's kind. Two requests about one partition may overtake each other: to keep them in
    /// order, wait for the first one's reply.
    pub fn ask(
        self: &Arc<Self>,
        of: SharePartition,
        request: Request,
    ) -> impl Future<Output = StateReply> + Send + use<> {
        let persister = self.clone();
        async move { persister.ask_patiently(&of, &request).await }
    }

    async fn ask_patiently(&self, of: &SharePartition, request: &Request) -> StateReply {
        let until = env::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let reply = self.ask_once(of, request).await;
            if !may_be_served_soon(&reply) || env::now() >= until {
                return reply;
            }
            env::sleep_until(env::now() + pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    async fn ask_once(&self, of: &SharePartition, request: &Request) -> StateReply {
        let image = self.images.borrow().clone();
        if image.topic(SHARE_GROUP_STATE).is_none() {
            (self.make_topic)(&image);
        }
        match coordinator(&image, of) {
            None => request.refused(StateError::CoordinatorNotAvailable),
            Some(id) if id == self.dialer.me => self.local.ask(of, request.clone()).await,
            Some(id) => match self.node(id).put(of.clone(), request.clone()) {
                Some(answer) => tokio::select! {
                    biased;
                    // The sender answers everything that it takes, unless the broker stops.
                    reply = answer => reply.unwrap_or_else(|_| request.refused(StateError::NotCoordinator)),
                    // A broker that is frozen does not answer; what it has done may be done again.
                    () = self.moved(of, id) => request.refused(StateError::NotCoordinator),
                },
                None => request.refused(StateError::CoordinatorNotAvailable),
            },
        }
    }

    /// Resolves when another broker keeps the state.
    async fn moved(&self, of: &SharePartition, id: BrokerId) {
        let mut images = self.images.clone();
        // An error says that there will be no more images: the broker stops.
        let _ = images.wait_for(|image| coordinator(image, of) != Some(id)).await;
    }

    fn node(&self, id: BrokerId) -> Arc<Node> {
        let Nodes { by_id, senders } = &mut *self.nodes.lock();
        let node = by_id.entry(id).or_insert_with(|| {
            let node = Arc::new(Node::new(self.dialer.clone(), id));
            senders.spawn_on(node.clone().send(self.images.clone()), &self.runtime);
            node
        });
        node.clone()
    }
}

/// The broker that keeps a state: the leader of its partition of `__share_group_state`.
fn coordinator(image: &ClusterImage, of: &SharePartition) -> Option<BrokerId> {
    let topic = image.topic(SHARE_GROUP_STATE)?;
    let partitions = i32::try_from(topic.partitions.len()).ok().filter(|partitions| *partitions > 0)?;
    image.assignment(SHARE_GROUP_STATE, partition_for(&key::of(of), partitions))?.leader
}

/// Whether another broker, or this one in a moment, would give another answer.
fn may_be_served_soon(reply: &StateReply) -> bool {
    let error = match reply {
        StateReply::Initialize(result) | StateReply::Write(result) | StateReply::Delete(result) => result.err(),
        StateReply::Read(result) => result.as_ref().err().copied(),
        StateReply::Summarize(result) => result.err(),
    };
    matches!(
        error,
        Some(StateError::CoordinatorNotAvailable | StateError::CoordinatorLoadInProgress | StateError::NotCoordinator)
    )
}
