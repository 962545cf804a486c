//! The copy of what is known, on the broker's disk: for a start while the API server is away, and for restoring lost
//! objects.
//!
//! It has a checksum and is written shortly after a change; a renewal of a Lease is not a change.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::DiskError;
use ottla_rules::assignment::BrokerId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::known::Known;
use crate::data_dir::{DataDirError, owner, read_checked, write_checked};
use crate::env;

const COPY: &str = "ottla.objects";
/// Changes come in bursts: a burst is written once.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// The pause before the next try after the disk refused.
const RETRY: Duration = Duration::from_secs(5);

/// A broker's copy, as objects are restored from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copy {
    /// The broker that wrote it.
    pub broker: BrokerId,
    /// The id of the Kafka cluster.
    pub cluster_id: String,
    /// What the broker knows.
    pub objects: Known,
}

/// Why a copy can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The directory has no broker id.
    #[error("{} is not the data directory of a broker", .0.display())]
    NobodysDirectory(PathBuf),
    /// It is missing, or its checksum is wrong.
    #[error("{} is missing or incomplete", .0.display())]
    NotWhole(PathBuf),
    /// The directory's identity can't be read.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The copy in this data directory, which its broker may have in use.
///
/// # Errors
/// See [`CopyError`].
pub fn of(dir: &Path) -> Result<Copy, CopyError> {
    let (broker, cluster_id) = owner(dir)?.ok_or_else(|| CopyError::NobodysDirectory(dir.to_owned()))?;
    let objects = read(dir)?.ok_or_else(|| CopyError::NotWhole(dir.join(COPY)))?;
    Ok(Copy { broker, cluster_id, objects })
}

/// The last copy; `None` if it is missing or incomplete.
///
/// # Errors
/// When the disk refuses.
pub fn read(dir: &Path) -> Result<Option<Known>, DiskError> {
    read_checked(&dir.join(COPY))
}

/// Keeps the copy up to date until `stop`, and returns what is in it. Everything known before `stop` is in it; if this
/// is dropped before, the last change may be missing.
pub async fn keep(
    dir: PathBuf,
    mut known: watch::Receiver<Known>,
    kept: watch::Sender<Arc<Known>>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let (mut unwritten, mut last, mut pause) = (false, false, DEBOUNCE);
    while !last {
        let burst = async {
            if !unwritten && known.changed().await.is_err() {
                return true; // nothing new can be known
            }
            unwritten = true;
            env::sleep_until(env::now() + pause).await;
            false
        };
        tokio::select! {
            biased;
            () = &mut stop => last = true,
            ended = burst => last = ended,
        }
        if !unwritten && !known.has_changed().unwrap_or(true) {
            continue;
        }
        let (path, copy) = (dir.join(COPY), Arc::new(known.borrow_and_update().clone()));
        let written = copy.clone();
        let written = env::blocking(move || write_checked(&path, &*written)).await;
        match written {
            Ok(Ok(())) => {
                (unwritten, pause) = (false, DEBOUNCE);
                kept.send_replace(copy);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to keep a copy of the cluster's objects");
                (unwritten, pause) = (true, RETRY);
            }
            Err(_) => return, // the runtime stops
        }
    }
}
