//! The shell around consumer groups: loads, ticks, writes their records.

use std::sync::Arc;

use crate::env::Workers;
use crate::image::{BrokerId, ImageReceiver};
use crate::metrics::Metrics;
use crate::replica::Replicas;

/// The groups that this broker coordinates.
pub struct Groups;

impl Groups {
    /// No group yet.
    pub fn new(_: BrokerId, _: Arc<Replicas>, _: Workers, _: Arc<Metrics>, _: ImageReceiver) -> Groups {
        Groups
    }

    /// Follows the image and the clock until the broker stops.
    pub async fn run(self: Arc<Self>) {}
}
