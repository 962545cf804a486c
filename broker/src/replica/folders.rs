//! Partitions' folders: whose they are, and how they go.
//!
//! A folder is known by the topic id inside. One that belongs to another life of the topic is put aside, never opened.

use std::path::Path;

use ottla_log::disk;
use ottla_log::folder::{Folder, deleted_name, partition_name, stray_name};
use ottla_log::metadata::{MetadataError, read_topic_id, write_topic_id};
use uuid::Uuid;

/// Makes sure that the folder of the partition is there and this topic's.
///
/// # Errors
/// When the disk refuses, or the folder's metadata is malformed.
pub fn claim(data: &Path, topic: &str, partition: i32, topic_id: Uuid) -> Result<(), MetadataError> {
    let dir = data.join(partition_name(topic, partition));
    if dir.exists() {
        match read_topic_id(&dir)? {
            Some(id) if id == topic_id => return Ok(()),
            Some(id) => {
                tracing::warn!(topic, partition, %id, "put aside the files of another topic of the same name");
                disk::rename(&dir, &data.join(stray_name(topic, partition, id)))?;
            }
            None => {}
        }
    }
    disk::create_dirs(&dir)?;
    write_topic_id(&dir, topic_id)?;
    disk::sync_dir(data)?;
    Ok(())
}

/// Removes the folder of the partition, if it is this topic's: first by name, so that a crash half-way leaves no half log.
///
/// # Errors
/// When the disk refuses, or the folder's metadata is malformed.
pub fn remove(data: &Path, topic: &str, partition: i32, topic_id: Uuid) -> Result<(), MetadataError> {
    let dir = data.join(partition_name(topic, partition));
    if dir.exists() && read_topic_id(&dir)? == Some(topic_id) {
        let going = data.join(deleted_name(topic, partition, topic_id));
        disk::rename(&dir, &going)?;
        disk::sync_dir(data)?;
        disk::remove_dir(&going)?;
    }
    Ok(())
}

/// Finishes the removals that a crash interrupted.
///
/// # Errors
/// When the disk refuses.
pub fn finish_removals(data: &Path) -> disk::DiskResult<()> {
    for name in disk::list(data)? {
        if Folder::parse(&name) == Some(Folder::Deleted) {
            disk::remove_dir(&data.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_life_of_the_topic_is_put_aside_and_never_removed() {
        let data = tempfile::tempdir().unwrap();
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        claim(data.path(), "t", 0, old).unwrap();
        std::fs::write(data.path().join("t-0/precious"), "x").unwrap();
        claim(data.path(), "t", 0, new).unwrap();
        assert_eq!(read_topic_id(&data.path().join("t-0")).unwrap(), Some(new));
        let aside = data.path().join(stray_name("t", 0, old));
        assert!(aside.join("precious").exists());

        remove(data.path(), "t", 0, old).unwrap();
        assert!(data.path().join("t-0").exists(), "it is not the old topic's");
        remove(data.path(), "t", 0, new).unwrap();
        assert!(!data.path().join("t-0").exists());
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
