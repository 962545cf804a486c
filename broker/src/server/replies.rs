//! Replies in the order of their requests, whatever the order in which they become ready.
//!
//! A ring of slots: the connection's task polls only the oldest; all that are ready leave in one `writev`. File
//! contents go by `sendfile` where the socket is plain, so a slow reader costs no memory.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_wire::{ApiKey, Chunk};

use super::socket::Socket;
use crate::env::{self, Instant};
use crate::reply::{CloseReason, Reply};

/// The most requests in flight on one connection. Kafka allows one; here Produce requests of a connection may overlap,
/// and clients keep at most 5 (idempotent) or some tens in flight.
const RING: usize = 64;

/// The replies of one connection.
#[derive(Default)]
pub struct Replies {
    ring: VecDeque<Slot>,
    /// Replies that are ready or being written, oldest first.
    out: VecDeque<Chunk>,
    closing: Option<CloseReason>,
    /// When something was last written, while there is more to write.
    written: Option<Instant>,
    /// Whether `spent` is to be known.
    measures: bool,
    /// The time that encrypting and writing took since the last [`Replies::take_spent`].
    spent: Duration,
}

struct Slot {
    overlaps: bool,
    reply: Reply,
}

/// Whether the next request may start while a former one of this API is under way. Clients rely on strict order for all
/// other APIs (Kafka mutes the channel); produce requests are ordered by their appends, which happen at once.
fn overlaps(api: ApiKey) -> bool {
    api == ApiKey::Produce
}

impl Replies {
    /// Whether a request of `api` may be dispatched now.
    pub fn admit(&self, api: ApiKey) -> bool {
        self.closing.is_none()
            && self.ring.len() < RING
            && !self.is_held()
            && if overlaps(api) {
                self.ring.iter().all(|slot| slot.overlaps)
            } else {
                self.ring.is_empty() && self.out.is_empty()
            }
    }

    /// Whether the newest request holds those behind it.
    fn is_held(&self) -> bool {
        matches!(self.ring.back(), Some(Slot { reply: Reply::Held(_), .. }))
    }

    /// Whether no reply is waited for or being written.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.out.is_empty() && self.closing.is_none()
    }

    /// Since when the peer has read nothing of what is being written to it; `None`: nothing waits to be read.
    pub fn unread_since(&self) -> Option<Instant> {
        self.written
    }

    /// Takes the reply to the request that was just dispatched.
    pub fn push(&mut self, api: ApiKey, reply: Reply) {
        self.ring.push_back(Slot { overlaps: overlaps(api), reply });
    }

    /// From now on measures the time of encrypting and writing, or does not.
    pub fn measure(&mut self, measures: bool) {
        self.measures = measures;
    }

    /// The time that encrypting and writing took since the last call, without waiting; zero if it is not measured.
    pub fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    /// Waits for the oldest reply, then writes all that are ready. `Ok(Some)`: close now. Cancellation safe: what was
    /// not yet written is written by the next call.
    ///
    /// # Errors
    /// When the socket fails, or a part of a file no longer exists, because the log was truncated since.
    pub async fn write(&mut self, socket: &Socket) -> io::Result<Option<CloseReason>> {
        if self.out.is_empty() && self.closing.is_none() {
            self.collect().await;
        }
        while !self.out.is_empty() || socket.has_unsent() {
            self.written.get_or_insert_with(env::now);
            socket.writable().await?;
            let began = self.measures.then(env::now);
            let wrote = socket.write_some(&mut self.out);
            if let Some(began) = began {
                self.spent += env::now() - began;
            }
            match wrote {
                Ok(()) => self.written = None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.closing)
    }

    /// Moves replies from the ring to `out` until one is not ready; waits for the first, or until requests are held no
    /// longer.
    async fn collect(&mut self) {
        poll_fn(|cx| {
            let mut moved = self.release(cx);
            while let Some(oldest) = self.ring.front_mut() {
                if matches!(oldest.reply, Reply::Held(_)) {
                    break;
                }
                if let Reply::Later(answer) = &mut oldest.reply {
                    let Poll::Ready(answer) = answer.as_mut().poll(cx) else { break };
                    oldest.reply = answer.map_or_else(Reply::Close, Reply::Now);
                }
                match self.ring.pop_front().map(|slot| slot.reply) {
                    Some(Reply::Now(frame)) => self.out.extend(frame.into_chunks()),
                    Some(Reply::Last(frame, reason)) => {
                        self.out.extend(frame.into_chunks());
                        self.closing = Some(reason);
                        return Poll::Ready(());
                    }
                    Some(Reply::Close(reason)) => {
                        self.closing = Some(reason);
                        return Poll::Ready(());
                    }
                    Some(Reply::Nothing | Reply::Later(_) | Reply::Held(_)) | None => {}
                }
                moved = true;
            }
            if moved { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Polls the newest request if it holds those behind it: that does not wait for the replies before it. Whether it
    /// holds them no longer.
    fn release(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(newest) = self.ring.back_mut() else { return false };
        let Reply::Held(done) = &mut newest.reply else { return false };
        let Poll::Ready(reply) = done.as_mut().poll(cx) else { return false };
        newest.reply = reply;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::future::pending;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use ottla_wire::{FileSlice, SentFile};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    struct Segment(File, AtomicBool);

    impl AsFd for Segment {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl SentFile for Segment {
        fn is_intact(&self) -> bool {
            self.1.load(Ordering::SeqCst)
        }
    }

    /// A connection's end, and its other end.
    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Socket::Plain(stream.into()), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_request_that_is_held_holds_those_behind_it_and_waits_for_no_reply() {
        let (stream, _peer) = pair().await;
        let mut replies = Replies::default();
        let (answer, answered) = oneshot::channel();
        let (verify, verified) = oneshot::channel::<()>();
        replies.push(ApiKey::Produce, Reply::Later(Box::pin(async { answered.await.unwrap() })));
        assert!(replies.admit(ApiKey::Produce));
        let held = async {
            verified.await.unwrap();
            Reply::Later(Box::pin(pending()))
        };
        replies.push(ApiKey::Produce, Reply::Held(Box::pin(held)));
        assert!(!replies.admit(ApiKey::Produce));
        let written = timeout(Duration::from_millis(10), replies.write(&stream)).await;
        assert!(written.is_err() && !replies.admit(ApiKey::Produce));
        verify.send(()).unwrap();
        assert_eq!(replies.write(&stream).await.unwrap(), None, "though the one before it has no answer");
        assert!(replies.admit(ApiKey::Produce) && !replies.admit(ApiKey::Fetch));
        answer.send(Err(CloseReason::TooLarge)).unwrap();
        assert_eq!(replies.write(&stream).await.unwrap(), Some(CloseReason::TooLarge));
    }

    #[tokio::test]
    async fn the_time_of_writing_is_measured_where_it_counts() {
        let (stream, _peer) = pair().await;
        let mut replies = Replies::default();
        let answer = || Reply::Now(ottla_wire::Frame::token(vec![7; 1000].into()).unwrap());
        for measures in [false, true] {
            replies.measure(measures);
            replies.push(ApiKey::Fetch, answer());
            assert_eq!(replies.write(&stream).await.unwrap(), None);
            assert_eq!(!replies.take_spent().is_zero(), measures);
            assert!(replies.take_spent().is_zero(), "it was taken");
        }
    }

    #[tokio::test]
    async fn a_reply_whose_records_were_cut_closes_the_connection() {
        let (stream, _peer) = pair().await;
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
        let segment = Arc::new(Segment(file, AtomicBool::new(true)));
        let slice = || Chunk::File(FileSlice { file: segment.clone(), position: 0, len: 100 });
        let mut replies = Replies::default();
        replies.out.extend([slice()]);
        assert!(replies.write(&stream).await.unwrap().is_none());
        replies.out.extend([slice()]);
        segment.1.store(false, Ordering::SeqCst);
        replies.write(&stream).await.unwrap_err();
    }
}
