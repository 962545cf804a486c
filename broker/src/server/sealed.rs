//! From chunks of replies to records of TLS on their way to a socket, and the memory that the connections of a reactor
//! share for both.
//!
//! Fresh memory costs more than a copy, so a reactor keeps some. A connection holds a piece of it only while its socket
//! does not take what is in it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

use bytes::Buf;
use ottla_wire::Chunk;
use tokio::net::TcpStream;

/// The most bytes of plain text in a record.
pub(super) const RECORD: usize = 1 << 14;
/// How much plain text is encrypted before it is written.
const SEAL: usize = 4 * RECORD;
/// What a record has beyond its plain text: header, explicit nonce, tag and type are less.
const OVERHEAD: usize = 64;
/// A piece of memory for [`SEAL`] bytes of plain text as records, some of which are not full.
const PIECE: usize = SEAL + 8 * OVERHEAD;
/// How many idle pieces a reactor keeps: 1 MiB.
const KEPT: usize = 16;

/// What the connections of a reactor share.
pub struct Memory {
    /// Where plain text is gathered that does not lie in one piece in memory.
    plain: RefCell<Box<[u8]>>,
    /// Pieces of [`PIECE`] bytes that no connection holds.
    idle: RefCell<Vec<Vec<u8>>>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { plain: RefCell::new(vec![0; SEAL].into_boxed_slice()), idle: RefCell::default() }
    }
}

impl Memory {
    fn take(&self) -> Vec<u8> {
        self.idle.borrow_mut().pop().unwrap_or_else(|| vec![0; PIECE])
    }

    fn give_back(&self, piece: Vec<u8>) {
        let mut idle = self.idle.borrow_mut();
        if piece.len() == PIECE && idle.len() < KEPT {
            idle.push(piece);
        }
    }
}

/// Encrypted bytes on their way to the socket: those from `start` to `end`.
#[derive(Default)]
pub(super) struct Outgoing {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Outgoing {
    /// Whether all is written.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Has up to `most` bytes written behind the end by `encode`, which says how many.
    ///
    /// # Errors
    /// Those of `encode`; nothing is added then.
    pub(super) fn add<E>(&mut self, most: usize, encode: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        if self.memory.len() < self.end + most {
            self.memory.resize(self.end + most, 0);
        }
        self.end += encode(&mut self.memory[self.end..])?;
        Ok(())
    }

    /// Encrypts up to [`SEAL`] bytes of the chunks at the front. Nothing may be left to be written.
    ///
    /// # Errors
    /// When a part of a file can't be read, or is not in the log any more, or `encrypt` fails.
    pub(super) fn seal(
        &mut self,
        out: &mut VecDeque<Chunk>,
        memory: &Memory,
        mut encrypt: impl FnMut(&[u8], &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.memory = memory.take();
        let mut sealed = 0;
        while sealed < SEAL
            && let Some(front) = out.front_mut()
        {
            let room = SEAL - sealed;
            let mut add = |plain: &[u8]| {
                self.add(plain.len() + plain.len().div_ceil(RECORD) * OVERHEAD, |records| encrypt(plain, records))
            };
            sealed += match front {
                Chunk::Bytes(bytes) if bytes.len() >= RECORD => {
                    let taken = bytes.len().min(room);
                    add(&bytes[..taken])?;
                    bytes.advance(taken);
                    if bytes.is_empty() {
                        out.pop_front();
                    }
                    taken
                }
                Chunk::Bytes(_) | Chunk::File(_) => {
                    // A file is read at once as far as possible; of memory, no more is copied than a record needs.
                    let wanted = if matches!(front, Chunk::File(_)) { room } else { room.min(RECORD) };
                    let plain = &mut memory.plain.borrow_mut()[..wanted];
                    let filled = fill(plain, out)?;
                    add(&plain[..filled])?;
                    filled
                }
            };
        }
        Ok(())
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// `WouldBlock` when it does not take all; any other error ends the connection.
    pub(super) fn write(&mut self, stream: &TcpStream, memory: &Memory) -> io::Result<()> {
        while self.start < self.end {
            match stream.try_write(&self.memory[self.start..self.end])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => self.start += sent,
            }
        }
        memory.give_back(std::mem::take(self).memory);
        Ok(())
    }
}

/// Moves bytes of the chunks at the front into `plain`, until it is full; how many.
fn fill(plain: &mut [u8], out: &mut VecDeque<Chunk>) -> io::Result<usize> {
    let mut filled = 0;
    while filled < plain.len()
        && let Some(chunk) = out.front_mut()
    {
        let room = &mut plain[filled..];
        match chunk {
            Chunk::Bytes(bytes) => {
                let taken = bytes.len().min(room.len());
                bytes.copy_to_slice(&mut room[..taken]);
                filled += taken;
            }
            Chunk::File(slice) => {
                let wanted = slice.len.min(room.len());
                let read = rustix::io::pread(&*slice.file, &mut room[..wanted], slice.position)?;
                // After the bytes were read: they were the ones that the answer promised.
                slice.check_intact()?;
                if read == 0 && wanted > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                slice.position += read as u64;
                slice.len -= read;
                filled += read;
            }
        }
        if chunk.is_empty() {
            out.pop_front();
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Seals chunks of these lengths, of numbered bytes, by an encryption that changes nothing.
    fn seal(lengths: &[usize], memory: &Memory) -> (Outgoing, VecDeque<Chunk>) {
        let mut numbers = (0..251u8).cycle();
        let mut chunk = |len: &usize| Chunk::Bytes(Bytes::from_iter(numbers.by_ref().take(*len)));
        let mut out = lengths.iter().map(&mut chunk).collect();
        let mut outgoing = Outgoing::default();
        let encrypt = |plain: &[u8], records: &mut [u8]| {
            records[..plain.len()].copy_from_slice(plain);
            Ok(plain.len())
        };
        outgoing.seal(&mut out, memory, encrypt).unwrap();
        (outgoing, out)
    }

    #[test]
    fn chunks_of_any_length_leave_in_order_and_no_more_than_a_piece_at_once() {
        for lengths in [&[1][..], &[RECORD, 1], &[100, 3 * RECORD, 7, 2 * RECORD], &[SEAL + 1], &[10, 20, SEAL, 30]] {
            let (outgoing, left) = seal(lengths, &Memory::default());
            let all: usize = lengths.iter().sum();
            assert_eq!(outgoing.end, all.min(SEAL), "{lengths:?}");
            assert_eq!(left.iter().map(Chunk::len).sum::<usize>(), all - outgoing.end, "{lengths:?}");
            let expected = (0..251u8).cycle().take(outgoing.end);
            assert!(outgoing.memory[..outgoing.end].iter().copied().eq(expected), "{lengths:?}");
            assert_eq!(outgoing.memory.len(), PIECE, "{lengths:?}: it did not grow");
        }
    }

    #[tokio::test]
    async fn a_reactor_keeps_the_pieces_of_its_connections_up_to_a_bound() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _peer = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        let memory = Memory::default();
        let mut sealed: Vec<_> = (0..KEPT + 2).map(|_| seal(&[10], &memory).0).collect();
        for outgoing in &mut sealed {
            outgoing.write(&stream, &memory).unwrap();
            assert!(outgoing.is_empty() && outgoing.memory.is_empty());
        }
        assert_eq!(memory.idle.borrow().len(), KEPT);
        seal(&[10], &memory);
        assert_eq!(memory.idle.borrow().len(), KEPT - 1, "a kept piece is used");
    }
}
