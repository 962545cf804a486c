//! Connections to brokers. Opened here and nowhere else, so that a simulation can put its own network in the place of
//! the machine's.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection to a broker.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects to a broker.
///
/// # Errors
/// When the name is not known or nobody answers there.
pub async fn connect(host: &str, port: u16) -> io::Result<Box<dyn Connection>> {
    #[cfg(feature = "simulated")]
    if let Some(connected) = simulated::connect(port) {
        return connected.map(|stream| Box::new(stream) as Box<dyn Connection>);
    }
    let stream = TcpStream::connect((host, port)).await?;
    // Without delay: a ping is one small packet.
    let _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}

/// What a simulation puts in the place of the network: one for each thread, since a simulation runs in one.
#[cfg(feature = "simulated")]
pub mod simulated {
    use std::cell::RefCell;
    use std::io;

    use tokio::io::DuplexStream;

    /// Connects to a port.
    pub type Connect = Box<dyn Fn(u16) -> io::Result<DuplexStream>>;

    thread_local! {
        static CONNECT: RefCell<Option<Connect>> = const { RefCell::new(None) };
    }

    /// Who connects from now on; none: the machine.
    pub fn connect_by(connect: Option<Connect>) {
        CONNECT.set(connect);
    }

    pub(super) fn connect(port: u16) -> Option<io::Result<DuplexStream>> {
        CONNECT.with_borrow(|connect| connect.as_ref().map(|connect| connect(port)))
    }
}
