//! `partition.metadata`: the topic id of a partition's folder, for a topic's name may come back with another topic.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::disk::{self, DiskError, DiskResult};

const PARTITION_METADATA: &str = "partition.metadata";

/// A metadata file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It can't be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not what Kafka or we write.
    #[error("malformed {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: &'static str,
    },
}

/// An id as Kafka writes it: base64 of its bytes.
pub fn id_to_text(id: Uuid) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Read an id; none when the text is not one.
pub fn id_from_text(text: &str) -> Option<Uuid> {
    Uuid::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// The topic id of a partition folder; none when nobody has written it yet.
pub fn read_topic_id(dir: &Path) -> Result<Option<Uuid>, MetadataError> {
    let path = dir.join(PARTITION_METADATA);
    let Some(bytes) = disk::read(&path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let malformed = |reason| MetadataError::Malformed { path: path.clone(), reason };
    if value("version") != Some("0") {
        return Err(malformed("it is not version 0"));
    }
    value("topic_id").and_then(id_from_text).map(Some).ok_or_else(|| malformed("it has no topic id"))
}

/// Write the topic id of a partition folder.
pub fn write_topic_id(dir: &Path, topic_id: Uuid) -> DiskResult<()> {
    let text = format!("version: 0\ntopic_id: {}", id_to_text(topic_id));
    disk::replace(&dir.join(PARTITION_METADATA), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Kafka 4.3.1.
    const KAFKAS: &[u8] = include_bytes!("../tests/kafka-4.3.1/flights-0/partition.metadata");

    #[test]
    fn the_topic_id_is_read_and_written_as_kafka_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PARTITION_METADATA);
        assert_eq!(read_topic_id(dir.path()).unwrap(), None);
        disk::replace(&path, KAFKAS).unwrap();
        let topic_id = read_topic_id(dir.path()).unwrap().unwrap();
        assert_eq!(id_to_text(topic_id), "IsgBvVehRsCMq-AfGY65vg");
        disk::remove(&path).unwrap();
        write_topic_id(dir.path(), topic_id).unwrap();
        assert_eq!(disk::read(&path).unwrap().unwrap(), KAFKAS);
    }

    #[test]
    fn a_file_without_a_topic_id_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", "version: 1\ntopic_id: IsgBvVehRsCMq-AfGY65vg", "version: 0\n", "version: 0\ntopic_id: x"] {
            disk::replace(&dir.path().join(PARTITION_METADATA), bad.as_bytes()).unwrap();
            assert!(matches!(read_topic_id(dir.path()), Err(MetadataError::Malformed { .. })), "{bad:?}");
        }
    }
}
