//! The product's Kafka client: connections to brokers, and requests on them, one after the other.
//!
//! Followers copy their leaders with it, the operator pings brokers with it, and `ottla check` is a client like any
//! other. It knows connections and versions. What a response means is for its callers to know, and when to try again.
//!
//! - [`Connector`]: how connections are made
//! - [`Connection`]: a request out, its response in
//! - [`Login`]: how a client says who it is, by SASL
//! - [`Versions`]: which versions a broker serves
//! - [`ClientError`]: why there is no connection, or no response
//! - [`Backoff`]: how long to wait before the next try, of whatever kind

#![warn(unreachable_pub)]

mod backoff;
mod connection;
mod connector;
mod error;
mod login;
#[cfg(feature = "simulated")]
pub mod simulated;
mod versions;

pub use backoff::Backoff;
pub use connection::Connection;
pub use connector::{Connector, Tls};
pub use error::ClientError;
pub use login::{Login, LoginError};
pub use ottla_access::sasl::Hash;
pub use versions::Versions;
