//! Features of the cluster, as in KIP-584: what all brokers support is finalized, and clients learn it from any broker.
//!
//! Each broker names what it supports on its Lease. The operator raises a level in the status of the `KafkaCluster`
//! when all registered brokers support it, those that are away included, and never lowers one. A broker that does not
//! support a finalized level does not start.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The second protocol of transactions (KIP-890): partitions are added when they are written to, and every transaction
/// has an epoch of its own.
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// The consumer group protocol (KIP-848).
pub const GROUP_VERSION: &str = "group.version";

/// Share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";

/// Streams groups (KIP-1071).
pub const STREAMS_VERSION: &str = "streams.version";

/// The highest level of each feature that this version supports; the lowest is 0, which is to do without.
pub const SUPPORTED: &[(&str, i16)] =
    &[(GROUP_VERSION, 1), (SHARE_VERSION, 1), (STREAMS_VERSION, 1), (TRANSACTION_VERSION, 2)];

/// The finalized levels of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// Counts the changes of `levels`; clients take levels of a higher epoch only.
    #[schemars(range(min = 0))]
    pub epoch: i64,
    /// The level of each feature by Kafka's name, such as `transaction.version`. A feature without one has level 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<String, i16>,
}

impl Features {
    /// The level of a feature.
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// With each level that all brokers support. A broker that has not said what it supports holds all levels back.
    #[must_use]
    pub fn raised<'a>(&self, brokers: impl IntoIterator<Item = Option<&'a SupportedFeatures>>) -> Features {
        let mut common: Option<SupportedFeatures> = None;
        for broker in brokers {
            let Some(broker) = broker else { return self.clone() };
            common = Some(common.map_or_else(|| broker.clone(), |common| common.and(broker)));
        }
        let mut raised = self.clone();
        for (name, level) in common.into_iter().flat_map(|common| common.0).filter(|(_, level)| *level > 0) {
            let now = raised.levels.entry(name).or_default();
            *now = level.max(*now);
        }
        raised.epoch += i64::from(raised.levels != self.levels);
        raised
    }

    /// A finalized level that this version does not support.
    pub fn unsupported(&self) -> Option<(&str, i16)> {
        let ours = SupportedFeatures::of_this_version();
        let mut levels = self.levels.iter().map(|(name, level)| (name.as_str(), *level));
        levels.find(|(name, level)| *level > ours.0.get(*name).copied().unwrap_or(0))
    }
}

/// The highest level of each feature that a broker supports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupportedFeatures(BTreeMap<String, i16>);

impl SupportedFeatures {
    /// See [`SUPPORTED`].
    pub fn of_this_version() -> SupportedFeatures {
        SupportedFeatures(SUPPORTED.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect())
    }

    /// The text of the annotation on a broker's Lease: `transaction.version=2,…`.
    pub fn annotation(&self) -> String {
        let mut text = String::new();
        for (name, level) in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{name}={level}");
        }
        text
    }

    /// What an annotation says. What can't be read counts as not supported.
    pub fn from_annotation(text: &str) -> SupportedFeatures {
        let feature = |item: &str| {
            let (name, level) = item.split_once('=')?;
            Some((name.to_owned(), level.parse().ok()?))
        };
        SupportedFeatures(text.split(',').filter_map(feature).collect())
    }

    fn and(self, other: &SupportedFeatures) -> SupportedFeatures {
        let both = self.0.into_iter().filter_map(|(name, level)| {
            let level = level.min(*other.0.get(&name)?);
            Some((name, level))
        });
        SupportedFeatures(both.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_rises_when_every_broker_supports_it() {
        let says = SupportedFeatures::from_annotation;
        let (old, new, newer) =
            (says(""), says("transaction.version=2"), says("transaction.version=3,share.version=1"));
        let none = Features::default();
        assert_eq!(none.raised([Some(&new), None]), none, "one has not said it");
        assert_eq!(none.raised([Some(&new), Some(&old)]), none);
        assert_eq!(none.raised([]), none, "there is no broker");
        let two = none.raised([Some(&new), Some(&newer)]);
        assert_eq!((two.epoch, two.level("transaction.version"), two.level("share.version")), (1, 2, 0));
        assert_eq!(two.raised([Some(&new), Some(&new)]), two, "nothing has changed");
        assert_eq!(two.raised([Some(&old)]), two, "a level is never lowered");
        let three = two.raised([Some(&newer)]);
        assert_eq!((three.epoch, three.level("transaction.version"), three.level("share.version")), (2, 3, 1));
    }

    #[test]
    fn a_lease_says_what_a_broker_supports() {
        let ours = SupportedFeatures::of_this_version();
        assert_eq!(SupportedFeatures::from_annotation(&ours.annotation()), ours);
        assert_eq!(SupportedFeatures::from_annotation("x,y=,z=1"), SupportedFeatures([("z".to_owned(), 1)].into()));
    }

    #[test]
    fn a_level_of_a_later_version_is_not_supported() {
        let of = |name: &str, level| Features { epoch: 1, levels: [(name.to_owned(), level)].into() };
        assert_eq!(of(TRANSACTION_VERSION, 2).unsupported(), None);
        assert_eq!(of(TRANSACTION_VERSION, 3).unsupported(), Some((TRANSACTION_VERSION, 3)));
        assert_eq!(of("eternity.version", 1).unsupported(), Some(("eternity.version", 1)));
    }
}
