//! Kafka's topic and broker settings: names, types, defaults, checks
