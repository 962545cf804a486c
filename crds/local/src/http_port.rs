//! The port for `kubectl`: plain HTTP on loopback.
//!
//! Straight on hyper, which is below kube anyway: the one function of `server` needs no router. Dropping the
//! connections ends the watches on them.
//!
//! There is no authentication, so a request must look like one of a Kubernetes client: its Host names loopback (a page
//! that rebinds its own name to 127.0.0.1 does not), and nothing in it says browser.

use std::future::Future;
use std::io;
use std::net::IpAddr;

use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::request::header_text;
use crate::server::{Body, Server, collect, respond};
use crate::status::Status;

/// Far more than a few `kubectl` and brokers of one laptop open.
const MAX_CONNECTIONS: usize = 1000;

impl Server {
    /// Serves the port until `shutdown` completes; then open connections, watches among them, are cut.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(self.clone(), stream));
                    }
                    Err(error) => tracing::warn!(%error, "failed to accept a connection"),
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(server: Server, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let server = server.clone();
        async move { answer(&server, request).await }
    });
    let served = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

/// An error closes the connection without an answer.
async fn answer(server: &Server, request: Request<Incoming>) -> Result<Response<Body>, crate::faults::Outage> {
    server.faults().reach().await?;
    if let Err(status) = check(request.headers()) {
        return Ok(respond(status.code, status.to_json()));
    }
    Ok(match collect(request).await {
        Ok(request) => server.handle(request).await,
        Err(error) => {
            let status = Status::bad_request(format!("failed to read the request: {error}"));
            respond(status.code, status.to_json())
        }
    })
}

fn check(headers: &HeaderMap) -> Result<(), Status> {
    if !is_loopback(header_text(headers, header::HOST)) {
        return Err(Status::refused("this port answers only to localhost: the Host header names another host"));
    }
    let from_browser = headers.contains_key(header::ORIGIN)
        || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
        || header_text(headers, header::USER_AGENT).starts_with("Mozilla/");
    if from_browser {
        return Err(Status::refused("this port is for Kubernetes clients, not for browsers"));
    }
    // The types that a page may send to another origin without asking first.
    let content_type = crate::request::media_type(header_text(headers, header::CONTENT_TYPE));
    if matches!(content_type.as_str(), "text/plain" | "application/x-www-form-urlencoded" | "multipart/form-data") {
        return Err(Status::unsupported_media_type(format!("a body of type {content_type} is not an object")));
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for host in ["localhost", "localhost:8001", "127.0.0.1:8001", "[::1]:8001", "127.1.2.3"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "example.com", "10.0.0.1:8001", "localhost.example.com", "[fe80::1]:80", "127.0.0.1.nip.io"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
