//! The disk with the data directory.

use prometheus::{GaugeVec, IntGauge, Opts, Registry};

use super::register::{gauge, register};

/// The disk with the data directory.
pub struct DiskMetrics {
    /// Bytes that this process can have of the data directory's file system.
    pub size: IntGauge,
    /// Bytes of them that this process can still fill.
    pub free: IntGauge,
    /// Seconds for which the disk has finished no job although there are some.
    pub stalled: GaugeVec,
}

impl DiskMetrics {
    /// All of them, at zero.
    pub(super) fn new(registry: &Registry) -> DiskMetrics {
        DiskMetrics {
            size: gauge(registry, "ottla_data_dir_size_bytes", "Size of the data directory's file system"),
            free: gauge(registry, "ottla_data_dir_free_bytes", "Free space of the data directory's file system"),
            stalled: register(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "ottla_disk_stalled_seconds",
                        "How long the disk has finished no write although writes are waiting",
                    ),
                    &[],
                ),
            ),
        }
    }
}
