//! Why there is no connection, or no response.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use ottla_wire::{ApiKey, DecodeError, ErrorCode};

/// Why there is no connection, or no response. Only after [`ClientError::UnsupportedVersion`] and
/// [`ClientError::Refused`] can the connection still be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The name is unknown, nobody listens at the address, or the connection broke.
    #[error(transparent)]
    Io(io::Error),
    /// The broker closed the connection, perhaps in the middle of a response.
    #[error("the broker closed the connection")]
    Closed,
    /// [`Connector::connect_timeout`](crate::Connector::connect_timeout) passed.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// [`Connector::request_timeout`](crate::Connector::request_timeout) passed.
    #[error("no response within {0:?}")]
    RequestTimeout(Duration),
    /// A response is announced whose length is negative or above
    /// [`Connector::max_response`](crate::Connector::max_response).
    #[error("a response of {length} bytes, where {limit} is the limit")]
    ResponseSize {
        /// What the peer announces.
        length: i32,
        /// The limit.
        limit: usize,
    },
    /// A response to another request than the one that was sent last.
    #[error("a response to request {received} in the place of the one to request {sent}")]
    CorrelationId {
        /// The correlation id that was sent.
        sent: i32,
        /// The one that came back.
        received: i32,
    },
    /// The response is not what its API and version say.
    #[error("malformed response: {0}")]
    Malformed(#[from] DecodeError),
    /// The broker sends while no request waits for a response.
    #[error("the broker sent what no request asked for")]
    Unasked,
    /// The broker does not serve any of the versions that its client can use.
    #[error("{api:?} is needed in versions {} to {}, and the broker serves {}",
        .needed.start(), .needed.end(), words(.served))]
    UnsupportedVersion {
        /// Of which API.
        api: ApiKey,
        /// What the client can use.
        needed: RangeInclusive<i16>,
        /// What the broker serves; `None`: not at all.
        served: Option<RangeInclusive<i16>>,
    },
    /// The broker does not say which versions it serves.
    #[error("the broker refused to say which versions it serves: {0:?}")]
    Refused(ErrorCode),
}

fn words(served: &Option<RangeInclusive<i16>>) -> String {
    match served {
        Some(served) => format!("{} to {}", served.start(), served.end()),
        None => "none".to_owned(),
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ClientError::Closed,
            _ => ClientError::Io(error),
        }
    }
}
