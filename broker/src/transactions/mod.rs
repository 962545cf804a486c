//! Transactions: the transactional ids that this broker coordinates, and whether a transactional batch may be appended.
//!
//! What a transaction *does* is decided by `ottla-txn`, as values; `coordinator` loads it and keeps its records.
//!
//! - [`Transactions`]: what runs beside the requests
//! - `machine`: a shard of transactional ids as a coordinator's machine
//! - `requests`: one function per request
//! - `measure`: metrics
//! - [`markers`]: sends markers to the leaders of partitions; [`ends`]: writes them where this broker leads
//! - [`verifier`]: asks the transaction coordinators of this broker and of others

pub(crate) mod ends;
mod machine;
mod markers;
mod measure;
mod requests;
pub(crate) mod verifier;

use std::sync::Arc;

use ottla_txn::{Shard, TransactionVersion, WriteMarkers};

use self::ends::Ends;
use self::markers::Markers;
use crate::coordinator::machine::Effects;
use crate::coordinator::{Coordinator, Coordinators};
use crate::dialer::Dialer;
use crate::env::Workers;
use crate::image::{ClusterImage, ImageReceiver, IsCurrent};
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::replica::Replicas;

/// The transactional ids that this broker coordinates.
pub struct Transactions {
    coordinators: Coordinators<Shard>,
    markers: Arc<Markers>,
    producer_ids: Arc<ProducerIds>,
}

impl Transactions {
    /// No transactional id yet; see [`Transactions::run`].
    pub fn new(
        replicas: Arc<Replicas>,
        workers: Workers,
        images: ImageReceiver,
        producer_ids: Arc<ProducerIds>,
        metrics: &Metrics,
    ) -> Arc<Transactions> {
        let markers = Arc::new(Markers::default());
        let queue = markers.clone();
        let post = Arc::new(move |coordinator: &Arc<Coordinator<Shard>>, write: WriteMarkers| {
            queue.post(coordinator, write);
        });
        let coordinators = Coordinators::new(replicas, workers, images, post);
        let transactions = Arc::new(Transactions { coordinators, markers, producer_ids });
        let measured = Arc::downgrade(&transactions);
        metrics.before_scrape(move |metrics| {
            if let Some(transactions) = measured.upgrade() {
                transactions.measure(&metrics.coordinators);
            }
        });
        transactions
    }

    /// Follows image and roles, ticks, and sends markers, until the broker stops. Must be called on the control
    /// runtime.
    pub async fn run(self: Arc<Self>, dialer: Dialer, images: ImageReceiver, is_current: IsCurrent, ends: Ends) {
        let mut told = None;
        let look = |image: &ClusterImage, begun: &[Arc<Coordinator<Shard>>]| {
            let version = machine::transaction_version(image);
            let all = self.coordinators.all();
            // One that begins may have read an older image.
            let to_tell = if told.replace(version) == Some(version) { begun } else { &all[..] };
            to_tell.iter().for_each(|coordinator| tell(coordinator, version));
        };
        let sending = markers::send(self.markers.clone(), dialer, images, is_current, ends);
        tokio::join!(self.coordinators.run(look), sending);
    }
}

/// The cluster has finalized this level of `transaction.version`: from now on the coordinator ends transactions by it
/// that are open for too long.
fn tell(coordinator: &Arc<Coordinator<Shard>>, version: TransactionVersion) {
    coordinator.turn_when_loaded(move |ids, _| {
        ids.set_transaction_version(version);
        Effects::default()
    });
}
