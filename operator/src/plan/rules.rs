//! What topics' settings come to for a plan, worked out once for each config that differs: of thousands of topics most
//! say the same.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_config::{BrokerSettings, Config, TopicSettings, check_topic_config};
use ottla_crds::KafkaTopic;

use super::World;
use super::topic::claim;

/// What one config comes to.
#[derive(Debug)]
pub struct Rules {
    /// Why it is refused, if it is.
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
    /// Of a topic that no object speaks for.
    without_a_word: Rules,
}

impl<'a> RuleBook<'a> {
    /// Those of all topics of the world.
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
        // What its objects said is not known any more: nobody is taken out of an ISR on a guess.
        RuleBook { by_config, speakers, without_a_word: Rules { error: None, min_in_sync: usize::MAX } }
    }

    /// Those of an object of the world.
    pub fn of(&self, topic: &KafkaTopic) -> &Rules {
        self.by_config.get(&topic.spec.config).unwrap_or(&self.without_a_word)
    }

    /// Those of the topic of this name.
    pub fn of_named(&self, topic: &str) -> &Rules {
        self.speaker(topic).map_or(&self.without_a_word, |topic| self.of(topic))
    }

    /// The object that speaks for the topic of this name.
    pub fn speaker(&self, topic: &str) -> Option<&'a Arc<KafkaTopic>> {
        self.speakers.get(topic).copied()
    }
}
