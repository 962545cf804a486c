//! Connections to the other brokers of the cluster.
//!
//! Always: a broker that has a listener for replication itself never speaks in plain text to one that has it, too. One
//! that was started before its cluster had authorities has none, and speaks in plain text until it is restarted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::{ClientError, Connection, Connector, Tls};
use rustls::ClientConfig;
use tokio::sync::watch;

use crate::image::{BrokerId, Route};

/// The newest configuration for connections to brokers with TLS, and word of the next; `None`: this broker has no
/// usable certificate.
pub type ClientConfigReceiver = watch::Receiver<Option<Arc<ClientConfig>>>;

const NO_CERTIFICATE: &str = "the other broker requires TLS, and this one has no usable certificate yet";

/// How a broker connects to others.
#[derive(Clone)]
pub struct Dialer {
    /// This broker.
    pub me: BrokerId,
    /// `None`: this broker has no listener for replication.
    tls: Option<ClientConfigReceiver>,
}

/// How long each step may take, and how much may come back.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// How long it may take to connect.
    pub connect: Duration,
    /// How long a request may take.
    pub request: Duration,
    /// The largest answer that is read, in bytes; a broker that announces more is none.
    pub max_response: usize,
}

impl Dialer {
    /// Connections of the broker `me`, which proves who it is with a certificate where the other broker has TLS.
    pub fn new(me: BrokerId, tls: ClientConfigReceiver) -> Dialer {
        Dialer { me, tls: Some(tls) }
    }

    /// Connections of a broker without a listener for replication.
    pub fn plain(me: BrokerId) -> Dialer {
        Dialer { me, tls: None }
    }

    /// Connects to another broker; `None`: it is not known where it is. `purpose` is part of the `client.id`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn connect(
        &self,
        to: Option<&Route>,
        purpose: &str,
        limits: CallLimits,
    ) -> Result<Connection, ClientError> {
        let Route { endpoint, address, tls_name, plain } = to.ok_or(ClientError::Closed)?;
        let (endpoint, tls) = match (tls_name, &self.tls) {
            (None, _) => (endpoint, None),
            (Some(_), None) => (plain.as_ref().ok_or(ClientError::Closed)?, None),
            (Some(name), Some(tls)) => {
                let config = tls.borrow().clone();
                let config = config.ok_or_else(|| ClientError::Io(io::Error::other(NO_CERTIFICATE)))?;
                (endpoint, Some(Tls { config, name: Some(name.clone()) }))
            }
        };
        let connector = Connector {
            client_id: format!("broker-{}-{purpose}", self.me).into(),
            connect_timeout: limits.connect,
            request_timeout: limits.request,
            max_response: limits.max_response,
            tls,
        };
        connector.connect(&endpoint.host, endpoint.port, *address).await
    }
}
