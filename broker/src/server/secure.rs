//! A socket under TLS 1.2 or 1.3.
//!
//! rustls computes and does not touch the socket; this file moves bytes between both. Memory for records of TLS exists
//! only while some are under way: an idle connection holds what rustls keeps of its session.
//!
//! What large requests and answers cost is copies, so plain text goes straight to where it is wanted, as far as there
//! is room, and `sealed` encrypts it from where it lies.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use ottla_wire::Chunk;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use tokio::net::TcpStream;

use super::sealed::{Memory, Outgoing, RECORD};
use crate::tls::words::explained;

/// How long a full record of TLS 1.3 is: header, plain text, type and tag.
const FULL_RECORD: usize = 5 + RECORD + 1 + 16;
/// How much that is not decrypted a connection holds: full records, so that where a client sends nothing else, nothing
/// is left of the last one that would have to be moved to the front.
const READ: usize = 4 * FULL_RECORD;
/// How much is read at once of a client that has not authenticated: it holds one record at most.
const READ_OF_STRANGERS: usize = 4 << 10;
/// Room for an alert.
const ALERT: usize = 128;
/// The type of records of a handshake, the first byte that a client sends.
const HANDSHAKE: u8 = 22;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The socket failed, or the peer closed it.
    #[error("the connection broke during the TLS handshake: {0}")]
    Socket(#[from] io::Error),
    /// The peer's first byte begins no TLS handshake.
    #[error("the client does not speak TLS, and this listener requires it: set security.protocol to SSL or SASL_SSL")]
    NotTls,
    /// TLS says why: no common version, no or a wrong certificate, …
    #[error("TLS handshake failed: {}", explained(.0))]
    Tls(rustls::Error),
}

/// A socket under TLS, after its handshake.
pub struct Secure {
    stream: Arc<TcpStream>,
    memory: Rc<Memory>,
    state: RefCell<TlsState>,
}

struct TlsState {
    session: UnbufferedServerConnection,
    /// How much is read from the socket at once.
    ahead: usize,
    /// What has come and is not decrypted.
    incoming: Vec<u8>,
    /// What is decrypted and not taken.
    plain: BytesMut,
    /// What is encrypted and not written.
    outgoing: Outgoing,
    /// Whether the peer has said that nothing more will come.
    peer_closed: bool,
}

impl Secure {
    /// Does the handshake. Not cancellation safe; the caller limits the time.
    ///
    /// # Errors
    /// See [`HandshakeError`]; the peer has got an alert, if the socket took it.
    pub async fn accept(
        stream: Arc<TcpStream>,
        config: Arc<ServerConfig>,
        memory: Rc<Memory>,
    ) -> Result<Secure, HandshakeError> {
        let session = UnbufferedServerConnection::new(config).map_err(HandshakeError::Tls)?;
        let mut state = TlsState {
            session,
            ahead: READ_OF_STRANGERS,
            incoming: Vec::new(),
            plain: BytesMut::new(),
            outgoing: Outgoing::default(),
            peer_closed: false,
        };
        let mut is_first = true;
        while state.session.is_handshaking() {
            stream.readable().await?;
            match or_later(state.receive(&stream))? {
                None => continue,
                Some(0) => return Err(HandshakeError::Socket(io::ErrorKind::UnexpectedEof.into())),
                Some(_) => {}
            }
            if std::mem::take(&mut is_first) && state.incoming.first() != Some(&HANDSHAKE) {
                return Err(HandshakeError::NotTls);
            }
            // What a client sends behind its last message of the handshake is kept in `plain`.
            let mut nowhere: &mut [u8] = &mut [];
            let processed = state.process(&mut nowhere);
            while !state.outgoing.is_empty() {
                stream.writable().await?;
                or_later(state.outgoing.write(&stream, &memory))?;
            }
            processed.map_err(HandshakeError::Tls)?;
        }
        Ok(Secure { stream, memory, state: RefCell::new(state) })
    }

    /// Reads more at once from now on: the client has authenticated.
    pub(super) fn widen(&self) {
        self.state.borrow_mut().ahead = READ;
    }

    /// The socket.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The peer's certificate; `None` if it was not asked for one.
    pub fn peer_certificate(&self) -> Option<CertificateDer<'static>> {
        let state = self.state.borrow();
        Some(state.session.peer_certificates()?.first()?.clone().into_owned())
    }

    /// Waits until there may be something to read. Cancellation safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.state.borrow().plain.is_empty() { self.stream.readable().await } else { Ok(()) }
    }

    /// Reads what there is, up to what `memory` has left; 0: the peer has closed.
    pub(super) fn try_read_buf(&self, memory: &mut impl BufMut) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        let before = memory.remaining_mut();
        if state.plain.is_empty() {
            // The length of each request is known: a peer that closes without saying so has cut off nothing unnoticed.
            if state.peer_closed || state.receive(&self.stream)? == 0 {
                return Ok(0);
            }
            let processed = state.process(memory);
            // An alert, or the answer to a change of keys. What the socket does not take now goes with the next reply.
            or_later(state.outgoing.write(&self.stream, &self.memory))?;
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        } else {
            let taken = put(memory, &state.plain);
            state.plain.advance(taken);
            if state.plain.is_empty() {
                state.plain = BytesMut::new();
            }
        }
        match before - memory.remaining_mut() {
            0 if !state.peer_closed => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    /// Whether encrypted bytes are not written yet.
    pub(super) fn has_unsent(&self) -> bool {
        !self.state.borrow().outgoing.is_empty()
    }

    /// Encrypts some of the chunks at the front, unless that was done, and writes what the socket takes.
    pub(super) fn write_some(&self, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        if state.outgoing.is_empty() {
            state.seal(out, &self.memory)?;
        }
        state.outgoing.write(&self.stream, &self.memory)
    }

    /// Says that nothing more will come, if the socket takes it at once: the connection ends.
    pub(super) fn close(&self) {
        let state = &mut *self.state.borrow_mut();
        let TlsState { session, incoming, outgoing, .. } = state;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = session.process_tls_records(incoming).state {
            // The peer also sees that the connection ends.
            let _ = outgoing.add(ALERT, |room| traffic.queue_close_notify(room));
        }
        let _ = outgoing.write(&self.stream, &self.memory);
    }
}

impl TlsState {
    /// Reads from the socket what there is; 0: the peer has closed.
    fn receive(&mut self, stream: &TcpStream) -> io::Result<usize> {
        // Of a long message of TLS itself more may be left than usual.
        let more = self.ahead.min(READ.saturating_sub(self.incoming.len()).max(FULL_RECORD));
        self.incoming.reserve(more);
        let received = stream.try_read_buf(&mut (&mut self.incoming).limit(more));
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        received
    }

    /// Takes in what has come: decrypts it to `memory`, and to `plain` what `memory` has no room for, and prepares
    /// answers of the protocol itself. Keeps what is no whole record.
    fn process(&mut self, memory: &mut impl BufMut) -> Result<(), rustls::Error> {
        let mut taken = 0;
        let result = loop {
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(&mut self.incoming[taken..]);
            let next = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut failed = None;
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                let taken = put(memory, record.payload);
                                self.plain.extend_from_slice(&record.payload[taken..]);
                            }
                            Err(error) => failed = Some(error),
                        }
                    }
                    failed.map_or(Next::Go, |error| Next::End(Err(error)))
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let needed = match data.encode(&mut []) {
                        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => required_size,
                        Ok(_) | Err(EncodeError::AlreadyEncoded) => 0,
                    };
                    // Encoded already: nothing is added.
                    let _ = self.outgoing.add(needed, |room| data.encode(room));
                    Next::Go
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It is in `outgoing`, and leaves before anything that is encrypted later.
                    data.done();
                    Next::Go
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.peer_closed = true;
                    Next::End(Ok(()))
                }
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => Next::End(Ok(())),
                // Early data is never offered; other states are of versions of rustls to come.
                Ok(_) => Next::End(Err(rustls::Error::General("unexpected state of TLS".to_owned()))),
                Err(error) => Next::End(Err(error)),
            };
            taken += discard;
            if let Next::End(result) = next {
                break result;
            }
        };
        self.incoming.drain(..taken);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        if result.is_err() {
            self.encode_alert();
        }
        result
    }

    /// After an error, what the peer is to hear of it.
    fn encode_alert(&mut self) {
        let TlsState { session, incoming, outgoing, .. } = self;
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = session.process_tls_records(incoming).state {
            // Without it, the peer sees that the connection ends.
            let _ = outgoing.add(ALERT, |room| data.encode(room));
        }
    }

    /// Encrypts some of the chunks at the front.
    fn seal(&mut self, out: &mut VecDeque<Chunk>, memory: &Memory) -> io::Result<()> {
        let TlsState { session, incoming, outgoing, .. } = self;
        // `process` has taken all whole records: nothing is discarded here. rustls may refer to a part of a message in
        // `incoming`, so it must see it.
        let status = session.process_tls_records(incoming);
        let ConnectionState::WriteTraffic(mut traffic) = status.state.map_err(io::Error::other)? else {
            // The peer has closed its half; it reads no more, or the session is over.
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        outgoing.seal(out, memory, |plain, records| traffic.encrypt(plain, records).map_err(io::Error::other))
    }
}

/// What `process` does after a step.
enum Next {
    Go,
    End(Result<(), rustls::Error>),
}

/// Puts what `memory` has room for of these bytes there; how many.
fn put(memory: &mut impl BufMut, bytes: &[u8]) -> usize {
    let taken = bytes.len().min(memory.remaining_mut());
    memory.put_slice(&bytes[..taken]);
    taken
}

/// Nothing, where the socket was not ready.
fn or_later<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
