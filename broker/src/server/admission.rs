//! Which accepted connections are taken, and when: those that the broker's limits and its address' allow (KIP-612).

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;

use bytestring::ByteString as Str;
use tokio::sync::Semaphore;

use crate::env;
use crate::image::ImageReceiver;
use crate::metrics::Metrics;
use crate::quotas::connections::{ConnectionPlace, Gate, TurnedAway};

/// How many connections that came too fast are held at the same time; beyond that they are closed at once.
const MOST_HELD: usize = 1024;

/// Takes connections of one listener.
pub(super) struct Admission {
    listener: Str,
    /// The names of all listeners of the broker.
    listeners: Arc<[Str]>,
    gate: Arc<Gate>,
    images: ImageReceiver,
    metrics: Arc<Metrics>,
    held: Arc<Semaphore>,
}

impl Admission {
    /// To `listener`, which is one of `listeners`.
    pub(super) fn new(
        listener: Str,
        listeners: Arc<[Str]>,
        gate: Arc<Gate>,
        images: ImageReceiver,
        metrics: Arc<Metrics>,
    ) -> Admission {
        Admission { listener, listeners, gate, images, metrics, held: Arc::new(Semaphore::new(MOST_HELD)) }
    }

    /// Waits until the broker may have another connection. Then its place; `None`: the address may not have it, and it
    /// is or will be closed.
    pub(super) async fn admit(&mut self, socket: TcpStream, address: IpAddr) -> Option<(TcpStream, ConnectionPlace)> {
        // Brokers must reach each other, also when clients have taken all there is.
        let spared = self.listeners.len() > 1 && self.images.borrow().is_of_brokers(&self.listener, &self.listeners);
        let throttled = self.gate.wait(&mut self.images, &self.listener, spared).await;
        if !throttled.is_zero() {
            self.metrics.clients.count_throttled("max.connection.creation.rate", throttled);
        }
        let image = self.images.borrow().clone();
        let reason = match self.gate.admit(&image, &self.listener, spared, address) {
            Ok(place) => return Some((socket, place)),
            Err(TurnedAway::TooMany) => "too_many_of_address",
            Err(TurnedAway::TooFast(time)) => {
                self.metrics.clients.count_throttled("connection_creation_rate", time);
                if let Ok(permit) = self.held.clone().try_acquire_owned() {
                    tokio::spawn(async move {
                        env::sleep_until(env::now() + time).await;
                        drop((socket, permit));
                    });
                }
                "too_fast_of_address"
            }
        };
        self.metrics.clients.connections_refused.with_label_values(&[reason]).inc();
        tracing::debug!(listener = %self.listener, %address, reason, "turned a connection away");
        None
    }
}
