//! What the process may use.

use rustix::process::{Resource, getrlimit, setrlimit};

/// A connection and a segment are a descriptor each, and the usual soft limit is 1,024.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}
