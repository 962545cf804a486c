//! How connections are made: to which address, over which network, with which limits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::Str;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{ClientError, Connection};

/// How long a look-up of a name may take where an address is known without it.
const LOOK_UP_TIMEOUT: Duration = Duration::from_millis(250);

/// Makes connections, all of them alike.
#[derive(Clone, Debug)]
pub struct Connector {
    /// What the client calls itself in each request.
    pub client_id: Str,
    /// How long it may take to make a connection, the look-up of the name included.
    pub connect_timeout: Duration,
    /// How long a request may take, from its first byte to the last one of its response.
    pub request_timeout: Duration,
    /// The largest response that is read, in bytes. A peer that announces a larger one is no broker.
    pub max_response: usize,
    /// Whom the client trusts and with which certificate it says who it is; `None`: connections are plain.
    pub tls: Option<Arc<ClientConfig>>,
}

/// How many bytes of TLS records are read at once: four of the largest.
const READ: usize = 64 << 10;

impl Connector {
    /// Connects to a broker. Looks up `host` each time, for a pod that was restarted has another address. `address` is
    /// where the broker was last: the connection goes there when nobody answers for the name soon, as when the name
    /// server was on the machine that has just died. `None`: it is not known.
    ///
    /// # Errors
    /// When neither name nor address is known, nobody listens there, or it takes too long.
    pub async fn connect(&self, host: &str, port: u16, address: Option<IpAddr>) -> Result<Connection, ClientError> {
        let connecting = async {
            let stream = open(host, port, address).await?;
            match &self.tls {
                None => Ok(stream),
                Some(config) => secured(stream, host, config.clone()).await,
            }
        };
        let connected = timeout(self.connect_timeout, connecting).await;
        let stream = connected.map_err(|_| ClientError::ConnectTimeout(self.connect_timeout))??;
        Ok(Connection::new(stream, self.clone()))
    }
}

/// The stream under TLS, after the handshake with the broker that has a certificate for `host`.
async fn secured(stream: Box<dyn Stream>, host: &str, config: Arc<ClientConfig>) -> io::Result<Box<dyn Stream>> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    // rustls reads 4 KiB at a time.
    let stream = BufReader::with_capacity(READ, stream);
    Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
}

/// Bytes in both directions: a socket, or what stands in for it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn open(host: &str, port: u16, address: Option<IpAddr>) -> io::Result<Box<dyn Stream>> {
    #[cfg(feature = "simulated")]
    if let Some(connected) = crate::simulated::connect(host, port) {
        return connected.map(|stream| Box::new(stream) as Box<dyn Stream>);
    }
    let look_up = tokio::net::lookup_host((host, port));
    let found: Vec<SocketAddr> = match address {
        None => look_up.await?.collect(),
        Some(address) => match timeout(LOOK_UP_TIMEOUT, look_up).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(_)) | Err(_) => vec![SocketAddr::new(address, port)],
        },
    };
    let stream = TcpStream::connect(&found[..]).await?;
    // A request goes out whole. With an error here the next read fails too.
    let _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}
