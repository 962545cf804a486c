//! Features of the cluster, as in KIP-584: what all brokers support is finalized, and clients learn it from any broker.
//!
//! Each broker names what it supports on its Lease. The operator raises a level in the status of the `KafkaCluster`
//! when all registered brokers, those that are away included, have supported it for a while, and never lowers one. A
//! broker that does not support a finalized level does not start; until a level is finalized, brokers may return to a
//! version without it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assignment::BrokerId;

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

    /// The levels above the finalized ones that all brokers support, none above its limit.
    ///
    /// A silent broker (`None`) has not said what it supports: it has never been live. It takes nothing away from
    /// `before`, the levels that were supported until now, so that these settle while brokers join. But no level is
    /// added while a broker is silent, and none may be finalized.
    pub fn higher<'a>(
        &self,
        brokers: impl IntoIterator<Item = Option<&'a SupportedFeatures>>,
        before: &BTreeMap<String, i16>,
        limits: &BTreeMap<String, i16>,
    ) -> BTreeMap<String, i16> {
        let mut common: Option<SupportedFeatures> = None;
        let mut is_one_silent = false;
        for broker in brokers {
            let Some(broker) = broker else {
                is_one_silent = true;
                continue;
            };
            common = Some(common.map_or_else(|| broker.clone(), |common| common.and(broker)));
        }
        let limited = common.into_iter().flat_map(|common| common.0).filter_map(|(name, level)| {
            let level = limits.get(&name).map_or(level, |limit| level.min(*limit));
            let level = if is_one_silent { level.min(*before.get(&name)?) } else { level };
            Some((name, level))
        });
        limited.filter(|(name, level)| *level > self.level(name)).collect()
    }

    /// With these levels finalized, which are higher.
    #[must_use]
    pub fn raised(&self, higher: &BTreeMap<String, i16>) -> Features {
        let mut raised = self.clone();
        raised.levels.extend(higher.iter().map(|(name, level)| (name.clone(), *level)));
        raised.epoch += i64::from(raised.levels != self.levels);
        raised
    }

    /// The brokers that hold a level back: another supports one above the finalized level that they do not support, or
    /// they are silent.
    pub fn behind<'a>(
        &self,
        brokers: impl IntoIterator<Item = (BrokerId, Option<&'a SupportedFeatures>)>,
    ) -> Vec<BrokerId> {
        let brokers: Vec<(BrokerId, Option<&SupportedFeatures>)> = brokers.into_iter().collect();
        let mut most: BTreeMap<&str, i16> = BTreeMap::new();
        for (name, level) in brokers.iter().filter_map(|(_, supported)| *supported).flat_map(|supported| &supported.0) {
            let most = most.entry(name).or_insert_with(|| self.level(name));
            *most = (*most).max(*level);
        }
        let lacks = |supported: &SupportedFeatures, name: &str, level: i16| {
            level > self.level(name) && supported.0.get(name).is_none_or(|has| *has < level)
        };
        let is_behind = |supported: &Option<&SupportedFeatures>| {
            supported.is_none_or(|supported| most.iter().any(|(name, level)| lacks(supported, name, *level)))
        };
        brokers.iter().filter(|(_, supported)| is_behind(supported)).map(|(id, _)| *id).collect()
    }

    /// A finalized level that this version does not support; `None`: it supports all.
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
        let nothing = BTreeMap::new();
        let raised = |features: &Features, brokers: &[Option<&SupportedFeatures>]| {
            features.raised(&features.higher(brokers.iter().copied(), &nothing, &nothing))
        };
        let none = Features::default();
        assert_eq!(raised(&none, &[Some(&new), None]), none, "one has not said it");
        assert_eq!(raised(&none, &[Some(&new), Some(&old)]), none);
        assert_eq!(raised(&none, &[]), none, "there is no broker");
        let two = raised(&none, &[Some(&new), Some(&newer)]);
        assert_eq!((two.epoch, two.level("transaction.version"), two.level("share.version")), (1, 2, 0));
        assert_eq!(raised(&two, &[Some(&new), Some(&new)]), two, "nothing has changed");
        assert_eq!(raised(&two, &[Some(&old)]), two, "a level is never lowered");
        let three = raised(&two, &[Some(&newer)]);
        assert_eq!((three.epoch, three.level("transaction.version"), three.level("share.version")), (2, 3, 1));
        let limits = [("transaction.version".to_owned(), 2)].into();
        let limited = two.higher([Some(&newer)], &nothing, &limits);
        assert_eq!(limited, [("share.version".to_owned(), 1)].into(), "no level above its limit");
    }

    #[test]
    fn a_broker_that_was_never_seen_takes_nothing_away_from_what_settles_and_adds_nothing() {
        let says = SupportedFeatures::from_annotation;
        let (one, two) = (says("share.version=1"), says("share.version=2,group.version=1"));
        let of = |levels: &[(&str, i16)]| -> BTreeMap<String, i16> {
            levels.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect()
        };
        let share = |level: i16| of(&[("share.version", level)]);
        for (story, brokers, before, expected) in [
            ("one joins", [Some(&one), None], share(1), share(1)),
            ("nothing begins to settle until it has said it", [Some(&two), None], share(1), share(1)),
            ("nothing had settled", [Some(&two), None], of(&[]), of(&[])),
            ("another one has returned to a version before", [Some(&one), None], share(2), share(1)),
            ("it has said that it supports less", [Some(&two), Some(&one)], share(2), share(1)),
            ("it has said that it supports more", [Some(&one), Some(&two)], share(1), share(1)),
        ] {
            assert_eq!(Features::default().higher(brokers, &before, &BTreeMap::new()), expected, "{story}");
        }
    }

    #[test]
    fn brokers_that_hold_a_level_back_are_named() {
        let says = SupportedFeatures::from_annotation;
        let (old, new) = (says("transaction.version=2"), says("transaction.version=2,share.version=1"));
        let of = |level: i16| Features { epoch: 1, levels: [(SHARE_VERSION.to_owned(), level)].into() };
        let behind = |features: &Features, brokers: [Option<&SupportedFeatures>; 2]| {
            features.behind((0..).map(BrokerId).zip(brokers)).iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(behind(&of(0), [Some(&new), Some(&old)]), [1]);
        assert_eq!(behind(&of(0), [None, Some(&new)]), [0], "it has not said it");
        assert_eq!(behind(&of(1), [Some(&new), Some(&old)]), [0; 0], "it does not start: nothing is held back");
        assert_eq!(behind(&Features::default(), [Some(&old), Some(&old)]), [0; 0], "all are the same");
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
