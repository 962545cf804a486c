//! Sockets: listens, spreads connections over reactors, reads frames and writes replies in order.
//!
//! - `admission`: which connections are taken, and when
//! - [`reactor`]: one thread with its connections; `connections`: these, as other threads see them
//! - `stuck`: reactors that wait for a disk that hangs
//! - `opening`: whether the listener serves, and TLS
//! - [`connection`]: one connection's loop
//! - [`frames`]: from socket to frames, in pooled [`buffers`]
//! - [`replies`]: from replies to socket, in order
//! - [`socket`]: plain, or under TLS ([`secure`], and `sealed` for what is sent)
//! - `unserved`: clients that use an API that is not served, and `refused`: those that are not let in; both `quiet`:
//!   once a minute
//!
//! Knows no API: `handle` knows what a request means.

mod admission;
pub mod buffers;
pub mod connection;
mod connections;
pub mod frames;
mod opening;
mod quiet;
pub mod reactor;
mod refused;
pub mod replies;
mod sealed;
pub mod secure;
pub mod socket;
mod stuck;
mod unserved;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use self::admission::Admission;
use self::buffers::{BUDGET_OF_STRANGERS, Budget};
use self::connections::Accepted;
pub use self::reactor::Pulse;
use self::reactor::{ReactorContext, ReactorHandle, SocketLimits};
use self::stuck::{refuse, with_fewest};
use crate::env;
use crate::handle::Handler;
use crate::metrics::Metrics;
use crate::tls::ServerConfigsReceiver;

/// The reactors of a broker, and their acceptors.
pub struct Server {
    reactors: Arc<Vec<ReactorHandle>>,
    /// The acceptors, and the look at the reactors.
    tasks: Vec<tokio::task::JoinHandle<()>>,
    stop: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

/// The pause of the acceptor after a failed accept, mostly because no descriptors are left: without it, it would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Server {
    /// Starts `reactors` threads that serve what `listeners` accept. Must be called on the control runtime.
    ///
    /// # Errors
    /// When the system refuses a thread or a poller.
    pub fn start(
        listeners: Vec<(Str, TcpListener)>,
        handler: &Arc<Handler>,
        reactors: usize,
        budget: Budget,
        limits: SocketLimits,
        tls: ServerConfigsReceiver,
    ) -> io::Result<Server> {
        let (stop, stopping) = watch::channel(false);
        let shared = ReactorContext {
            handler: handler.clone(),
            budget,
            strangers: Budget::new(BUDGET_OF_STRANGERS),
            limits,
            tls,
            unserved: Arc::default(),
            refused: Arc::default(),
            stopping: stopping.clone(),
        };
        let reactors: io::Result<Vec<_>> = (0..reactors).map(|n| ReactorHandle::start(n, shared.clone())).collect();
        let reactors = Arc::new(reactors?);
        let names: Arc<[Str]> = listeners.iter().map(|(name, _)| name.clone()).collect();
        let acceptors = listeners.into_iter().map(|(name, listener)| {
            let (gate, images, metrics) =
                (handler.quotas.gate.clone(), handler.images.clone(), handler.metrics.clone());
            let admission = Admission::new(name.clone(), names.clone(), gate, images, metrics);
            let reactors = (reactors.clone(), handler.metrics.clone());
            tokio::spawn(accept(name, listener, admission, reactors, stopping.clone()))
        });
        let tasks = acceptors.collect();
        Ok(Server { reactors, tasks, stop, metrics: handler.metrics.clone() })
    }

    /// Keeps clients from waiting for reactors that wait for the disk of the directory `data`. `others_lead` says
    /// whether another broker leads a partition, and this one has not been able to act on that yet. Must be called on
    /// the control runtime.
    pub fn watch_disk(&mut self, data: PathBuf, others_lead: impl Fn() -> bool + Send + 'static) {
        let (reactors, metrics) = (self.reactors.clone(), self.metrics.clone());
        let looking = stuck::watch(reactors, data, others_lead, metrics, self.stop.subscribe());
        self.tasks.push(tokio::spawn(looking));
    }

    /// A check of each reactor, for `/livez`.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.reactors.iter().map(ReactorHandle::pulse).collect()
    }

    /// Stops accepting, ends every connection and waits for the threads. Not cancellation safe.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
        if let Ok(reactors) = Arc::try_unwrap(self.reactors) {
            let joined = tokio::task::spawn_blocking(move || reactors.into_iter().for_each(ReactorHandle::join)).await;
            joined.expect("joining does not panic");
        }
    }
}

/// Gives each new connection to the reactor that has the fewest.
async fn accept(
    listener_name: Str,
    listener: TcpListener,
    mut admission: Admission,
    (reactors, metrics): (Arc<Vec<ReactorHandle>>, Arc<Metrics>),
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let prepared = accepted.and_then(|(stream, address)| Ok((prepare(stream)?, address)));
        let (socket, address): (_, SocketAddr) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::warn!(listener = %listener_name, %error, "failed to accept a connection");
                env::sleep_until(env::now() + ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A socket for both kinds of addresses shows 10.0.0.7 as ::ffff:10.0.0.7.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let admitted = tokio::select! {
            admitted = admission.admit(socket, address.ip()) => admitted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let Some((socket, place)) = admitted else { continue };
        let accepted = Accepted { socket, address, listener: listener_name.clone(), place };
        match with_fewest(&reactors) {
            Some(reactor) => tokio::select! {
                () = reactor.connections().give(accepted) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            },
            None => refuse(accepted, &metrics),
        }
    }
}

fn prepare(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    stream.into_std()
}
