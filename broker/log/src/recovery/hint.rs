//! What is known of a log before it is opened, and what was found in it then.

use std::path::PathBuf;

use crate::walk::LogError;

/// What the directory's checkpoints say of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecoveryHint {
    /// The process or the machine did not crash since the log was closed.
    pub clean: bool,
    /// Everything below is on the device.
    pub recovery_point: i64,
    /// First offset that may be read; segments may begin before it.
    pub log_start: i64,
    /// Everything before is committed. Less than that is no fault; but transactions that have ended behind it are not
    /// shown before they are known to be.
    pub high_watermark: i64,
    /// The machine has not crashed: then no more than a log's last append is torn, and damage before that is none of a
    /// crash.
    pub intact: bool,
}

/// What was found when a log was opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// Bytes that were read and checked.
    pub checked_bytes: u64,
    /// Bytes of the torn tail that was cut off.
    pub cut_bytes: u64,
    /// The folder in which the segments are now that lay behind what was cut or lost; `None`: there were none.
    pub aside: Option<PathBuf>,
    /// Damage below the recovery point. It is left as it is.
    pub corrupt: Vec<LogError>,
}
