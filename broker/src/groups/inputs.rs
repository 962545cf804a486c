//! What groups must know of the cluster: the topics, and their settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_config::{ConsumerGroupSettings, GroupSettings, MemberSettings, MigrationPolicy, StandbySettings};
use ottla_group::{Config, GroupConfig, GroupId, Migration, Shard, ShareConfig, StreamsConfig};

use crate::image::ClusterImage;
use crate::topics::KnownTopics;

/// What the last image said.
pub(super) struct Inputs {
    known: KnownTopics,
    config: Config,
}

impl Inputs {
    /// Nothing yet.
    pub(super) fn new() -> Inputs {
        Inputs { known: KnownTopics::default(), config: Config::default() }
    }

    /// Takes an image; whether it says anything new.
    pub(super) fn learn(&mut self, image: &ClusterImage) -> bool {
        let config = config(image);
        let has_other_topics = self.known.learn(image);
        let is_new = has_other_topics || self.config != config;
        self.config = config;
        is_new
    }

    /// Hands a shard of groups what it must know.
    pub(super) fn give(&self) -> impl FnOnce(&mut Shard) + Send + use<> {
        let (topics, config) = (self.known.topics().clone(), self.config.clone());
        move |groups| {
            groups.set_topics(topics);
            groups.set_config(config);
        }
    }
}

/// The settings of groups: the broker's, and what some groups have of their own.
fn config(image: &ClusterImage) -> Config {
    let settings = &image.settings;
    let ConsumerGroupSettings { members, max_size, migration, regex_refresh_interval } = settings.consumer_groups;
    let (share, streams) = (&settings.share_groups, &settings.streams_groups);
    Config {
        initial_rebalance_delay: settings.group_initial_rebalance_delay,
        min_session_timeout: settings.group_min_session_timeout,
        max_session_timeout: settings.group_max_session_timeout,
        max_size: settings.group_max_size,
        offset_metadata_max: settings.offset_metadata_max_bytes,
        offsets_retention: settings.offsets_retention,
        consumer_session_timeout: members.session_timeout,
        consumer_heartbeat_interval: members.heartbeat_interval,
        consumer_max_size: max_size,
        consumer_assignment_interval: members.assignment_interval,
        consumer_migration: match migration {
            MigrationPolicy::Bidirectional => Migration::Bidirectional,
            MigrationPolicy::Upgrade => Migration::Upgrade,
            MigrationPolicy::Downgrade => Migration::Downgrade,
            MigrationPolicy::Disabled => Migration::Disabled,
        },
        consumer_pattern_refresh: regex_refresh_interval,
        groups: of_groups(image, |own| GroupConfig {
            consumer_session_timeout: own.consumer.session_timeout,
            consumer_heartbeat_interval: own.consumer.heartbeat_interval,
            consumer_assignment_interval: own.consumer.assignment_interval,
        }),
        share: share_config(share.members),
        share_max_size: share.max_size,
        share_groups: of_groups(image, |own| share_config(own.share)),
        streams: streams_config(streams.members, streams.standby),
        streams_max_size: streams.max_size,
        streams_groups: of_groups(image, |own| streams_config(own.streams, own.standby)),
        ..Config::default()
    }
}

/// What the groups with settings of their own have.
fn of_groups<T>(image: &ClusterImage, own: impl Fn(&GroupSettings) -> T) -> Arc<BTreeMap<GroupId, T>> {
    Arc::new(image.groups.iter().map(|(id, group)| (GroupId::from(&**id), own(&group.settings))).collect())
}

fn share_config(members: MemberSettings) -> ShareConfig {
    let MemberSettings { session_timeout, heartbeat_interval, assignment_interval } = members;
    ShareConfig { session_timeout, heartbeat_interval, assignment_interval }
}

fn streams_config(members: MemberSettings, standby: StandbySettings) -> StreamsConfig {
    let MemberSettings { session_timeout, heartbeat_interval, assignment_interval } = members;
    let StandbySettings { standby_replicas, initial_rebalance_delay } = standby;
    StreamsConfig {
        session_timeout,
        heartbeat_interval,
        standby_replicas,
        initial_delay: initial_rebalance_delay,
        assignment_interval,
    }
}

#[cfg(test)]
mod tests {
    use ottla_config::{BrokerSettings, TopicSettings};
    use uuid::Uuid;

    use super::*;
    use crate::image;

    #[test]
    fn topics_and_settings_are_given_on_when_they_change() {
        let mut inputs = Inputs::new();
        let empty = ClusterImage::default();
        inputs.learn(&empty);
        assert!(!inputs.learn(&empty), "nothing has changed");

        let broker = BrokerSettings::default();
        let own = BTreeMap::from([("consumer.session.timeout.ms".to_owned(), "50000".to_owned())]);
        let group = image::Group { settings: GroupSettings::resolve(&own, &broker), config: own };
        let with_group = ClusterImage { groups: Arc::new([("g".into(), group)].into()), ..empty.clone() };
        assert!(inputs.learn(&with_group));
        assert_eq!(inputs.config.groups[&GroupId::from("g")].consumer_session_timeout.as_secs(), 50);

        let id = Uuid::from_u128(1);
        let settings = Arc::new(TopicSettings::resolve(&BTreeMap::new(), &broker));
        let topic = image::Topic { id, name: "t".into(), config: BTreeMap::new(), settings, partitions: Vec::new() };
        let with_topic = ClusterImage {
            topics: [(id, Arc::new(topic))].into_iter().collect(),
            topic_names: [("t".into(), id)].into(),
            ..with_group
        };
        assert!(inputs.learn(&with_topic));
        assert_eq!(inputs.known.topics().get("t"), Some(ottla_group::Topic { id, partitions: 0 }));
        assert!(!inputs.learn(&with_topic));
    }
}
