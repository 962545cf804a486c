//! The broker's keys and the authorities that it trusts: read from files, and again when these change.
//!
//! On Kubernetes the files are mounted Secrets; on a laptop the program writes them. Whatever changes, certificates,
//! keys or authorities, makes new configurations for connections to come: there is no restart, and connections that
//! exist stay. Files that can't be used change nothing, as in Kafka: a listener continues with what it had. Sessions
//! that were begun under former authorities can't be resumed, because each configuration has a ticketer of its own.
//!
//! - [`files`]: where they are, and what they hold
//! - [`config`]: from files to rustls' configurations
//! - `foreign`: certificates of an authority that only one listener trusts
//! - [`words`]: rustls' errors, with what to do

pub(crate) mod config;
pub(crate) mod files;
mod foreign;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use ottla_access::{Authentication, ListenerAccess, Listeners};
use ottla_crds::names;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use self::files::{Files, Pair};
use crate::dialer::ClientConfigReceiver;
use crate::env;
use crate::image::{BrokerId, ImageReceiver};
use crate::metrics::Metrics;

/// How often the files are looked at. The kubelet takes about a minute to bring a Secret's new version.
const LOOK: Duration = Duration::from_secs(5);

/// How long files must not change before they are used.
const SETTLE: Duration = Duration::from_millis(100);

/// The configurations of the listeners with TLS. One that is missing never had usable files: its clients are refused.
#[derive(Clone, Debug, Default)]
pub struct ServerConfigs(BTreeMap<Str, Arc<ServerConfig>>);

impl ServerConfigs {
    /// The configuration for new connections of a listener; `None`: its files were never usable.
    pub fn get(&self, listener: &str) -> Option<&Arc<ServerConfig>> {
        self.0.get(listener)
    }
}

/// The newest configurations, and word of the next.
pub(crate) type ServerConfigsReceiver = watch::Receiver<Arc<ServerConfigs>>;

/// Makes configurations of what files and image say.
pub(crate) struct Keys {
    me: BrokerId,
    folder: PathBuf,
    images: ImageReceiver,
    metrics: Arc<Metrics>,
    publish: watch::Sender<Arc<ServerConfigs>>,
    publish_client: watch::Sender<Option<Arc<ClientConfig>>>,
    publish_loaded: watch::Sender<String>,
    /// What the present configurations were made of.
    made_of: Option<(Listeners, Files)>,
}

impl Keys {
    /// Reads the files of `folder` for the first time. [`Keys::keep`] reads them again.
    pub(crate) fn read(
        me: BrokerId,
        folder: PathBuf,
        images: ImageReceiver,
        metrics: Arc<Metrics>,
    ) -> (Keys, ServerConfigsReceiver, ClientConfigReceiver) {
        let (publish, configs) = watch::channel(Arc::default());
        let (publish_client, client) = watch::channel(None);
        let publish_loaded = watch::Sender::default();
        let mut keys = Keys { me, folder, images, metrics, publish, publish_client, publish_loaded, made_of: None };
        let listeners = keys.images.borrow_and_update().access.listeners.clone();
        if listeners.named().any(|(_, listener)| listener.tls) {
            let files = Files::read(&keys.folder, me, &listeners);
            keys.make(listeners, files);
        }
        (keys, configs, client)
    }

    /// Hashes of what is in use: the authorities of brokers, those of users, and this broker's certificate; empty while
    /// there is none.
    pub(crate) fn loaded(&self) -> watch::Receiver<String> {
        self.publish_loaded.subscribe()
    }

    /// Follows the image and the files, for ever.
    pub(crate) async fn keep(mut self) {
        loop {
            let listeners = self.images.borrow_and_update().access.listeners.clone();
            let needs_keys = listeners.named().any(|(_, listener)| listener.tls);
            if needs_keys {
                let Some(mut files) = self.files(&listeners).await else { return };
                // A certificate and its key are two files: what is being written is read again.
                while self.made_of.as_ref().is_some_and(|(_, before)| *before != files) {
                    env::sleep_until(env::now() + SETTLE).await;
                    let Some(again) = self.files(&listeners).await else { return };
                    if again == files {
                        break;
                    }
                    files = again;
                }
                self.make(listeners.clone(), files);
            }
            tokio::select! {
                other = self.images.wait_for(|image| image.access.listeners != listeners) => {
                    if other.is_err() {
                        return;
                    }
                }
                () = env::sleep_until(env::now() + LOOK), if needs_keys => {}
            }
        }
    }

    /// What the files hold; `None`: the process ends.
    async fn files(&self, listeners: &Listeners) -> Option<Files> {
        let (folder, me, of) = (self.folder.clone(), self.me, listeners.clone());
        env::blocking(move || Files::read(&folder, me, &of)).await.ok()
    }

    /// Publishes configurations, if these are not what the present ones were made of.
    fn make(&mut self, listeners: Listeners, files: Files) {
        if self.made_of.as_ref().is_some_and(|(before, of)| *before == listeners && *of == files) {
            return;
        }
        // A cluster without authorities: its brokers reach each other in plain text.
        let has_none = files.broker == Pair::default();
        let mut configs = BTreeMap::new();
        // Listeners may have gone.
        let unusable = &self.metrics.clients.tls_files_unusable;
        unusable.reset();
        for (name, listener) in listeners.named().filter(|(_, listener)| listener.tls) {
            if has_none && listener.authentication == Authentication::Brokers {
                continue;
            }
            if listener.authentication.mapping_rules().is_some() && !files.listener_cas.contains_key(name) {
                tracing::error!(
                    listener = %name,
                    "the listener's Secret has no ca.crt, so principalMappingRules let nobody in: add the authority of those \
                     clients' certificates"
                );
            }
            match config::server(&files, name, &listener.authentication) {
                Ok(config) => {
                    configs.insert(name.clone(), config);
                    unusable.with_label_values(&[&**name]).set(0);
                    if let Some(ends) = config::not_after(&files, name) {
                        self.metrics.clients.certificate_ends.with_label_values(&[&**name]).set(ends as f64);
                    }
                }
                Err(error) => {
                    unusable.with_label_values(&[&**name]).set(1);
                    if let Some(former) = self.former(name, listener) {
                        tracing::error!(
                            listener = %name, %error,
                            "this listener's new TLS files can not be used: it continues with those before them"
                        );
                        configs.insert(name.clone(), former);
                    } else {
                        tracing::error!(
                            listener = %name, %error,
                            "this listener refuses all connections: its TLS files can not be used"
                        );
                    }
                }
            }
        }
        match config::client(&files) {
            Ok(client) => {
                self.publish_client.send_replace(Some(client));
                let all = [&files.cluster_ca, &files.clients_ca, &files.broker.certificate];
                self.publish_loaded.send_replace(all.map(|content| names::digest(content)).join(" "));
            }
            Err(_) if has_none => {}
            Err(error) => {
                tracing::error!(%error, "this broker can not connect to brokers with TLS: its TLS files can not be used");
            }
        }
        if !configs.is_empty() {
            tracing::info!(listeners = ?configs.keys().collect::<Vec<_>>(), "loaded TLS keys and certificates");
        }
        self.publish.send_replace(Arc::new(ServerConfigs(configs)));
        self.made_of = Some((listeners, files));
    }

    /// The present configuration of a listener, if it asks the same of clients as it shall from now on.
    fn former(&self, name: &Str, listener: &ListenerAccess) -> Option<Arc<ServerConfig>> {
        let (listeners, _) = self.made_of.as_ref()?;
        listeners.get(name).filter(|before| *before == listener)?;
        self.publish.borrow().get(name).cloned()
    }
}
