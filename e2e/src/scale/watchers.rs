//! Clients that list and watch as a broker does, and do nothing with it but count.
//!
//! What is counted are bytes of bodies: no headers, and nothing of TLS. Bookmarks count as bytes and not as events.

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use kube::api::{ListParams, WatchParams};
use kube::client::Body;
use kube::core::Request;
use kube::runtime::watcher::Config;
use kube::{Client, Resource};
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic, KafkaUser};
use ottla_kube::watch::{named, of_cluster};
use std::io::BufRead;
use std::iter::Sum;
use std::ops::Sub;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use super::{CLUSTER, NAMESPACE};

/// A broker's first pause when a watch broke.
const RETRY: Duration = Duration::from_millis(250);
/// The end of a list in which its version and the token of the next page stand.
const TAIL: usize = 8192;

/// What a broker watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The KafkaCluster alone, by its name.
    Cluster,
    /// All KafkaTopics of the cluster.
    Topics,
    /// All KafkaAssignments of the cluster.
    Assignments,
    /// All KafkaUsers of the cluster.
    Users,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Cluster, Kind::Topics, Kind::Assignments, Kind::Users];

    /// Where the objects are, and which of them: as `broker/src/coord` asks for them.
    fn watched(self) -> (String, Config) {
        fn path<K: Resource<DynamicType = ()>>() -> String {
            K::url_path(&(), Some(NAMESPACE))
        }
        match self {
            Kind::Cluster => (path::<KafkaCluster>(), named(CLUSTER)),
            Kind::Topics => (path::<KafkaTopic>(), of_cluster(CLUSTER)),
            Kind::Assignments => (path::<KafkaAssignment>(), of_cluster(CLUSTER)),
            Kind::Users => (path::<KafkaUser>(), of_cluster(CLUSTER)),
        }
    }
}

/// What came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Whole lists.
    pub lists: u64,
    /// Their bytes.
    pub list_bytes: u64,
    /// Objects that were added, modified or deleted.
    pub events: u64,
    /// The bytes of watches.
    pub watch_bytes: u64,
}

impl Sub for Count {
    type Output = Count;

    fn sub(self, before: Count) -> Count {
        Count {
            lists: self.lists.saturating_sub(before.lists),
            list_bytes: self.list_bytes.saturating_sub(before.list_bytes),
            events: self.events.saturating_sub(before.events),
            watch_bytes: self.watch_bytes.saturating_sub(before.watch_bytes),
        }
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Count>>(counts: I) -> Count {
        counts.fold(Count::default(), |sum, one| Count {
            lists: sum.lists + one.lists,
            list_bytes: sum.list_bytes + one.list_bytes,
            events: sum.events + one.events,
            watch_bytes: sum.watch_bytes + one.watch_bytes,
        })
    }
}

/// What one watcher has had of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// How much.
    pub count: Count,
    /// When the last event came.
    pub last: Option<Instant>,
}

type Shared = Arc<Mutex<Tally>>;

/// The watchers. They end with this.
pub struct Watchers {
    tallies: Vec<[Shared; 4]>,
    _following: JoinSet<()>,
}

impl Watchers {
    /// Begins with a client each, and so with connections of its own.
    pub fn start(clients: Vec<Client>) -> Watchers {
        let mut following = JoinSet::new();
        let tallies = clients.into_iter().map(|client| {
            Kind::ALL.map(|kind| {
                let tally = Shared::default();
                following.spawn(follow(client.clone(), kind, tally.clone()));
                tally
            })
        });
        let tallies = tallies.collect();
        Watchers { tallies, _following: following }
    }

    /// What each has had so far, of each kind in the order of [`Kind::ALL`].
    pub fn so_far(&self) -> Vec<[Tally; 4]> {
        self.tallies.iter().map(|kinds| std::array::from_fn(|kind| *locked(&kinds[kind]))).collect()
    }
}

fn locked(tally: &Shared) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists and watches for ever.
async fn follow(client: Client, kind: Kind, tally: Shared) {
    let (path, config) = kind.watched();
    let mut version = None;
    loop {
        let went_on = match version.take() {
            None => list(&client, &path, &config, &tally).await.map(Some),
            Some(from) => {
                let mut seen = from;
                let watched = watch(&client, &path, &config, &tally, &mut seen).await;
                watched.map(|continues| continues.then_some(seen))
            }
        };
        match went_on {
            Ok(next) => version = next,
            // What was listed stays listed: the API server says whether a watch can continue there.
            Err((error, from)) => {
                version = from;
                tokio::time::sleep(RETRY).await;
                drop(error);
            }
        }
    }
}

/// An error, and from where a watch can continue.
type Broken = (anyhow::Error, Option<String>);

/// Lists page by page; the version of the list.
async fn list(client: &Client, path: &str, config: &Config, tally: &Shared) -> Result<String, Broken> {
    let mut params =
        ListParams { field_selector: config.field_selector.clone(), limit: config.page_size, ..ListParams::default() };
    loop {
        let page = async {
            let request = Request::new(path).list(&params)?;
            let mut body = client.send(request.map(Body::from)).await?;
            ensure!(body.status().is_success(), "{}", body.status());
            let mut tail = Vec::new();
            while let Some(frame) = body.body_mut().frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                locked(tally).count.list_bytes += data.len() as u64;
                tail.extend_from_slice(&data);
                tail.drain(..tail.len().saturating_sub(TAIL));
            }
            let tail = String::from_utf8_lossy(&tail).into_owned();
            let (_, metadata) = tail.rsplit_once(r#""metadata":{"#).context("a list has metadata")?;
            let version = text_field(metadata, "resourceVersion").context("a list has a version")?;
            anyhow::Ok((version.to_owned(), text_field(metadata, "continue").map(str::to_owned)))
        };
        let (version, next) = page.await.map_err(|error| (error, None))?;
        params.continue_token = next.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            locked(tally).count.lists += 1;
            return Ok(version);
        }
    }
}

/// Watches until the API server ends the watch; whether another can continue from `version`, which rises.
async fn watch(
    client: &Client,
    path: &str,
    config: &Config,
    tally: &Shared,
    version: &mut String,
) -> Result<bool, Broken> {
    let params = WatchParams {
        field_selector: config.field_selector.clone(),
        timeout: config.timeout,
        bookmarks: config.bookmarks,
        ..WatchParams::default()
    };
    let watched = async {
        let request = Request::new(path).watch(&params, version)?;
        let mut body = client.send(request.map(Body::from)).await?;
        if body.status() == http::StatusCode::GONE {
            return Ok(false);
        }
        ensure!(body.status().is_success(), "{}", body.status());
        let (mut line, mut last) = (Vec::new(), Vec::new());
        let ended = loop {
            let frame = match body.body_mut().frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => break Err(error),
                None => break Ok(true),
            };
            let Ok(data) = frame.into_data() else { continue };
            locked(tally).count.watch_bytes += data.len() as u64;
            let mut rest = &data[..];
            while rest.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
                if line.starts_with(br#"{"type":"ERROR""#) {
                    return Ok(false);
                }
                if !line.starts_with(br#"{"type":"BOOKMARK""#) {
                    let mut tally = locked(tally);
                    tally.count.events += 1;
                    tally.last = Some(Instant::now());
                }
                last = std::mem::take(&mut line);
            }
        };
        if let Some(risen) = text_field(&String::from_utf8_lossy(&last), "resourceVersion") {
            risen.clone_into(version);
        }
        Ok(ended?)
    };
    watched.await.map_err(|error| (error, Some(version.clone())))
}

/// The first field of this name, whose value is a text without escapes.
fn text_field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!(r#""{name}":""#))?;
    rest.split_once('"').map(|(value, _)| value)
}
