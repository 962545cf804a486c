//! The connections between operators and brokers: in memory, so that a seed tells the same story on every machine.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

/// Bytes on their way in each direction.
const IN_FLIGHT: usize = 4096;
/// Connections that nobody has taken yet.
const BACKLOG: usize = 16;

/// Who listens where.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<BTreeMap<u16, mpsc::Sender<DuplexStream>>>>);

impl Network {
    /// Listens on a port, in the place of whoever did before.
    pub fn listen(&self, port: u16) -> mpsc::Receiver<DuplexStream> {
        let (listener, connections) = mpsc::channel(BACKLOG);
        self.0.lock().insert(port, listener);
        connections
    }

    /// Connects to a port, also while whoever listens there is frozen.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(&self, port: u16) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(IN_FLIGHT);
        match self.0.lock().get(&port).map(|listener| listener.try_send(theirs)) {
            Some(Ok(())) => Ok(ours),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err(io::ErrorKind::TimedOut.into()),
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// Answers pings.
pub async fn answer_pings(mut connections: mpsc::Receiver<DuplexStream>) {
    while let Some(stream) = connections.recv().await {
        tokio::spawn(answer_pings_on(stream));
    }
}

async fn answer_pings_on(mut stream: DuplexStream) -> io::Result<()> {
    loop {
        let length = stream.read_u32().await?;
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await?;
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0]).await?;
    }
}
