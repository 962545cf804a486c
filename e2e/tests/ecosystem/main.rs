//! Programs that are built on Kafka, unchanged, from their own jars.

mod connect;
#[cfg(feature = "librdkafka")]
mod copiers;
#[cfg(feature = "librdkafka")]
mod counts;
#[cfg(feature = "librdkafka")]
mod flink;
mod mirror;
#[cfg(feature = "librdkafka")]
mod shares;
#[cfg(feature = "librdkafka")]
mod streams;

#[cfg(not(feature = "librdkafka"))]
#[test]
fn streams_flink_and_share_groups() {
    use ottla_e2e::need::{Need, met};
    met(&[Need::Feature("librdkafka")]);
}
