//! The brokers' loads, asked for only while moves are planned by them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ottla_crds::BrokerLoads;
use ottla_rules::assignment::BrokerId;
use tokio::sync::watch;
use tokio::time::{Duration, sleep, timeout};

/// How often brokers are asked. The rate of copies follows what they say.
const EVERY: Duration = Duration::from_secs(30);
/// The time between two questions when brokers come or go.
const SOON: Duration = Duration::from_secs(1);
/// How long a broker may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The most bytes of an answer: some 100,000 replicas.
const MOST_BYTES: usize = 32 << 20;

/// The HTTP ports of live brokers; `None`: nobody needs their loads.
pub type LoadTargets = Option<BTreeMap<BrokerId, SocketAddr>>;
/// The loads of those that answered; `None`: no broker has been asked yet.
pub type LoadReports = Option<Arc<BTreeMap<BrokerId, BrokerLoads>>>;

/// Asks while somebody needs the loads, for ever.
pub async fn follow(mut targets: watch::Receiver<LoadTargets>, reports: watch::Sender<LoadReports>) {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    loop {
        // The sender lives as long as this.
        let Ok(needed) = targets.wait_for(Option::is_some).await.map(|targets| targets.clone()) else { return };
        let mut answers: FuturesUnordered<_> =
            needed.iter().flatten().map(|(id, address)| one(&client, *id, *address)).collect();
        let mut loads = BTreeMap::new();
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(answer) => _ = loads.insert(id, answer),
                Err(error) => tracing::debug!(broker = %id, error, "failed to ask a broker for its loads"),
            }
        }
        reports.send_replace(Some(Arc::new(loads)));
        // A broker that has come gets no replica before it was asked.
        let others =
            async { targets.wait_for(|targets| *targets != needed).await.is_ok_and(|targets| targets.is_none()) };
        tokio::select! {
            () = sleep(EVERY) => {}
            nobody_needs_them = others => {
                if nobody_needs_them {
                    reports.send_replace(None);
                }
                sleep(SOON).await;
            }
        }
    }
}

async fn one(
    client: &Client<HttpConnector, Empty<Bytes>>,
    id: BrokerId,
    address: SocketAddr,
) -> (BrokerId, Result<BrokerLoads, String>) {
    let answer = timeout(LIMIT, get(client, address)).await;
    (id, answer.unwrap_or_else(|_| Err(format!("{address} did not answer within {LIMIT:?}"))))
}

async fn get(client: &Client<HttpConnector, Empty<Bytes>>, address: SocketAddr) -> Result<BrokerLoads, String> {
    let uri = format!("http://{address}/loads").parse::<Uri>().map_err(|error| error.to_string())?;
    let response = client.get(uri).await.map_err(|error| error.to_string())?;
    if response.status() != StatusCode::OK {
        return Err(format!("{address} answered {}", response.status()));
    }
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use ottla_crds::ReplicaLoad;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn brokers_that_answer_are_known_and_none_once_nobody_needs_them() {
        let loads = BrokerLoads {
            used: Some(7),
            replicas: vec![ReplicaLoad { topic: "a".to_owned(), partition: 3, bytes: 5, ..ReplicaLoad::default() }],
            ..BrokerLoads::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = serde_json::to_string(&loads).unwrap();
        let routes = Router::new().route("/loads", get(move || async move { answer }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();

        let (ask, asked) = watch::channel(None);
        let (tell, mut reports) = watch::channel(None);
        tokio::spawn(follow(asked, tell));
        ask.send_replace(Some([(BrokerId(0), address), (BrokerId(1), closed)].into()));
        let known = reports.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(*known, BTreeMap::from([(BrokerId(0), loads)]));
        ask.send_replace(Some([(BrokerId(0), address), (BrokerId(2), address)].into()));
        reports
            .wait_for(|reports| reports.as_ref().is_some_and(|reports| reports.contains_key(&BrokerId(2))))
            .await
            .unwrap();
        ask.send_replace(None);
        reports.wait_for(Option::is_none).await.unwrap();
    }
}
