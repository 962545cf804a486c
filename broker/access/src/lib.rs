//! Who a client is, what it may do, and how much: values in, values out.
//!
//! The broker's host has the sockets, the clock and the objects of Kubernetes. It asks this crate what a client's next
//! token means, whether a principal may use a resource, and how long a client must be throttled. Nothing in here waits,
//! logs, reads a clock or draws a random number; the caller passes the time and the random bytes.
//!
//! | module | its job |
//! |---|---|
//! | [`principal`] | who a client is |
//! | [`access`] | everything that decides about clients, as one value |
//! | [`acl`] | one access control list entry, and what selects entries |
//! | [`authorizer`] | whether a principal may do something |
//! | [`questions`] | what a connection was answered before |
//! | [`certificate`] | who a certificate is for |
//! | [`listener`] | how clients of a listener connect and say who they are |
//! | [`login`] | which requests are allowed while a client says who it is |
//! | [`sasl`] | the mechanisms by which it does |
//! | [`quotas`] | how much a client may do |
//! | [`operation`] | what can be done to which kind of resource, with Kafka's codes |

#![warn(unreachable_pub)]

mod access;
pub mod acl;
mod authorizer;
pub mod certificate;
mod listener;
pub mod login;
mod operation;
mod principal;
mod questions;
pub mod quotas;
pub mod sasl;

pub use access::Access;
pub use acl::{Acl, AclFilter, AclHost, AclOperation, PatternType, Permission};
pub use authorizer::{Authorizer, Question};
pub use certificate::{Certified, Holder, MappingRules};
pub use listener::{Authentication, ListenerAccess, Listeners};
pub use login::Login;
pub use operation::{Operation, ResourceType};
pub use principal::Principal;
pub use questions::Questions;
