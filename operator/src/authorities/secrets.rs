//! The Secrets of authorities and brokers: from values to objects, and back.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use ottla_crds::{KafkaCluster, names};

use super::issue::Pair;
use super::rotation::Keys;

/// The label of the Secrets of this folder, so that they are found when their cluster is deleted.
pub const COMPONENT: (&str, &str) = ("app.kubernetes.io/component", "authorities");
/// The key of the other authority that is trusted.
const OTHER_CERTIFICATE: &str = "other.crt";
/// The key of its private key.
const OTHER_KEY: &str = "other.key";
/// The annotation with the generation of the issuing key.
const GENERATION: &str = "ottla.io/key-generation";
/// The annotation with the generation of the other key.
const OTHER_GENERATION: &str = "ottla.io/other-key-generation";
/// The annotation with the time since when both keys are as they are, in seconds since 1970.
const SINCE: &str = "ottla.io/since";

/// An authority as its Secret holds it. Has no `Debug`: it has keys.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// The generation of the key that issues.
    pub generation: i64,
    /// The key that issues, and its certificate.
    pub issuing: Pair,
    /// Another one that is trusted; `None`: there is one alone.
    pub other: Option<Other>,
}

/// The other key of an authority: the next one, or the former one.
#[derive(Clone, PartialEq, Eq)]
pub struct Other {
    /// The key's generation.
    pub generation: i64,
    /// Since when both are as they are, in seconds since 1970.
    pub since: i64,
    /// The key, and its certificate.
    pub pair: Pair,
}

impl StoredAuthority {
    /// What a Secret holds; `None`: it is none of an authority.
    pub fn of(secret: &Secret) -> Option<StoredAuthority> {
        let pair = |certificate: &str, key: &str| {
            Some(Pair { certificate: text(secret, certificate)?, key: text(secret, key)?.into() })
        };
        let number = |annotation: &str| secret.annotations().get(annotation)?.parse::<i64>().ok();
        let other = pair(OTHER_CERTIFICATE, OTHER_KEY)
            .and_then(|pair| Some(Other { generation: number(OTHER_GENERATION)?, since: number(SINCE)?, pair }));
        let issuing = pair(names::CA_CERTIFICATE, names::CA_KEY)?;
        // Without the annotation it is somebody's own authority.
        Some(StoredAuthority { generation: number(GENERATION).unwrap_or(1), issuing, other })
    }

    /// The generations, for the decision about the next step.
    pub fn keys(&self) -> Keys {
        let other = self.other.as_ref().map(|other| (other.generation, other.since));
        Keys { issuing: self.generation, other }
    }

    /// The certificates of both, the issuing one first.
    pub fn trusted(&self) -> String {
        let other = self.other.as_ref().map_or("", |other| &other.pair.certificate);
        format!("{}{other}", self.issuing.certificate)
    }

    /// The data and annotations of its Secret.
    pub fn content(&self) -> Content {
        let mut content = Content::default();
        content.set(names::CA_CERTIFICATE, &self.issuing.certificate);
        content.set(names::CA_KEY, &self.issuing.key);
        content.annotations.insert(GENERATION.to_owned(), self.generation.to_string());
        if let Some(other) = &self.other {
            content.set(OTHER_CERTIFICATE, &other.pair.certificate);
            content.set(OTHER_KEY, &other.pair.key);
            content.annotations.insert(OTHER_GENERATION.to_owned(), other.generation.to_string());
            content.annotations.insert(SINCE.to_owned(), other.since.to_string());
        }
        content
    }
}

/// What the operator writes into a Secret.
#[derive(Clone, Default, PartialEq)]
pub struct Content {
    data: BTreeMap<String, ByteString>,
    annotations: BTreeMap<String, String>,
}

impl Content {
    /// The content of a Secret that was read.
    pub fn of(secret: &Secret) -> Content {
        Content { data: secret.data.clone().unwrap_or_default(), annotations: secret.annotations().clone() }
    }

    /// Sets a key of the data.
    pub fn set(&mut self, key: &str, text: &str) {
        self.data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
    }

    /// The Secret with this content; `read`: the one that it replaces.
    pub fn into_secret(self, cluster: &KafkaCluster, name: &str, read: Option<&Secret>) -> Secret {
        let labels = [(names::CLUSTER_LABEL, &*cluster.name_any()), COMPONENT];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into()),
            annotations: Some(self.annotations),
            resource_version: read.and_then(|read| read.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Secret { metadata, data: Some(self.data), ..Secret::default() }
    }
}

/// Whether a Secret was made by this folder for this cluster.
pub fn is_of(secret: &Secret, cluster: &str) -> bool {
    let label = |name: &str| secret.labels().get(name).map(String::as_str);
    label(names::CLUSTER_LABEL) == Some(cluster) && label(COMPONENT.0) == Some(COMPONENT.1)
}

/// The text under a key; `None`: it is missing, empty or no text.
pub fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    String::from_utf8(bytes.clone()).ok().filter(|text| !text.is_empty())
}

/// The keys of a broker's certificate and private key.
pub fn of_broker(id: ottla_rules::assignment::BrokerId) -> [String; 2] {
    [format!("{id}.crt"), format!("{id}.key")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let pair = |name: &str| Pair { certificate: format!("{name}\n"), key: format!("key of {name}").into() };
        let cluster = KafkaCluster::new("prod", Default::default());
        let one = StoredAuthority { generation: 1, issuing: pair("one"), other: None };
        let two = StoredAuthority { other: Some(Other { generation: 2, since: 7, pair: pair("two") }), ..one.clone() };
        for (held, trusted) in [(one, "one\n"), (two, "one\ntwo\n")] {
            let secret = held.content().into_secret(&cluster, "prod-cluster-ca", None);
            assert!(StoredAuthority::of(&secret).as_ref() == Some(&held));
            assert!(is_of(&secret, "prod") && !is_of(&secret, "other"));
            assert_eq!(held.trusted(), trusted);
        }
        assert!(StoredAuthority::of(&Secret::default()).is_none());
    }
}
