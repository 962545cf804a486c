//! From socket to frames: length prefix first, then the frame straight into its buffer.
//!
//! Small requests share one read through the reactor's scratch memory; a large one is read into its own buffer. Between frames a
//! connection owns no memory but this struct.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::buffers::{Buffers, FrameBuffer};
use crate::env;

/// What one read through the scratch memory takes at most.
pub const SCRATCH: usize = 64 << 10;
/// A peer that has begun a frame sends some of the rest within this time, or is cut off: it holds memory that others wait for.
const STALL: std::time::Duration = std::time::Duration::from_secs(30);

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer has closed, between frames.
    #[error("closed by the peer")]
    Closed,
    /// The peer has closed or stalled inside a frame, or the socket failed.
    #[error("failed to read a frame: {0}")]
    Socket(#[from] io::Error),
    /// The length prefix is negative or above `socket.request.max.bytes`.
    #[error("refused a frame of {0} bytes")]
    Length(i32),
}

/// The reading half of a connection.
#[derive(Debug)]
pub struct Frames {
    buffers: Arc<Buffers>,
    max_len: usize,
    /// Whole frames, read along with another.
    ready: VecDeque<Bytes>,
    prefix: [u8; 4],
    prefix_len: usize,
    partial: Option<FrameBuffer>,
    /// Bytes of the next frames that came in the same read as the end of a large one; rare.
    left: Bytes,
}

impl Frames {
    /// Reads frames of up to `max_len` bytes.
    pub fn new(buffers: Arc<Buffers>, max_len: usize) -> Frames {
        Frames {
            buffers,
            max_len,
            ready: VecDeque::new(),
            prefix: [0; 4],
            prefix_len: 0,
            partial: None,
            left: Bytes::new(),
        }
    }

    /// A whole frame that was read along with another.
    pub fn buffered(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// The next frame, without its length prefix. Cancellation safe: what was read is kept for the next call.
    ///
    /// # Errors
    /// See [`ReadError`]; the connection is over then.
    pub async fn next(&mut self, stream: &TcpStream, scratch: &Scratch) -> Result<Bytes, ReadError> {
        loop {
            if let Some(frame) = self.buffered() {
                return Ok(frame);
            }
            if let Some(partial) = &mut self.partial {
                // Whoever waits for memory holds some: when all wait for each other, the oldest let go.
                let allowed = tokio::time::timeout(STALL, partial.allowance()).await;
                allowed.map_err(|_| ReadError::Socket(io::ErrorKind::TimedOut.into()))?;
                if !self.left.is_empty() {
                    let left = std::mem::take(&mut self.left);
                    self.take_in(left.as_ref())?;
                    continue;
                }
                self.read_body(stream).await?;
            } else {
                stream.readable().await?;
                match scratch.read(stream, |bytes| self.take_in(bytes)) {
                    Ok(0) if self.prefix_len == 0 => return Err(ReadError::Closed),
                    Ok(0) => return Err(ReadError::Socket(io::ErrorKind::UnexpectedEof.into())),
                    Ok(_) => {}
                    Err(ReadError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Reads into the large frame that has begun.
    async fn read_body(&mut self, stream: &TcpStream) -> Result<(), ReadError> {
        let stalled = env::sleep_until(env::now() + STALL);
        tokio::select! {
            ready = stream.readable() => ready?,
            () = stalled => return Err(ReadError::Socket(io::ErrorKind::TimedOut.into())),
        }
        let Some(partial) = &mut self.partial else { return Ok(()) };
        let read = stream.try_read_buf(&mut partial.spare());
        match read {
            Ok(0) => Err(ReadError::Socket(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {
                self.finish_partial();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Distributes bytes to frames; what lies beyond a frame that waits for its allowance stays in `left`.
    fn take_in(&mut self, mut bytes: &[u8]) -> Result<(), ReadError> {
        while !bytes.is_empty() {
            let Some(partial) = &mut self.partial else {
                let wanted = (4 - self.prefix_len).min(bytes.len());
                let (prefix, rest) = bytes.split_at(wanted);
                self.prefix[self.prefix_len..self.prefix_len + wanted].copy_from_slice(prefix);
                self.prefix_len += wanted;
                bytes = rest;
                if self.prefix_len == 4 {
                    self.begin_frame()?;
                }
                continue;
            };
            let taken = partial.fill(bytes);
            bytes = &bytes[taken..];
            if taken == 0 {
                // The budget is asked for asynchronously; these bytes wait for it outside the frame.
                self.left = Bytes::copy_from_slice(bytes);
                return Ok(());
            }
            self.finish_partial();
        }
        Ok(())
    }

    fn begin_frame(&mut self) -> Result<(), ReadError> {
        let announced = i32::from_be_bytes(self.prefix);
        let len = usize::try_from(announced).ok().filter(|len| *len <= self.max_len);
        let len = len.ok_or(ReadError::Length(announced))?;
        self.prefix_len = 0;
        let mut buffer = self.buffers.take(len);
        buffer.allow_now();
        self.partial = Some(buffer);
        self.finish_partial();
        Ok(())
    }

    fn finish_partial(&mut self) {
        if let Some(whole) = self.partial.take_if(|partial| partial.missing() == 0) {
            self.ready.push_back(whole.freeze());
        }
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

    /// Reads what there is and hands it on; gives its length, 0 at the end of the stream.
    fn read(&self, stream: &TcpStream, take: impl FnOnce(&[u8]) -> Result<(), ReadError>) -> Result<usize, ReadError> {
        let mut memory = self.0.borrow_mut();
        let read = stream.try_read(&mut memory)?;
        take(&memory[..read])?;
        Ok(read)
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}
