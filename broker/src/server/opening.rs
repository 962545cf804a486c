//! From an accepted socket to one that requests can be read from: whether the listener serves, and TLS.

use std::time::Duration;

use ottla_access::{Authentication, Login};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::secure::{HandshakeError, Secure};
use super::socket::Socket;
use crate::handle::{Client, Peer};
use crate::image::ImageReceiver;
use crate::tls::ServerConfigsReceiver;

/// How long a handshake may take. A client on a slow link needs two round trips.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes of a reactor may be under way. Each computes for a fraction of a millisecond; the others wait.
const HANDSHAKES: usize = 256;

/// Why a connection ended before its first request.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The KafkaCluster has no such listener any more.
    #[error("the KafkaCluster does not have this listener any more")]
    NoListener,
    /// The listener's TLS files can't be used; an earlier log line says why.
    #[error("the listener has no usable TLS certificate")]
    NoCertificate,
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The handshake took too long.
    #[error("the TLS handshake was not complete after {HANDSHAKE:?}")]
    Slow,
}

impl NotOpened {
    /// The reason for the metric; `None` if the network ended the connection.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            NotOpened::NoListener => Some("no_listener"),
            NotOpened::NoCertificate => Some("no_certificate"),
            NotOpened::Handshake(HandshakeError::NotTls) => Some("not_tls"),
            NotOpened::Handshake(HandshakeError::Tls(_)) => Some("tls_handshake"),
            NotOpened::Handshake(HandshakeError::Socket(_)) => None,
            NotOpened::Slow => Some("tls_handshake_slow"),
        }
    }
}

/// What new connections of a reactor need.
pub struct Door {
    images: ImageReceiver,
    tls: ServerConfigsReceiver,
    /// The turns of handshakes.
    handshakes: Semaphore,
}

impl Door {
    /// A door with the listeners of the image, and their TLS configurations.
    pub fn new(images: ImageReceiver, tls: ServerConfigsReceiver) -> Door {
        Door { images, tls, handshakes: Semaphore::new(HANDSHAKES) }
    }

    /// Opens a connection. Not cancellation safe.
    ///
    /// # Errors
    /// See [`NotOpened`].
    pub async fn open(&self, stream: TcpStream, mut peer: Peer) -> Result<(Socket, Client), NotOpened> {
        let access = self.images.borrow().access.clone();
        let listener = access.listeners.get(&peer.listener).ok_or(NotOpened::NoListener)?;
        let socket = if listener.tls { self.secure(stream, &peer).await? } else { Socket::Plain(stream) };
        // The handshake has checked that its certificate is of the cluster's authority.
        peer.is_broker = listener.authentication == Authentication::Brokers;
        let login = match &listener.authentication {
            Authentication::None | Authentication::Certificate | Authentication::Brokers => Login::settled(),
            Authentication::Sasl(_) => Login::begun(),
        };
        Ok((socket, Client::new(peer, login)))
    }

    /// Does the handshake of TLS.
    async fn secure(&self, stream: TcpStream, peer: &Peer) -> Result<Socket, NotOpened> {
        let _turn = self.handshakes.acquire().await.expect("the semaphore is never closed");
        // Taken after the turn has come: the newest.
        let config = self.tls.borrow().get(&peer.listener).cloned().ok_or(NotOpened::NoCertificate)?;
        let secure = timeout(HANDSHAKE, Secure::accept(stream, config)).await.map_err(|_| NotOpened::Slow)??;
        Ok(Socket::Secure(Box::new(secure)))
    }
}
