//! A connection to a broker: one request, then its response.

use bytes::{Bytes, BytesMut};
use ottla_wire::{Chunk, Decoder, RequestMessage, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::connector::Stream;
use crate::{ClientError, Connector};

/// How many bytes of memory a connection keeps from one response to the next; it gives larger ones back.
const KEPT: usize = 16 << 20;

/// An open connection.
pub struct Connection {
    stream: Box<dyn Stream>,
    /// Its name and its limits.
    connector: Connector,
    /// Of the last request.
    correlation_id: i32,
    /// Where the next response is read into. Reused once its caller has dropped the last one.
    memory: BytesMut,
}

impl Connection {
    pub(crate) fn new(stream: Box<dyn Stream>, connector: Connector) -> Connection {
        Connection { stream, connector, correlation_id: 0, memory: BytesMut::new() }
    }

    /// Sends a request in `version` and waits for its response. Records in it are views of the memory that it was read
    /// into, not copies. Not cancellation safe: drop the connection with the call.
    ///
    /// # Errors
    /// See [`ClientError`]; the connection is over then. Error codes in the response are no errors here.
    pub async fn call<R: RequestMessage>(&mut self, version: i16, request: &R) -> Result<R::Response, ClientError> {
        let response = self.exchange(version, request).await?;
        Ok(decode_response::<R>(version, response)?.1)
    }

    /// The same, with the response as it came, without its length.
    pub(crate) async fn exchange<R: RequestMessage>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<Bytes, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = encode_request(self.correlation_id, Some(&self.connector.client_id), version, request);
        let limit = self.connector.request_timeout;
        let response = timeout(limit, self.send_and_receive(frame.into_chunks())).await;
        let response = response.map_err(|_| ClientError::RequestTimeout(limit))??;
        let (sent, received) = (self.correlation_id, Decoder::new(response.clone()).i32()?);
        if received == sent { Ok(response) } else { Err(ClientError::CorrelationId { sent, received }) }
    }

    async fn send_and_receive(&mut self, request: Vec<Chunk>) -> Result<Bytes, ClientError> {
        for chunk in request {
            match chunk {
                Chunk::Bytes(bytes) => self.stream.write_all(&bytes).await?,
                Chunk::File(_) => unreachable!("requests are memory"),
            }
        }
        let (length, limit) = (self.stream.read_i32().await?, self.connector.max_response);
        let allowed = usize::try_from(length).ok().filter(|length| *length <= limit);
        let mut left = allowed.ok_or(ClientError::ResponseSize { length, limit })?;
        if self.memory.capacity() > KEPT {
            self.memory = BytesMut::new();
        }
        self.memory.reserve(left);
        while left > 0 {
            let read = (&mut self.stream).take(left as u64).read_buf(&mut self.memory).await?;
            if read == 0 {
                return Err(ClientError::Closed);
            }
            left -= read;
        }
        Ok(self.memory.split().freeze())
    }

    /// Waits, between two requests, until the connection ends, and says why. Cancellation safe.
    pub async fn ended(&mut self) -> ClientError {
        match self.stream.read(&mut [0]).await {
            Ok(0) => ClientError::Closed,
            Ok(_) => ClientError::Unasked,
            Err(error) => error.into(),
        }
    }
}
