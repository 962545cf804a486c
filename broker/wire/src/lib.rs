//! Kafka's messages as data: one file an API
