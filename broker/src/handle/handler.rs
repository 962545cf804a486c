//! What handlers share: the broker's rooms.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::authentication::Passwords;
use super::creations::Creations;
use crate::ask::AskSender;
use crate::env::Workers;
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::image::{BrokerId, ImageReceiver};
use crate::log_ends::LogEnds;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::quotas::Quotas;
use crate::replica::Replicas;
use crate::share::Shares;
use crate::share_state::ShareStates;
use crate::share_state::persister::Persister;
use crate::transactions::Transactions;
use crate::transactions::ends::Ends;
use crate::transactions::verifier::Verifier;

/// The broker's rooms, as handlers see them.
pub struct Handler {
    /// This broker.
    pub id: BrokerId,
    /// The cluster as this broker knows it.
    pub images: ImageReceiver,
    /// The replicas that run here.
    pub replicas: Arc<Replicas>,
    /// The groups that are coordinated here.
    pub groups: Arc<Groups>,
    /// The transactional ids that are coordinated here.
    pub transactions: Arc<Transactions>,
    /// Writes markers for coordinators.
    pub ends: Ends,
    /// Asks transaction coordinators about the partitions that are led here.
    pub verifier: Arc<Verifier>,
    /// The share partitions that are led here.
    pub shares: Arc<Shares>,
    /// The states of share groups that are kept here.
    pub share_states: Arc<ShareStates>,
    /// Asks share coordinators.
    pub persister: Arc<Persister>,
    /// Asks leaders for the ends of their partitions.
    pub log_ends: LogEnds,
    /// Creates the topics of streams groups.
    pub creations: Arc<Creations>,
    /// Checks passwords.
    pub passwords: Passwords,
    /// The queue of changes that the broker asks for.
    pub ask: AskSender,
    /// The fetch sessions.
    pub fetch_sessions: FetchSessions,
    /// The producer ids of this broker's block.
    pub producer_ids: Arc<ProducerIds>,
    /// What clients use, and how long they are throttled.
    pub quotas: Arc<Quotas>,
    /// The threads for work that may wait for the disk.
    pub workers: Workers,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// This broker's properties that no setting sets, for DescribeConfigs: `node.id`, `listeners`, …
    pub facts: BTreeMap<&'static str, String>,
}
