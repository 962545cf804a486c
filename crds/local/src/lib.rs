//! A small Kubernetes API in one process, in memory or over a folder of YAML files.
//!
//! Operator and broker talk to it through an ordinary `kube::Client`, people through `kubectl`. It serves Ottla's own
//! kinds and the few of Kubernetes' that they need, and answers in the words of a real server.
//!
//! A request's way, top down:
//!
//! - `server`: the one function from request to response, and the client in this process
//! - `http_port`: the port for `kubectl`, on loopback
//! - `request`: path, query and headers, read once
//! - `verbs`: get, list, watch, create, update, delete
//! - `admit`: what every write must pass; `schema` for custom resources
//! - `patch`, `apply`, `fields`: changes that are not whole objects; who owns which field
//! - `store`: the objects, their versions, the event log; `watch` streams it
//! - `turns`, `group_commit`, `folder`: whose write is next; writes on their way to the disk; the files
//! - `initial`: what is there from the start
//! - `garbage`: what goes when an owner or a namespace goes
//! - `protobuf`: the one message that is read
//! - `present`, `table`, `jsonpath`: how objects are shown
//! - `discovery`, `openapi`: what `kubectl` asks about the server itself
//! - `kind`, `object`, `events`, `selector`, `status`, `cause`: the nouns
//! - `faults`, [`uids`]: what tests make go wrong, and draw themselves

#![warn(unreachable_pub)]

mod admit;
mod apply;
mod cause;
mod discovery;
mod events;
mod faults;
mod fields;
mod folder;
mod garbage;
mod group_commit;
mod http_port;
mod initial;
mod jsonpath;
mod kind;
mod object;
mod openapi;
mod patch;
mod present;
mod protobuf;
mod request;
mod schema;
mod selector;
mod server;
mod status;
mod store;
mod table;
mod turns;
pub mod uids;
mod verbs;
mod watch;

pub use faults::Faults;
pub use folder::FolderError;
pub use kind::BadDefinition;
pub use server::{Body, Server, StartError, Store};
pub use store::Snapshot;
