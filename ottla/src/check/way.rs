//! The way to brokers: plain or under TLS, as nobody or as a user.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ottla_client::{Connector, Hash, Login, Tls};
use ottla_wire::{RequestMessage, Str};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::properties::{jaas_options, parse};

/// How long a connection may take, and a request.
const REQUEST: Duration = Duration::from_secs(10);
/// An upper bound of the responses, in bytes.
pub const LARGEST_RESPONSE: usize = 16 << 20;

/// How to connect, and as whom.
#[derive(Debug, Default)]
pub struct Way {
    tls: Option<Tls>,
    identity: Option<Identity>,
}

#[derive(Debug)]
enum Identity {
    Password(Login),
    /// The file with the token, which may be renewed at any time.
    TokenIn(PathBuf),
}

/// What is left of a file of properties.
struct Properties(BTreeMap<String, String>);

impl Properties {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).map(|value| value.trim().to_owned())
    }

    fn needed(&mut self, name: &str, what_for: &str) -> anyhow::Result<String> {
        self.take(name).with_context(|| format!("{name} is missing, which {what_for} needs"))
    }

    /// PEM under this name, or in the file that `location` names.
    fn pem(&mut self, name: &str, location: &str) -> anyhow::Result<Option<String>> {
        let file = self.take(location);
        match (self.take(name), file) {
            (Some(pem), _) => Ok(Some(pem)),
            (None, Some(file)) => {
                Ok(Some(std::fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?))
            }
            (None, None) => Ok(None),
        }
    }
}

impl Way {
    /// By the properties in a file; without one, plain and as nobody.
    ///
    /// # Errors
    /// What is wrong with the file, or in it.
    pub fn read(file: Option<&Path>) -> anyhow::Result<Way> {
        let Some(file) = file else { return Ok(Way::default()) };
        let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        Way::by(&text).with_context(|| format!("can not use {}", file.display()))
    }

    fn by(text: &str) -> anyhow::Result<Way> {
        let mut properties = Properties(parse(text));
        let protocol = properties.take("security.protocol").unwrap_or_else(|| "PLAINTEXT".to_owned());
        let (is_secured, logs_in) = match protocol.as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            other => {
                bail!("security.protocol is {other}: there are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL")
            }
        };
        let tls = if is_secured { Some(tls(&mut properties)?) } else { None };
        let identity = if logs_in { Some(identity(&mut properties, is_secured)?) } else { None };
        if let Some(name) = properties.0.keys().next() {
            bail!(
                "{name} is not a property that ottla check knows, or has no effect with security.protocol={protocol}"
            );
        }
        Ok(Way { tls, identity })
    }

    /// One request over a connection of its own, in the newest version of `versions` that the broker serves: those in
    /// which the request can say what it says here. From Produce 13, Fetch 13 and DeleteTopics 6 on topics go by other
    /// fields.
    ///
    /// # Errors
    /// Why there is no connection, or no response.
    pub async fn ask<R: RequestMessage>(
        &self,
        address: &str,
        versions: RangeInclusive<i16>,
        request: &R,
    ) -> anyhow::Result<R::Response> {
        let connector = Connector {
            client_id: Str::from_static("ottla-check"),
            connect_timeout: REQUEST,
            request_timeout: REQUEST,
            max_response: LARGEST_RESPONSE,
            tls: self.tls.clone(),
        };
        let (host, port) = address.rsplit_once(':').context("an address is HOST:PORT")?;
        let (host, port) = (host.trim_start_matches('[').trim_end_matches(']'), port.parse::<u16>()?);
        let connecting = connector.connect(host, port, None).await;
        let mut connection = connecting.with_context(|| format!("failed to connect to {address}"))?;
        let served = connection.versions().await.with_context(|| match self.tls {
            // What a listener with TLS does to a plain client.
            None => format!("{address} does not speak Kafka without TLS: if it has TLS, use --client-properties"),
            Some(_) => format!("{address} does not speak Kafka"),
        })?;
        match &self.identity {
            None => {}
            Some(Identity::Password(login)) => connection.log_in(login).await?,
            Some(Identity::TokenIn(file)) => {
                let token = std::fs::read_to_string(file);
                let token = token.with_context(|| format!("failed to read the token in {}", file.display()))?;
                connection.log_in(&Login::Bearer { token: token.trim().to_owned() }).await?;
            }
        }
        let version = served.newest::<R>(versions)?;
        Ok(connection.call(version, request).await?)
    }
}

fn tls(properties: &mut Properties) -> anyhow::Result<Tls> {
    for store in ["ssl.truststore.type", "ssl.keystore.type"] {
        let type_ = properties.take(store);
        ensure!(type_.is_none_or(|type_| type_ == "PEM"), "{store} must be PEM");
    }
    let trusted = properties.pem("ssl.truststore.certificates", "ssl.truststore.location")?;
    let trusted = trusted.context(
        "ssl.truststore.certificates is missing: whom to trust; cluster-ca.crt in the Secret of a KafkaUser has it",
    )?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&trusted, "ssl.truststore.certificates")? {
        roots.add(certificate).context("ssl.truststore.certificates")?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    let own = properties.pem("ssl.keystore.certificate.chain", "ssl.keystore.location")?;
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            // A keystore's file has both.
            let key = properties.take("ssl.keystore.key").unwrap_or_else(|| own.clone());
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("ssl.keystore.key is no private key")?;
            builder.with_client_auth_cert(certificates(&own, "ssl.keystore.certificate.chain")?, key)?
        }
    };
    Ok(Tls { config: Arc::new(config), name: None })
}

fn certificates(pem: &str, name: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let all = all.with_context(|| format!("{name} is no PEM"))?;
    ensure!(!all.is_empty(), "{name} has no certificate");
    Ok(all)
}

fn identity(properties: &mut Properties, is_secured: bool) -> anyhow::Result<Identity> {
    let mechanism = properties.needed("sasl.mechanism", "a login")?;
    let hash = match mechanism.as_str() {
        "OAUTHBEARER" => {
            let url = properties.needed("sasl.oauthbearer.token.endpoint.url", "OAUTHBEARER")?;
            let file = url.strip_prefix("file://");
            let file = file.context("sasl.oauthbearer.token.endpoint.url must name a file: file:///PATH")?;
            // What Java needs beside it.
            properties.take("sasl.jaas.config");
            properties.take("sasl.login.callback.handler.class");
            return Ok(Identity::TokenIn(PathBuf::from(file)));
        }
        "SCRAM-SHA-256" => Some(Hash::Sha256),
        "SCRAM-SHA-512" => Some(Hash::Sha512),
        "PLAIN" => None,
        other => bail!("sasl.mechanism is {other}: there are SCRAM-SHA-512, SCRAM-SHA-256, PLAIN and OAUTHBEARER"),
    };
    let jaas = properties.needed("sasl.jaas.config", &mechanism)?;
    let mut options = jaas_options(&jaas);
    let mut option = |name| options.remove(name).with_context(|| format!("sasl.jaas.config has no {name}=\"…\""));
    let (name, password) = (option("username")?, option("password")?);
    Ok(Identity::Password(match hash {
        Some(hash) => Login::Scram { hash, name, password },
        None => {
            ensure!(is_secured, "PLAIN would show the password to everybody: use security.protocol=SASL_SSL");
            Login::Plain { name, password }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAAS: &str = r#"sasl.jaas.config=M required username="a" password="b";"#;

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        for (text, expected) in [
            ("security.protocol=TLS", "there are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL"),
            ("group.id=x", "group.id is not a property that ottla check knows"),
            ("security.protocol=SSL", "ssl.truststore.certificates is missing"),
            ("security.protocol=SSL\nssl.truststore.certificates=x", "ssl.truststore.certificates has no certificate"),
            ("security.protocol=SSL\nssl.truststore.type=JKS", "ssl.truststore.type must be PEM"),
            ("security.protocol=SASL_PLAINTEXT", "sasl.mechanism is missing"),
            ("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=GSSAPI", "sasl.mechanism is GSSAPI"),
            ("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512", "sasl.jaas.config is missing"),
            ("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER", "token.endpoint.url is missing"),
            ("ssl.truststore.type=PEM", "has no effect with security.protocol=PLAINTEXT"),
        ] {
            let error = format!("{:#}", Way::by(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        let plain = format!("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n{JAAS}");
        assert!(Way::by(&plain).unwrap_err().to_string().contains("SASL_SSL"));
    }

    #[test]
    fn a_file_says_as_whom() {
        let login = |mechanism: &str| {
            let text = format!("security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\n{JAAS}");
            Way::by(&text).unwrap().identity
        };
        let (name, password) = ("a".to_owned(), "b".to_owned());
        let expected = Login::Scram { hash: Hash::Sha256, name, password };
        assert!(matches!(login("SCRAM-SHA-256"), Some(Identity::Password(found)) if found == expected));
        assert!(Way::read(None).unwrap().identity.is_none());
    }
}
