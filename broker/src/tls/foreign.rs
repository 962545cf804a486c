//! Clients' certificates of two authorities: the cluster's own, whose certificates name KafkaUsers, and one that only a
//! listener trusts, whose subjects rules map to principals. The second must not issue what the first does.

use std::sync::Arc;

use ottla_access::Certified;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Accepts what either authority has issued, but a certificate that names a KafkaUser only from the own one.
#[derive(Debug)]
pub(super) struct OwnOrForeign {
    own: Arc<dyn ClientCertVerifier>,
    foreign: Arc<dyn ClientCertVerifier>,
    subjects: Vec<DistinguishedName>,
}

impl OwnOrForeign {
    /// Of the verifiers of the two.
    pub(super) fn new(own: Arc<dyn ClientCertVerifier>, foreign: Arc<dyn ClientCertVerifier>) -> OwnOrForeign {
        let subjects = [own.root_hint_subjects(), foreign.root_hint_subjects()].concat();
        OwnOrForeign { own, foreign, subjects }
    }
}

impl ClientCertVerifier for OwnOrForeign {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if Certified::of(certificate).is_some() {
            return self.own.verify_client_cert(certificate, chain, now);
        }
        // What the own authority issues always names somebody.
        self.foreign.verify_client_cert(certificate, chain, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.own.supported_verify_schemes()
    }
}
