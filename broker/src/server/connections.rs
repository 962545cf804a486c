//! The connections of one reactor, as other threads see them: those that wait for the reactor, and the sockets of those
//! that it serves. While a reactor waits for the disk, other threads move the first and shut down the second.
//!
//! Holds a socket for no longer than its connection does.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytestring::ByteString as Str;
use parking_lot::Mutex;
use rustix::net::Shutdown;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use crate::quotas::connections::ConnectionPlace;

/// How many accepted connections may wait for their reactor; beyond that the acceptor waits.
const WAITING: usize = 1024;

/// A connection on its way to its reactor.
pub(super) struct Accepted {
    /// The socket, set to non-blocking.
    pub socket: std::net::TcpStream,
    /// The address of the peer.
    pub address: SocketAddr,
    /// The name of the listener.
    pub listener: Str,
    /// Its place among the broker's connections.
    pub place: ConnectionPlace,
}

/// The connections of one reactor.
#[derive(Default)]
pub(super) struct Connections {
    /// How many there are, with those that wait.
    count: AtomicUsize,
    /// Those that the reactor has not taken yet.
    waiting: Mutex<VecDeque<Accepted>>,
    /// A connection has come to wait.
    came: Notify,
    /// Fewer wait than before.
    went: Notify,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    next: u64,
    open: HashMap<u64, Weak<TcpStream>>,
}

/// A connection that the reactor serves, until this is dropped.
pub(super) struct Served {
    among: Arc<Connections>,
    number: u64,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.among.sockets.lock().open.remove(&self.number);
        self.among.lose(1);
    }
}

impl Connections {
    /// How many there are, with those that wait.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds a connection once fewer wait than may.
    pub(super) async fn give(&self, accepted: Accepted) {
        loop {
            let went = self.went.notified();
            if self.waiting.lock().len() < WAITING {
                return self.put(accepted);
            }
            went.await;
        }
    }

    /// Adds a connection, however many wait.
    pub(super) fn put(&self, accepted: Accepted) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().push_back(accepted);
        self.came.notify_one();
    }

    /// The next connection, for the reactor. Cancellation safe.
    pub(super) async fn next(&self) -> Accepted {
        loop {
            let next = self.waiting.lock().pop_front();
            if let Some(accepted) = next {
                self.went.notify_waiters();
                return accepted;
            }
            self.came.notified().await;
        }
    }

    /// Takes the connections away that the reactor has not taken yet.
    pub(super) fn take_waiting(&self) -> VecDeque<Accepted> {
        let taken = std::mem::take(&mut *self.waiting.lock());
        self.lose(taken.len());
        self.went.notify_waiters();
        taken
    }

    /// The reactor serves a connection that it has taken.
    pub(super) fn serve(self: &Arc<Self>, stream: &Arc<TcpStream>) -> Served {
        let mut sockets = self.sockets.lock();
        let number = sockets.next;
        sockets.next += 1;
        sockets.open.insert(number, Arc::downgrade(stream));
        Served { among: self.clone(), number }
    }

    /// So many are none any more.
    pub(super) fn lose(&self, how_many: usize) {
        self.count.fetch_sub(how_many, Ordering::Relaxed);
    }

    /// Shuts down the sockets of all that the reactor serves; how many. It ends these connections when it runs again.
    pub(super) async fn shut_down(&self) -> usize {
        let open = std::mem::take(&mut self.sockets.lock().open);
        let mut ended = 0;
        for socket in open.into_values() {
            if let Some(stream) = socket.upgrade() {
                // An error says that the peer has ended the connection.
                ended += usize::from(rustix::net::shutdown(&*stream, Shutdown::Both).is_ok());
            }
            consume_budget().await;
        }
        ended
    }
}
