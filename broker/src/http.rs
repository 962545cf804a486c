//! The HTTP port: metrics for Prometheus, and whether the broker lives.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/metrics` and `/livez` until the task is dropped.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let scrape = move || async move { ([(header::CONTENT_TYPE, TEXT)], metrics.scrape()) };
    let routes = Router::new().route("/metrics", get(scrape)).route("/livez", get(|| async { "ok\n" }));
    axum::serve(listener, routes).await
}
