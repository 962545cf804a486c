//! One connection: frames in, replies out, in order, in one task.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ottla_access::Principal;
use ottla_wire::ApiKey;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tracing::Span;
use tracing::field::Empty;

use super::frames::{Frames, ReadError};
use super::opening::NotOpened;
use super::reactor::Reactor;
use super::replies::Replies;
use super::socket::Socket;
use crate::env::{self, Instant};
use crate::handle::{Client, Peer, Request};
use crate::reply::{CloseReason, Reply};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The peer or the network ended it.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error("failed to write a reply: {0}")]
    Write(io::Error),
    /// The broker refuses to continue.
    #[error("closed: {0:?}")]
    Refused(CloseReason),
    /// The peer sent no request, or read nothing of an answer, for `connections.max.idle.ms`.
    #[error("idle for too long")]
    Idle,
    /// The client's KafkaUser was deleted.
    #[error("the client's KafkaUser was deleted")]
    Revoked,
    /// The client's certificate is not valid any more.
    #[error("the client's certificate has expired")]
    CertificateExpired,
    /// The broker stops.
    #[error("the broker stops")]
    Stopping,
    /// There was no first request.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
}

impl Ended {
    /// The reason for the metric, if the broker refused the peer; `None` if the peer or the network ended the
    /// connection.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Ended::Refused(CloseReason::Malformed) => Some("malformed"),
            Ended::Refused(CloseReason::Unsupported) => Some("unsupported"),
            Ended::Refused(CloseReason::FailedUnacknowledged) => Some("failed_unacknowledged"),
            Ended::Refused(CloseReason::NotAuthenticated) => Some("not_authenticated"),
            Ended::Refused(CloseReason::AuthenticationFailed) => Some("authentication_failed"),
            Ended::Refused(CloseReason::SessionExpired) => Some("session_expired"),
            Ended::Refused(CloseReason::TooLarge) => Some("answer_length"),
            Ended::Read(ReadError::Length(_) | ReadError::TooLarge(_)) => Some("frame_length"),
            Ended::Read(ReadError::Slow(_)) => Some("slow"),
            Ended::Idle => Some("idle"),
            Ended::Revoked => Some("revoked"),
            Ended::CertificateExpired => Some("certificate_expired"),
            Ended::NotOpened(reason) => reason.refusal(),
            Ended::Read(ReadError::Closed | ReadError::Socket(_)) | Ended::Write(_) | Ended::Stopping => None,
        }
    }
}

/// Opens the connection and serves it until it ends.
pub async fn run(reactor: Rc<Reactor>, stream: Arc<TcpStream>, peer: Peer) -> Ended {
    let mut stopping = reactor.stopping.clone();
    let opened = tokio::select! {
        opened = reactor.door.open(stream, peer) => opened,
        _ = stopping.wait_for(|stopping| *stopping) => return Ended::Stopping,
    };
    match opened {
        Ok((socket, client)) => {
            if let Socket::Secure(_) = &socket {
                let peer = client.peer();
                reactor.handler.metrics.clients.tls_handshakes.with_label_values(&[&*peer.listener]).inc();
            }
            let ended = serve(reactor, &socket, client).await;
            socket.close();
            ended
        }
        Err(error) => error.into(),
    }
}

/// The most characters of a client's id in its log lines.
const LONGEST_ID: usize = 64;

/// A span for the log lines of a connection. What the client says of itself is added when it is known.
pub fn span(peer: &Peer) -> Span {
    // Of the level of errors, so that it is there whatever the lines' level.
    tracing::error_span!("connection", peer = %peer.address, listener = %peer.listener, client_id = Empty, principal = Empty)
}

/// Who the client says it is, in the log lines from now on. Once in the life of a connection.
fn name_client(request: &Request) {
    if let Some(id) = request.client_id() {
        // Quoted, so that nobody writes a line of somebody else's.
        let id: String = id.chars().take(LONGEST_ID).collect();
        Span::current().record("client_id", tracing::field::debug(id));
    }
}

/// Who the client is, in the log lines from now on. Once in the life of a connection.
fn name_principal(client: &Client) {
    let principal = client.peer().principal;
    if principal != Principal::ANONYMOUS {
        // As a text, so that it is quoted.
        Span::current().record("principal", principal.to_string());
    }
}

/// Serves `socket` until it ends. Requests are dispatched strictly in the order of arrival, each as soon as the ones
/// before it allow ([`Replies::admit`]).
async fn serve(reactor: Rc<Reactor>, socket: &Socket, client: Client) -> Ended {
    let max_idle = reactor.limits.max_idle;
    let (mut replies, mut client) = (Replies::default(), client);
    let mut is_stranger = client.is_stranger();
    let mut is_named = false;
    let mut frames = if is_stranger {
        Frames::new(reactor.strangers.clone(), reactor.limits.max_stranger_request)
    } else {
        name_principal(&client);
        socket.widen();
        Frames::new(reactor.buffers.clone(), reactor.limits.max_request)
    };
    let mut waiting: Option<Request> = None;
    let mut last_request = env::now();
    let ends = client.certificate_ends;
    let or_end = |at: Instant| ends.map_or(at, |ends| ends.min(at));
    let mut idle_check = pin!(tokio::time::sleep_until(or_end(last_request + max_idle)));
    let mut next: Option<Bytes> = None;
    let mut reading = true;
    let mut stopping = reactor.stopping.clone();
    let mut access = reactor.access.subscribe();
    // In the image of now, which is never older than what the reactor hands on.
    let is_revoked = |client: &Client| client.is_revoked(&reactor.handler.images.borrow().access);

    loop {
        // With a client whose next request is always here already, nothing below waits. So the other tasks of the
        // reactor get their turn here, and here the connection's end is looked for, too.
        consume_budget().await;
        if ends.is_some_and(|ends| ends <= env::now()) {
            return Ended::CertificateExpired;
        }
        let has_logged_in = is_stranger && !client.is_stranger();
        let has_news = access.has_changed().unwrap_or(false);
        if has_news {
            access.mark_unchanged();
        }
        if (has_logged_in || has_news) && is_revoked(&client) {
            return Ended::Revoked;
        }
        if has_logged_in {
            is_stranger = false;
            name_principal(&client);
            frames.widen(reactor.buffers.clone(), reactor.limits.max_request);
            socket.widen();
        }
        let muted = client.muted_until();
        // Whether the next frame is a token without a header is known only when the one before it is done.
        let knows_kind = replies.is_empty() || !client.expects_raw_token();
        let reads = reading && waiting.is_none() && muted.is_none() && knows_kind;
        if reads {
            let frame = match next.take() {
                Some(frame) => Ok(Some(frame)),
                None => frames.buffered(),
            };
            match frame.map(|frame| frame.map(|frame| client.read(frame))) {
                Ok(Some(Ok(request))) => waiting = Some(request),
                Ok(Some(Err(unreadable))) => {
                    if let Some(asked) = &unreadable.unserved {
                        reactor.unserved.lock().note(env::now(), &client, asked);
                    }
                    reading = !matches!(unreadable.reply, Reply::Close(_));
                    replies.push(unreadable.api, unreadable.reply);
                }
                Ok(None) => {}
                Err(error) => return Ended::Read(error),
            }
        }
        // What would only wait behind an answer waits outside, but for a small one: so we see a peer that closes.
        let may_grow = replies.admit(ApiKey::Produce);
        if let Some(request) = waiting.take_if(|request| muted.is_none() && replies.admit(request.api())) {
            last_request = env::now();
            if !std::mem::replace(&mut is_named, true) {
                name_client(&request);
            }
            replies.push(request.api(), reactor.handler.dispatch(&mut client, request));
            replies.measure(client.counts_time());
            // What came in the same read is started before anything is written: its replies leave together.
            continue;
        }
        tokio::select! {
            biased;
            written = replies.write(socket), if !replies.is_empty() => {
                reactor.handler.wrote(&client, replies.take_spent());
                match written {
                    Ok(None) => {}
                    Ok(Some(reason)) => return Ended::Refused(reason),
                    Err(error) => return Ended::Write(error),
                }
            }
            frame = frames.next(socket, &reactor.scratch, may_grow), if reads && reading && waiting.is_none() => match frame {
                Ok(frame) => next = Some(frame),
                Err(error) => return Ended::Read(error),
            },
            () = env::sleep_until(muted.unwrap_or(last_request)), if muted.is_some() => {}
            () = &mut idle_check => {
                let busy = waiting.is_some() || !replies.is_empty();
                // As in Kafka, a peer that reads nothing of its answer is idle too.
                let since = replies.unread_since().unwrap_or(if busy { env::now() } else { last_request });
                let until = since + max_idle;
                if until <= env::now() {
                    return Ended::Idle;
                }
                if ends.is_some_and(|ends| ends <= env::now()) {
                    return Ended::CertificateExpired;
                }
                idle_check.as_mut().reset(or_end(until));
            }
            // An error says that the reactor ends, and with it this connection.
            _ = access.changed() => if is_revoked(&client) {
                return Ended::Revoked;
            },
            _ = stopping.changed() => return Ended::Stopping,
        }
    }
}
