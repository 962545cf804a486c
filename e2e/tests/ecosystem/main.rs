//! Programs that are built on Kafka, unchanged, from their own jars.

#[cfg(feature = "librdkafka")]
mod streams;

#[cfg(not(feature = "librdkafka"))]
#[test]
fn the_ecosystem_works() {
    use ottla_e2e::need::{Need, met};
    met(&[Need::Feature("librdkafka")]);
}
