//! A data directory's identity: its cluster and broker, and whether its content is what the cluster relies on.
//!
//! Owns the exclusive lock, `meta.properties` (Kafka's), the identity file with the incarnation, and the marker of a
//! clean stop. Leaves the logs to `replica` and the Lease to `coord`.
//!
//! - here: the directory and its files
//! - `identity`: whether its content is what the cluster relies on
//! - `ticks`: how long it has been in use
//! - `checked`: small files behind their checksums
//!
//! Always: a start is on the device before it is on the Lease; a directory of another cluster or broker is refused.

mod checked;
mod identity;
mod ticks;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ottla_log::failure::Failure;
use ottla_log::{DiskError, DiskResult, disk};
use ottla_rules::assignment::BrokerId;

pub use self::checked::{checked, first_checked, read_checked, write_checked, write_checked_private};
pub use self::identity::{Content, Identity, IncarnationDecision, LeaseView, Surroundings, decide, is_of};
pub use self::ticks::Ticks;

const LOCK: &str = ".lock";
const META_PROPERTIES: &str = "meta.properties";
const IDENTITY: &str = "ottla.identity";
/// Kafka's name for it: a broker that finds it skips recovery.
const CLEAN_MARKER: &str = ".kafka_cleanshutdown";

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has locked it.
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It holds another cluster's records.
    #[error("the data directory {} belongs to cluster {found}, not to {expected}", path.display())]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster id in the directory.
        found: String,
        /// The id of this broker's cluster.
        expected: String,
    },
    /// It holds another broker's records.
    #[error("the data directory {} belongs to broker {found}, not to broker {expected}", path.display())]
    ForeignBroker {
        /// The directory.
        path: PathBuf,
        /// The broker id in the directory.
        found: BrokerId,
        /// This broker's id.
        expected: BrokerId,
    },
    /// `meta.properties` is not as Kafka or Ottla writes it.
    #[error("the file {} is malformed: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk has failed under it since it was opened.
    #[error("the data directory {} has failed", .0.display())]
    Failed(PathBuf),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    broker: BrokerId,
    was_clean: bool,
    failure: Arc<Failure>,
    _lock: File,
}

impl DataDir {
    /// Locks the directory for `broker`; creates it if it does not exist.
    ///
    /// # Errors
    /// When another process has it, it is another broker's, or the disk refuses.
    pub fn open(path: &Path, broker: BrokerId) -> Result<DataDir, DataDirError> {
        disk::create_dirs(path)?;
        let lock = lock(path)?;
        let was_clean = disk::read(&path.join(CLEAN_MARKER))?.is_some();
        let failure = Failure::begin(path);
        let failed = path.to_owned();
        failure.first(move || {
            if let Err(error) = disown(&failed) {
                // A start writes there before anything else: it fails, too.
                tracing::error!(%error, "failed to disown the data directory");
            }
        });
        let dir = DataDir { path: path.to_owned(), broker, was_clean, failure, _lock: lock };
        dir.read_meta()?;
        Ok(dir)
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The broker that the directory belongs to.
    pub fn broker(&self) -> BrokerId {
        self.broker
    }

    /// Whether the last process closed its logs: then they need no recovery.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Makes sure that the directory belongs to this cluster. A new directory gets the cluster's id, and `fresh_id` as
    /// its own.
    ///
    /// # Errors
    /// When it belongs to another cluster, or the disk refuses.
    pub fn claim(&self, cluster_id: &str, fresh_id: uuid::Uuid) -> Result<(), DataDirError> {
        match self.read_meta()? {
            Some(found) if found == cluster_id => Ok(()),
            Some(found) => {
                Err(DataDirError::ForeignCluster { path: self.path.clone(), found, expected: cluster_id.to_owned() })
            }
            None => {
                let directory_id = URL_SAFE_NO_PAD.encode(fresh_id.as_bytes());
                let text = format!(
                    "cluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={}\nversion=1\n",
                    self.broker
                );
                Ok(disk::replace(&self.path.join(META_PROPERTIES), text.as_bytes())?)
            }
        }
    }

    /// The identity that the last start wrote, if it is whole.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn identity(&self) -> Result<Option<Identity>, DataDirError> {
        Ok(read_checked(&self.path.join(IDENTITY))?)
    }

    /// The ticks that it has counted while it was in use. Only one task may count.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn ticks(&self) -> Result<Ticks, DataDirError> {
        Ok(Ticks::of(&self.path)?)
    }

    /// Begins to use the directory: removes the marker of a clean stop and writes the identity. Durable when it
    /// returns.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(&self, identity: &Identity) -> Result<(), DataDirError> {
        write_checked(&self.path.join(IDENTITY), identity)?;
        disk::remove(&self.path.join(CLEAN_MARKER))?;
        Ok(disk::sync_dir(&self.path)?)
    }

    /// Marks a clean stop: all logs are closed and on the device. Durable when it returns.
    ///
    /// # Errors
    /// When the disk refuses, or the directory has failed since it was opened.
    pub fn mark_clean(&self) -> Result<(), DataDirError> {
        let marker = self.path.join(CLEAN_MARKER);
        let mark = || Ticks::sync(&self.path).and_then(|()| disk::replace(&marker, b""));
        let marked = if self.has_failed() { Ok(()) } else { mark() };
        // It may fail meanwhile: a task that notes this later removes the marker itself.
        if !self.has_failed() {
            return Ok(marked?);
        }
        let removed = disk::remove(&marker);
        // The marker may have reached the device. If its removal does not, a power cut brings it back, and with it the
        // identity that was discarded.
        let synced = disk::sync_dir(&self.path);
        marked.and(removed).and(synced)?;
        Err(DataDirError::Failed(self.path.clone()))
    }

    /// Whether the disk has failed since the directory was opened. Then the directory loses its identity: after a
    /// failed fsync the kernel counts pages as written that are not, so even a process of the same boot may not trust
    /// what it reads.
    pub fn has_failed(&self) -> bool {
        self.failure.is_noted()
    }

    /// The cluster that the directory belongs to; `None`: none yet.
    fn read_meta(&self) -> Result<Option<String>, DataDirError> {
        match owner(&self.path)? {
            Some((found, _)) if found != self.broker => {
                Err(DataDirError::ForeignBroker { path: self.path.clone(), found, expected: self.broker })
            }
            owner => Ok(owner.map(|(_, cluster_id)| cluster_id)),
        }
    }
}

/// Forgets which content this is: the next start draws a new incarnation, and recovers its logs.
fn disown(dir: &Path) -> DiskResult<()> {
    // Each is of use without the other.
    let identity = disk::remove(&dir.join(IDENTITY));
    identity.and(disk::remove(&dir.join(CLEAN_MARKER)))
}

/// The broker and the cluster whose directory this is, if it is anyone's. A broker that runs may have it.
///
/// # Errors
/// When the directory does not say it as Kafka or we write it, or the disk refuses.
pub fn owner(dir: &Path) -> Result<Option<(BrokerId, String)>, DataDirError> {
    let path = dir.join(META_PROPERTIES);
    let Some(bytes) = disk::read(&path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let properties: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let malformed = |reason: String| DataDirError::Malformed { path: path.clone(), reason };
    let get = |key: &str| properties.get(key).copied().ok_or_else(|| malformed(format!("it has no line {key}")));
    match get("version")? {
        "0" | "1" => {}
        version => return Err(malformed(format!("version {version} is unknown"))),
    }
    let node = get("node.id").or_else(|_| get("broker.id"))?;
    let broker = BrokerId(node.parse().map_err(|_| malformed(format!("the node id {node:?} is not a number")))?);
    Ok(Some((broker, get("cluster.id")?.to_owned())))
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join(LOCK);
    let error = |e| DataDirError::Malformed { path: path.clone(), reason: format!("failed to lock: {e}") };
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(dir.to_owned())),
        Err(TryLockError::Error(e)) => Err(error(e)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use ottla_log::disk::DiskChange;
    use ottla_log::disk::simulated::stand_in_below;
    use ottla_log::failure;
    use ottla_rules::assignment::Incarnation;
    use parking_lot::Mutex;

    use super::*;

    fn written(starts: i64) -> Identity {
        Identity { incarnation: Incarnation(7), starts, boot_id: "this boot".into(), pod_uid: Some("this pod".into()) }
    }

    #[test]
    fn a_directory_belongs_to_one_process_one_broker_and_one_cluster() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temporary.path(), BrokerId(1)).unwrap();
        assert!(matches!(DataDir::open(temporary.path(), BrokerId(1)), Err(DataDirError::InUse(_))));
        dir.claim("cluster-a", uuid::Uuid::nil()).unwrap();
        dir.claim("cluster-a", uuid::Uuid::nil()).unwrap();
        let refused = dir.claim("cluster-b", uuid::Uuid::nil()).unwrap_err();
        assert!(refused.to_string().ends_with("belongs to cluster cluster-a, not to cluster-b"), "{refused}");
        drop(dir);
        let refused = DataDir::open(temporary.path(), BrokerId(2)).unwrap_err();
        assert!(refused.to_string().ends_with("belongs to broker 1, not to broker 2"), "{refused}");
    }

    #[test]
    fn kafkas_own_properties_are_understood_and_nonsense_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join(META_PROPERTIES);
        std::fs::write(&path, "#\n#Fri Nov 21 00:00:00 UTC 2025\nbroker.id=3\nversion=0\ncluster.id=abc\n").unwrap();
        let dir = DataDir::open(temporary.path(), BrokerId(3)).unwrap();
        dir.claim("abc", uuid::Uuid::nil()).unwrap();
        drop(dir);
        for bad in ["", "version=2\n", "version=1\nnode.id=x\ncluster.id=a\n", "version=1\nnode.id=3\n"] {
            std::fs::write(&path, bad).unwrap();
            let opened = DataDir::open(temporary.path(), BrokerId(3));
            assert!(matches!(opened, Err(DataDirError::Malformed { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_start_takes_the_clean_marker_away_and_a_torn_identity_is_none() {
        let temporary = tempfile::tempdir().unwrap();
        let open = || DataDir::open(temporary.path(), BrokerId(0)).unwrap();
        let dir = open();
        assert!(!dir.was_clean());
        dir.begin(&written(1)).unwrap();
        dir.mark_clean().unwrap();
        drop(dir);
        let dir = open();
        assert!(dir.was_clean());
        assert_eq!(dir.identity().unwrap(), Some(written(1)));
        dir.begin(&written(2)).unwrap();
        drop(dir);
        assert!(!open().was_clean());

        let path = temporary.path().join(IDENTITY);
        let whole = std::fs::read(&path).unwrap();
        for torn in [&whole[..0], &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
            std::fs::write(&path, torn).unwrap();
            assert_eq!(open().identity().unwrap(), None);
        }
        open().begin(&written(3)).unwrap();
        let dir = open();
        dir.mark_clean().unwrap();
        failure::note(&temporary.path().join("t-0"));
        dir.mark_clean().unwrap_err();
        drop(dir);
        let dir = open();
        assert_eq!((dir.identity().unwrap(), dir.was_clean()), (None, false), "it is disowned");
        dir.mark_clean().unwrap();
    }

    #[test]
    fn a_marker_that_may_be_on_the_device_when_the_disk_fails_is_removed_there_too() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temporary.path(), BrokerId(0)).unwrap();
        dir.begin(&written(1)).unwrap();
        let (data, changes) = (temporary.path().to_owned(), Arc::<Mutex<Vec<String>>>::default());
        let (fails, seen, told) = (AtomicBool::new(true), changes.clone(), data.clone());
        let _disk = stand_in_below(&data, move |change| {
            if !matches!(change, DiskChange::Open(_)) {
                seen.lock().push(format!("{change:?}"));
            }
            // Another thread's sync fails while the marker's name gets to the device.
            if matches!(change, DiskChange::SyncDir(_)) && fails.swap(false, Ordering::SeqCst) {
                failure::note(&told.join("t-0"));
            }
            Ok(())
        });
        dir.mark_clean().unwrap_err();
        let last_two: Vec<_> = changes.lock().iter().rev().take(2).cloned().collect();
        assert!(last_two[1].starts_with("Remove") && last_two[1].contains(CLEAN_MARKER), "{last_two:?}");
        assert!(last_two[0].starts_with("SyncDir"), "{last_two:?}");
    }

    #[test]
    fn an_identity_that_can_not_be_removed_leaves_no_marker_beside_it() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temporary.path(), BrokerId(0)).unwrap();
        dir.begin(&written(1)).unwrap();
        dir.mark_clean().unwrap();
        let _disk = stand_in_below(temporary.path(), |change| match change {
            DiskChange::Remove(path) if path.ends_with(IDENTITY) => Err(std::io::Error::other("the device is gone")),
            _ => Ok(()),
        });
        failure::note(&temporary.path().join("t-0"));
        drop(dir);
        assert!(!DataDir::open(temporary.path(), BrokerId(0)).unwrap().was_clean());
    }

    #[test]
    fn ticks_are_counted_on_by_the_next_process_and_from_nothing_where_the_file_is_torn() {
        let temporary = tempfile::tempdir().unwrap();
        let open = || DataDir::open(temporary.path(), BrokerId(0)).unwrap();
        open().mark_clean().unwrap();
        for start in 0..4 {
            let mut ticks = open().ticks().unwrap();
            assert_eq!(ticks.count(), 5 * start, "a number of two digits follows one of one");
            for nth in 1..=5 {
                assert_eq!(ticks.tick().unwrap(), 5 * start + nth);
            }
            open().mark_clean().unwrap();
        }
        std::fs::write(temporary.path().join("ottla.ticks"), [0; 40]).unwrap();
        let mut ticks = open().ticks().unwrap();
        assert_eq!((ticks.count(), ticks.tick().unwrap(), ticks.tick().unwrap()), (0, 1, 2));
        assert_eq!(open().ticks().unwrap().count(), 2, "nothing is left of what was torn");
    }
}
