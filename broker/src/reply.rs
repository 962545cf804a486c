//! What a handler gives for a request, and the connection carries out.

use std::pin::Pin;

use ottla_wire::Frame;

/// What a handler gives for a request.
pub enum Reply {
    /// The answer.
    Now(Frame),
    /// The answer will come; nothing is spawned, the connection polls it. Dropped with the connection.
    Later(Pin<Box<dyn Future<Output = Result<Frame, CloseReason>>>>),
    /// No answer at all: a produce with acks=0.
    Nothing,
    /// The connection ends, after the replies before this one.
    Close(CloseReason),
}

/// Why the broker closes a connection. Logged and counted, never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Bytes that are no request of ours.
    Malformed,
    /// An API or version that is not served.
    Unsupported,
    /// A produce with acks=0 failed: closing is the only way to say so.
    FailedUnacknowledged,
    /// The answer is larger than a frame can be.
    TooLarge,
}
