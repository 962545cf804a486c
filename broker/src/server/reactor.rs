//! A reactor: one thread, one single-threaded runtime, and the connections that were given to it.
//!
//! A connection stays on its reactor for life, so nothing of it needs to be `Send`, and its requests run where its
//! bytes arrive.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytestring::ByteString as Str;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;

use super::buffers::{Budget, Buffers};
use super::connection;
use super::frames::Scratch;
use super::unserved::Unserved;
use crate::handle::{Handler, Peer};

/// What connections are held to.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`.
    pub max_request: usize,
    /// `connections.max.idle.ms`.
    pub max_idle: Duration,
}

/// What the connections of one reactor share.
pub struct Reactor {
    /// The way down: to the handlers.
    pub handler: Arc<Handler>,
    /// Memory for frames.
    pub buffers: Arc<Buffers>,
    /// Memory to read small frames through.
    pub scratch: Scratch,
    /// What connections are held to.
    pub limits: Limits,
    /// Who asked for what is not served.
    pub(super) unserved: Arc<Mutex<Unserved>>,
    /// Turns true when the broker stops.
    pub stopping: watch::Receiver<bool>,
}

/// A connection on its way to its reactor.
pub struct Accepted {
    /// The socket, set to non-blocking.
    pub socket: std::net::TcpStream,
    /// Who is at the other end.
    pub address: SocketAddr,
    /// The listener it came in on.
    pub listener: Str,
}

/// What a reactor finds in its inbox.
enum Post {
    /// A connection to serve.
    Connection(Accepted),
    /// Somebody wants to know whether it gets on.
    Feel(oneshot::Sender<()>),
}

/// A running reactor, seen from the acceptor.
pub struct ReactorHandle {
    inbox: mpsc::Sender<Post>,
    connections: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

/// Accepted connections that may wait for their reactor; the acceptor waits beyond that.
const INBOX_BOUND: usize = 1024;

impl ReactorHandle {
    /// Starts the thread `reactor-<number>`.
    ///
    /// # Errors
    /// When the system has no thread or no poller to give.
    pub(super) fn start(
        number: usize,
        handler: Arc<Handler>,
        budget: Budget,
        limits: Limits,
        unserved: Arc<Mutex<Unserved>>,
        stopping: watch::Receiver<bool>,
    ) -> io::Result<ReactorHandle> {
        let (inbox, posted) = mpsc::channel(INBOX_BOUND);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("reactor-{number}")).spawn(move || {
            let buffers = Buffers::new(budget);
            let reactor = Rc::new(Reactor { handler, buffers, scratch: Scratch::new(), limits, unserved, stopping });
            let local = LocalSet::new();
            local.block_on(&runtime, run(reactor, posted, count));
        })?;
        Ok(ReactorHandle { inbox, connections, thread })
    }

    /// How many connections it has.
    pub fn load(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What feels whether it gets on.
    pub fn pulse(&self) -> Pulse {
        Pulse(self.inbox.clone())
    }

    /// Gives it a connection.
    pub async fn give(&self, accepted: Accepted) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if self.inbox.send(Post::Connection(accepted)).await.is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until the thread has ended; the reactors' `stopping` must have turned true. Blocks.
    pub fn join(self) {
        drop(self.inbox);
        if self.thread.join().is_err() {
            tracing::error!("a reactor panicked");
        }
    }
}

/// Feels whether a reactor gets on: through the same queue as connections.
pub struct Pulse(mpsc::Sender<Post>);

impl Pulse {
    /// Returns when the reactor has come by, or has ended.
    pub async fn feel(&self) {
        let (felt, answer) = oneshot::channel();
        if self.0.send(Post::Feel(felt)).await.is_ok() {
            // An error says that the reactor ends: it got on.
            let _ = answer.await;
        }
    }
}

async fn run(reactor: Rc<Reactor>, mut inbox: mpsc::Receiver<Post>, connections: Arc<AtomicUsize>) {
    let mut stopping = reactor.stopping.clone();
    loop {
        let Accepted { socket, address, listener } = tokio::select! {
            next = inbox.recv() => match next {
                Some(Post::Connection(accepted)) => accepted,
                Some(Post::Feel(felt)) => {
                    // Whoever asked may have given up.
                    let _ = felt.send(());
                    continue;
                }
                None => return,
            },
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let stream = match tokio::net::TcpStream::from_std(socket) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%address, %error, "failed to take over a connection");
                connections.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
        };
        let peer = Peer::new(address, listener);
        let (reactor, connections) = (reactor.clone(), connections.clone());
        tokio::task::spawn_local(async move {
            let metrics = reactor.handler.metrics.clone();
            metrics.connections.inc();
            let ended = connection::serve(reactor, stream, peer).await;
            metrics.connections.dec();
            if let Some(reason) = ended.refusal() {
                metrics.connections_refused.with_label_values(&[reason]).inc();
            }
            connections.fetch_sub(1, Ordering::Relaxed);
            tracing::debug!(%address, %ended, "connection ended");
        });
    }
}
