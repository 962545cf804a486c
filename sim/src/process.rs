//! A broker's process: the real rooms, in a runtime of its own whose clock runs only while it runs. Dropped, it is
//! killed.
//!
//! In the place of its threads: one task that does what its workers would, as fast as its disk is; and one task per
//! connection, which hands frames to the real handler and sends what that answers, files piece by piece, when there is
//! room.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use anyhow::Result;
use ottla_access::Login;
use ottla_broker::ask::{Ask, QUEUE_BOUND};
use ottla_broker::broker::{Rooms, RoomsSetup};
use ottla_broker::dialer::Dialer;
use ottla_broker::env::Workers;
use ottla_broker::env::simulated::Job;
use ottla_broker::handle::{Client, Handler, Peer, Request};
use ottla_broker::image::{ClusterImage, Me};
use ottla_broker::metrics::Metrics;
use ottla_broker::replica::RoleWorkers;
use ottla_broker::reply::Reply;
use ottla_wire::{ApiKey, Bytes, Chunk, FileSlice, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// Requests of one connection that may be under way.
const RING: usize = 64;
/// A file is sent in pieces of this size.
const PIECE: usize = 256;
/// How long a slow disk takes for one job at most.
const SLOW_MS: u64 = 400;
/// How often those who wait for a disk that hangs look at it.
const LOOK: Duration = Duration::from_millis(10);
/// How long a clean stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What a process begins with.
pub(crate) struct Beginning {
    pub me: Me,
    pub data: PathBuf,
    /// The last process closed its logs.
    pub clean: bool,
    /// The directory kept its incarnation.
    pub intact: bool,
    pub image: ClusterImage,
    pub metrics: Arc<Metrics>,
}

/// A process.
pub(crate) struct Process {
    // In this order: connections go before the runtime.
    connections: LocalSet,
    rooms: Option<Rooms>,
    pub images: watch::Sender<Arc<ClusterImage>>,
    asks: mpsc::Receiver<Ask>,
    state: Arc<State>,
    /// Its clock, since the world began.
    clock: Duration,
    runtime: Runtime,
}

/// What its tasks know of the world.
#[derive(Default)]
struct State {
    disk_failed: AtomicBool,
    /// Its Lease was not renewed for too long.
    cut_off: AtomicBool,
    slow: AtomicBool,
    hanging: AtomicBool,
    /// Decides how long a slow disk takes.
    jobs: AtomicU64,
}

impl Process {
    /// Starts it at this time.
    pub(crate) fn start(beginning: Beginning, now: Duration) -> Result<Process> {
        let Beginning { me, data, clean, intact, image, metrics } = beginning;
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let (images, shown) = watch::channel(Arc::new(image));
        let (ask, asks) = mpsc::channel(QUEUE_BOUND);
        let state = Arc::new(State::default());
        let rooms = {
            let _inside = runtime.enter();
            let (workers, jobs) = Workers::simulated();
            tokio::spawn(work(jobs, state.clone()));
            let facts = BTreeMap::new();
            let role_workers = RoleWorkers { writing: workers.clone(), waiting: workers.clone() };
            let images = shown;
            let is_cut_off = {
                let state = state.clone();
                move || state.cut_off.load(SeqCst)
            };
            let is_current = {
                let is_cut_off = is_cut_off.clone();
                Arc::new(move || !is_cut_off())
            };
            let rooms = Rooms::open(RoomsSetup {
                me,
                dialer: Dialer::plain(me.id),
                data,
                clean,
                intact,
                workers,
                role_workers,
                side: Handle::current(),
                images,
                is_current,
                ask,
                metrics,
                facts,
            })?;
            let (replicas, failing) = (rooms.replicas().clone(), state.clone());
            tokio::spawn(async move {
                replicas.disk_failed().await;
                failing.disk_failed.store(true, SeqCst);
            });
            tokio::spawn(rooms.replicas().clone().give_way(is_cut_off));
            rooms
        };
        let connections = LocalSet::new();
        Ok(Process { connections, rooms: Some(rooms), images, asks, state, clock: now, runtime })
    }

    /// Its handlers and replicas.
    pub(crate) fn handler(&self) -> &Arc<Handler> {
        &self.rooms.as_ref().expect("it is taken only to be closed").handler
    }

    /// Runs until its clock shows this time. What it slept through it did not feel.
    pub(crate) fn run(&mut self, now: Duration, slept: bool) {
        let time = now.saturating_sub(self.clock);
        self.clock = now.max(self.clock);
        self.connections.block_on(&self.runtime, async {
            if slept {
                tokio::time::advance(time).await;
            }
            tokio::time::sleep(if slept { Duration::from_millis(1) } else { time }).await;
        });
    }

    /// A client connects.
    pub(crate) fn accept(&self, stream: DuplexStream) {
        let peer = Peer::new(([127, 0, 0, 1], 1).into(), "internal".into());
        self.connections.spawn_local(serve(self.handler().clone(), stream, peer, self.state.clone()));
    }

    /// What it asks of the cluster.
    pub(crate) fn take_asks(&mut self) -> Vec<Ask> {
        std::iter::from_fn(|| self.asks.try_recv().ok()).collect()
    }

    /// Whether its disk has failed, and not for want of room.
    pub(crate) fn has_failed_disk(&self) -> bool {
        self.state.disk_failed.load(SeqCst)
    }

    /// Its disk is slow, or not any more.
    pub(crate) fn set_slow(&self, slow: bool) {
        self.state.slow.store(slow, SeqCst);
    }

    /// Its disk hangs, or not any more.
    pub(crate) fn set_hanging(&self, hanging: bool) {
        self.state.hanging.store(hanging, SeqCst);
    }

    /// Whether it could not renew its Lease for too long.
    pub(crate) fn set_cut_off(&self, cut_off: bool) {
        self.state.cut_off.store(cut_off, SeqCst);
    }

    /// Closes its logs, as at the end of a clean stop. True when all of them are closed.
    pub(crate) fn close(mut self) -> bool {
        let Some(rooms) = self.rooms.take() else { return false };
        let closing = async { tokio::time::timeout(STOP_WITHIN, rooms.close()).await };
        self.connections.block_on(&self.runtime, closing).unwrap_or(false)
    }
}

impl State {
    /// Returns when the disk does not hang.
    async fn disk_answers(&self) {
        while self.hanging.load(SeqCst) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns when the disk does not hang, or when this broker could not act yet on an election of another leader, as
    /// it hangs. True if the disk answers.
    async fn disk_answers_before_others_lead(&self, handler: &Handler) -> bool {
        while self.hanging.load(SeqCst) && !handler.replicas.is_late_to_give_way() {
            tokio::time::sleep(LOOK).await;
        }
        !self.hanging.load(SeqCst)
    }
}

/// Whether a request is answered without a write, and so also while the disk hangs.
fn only_reads(api: ApiKey) -> bool {
    use ApiKey::{ApiVersions, Fetch, FindCoordinator, ListOffsets, Metadata, OffsetForLeaderEpoch};
    matches!(api, ApiVersions | Fetch | FindCoordinator | ListOffsets | Metadata | OffsetForLeaderEpoch)
}

/// Does what workers would, one job after the other.
async fn work(mut jobs: mpsc::UnboundedReceiver<Job>, state: Arc<State>) {
    while let Some(job) = jobs.recv().await {
        state.disk_answers().await;
        if state.slow.load(SeqCst) {
            let number = state.jobs.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(number.wrapping_mul(0x9e37_79b9) % SLOW_MS)).await;
        }
        job();
    }
}

/// One connection: frames in, replies out, in order. Requests begin when the broker's `Replies::admit` would let them.
async fn serve(handler: Arc<Handler>, stream: DuplexStream, peer: Peer, state: Arc<State>) {
    let (mut reads, writes) = tokio::io::split(stream);
    let (slots, waiting) = mpsc::channel(RING);
    let (done, mut idle) = watch::channel(0_u64);
    let writer = tokio::task::spawn_local(reply(waiting, writes, done));
    let (mut client, mut begun, mut overlapping) = (Client::new(peer, Login::settled()), 0, true);
    while let Ok(frame) = read_frame(&mut reads).await {
        let Ok(request) = Request::read(frame) else { break };
        let api = request.api();
        if !(api == ApiKey::Produce && overlapping) && idle.wait_for(|written| *written == begun).await.is_err() {
            break;
        }
        overlapping = api == ApiKey::Produce;
        begun += 1;
        if !only_reads(api) && !state.disk_answers_before_others_lead(&handler).await {
            // As in the broker, clients do not wait with their reactor, which carries out what it has begun.
            drop(reads);
            writer.abort();
            state.disk_answers().await;
            if let Reply::Held(done) = handler.dispatch(&mut client, request) {
                done.await;
            }
            return;
        }
        let answer = match handler.dispatch(&mut client, request) {
            Reply::Held(done) => done.await,
            answer => answer,
        };
        if slots.send(answer).await.is_err() {
            break;
        }
    }
    // As in the broker, what was asked on it ends with it.
    writer.abort();
}

async fn read_frame(reads: &mut ReadHalf<DuplexStream>) -> io::Result<Bytes> {
    let mut frame = vec![0; reads.read_u32().await? as usize];
    reads.read_exact(&mut frame).await?;
    Ok(frame.into())
}

async fn reply(
    mut slots: mpsc::Receiver<Reply>,
    mut to: WriteHalf<DuplexStream>,
    done: watch::Sender<u64>,
) -> io::Result<()> {
    while let Some(reply) = slots.recv().await {
        let frame = match reply {
            Reply::Now(frame) | Reply::Last(frame, _) => Some(frame),
            Reply::Later(answer) => answer.await.ok(),
            Reply::Nothing => {
                done.send_modify(|done| *done += 1);
                continue;
            }
            Reply::Close(_) | Reply::Held(_) => None,
        };
        let Some(frame) = frame else { break };
        send(&mut to, frame).await?;
        done.send_modify(|done| *done += 1);
    }
    to.shutdown().await
}

/// What lies in a file is read when there is room for it, as `sendfile` does.
async fn send(to: &mut WriteHalf<DuplexStream>, frame: Frame) -> io::Result<()> {
    for chunk in frame.into_chunks() {
        match chunk {
            Chunk::Bytes(bytes) => to.write_all(&bytes).await?,
            Chunk::File(FileSlice { file: sent_from, position, len }) => {
                let file = File::from(sent_from.as_fd().try_clone_to_owned()?);
                let mut sent = 0;
                while sent < len {
                    let mut piece = vec![0; PIECE.min(len - sent)];
                    if !sent_from.is_intact() {
                        return Err(io::Error::other("the records that were to be sent are not in the log any more"));
                    }
                    file.read_exact_at(&mut piece, position + sent as u64)?;
                    sent += piece.len();
                    to.write_all(&piece).await?;
                }
            }
        }
    }
    Ok(())
}

/// What a slice of a file holds now.
pub(crate) fn read_slice(slice: &FileSlice) -> io::Result<Bytes> {
    let file = File::from(slice.file.as_fd().try_clone_to_owned()?);
    let mut bytes = vec![0; slice.len];
    file.read_exact_at(&mut bytes, slice.position)?;
    Ok(bytes.into())
}
