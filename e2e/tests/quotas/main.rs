//! Quotas beside Kafka's: the same traces through the classes of both (`traces`), and the same clients against brokers
//! with the same quotas (`clients`).

mod clients;
mod traces;
