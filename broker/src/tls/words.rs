//! rustls' errors, with what to do where they only name a rule.

use rustls::{CertificateError, Error, PeerIncompatible};

/// The error as text for the log.
pub(crate) fn explained(error: &Error) -> String {
    let advice = match error {
        // Clients of TLS 1.1 name no algorithms for signatures, which is looked at before their version.
        Error::PeerIncompatible(
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "; the client knows TLS 1.1 at most: update it, or let it use TLS 1.2 or 1.3",
        // What webpki says has no variant of its own.
        Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string() == "UnsupportedCertVersion" => {
            "; the certificate is of X.509 version 1, and TLS takes version 3: issue it with an extension, as \
             `openssl x509 -req -extfile FILE` does with a FILE of one line, basicConstraints=CA:FALSE"
        }
        _ => "",
    };
    format!("{error}{advice}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    /// Of `openssl req -x509`, version 3.0.19.
    const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUY+WSBnAVO2JggtdGDuuFQki1a6QwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyNTAxMTczOFoYDzIxMjYxMTAx
MDExNzM4WjAUMRIwEAYDVQQDDAlhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASKIdlCiF52jTQh4EXHEcJvGT8Nq557GtHPrHVc0KS5afbbpwp1BnG8
E9AvL7yETPgrrcmuDqXqpnUzJRBzZZiPo1MwUTAdBgNVHQ4EFgQUtAizbYW36Ikk
X1Pa6TFDt4/egf4wHwYDVR0jBBgwFoAUtAizbYW36IkkX1Pa6TFDt4/egf4wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAprjFj/lrjbtP/p8F03la
Fxk42bD7JyKBJcdVjLi6ciUCIQCQHYQeAQS80u/W4RD036EzDhJXu+vutaJZs9C9
9tGeOQ==
-----END CERTIFICATE-----
";
    /// Of `openssl x509 -req` without extensions, by the authority.
    const OF_VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBHjCBxQIUP9OEw2oTzWI5eyGFjee0qmpbV/4wCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyNTAxMTczOFoYDzIxMjYxMTAxMDExNzM4
WjAOMQwwCgYDVQQDDANldGwwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASGatFk
qw6ZQk4yocVyswgksTVtXYuw+Y7GjxGKnwU0Q06DLCnoK7qib26ZImaoNwlriW+h
3mLw00cYMMf83b+SMAoGCCqGSM49BAMCA0gAMEUCIH041XczYjjue0H6M+ZpRGvw
fouddXx57hpegol6XmRIAiEAhRdtO9c1yzAww62Y7r6PQ1oIpg0NIaTv4JlnpjGR
JDw=
-----END CERTIFICATE-----
";

    fn certificate(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_of_version_1_is_refused_with_how_to_issue_another() {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(AUTHORITY)).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let error = verifier.verify_client_cert(&certificate(OF_VERSION_1), &[], UnixTime::now()).unwrap_err();
        assert!(explained(&error).ends_with("basicConstraints=CA:FALSE"), "{}", explained(&error));
    }

    #[test]
    fn errors_say_what_to_do_only_where_something_is_to_be_done() {
        let old = Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered);
        assert!(explained(&old).ends_with("let it use TLS 1.2 or 1.3"), "{}", explained(&old));
        assert_eq!(explained(&Error::DecryptError), Error::DecryptError.to_string());
    }
}
