//! The broker's presence: its Lease, what it says there, and the ticks that it counts.
//!
//! The Lease is renewed by one task. Others change the annotations, which the next renewal takes along, or which are
//! written at once where somebody waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::pin;

use ottla_crds::{Endpoint, names};
use ottla_kube::lease;
use ottla_kube::versions::SetBacks;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::api_server::ApiServer;
use super::session::{self, Session};
use super::watching::Views;
use crate::data_dir::{Content, Identity};
use crate::env::Instant;
use crate::image::BrokerId;

/// The Lease that this process holds or tries to take. Dropped, it ends as in a killed process, without a write: its
/// tasks go before the senders whose end would release the Lease.
pub(super) struct Presence {
    pub identity: Identity,
    endpoints: Vec<Endpoint>,
    annotations: watch::Sender<BTreeMap<String, String>>,
    /// Until when this process holds the Lease; `None`: it does not hold it.
    pub held: watch::Receiver<Option<Instant>>,
    /// The last renewal, also of a Lease that is lost now; `None`: this process has never renewed it.
    pub renewed: watch::Receiver<Option<Instant>>,
    /// Keep annotations up to date.
    annotating: JoinSet<()>,
    counting: JoinSet<()>,
    holding: JoinSet<()>,
    release: oneshot::Sender<()>,
}

impl Presence {
    /// Begins to hold the Lease of `me` for a session, with what `views` show in its annotations.
    pub(super) fn begin(
        api: &ApiServer,
        me: BrokerId,
        session: Session,
        (endpoints, http): (Vec<Endpoint>, Option<SocketAddr>),
        views: &Views,
        set_backs: SetBacks,
    ) -> Presence {
        let claim = session::claim(&api.cluster, me, &session, set_backs);
        let Session { identity, ticks, lease_unread, .. } = session;
        let content = Content { identity: identity.clone(), ticks: ticks.count() };

        let mut first = session::annotations(&identity, &endpoints, false);
        // An earlier process may have listed unheard leaders, or had another disk.
        first.insert(names::UNHEARD_ANNOTATION.to_owned(), String::new());
        first.insert(names::DISK_ANNOTATION.to_owned(), String::new());
        first.insert(names::MISSING_ANNOTATION.to_owned(), session::list(&views.missing.borrow()));
        first.extend(http.map(|http| (names::HTTP_ANNOTATION.to_owned(), http.to_string())));
        first.extend(session::compared(&views.compared.borrow()));
        first.extend([session::ticks(&identity, ticks.count())]);
        let (annotations, to_write) = watch::channel(first);
        let mut annotating = JoinSet::new();
        annotating.spawn(session::annotate(names::MISSING_ANNOTATION, views.missing.clone(), annotations.clone()));
        annotating.spawn(session::annotate_compared(views.compared.clone(), annotations.clone()));

        let (hold, held) = watch::channel(None);
        let (renew, renewed) = watch::channel(None);
        annotating.spawn(session::remember_renewals(held.clone(), renew));
        let mut counting = JoinSet::new();
        counting.spawn(session::count(identity.clone(), ticks, annotations.clone()));

        let (release, released) = oneshot::channel();
        let (leases, mut holding) = (api.objects(), JoinSet::new());
        holding.spawn(async move {
            let mut released = pin!(async { released.await.unwrap_or_default() });
            let claim = if lease_unread {
                tokio::select! {
                    claim = session::claim_once_read(&leases, claim, &content) => claim,
                    () = &mut released => return,
                }
            } else {
                claim
            };
            lease::hold(leases, claim, to_write, hold, released).await;
        });
        Presence { identity, endpoints, annotations, held, renewed, annotating, counting, holding, release }
    }

    /// Waits until this process holds the Lease: an earlier process of this broker may still run.
    pub(super) async fn is_held(&mut self) {
        let _ = self.held.wait_for(Option::is_some).await;
    }

    /// Writes on the Lease that this broker is draining.
    pub(super) fn drain(&self) {
        let draining = session::annotations(&self.identity, &self.endpoints, true);
        self.annotations.send_modify(|annotations| annotations.extend(draining));
    }

    /// From now on lists unheard leaders on the Lease.
    pub(super) fn report_unheard(&mut self, unheard: watch::Receiver<BTreeSet<BrokerId>>) {
        self.annotating.spawn(session::annotate(names::UNHEARD_ANNOTATION, unheard, self.annotations.clone()));
    }

    /// From now on writes on the Lease which keys this broker has loaded.
    pub(super) fn report_keys(&mut self, loaded: watch::Receiver<String>) {
        self.annotating.spawn(session::annotate_keys(loaded, self.annotations.clone()));
    }

    /// From now on writes on the Lease whether the disk hangs or fills up.
    pub(super) fn report_disk(&mut self, hanging: watch::Receiver<bool>, filling: watch::Receiver<bool>) {
        self.annotating.spawn(session::annotate_disk((hanging, filling), self.annotations.clone()));
    }

    /// Counts no more ticks.
    pub(super) async fn stop_counting(&mut self) {
        self.counting.shutdown().await;
    }

    /// Releases the Lease.
    pub(super) async fn release(mut self) {
        self.counting.shutdown().await;
        self.annotating.shutdown().await;
        let _ = self.release.send(());
        let _ = self.holding.join_next().await;
    }
}
