//! The leader's side of share groups (KIP-932): which records of the partitions that this broker leads are with whom.
//!
//! What a share partition *does* is decided by `ottla-share`, as values; `share_state` keeps what must survive.
//!
//! - [`Shares`]: the share partitions of this broker, its share sessions, and their ends
//! - `shared`: one share partition: its machine under a lock, what waits for it, what is being persisted
//! - `loading`: from the persister to a machine; `writing`: from a machine to the persister
//! - `taking`: reads records and acquires them
//! - `batches`: what the machine must know of batches that were read
//! - `measure`: metrics

mod batches;
mod loading;
mod measure;
mod shared;
mod taking;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ottla_config::{GroupSettings, SharingSettings};
use ottla_group::share_state::SharePartition as SharePartitionKey;
use ottla_share::{
    AcknowledgeError, AcknowledgementBatch, Config, ConnectionId, Ended, Fetch, Fetched, GroupId, MemberId,
    PersisterError, SessionError, Sessions, ShareFetch,
};
use ottla_wire::TopicIdPartition;
use parking_lot::Mutex;
use tokio::runtime::Handle;

pub(crate) use self::shared::LedSharePartition;
pub(crate) use self::taking::{FetchTurn, TakeOutcome, Taken, Want};
use crate::coordinator::Clock;
use crate::env::Workers;
use crate::image::{ClusterImage, ImageReceiver};
use crate::metrics::Metrics;
use crate::replica::{NotServed, Replicas};
use crate::share_state::persister::Persister;

/// Why records are not fetched, or not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ShareError {
    /// Not here, or not now.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The share coordinator has failed, or knows better.
    #[error(transparent)]
    Persister(#[from] PersisterError),
    /// What the share coordinator has kept makes no sense.
    #[error("the state of the share partition cannot be read")]
    BadState,
    /// The acknowledgement is refused.
    #[error(transparent)]
    Acknowledge(#[from] AcknowledgeError),
    /// Nobody of the group has fetched from the partition since this broker leads it.
    #[error("the group has not fetched from the partition here")]
    NotFetched,
}

/// The share partitions of this broker, and its share sessions.
pub struct Shares {
    replicas: Arc<Replicas>,
    workers: Workers,
    images: ImageReceiver,
    persister: Arc<Persister>,
    clock: Arc<Clock>,
    /// The control runtime: requests come from the reactors, whose tasks end with a connection.
    runtime: Handle,
    sessions: Mutex<Sessions>,
    shared: Mutex<BTreeMap<SharePartitionKey, Arc<LedSharePartition>>>,
    next_connection: AtomicU64,
}

impl Shares {
    /// No session yet; see [`Shares::run`]. Must be called on the control runtime.
    pub fn new(
        replicas: Arc<Replicas>,
        workers: Workers,
        images: ImageReceiver,
        persister: Arc<Persister>,
        metrics: &Metrics,
    ) -> Arc<Shares> {
        let limit = images.borrow().settings.share_groups.max_sessions;
        let shares = Arc::new(Shares {
            replicas,
            workers,
            images,
            persister,
            clock: Arc::new(Clock::start()),
            runtime: Handle::current(),
            sessions: Mutex::new(Sessions::new(limit)),
            shared: Mutex::default(),
            next_connection: AtomicU64::new(0),
        });
        let measured = Arc::downgrade(&shares);
        metrics.before_scrape(move |metrics| {
            if let Some(shares) = measured.upgrade() {
                shares.measure(&metrics.share);
            }
        });
        shares
    }

    /// Lets go of share partitions that this broker no longer leads, and ends locks whose time is over, until the
    /// broker stops. Must be called on the control runtime.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.follow(), self.tick());
    }

    async fn follow(&self) {
        let mut roles = self.replicas.roles();
        while roles.changed().await.is_ok() {
            let mut all = self.shared.lock();
            all.values().for_each(|shared| shared.check_leads());
            all.retain(|_, shared| !shared.is_over());
        }
    }

    async fn tick(&self) {
        loop {
            self.clock.sleep(|| self.all().iter().filter_map(|shared| shared.tick()).min()).await;
        }
    }

    /// What a group obeys.
    pub fn settings(&self, group: &str) -> SharingSettings {
        sharing(&self.images.borrow(), group)
    }

    /// Begins a ShareFetch: its session moves.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn begin_fetch(&self, request: &ShareFetch<'_>) -> Result<Fetch, SessionError> {
        self.sessions.lock().fetch(request)
    }

    /// Which of the partitions that were fetched the answer names.
    ///
    /// # Errors
    /// See [`Sessions::answer`].
    pub fn end_fetch(
        &self,
        group: &GroupId,
        member: &MemberId,
        epoch: i32,
        fetched: &[Fetched],
    ) -> Result<Vec<bool>, SessionError> {
        self.sessions.lock().answer(group, member, epoch, fetched)
    }

    /// Begins a ShareAcknowledge: its session moves.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn begin_acknowledge(&self, group: &GroupId, member: &MemberId, epoch: i32) -> Result<(), SessionError> {
        self.sessions.lock().acknowledge(group, member, epoch)
    }

    /// A member closes its session: what it holds is released.
    pub fn close(&self, group: &GroupId, member: &MemberId) {
        // It may have ended meanwhile, with its connection.
        let ended = self.sessions.lock().close(group, member);
        ended.into_iter().for_each(|ended| self.release(&ended));
    }

    /// A number for a connection, which ends its sessions with it.
    pub fn connect(self: &Arc<Self>) -> ConnectionShares {
        ConnectionShares { id: ConnectionId(self.next_connection.fetch_add(1, Relaxed)), shares: self.clone() }
    }

    /// The share partition to fetch from: it is loaded if it is not there.
    ///
    /// # Errors
    /// That this broker does not lead the partition.
    pub fn to_fetch(self: &Arc<Self>, place: &SharePartitionKey) -> Result<Arc<LedSharePartition>, NotServed> {
        let image = self.images.borrow().clone();
        let topic = image.topics.get(&place.topic_id).ok_or(NotServed::UnknownTopicId)?;
        let partition = self.replicas.get(topic, place.partition)?;
        let epoch = partition.leader_epoch().ok_or(NotServed::NotLeader)?;
        let mut all = self.shared.lock();
        if let Some(shared) = all.get(place).filter(|shared| shared.is_for(&partition)) {
            shared.stay();
            return Ok(shared.clone());
        }
        let shared = LedSharePartition::new(self, place.clone(), partition, epoch);
        self.runtime.spawn(shared.clone().load());
        if let Some(old) = all.insert(place.clone(), shared.clone()) {
            // A fetch that still waits on it must not take from it beside the new one.
            old.end(NotServed::NotLeader.into());
        }
        Ok(shared)
    }

    /// Acknowledges records. What must happen has happened when this returns; the future waits until it is safe.
    pub fn acknowledge(
        &self,
        place: &SharePartitionKey,
        member: &MemberId,
        batches: &[AcknowledgementBatch],
        may_renew: bool,
    ) -> impl Future<Output = Result<(), ShareError>> + use<> {
        let begun = self.to_acknowledge(place).and_then(|shared| shared.acknowledge(member, batches, may_renew));
        async move {
            match begun? {
                None => Ok(()),
                // The channel closes if another broker leads.
                Some(answer) => Ok(answer.await.unwrap_or(Err(PersisterError::Fenced))?),
            }
        }
    }

    fn to_acknowledge(&self, place: &SharePartitionKey) -> Result<Arc<LedSharePartition>, ShareError> {
        let image = self.images.borrow().clone();
        let topic = image.topics.get(&place.topic_id).ok_or(NotServed::UnknownTopicId)?;
        let partition = self.replicas.get(topic, place.partition)?;
        partition.leader_epoch().ok_or(NotServed::NotLeader)?;
        let all = self.shared.lock();
        all.get(place).filter(|shared| shared.is_for(&partition)).cloned().ok_or(ShareError::NotFetched)
    }

    fn all(&self) -> Vec<Arc<LedSharePartition>> {
        let mut all = self.shared.lock();
        all.retain(|_, shared| !shared.is_over());
        all.values().cloned().collect()
    }

    fn release(&self, ended: &Ended) {
        let group: ottla_group::GroupId = ended.group.to_string().as_str().into();
        for TopicIdPartition { topic_id, partition } in &ended.partitions {
            let place = SharePartitionKey { group: group.clone(), topic_id: *topic_id, partition: *partition };
            let shared = self.shared.lock().get(&place).cloned();
            if let Some(shared) = shared {
                shared.release(&ended.member);
            }
        }
        // Under the lock: who opens a session after that finds its share partitions left, and has them stay.
        let sessions = self.sessions.lock();
        if ended.group_has_left && !sessions.has_group(&ended.group) {
            self.all().iter().filter(|shared| shared.place().group == group).for_each(|shared| shared.leave());
        }
    }
}

/// The share sessions of one connection: they end with it.
pub struct ConnectionShares {
    id: ConnectionId,
    shares: Arc<Shares>,
}

impl ConnectionShares {
    /// The connection's number.
    pub fn id(&self) -> ConnectionId {
        self.id
    }
}

impl Drop for ConnectionShares {
    fn drop(&mut self) {
        let ended = self.shares.sessions.lock().disconnect(self.id);
        ended.iter().for_each(|ended| self.shares.release(ended));
    }
}

/// What a group obeys: its own settings, or those of the brokers.
fn sharing(image: &ClusterImage, group: &str) -> SharingSettings {
    let own = image.groups.get(group).map(|group| &group.settings);
    own.map_or(image.settings.share_groups.sharing, |own: &GroupSettings| own.sharing)
}

/// The same for a share partition.
fn config(sharing: &SharingSettings) -> Config {
    Config {
        delivery_count_limit: sharing.delivery_count_limit,
        record_lock_duration: sharing.record_lock_duration,
        partition_max_record_locks: sharing.max_record_locks,
        renew_acknowledge_enable: sharing.renew_enabled,
    }
}
