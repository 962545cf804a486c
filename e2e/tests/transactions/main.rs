//! Transactions with stock clients: librdkafka, which speaks the first protocol, and Kafka's own, which speaks both.
//!
//! `lists` is about transactions over several keys while brokers are killed.
//! franz-go's session stands with its others in `other_clients.rs`.

mod java;
#[cfg(feature = "librdkafka")]
mod librdkafka;
#[cfg(feature = "librdkafka")]
mod lists;

#[cfg(not(feature = "librdkafka"))]
#[test]
fn librdkafka_works() {
    use ottla_e2e::need::{Need, met};
    met(&[Need::Feature("librdkafka")]);
}
