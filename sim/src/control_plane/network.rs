//! The connections between operators and brokers: in memory, so that a seed plays in the same way on every machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Bytes on their way in each direction.
const IN_FLIGHT: usize = 4096;
/// Connections that nobody has taken yet.
const BACKLOG: usize = 16;

/// How often an answer that is held back is sent again.
const SENT_AGAIN: Duration = Duration::from_millis(100);

/// Who listens where, and what is cut off.
#[derive(Clone, Default)]
pub(super) struct Network(Arc<Mutex<Ports>>);

#[derive(Default)]
struct Ports {
    listening: BTreeMap<u16, mpsc::Sender<DuplexStream>>,
    cut_off: BTreeSet<u16>,
}

impl Network {
    /// Listens on a port, in the place of an earlier listener.
    pub(super) fn listen(&self, port: u16) -> mpsc::Receiver<DuplexStream> {
        let (listener, connections) = mpsc::channel(BACKLOG);
        self.0.lock().listening.insert(port, listener);
        connections
    }

    /// Connects to a port, also while the listener there is frozen.
    ///
    /// # Errors
    /// When nobody listens, or the port is cut off.
    pub(super) fn connect(&self, port: u16) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(IN_FLIGHT);
        let ports = self.0.lock();
        if ports.cut_off.contains(&port) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match ports.listening.get(&port).map(|listener| listener.try_send(theirs)) {
            Some(Ok(())) => Ok(ours),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err(io::ErrorKind::TimedOut.into()),
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Nothing gets to a port any more, nor comes from there, and neither side notices; or it does again.
    pub(super) fn cut_off(&self, port: u16, cut_off: bool) {
        let ports = &mut self.0.lock().cut_off;
        if cut_off {
            ports.insert(port)
        } else {
            ports.remove(&port)
        };
    }

    fn is_cut_off(&self, port: u16) -> bool {
        self.0.lock().cut_off.contains(&port)
    }
}

/// Answers pings.
pub(super) async fn answer_pings(mut connections: mpsc::Receiver<DuplexStream>, network: Network, port: u16) {
    while let Some(stream) = connections.recv().await {
        tokio::spawn(answer_pings_on(stream, network.clone(), port));
    }
}

async fn answer_pings_on(mut stream: DuplexStream, network: Network, port: u16) -> io::Result<()> {
    loop {
        let length = stream.read_u32().await?;
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await?;
        while network.is_cut_off(port) {
            sleep(SENT_AGAIN).await;
        }
        stream.write_all(&pong(&request)).await?;
    }
}

/// The response to a ping, ApiVersions in version 0: the request's correlation id, no error, and no API.
fn pong(request: &[u8]) -> [u8; 14] {
    let mut response = [0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if let Some(correlation_id) = request.get(4..8) {
        response[4..8].copy_from_slice(correlation_id);
    }
    response
}
