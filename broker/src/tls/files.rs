//! The files with keys, certificates and authorities, all in PEM.
//!
//! | file | content |
//! |---|---|
//! | `brokers/<id>.crt`, `brokers/<id>.key` | this broker's certificate and key |
//! | `cluster-ca/ca.crt` | the authorities of brokers |
//! | `clients-ca/ca.crt` | the authorities of clients |
//! | `listeners/<name>/tls.crt`, `tls.key` | a listener's own certificate and key |
//! | `listeners/<name>/ca.crt` | the authorities of clients that only this listener trusts |

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytestring::ByteString as Str;
use ottla_access::Listeners;

use crate::image::BrokerId;

/// The content of the files. An empty text stands for a file that does not exist.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// This broker's certificate and key.
    pub broker: Pair,
    /// The authorities of brokers.
    pub cluster_ca: String,
    /// The authorities of clients.
    pub clients_ca: String,
    /// The certificates and keys that listeners have for themselves.
    pub listeners: BTreeMap<Str, Pair>,
    /// The authorities of clients that single listeners trust besides; only of those with rules for their subjects.
    pub listener_cas: BTreeMap<Str, String>,
}

/// A certificate and its key. Has no `Debug`: the key must not be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The certificate, first in its chain.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Files {
    /// Reads the files of `folder`. A file that can't be read is logged and counts as empty.
    pub(crate) fn read(folder: &Path, me: BrokerId, listeners: &Listeners) -> Files {
        let pair = |certificate: String, key: String| Pair {
            certificate: text(&folder.join(certificate)),
            key: text(&folder.join(key)),
        };
        let own = listeners.named().filter_map(|(name, listener)| {
            let own = pair(format!("listeners/{name}/tls.crt"), format!("listeners/{name}/tls.key"));
            (listener.tls && own != Pair::default()).then(|| (name.clone(), own))
        });
        let with_rules = listeners.named().filter(|(_, listener)| listener.authentication.mapping_rules().is_some());
        let cas = with_rules.map(|(name, _)| (name.clone(), text(&folder.join(format!("listeners/{name}/ca.crt")))));
        Files {
            broker: pair(format!("brokers/{me}.crt"), format!("brokers/{me}.key")),
            cluster_ca: text(&folder.join("cluster-ca/ca.crt")),
            clients_ca: text(&folder.join("clients-ca/ca.crt")),
            listeners: own.collect(),
            listener_cas: cas.filter(|(_, authorities)| !authorities.is_empty()).collect(),
        }
    }
}

fn text(path: &Path) -> String {
    match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "failed to read a TLS file");
            String::new()
        }
    }
}
