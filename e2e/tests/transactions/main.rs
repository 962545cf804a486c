//! Transactions with stock clients: librdkafka, which speaks the first protocol, and Kafka's own, which speaks both.
//!
//! `hanging` is about transactions that nobody ends, `lists` about those over several keys while brokers are killed.
//! franz-go's session stands with its others in `other_clients.rs`.

mod hanging;
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
