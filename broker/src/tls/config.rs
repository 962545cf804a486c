//! From files to rustls' configurations.

use std::sync::{Arc, LazyLock};

use bytestring::ByteString as Str;
use ottla_access::Authentication;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::files::{Files, Pair};
use super::foreign::OwnOrForeign;
use super::words::explained;

/// Why files make no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableFiles {
    /// There is no certificate, or the text is no PEM.
    #[error("the certificate of the listener: {0}")]
    Certificate(rustls::pki_types::pem::Error),
    /// There is no key, or the text is no PEM.
    #[error("the private key of the listener: {0}")]
    Key(rustls::pki_types::pem::Error),
    /// There is no authority to check clients' certificates with.
    #[error("the clients' authorities: {0}")]
    Authorities(String),
    /// Key and certificate don't fit, or are of a kind that TLS does not use.
    #[error("{}", explained(.0))]
    Refused(#[from] rustls::Error),
}

/// The one provider of cryptography.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The configuration of a listener.
///
/// # Errors
/// See [`UnusableFiles`].
pub(crate) fn server(
    files: &Files,
    listener: &Str,
    authentication: &Authentication,
) -> Result<Arc<ServerConfig>, UnusableFiles> {
    let (chain, key) = files.listeners.get(listener).unwrap_or(&files.broker).read()?;
    let builder = ServerConfig::builder_with_provider(PROVIDER.clone()).with_protocol_versions(&[&TLS12, &TLS13])?;
    let verifier = match authentication {
        Authentication::Certificate { .. } => {
            let own = verifier(&files.clients_ca)?;
            Some(match files.listener_cas.get(listener) {
                Some(authorities) => Arc::new(OwnOrForeign::new(own, verifier(authorities)?)),
                None => own,
            })
        }
        Authentication::Brokers => Some(verifier(&files.cluster_ca)?),
        Authentication::None | Authentication::Sasl { .. } => None,
    };
    let config = match verifier {
        Some(verifier) => {
            let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
            // A certificate is checked in every handshake: none is resumed.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
        None => {
            let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
            config.ticketer = aws_lc_rs::Ticketer::new()?;
            config
        }
    };
    Ok(Arc::new(config))
}

/// When the certificate of a listener ends, in seconds since 1970; `None`: it can't be read.
pub(crate) fn not_after(files: &Files, listener: &Str) -> Option<i64> {
    let (chain, _) = files.listeners.get(listener).unwrap_or(&files.broker).read().ok()?;
    ottla_access::certificate::not_after(chain.first()?)
}

/// The configuration for connections to brokers with TLS: with this broker's certificate, to brokers of the cluster's
/// authority.
///
/// # Errors
/// See [`UnusableFiles`].
pub(crate) fn client(files: &Files) -> Result<Arc<ClientConfig>, UnusableFiles> {
    let (chain, key) = files.broker.read()?;
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone()).with_protocol_versions(&[&TLS13])?;
    let builder = builder.with_root_certificates(roots(&files.cluster_ca)?);
    Ok(Arc::new(builder.with_client_auth_cert(chain, key)?))
}

impl Pair {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), UnusableFiles> {
        let chain = certificates(&self.certificate).collect::<Result<_, _>>().map_err(UnusableFiles::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(UnusableFiles::Key)?;
        Ok((chain, key))
    }
}

fn certificates(
    text: &str,
) -> impl Iterator<Item = Result<CertificateDer<'static>, rustls::pki_types::pem::Error>> + use<'_> {
    CertificateDer::pem_slice_iter(text.as_bytes())
}

/// What checks that one of these authorities has issued a client's certificate.
fn verifier(authorities: &str) -> Result<Arc<dyn ClientCertVerifier>, UnusableFiles> {
    let roots = Arc::new(roots(authorities)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, PROVIDER.clone()).build();
    verifier.map_err(|error| UnusableFiles::Authorities(error.to_string()))
}

fn roots(authorities: &str) -> Result<RootCertStore, UnusableFiles> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities) {
        let added = authority
            .map_err(|error| error.to_string())
            .and_then(|authority| roots.add(authority).map_err(|error| error.to_string()));
        added.map_err(UnusableFiles::Authorities)?;
    }
    Ok(roots)
}
