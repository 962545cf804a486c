//! From socket to frames: length prefix first, then the frame straight into its buffer.
//!
//! Small requests share one read through the reactor's scratch memory; a large one is read into its own buffer. Between
//! frames a connection owns no memory but this struct; what it read too much, at most one scratch memory, waits in one
//! piece.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use ottla_wire::ApiKey;

use super::buffers::{Buffers, FREE, FrameBuffer};
use super::socket::Socket;
use crate::env::{self, Instant};

/// The most bytes of one read through the scratch memory: bytes that came that way need no budget.
pub const SCRATCH: usize = FREE;
/// Only a Produce may be larger than this many bytes: records are not decoded, but all other requests become up to 64
/// times as large in memory. A Fetch of 50,000 partitions is as large.
pub const MAX_WITHOUT_RECORDS: usize = 2 << 20;
/// A frame must be complete within this time, and a second for each MiB, or its connection is closed: it holds memory
/// that others wait for.
const FRAME_TIME: Duration = Duration::from_secs(30);

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer has closed, between frames.
    #[error("closed by the peer")]
    Closed,
    /// The peer has closed inside a frame, or the socket failed.
    #[error("failed to read a frame: {0}")]
    Socket(#[from] io::Error),
    /// The frame did not come in time.
    #[error("a frame of {0} bytes did not come in time")]
    Slow(usize),
    /// The length prefix is negative or above `socket.request.max.bytes`.
    #[error("refused a frame of {0} bytes")]
    Length(i32),
    /// Only a Produce may be as large.
    #[error("refused a request without records of {0} bytes")]
    TooLarge(usize),
}

/// The reading half of a connection.
#[derive(Debug)]
pub struct Frames {
    buffers: Arc<Buffers>,
    max_len: usize,
    prefix: [u8; 4],
    prefix_len: usize,
    /// The frame that is being read.
    partial: Option<FrameBuffer>,
    /// When it must be complete.
    deadline: Option<Instant>,
    /// What was read beyond the end of a frame. Empty while one has begun.
    left: Bytes,
}

impl Frames {
    /// Reads frames of up to `max_len` bytes.
    pub fn new(buffers: Arc<Buffers>, max_len: usize) -> Frames {
        Frames { buffers, max_len, prefix: [0; 4], prefix_len: 0, partial: None, deadline: None, left: Bytes::new() }
    }

    /// Reads the next frames into these buffers, up to `max_len` bytes each: the client has authenticated.
    pub fn widen(&mut self, buffers: Arc<Buffers>, max_len: usize) {
        self.buffers = buffers;
        self.max_len = max_len;
    }

    /// A whole frame that was read along with another; `None`: there is no whole one.
    ///
    /// # Errors
    /// See [`ReadError`]; the connection is over then.
    pub fn buffered(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let mut left = std::mem::take(&mut self.left);
        let (frame, taken) = self.take_in(&left)?;
        left.advance(taken);
        self.left = left;
        Ok(frame)
    }

    /// The next frame, without its length prefix. A large one comes only as far as it needs no share of the budget,
    /// unless it `may_grow`. Cancellation safe: what was read is kept for the next call.
    ///
    /// # Errors
    /// See [`ReadError`]; the connection is over then.
    pub async fn next(&mut self, stream: &Socket, scratch: &Scratch, may_grow: bool) -> Result<Bytes, ReadError> {
        loop {
            let frame = match self.buffered()? {
                Some(frame) => Some(frame),
                None if self.partial.is_some() => self.read_body(stream, may_grow).await?,
                None => self.read_small(stream, scratch).await?,
            };
            if let Some(frame) = frame {
                return Ok(frame);
            }
        }
    }

    /// Reads what there is: a small frame, or the beginning of a large one.
    async fn read_small(&mut self, stream: &Socket, scratch: &Scratch) -> Result<Option<Bytes>, ReadError> {
        stream.readable().await?;
        let ahead = self.buffers.free();
        let read = scratch.read(stream, ahead, |bytes| {
            if bytes.is_empty() {
                let is_between = self.prefix_len == 0;
                return Err(if is_between { ReadError::Closed } else { unexpected_end() });
            }
            let (frame, taken) = self.take_in(bytes)?;
            self.left = Bytes::copy_from_slice(&bytes[taken..]);
            Ok(frame)
        });
        or_later(read)
    }

    /// Reads into the frame that has begun.
    async fn read_body(&mut self, stream: &Socket, may_grow: bool) -> Result<Option<Bytes>, ReadError> {
        let Some(partial) = &mut self.partial else { return Ok(None) };
        if partial.needs_allowance() && !may_grow {
            // Its time runs when it can come.
            self.deadline = None;
            return std::future::pending().await;
        }
        let len = partial.whole_len();
        let time = FRAME_TIME + Duration::from_secs((len >> 20) as u64);
        let deadline = *self.deadline.get_or_insert_with(|| env::now() + time);
        let ready = async {
            partial.allowance().await;
            stream.readable().await
        };
        tokio::select! {
            ready = ready => ready?,
            () = env::sleep_until(deadline) => return Err(ReadError::Slow(len)),
        }
        let read = stream.try_read_buf(&mut partial.spare());
        let read = match read {
            Ok(0) => Err(unexpected_end()),
            Ok(_) => self.whole(),
            Err(error) => Err(error.into()),
        };
        or_later(read)
    }

    /// Distributes bytes to the next frame, up to its end. Gives it if it is whole, and how many bytes were taken.
    fn take_in(&mut self, bytes: &[u8]) -> Result<(Option<Bytes>, usize), ReadError> {
        let prefix = bytes.len().min(4 - self.prefix_len);
        self.prefix[self.prefix_len..self.prefix_len + prefix].copy_from_slice(&bytes[..prefix]);
        self.prefix_len += prefix;
        if self.prefix_len < 4 {
            return Ok((None, prefix));
        }
        self.prefix_len = 0;
        let announced = i32::from_be_bytes(self.prefix);
        let len = usize::try_from(announced).ok().filter(|len| *len <= self.max_len);
        let mut frame = self.buffers.take(len.ok_or(ReadError::Length(announced))?);
        let filled = frame.fill(&bytes[prefix..]);
        self.partial = Some(frame);
        Ok((self.whole()?, prefix + filled))
    }

    /// The frame that has begun, if it is here as a whole.
    fn whole(&mut self) -> Result<Option<Bytes>, ReadError> {
        if let Some(partial) = &self.partial
            && partial.whole_len() > MAX_WITHOUT_RECORDS
            && let Some(key) = partial.as_ref().first_chunk()
            && i16::from_be_bytes(*key) != ApiKey::Produce as i16
        {
            return Err(ReadError::TooLarge(partial.whole_len()));
        }
        let whole = self.partial.take_if(|partial| partial.missing() == 0);
        if whole.is_some() {
            self.deadline = None;
        }
        Ok(whole.map(FrameBuffer::freeze))
    }
}

fn unexpected_end() -> ReadError {
    ReadError::Socket(io::ErrorKind::UnexpectedEof.into())
}

/// Nothing, where the socket had nothing yet.
fn or_later(read: Result<Option<Bytes>, ReadError>) -> Result<Option<Bytes>, ReadError> {
    match read {
        Err(ReadError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        read => read,
    }
}

/// Memory that all connections of a reactor read small frames through, one at a time.
#[derive(Debug)]
pub struct Scratch(std::cell::RefCell<Box<[u8]>>);

impl Scratch {
    /// Scratch memory of [`SCRATCH`] bytes.
    pub fn new() -> Scratch {
        Scratch(std::cell::RefCell::new(vec![0; SCRATCH].into_boxed_slice()))
    }

    /// Reads what there is, up to `ahead` bytes, and hands it on; nothing, at the end of the stream.
    fn read<T>(
        &self,
        stream: &Socket,
        ahead: usize,
        take: impl FnOnce(&[u8]) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut memory = self.0.borrow_mut();
        let ahead = ahead.min(memory.len());
        let read = stream.try_read(&mut memory[..ahead])?;
        take(&memory[..read])
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::buffers::{BUDGET_OF_STRANGERS, Budget};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_that_drips_ends_its_connection_after_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut dripping = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::Plain(listener.accept().await.unwrap().0.into());
        let mut frames = Frames::new(Buffers::for_strangers(Budget::new(BUDGET_OF_STRANGERS)), 524_288);
        let began = env::now();
        let drip = async {
            dripping.write_all(&524_288_i32.to_be_bytes()).await.unwrap();
            loop {
                env::sleep_until(env::now() + Duration::from_secs(1)).await;
                // The broker may have closed it.
                let _ = dripping.write_all(&[7]).await;
            }
        };
        let scratch = Scratch::new();
        tokio::select! {
            () = drip => {}
            read = frames.next(&socket, &scratch, true) => {
                assert!(matches!(read, Err(ReadError::Slow(524_288))), "{read:?}");
            }
        }
        assert!(began.elapsed() <= FRAME_TIME + Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
