//! The settings of topics that a plan needs, resolved once for each different config, because most of thousands of
//! topics have the same.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_config::{BrokerSettings, Config, TopicSettings, check_topic_config};
use ottla_crds::KafkaTopic;

use super::claim::claim;
use super::world::World;

/// The result of one config.
#[derive(Debug)]
pub struct Rules {
    /// Why the config is refused; `None`: it is valid.
    pub error: Option<String>,
    /// The `min.insync.replicas` in force.
    pub min_in_sync: usize,
}

impl Rules {
    fn of(config: &Config, settings: &BrokerSettings) -> Rules {
        Rules {
            error: check_topic_config(config, settings).err().map(|error| error.to_string()),
            min_in_sync: TopicSettings::resolve(config, settings).min_insync_replicas,
        }
    }
}

/// The rules of every topic.
#[derive(Debug)]
pub struct RuleBook<'a> {
    by_config: HashMap<&'a Config, Rules>,
    speakers: HashMap<&'a str, &'a Arc<KafkaTopic>>,
    /// The rules of a topic without a KafkaTopic.
    without_a_word: Rules,
}

impl<'a> RuleBook<'a> {
    /// The rules of all topics of the world.
    pub fn new(world: &'a World, settings: &BrokerSettings) -> RuleBook<'a> {
        let (mut by_config, mut speakers) = (HashMap::new(), HashMap::<&str, &Arc<KafkaTopic>>::new());
        for topic in &world.topics {
            let config = &topic.spec.config;
            by_config.entry(config).or_insert_with(|| Rules::of(config, settings));
            let speaks = speakers.entry(topic.topic_name()).or_insert(topic);
            if claim(topic) < claim(speaks) {
                *speaks = topic;
            }
        }
        // The topic's settings are unknown, so no member leaves an ISR by a guess.
        RuleBook { by_config, speakers, without_a_word: Rules { error: None, min_in_sync: usize::MAX } }
    }

    /// The rules of a KafkaTopic of the world.
    pub fn of(&self, topic: &KafkaTopic) -> &Rules {
        self.by_config.get(&topic.spec.config).unwrap_or(&self.without_a_word)
    }

    /// The rules of the topic with this name.
    pub fn of_named(&self, topic: &str) -> &Rules {
        self.speaker(topic).map_or(&self.without_a_word, |topic| self.of(topic))
    }

    /// The `min.insync.replicas` of the topic with this name; `None`: it has no KafkaTopic.
    pub fn min_in_sync(&self, topic: &str) -> Option<usize> {
        self.speaker(topic).map(|topic| self.of(topic).min_in_sync)
    }

    /// The KafkaTopic of the topic with this name; `None`: it has none.
    pub fn speaker(&self, topic: &str) -> Option<&'a Arc<KafkaTopic>> {
        self.speakers.get(topic).copied()
    }
}
