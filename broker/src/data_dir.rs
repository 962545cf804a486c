//! A data directory's identity: whose it is, and whether its content is still what the cluster believes.
//!
//! Owns the exclusive lock, `meta.properties` (Kafka's), the identity file with the incarnation, and the marker of a clean
//! stop. Leaves the logs to `replica` and the Lease to `coord`.
//!
//! Always: what a start changes is on the device before the Lease says so; a directory of another cluster or broker is refused.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ottla_crds::assignment::{BrokerId, Incarnation};
use ottla_log::{DiskError, DiskResult, disk};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const LOCK: &str = ".lock";
const META_PROPERTIES: &str = "meta.properties";
const IDENTITY: &str = "ottla.identity";
/// Kafka's name for it: a broker that finds it skips recovery.
const CLEAN_MARKER: &str = ".kafka_cleanshutdown";

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It holds another cluster's records.
    #[error("the data directory {} belongs to cluster {found}, not to {expected}", path.display())]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who wanted it.
        expected: String,
    },
    /// It holds another broker's records.
    #[error("the data directory {} belongs to broker {found}, not to broker {expected}", path.display())]
    ForeignBroker {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: BrokerId,
        /// Who wanted it.
        expected: BrokerId,
    },
    /// `meta.properties` is not what Kafka or we write.
    #[error("malformed {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A data directory that this process has to itself.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    broker: BrokerId,
    was_clean: bool,
    _lock: File,
}

/// What a directory's content is called, and the start that last used it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The content.
    pub incarnation: Incarnation,
    /// Counts starts: tells a restored snapshot or a clone from the directory that the Lease speaks of.
    pub starts: i64,
    /// The kernel's boot at the last start: within it the page cache survives the process.
    pub boot_id: String,
    /// The pod at the last start: within it the volume is the same.
    pub pod_uid: Option<String>,
}

/// What the broker's Lease says of its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseView {
    /// The API server can't be asked.
    Away,
    /// There is no Lease: no start has ever got so far.
    Absent,
    /// The last start that got so far.
    Says {
        /// Its incarnation.
        incarnation: Incarnation,
        /// Its start counter.
        starts: i64,
    },
}

/// Where a start takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The pod's uid, on Kubernetes.
    pub pod_uid: Option<String>,
}

/// What becomes of the incarnation at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The content is what the cluster believes.
    Keep,
    /// It may not be, for this reason.
    DrawAnew(&'static str),
    /// Only the Lease can tell.
    AskAgain,
}

/// Whether the directory's content is what every in-sync entry with its incarnation says it is.
pub fn decide(written: Option<&Identity>, lease: LeaseView, here: &Surroundings, clean: bool) -> Decision {
    let Some(written) = written else {
        return match lease {
            LeaseView::Away => Decision::AskAgain,
            LeaseView::Absent | LeaseView::Says { .. } => Decision::DrawAnew("it is new, or its identity is not whole"),
        };
    };
    let intact = clean || written.boot_id == here.boot_id;
    if lease == LeaseView::Away {
        let same_pod = written.pod_uid.is_some() && written.pod_uid == here.pod_uid;
        return if intact && same_pod { Decision::Keep } else { Decision::AskAgain };
    }
    match (is_of(written, lease), intact) {
        (false, _) => Decision::DrawAnew("the Lease knows another start: this is a snapshot, a clone or another disk"),
        (true, false) => Decision::DrawAnew("the machine restarted without a clean stop"),
        (true, true) => Decision::Keep,
    }
}

/// Whether the Lease speaks of this very directory: it tells of the start that was written, or of the one before, when a
/// start died before it could write the Lease.
pub fn is_of(written: &Identity, lease: LeaseView) -> bool {
    match lease {
        LeaseView::Away => false,
        LeaseView::Absent => written.starts == 1,
        LeaseView::Says { incarnation, starts } => {
            (written.starts == starts && written.incarnation == incarnation) || written.starts == starts + 1
        }
    }
}

impl DataDir {
    /// Takes the directory for `broker`; creates it when it is not there.
    ///
    /// # Errors
    /// When another process has it, it is another broker's, or the disk refuses.
    pub fn open(path: &Path, broker: BrokerId) -> Result<DataDir, DataDirError> {
        disk::create_dirs(path)?;
        let lock = lock(path)?;
        let was_clean = disk::read(&path.join(CLEAN_MARKER))?.is_some();
        let dir = DataDir { path: path.to_owned(), broker, was_clean, _lock: lock };
        dir.read_meta()?;
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The broker whose it is.
    pub fn broker(&self) -> BrokerId {
        self.broker
    }

    /// Whether the last process closed its logs: then they need no recovery.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Makes sure that the directory is this cluster's; a new one becomes so, with `fresh_id` for its own.
    ///
    /// # Errors
    /// When it is another cluster's, or the disk refuses.
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

    /// Begins to use the directory: from here on a crash is one. Durable when it returns.
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
    /// When the disk refuses.
    pub fn mark_clean(&self) -> Result<(), DataDirError> {
        Ok(disk::replace(&self.path.join(CLEAN_MARKER), b"")?)
    }

    /// Forgets which content this is: the next start draws a new incarnation. After a failed fsync the kernel takes pages for
    /// written that are not, so that not even a process of the same boot may believe what it reads.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn disown(&self) -> DiskResult<()> {
        disk::remove(&self.path.join(IDENTITY))
    }

    /// The cluster whose directory this is, if it is anyone's.
    fn read_meta(&self) -> Result<Option<String>, DataDirError> {
        match owner(&self.path)? {
            Some((found, _)) if found != self.broker => {
                Err(DataDirError::ForeignBroker { path: self.path.clone(), found, expected: self.broker })
            }
            owner => Ok(owner.map(|(_, cluster_id)| cluster_id)),
        }
    }
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
    let get = |key: &str| properties.get(key).copied().ok_or_else(|| malformed(format!("it has no {key}")));
    match get("version")? {
        "0" | "1" => {}
        version => return Err(malformed(format!("version {version} is unknown"))),
    }
    let node = get("node.id").or_else(|_| get("broker.id"))?;
    let broker = BrokerId(node.parse().map_err(|_| malformed(format!("the node id {node:?} is no number")))?);
    Ok(Some((broker, get("cluster.id")?.to_owned())))
}

impl Identity {
    /// The identity of a start that follows this view of the Lease.
    pub fn of_start(
        incarnation: Incarnation,
        lease: LeaseView,
        last: Option<&Identity>,
        here: Surroundings,
    ) -> Identity {
        let starts = match lease {
            // Not counted: the Lease, which counts too, can't be told. The start is counted when it can.
            LeaseView::Away => last.map_or(0, |last| last.starts),
            LeaseView::Absent => 1,
            LeaseView::Says { starts, .. } => starts + 1,
        };
        Identity { incarnation, starts, boot_id: here.boot_id, pod_uid: here.pod_uid }
    }
}

impl Surroundings {
    /// Those of this process. The pod's uid comes from the downward API.
    pub fn of_process(pod_uid: Option<String>) -> Surroundings {
        // Without a boot id no start is of the same boot: the safe side.
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| uuid::Uuid::new_v4().to_string(), |text| text.trim().to_owned());
        Surroundings { boot_id, pod_uid }
    }
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

/// Replaces a small file by a value behind its checksum.
///
/// # Errors
/// When the disk refuses.
pub fn write_checked(path: &Path, value: &impl Serialize) -> Result<(), DiskError> {
    let json = serde_json::to_string(value).expect("our own values are JSON");
    disk::replace(path, format!("{:08x}\n{json}\n", checksum(&json)).as_bytes())
}

/// The value in such a file; none when it is missing or not whole.
///
/// # Errors
/// When the disk refuses.
pub fn read_checked<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DiskError> {
    let Some(bytes) = disk::read(path)? else { return Ok(None) };
    let value = std::str::from_utf8(&bytes).ok().and_then(|text| {
        let (sum, json) = text.split_once('\n')?;
        let json = json.strip_suffix('\n')?;
        (u32::from_str_radix(sum, 16).ok()? == checksum(json)).then(|| serde_json::from_str(json).ok())?
    });
    if value.is_none() {
        tracing::warn!(path = %path.display(), "ignored a file that is not whole");
    }
    Ok(value)
}

fn checksum(text: &str) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, text.as_bytes()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Incarnation = Incarnation(7);

    fn here() -> Surroundings {
        Surroundings { boot_id: "this boot".into(), pod_uid: Some("this pod".into()) }
    }

    fn written(starts: i64) -> Identity {
        Identity { incarnation: MINE, starts, boot_id: "this boot".into(), pod_uid: Some("this pod".into()) }
    }

    fn says(starts: i64) -> LeaseView {
        LeaseView::Says { incarnation: MINE, starts }
    }

    #[test]
    fn the_incarnation_is_kept_only_where_the_content_is_what_the_cluster_believes() {
        let other_boot = Identity { boot_id: "before".into(), ..written(5) };
        let other_pod = Identity { pod_uid: Some("another".into()), ..written(5) };
        let no_pod = Identity { pod_uid: None, ..written(5) };
        let reborn = Identity { incarnation: Incarnation(8), ..written(5) };
        let rows = [
            // a process that died, a clean stop, a machine that died
            (Some(written(5)), says(5), false, "keep"),
            (Some(other_boot.clone()), says(5), true, "keep"),
            (Some(other_boot.clone()), says(5), false, "draw"),
            (Some(other_pod.clone()), says(5), false, "keep"),
            // a start that died before it wrote the Lease
            (Some(written(6)), says(5), false, "keep"),
            (Some(reborn.clone()), says(4), false, "keep"),
            (Some(written(1)), LeaseView::Absent, false, "keep"),
            // snapshots, clones, new disks, a Lease that was deleted
            (Some(written(4)), says(5), true, "draw"),
            (Some(written(7)), says(5), true, "draw"),
            (Some(reborn), says(5), true, "draw"),
            (Some(written(5)), LeaseView::Absent, true, "draw"),
            (None, says(5), true, "draw"),
            (None, LeaseView::Absent, false, "draw"),
            // the API server is away
            (Some(written(5)), LeaseView::Away, false, "keep"),
            (Some(other_boot.clone()), LeaseView::Away, true, "keep"),
            (Some(other_boot), LeaseView::Away, false, "ask"),
            (Some(other_pod), LeaseView::Away, true, "ask"),
            (Some(no_pod), LeaseView::Away, true, "ask"),
            (None, LeaseView::Away, true, "ask"),
        ];
        for (written, lease, clean, expected) in rows {
            let said = match decide(written.as_ref(), lease, &here(), clean) {
                Decision::Keep => "keep",
                Decision::DrawAnew(_) => "draw",
                Decision::AskAgain => "ask",
            };
            assert_eq!(said, expected, "{written:?} {lease:?} clean={clean}");
        }
    }

    #[test]
    fn a_start_that_dies_before_its_lease_any_number_of_times_keeps_the_incarnation() {
        let mut last = written(5);
        for _ in 0..3 {
            last = Identity::of_start(MINE, says(5), Some(&last), here());
            assert_eq!(last.starts, 6);
            assert_eq!(decide(Some(&last), says(5), &here(), false), Decision::Keep);
        }
        let away = Identity::of_start(MINE, LeaseView::Away, Some(&last), here());
        assert_eq!(away.starts, 6, "a start that the Lease can't be told of is not counted");
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
        open().disown().unwrap();
        assert_eq!(open().identity().unwrap(), None);
    }
}
