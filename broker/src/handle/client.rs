//! The client at the other end of one connection: who it is, and what the connection remembers of its requests.

use std::net::SocketAddr;

use ottla_wire::Str;

use super::records::refusals::Refusals;

/// A connection's state, which handlers read and change in the order of its requests.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub peer: Peer,
    /// The name and version of its software, once it has said them (KIP-511).
    pub software: Option<String>,
    /// Producers' batches that were refused, so that those sent behind them are refused, too.
    pub(super) refusals: Refusals,
}

impl Client {
    /// A client that has asked for nothing yet.
    pub fn new(peer: Peer) -> Client {
        Client { peer, software: None, refusals: Refusals::default() }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The listener it came in on: it is told addresses of the same listener.
    pub listener: Str,
}

impl Peer {
    /// A peer on `listener`.
    pub fn new(address: SocketAddr, listener: Str) -> Peer {
        Peer { address, listener }
    }
}
