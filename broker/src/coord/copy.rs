//! What is known, on the broker's own disk: for a start while the API server is away, and to rebuild lost objects from.
//!
//! Written behind a checksum a moment after a change; a heartbeat changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_log::DiskError;
use tokio::sync::watch;

use super::known::Known;
use crate::data_dir::{read_checked, write_checked};
use crate::env;

const COPY: &str = "ottla.objects";
/// Changes come in bursts: a burst is written once.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// Where the disk refuses.
const RETRY: Duration = Duration::from_secs(5);

/// The last copy, if it is whole.
///
/// # Errors
/// When the disk refuses.
pub fn read(dir: &Path) -> Result<Option<Known>, DiskError> {
    read_checked(&dir.join(COPY))
}

/// Keeps the copy up to date until nothing new can be known, and tells which `tombstones` are in it. Not cancellation safe in that the
/// last change may be missing.
pub async fn keep(dir: PathBuf, mut known: watch::Receiver<Known>, tombstones: watch::Sender<BTreeSet<String>>) {
    while known.changed().await.is_ok() {
        env::sleep_until(env::now() + DEBOUNCE).await;
        let (path, copy) = (dir.join(COPY), known.borrow_and_update().clone());
        let buried = copy.tombstones();
        let written = tokio::task::spawn_blocking(move || write_checked(&path, &copy)).await;
        match written {
            Ok(Ok(())) => _ = tombstones.send_replace(buried),
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to keep a copy of the cluster's objects: trying again");
                known.mark_changed();
                env::sleep_until(env::now() + RETRY).await;
            }
            Err(_) => return, // the runtime stops
        }
    }
}
