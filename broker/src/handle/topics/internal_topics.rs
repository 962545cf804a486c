//! The shape of the topics in which brokers keep their own records, wherever they are made.

use std::collections::BTreeMap;

use ottla_config::StateTopic;

use crate::ask::{Ask, AskSender, NewTopic};
use crate::image::{CONSUMER_OFFSETS, ClusterImage, SHARE_GROUP_STATE, TRANSACTION_STATE};

/// Kafka's default for all of them, on clusters that have as many brokers.
const REPLICATION_FACTOR: usize = 3;
/// Kafka's default for the state of transactions and of share groups.
const STATE_MIN_IN_SYNC: i16 = 2;

/// The internal topic of this name as it is to be made; `None` of any other name. A replication factor that is set is
/// obeyed; else a cluster that is to have one or two brokers has as many replicas, also while more of them are leaving.
pub(crate) fn internal_topic(name: &str, image: &ClusterImage) -> Option<NewTopic> {
    let settings = &image.settings;
    let wanted = image.wanted_brokers.len();
    let brokers = if wanted > 0 { wanted } else { image.brokers.len() };
    let wanted = brokers.clamp(1, REPLICATION_FACTOR) as i16;
    let state = |topic: StateTopic, cleanup: &str, more: &[(&str, String)]| {
        let replication_factor = topic.replication_factor.unwrap_or(wanted);
        let min_in_sync = topic.min_in_sync.unwrap_or(STATE_MIN_IN_SYNC.min(replication_factor)).to_string();
        let common = [("cleanup.policy", cleanup.to_owned()), ("min.insync.replicas", min_in_sync)];
        let config = common.into_iter().chain(more.iter().cloned());
        let config = config.chain([("segment.bytes", topic.segment_bytes.to_string())]);
        let config = config.map(|(name, value)| (name.to_owned(), value)).collect();
        (topic.num_partitions, replication_factor, config)
    };
    let (partitions, replication_factor, config): (i32, i16, BTreeMap<String, String>) = match name {
        CONSUMER_OFFSETS => {
            let config = [
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", settings.offsets_topic_segment_bytes.to_string()),
            ];
            let config = config.map(|(name, value)| (name.to_owned(), value)).into();
            let replication_factor = settings.offsets_topic_replication_factor.unwrap_or(wanted);
            (settings.offsets_topic_num_partitions, replication_factor, config)
        }
        TRANSACTION_STATE => {
            state(settings.transaction_state, "compact", &[("compression.type", "uncompressed".to_owned())])
        }
        SHARE_GROUP_STATE => {
            let keep = ("retention.ms", "-1".to_owned());
            state(settings.share_group_state, "delete", &[("compression.type", "producer".to_owned()), keep])
        }
        _ => return None,
    };
    Some(NewTopic {
        name: name.into(),
        partitions: Some(partitions),
        replication_factor: Some(replication_factor),
        config,
        ..NewTopic::default()
    })
}

/// Asks for an internal topic that does not exist. Nobody waits for it: who needs it asks again, also if the queue is
/// full.
pub fn ask_for_topic(ask: &AskSender, image: &ClusterImage, name: &str) {
    let Some(topic) = internal_topic(name, image) else { return };
    let (answer, _) = tokio::sync::oneshot::channel();
    let _ = ask.try_send(Ask::CreateTopic { topic, answer });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_config::{BrokerSettings, check_topic_config};

    use super::*;
    use crate::image::{Broker, BrokerId, is_internal};

    /// Of a cluster that is to have so many brokers.
    fn image(brokers: i32, given: &[(&str, &str)]) -> ClusterImage {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let settings = Arc::new(BrokerSettings::resolve(&given));
        ClusterImage { wanted_brokers: (0..brokers).map(BrokerId).collect(), settings, ..ClusterImage::default() }
    }

    fn broker(id: BrokerId) -> Broker {
        Broker { id, rack: None, alive: true, draining: false, endpoints: BTreeMap::new(), address: None }
    }

    #[test]
    fn each_internal_topic_has_its_own_shape_and_no_other_topic_has_one() {
        let cases = [
            (CONSUMER_OFFSETS, "compact", None),
            (TRANSACTION_STATE, "compact", Some("2")),
            (SHARE_GROUP_STATE, "delete", Some("2")),
        ];
        let image = image(5, &[]);
        for (name, cleanup, min_in_sync) in cases {
            assert!(is_internal(name));
            let topic = internal_topic(name, &image).expect("an internal topic");
            assert_eq!((topic.partitions, topic.replication_factor), (Some(50), Some(3)), "{name}");
            assert_eq!(topic.config["cleanup.policy"], cleanup, "{name}");
            assert_eq!(topic.config.get("min.insync.replicas").map(String::as_str), min_in_sync, "{name}");
            check_topic_config(&topic.config, &image.settings).expect("settings that a topic may have");
        }
        assert!(!is_internal("orders"));
        assert!(internal_topic("orders", &image).is_none());
    }

    #[test]
    fn the_default_replication_factor_fits_the_cluster_and_one_that_is_set_is_obeyed() {
        let set = [("offsets.topic.replication.factor", "3")];
        for (brokers, given, expected) in [(1, &[][..], 1), (2, &[], 2), (3, &[], 3), (9, &[], 3), (1, &set, 3)] {
            let topic = internal_topic(CONSUMER_OFFSETS, &image(brokers, given)).expect("an internal topic");
            assert_eq!(topic.replication_factor, Some(expected), "{brokers} {given:?}");
        }
        for (wanted, there, expected) in [(1, 3, 1), (2, 3, 2), (3, 1, 3), (0, 2, 2), (0, 5, 3), (0, 0, 1)] {
            let brokers = (0..there).map(|id| (BrokerId(id), broker(BrokerId(id)))).collect();
            let topic = internal_topic(CONSUMER_OFFSETS, &ClusterImage { brokers, ..image(wanted, &[]) });
            let factor = topic.expect("an internal topic").replication_factor;
            assert_eq!(factor, Some(expected), "{wanted} wanted, {there} there");
        }
        let state = internal_topic(TRANSACTION_STATE, &image(1, &[])).expect("an internal topic");
        assert_eq!(state.config["min.insync.replicas"], "1");
        let set = [
            ("transaction.state.log.replication.factor", "2"),
            ("transaction.state.log.min.isr", "1"),
            ("transaction.state.log.num.partitions", "7"),
            ("transaction.state.log.segment.bytes", "2000000"),
        ];
        let state = internal_topic(TRANSACTION_STATE, &image(5, &set)).expect("an internal topic");
        assert_eq!((state.partitions, state.replication_factor), (Some(7), Some(2)));
        assert_eq!((&*state.config["min.insync.replicas"], &*state.config["segment.bytes"]), ("1", "2000000"));
    }
}
