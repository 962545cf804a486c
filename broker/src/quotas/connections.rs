//! Which connections listeners may take, and when (KIP-612).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
pub(crate) use ottla_access::quotas::TurnedAway;
use ottla_access::quotas::{ConnectionLimits, Connections, Windows};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::env::{self, Instant};
use crate::image::{ClusterImage, ImageReceiver};

/// The connections of the broker.
pub struct Gate {
    started: Instant,
    windows: Windows,
    connections: Mutex<Connections>,
    /// A connection has ended.
    left: Notify,
}

/// The place of one connection, which is free again when this is dropped.
pub struct ConnectionPlace {
    gate: Arc<Gate>,
    listener: Str,
    address: IpAddr,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.gate.connections.lock().leave(&self.listener, self.address);
        self.gate.left.notify_waiters();
    }
}

impl Gate {
    pub(super) fn new(started: Instant, windows: Windows) -> Gate {
        Gate { started, windows, connections: Mutex::default(), left: Notify::new() }
    }

    /// Waits until the broker may have another connection on `listener`, which is `spared` if brokers use it. How long
    /// the listener was throttled because they come too fast. Cancellation safe.
    pub async fn wait(&self, images: &mut ImageReceiver, listener: &Str, spared: bool) -> Duration {
        let limits = self.limits(&images.borrow(), listener, spared);
        let throttled = self.connections.lock().arrive(&limits, self.now());
        if !throttled.is_zero() {
            env::sleep_until(env::now() + throttled).await;
        }
        loop {
            let left = self.left.notified();
            let limits = self.limits(&images.borrow_and_update(), listener, spared);
            if self.connections.lock().has_room(&limits) {
                return throttled;
            }
            tokio::select! {
                () = left => {}
                changed = images.changed() => if changed.is_err() {
                    // The broker stops.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// A place for a connection from `address` to `listener`.
    ///
    /// # Errors
    /// Why it may not have it.
    pub fn admit(
        self: &Arc<Self>,
        image: &ClusterImage,
        listener: &Str,
        spared: bool,
        address: IpAddr,
    ) -> Result<ConnectionPlace, TurnedAway> {
        let (limits, rate) = (self.limits(image, listener, spared), image.access.quotas.of_address(address));
        self.connections.lock().admit(&limits, address, rate, self.now())?;
        Ok(ConnectionPlace { gate: self.clone(), listener: listener.clone(), address })
    }

    fn limits(&self, image: &ClusterImage, listener: &Str, spared: bool) -> ConnectionLimits {
        let settings = &image.settings.connections;
        let of_listener = settings.of_listener(listener);
        ConnectionLimits {
            listener: listener.clone(),
            spared,
            max_of_listener: of_listener.max,
            per_second_of_listener: of_listener.per_second.map(f64::from),
            max: settings.of_broker.max,
            per_second: settings.of_broker.per_second.map(f64::from),
            max_per_address: settings.max_per_address,
            overrides: settings.overrides.clone(),
            windows: self.windows,
        }
    }

    fn now(&self) -> Duration {
        env::now() - self.started
    }
}
