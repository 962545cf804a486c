//! Stand-ins: brokers of which only that exists what others see. Each has a Lease that it renews, a port that answers
//! the operators' pings, and a client; no partition, no image, and no record.
//!
//! Leading is played, too: [`Standins::join`] writes what the leaders of a broker's partitions write when it has caught
//! up.

use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use ottla_crds::{KafkaAssignment, names};
use ottla_kube::change;
use ottla_kube::lease::{BrokerSession, Claim, Observed, Pace, hold};
use ottla_kube::versions::SetBacks;
use ottla_rules::assignment::{Assignment, BrokerId, Follower, Incarnation, Leader};
use ottla_rules::features::SupportedFeatures;
use ottla_wire::{ApiVersionsResponse, Decoder, RequestHeader, encode_response};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{CLUSTER, NAMESPACE};
use crate::raw::to_bytes;

/// No ping is longer.
const LONGEST_REQUEST: usize = 1 << 20;
/// How many joins are written at once: the leaders are many processes.
const JOINS_AT_ONCE: usize = 64;

/// All stand-ins. They end with this, as if they were killed.
pub struct Standins {
    client: Client,
    at: BTreeMap<BrokerId, SocketAddr>,
    starts: BTreeMap<BrokerId, u64>,
    running: BTreeMap<BrokerId, Running>,
}

struct Running {
    annotations: watch::Sender<BTreeMap<String, String>>,
    release: oneshot::Sender<()>,
    held: watch::Receiver<Option<Instant>>,
    holding: JoinSet<()>,
    answering: JoinSet<()>,
}

impl Standins {
    /// None runs yet. `at`: where each listens.
    pub fn new(client: Client, at: BTreeMap<BrokerId, SocketAddr>) -> Standins {
        Standins { client, at, starts: BTreeMap::new(), running: BTreeMap::new() }
    }

    /// The content of a stand-in's disk, which never changes.
    pub fn incarnation(id: BrokerId) -> Incarnation {
        Incarnation(1_000_000 + i64::from(id.0))
    }

    /// Starts one that does not run, and waits until it holds its Lease.
    pub async fn start(&mut self, id: BrokerId) -> Result<()> {
        let at = self.at.get(&id).context("it has an address")?;
        let listener = TcpListener::bind(at).await.with_context(|| format!("{at} is in use"))?;
        let mut answering = JoinSet::new();
        answering.spawn(answer(listener));

        let start = self.starts.entry(id).or_default();
        *start += 1;
        let identity = |start: u64| format!("standin-{id}-{start}");
        let claim = Claim {
            name: names::broker(CLUSTER, id),
            labels: BTreeMap::from([(names::CLUSTER_LABEL.to_owned(), CLUSTER.to_owned())]),
            identity: identity(*start),
            predecessor: Some(identity(*start - 1)),
            pace: Pace::BROKER,
            observed: Observed::default(),
            set_backs: SetBacks::default(),
        };
        let session = BrokerSession { incarnation: Standins::incarnation(id), start: *start, draining: false };
        let mut said = session.annotations();
        said.insert(names::FEATURES_ANNOTATION.to_owned(), SupportedFeatures::of_this_version().annotation());
        said.insert(names::NEWER_ANNOTATION.to_owned(), "0".to_owned());
        for empty in [names::UNHEARD_ANNOTATION, names::DISK_ANNOTATION, names::MISSING_ANNOTATION] {
            said.insert(empty.to_owned(), String::new());
        }
        let (annotations, to_write) = watch::channel(said);
        let (hold_it, mut held) = watch::channel(None);
        let (release, released) = oneshot::channel::<()>();
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let mut holding = JoinSet::new();
        holding.spawn(hold(leases, claim, to_write, hold_it, async {
            // Dropped with the stand-in, which is then aborted.
            let _ = released.await;
        }));
        held.wait_for(Option::is_some).await.context("nobody holds the Lease")?;
        self.running.insert(id, Running { annotations, release, held, holding, answering });
        Ok(())
    }

    /// Ends one as a kill does: its connections break, its port refuses, its Lease stays as it is.
    pub async fn kill(&mut self, id: BrokerId) -> Result<()> {
        let mut running = self.running.remove(&id).context("it runs")?;
        running.holding.shutdown().await;
        running.answering.shutdown().await;
        Ok(())
    }

    /// Says on the Lease that it is draining, as a broker does at SIGTERM.
    pub fn drain(&self, id: BrokerId) -> Result<()> {
        let running = self.running.get(&id).context("it runs")?;
        let start = self.starts.get(&id).copied().unwrap_or_default();
        let session = BrokerSession { incarnation: Standins::incarnation(id), start, draining: true };
        running.annotations.send_modify(|said| said.extend(session.annotations()));
        Ok(())
    }

    /// Ends one that has drained: it releases its Lease.
    pub async fn stop(&mut self, id: BrokerId) -> Result<()> {
        let mut running = self.running.remove(&id).context("it runs")?;
        let _ = running.release.send(());
        running.holding.join_next().await;
        running.answering.shutdown().await;
        Ok(())
    }

    /// Whether all that run hold their Leases.
    pub fn hold_their_leases(&self) -> bool {
        self.running.values().all(|running| running.held.borrow().is_some_and(|until| until > Instant::now()))
    }

    /// Has a broker that is back join the ISRs of its partitions: one write of each leader to each object, as brokers
    /// gather them. What was refused because an entry has changed is left for the next call.
    pub async fn join(&self, id: BrokerId, incarnation: Incarnation, objects: Vec<Arc<KafkaAssignment>>) -> Result<()> {
        let assignments: Api<KafkaAssignment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let writes = objects.iter().flat_map(|object| {
            let leaders: BTreeSet<BrokerId> = object.spec.partitions.iter().filter_map(|entry| entry.leader).collect();
            leaders.into_iter().filter_map(move |leader| {
                let next: Vec<Assignment> = object
                    .spec
                    .partitions
                    .iter()
                    .filter(|entry| entry.leader == Some(leader))
                    .filter_map(|entry| joined(entry, leader, id, incarnation))
                    .collect();
                (!next.is_empty()).then_some((object, next))
            })
        });
        let writes: Vec<_> = writes.collect();
        let mut written = stream::iter(writes.iter().map(|(object, next)| change::write(&assignments, object, next)))
            .buffer_unordered(JOINS_AT_ONCE);
        while let Some(outcome) = written.next().await {
            outcome?;
        }
        Ok(())
    }
}

/// The entry with this follower in its ISR; `None`: it is there already, or has no place there.
fn joined(entry: &Assignment, leader: BrokerId, id: BrokerId, incarnation: Incarnation) -> Option<Assignment> {
    let member = entry.isr.iter().find(|member| member.broker == leader)?;
    let leader = Leader {
        broker: leader,
        incarnation: member.incarnation,
        leader_epoch: entry.leader_epoch,
        epoch_start: 0,
        high_watermark: 0,
        log_start: 0,
        write_in_flight: false,
    };
    let follower = Follower {
        broker: id,
        incarnation,
        leader_epoch: entry.leader_epoch,
        log_end: 0,
        log_start: 0,
        leaving: false,
    };
    entry.expand(&leader, &follower).ok()
}

/// Answers pings, for ever.
async fn answer(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => drop(connections.spawn(converse(stream))),
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers ApiVersions on one connection. Brokers that would fetch get no answer: there is nothing to fetch.
async fn converse(mut stream: TcpStream) -> Result<()> {
    loop {
        let length = usize::try_from(stream.read_i32().await?)?;
        anyhow::ensure!(length <= LONGEST_REQUEST, "no ping is so long");
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).await?;
        let header = RequestHeader::decode(&mut Decoder::new(frame.into()))?;
        if header.api_key != ottla_wire::ApiKey::ApiVersions {
            continue;
        }
        let answer = ApiVersionsResponse::default();
        let frame = encode_response(header.api_version, header.correlation_id, &answer).ok().context("too large")?;
        stream.write_all(&to_bytes(&frame)).await?;
    }
}
