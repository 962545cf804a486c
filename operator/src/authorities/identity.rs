//! The operator's own certificate: it asks brokers whether they are alive on their listener for replication, where only
//! brokers and the operator may connect.
//!
//! Each process issues its own and keeps it in memory. The standby does so, too: it pings brokers all the time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use ottla_crds::names;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::watch;
use tokio::time::sleep;

use super::issue::{self, Subject};
use super::secrets::StoredAuthority;
use super::validity::{BROKER, Validity};
use crate::clock;

/// How often the authority is looked at: brokers trust a new key long before they use it.
const LOOK: Duration = Duration::from_secs(30);
/// How often while there is none yet.
const SOON: Duration = Duration::from_secs(1);

/// The newest configuration for connections to brokers with TLS; `None`: there is no authority yet.
pub type Identity = watch::Receiver<Option<Arc<ClientConfig>>>;

/// Publishes the operator's configuration from the time on when it is `wanted`, for ever.
pub async fn follow(
    client: Client,
    namespace: &str,
    cluster: &str,
    mut wanted: watch::Receiver<bool>,
    publish: watch::Sender<Option<Arc<ClientConfig>>>,
) {
    if wanted.wait_for(|wanted| *wanted).await.is_err() {
        return;
    }
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let mut present: Option<(StoredAuthority, Validity)> = None;
    loop {
        let now = clock::now().0.as_second();
        match secrets.get_opt(&names::cluster_ca(cluster)).await {
            Ok(secret) => {
                let held = secret.as_ref().and_then(StoredAuthority::of);
                let is_new = |held: &StoredAuthority| {
                    present.as_ref().is_none_or(|(of, validity)| of != held || validity.is_due(BROKER, now))
                };
                if let Some(held) = held.filter(is_new) {
                    match config(&held, now) {
                        Ok(config) => {
                            publish.send_replace(Some(Arc::new(config)));
                            present = Some((held, BROKER.from(now)));
                        }
                        Err(error) => tracing::warn!(%error, "the authority of this cluster can not be used"),
                    }
                }
            }
            Err(error) => {
                tracing::debug!(error = ottla_kube::change::why(&error), "failed to read the authority of a cluster")
            }
        }
        sleep(if present.is_some() { LOOK } else { SOON }).await;
    }
}

/// The operator's configuration with the present authority of the cluster, for a single question.
///
/// # Errors
/// When there is no authority, or it can't be read or used.
pub async fn read(client: &Client, namespace: &str, cluster: &str) -> io::Result<Arc<ClientConfig>> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = secrets.get(&names::cluster_ca(cluster)).await.map_err(io::Error::other)?;
    let held = StoredAuthority::of(&secret).ok_or_else(|| io::Error::other("the Secret has no key"))?;
    config(&held, clock::now().0.as_second()).map(Arc::new)
}

fn config(held: &StoredAuthority, now: i64) -> io::Result<ClientConfig> {
    let pair =
        issue::certificate(&held.issuing, "operator", &Subject::Operator, now, BROKER).map_err(io::Error::other)?;
    let certificates = |text: &str| CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let mut roots = RootCertStore::empty();
    for root in certificates(&held.trusted()).map_err(io::Error::other)? {
        roots.add(root).map_err(io::Error::other)?;
    }
    let chain = certificates(&pair.certificate).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(io::Error::other)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13]).map_err(io::Error::other)?;
    builder.with_root_certificates(roots).with_client_auth_cert(chain, key).map_err(io::Error::other)
}
