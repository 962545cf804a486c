//! The copy of what is known, on the broker's disk: for a start while the API server is away, and for restoring lost
//! objects.
//!
//! It has a checksum and is written shortly after a change; a renewal of a Lease is not a change. [`changes`] are kept
//! beside it, so that an event costs what it changes, and not everything that is known. When they are more than the
//! copy, the copy is written whole again; and at a clean stop, for an earlier version does not know them.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::{DiskError, disk};
use ottla_rules::assignment::BrokerId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::known::KnownObjects;
use crate::data_dir::{DataDirError, first_checked, owner};
use crate::env;

mod changes;

use changes::{Base, Writer};

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
    pub objects: KnownObjects,
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
pub fn read(dir: &Path) -> Result<Option<KnownObjects>, DiskError> {
    let path = dir.join(COPY);
    let mut before = None;
    loop {
        let Some(bytes) = disk::read(&path)? else { return Ok(None) };
        let copy = std::str::from_utf8(&bytes).ok().and_then(first_checked).filter(|(_, rest)| rest.is_empty());
        let Some((mut known, _)) = copy else {
            tracing::warn!(path = %path.display(), "ignored an incomplete file");
            return Ok(None);
        };
        let base = Base::of(&bytes);
        if let Some(changes) = changes::read(dir, &base)? {
            changes.into_iter().for_each(|change| change.apply(&mut known));
            return Ok(Some(known));
        }
        // A broker that runs may have written the copy again in between.
        if before.as_ref() == Some(&base) {
            return Ok(Some(known));
        }
        before = Some(base);
    }
}

/// Keeps the copy up to date until `stop`, and returns what is in it. Everything known before `stop` is in it; if this
/// is dropped before, the last change may be missing.
pub async fn keep(
    dir: PathBuf,
    mut known: watch::Receiver<KnownObjects>,
    kept: watch::Sender<Arc<KnownObjects>>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let (mut unwritten, mut last, mut pause) = (false, false, DEBOUNCE);
    let mut writer = Writer::new(dir);
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
        let has_news = unwritten || known.has_changed().unwrap_or(true);
        let is_to_be_written = has_news || last && writer.has_changes();
        if !is_to_be_written {
            continue;
        }
        let copy = Arc::new(known.borrow_and_update().clone());
        let written = copy.clone();
        let writing = env::blocking(move || {
            let outcome = if last { writer.write_whole(written) } else { writer.write(written) };
            (writer, outcome)
        });
        let Ok((again, outcome)) = writing.await else { return }; // the runtime stops
        writer = again;
        match outcome {
            Ok(()) => {
                (unwritten, pause) = (false, DEBOUNCE);
                kept.send_replace(copy);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to keep a copy of the cluster's objects");
                (unwritten, pause) = (true, RETRY);
            }
        }
    }
}
