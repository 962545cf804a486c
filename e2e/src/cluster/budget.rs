//! Who writes what to the API server of the cluster.

use anyhow::Result;

use crate::cluster::bed::Bed;
pub use crate::writes::Writes;

impl Writes {
    /// All since the API server was started.
    pub fn so_far(bed: &Bed) -> Result<Writes> {
        Writes::parse(&bed.kubectl("get --raw /metrics")?)
    }
}
