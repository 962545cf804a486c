//! Programs that are built on Kafka, unchanged, from their own jars.

mod connect;
mod mirror;
#[cfg(feature = "librdkafka")]
mod shares;
#[cfg(feature = "librdkafka")]
mod streams;

#[cfg(not(feature = "librdkafka"))]
#[test]
fn streams_and_share_groups() {
    use ottla_e2e::need::{Need, met};
    met(&[Need::Feature("librdkafka")]);
}
