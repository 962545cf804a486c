//! The broker's asks, carried out on the cluster's objects.
//!
//! - [`topics`]: create, delete, grow, settings
//! - [`unheard`]: refusals that no client sees
//! - [`entries`]: what the broker writes about itself in assignments
//! - [`isr`]: changes of in-sync replicas, many in one write
//! - `users`: ACLs
//! - [`cluster`]: settings of brokers and groups, and producer ids
//!
//! Each ask reads, decides and writes under compare-and-swap, repeatedly until it is granted or refused; then it waits
//! until the broker's own image shows it. If the asker stops waiting, the ask is still carried out; only a change of
//! in-sync replicas ends with its asker, because the next one replaces it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use ottla_client::Backoff;
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic, KafkaUser};
use ottla_kube::change::why;
use ottla_kube::versions::SetBacks;
use ottla_rules::assignment::RecoveryReport;
use ottla_wire::ErrorCode;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, mpsc, watch};

use self::unheard::Unheard;
use super::api_server::ApiServer;
use super::known::KnownObjects;
use super::peers::Peers;
use super::watching::Views;
use crate::ask::{Answer, Ask, AskRefusal};
use crate::env;
use crate::image::{BrokerId, ClusterImage, ImageReceiver, Incarnation, Me};

mod cluster;
mod entries;
mod isr;
mod topics;
mod unheard;
mod users;

/// How many asks are carried out, or wait until the image shows them.
const AT_ONCE: usize = 1024;
/// How many of them read and write objects: enough to hide a round trip, few enough not to overload the API server.
const WRITES_AT_ONCE: usize = 16;
/// How long an ask is tried whose asker does not wait.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What asks need.
#[derive(Clone)]
pub(super) struct Desk {
    pub cluster_name: String,
    pub me: BrokerId,
    pub incarnation: Incarnation,
    pub clusters: Api<KafkaCluster>,
    pub topics: Api<KafkaTopic>,
    pub assignments: Api<KafkaAssignment>,
    pub users: Api<KafkaUser>,
    pub secrets: Api<Secret>,
    pub images: ImageReceiver,
    /// What the copy on disk has.
    pub kept: watch::Receiver<Arc<KnownObjects>>,
    pub known: watch::Receiver<KnownObjects>,
    peers: Peers,
    turns: Arc<Semaphore>,
    isr_changes: isr::IsrChanges,
    unheard: Unheard,
}

/// Why one try of an ask failed.
#[derive(Debug)]
enum AttemptError {
    /// The ask is refused.
    Refused(AskRefusal),
    /// Another writer was faster, or a change is not shown yet: read again.
    Again,
    /// The API server refuses, or does not answer.
    Api(kube::Error),
}

impl From<kube::Error> for AttemptError {
    fn from(error: kube::Error) -> AttemptError {
        match error {
            kube::Error::Api(status) if status.is_conflict() => AttemptError::Again,
            // The schema or a CEL rule refuses it: the rule's message says why.
            kube::Error::Api(status) if status.is_invalid() => refuse(ErrorCode::POLICY_VIOLATION, status.message),
            error => AttemptError::Api(error),
        }
    }
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> AttemptError {
    AttemptError::Refused(AskRefusal::new(code, message))
}

impl Desk {
    pub(super) fn new(
        api: &ApiServer,
        me: Me,
        views: &Views,
        kept: watch::Receiver<Arc<KnownObjects>>,
        set_backs: SetBacks,
    ) -> Desk {
        Desk {
            cluster_name: api.cluster.clone(),
            me: me.id,
            incarnation: me.incarnation,
            clusters: api.objects(),
            topics: api.objects(),
            assignments: api.objects(),
            users: api.objects(),
            secrets: api.objects(),
            images: views.images.clone(),
            kept,
            known: views.known.clone(),
            peers: Peers::new(api.objects(), &api.cluster, me.id, set_backs),
            turns: Arc::new(Semaphore::new(WRITES_AT_ONCE)),
            isr_changes: isr::IsrChanges::default(),
            unheard: Unheard::default(),
        }
    }

    /// Serves the queue until its last sender is gone.
    pub(super) async fn serve(self, mut asks: mpsc::Receiver<Ask>) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased; // what is asked together is written together
                ask = asks.recv(), if running.len() < AT_ONCE => match ask {
                    Some(ask) => running.push(self.grant(ask)),
                    None => break,
                },
                Some(()) = running.next() => {}
            }
        }
        while running.next().await.is_some() {}
    }

    async fn grant(&self, ask: Ask) {
        let Some(ask) = self.screened(ask) else { return };
        match ask {
            Ask::CreateTopic { topic, answer } => {
                let on_first_use = answer.is_closed();
                let attempt = async || {
                    let created = self.create_topic(&topic).await;
                    if let (true, Err(AttemptError::Refused(why))) = (on_first_use, &created) {
                        self.unheard.warn(&topic.name, why);
                    }
                    created
                };
                self.answer(answer, attempt).await;
            }
            Ask::DeleteTopic { topic_id, answer } => {
                self.answer(answer, async || self.delete_topic(topic_id).await).await
            }
            Ask::CreatePartitions { topic_id, count, assignments, answer } => {
                self.answer(answer, async || self.create_partitions(topic_id, count, &assignments).await).await;
            }
            Ask::Move { topic_id, targets, answer } => {
                self.answer(answer, async || self.move_partitions(topic_id, &targets).await).await;
            }
            Ask::ElectPreferred { topic_id, partitions, answer } => {
                self.answer(answer, async || self.elect_preferred(topic_id, &partitions).await).await;
            }
            Ask::SetTopicConfig { topic_id, from, to, answer } => {
                self.answer(answer, async || self.set_topic_config(topic_id, &from, &to).await).await;
            }
            Ask::SetClusterConfig { whose, from, to, answer } => {
                self.answer(answer, async || self.set_cluster_config(whose.clone(), &from, &to).await).await;
            }
            Ask::ChangeAcls { add, remove, answer } => {
                self.answer(answer, async || self.change_acls(&add, &remove).await).await;
            }
            Ask::ChangeQuotas { changes, answer } => {
                self.answer(answer, async || self.change_quotas(&changes).await).await;
            }
            Ask::ChangePasswords { changes, answer } => {
                self.answer(answer, async || self.change_passwords(&changes).await).await;
            }
            Ask::ProducerIds { answer } => self.answer(answer, async || self.producer_ids().await).await,
            Ask::ChangeIsr { topic_id, next, answer } => {
                if let Some(object) = self.isr_changes.add(topic_id, *next, answer) {
                    self.change_isrs(object).await;
                }
            }
            Ask::Removed { topic_id, partition } => self.insist(async || self.removed(topic_id, partition).await).await,
            Ask::MovedAway { partitions, answer } => self.kept_without(&partitions, answer).await,
            Ask::Report { topic_id, partition, leader_epoch, last_epoch, log_end, log_start } => {
                let (broker, incarnation, log_start) = (self.me, self.incarnation, Some(log_start));
                let report = RecoveryReport { broker, incarnation, last_epoch, log_end, log_start };
                self.insist(async || self.report(topic_id, partition, leader_epoch, report).await).await;
            }
        }
    }

    /// The ask, unless it is a client's and `spec.wireChanges` refuses it.
    fn screened(&self, ask: Ask) -> Option<Ask> {
        let Some(refused) = ask.refused_by(&self.images.borrow()) else { return Some(ask) };
        if let Ask::CreateTopic { topic, answer } = &ask
            && answer.is_closed()
        {
            self.unheard.warn(&topic.name, &refused);
        }
        ask.refuse(refused);
        None
    }

    /// Tries until the ask is granted or refused, or the asker has gone and [`PATIENCE`] is over.
    async fn answer<T, F: Future<Output = Result<Granted<T>, AttemptError>>>(
        &self,
        mut answer: Answer<T>,
        mut attempt: impl FnMut() -> F,
    ) {
        let until = env::now() + PATIENCE;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let granted = loop {
            match self.in_turn(&mut attempt).await {
                Ok(granted) => break granted,
                Err(AttemptError::Refused(refused)) => {
                    let _ = answer.send(Err(refused));
                    return;
                }
                Err(AttemptError::Again) => {}
                Err(AttemptError::Api(error)) => {
                    tracing::warn!(error = why(&error), "failed to change the cluster's objects: trying again")
                }
            }
            if answer.is_closed() && env::now() > until {
                return;
            }
            env::sleep_until(env::now() + backoff.failed()).await;
        };
        let Granted { value, shown } = granted;
        let mut images = self.images.clone();
        tokio::select! {
            biased;
            seen = images.wait_for(|image| shown(image)) => if seen.is_ok() {
                let _ = answer.send(Ok(value));
            },
            () = answer.closed() => {}
        }
    }

    async fn in_turn<T, F: Future<Output = T>>(&self, attempt: &mut impl FnMut() -> F) -> T {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        attempt().await
    }

    /// A turn to write entries, while no broker knows newer ones. There is a check before the wait for a turn, which
    /// other asks need too, and one after it, because the wait may have been long.
    async fn turn_for_entries(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.peers.know_nothing_newer().await;
        let turn = self.turns.acquire().await?;
        self.peers.know_nothing_newer().await;
        Ok(turn)
    }

    /// Tries to write entries until it is done.
    async fn insist<F: Future<Output = Result<(), AttemptError>>>(&self, mut attempt: impl FnMut() -> F) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            // The semaphore is never closed.
            let turn = self.turn_for_entries().await;
            let tried = attempt().await;
            drop(turn);
            match tried {
                Ok(()) => return,
                Err(AttemptError::Again) => {}
                Err(AttemptError::Refused(refused)) => {
                    tracing::warn!(%refused, "a change of the cluster's objects is refused: not trying again");
                    return;
                }
                Err(AttemptError::Api(error)) => {
                    tracing::warn!(error = why(&error), "failed to change the cluster's objects: trying again")
                }
            }
            env::sleep_until(env::now() + backoff.failed()).await;
        }
    }
}

/// Whether an image shows what was written.
type ShownCheck = Box<dyn Fn(&ClusterImage) -> bool + Send + Sync>;

/// A successful write, and how to see it in an image.
struct Granted<T> {
    value: T,
    shown: ShownCheck,
}

impl<T> Granted<T> {
    /// A write that needs no wait for the image.
    fn at_once(value: T) -> Granted<T> {
        Granted::when(value, |_| true)
    }

    fn when(value: T, shown: impl Fn(&ClusterImage) -> bool + Send + Sync + 'static) -> Granted<T> {
        Granted { value, shown: Box::new(shown) }
    }
}

#[cfg(test)]
mod tests {
    use ottla_local_api::{Server, Store};
    use tokio::sync::oneshot;

    use super::super::watching;
    use super::*;
    use crate::ask::NewTopic;
    use crate::loggers::captured::Captured;

    /// The desk of the only broker of a cluster. It refuses these asks without a look at the API server.
    fn desk() -> Desk {
        let client = Server::new(Store::Memory, Vec::new()).unwrap().client("default");
        let api = ApiServer { client, namespace: "default".into(), cluster: "local".into() };
        let (me, set_backs) = (Me { id: BrokerId(0), incarnation: Incarnation(1) }, SetBacks::default());
        let (_, users) = watch::channel(Arc::default());
        let (_watching, views) = watching::start(&api, me.id, KnownObjects::default(), users, &set_backs);
        Desk::new(&api, me, &views, watch::channel(Arc::default()).1, set_backs)
    }

    #[tokio::test]
    async fn a_refusal_that_no_client_hears_is_logged_once() {
        let (desk, log) = (desk(), Captured::default());
        let _printing = tracing::subscriber::set_default(log.printing("info"));
        let ask = |name: &str| {
            let topic = NewTopic { name: name.into(), replication_factor: Some(3), ..NewTopic::default() };
            let (answer, answered) = oneshot::channel();
            (Ask::CreateTopic { topic, answer }, answered)
        };
        let (of_an_administrator, answered) = ask("wanted");
        desk.grant(of_an_administrator).await;
        assert_eq!(answered.await.unwrap().unwrap_err().code, ErrorCode::INVALID_REPLICATION_FACTOR);
        assert_eq!(log.text(), "", "its client hears the refusal");

        // As of clients that look for the topic again and again: nobody waits for the answer.
        for _ in 0..3 {
            let (on_first_use, answered) = ask("used");
            drop(answered);
            desk.grant(on_first_use).await;
        }
        let text = log.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("WARN") && text.contains("topic=\"used\""), "{text}");
        assert!(text.contains("reason=Unable to replicate the partition 3 time(s): there are 1 broker(s)."), "{text}");
    }
}
