//! Partitions' folders: whose they are, and how they go.
//!
//! A folder is known by the topic id inside. One that belongs to an earlier topic of the same name is quarantined,
//! never opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ottla_log::disk;
use ottla_log::folder::{Folder, deleted_name, partition_name, stray_name};
pub use ottla_log::metadata::MetadataError;
use ottla_log::metadata::{read_topic_id, write_topic_id};
use ottla_wire::TopicIdPartition;
use uuid::Uuid;

/// Quarantined files are kept for so long, so that a person can look at them.
const STRAY_AGE_MS: i64 = 24 * 60 * 60 * 1000;

/// Why a partition has no folder.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Two topics of one name have assignments here. The one that has records keeps them.
    #[error(
        "its folder holds the records of topic id {0}, which has the same name and is still assigned: delete one of the two"
    )]
    Taken(Uuid),
    /// The folder's metadata is malformed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::DiskError),
}

/// What was there in a partition's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    /// The partition's own folder, or one without a topic id, which it has now.
    Its,
    /// Nothing.
    Nothing,
    /// The folder of another topic of the same name, which is quarantined now: what the checkpoints say is about that
    /// one.
    Anothers,
}

/// Makes sure that the folder of the partition is there and this topic's; gives what was there before. The files of
/// another topic of this name are quarantined, unless it `stands`: is assigned, too.
///
/// # Errors
/// See [`ClaimError`].
pub fn claim(
    data: &Path,
    topic: &str,
    partition: i32,
    topic_id: Uuid,
    stands: impl Fn(Uuid) -> bool,
) -> Result<Was, ClaimError> {
    let dir = data.join(partition_name(topic, partition));
    let was = match read_topic_id(&dir)? {
        Some(id) if id == topic_id => return Ok(Was::Its),
        Some(id) if stands(id) => return Err(ClaimError::Taken(id)),
        Some(id) => {
            tracing::warn!(%id, "quarantined the files of another topic of the same name");
            disk::rename(&dir, &free_stray(data, topic, partition, id))?;
            Was::Anothers
        }
        None if dir.exists() => Was::Its,
        None => Was::Nothing,
    };
    disk::create_dirs(&dir)?;
    write_topic_id(&dir, topic_id)?;
    disk::sync_dir(data)?;
    Ok(was)
}

/// The partitions that have a folder here, and the names of their topics. [`claim`] decides about a folder without a
/// topic id.
///
/// # Errors
/// When the disk refuses.
pub fn found(data: &Path) -> disk::DiskResult<BTreeMap<TopicIdPartition, String>> {
    let whose = |name: String| match Folder::parse(&name)? {
        Folder::Partition { topic, partition } => {
            let topic_id = read_topic_id(&data.join(name)).ok()??;
            Some((TopicIdPartition::new(topic_id, partition), topic))
        }
        Folder::Deleted | Folder::Stray => None,
    };
    Ok(disk::list(data)?.into_iter().filter_map(whose).collect())
}

/// Puts the folder of the partition aside, if it is this topic's; false if there is none.
///
/// # Errors
/// When the disk refuses, or the folder's metadata is malformed.
pub fn put_aside(data: &Path, topic: &str, partition: i32, topic_id: Uuid) -> Result<bool, MetadataError> {
    let dir = data.join(partition_name(topic, partition));
    if read_topic_id(&dir)? != Some(topic_id) {
        return Ok(false);
    }
    disk::rename(&dir, &free_stray(data, topic, partition, topic_id))?;
    disk::sync_dir(data)?;
    Ok(true)
}

/// The topic's own name for what is quarantined. If that is taken, by a folder of the last day, the next free one: only
/// age removes it.
fn free_stray(data: &Path, topic: &str, partition: i32, topic_id: Uuid) -> PathBuf {
    let unique = (0..).map(|nth| Uuid::from_u128(topic_id.as_u128().wrapping_add(nth)));
    let mut names = unique.map(|unique| data.join(stray_name(topic, partition, unique)));
    names.find(|name| !name.exists()).unwrap_or_default()
}

/// Removes the folder of the partition, if it is this topic's, also where it was quarantined: first by name, so that a
/// crash half-way leaves no half log.
///
/// # Errors
/// When the disk refuses, or the folder's metadata is malformed.
pub fn remove(data: &Path, topic: &str, partition: i32, topic_id: Uuid) -> Result<(), MetadataError> {
    if let Some(going) = begin_removal(data, topic, partition, topic_id)? {
        disk::sync_dir(data)?;
        disk::remove_dir(&going)?;
    }
    Ok(())
}

/// Takes the folder of the partition its name, if it is this topic's, also where it was quarantined. Gives the folder
/// whose files are to be removed once the caller has synced `data`; none where there is nothing.
///
/// # Errors
/// As [`remove`].
pub fn begin_removal(
    data: &Path,
    topic: &str,
    partition: i32,
    topic_id: Uuid,
) -> Result<Option<PathBuf>, MetadataError> {
    let dir = data.join(partition_name(topic, partition));
    let aside = data.join(stray_name(topic, partition, topic_id));
    let going = data.join(deleted_name(topic, partition, topic_id));
    let found = if dir.exists() && read_topic_id(&dir)? == Some(topic_id) { dir } else { aside };
    if found.exists() {
        disk::rename(&found, &going)?;
    }
    Ok(going.exists().then_some(going))
}

/// Removes what was quarantined long before `now_ms`, and counts the rest.
///
/// # Errors
/// When the disk refuses.
pub fn sweep_strays(data: &Path, now_ms: i64) -> disk::DiskResult<usize> {
    let mut left = 0;
    for name in disk::list(data)? {
        if Folder::parse(&name) != Some(Folder::Stray) {
            continue;
        }
        let stray = data.join(&name);
        // Being renamed is a folder's last change.
        if now_ms - disk::changed_ms(&stray)? > STRAY_AGE_MS {
            tracing::warn!(folder = name, "removed files that no assignment has named for a day");
            disk::remove_dir(&stray)?;
        } else {
            left += 1;
        }
    }
    Ok(left)
}

/// Finishes the removals that a crash interrupted.
///
/// # Errors
/// When the disk refuses.
pub fn finish_removals(data: &Path) -> disk::DiskResult<()> {
    going(data)?.iter().try_for_each(|name| disk::remove_dir(&data.join(name)))
}

/// The folders whose removal a crash interrupted, by name.
///
/// # Errors
/// When the disk refuses.
pub fn going(data: &Path) -> disk::DiskResult<Vec<String>> {
    let mut names = disk::list(data)?;
    names.retain(|name| Folder::parse(name) == Some(Folder::Deleted));
    Ok(names)
}

/// Finishes the removal of these folders.
pub fn finish(data: &Path, going: Vec<String>) {
    for folder in going {
        if let Err(error) = disk::remove_dir(&data.join(&folder)) {
            tracing::warn!(folder, %error,
                "failed to remove all files of a deleted partition: the next start removes the rest");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env;

    #[test]
    fn a_folder_of_an_earlier_topic_of_the_name_is_quarantined_until_that_one_is_deleted() {
        let data = tempfile::tempdir().unwrap();
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let nobody = |_| false;
        assert_eq!(claim(data.path(), "t", 0, old, nobody).unwrap(), Was::Nothing);
        assert_eq!(claim(data.path(), "t", 0, old, nobody).unwrap(), Was::Its);
        std::fs::write(data.path().join("t-0/precious"), "x").unwrap();
        let taken = claim(data.path(), "t", 0, new, |id| id == old);
        assert!(matches!(taken, Err(ClaimError::Taken(id)) if id == old), "{taken:?}");
        assert_eq!(claim(data.path(), "t", 0, new, nobody).unwrap(), Was::Anothers);
        assert_eq!(read_topic_id(&data.path().join("t-0")).unwrap(), Some(new));
        let aside = data.path().join(stray_name("t", 0, old));
        assert!(aside.join("precious").exists());

        assert_eq!(sweep_strays(data.path(), env::wall_clock_ms()).unwrap(), 1);

        remove(data.path(), "t", 0, old).unwrap();
        assert!(data.path().join("t-0").exists(), "it is not the old topic's");
        assert!(!aside.exists(), "that is");
        remove(data.path(), "t", 0, new).unwrap();
        assert!(!data.path().join("t-0").exists());
    }

    #[test]
    fn a_folder_that_is_quarantined_twice_is_kept_twice() {
        let data = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(1);
        for time in 1..=3 {
            claim(data.path(), "t", 0, id, |_| false).unwrap();
            assert!(put_aside(data.path(), "t", 0, id).unwrap());
            assert_eq!(sweep_strays(data.path(), env::wall_clock_ms()).unwrap(), time);
        }
        assert!(!data.path().join("t-0").exists());
    }

    #[test]
    fn a_quarantined_folder_is_removed_after_a_day() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join(stray_name("t", 0, Uuid::nil()))).unwrap();
        std::fs::create_dir(data.path().join("t-0")).unwrap();
        let tomorrow = env::wall_clock_ms() + STRAY_AGE_MS + 1000;
        assert_eq!(sweep_strays(data.path(), env::wall_clock_ms()).unwrap(), 1);
        assert_eq!(sweep_strays(data.path(), tomorrow).unwrap(), 0);
        assert_eq!(disk::list(data.path()).unwrap(), ["t-0"]);
    }

    #[test]
    fn a_removal_that_a_crash_interrupted_is_finished() {
        let data = tempfile::tempdir().unwrap();
        let going = data.path().join(deleted_name("t", 0, Uuid::nil()));
        std::fs::create_dir(&going).unwrap();
        std::fs::write(going.join("00000000000000000000.log"), "x").unwrap();
        finish_removals(data.path()).unwrap();
        assert!(!going.exists());
    }
}
