//! The configuration file of a broker on Kubernetes: its cluster and its listeners.
//!
//! The operator writes it into the ConfigMap of a revision, and every broker with that revision reads it. Values that
//! differ between brokers are in the environment of their pods.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The key in the ConfigMap, and so the file's name.
pub const FILE_NAME: &str = "broker.yaml";
/// The folder of the file in a broker's container.
pub const FOLDER: &str = "/etc/ottla";

/// The folder of keys, certificates and authorities in a broker's container, if a listener has TLS. Secrets are mounted
/// into it: `brokers/<id>.crt` and `brokers/<id>.key`, `cluster-ca/ca.crt`, `clients-ca/ca.crt`, and
/// `listeners/<name>/tls.crt` and `tls.key`.
pub const TLS_FOLDER: &str = "/etc/ottla-tls";

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BrokerFile {
    /// The KafkaCluster's name.
    pub cluster: String,
    /// The namespace of the cluster's objects.
    pub namespace: String,
    /// The data directory: where the broker's volume is mounted, or a folder in it.
    pub data: PathBuf,
    /// Where metrics and probes are served; `0.0.0.0` as in listeners.
    pub http: SocketAddr,
    /// Where clients and other brokers connect.
    pub listeners: Vec<BrokerListener>,
    /// How long a stopping broker keeps serving until other brokers lead its partitions, in seconds: less than the
    /// pod's grace period.
    pub drain_seconds: u32,
}

/// A port on which every broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BrokerListener {
    /// The listener's name in the KafkaCluster.
    pub name: String,
    /// The address and port; `0.0.0.0` means every address, of IPv6 too if the machine has any.
    pub bind: SocketAddr,
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerFileError {
    /// It is not YAML of this shape.
    #[error("{0}")]
    Malformed(#[from] serde_yaml::Error),
    /// There is no listener.
    #[error("listeners: the list is empty; a broker needs at least one listener")]
    NoListener,
    /// Two listeners have the same name or address.
    #[error("listeners: {0} appears twice")]
    Twice(String),
}

impl BrokerFile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// One line that names the field and, if it is known, the line.
    pub fn parse(text: &str) -> Result<BrokerFile, BrokerFileError> {
        let file: BrokerFile = serde_yaml::from_str(text)?;
        if file.listeners.is_empty() {
            return Err(BrokerFileError::NoListener);
        }
        let mut seen = BTreeSet::new();
        for listener in &file.listeners {
            for unique in [listener.name.clone(), listener.bind.to_string()] {
                if !seen.insert(unique.clone()) {
                    return Err(BrokerFileError::Twice(unique));
                }
            }
        }
        Ok(file)
    }

    /// The file's text.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("strings, numbers and lists are YAML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
cluster: prod
namespace: kafka
data: /var/lib/ottla
http: 0.0.0.0:9404
listeners:
- name: internal
  bind: 0.0.0.0:9092
- name: outside
  bind: '[::]:9094'
drainSeconds: 25
";

    #[test]
    fn what_is_written_is_read() {
        let file = BrokerFile::parse(GOOD).unwrap();
        assert_eq!(file.listeners[1].bind.port(), 9094);
        assert_eq!(BrokerFile::parse(&file.to_yaml()).unwrap(), file);
        assert_eq!(file.to_yaml(), GOOD);
    }

    #[test]
    fn a_bad_file_is_refused_in_one_line() {
        let cases = [
            ("namespace: kafka", "nmespace: kafka", "unknown field `nmespace`"),
            ("namespace: kafka\n", "", "missing field `namespace`"),
            ("0.0.0.0:9092", "9092", "listeners[0].bind: "),
            ("name: outside", "name: internal", "listeners: internal appears twice"),
            ("'[::]:9094'", "0.0.0.0:9092", "listeners: 0.0.0.0:9092 appears twice"),
            ("cluster: prod", "cluster: [prod]", "cluster: invalid type"),
            (GOOD, "", "missing field `cluster`"),
        ];
        for (good, bad, expected) in cases {
            let error = BrokerFile::parse(&GOOD.replace(good, bad)).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{bad}: {error}");
        }
        let none = GOOD.split_once("listeners:").unwrap().0.to_owned() + "listeners: []\ndrainSeconds: 25\n";
        assert!(matches!(BrokerFile::parse(&none), Err(BrokerFileError::NoListener)));
    }
}
