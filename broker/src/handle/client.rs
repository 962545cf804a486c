//! The client of one connection: its address and software, and what the connection remembers of its requests.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use ottla_access::Principal;
use ottla_wire::Str;

use super::records::refusals::Refusals;
use crate::env::Instant;
use crate::quotas::OfConnection;
use crate::share::ConnectionShares;

/// A connection's state, which handlers read and change in the order of its requests.
pub struct Client {
    /// Its address and listener.
    pub peer: Peer,
    /// The name and version of its software; `None` until ApiVersions has sent them (KIP-511).
    pub software: Option<String>,
    /// Producers' batches that were refused, so that those sent behind them are refused, too. Shared with a request
    /// that holds the connection.
    pub(super) refusals: Rc<RefCell<Refusals>>,
    /// The share sessions that were opened on the connection; `None` before the first.
    pub(super) shares: Option<ConnectionShares>,
    /// What the client may use, and until when it is throttled.
    pub(super) quotas: OfConnection,
}

impl Client {
    /// A client that has sent no request yet.
    pub fn new(peer: Peer) -> Client {
        Client { peer, software: None, refusals: Rc::default(), shares: None, quotas: OfConnection::default() }
    }

    /// Until when no request of the connection is read or started; `None`: it is not throttled (KIP-219).
    pub fn muted_until(&self) -> Option<Instant> {
        self.quotas.muted_until()
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The peer's address.
    pub address: SocketAddr,
    /// The name of the listener: the peer gets addresses of the same listener.
    pub listener: Str,
    /// Who the client is: anonymous until it has logged in.
    pub principal: Principal,
}

impl Peer {
    /// A peer on `listener`.
    pub fn new(address: SocketAddr, listener: Str) -> Peer {
        Peer { address, listener, principal: Principal::ANONYMOUS }
    }
}
