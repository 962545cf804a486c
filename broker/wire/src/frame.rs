//! Bytes on their way to a socket: pieces of memory and of files, in order.
#![warn(missing_docs)]

use bytes::Bytes;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A request or a response as it is sent, its length in front.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    chunks: Vec<Chunk>,
}

/// A piece of a frame.
#[derive(Clone, PartialEq)]
pub enum Chunk {
    /// In memory.
    Bytes(Bytes),
    /// In a file, to be sent without passing through our memory.
    File(FileSlice),
}

/// A part of a file.
#[derive(Clone)]
pub struct FileSlice {
    /// What it is sent from.
    pub file: Arc<dyn SentFile>,
    /// Where the part begins.
    pub position: u64,
    /// How long it is.
    pub len: usize,
}

impl FileSlice {
    /// Refuses to send a part of a file that the log has cut off since the answer was made.
    ///
    /// # Errors
    /// When it was cut off. The client must not get another byte of this frame: it asks again, and asks the present
    /// leader.
    pub fn check_intact(&self) -> io::Result<()> {
        if self.file.is_intact() {
            Ok(())
        } else {
            Err(io::Error::other("the records that were to be sent are not in the log any more"))
        }
    }
}

/// A file, and whether the part that is sent of it is still there.
pub trait SentFile: AsFd + Send + Sync {
    /// Whether the part holds what it did when the frame was made. If not, nothing more of the frame may be sent.
    fn is_intact(&self) -> bool;
}

/// Record batches as they lie in the log and on the wire; read by `ottla-batch`, never here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records(pub Vec<Chunk>);

impl Frame {
    pub(crate) fn new(chunks: Vec<Chunk>) -> Self {
        Self { chunks }
    }

    /// A token of SASL without a header, behind its length (SaslHandshake version 0). `None`: it is longer than a frame
    /// can be.
    pub fn token(token: Bytes) -> Option<Frame> {
        let length = i32::try_from(token.len()).ok()?;
        Some(Frame::new(vec![Chunk::Bytes(Bytes::copy_from_slice(&length.to_be_bytes())), Chunk::Bytes(token)]))
    }

    /// How many bytes will be sent.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
    }

    /// Never so: a frame begins with its length.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The pieces, in order.
    pub fn into_chunks(self) -> Vec<Chunk> {
        self.chunks
    }
}

impl Chunk {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(slice) => slice.len,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Records {
    /// How many bytes they have.
    pub fn len(&self) -> usize {
        self.0.iter().map(Chunk::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are one piece of memory: so they are in every request that was decoded.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self.0.as_slice() {
            [Chunk::Bytes(bytes)] => Some(bytes),
            _ => None,
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self(vec![Chunk::Bytes(bytes)])
    }
}

impl PartialEq for FileSlice {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.position, self.len) == (other.position, other.len)
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::File(slice) => slice.fmt(f),
        }
    }
}

impl fmt::Debug for FileSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {} of a file", self.len, self.position)
    }
}
