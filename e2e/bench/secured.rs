//! Brokers and our own client under TLS.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::Result;
use ottla_e2e::raw::Connection;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Before the address of a listener under TLS.
pub const SCHEME: &str = "tls://";

/// Connects to an address, under TLS if [`SCHEME`] stands before it.
pub fn open(address: &str) -> Result<Connection> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has the default versions");
        let verifier = Arc::new(Anybody(provider));
        Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    });
    match address.strip_prefix(SCHEME) {
        Some(address) => Connection::open_secure(address, CONFIG.clone()),
        None => Connection::open(address),
    }
}

/// A listener of Ottla under TLS at this port besides the one that there is, as JSON.
pub fn ottla(port: u16) -> String {
    let listener = format!(r#"{{"name":"secure","port":{port},"tls":{{}}}}"#);
    format!(r#"{{"spec":{{"listeners":[{{"name":"internal","port":9092}},{listener}]}}}}"#)
}

/// The same of Kafka, with a certificate of the same kind as Ottla's own authority issues, as properties.
pub fn kafka(folder: &Path, port: u16) -> Result<String> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let keystore = folder.join("keystore.pem");
    std::fs::write(&keystore, format!("{}{}", signing_key.serialize_pem(), cert.pem()))?;
    let (secure, controller) = (port + 1, port + 50);
    Ok(format!(
        "listeners=PLAINTEXT://127.0.0.1:{port},SSL://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={}
",
        keystore.display()
    ))
}

/// Trusts every broker: what is measured is speed.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
