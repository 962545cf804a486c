//! The broker's session: the incarnation of its directory, and the Lease that has it.
//!
//! Always: directory first, Lease second. A start is on the device before it is on the Lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use ottla_crds::{Endpoint, names};
use ottla_kube::lease::{BrokerSession, Claim, DEADLINE, Observed, Pace};
use ottla_kube::versions::SetBacks;
use ottla_rules::assignment::{BrokerId, Incarnation};
use ottla_rules::features::SupportedFeatures;
use tokio::sync::watch;
use tokio::time::timeout;

use super::known::Compared;
use crate::data_dir::{
    Content, DataDir, DataDirError, Identity, IncarnationDecision, LeaseView, Surroundings, Ticks, decide, is_of,
};
use crate::env::{self, Instant};

/// A start of this broker, as its Lease will show it.
#[derive(Debug)]
pub struct Session {
    /// The start.
    pub identity: Identity,
    /// The ticks of the directory so far.
    pub ticks: Ticks,
    /// The holder's name of the previous process with this directory; `None`: unknown.
    pub predecessor: Option<String>,
    /// Whether the Lease could not be read, so that it may still name the predecessor.
    pub lease_unread: bool,
}

/// Begins a session with what the Lease says; `None` while only an API server that does not answer knows it.
///
/// # Errors
/// When the directory refuses.
pub fn begin(dir: &DataDir, lease: LeaseRead<'_>, here: Surroundings) -> Result<Option<Session>, DataDirError> {
    let view = view(&lease);
    let ticks = dir.ticks()?;
    let written = dir.identity()?.map(|identity| Content { identity, ticks: ticks.count() });
    let incarnation = match (decide(written.as_ref(), view, &here, dir.was_clean()), &written) {
        (IncarnationDecision::AskAgain, _) => return Ok(None),
        (IncarnationDecision::Keep, Some(written)) => written.identity.incarnation,
        (IncarnationDecision::Keep, None) => unreachable!("what was not written is not kept"),
        (IncarnationDecision::DrawAnew(reason), _) => {
            let incarnation = draw();
            tracing::info!(%reason, incarnation = incarnation.0, "the data directory gets a new incarnation: this \
            broker leaves the ISRs and copies from the leaders");
            incarnation
        }
    };
    let of_this_directory = written.as_ref().is_some_and(|written| is_of(written, view));
    let predecessor = match lease {
        // The process that wrote the Lease had this directory's lock, which this process has now: it is gone.
        LeaseRead::Read(Some(lease)) if of_this_directory => {
            lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone())
        }
        LeaseRead::Read(_) | LeaseRead::Away => None,
    };
    let identity = Identity::of_start(incarnation, view, written.as_ref().map(|written| &written.identity), here);
    dir.begin(&identity)?;
    let lease_unread = matches!(lease, LeaseRead::Away);
    Ok(Some(Session { identity, ticks, predecessor, lease_unread }))
}

/// The result of reading the Lease.
#[derive(Clone, Copy, Debug)]
pub enum LeaseRead<'a> {
    /// The API server answered; `None`: there is no Lease.
    Read(Option<&'a Lease>),
    /// The API server does not answer.
    Away,
}

fn view(lease: &LeaseRead<'_>) -> LeaseView {
    match lease {
        LeaseRead::Away => LeaseView::Away,
        LeaseRead::Read(lease) => match lease.and_then(BrokerSession::of) {
            None => LeaseView::Absent,
            Some(session) => LeaseView::Says {
                incarnation: session.incarnation,
                starts: i64::try_from(session.start).unwrap_or(i64::MAX),
                ticks: lease.and_then(|lease| counted(lease, session.start)).unwrap_or_default(),
            },
        },
    }
}

/// The ticks that this start has written on the Lease; `None` if an older version, which does not count, wrote it last.
pub fn counted(lease: &Lease, start: u64) -> Option<u64> {
    let (of_start, count) = lease.metadata.annotations.as_ref()?.get(names::TICKS_ANNOTATION)?.split_once('/')?;
    if of_start.parse() == Ok(start) { count.parse().ok() } else { None }
}

/// The annotation with the ticks.
pub fn ticks(identity: &Identity, count: u64) -> (String, String) {
    (names::TICKS_ANNOTATION.to_owned(), format!("{}/{count}", identity.starts))
}

/// A random number of 63 bits, and never 0.
fn draw() -> Incarnation {
    let (bits, _) = env::random_uuid().as_u64_pair();
    Incarnation(i64::try_from(bits >> 1).unwrap_or(i64::MAX).max(1))
}

/// The annotations of the Lease, with what this version supports; without endpoints if the operator knows these.
pub fn annotations(identity: &Identity, endpoints: &[Endpoint], draining: bool) -> BTreeMap<String, String> {
    let start = u64::try_from(identity.starts).unwrap_or_default();
    let mut annotations = BrokerSession { incarnation: identity.incarnation, start, draining }.annotations();
    annotations.insert(names::FEATURES_ANNOTATION.to_owned(), SupportedFeatures::of_this_version().annotation());
    if !endpoints.is_empty() {
        let json = serde_json::to_string(endpoints).expect("endpoints are JSON");
        annotations.insert(names::ENDPOINTS_ANNOTATION.to_owned(), json);
    }
    annotations
}

/// Counts ticks in the directory, which the next renewal writes on the Lease: an older copy of the directory is then
/// recognised. A disk that refuses leaves the Lease with the last number that it took.
pub async fn count(identity: Identity, mut ticks: Ticks, annotations: watch::Sender<BTreeMap<String, String>>) {
    let mut refused = false;
    loop {
        env::sleep_until(env::now() + Pace::BROKER.renew).await;
        let ticked = env::blocking(move || (ticks.tick(), ticks)).await;
        let Ok((ticked, again)) = ticked else { return };
        ticks = again;
        match ticked {
            Ok(count) => {
                refused = false;
                annotations.send_if_modified(|all| {
                    all.extend([self::ticks(&identity, count)]);
                    false // the next renewal takes it along; it is worth no write of its own
                });
            }
            Err(error) => {
                if !std::mem::replace(&mut refused, true) {
                    tracing::warn!(%error, "failed to count a tick in the data directory");
                }
            }
        }
    }
}

/// Keeps the time of the last renewal, which `held` does not have once the Lease is lost.
pub async fn remember_renewals(mut held: watch::Receiver<Option<Instant>>, renewed: watch::Sender<Option<Instant>>) {
    while held.changed().await.is_ok() {
        if let Some(until) = *held.borrow_and_update() {
            renewed.send_replace(until.checked_sub(DEADLINE));
        }
    }
}

/// Between two attempts to read a Lease.
const RETRY: Duration = Duration::from_millis(500);
/// The time between two such writes, so that a peer that answers only sometimes does not cost a write each time.
const BETWEEN_NEWS: Duration = Duration::from_secs(1);

/// Keeps a list of brokers or topics in an annotation, until the sender is dropped.
pub async fn annotate<T: ToString>(
    annotation: &'static str,
    mut such: watch::Receiver<BTreeSet<T>>,
    annotations: watch::Sender<BTreeMap<String, String>>,
) {
    while such.changed().await.is_ok() {
        let said = list(&such.borrow_and_update());
        annotations.send_modify(|all| _ = all.insert(annotation.to_owned(), said));
        env::sleep_until(env::now() + BETWEEN_NEWS).await;
    }
}

/// Keeps the hashes of the loaded keys in an annotation, until the sender is dropped. A cluster without keys has none.
pub async fn annotate_keys(mut loaded: watch::Receiver<String>, annotations: watch::Sender<BTreeMap<String, String>>) {
    while let Ok(said) = loaded.wait_for(|loaded| !loaded.is_empty()).await.map(|loaded| loaded.clone()) {
        annotations.send_if_modified(|all| all.insert(names::TLS_ANNOTATION.to_owned(), said.clone()) != Some(said));
        if loaded.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps in an annotation whether the disk hangs or fills up, until a sender is dropped. Written at once: the operator
/// waits for it.
pub async fn annotate_disk(
    (mut hanging, mut filling): (watch::Receiver<bool>, watch::Receiver<bool>),
    annotations: watch::Sender<BTreeMap<String, String>>,
) {
    loop {
        let said = match (*hanging.borrow_and_update(), *filling.borrow_and_update()) {
            (true, _) => names::HANGING,
            (false, true) => names::FILLING,
            (false, false) => "",
        };
        annotations.send_if_modified(|all| {
            all.insert(names::DISK_ANNOTATION.to_owned(), said.to_owned()).as_deref() != Some(said)
        });
        let changed = tokio::select! {
            biased;
            changed = hanging.changed() => changed,
            changed = filling.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// The annotations about how the broker's knowledge compares with what the API server shows.
pub fn compared(compared: &Compared) -> [(String, String); 2] {
    let newer = compared.newer.map_or_else(|| names::NOT_COMPARED.to_owned(), |newer| newer.to_string());
    [(names::NEWER_ANNOTATION.to_owned(), newer), (names::FORKED_ANNOTATION.to_owned(), list(&compared.forked))]
}

/// Writes these annotations at once when they change, because the operator waits for them.
pub async fn annotate_compared(
    mut known: watch::Receiver<Compared>,
    annotations: watch::Sender<BTreeMap<String, String>>,
) {
    while known.changed().await.is_ok() {
        let said = compared(&known.borrow_and_update());
        annotations.send_if_modified(|all| {
            let is_new = said.iter().any(|(name, value)| all.get(name) != Some(value));
            all.extend(said);
            is_new
        });
    }
}

/// The text of a list in an annotation.
pub fn list<T: ToString>(such: &BTreeSet<T>) -> String {
    such.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// What this process writes to take the broker's Lease.
pub fn claim(cluster: &str, id: BrokerId, session: &Session, set_backs: SetBacks) -> Claim {
    Claim {
        name: names::broker(cluster, id),
        labels: BTreeMap::from([(names::CLUSTER_LABEL.to_owned(), cluster.to_owned())]),
        identity: env::random_uuid().to_string(),
        predecessor: session.predecessor.clone(),
        pace: Pace::BROKER,
        observed: Observed::default(),
        set_backs,
    }
}

/// As [`claim`], for a start that could not read the Lease, once it can: if the Lease refers to this directory, its
/// holder is the predecessor. A read may not take longer than a renewal: a request to an API server that was away may
/// stay unanswered when it is back, and the observers of the Lease wait for [`ottla_kube::lease::EXPIRE`] then.
pub async fn claim_once_read(leases: &Api<Lease>, claim: Claim, content: &Content) -> Claim {
    loop {
        match timeout(DEADLINE, leases.get_opt(&claim.name)).await {
            Ok(Ok(lease)) => {
                let seen = LeaseRead::Read(lease.as_ref());
                let predecessor = lease.as_ref().filter(|_| is_of(content, view(&seen)));
                let predecessor = predecessor.and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
                return Claim { predecessor, ..claim };
            }
            Ok(Err(_)) | Err(_) => env::sleep_until(env::now() + RETRY).await,
        }
    }
}
