//! The client of one connection: its address and software, and what the connection remembers of its requests.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ottla_access::{Access, Login, Principal, Questions};
use ottla_wire::Str;
use parking_lot::Mutex;

use super::authentication::Authentication;
use super::records::refusals::Refusals;
use super::request::{Request, Unreadable};
use crate::env::Instant;
use crate::image::BrokerId;
use crate::quotas::OfConnection;
use crate::share::ConnectionShares;

/// A connection's state, which handlers read and change in the order of its requests.
pub struct Client {
    /// Its address and listener.
    pub(super) peer: Peer,
    /// The name and version of its software; `None` until ApiVersions has sent them (KIP-511).
    pub software: Option<String>,
    /// How far it has come with saying who it is. Shared with a token that is being checked.
    pub(super) authentication: Rc<RefCell<Authentication>>,
    /// What it may do, as far as it was asked before.
    pub(super) questions: Arc<Mutex<Questions>>,
    /// Producers' batches that were refused, so that those sent behind them are refused, too. Shared with a request
    /// that holds the connection.
    pub(super) refusals: Rc<RefCell<Refusals>>,
    /// The share sessions that were opened on the connection; `None` before the first.
    pub(super) shares: Option<ConnectionShares>,
    /// What the client may use, and until when it is throttled.
    pub(super) quotas: OfConnection,
    /// When its certificate ends, and with it the connection; `None`: it has none.
    pub certificate_ends: Option<Instant>,
}

impl Client {
    /// A client that has sent no request yet.
    pub fn new(peer: Peer, login: Login) -> Client {
        let authentication = Rc::new(RefCell::new(Authentication::new(login)));
        Client {
            peer,
            software: None,
            authentication,
            questions: Arc::default(),
            refusals: Rc::default(),
            shares: None,
            quotas: OfConnection::default(),
            certificate_ends: None,
        }
    }

    /// A KafkaUser that has said with a certificate who it is.
    pub fn certified(peer: Peer, (name, uid): (Str, String), certificate_ends: Instant) -> Client {
        let peer = Peer { principal: Principal::new(name.clone()), ..peer };
        let client = Client { certificate_ends: Some(certificate_ends), ..Client::new(peer, Login::settled()) };
        client.authentication.borrow_mut().user = Some((name, uid));
        client
    }

    /// A principal that a rule has made of a certificate of another authority: no KafkaUser, though one may have its
    /// name and give it rights and quotas.
    pub fn mapped(peer: Peer, name: Str, certificate_ends: Instant) -> Client {
        let peer = Peer { principal: Principal::new(name), ..peer };
        Client { certificate_ends: Some(certificate_ends), ..Client::new(peer, Login::settled()) }
    }

    /// Until when no request of the connection is read or started; `None`: it is not throttled (KIP-219).
    pub fn muted_until(&self) -> Option<Instant> {
        self.quotas.muted_until()
    }

    /// Whether the time counts that its answers take to be written.
    pub fn counts_time(&self) -> bool {
        self.quotas.counts_time()
    }

    /// Its address and listener, and who it is.
    pub fn peer(&self) -> Peer {
        let mut peer = self.peer.clone();
        if let Some(principal) = self.authentication.borrow().login.principal() {
            peer.principal = principal.clone();
        }
        peer
    }

    /// Whether the KafkaUser that the client is exists no more, or has no certificates any more where the client has
    /// shown one.
    pub fn is_revoked(&self, access: &Access) -> bool {
        let authentication = self.authentication.borrow();
        let is_there = |(name, uid): &(Str, String)| match self.certificate_ends {
            Some(_) => access.credentials.has_certificate(name, uid),
            None => access.credentials.has(name, uid),
        };
        !authentication.user.as_ref().is_none_or(is_there)
    }

    /// Whether it must authenticate, and has not done so.
    pub fn is_stranger(&self) -> bool {
        self.authentication.borrow().login.is_stranger()
    }

    /// Whether its next frame is a token of SASL without a header.
    pub fn expects_raw_token(&self) -> bool {
        self.authentication.borrow().login.expects_raw_token()
    }

    /// ApiVersions was answered: before it has authenticated, a client asks only once.
    pub(super) fn versions_answered(&self) {
        self.authentication.borrow_mut().login.versions_answered();
    }

    /// Decodes a frame.
    ///
    /// # Errors
    /// See [`Request::read`].
    pub fn read(&self, frame: Bytes) -> Result<Request, Unreadable> {
        if self.expects_raw_token() { Ok(Request::raw_token(frame)) } else { Request::read(frame) }
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The peer's address.
    pub address: SocketAddr,
    /// The name of the listener: the peer gets addresses of the same listener.
    pub listener: Str,
    /// Who the client is: anonymous where it need not say so, and until it has.
    pub principal: Principal,
    /// What the peer is by the certificate that it has shown.
    pub role: Role,
}

/// What a peer is by the certificate that it has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A client. Or a broker that has no certificate yet, where
    /// [`ClusterImage::has_plain_brokers`](crate::image::ClusterImage::has_plain_brokers).
    Client,
    /// This broker of the cluster.
    Broker(BrokerId),
    /// The operator.
    Operator,
}

impl Peer {
    /// An anonymous peer on `listener`.
    pub fn new(address: SocketAddr, listener: Str) -> Peer {
        Peer { address, listener, principal: Principal::ANONYMOUS, role: Role::Client }
    }

    /// What its owner can't change at will: the address, or of IPv6 the /64 that it is in, of which a host may have
    /// every address.
    pub fn network(&self) -> IpAddr {
        match self.address.ip().to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_a_prefix_of_64_bits() {
        for (address, network) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::"),
            ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::"),
            ("2001:db8:0:2::1", "2001:db8:0:2::"),
            ("::1", "::"),
        ] {
            let peer = Peer::new((address.parse::<IpAddr>().unwrap(), 4711).into(), "internal".into());
            assert_eq!(peer.network(), network.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}
