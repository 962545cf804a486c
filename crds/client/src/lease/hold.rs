//! Holding a lease: ask, write, wait, again.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{Claim, DEADLINE, door, holder};
use crate::versions::version;
use ottla_crds::names;

/// How soon a write that failed is tried again. Several tries fit into what is left of [`DEADLINE`].
const RETRY: Duration = Duration::from_millis(500);
/// How long a try may take. A slow API server is not one that is away: a shorter try would never succeed there, and
/// everybody would look dead at once.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The same after one that took too long.
const LATE_ATTEMPT: Duration = DEADLINE;

/// Takes the lease when it is free and keeps it until `stop`, then releases it.
///
/// `held` says until when this process may act as the holder; `None`: not at all. Its receivers compare the time
/// themselves, so that they stop in time even when this task does not run. A change of `annotations` is written at
/// once.
pub async fn hold(
    api: Api<Lease>,
    mut claim: Claim,
    mut annotations: watch::Receiver<BTreeMap<String, String>>,
    held: watch::Sender<Option<Instant>>,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    let mut known: Option<Lease> = None;
    let mut attempt = ATTEMPT;
    let mut annotated = true;
    loop {
        let asked = Instant::now();
        let wanted = annotations.borrow_and_update().clone();
        let renewed = timeout(attempt, renew(&api, &mut claim, known.clone(), wanted)).await;
        if renewed.is_ok() {
            known = None;
            attempt = ATTEMPT;
        }
        let next = match renewed {
            Ok(Ok(Some(lease))) => {
                if held.send_replace(Some(asked + DEADLINE)).is_none() {
                    info!(lease = claim.name, identity = claim.identity, "took the lease");
                }
                let written = version(&lease.metadata);
                claim.set_backs.compare(written, claim.set_backs.written());
                claim.set_backs.wrote(written);
                known = Some(lease);
                claim.pace.renew
            }
            Ok(Ok(None)) => {
                if held.send_replace(None).is_some() {
                    warn!(lease = claim.name, "lost the lease to another holder");
                }
                claim.pace.look
            }
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
                debug!(lease = claim.name, status.message, "the lease has changed since it was read");
                RETRY
            }
            Ok(Err(error)) => {
                warn!(lease = claim.name, %error, "failed to renew the lease");
                RETRY
            }
            Err(_) => {
                // What was read stays good for one write: if this one was carried out after all, the next is refused.
                warn!(lease = claim.name, "failed to renew the lease in time");
                attempt = LATE_ATTEMPT;
                RETRY
            }
        };
        held.send_if_modified(|until| {
            let passed = until.is_some_and(|until| until <= Instant::now());
            until.take_if(|_| passed).is_some()
        });
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = sleep_until(asked + next) => {}
            changed = annotations.changed(), if annotated => annotated = changed.is_ok(),
        }
    }
    if held.send_replace(None).is_some() {
        match timeout(ATTEMPT, release(&api, &claim, known)).await {
            Ok(Ok(())) => info!(lease = claim.name, "released the lease"),
            Ok(Err(error)) => warn!(lease = claim.name, %error, "failed to release the lease; it will expire"),
            Err(_) => warn!(lease = claim.name, "failed to release the lease in time; it will expire"),
        }
    }
}

/// One try: the lease as it was written, or none while somebody else holds it.
async fn renew(
    api: &Api<Lease>,
    claim: &mut Claim,
    known: Option<Lease>,
    annotations: BTreeMap<String, String>,
) -> Result<Option<Lease>, kube::Error> {
    let written = claim.set_backs.written();
    let read = match known {
        Some(lease) => Some(lease),
        None => api.get_opt(&claim.name).await?,
    };
    let mut is_set_back = false;
    if let Some(lease) = &read
        && claim.set_backs.compare(version(&lease.metadata), written)
    {
        is_set_back = true;
        // The process that held the lease then has since lost it to this process.
        claim.predecessor = lease.spec.as_ref().and_then(holder).map(str::to_owned);
    }
    let record = read.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
    let is_to_ask = record.as_ref().is_some_and(|record| claim.is_to_ask(Instant::now(), record));
    let unanswered = match &read {
        Some(lease) if is_to_ask => door::is_unanswered(lease).await,
        Some(_) | None => false,
    };
    let decided = claim.decide(Instant::now(), Timestamp::now(), record.as_ref(), unanswered);
    let Some(record) = decided else { return Ok(None) };
    let exists = read.is_some();
    let mut lease = read.unwrap_or_default();
    lease.spec = Some(record);
    lease.metadata.name = Some(claim.name.clone());
    lease.metadata.labels.get_or_insert_default().extend(claim.labels.clone());
    let all = lease.metadata.annotations.get_or_insert_default();
    all.extend(annotations);
    all.insert(names::SEEN_ANNOTATION.to_owned(), written.unwrap_or_default().to_string());
    if is_set_back && let Some(newer) = all.get_mut(names::NEWER_ANNOTATION) {
        // It compared with what is no more.
        names::NOT_COMPARED.clone_into(newer);
    }
    let params = PostParams::default();
    if exists { api.replace(&claim.name, &params, &lease).await } else { api.create(&params, &lease).await }.map(Some)
}

async fn release(api: &Api<Lease>, claim: &Claim, known: Option<Lease>) -> Result<(), kube::Error> {
    let read = match known {
        Some(lease) => Some(lease),
        None => api.get_opt(&claim.name).await?,
    };
    let Some(mut lease) = read else { return Ok(()) };
    let Some(record) = claim.release(Timestamp::now(), &lease.spec.unwrap_or_default()) else { return Ok(()) };
    lease.spec = Some(record);
    api.replace(&claim.name, &PostParams::default(), &lease).await.map(drop)
}
