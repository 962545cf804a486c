//! Brokers that are a Lease and a broker's three watches each, and nothing else: what a large cluster costs the API
//! server and its operators, on a small machine. Each watch counts what it receives.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::namespace::Namespace;

/// How often a broker renews its Lease.
const RENEW: Duration = Duration::from_secs(2);
/// How many Leases one thread renews, one after the other.
const AT_ONCE: usize = 10;

/// The API server without TLS, by a `kubectl proxy` that ends with this.
struct Proxy {
    process: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(mut kubectl: Command) -> Result<Proxy> {
        let mut process = kubectl.args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().and_then(|address| address.parse().ok());
        Ok(Proxy { process, address: address.with_context(|| format!("kubectl proxy says {line}"))? })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// One request on a connection of its own; the connection, whose headers are read.
fn ask(address: SocketAddr, verb: &str, path: &str, kind: &str, body: &str) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 2") {
        answer.read_to_string(&mut line)?;
        anyhow::bail!("{verb} {path}: {line}");
    }
    while answer.read_line(&mut line)? > 2 {}
    Ok(answer)
}

/// The brokers.
pub struct Imitated {
    /// Those that renew.
    alive: Arc<RwLock<Vec<u64>>>,
    received: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    renewing: Option<JoinHandle<()>>,
    /// Ends the watches, which are left to their connections.
    _proxy: Proxy,
}

impl Imitated {
    /// Starts brokers of the cluster `kafka` with these ids; so many of them watch.
    ///
    /// # Errors
    /// When the API server refuses a Lease or a watch.
    pub fn start(namespace: &Namespace<'_>, ids: impl IntoIterator<Item = u64>, watching: usize) -> Result<Imitated> {
        let proxy = Proxy::start(namespace.command(""))?;
        let (address, name) = (proxy.address, namespace.name().to_owned());
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{name}/leases");
        let alive: Vec<u64> = ids.into_iter().collect();
        for id in &alive {
            ask(address, "POST", &leases, "application/json", &lease(*id).to_string())?;
        }
        let (received, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        for path in (0..watching).flat_map(|_| watches(&name)) {
            let mut stream = ask(address, "GET", &path, "application/json", "")?;
            let received = received.clone();
            std::thread::spawn(move || {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    received.fetch_add(read as u64, Ordering::Relaxed);
                }
            });
        }
        let alive = Arc::new(RwLock::new(alive));
        let (still, end) = (alive.clone(), ended.clone());
        let renewing = std::thread::spawn(move || {
            for renewal in 1_u64.. {
                let began = std::time::Instant::now();
                // Observers look for a change of the record, and at no time in it.
                let renewal = json!({ "spec": { "leaseTransitions": renewal } }).to_string();
                let alive = still.read().unwrap_or_else(PoisonError::into_inner).clone();
                let renew = |ids: &[u64]| {
                    for id in ids {
                        let lease = format!("{leases}/kafka-broker-{id}");
                        // A renewal that fails is made up for by the next one.
                        _ = ask(address, "PATCH", &lease, "application/merge-patch+json", &renewal);
                    }
                };
                std::thread::scope(|scope| alive.chunks(AT_ONCE).for_each(|ids| _ = scope.spawn(|| renew(ids))));
                if end.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(RENEW.saturating_sub(began.elapsed()));
            }
        });
        Ok(Imitated { alive, received, ended, renewing: Some(renewing), _proxy: proxy })
    }

    /// Kills one: it renews no more.
    pub fn kill(&self, id: u64) -> Result<()> {
        let mut alive = self.alive.write().unwrap_or_else(PoisonError::into_inner);
        let before = alive.len();
        alive.retain(|other| *other != id);
        ensure!(alive.len() < before, "broker {id} is not alive");
        Ok(())
    }

    /// The bytes that all watches together have received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Imitated {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(renewing) = self.renewing.take() {
            _ = renewing.join();
        }
    }
}

/// What a broker watches: its cluster, and the cluster's topics and assignments.
fn watches(namespace: &str) -> [String; 3] {
    let objects = format!("/apis/ottla.io/v1alpha1/namespaces/{namespace}");
    let list = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    [
        format!("{objects}/kafkaclusters?fieldSelector=metadata.name%3Dkafka&{list}"),
        format!("{objects}/kafkatopics?labelSelector=ottla.io%2Fcluster%3Dkafka&{list}"),
        format!("{objects}/kafkaassignments?labelSelector=ottla.io%2Fcluster%3Dkafka&{list}"),
    ]
}

/// The Lease of a broker that has started once.
fn lease(id: u64) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": format!("kafka-broker-{id}"),
            "labels": { "ottla.io/cluster": "kafka" },
            "annotations": {
                "ottla.io/incarnation": format!("{}", id + 1),
                "ottla.io/start": "1",
                "ottla.io/draining": "false",
                "ottla.io/ticks": "1/1",
                "ottla.io/newer": "0",
            },
        },
        "spec": { "holderIdentity": format!("imitated-{id}"), "leaseDurationSeconds": 6, "leaseTransitions": 0 },
    })
}
