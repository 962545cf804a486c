//! The HTTP port: metrics for Prometheus, probes for the kubelet.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/metrics`, `/livez` and `/readyz` until it is dropped. A replica is ready when each of its `fleets` has read
/// all objects once (`complete` of them), also on standby.
///
/// # Errors
/// When the socket fails.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    complete: watch::Receiver<usize>,
    fleets: usize,
) -> std::io::Result<()> {
    let scrape = move || async move { ([(header::CONTENT_TYPE, TEXT)], metrics.scrape()) };
    let ready = move || async move {
        if *complete.borrow() < fleets {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the operator has not read all objects yet
",
            )
        } else {
            (StatusCode::OK, "ok\n")
        }
    };
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    axum::serve(listener, routes).await
}
