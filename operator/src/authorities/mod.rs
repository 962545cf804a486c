//! The authorities of a cluster, and the certificates that they issue.
//!
//! There are two, so that no user's certificate is ever taken for a broker's: the cluster's authority issues those of
//! brokers, the clients' those of users. Whatever is in a Secret is PEM.
//!
//! - [`issue`]: makes authorities and certificates
//! - [`validity`]: from when to when a certificate is good, and when it is renewed
//! - [`rotation`]: how an authority gets a new key while everybody keeps working: a function of values
//! - [`hosts`]: the names and addresses of brokers
//! - [`inspect`]: what a certificate says, and whether it is still the right one
//! - [`keep`]: keeps authorities and certificates in Secrets
//! - [`secrets`]: those Secrets
//! - [`identity`]: the operator's own certificate
//!
//! Only [`keep`] and [`identity`] read a clock or talk to the API server.
//!
//! Always: a Secret with a key is never deleted while its cluster exists, and has no owner reference: a definition that
//! is deleted by mistake deletes every KafkaCluster, and brokers with another authority would not trust each other.

pub mod hosts;
pub mod identity;
pub mod inspect;
pub mod issue;
pub mod keep;
pub mod rotation;
pub mod secrets;
pub mod validity;

pub use keep::{ensure, run};
