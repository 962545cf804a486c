//! From an accepted socket to one that requests can be read from: whether the listener serves, and TLS.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use ottla_access::certificate::{not_after, subject};
use ottla_access::{Authentication, Certified, Holder, Login, MappingRules};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::sealed::Memory;
use super::secure::{HandshakeError, Secure};
use super::socket::Socket;
use crate::env::{self, Instant};
use crate::handle::{Client, Peer, Role};
use crate::image::{BrokerId, ImageReceiver};
use crate::tls::ServerConfigsReceiver;

/// How long a handshake may take. A client on a slow link needs two round trips.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes of a reactor may be under way. Each computes for a fraction of a millisecond; the others wait.
const HANDSHAKES: usize = 256;
/// How long a handshake may take while all turns are taken: slow clients do not keep others from being served.
const CROWDED: Duration = Duration::from_secs(1);

/// Longer than any connection lasts; it can be added to a clock without overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

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
    /// The certificate is of no KafkaUser with certificates that exists.
    #[error("the client's certificate is of no KafkaUser of type tls that exists")]
    UnknownUser,
    /// The certificate is of another authority, and no rule makes a principal of its subject.
    #[error("no rule of principalMappingRules matches the subject of the client's certificate")]
    NoRule,
    /// The certificate is no broker's, and not the operator's.
    #[error("only brokers and the operator may connect to this listener")]
    NoBroker,
    /// The handshake took too long.
    #[error("the TLS handshake was not complete after {HANDSHAKE:?}, or {CROWDED:?} while many clients connect")]
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
            NotOpened::UnknownUser => Some("unknown_certificate"),
            NotOpened::NoRule => Some("unmapped_certificate"),
            NotOpened::NoBroker => Some("no_broker"),
            NotOpened::Slow => Some("tls_handshake_slow"),
        }
    }
}

/// What the client's certificate says.
fn certified(socket: &Socket) -> Option<Certified> {
    match socket {
        Socket::Plain(_) => None,
        Socket::Secure(secure) => Certified::of(&secure.peer_certificate()?),
    }
}

/// The principal that rules make of a certificate without a KafkaUser, and the certificate's last second since 1970.
fn mapped(socket: &Socket, rules: &MappingRules) -> Option<(Str, i64)> {
    let Socket::Secure(secure) = socket else { return None };
    let der = secure.peer_certificate()?;
    Some((Str::from(rules.name(&subject(&der)?)?), not_after(&der)?))
}

/// When a time of the wall clock comes, in seconds since 1970. It may be set meanwhile: then the connection ends
/// earlier or later, and the next one is judged by the new time.
fn at(seconds: i64) -> Instant {
    let left = seconds.saturating_mul(1000).saturating_sub(env::wall_clock_ms());
    env::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(LONGEST)
}

/// What new connections of a reactor need.
pub(super) struct Door {
    images: ImageReceiver,
    tls: ServerConfigsReceiver,
    /// The turns of handshakes.
    handshakes: Semaphore,
    /// Memory for the records of connections under TLS.
    memory: Rc<Memory>,
}

impl Door {
    /// A door with the listeners of the image, and their TLS configurations.
    pub(super) fn new(images: ImageReceiver, tls: ServerConfigsReceiver) -> Door {
        Door { images, tls, handshakes: Semaphore::new(HANDSHAKES), memory: Rc::default() }
    }

    /// Opens a connection. Not cancellation safe.
    ///
    /// # Errors
    /// See [`NotOpened`].
    pub(super) async fn open(&self, stream: Arc<TcpStream>, mut peer: Peer) -> Result<(Socket, Client), NotOpened> {
        let access = self.images.borrow().access.clone();
        let listener = access.listeners.get(&peer.listener).ok_or(NotOpened::NoListener)?;
        let socket = if listener.tls { self.secure(stream, &peer).await? } else { Socket::Plain(stream) };
        let client = match &listener.authentication {
            Authentication::None => Client::new(peer, Login::settled()),
            Authentication::Sasl { .. } => Client::new(peer, Login::begun()),
            // In both cases the handshake has checked that the right authority has issued the certificate.
            Authentication::Certificate { rules } => {
                let certified = certified(&socket);
                if let (Some(rules), None) = (rules, &certified) {
                    let (name, not_after) = mapped(&socket, rules).ok_or(NotOpened::NoRule)?;
                    return Ok((socket, Client::mapped(peer, name, at(not_after))));
                }
                let Some(Certified { holder: Holder::User { name, uid }, not_after }) = certified else {
                    return Err(NotOpened::UnknownUser);
                };
                // In the image of now: the user may have been deleted during the handshake.
                if !self.images.borrow().access.credentials.has_certificate(&name, &uid) {
                    return Err(NotOpened::UnknownUser);
                }
                Client::certified(peer, (name, uid), at(not_after))
            }
            Authentication::Brokers => {
                let certified = certified(&socket).ok_or(NotOpened::NoBroker)?;
                peer.role = match certified.holder {
                    Holder::Broker(id) => Role::Broker(BrokerId(id)),
                    Holder::Operator => Role::Operator,
                    Holder::User { .. } => return Err(NotOpened::NoBroker),
                };
                let mut client = Client::new(peer, Login::settled());
                client.certificate_ends = Some(at(certified.not_after));
                client
            }
        };
        Ok((socket, client))
    }

    /// Does the handshake of TLS. It takes a turn when the client has said something.
    async fn secure(&self, stream: Arc<TcpStream>, peer: &Peer) -> Result<Socket, NotOpened> {
        let spoken = timeout(HANDSHAKE, stream.readable()).await.map_err(|_| NotOpened::Slow)?;
        spoken.map_err(HandshakeError::Socket)?;
        let _turn = self.handshakes.acquire().await.expect("the semaphore is never closed");
        // Taken after the turn has come: the newest.
        let config = self.tls.borrow().get(&peer.listener).cloned().ok_or(NotOpened::NoCertificate)?;
        tokio::select! {
            biased;
            secure = Secure::accept(stream, config, self.memory.clone()) => Ok(Socket::Secure(Box::new(secure?))),
            () = self.too_long() => Err(NotOpened::Slow),
        }
    }

    /// Waits as long as a handshake that begins now may take.
    async fn too_long(&self) {
        let began = env::now();
        loop {
            sleep(CROWDED).await;
            if began.elapsed() >= HANDSHAKE || self.handshakes.available_permits() == 0 {
                return;
            }
        }
    }
}
