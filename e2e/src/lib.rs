//! Black-box tests and benchmarks: stock clients against Ottla, and against Apache Kafka as the referee.
//!
//! Every test runs unchanged against both: `OTTLA_E2E=kafka cargo test -p ottla-e2e` proves the test, the same without
//! the variable proves Ottla.
//!
//! - [`target`]: a broker under test that can be started, killed and started again
//! - [`tools`]: Kafka's own command line tools, many commands in one JVM
//! - [`transcript`]: a session at the command line as a file: commands and what they must print
//! - [`answers`]: scripts of requests whose answers are compared field by field; [`raw`]: their connections
//! - [`differences`]: what is meant to differ from Kafka
//! - `chain`: jobs that take and write records in transactions, as processes that are killed (same feature)
//! - `last_read`: what a topic holds at last, for the checker of transactions (same feature)
//! - [`choices`]: random choices that a seed makes again
//! - `librdkafka`: producing and consuming with librdkafka (with the feature of that name)
//! - [`franz`]: the program in `go/`, which is franz-go
//! - [`java`]: Java programs, with Kafka's jars
//! - [`crowd`]: many clients that connect at the same moment
//! - [`leash`]: child processes and folders that do not outlive the test, however it ends
//! - [`login`]: clients that say who they are, with what the Secret of their KafkaUser has
//! - [`need`]: what a test needs from the machine; it is skipped loudly, or fails under `OTTLA_NO_SKIP=1`
//! - `cluster`: Ottla on a real Kubernetes cluster (with the feature of that name)
//! - [`cable`]: a connection's way through the test, which can be cut
//! - [`readme`]: the commands that a README shows
//! - [`scale`]: many brokers and partitions on a real API server, counted; [`writes`]: who writes what to it
//! - [`scram`]: users with a password, and connections of ours that log in
//! - [`trusting`]: a client's side of TLS that trusts every broker
//! - [`trio`]: three brokers as processes that are killed, frozen and started again
//! - [`lossy`]: a disk that loses what was not synced
//! - `witness`: clients that report to the history checker all that they see (with the feature `librdkafka`)
//! - [`wait`]: waiting for conditions

pub mod answers;
pub mod cable;
#[cfg(feature = "librdkafka")]
pub mod chain;
pub mod choices;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod crowd;
pub mod differences;
pub mod franz;
pub mod java;
#[cfg(feature = "librdkafka")]
pub mod last_read;
pub mod leash;
#[cfg(feature = "librdkafka")]
pub mod librdkafka;
pub mod login;
pub mod lossy;
pub mod need;
pub mod raw;
pub mod readme;
pub mod scale;
pub mod scram;
pub mod target;
pub mod tools;
pub mod transcript;
pub mod trio;
pub mod trusting;
pub mod wait;
#[cfg(feature = "librdkafka")]
pub mod witness;
pub mod writes;
