//! Reactors that wait for a disk that hangs, and what becomes of their connections: clients do not wait with them.
//!
//! - Connections that such a reactor has not taken yet move to another one, and new ones avoid it. While all wait, new
//!   connections are closed at once.
//! - Connections that it serves are shut down once another broker leads a partition that this one led and whose files
//!   it waits for: their clients look for the new leader at once. Until then they would find nobody else.
//!
//! A client whose request gets no answer does not know whether it was carried out, as whenever a connection breaks.
//! What was being written is acknowledged to nobody: see `supersede` in `replica/partition/role.rs`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::under_way;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::watch;

use super::connections::Accepted;
use super::reactor::ReactorHandle;
use crate::env;
use crate::metrics::Metrics;

/// How often the disk is looked at; a reactor that does not answer from one look to the next is stuck.
const LOOK: Duration = Duration::from_secs(1);
/// Reactors are asked while a thread has waited for the disk for so long. The kernel slows writes down by some hundred
/// milliseconds if producers are faster than the disk.
const LONG: Duration = Duration::from_secs(1);

/// Looks at the reactors until the server stops. `data` is the data directory; `others_lead` says whether another
/// broker leads a partition, and this one has not been able to act on that yet.
pub(super) async fn watch(
    reactors: Arc<Vec<ReactorHandle>>,
    data: PathBuf,
    others_lead: impl Fn() -> bool,
    metrics: Arc<Metrics>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut asked: Vec<Option<Receiver<()>>> = reactors.iter().map(|_| None).collect();
    loop {
        tokio::select! {
            () = env::sleep_until(env::now() + LOOK) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let waits = under_way::longest(&data).of_any() >= LONG;
        for (reactor, asked) in reactors.iter().zip(&mut asked) {
            let is_stuck = asked.as_mut().is_some_and(|answer| answer.try_recv() == Err(TryRecvError::Empty));
            reactor.set_stuck(is_stuck);
            if !is_stuck {
                *asked = waits.then(|| reactor.ask()).flatten();
            }
        }
        for stuck in reactors.iter().filter(|reactor| reactor.is_stuck()) {
            for accepted in stuck.connections().take_waiting() {
                match with_fewest(&reactors) {
                    Some(other) => other.connections().put(accepted),
                    None => refuse(accepted, &metrics),
                }
            }
            if others_lead() {
                let ended = stuck.connections().shut_down().await;
                if ended > 0 {
                    tracing::warn!(
                        reactor = stuck.number(),
                        connections = ended,
                        "ended the connections of a thread \
                        that waits for the disk: other brokers lead, and clients look for them"
                    );
                }
            }
        }
    }
}

/// Which reactor the next connection goes to; `None` while all are stuck.
pub(super) fn with_fewest(reactors: &[ReactorHandle]) -> Option<&ReactorHandle> {
    let serving = reactors.iter().filter(|reactor| !reactor.is_stuck());
    serving.min_by_key(|reactor| reactor.connections().count())
}

/// Closes a connection that no reactor can serve.
pub(super) fn refuse(accepted: Accepted, metrics: &Metrics) {
    metrics.clients.connections_refused.with_label_values(&["disk_hangs"]).inc();
    drop(accepted);
}
