//! A connection's socket: plain, or under TLS.
//!
//! Both wait for the socket to be ready, then read and write what is possible at once. Only the plain one sends parts
//! of files without passing them through memory.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, BufMut};
use ottla_wire::Chunk;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::secure::Secure;

/// Slices per `writev`.
const SLICES: usize = 64;

/// A connection's socket.
pub enum Socket {
    /// The bytes of the socket are those of Kafka's protocol.
    Plain(Arc<TcpStream>),
    /// They are records of TLS.
    Secure(Box<Secure>),
}

impl Socket {
    /// Waits until there may be something to read. Cancellation safe.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.readable().await,
            Socket::Secure(secure) => secure.readable().await,
        }
    }

    /// Reads what there is, up to the length of `memory`; 0: the peer has closed.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing yet; any other error ends the connection.
    pub fn try_read(&self, memory: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.try_read(memory),
            Socket::Secure(secure) => secure.try_read_buf(&mut &mut *memory),
        }
    }

    /// The same, into what `memory` has left.
    ///
    /// # Errors
    /// As [`Socket::try_read`].
    pub fn try_read_buf(&self, memory: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.try_read_buf(memory),
            Socket::Secure(secure) => secure.try_read_buf(memory),
        }
    }

    /// Reads more ahead from now on: the client has authenticated.
    pub fn widen(&self) {
        match self {
            Socket::Plain(_) => {}
            Socket::Secure(secure) => secure.widen(),
        }
    }

    /// Waits until something can be written. Cancellation safe.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.writable().await,
            Socket::Secure(secure) => secure.stream().writable().await,
        }
    }

    /// Whether bytes that [`Socket::write_some`] took are not written yet.
    pub fn has_unsent(&self) -> bool {
        match self {
            Socket::Plain(_) => false,
            Socket::Secure(secure) => secure.has_unsent(),
        }
    }

    /// Writes of the chunks at the front what the socket takes now.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; any other error ends the connection: the socket failed, or a part of a file
    /// no longer exists, because the log was truncated since.
    pub fn write_some(&self, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => write_plain(out, stream),
            Socket::Secure(secure) => secure.write_some(out),
        }
    }

    /// Says under TLS that nothing more will come: the connection ends.
    pub fn close(&self) {
        match self {
            Socket::Plain(_) => {}
            Socket::Secure(secure) => secure.close(),
        }
    }
}

/// Writes as much memory as one `writev` takes, or one piece of file.
fn write_plain(out: &mut VecDeque<Chunk>, stream: &TcpStream) -> io::Result<()> {
    if let Some(Chunk::File(slice)) = out.front_mut() {
        slice.check_intact()?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut position = slice.position;
            Ok(rustix::fs::sendfile(stream, &*slice.file, Some(&mut position), slice.len)?)
        })?;
        if sent == 0 && slice.len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        slice.position += sent as u64;
        slice.len -= sent;
        if slice.len == 0 {
            out.pop_front();
        }
        return Ok(());
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut count = 0;
    for (slice, chunk) in slices.iter_mut().zip(out.iter()) {
        let Chunk::Bytes(bytes) = chunk else { break };
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    let mut sent = stream.try_write_vectored(&slices[..count])?;
    while let Some(Chunk::Bytes(bytes)) = out.front_mut() {
        if bytes.len() > sent {
            bytes.advance(sent);
            break;
        }
        sent -= bytes.len();
        out.pop_front();
    }
    Ok(())
}
