//! Names of partition folders: `<topic>-<partition>`, and what becomes of them when a partition goes.

use std::path::{Path, PathBuf};

/// Appended to a folder that is being deleted.
const DELETED: &str = "-delete";
/// Appended to a folder that belongs to no assignment.
const STRAY: &str = "-stray";

/// Most bytes in a file name, by POSIX and every Linux file system.
const NAME_MAX: usize = 255;

/// What a folder's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folder {
    /// A partition in use.
    Partition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// Its files are being removed: continue the removal.
    Deleted,
    /// Kept for somebody to look at.
    Stray,
}

impl Folder {
    /// Read a name; none when it is not a partition's folder.
    pub fn parse(name: &str) -> Option<Folder> {
        if name.ends_with(DELETED) && name.contains('.') {
            return Some(Folder::Deleted);
        }
        if name.ends_with(STRAY) && name.contains('.') {
            return Some(Folder::Stray);
        }
        let (topic, partition) = name.rsplit_once('-')?;
        let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
        let partition = partition.parse().ok().filter(|_| digits && !topic.is_empty())?;
        Some(Folder::Partition { topic: topic.to_owned(), partition })
    }
}

/// The folder of a partition.
pub fn partition_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The name it takes to be deleted; `unique` keeps apart several lives of one topic.
pub fn deleted_name(topic: &str, partition: i32, unique: uuid::Uuid) -> String {
    marked_name(topic, partition, unique, DELETED)
}

/// The name it takes when it belongs to no assignment.
pub fn stray_name(topic: &str, partition: i32, unique: uuid::Uuid) -> String {
    marked_name(topic, partition, unique, STRAY)
}

/// A folder beside that of a log, for what is taken out of it.
pub(crate) fn stray_beside(dir: &Path, unique: uuid::Uuid) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(match Folder::parse(&name) {
        Some(Folder::Partition { topic, partition }) => stray_name(&topic, partition, unique),
        Some(Folder::Deleted | Folder::Stray) | None => format!("{name}.{}{STRAY}", unique.simple()),
    })
}

/// As in Kafka: a long topic's name is cut to make room.
fn marked_name(topic: &str, partition: i32, unique: uuid::Uuid, mark: &str) -> String {
    let suffix = format!("-{partition}.{}{mark}", unique.simple());
    let topic = topic.get(..NAME_MAX - suffix.len()).unwrap_or(topic);
    format!("{topic}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_partitions_from_what_is_left_of_them() {
        let partition = |topic: &str, partition| Some(Folder::Partition { topic: topic.into(), partition });
        for (name, expected) in [
            ("flights-0", partition("flights", 0)),
            ("a-b-12", partition("a-b", 12)),
            ("a.b-delete-3", partition("a.b-delete", 3)),
            ("flights-", None),
            ("-1", None),
            ("flights-+1", None),
            ("flights-x", None),
            ("flights-99999999999", None),
            ("lost+found", None),
            (&deleted_name("flights", 0, uuid::Uuid::nil()), Some(Folder::Deleted)),
            (&stray_name("flights", 0, uuid::Uuid::nil()), Some(Folder::Stray)),
        ] {
            assert_eq!(Folder::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn the_longest_topic_can_still_be_deleted() {
        let name = deleted_name(&"t".repeat(249), i32::MAX, uuid::Uuid::max());
        assert_eq!((name.len(), Folder::parse(&name)), (NAME_MAX, Some(Folder::Deleted)));
    }
}
