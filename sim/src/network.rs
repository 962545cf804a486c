//! Connections: bytes in order, at any pace, until they break. Between their ends is the world, which moves the bytes.
//!
//! What was sent on a connection may still arrive when its client has given it up. A server that sends more than a
//! connection holds waits with the rest, and with the files that this lies in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla_wire::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use crate::random::Random;

/// What a broker's own connections hold on its side.
const OWN_BUFFER: usize = 64 << 10;

/// On how many ways bytes move at once.
const MOST: usize = 4;

/// All connections.
#[derive(Default)]
pub(crate) struct Network {
    links: Vec<Link>,
    made: u64,
    /// When bytes of another broker came last to each that serves.
    heard: BTreeMap<usize, Duration>,
    switch: Rc<RefCell<Switch>>,
}

/// Where brokers connect while they run.
#[derive(Default)]
struct Switch {
    /// Who runs.
    at: usize,
    /// Who listens.
    listening: Vec<bool>,
    /// Who connected to whom, and the world's end of it.
    made: Vec<(usize, usize, DuplexStream)>,
}

/// A connection.
struct Link {
    number: u64,
    /// The broker that is its client; none: a client of ours.
    from: Option<usize>,
    to: usize,
    client: End,
    server: End,
    /// Until when its client takes nothing.
    stalled_until: Duration,
    /// Bytes to the server, and to the client.
    up: Vec<u8>,
    down: Vec<u8>,
}

/// One of its ends.
enum End {
    Process(DuplexStream),
    /// A client of ours: what it was sent and has not read.
    Ours(Vec<u8>),
    Closed,
}

/// A connection that a broker has made: who, and to whom.
pub(crate) struct Made {
    pub to: usize,
    /// The server's end.
    pub stream: DuplexStream,
}

impl Network {
    /// A function for brokers to connect by.
    pub(crate) fn connector(&self) -> impl FnMut(&str, u16) -> io::Result<DuplexStream> + 'static {
        let switch = self.switch.clone();
        move |host, _| {
            let mut switch = switch.borrow_mut();
            let to = host.parse().map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
            if !switch.listening.get(to).is_some_and(|is_there| *is_there) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (own, worlds) = duplex(OWN_BUFFER);
            let from = switch.at;
            switch.made.push((from, to, worlds));
            Ok(own)
        }
    }

    /// From now on this broker runs, and these listen.
    pub(crate) fn runs(&self, at: usize, listening: Vec<bool>) {
        let mut switch = self.switch.borrow_mut();
        (switch.at, switch.listening) = (at, listening);
    }

    /// The connections that have been made by the one that ran.
    pub(crate) fn take_made(&mut self, random: &mut Random) -> Vec<Made> {
        let made = std::mem::take(&mut self.switch.borrow_mut().made);
        made.into_iter().map(|(from, to, client)| self.link(Some(from), to, End::Process(client), random).1).collect()
    }

    /// A client of ours connects.
    pub(crate) fn connect(&mut self, to: usize, random: &mut Random) -> (u64, Made) {
        self.link(None, to, End::Ours(Vec::new()), random)
    }

    fn link(&mut self, from: Option<usize>, to: usize, client: End, random: &mut Random) -> (u64, Made) {
        self.made += 1;
        let (stream, worlds) = duplex([200, 200, 200, 1000, 64 << 10][random.below(5)]);
        let (number, server) = (self.made, End::Process(worlds));
        self.links.push(Link {
            number,
            from,
            to,
            client,
            server,
            stalled_until: Duration::ZERO,
            up: Vec::new(),
            down: Vec::new(),
        });
        (number, Made { to, stream })
    }

    /// Whether a connection of ours is still there.
    pub(crate) fn is_open(&self, number: u64) -> bool {
        self.links.iter().any(|link| link.number == number)
    }

    /// Sends on a connection of ours; lost when it is gone.
    pub(crate) fn send(&mut self, number: u64, bytes: &[u8]) {
        if let Some(link) = self.links.iter_mut().find(|link| link.number == number) {
            link.up.extend_from_slice(bytes);
        }
    }

    /// A frame that has come on a connection of ours, without its length.
    pub(crate) fn receive(&mut self, number: u64) -> Option<Bytes> {
        let link = self.links.iter_mut().find(|link| link.number == number)?;
        let End::Ours(buffer) = &mut link.client else { return None };
        let length = u32::from_be_bytes(buffer.first_chunk().copied()?) as usize;
        if buffer.len() < 4 + length {
            return None;
        }
        let rest = buffer.split_off(4 + length);
        Some(Bytes::from(std::mem::replace(buffer, rest)).slice(4..))
    }

    /// A client of ours gives a connection up. What it has sent may still arrive.
    pub(crate) fn give_up(&mut self, number: u64) {
        if let Some(link) = self.links.iter_mut().find(|link| link.number == number) {
            link.client = End::Closed;
        }
    }

    /// What this broker serves other brokers is not taken before then; how many connections that concerns.
    pub(crate) fn stall(&mut self, server: usize, until: Duration) -> usize {
        let served = self.links.iter_mut().filter(|link| link.to == server && link.from.is_some());
        served.map(|link| link.stalled_until = until).count()
    }

    /// Nothing is stalled any more.
    pub(crate) fn heal(&mut self) {
        self.links.iter_mut().for_each(|link| link.stalled_until = Duration::ZERO);
    }

    /// A connection of a broker that may break breaks; of which brokers.
    pub(crate) fn break_one(&mut self, random: &mut Random) -> Option<(Option<usize>, usize)> {
        if self.links.is_empty() {
            return None;
        }
        let link = self.links.swap_remove(random.below(self.links.len()));
        Some((link.from, link.to))
    }

    /// When a broker was last sent something by others.
    pub(crate) fn heard_by(&self, server: usize) -> Duration {
        self.heard.get(&server).copied().unwrap_or_default()
    }

    /// Moves some bytes on some connections, each one way, unless `is_cut` from one broker to the other.
    pub(crate) fn deliver(&mut self, random: &mut Random, now: Duration, is_cut: impl Fn(usize, usize) -> bool) {
        if self.links.is_empty() {
            return;
        }
        let first = random.below(2 * self.links.len());
        let part = random.happens(100);
        let mut most = MOST;
        for turn in 0..2 * self.links.len() {
            let way = (first + turn) % (2 * self.links.len());
            let link = &mut self.links[way / 2];
            let (from, to) = (link.from, link.to);
            let moved = if way.is_multiple_of(2) {
                !from.is_some_and(|from| is_cut(from, to))
                    && pass(&mut link.client, &mut link.up, &mut link.server, part)
            } else {
                link.stalled_until <= now
                    && !from.is_some_and(|from| is_cut(to, from))
                    && pass(&mut link.server, &mut link.down, &mut link.client, part)
            };
            if moved && from.is_some() && way.is_multiple_of(2) {
                self.heard.insert(to, now);
            }
            most -= usize::from(moved);
            if most == 0 {
                break;
            }
        }
        self.links.retain(|link| !link.is_over());
    }
}

impl Link {
    /// Nothing will come of it any more.
    fn is_over(&self) -> bool {
        matches!(self.client, End::Closed) && self.up.is_empty()
            || matches!(self.server, End::Closed) && self.down.is_empty()
    }
}

/// Moves what is there; whether anything was.
fn pass(from: &mut End, between: &mut Vec<u8>, to: &mut End, part: bool) -> bool {
    if let End::Process(stream) = from
        && between.is_empty()
        && !read(stream, between)
    {
        *from = End::Closed;
    }
    let count = if part && between.len() > 1 { between.len() / 2 } else { between.len() };
    let moved = match to {
        End::Process(stream) => match write(stream, &between[..count]) {
            Some(written) => written,
            None => {
                *to = End::Closed;
                count
            }
        },
        End::Ours(buffer) => {
            buffer.extend_from_slice(&between[..count]);
            count
        }
        End::Closed => count,
    };
    between.drain(..moved);
    moved > 0
}

/// Reads what there is; false when nothing will come any more.
fn read(stream: &mut DuplexStream, into: &mut Vec<u8>) -> bool {
    let mut memory = [0; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut memory);
        match Pin::new(&mut *stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return !into.is_empty(),
            Poll::Ready(Ok(())) => into.extend_from_slice(buffer.filled()),
            Poll::Ready(Err(_)) => return !into.is_empty(),
            Poll::Pending => return true,
        }
    }
}

/// Writes what there is room for; none when nobody reads any more.
fn write(stream: &mut DuplexStream, bytes: &[u8]) -> Option<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match Pin::new(&mut *stream).poll_write(&mut Context::from_waker(Waker::noop()), &bytes[written..]) {
            Poll::Ready(Ok(0)) | Poll::Pending => break,
            Poll::Ready(Ok(more)) => written += more,
            Poll::Ready(Err(_)) => return None,
        }
    }
    Some(written)
}
