//! A connection to another broker: one request, then its response.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_wire::{Chunk, DecodeError, RequestMessage, Str, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::env;
use crate::image::Route;

/// A broker that does not answer for this long is asked anew. Kafka's default for `replica.socket.timeout.ms`.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest response that is read; a leader that announces more is none.
const MAX_RESPONSE: usize = 256 << 20;
/// Memory that is kept between responses; a larger one is given back.
const KEPT: usize = 16 << 20;

/// Why a call failed. The connection is over then.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The name is not known, nobody answers there, or the connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The length is negative or beyond all reason.
    #[error("a response of {0} bytes")]
    Length(i32),
    /// Not a response to what was asked.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A response to something else.
    #[error("an answer to another request")]
    OutOfOrder,
}

/// An open connection.
pub struct Connection {
    stream: env::Connection,
    client_id: Str,
    correlation_id: i32,
    /// Reused once everything that was read into it has been let go.
    memory: BytesMut,
}

impl Connection {
    /// Connects, as a client that calls itself `client_id`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn open(route: &Route, client_id: Str) -> Result<Connection, CallError> {
        let connect = env::connect(&route.endpoint.host, route.endpoint.port, route.address);
        let stream = in_time(connect).await?;
        Ok(Connection { stream, client_id, correlation_id: 0, memory: BytesMut::new() })
    }

    /// Sends a request and waits for its response. Not cancellation safe: drop the connection with the call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<R: RequestMessage>(&mut self, version: i16, request: &R) -> Result<R::Response, CallError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = encode_request(self.correlation_id, Some(&self.client_id), version, request);
        let response = in_time(self.exchange(frame.into_chunks())).await?;
        let (correlation_id, response) = decode_response::<R>(version, response)?;
        if correlation_id == self.correlation_id { Ok(response) } else { Err(CallError::OutOfOrder) }
    }

    async fn exchange(&mut self, request: Vec<Chunk>) -> Result<Bytes, CallError> {
        for chunk in request {
            match chunk {
                Chunk::Bytes(bytes) => self.stream.write_all(&bytes).await?,
                Chunk::File(_) => unreachable!("requests are memory"),
            }
        }
        let announced = self.stream.read_i32().await?;
        let len = usize::try_from(announced).ok().filter(|len| *len <= MAX_RESPONSE);
        let len = len.ok_or(CallError::Length(announced))?;
        if self.memory.capacity() > KEPT {
            self.memory = BytesMut::new();
        }
        self.memory.reserve(len);
        let mut rest = len;
        while rest > 0 {
            let read = (&mut self.stream).take(rest as u64).read_buf(&mut self.memory).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            rest -= read;
        }
        Ok(self.memory.split().freeze())
    }
}

async fn in_time<T, E: Into<CallError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, CallError> {
    tokio::select! {
        biased;
        done = work => done.map_err(Into::into),
        () = env::sleep_until(env::now() + PATIENCE) => Err(CallError::Silent),
    }
}
