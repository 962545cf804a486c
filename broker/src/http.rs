//! The HTTP port: metrics for Prometheus, the kubelet's probes, and loads for the operator.
//!
//! It serves from the first moment of a start, so that a broker that waits for the API server, or recovers its logs, is
//! alive. What looks at partitions runs beside the control threads: it may wait for a thread that waits for the disk.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::env;
use crate::health::Health;
use crate::loads::Loads;
use crate::metrics::Metrics;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The broker's health, once the broker has started.
pub(crate) type Probed = Arc<OnceLock<Health>>;

/// The broker's loads, once the broker has started.
pub(crate) type Loaded = Arc<OnceLock<Arc<Loads>>>;

/// Serves `/metrics`, `/loads`, `/livez` and `/readyz` until the task is dropped.
///
/// # Errors
/// When the socket fails.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    probed: Probed,
    loaded: Loaded,
) -> std::io::Result<()> {
    let turn = ProbeTurn::default();
    let scrape = move || async move {
        let text = beside(turn, move || metrics.scrape()).await?;
        Ok::<_, StatusCode>(([(header::CONTENT_TYPE, TEXT)], text))
    };
    let lives = {
        let probed = probed.clone();
        || async move {
            match probed.get() {
                Some(health) => answer(health.lives().await),
                None => answer(Ok::<_, &str>(())),
            }
        }
    };
    let is_ready = || async move {
        match probed.get() {
            Some(health) => answer(health.is_ready()),
            None => answer(Err("the broker is starting: it does not hold its Lease yet")),
        }
    };
    let turn = ProbeTurn::default();
    let loads = move || async move {
        let loads = loaded.get().ok_or(StatusCode::SERVICE_UNAVAILABLE)?.clone();
        let known = beside(turn, move || loads.known()).await?;
        let json = serde_json::to_string(&known).expect("loads are JSON");
        Ok::<_, StatusCode>(([(header::CONTENT_TYPE, "application/json")], json))
    };
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .route("/loads", get(loads))
        .route("/livez", get(lives))
        .route("/readyz", get(is_ready));
    axum::serve(listener, routes).await
}

/// Held by the look of a kind that runs: a disk that hangs keeps one thread of each.
type ProbeTurn = Arc<Mutex<()>>;

/// Runs a look beside the control threads.
async fn beside<T: Send + 'static>(
    turn: ProbeTurn,
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StatusCode> {
    let turn = turn.lock_owned().await;
    let looked = env::blocking(move || {
        let _turn = turn;
        look()
    });
    looked.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

fn answer<E: Display>(well: Result<(), E>) -> (StatusCode, String) {
    match well {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
