//! What a handler gives for a request, and the connection carries out.

use std::pin::Pin;

use ottla_wire::Frame;

/// What a handler gives for a request.
pub enum Reply {
    /// The answer.
    Now(Frame),
    /// The answer will come; nothing is spawned, the connection polls it. Dropped with the connection.
    Later(Pin<Box<dyn Future<Output = Result<Frame, CloseReason>>>>),
    /// The connection starts none of its further requests until this is done: the part of this request that must happen
    /// in order has yet to happen. Then the reply is the one that comes out. Ends soon, by a deadline of its own.
    Held(Pin<Box<dyn Future<Output = Reply>>>),
    /// No answer at all: a produce with acks=0.
    Nothing,
    /// The answer, and then the connection ends.
    Last(Frame, CloseReason),
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
    /// The client asked for something before it has authenticated.
    NotAuthenticated,
    /// The client's authentication failed.
    AuthenticationFailed,
    /// The client's session is over, and it did not authenticate again.
    SessionExpired,
}
