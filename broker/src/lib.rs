//! The broker: assignments turned into running replicas, over Kafka's protocol
