//! The HTTP port: metrics for Prometheus, the kubelet's probes, and loads for the operator.
//!
//! It serves from the first moment of a start, so that a broker that waits for the API server, or recovers its logs, is
//! alive.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::loads::Loads;
use crate::metrics::Metrics;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The broker's health, once the broker has started.
pub type Probed = Arc<OnceLock<Health>>;

/// The broker's loads, once the broker has started.
pub type Loaded = Arc<OnceLock<Arc<Loads>>>;

/// Serves `/metrics`, `/loads`, `/livez` and `/readyz` until the task is dropped.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    probed: Probed,
    loaded: Loaded,
) -> std::io::Result<()> {
    let scrape = move || async move { ([(header::CONTENT_TYPE, TEXT)], metrics.scrape()) };
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
    let loads = move || async move {
        match loaded.get() {
            Some(loads) => {
                let json = serde_json::to_string(&loads.known()).expect("loads are JSON");
                Ok(([(header::CONTENT_TYPE, "application/json")], json))
            }
            None => Err(StatusCode::SERVICE_UNAVAILABLE),
        }
    };
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .route("/loads", get(loads))
        .route("/livez", get(lives))
        .route("/readyz", get(is_ready));
    axum::serve(listener, routes).await
}

fn answer<E: Display>(well: Result<(), E>) -> (StatusCode, String) {
    match well {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
