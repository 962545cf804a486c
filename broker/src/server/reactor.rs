//! A reactor: one thread, one single-threaded runtime, and the connections that were given to it.
//!
//! A connection stays on its reactor for life, so its state need not be `Send`, and its requests run on the thread that
//! reads them.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_access::Access;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tracing::Instrument;

use super::buffers::{Budget, Buffers};
use super::connection::{self, Ended};
use super::connections::{Accepted, Connections};
use super::frames::Scratch;
use super::opening::Door;
use super::refused::RefusalLog;
use super::unserved::Unserved;
use crate::env;
use crate::handle::{Handler, Peer};
use crate::tls::ServerConfigsReceiver;

/// The limits of connections.
#[derive(Clone, Debug)]
pub struct SocketLimits {
    /// `socket.request.max.bytes`.
    pub max_request: usize,
    /// `sasl.server.max.receive.size`: the largest request of a client that has not authenticated.
    pub max_stranger_request: usize,
    /// `connections.max.idle.ms`.
    pub max_idle: Duration,
}

/// What the connections of one reactor share.
pub struct Reactor {
    /// The handlers of requests.
    pub handler: Arc<Handler>,
    /// Memory for frames.
    pub buffers: Arc<Buffers>,
    /// The same for clients that have not authenticated.
    pub strangers: Arc<Buffers>,
    /// The memory through which small frames are read.
    pub scratch: Scratch,
    /// The limits of connections.
    pub limits: SocketLimits,
    /// Who may connect, for connections that exist.
    pub(super) access: watch::Sender<Arc<Access>>,
    /// What new connections need.
    pub(super) door: Door,
    /// Clients that used an API that is not served.
    pub(super) unserved: Arc<Mutex<Unserved>>,
    /// Clients that were not let in.
    refused: Arc<Mutex<RefusalLog>>,
    /// Turns true when the broker stops.
    pub stopping: watch::Receiver<bool>,
}

/// What the reactors of a broker share.
#[derive(Clone)]
pub(super) struct ReactorContext {
    pub handler: Arc<Handler>,
    /// The memory for large frames of clients, and of those that have not authenticated.
    pub budget: Budget,
    pub strangers: Budget,
    pub limits: SocketLimits,
    pub tls: ServerConfigsReceiver,
    pub unserved: Arc<Mutex<Unserved>>,
    pub refused: Arc<Mutex<RefusalLog>>,
    pub stopping: watch::Receiver<bool>,
}

impl Reactor {
    fn new(shared: ReactorContext) -> Reactor {
        let ReactorContext { handler, budget, strangers, limits, tls, unserved, refused, stopping } = shared;
        let access = handler.images.borrow().access.clone();
        Reactor {
            buffers: Buffers::new(budget),
            strangers: Buffers::for_strangers(strangers),
            scratch: Scratch::new(),
            door: Door::new(handler.images.clone(), tls),
            access: watch::Sender::new(access),
            handler,
            limits,
            unserved,
            refused,
            stopping,
        }
    }
}

/// Asks a reactor whether it answers.
type Feel = oneshot::Sender<()>;

/// A running reactor, as the acceptor sees it.
pub struct ReactorHandle {
    number: usize,
    inbox: mpsc::Sender<Feel>,
    connections: Arc<Connections>,
    /// It waits for the disk, and serves nobody.
    is_stuck: AtomicBool,
    thread: std::thread::JoinHandle<()>,
}

/// How many checks may wait for a reactor; who asks beyond that waits.
const INBOX_BOUND: usize = 1024;

impl ReactorHandle {
    /// Starts the thread `reactor-<number>`.
    ///
    /// # Errors
    /// When the system refuses a thread or a poller.
    pub(super) fn start(number: usize, shared: ReactorContext) -> io::Result<ReactorHandle> {
        let (inbox, posted) = mpsc::channel(INBOX_BOUND);
        let connections = Arc::<Connections>::default();
        let given = connections.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("reactor-{number}")).spawn(move || {
            let reactor = Rc::new(Reactor::new(shared));
            let local = LocalSet::new();
            local.block_on(&runtime, run(reactor, posted, given));
        })?;
        Ok(ReactorHandle { number, inbox, connections, is_stuck: AtomicBool::new(false), thread })
    }

    /// Which of the broker's reactors it is.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Its connections.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// A check whether it answers, for `/livez`.
    pub fn pulse(&self) -> Pulse {
        Pulse(self.inbox.clone())
    }

    /// Asks whether it answers, and waits for nothing; `None`: so many have asked that it can't be asked now.
    pub(super) fn ask(&self) -> Option<oneshot::Receiver<()>> {
        let (felt, answer) = oneshot::channel();
        self.inbox.try_send(felt).ok().map(|()| answer)
    }

    /// Whether it waits for the disk, as was last seen.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Keeps whether it waits for the disk.
    pub(super) fn set_stuck(&self, is_stuck: bool) {
        self.is_stuck.store(is_stuck, Ordering::Relaxed);
    }

    /// Waits until the thread has ended; the reactors' `stopping` must have turned true. Blocks.
    pub fn join(self) {
        drop(self.inbox);
        if self.thread.join().is_err() {
            tracing::error!("a reactor panicked");
        }
    }
}

/// Checks whether a reactor answers.
pub struct Pulse(mpsc::Sender<Feel>);

impl Pulse {
    /// Returns when the reactor has answered, or has ended.
    pub async fn feel(&self) {
        let (felt, answer) = oneshot::channel();
        if self.0.send(felt).await.is_ok() {
            // An error says that the reactor has ended, so it did not hang.
            let _ = answer.await;
        }
    }
}

/// Hands on each new [`Access`] of the image, until there is no image any more.
async fn follow(reactor: Rc<Reactor>) {
    let mut images = reactor.handler.images.clone();
    loop {
        let access = images.borrow_and_update().access.clone();
        reactor.access.send_if_modified(|known| {
            let is_new = !Arc::ptr_eq(known, &access);
            *known = access;
            is_new
        });
        if images.changed().await.is_err() {
            return;
        }
    }
}

async fn run(reactor: Rc<Reactor>, mut inbox: mpsc::Receiver<Feel>, connections: Arc<Connections>) {
    let mut stopping = reactor.stopping.clone();
    tokio::task::spawn_local(follow(reactor.clone()));
    loop {
        let Accepted { socket, address, listener, place } = tokio::select! {
            accepted = connections.next() => accepted,
            asked = inbox.recv() => match asked {
                Some(felt) => {
                    // The asker may have stopped waiting.
                    let _ = felt.send(());
                    continue;
                }
                None => return,
            },
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let stream = match tokio::net::TcpStream::from_std(socket) {
            Ok(stream) => Arc::new(stream),
            Err(error) => {
                tracing::warn!(%address, %error, "failed to take over a connection");
                connections.lose(1);
                continue;
            }
        };
        let peer = Peer::new(address, listener);
        let (reactor, listed) = (reactor.clone(), connections.serve(&stream));
        let span = connection::span(&peer);
        let served = async move {
            let (metrics, refused) = (reactor.handler.metrics.clone(), reactor.refused.clone());
            metrics.clients.connections.inc();
            let ended = connection::run(reactor, stream, peer.clone()).await;
            metrics.clients.connections.dec();
            if let Some(reason) = ended.refusal() {
                metrics.clients.connections_refused.with_label_values(&[reason]).inc();
            }
            if let Ended::NotOpened(error) = &ended {
                refused.lock().note(env::now(), &peer, error);
            }
            drop((listed, place));
            tracing::debug!(%ended, "connection ended");
        };
        tokio::task::spawn_local(served.instrument(span));
    }
}
