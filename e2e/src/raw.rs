//! Requests as bytes: any API at any version, well formed or not, over a plain connection or under TLS.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ottla_wire::{Chunk, Frame, RequestMessage, Str, decode_response, encode_request};
use rustls::{ClientConfig, ClientConnection};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any rebalance of these tests on a loaded machine; an answer that takes longer is none.
const LIMIT: Duration = Duration::from_secs(120);

/// A connection to a broker.
pub struct Connection {
    stream: TcpStream,
    /// Of TLS, if it is under TLS.
    session: Option<Box<ClientConnection>>,
    correlation_id: i32,
}

impl Connection {
    /// Connects.
    pub fn open(bootstrap: impl ToSocketAddrs) -> Result<Connection> {
        let stream = TcpStream::connect(bootstrap)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Connection { stream, session: None, correlation_id: 0 })
    }

    /// Connects under TLS.
    pub fn open_secure(bootstrap: impl ToSocketAddrs, config: Arc<ClientConfig>) -> Result<Connection> {
        let session = ClientConnection::new(config, "localhost".try_into()?)?;
        Ok(Connection { session: Some(Box::new(session)), ..Connection::open(bootstrap)? })
    }

    /// Waits so long for an answer.
    pub fn wait_at_most(&mut self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(limit))?)
    }

    /// The same connection, for another thread to send on while this one receives.
    pub fn try_clone(&self) -> Result<Connection> {
        ensure!(self.session.is_none(), "two threads can not share a session of TLS");
        Ok(Connection { stream: self.stream.try_clone()?, session: None, correlation_id: self.correlation_id })
    }

    /// Sends a request and waits for its response; `None` when the broker closes the connection instead.
    pub fn ask<R: RequestMessage>(&mut self, version: i16, request: &R) -> Result<Option<R::Response>> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    /// Sends a request.
    pub fn send<R: RequestMessage>(&mut self, version: i16, request: &R) -> Result<()> {
        self.correlation_id += 1;
        self.send_bytes(&to_bytes(&encode_request(self.correlation_id, Some(&Str::from("e2e")), version, request)))
    }

    /// Receives the response to the last request that was sent.
    pub fn receive<R: RequestMessage>(&mut self, version: i16) -> Result<Option<R::Response>> {
        let Some(frame) = self.receive_bytes()? else { return Ok(None) };
        let (correlation_id, response) = decode_response::<R>(version, frame)?;
        if correlation_id != self.correlation_id {
            bail!("request {} was answered as {correlation_id}", self.correlation_id);
        }
        Ok(Some(response))
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(session) = &mut self.session {
            return Ok(rustls::Stream::new(&mut **session, &mut self.stream).write_all(bytes)?);
        }
        Ok(self.stream.write_all(bytes)?)
    }

    /// Receives a frame without its length; `None` at the end of the connection.
    pub fn receive_bytes(&mut self) -> Result<Option<Bytes>> {
        let mut length = [0; 4];
        match self.read_exact(&mut length) {
            Err(error) if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()) => {
                return Ok(None);
            }
            other => other.context("waiting for an answer")?,
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.read_exact(&mut frame)?;
        Ok(Some(frame.into()))
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        if let Some(session) = &mut self.session {
            return rustls::Stream::new(&mut **session, &mut self.stream).read_exact(bytes);
        }
        self.stream.read_exact(bytes)
    }
}

/// A frame of requests, which lie in memory only, as one piece.
pub fn to_bytes(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(frame.len());
    for chunk in frame.chunks() {
        if let Chunk::Bytes(piece) = chunk {
            bytes.extend_from_slice(piece);
        }
    }
    bytes
}
