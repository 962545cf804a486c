//! The operator as a process on Kubernetes.

use std::net::SocketAddr;

use kube::Client;

/// What the process is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where metrics and probes are served.
    pub http: SocketAddr,
    /// The namespace of the operator's own Lease.
    pub namespace: String,
    /// The image of the brokers' pods.
    pub broker_image: String,
}

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A stub.
    #[error("the operator is not built yet")]
    NotBuilt,
}

/// Operates every cluster until `shutdown`.
///
/// # Errors
/// See [`Error`].
pub async fn run(client: Client, options: Options, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let _ = (client, options, shutdown);
    Err(Error::NotBuilt)
}
