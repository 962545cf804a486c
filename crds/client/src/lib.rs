//! How operator and brokers use the Kubernetes API, beside reading and writing objects.
//!
//! - [`change`]: compare-and-swap of objects
//! - [`lease`]: who is there, and who may act
//! - [`watch`]: a watch that starts again when it breaks; [`watches`]: several of them, followed together
//! - [`versions`]: whether the API server was set back
//! - [`counted()`]: a client that counts its writes

#![warn(unreachable_pub)]

pub mod change;
mod counted;
pub mod lease;
pub mod versions;
pub mod watch;
pub mod watches;

pub use counted::counted;
