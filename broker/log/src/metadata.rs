//! Small files that say whose data this is: `partition.metadata`, `meta.properties`, and the mark of a clean stop.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::disk::{self, DiskError, DiskResult};

const PARTITION_METADATA: &str = "partition.metadata";
const META_PROPERTIES: &str = "meta.properties";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

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

/// Read an id.
pub fn id_from_text(text: &str) -> Option<Uuid> {
    Uuid::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// The topic id of a partition folder; none when nobody has written it yet.
pub fn read_topic_id(dir: &Path) -> Result<Option<Uuid>, MetadataError> {
    let path = dir.join(PARTITION_METADATA);
    let Some(lines) = read_pairs(&path, ':')? else { return Ok(None) };
    let malformed = |reason| MetadataError::Malformed { path: path.clone(), reason };
    if value(&lines, "version") != Some("0") {
        return Err(malformed("it is not version 0"));
    }
    let id = value(&lines, "topic_id").and_then(id_from_text);
    id.map(Some).ok_or(malformed("it has no topic id"))
}

/// Write the topic id of a partition folder.
pub fn write_topic_id(dir: &Path, topic_id: Uuid) -> DiskResult<()> {
    let text = format!("version: 0\ntopic_id: {}", id_to_text(topic_id));
    disk::replace(&dir.join(PARTITION_METADATA), text.as_bytes())
}

/// Whose a data directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster.
    pub cluster_id: String,
    /// The broker.
    pub node_id: i32,
    /// The directory itself.
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// Read those of a data directory; none when it is new.
    pub fn read(dir: &Path) -> Result<Option<MetaProperties>, MetadataError> {
        let path = dir.join(META_PROPERTIES);
        let Some(lines) = read_pairs(&path, '=')? else { return Ok(None) };
        let malformed = |reason| MetadataError::Malformed { path: path.clone(), reason };
        if value(&lines, "version") != Some("1") {
            return Err(malformed("it is not version 1"));
        }
        Ok(Some(MetaProperties {
            cluster_id: value(&lines, "cluster.id").ok_or(malformed("it has no cluster.id"))?.to_owned(),
            node_id: value(&lines, "node.id").and_then(|id| id.parse().ok()).ok_or(malformed("it has no node.id"))?,
            directory_id: value(&lines, "directory.id")
                .and_then(id_from_text)
                .ok_or(malformed("it has no directory.id"))?,
        }))
    }

    /// Write those of a data directory.
    pub fn write(&self, dir: &Path) -> DiskResult<()> {
        let MetaProperties { cluster_id, node_id, directory_id } = self;
        let directory_id = id_to_text(*directory_id);
        let text = format!("version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n");
        disk::replace(&dir.join(META_PROPERTIES), text.as_bytes())
    }
}

/// Mark a data directory whose logs have all been closed.
pub fn mark_clean(dir: &Path, broker_epoch: i64) -> DiskResult<()> {
    let text = format!(r#"{{"version":0,"brokerEpoch":{broker_epoch}}}"#);
    disk::replace(&dir.join(CLEAN_SHUTDOWN), text.as_bytes())
}

/// Is the mark there?
pub fn is_clean(dir: &Path) -> DiskResult<bool> {
    Ok(disk::read(&dir.join(CLEAN_SHUTDOWN))?.is_some())
}

/// Take the mark away, durably. Must come before the first write to any log.
pub fn unmark_clean(dir: &Path) -> DiskResult<()> {
    disk::remove(&dir.join(CLEAN_SHUTDOWN))?;
    disk::sync_dir(dir)
}

type Pairs = Vec<(String, String)>;

fn read_pairs(path: &Path, separator: char) -> Result<Option<Pairs>, MetadataError> {
    let Some(bytes) = disk::read(path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(separator));
    Ok(Some(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()))
}

fn value<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a str> {
    pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Kafka 4.3.1.
    fn kafkas() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-4.3.1")
    }

    #[test]
    fn kafkas_own_files_are_read() {
        let properties = MetaProperties::read(&kafkas()).unwrap().unwrap();
        assert_eq!((properties.cluster_id.as_str(), properties.node_id), ("vWryYcosQXG8hsdOnGpcow", 1));
        assert_eq!(id_to_text(properties.directory_id), "4ZrxRKErTLaVTAj4f6HxXw");
        let topic_id = read_topic_id(&kafkas().join("flights-0")).unwrap().unwrap();
        assert_eq!(id_to_text(topic_id), "IsgBvVehRsCMq-AfGY65vg");
        assert!(is_clean(&kafkas()).unwrap());
    }

    #[test]
    fn partition_metadata_and_the_clean_mark_are_written_byte_for_byte_as_kafka_does() {
        let dir = tempfile::tempdir().unwrap();
        let same = |ours: &str, kafkas_file: &str| {
            let kafkas = disk::read(&kafkas().join(kafkas_file)).unwrap();
            assert_eq!(disk::read(&dir.path().join(ours)).unwrap(), kafkas, "{ours}");
        };
        write_topic_id(dir.path(), id_from_text("IsgBvVehRsCMq-AfGY65vg").unwrap()).unwrap();
        same(PARTITION_METADATA, "flights-0/partition.metadata");
        mark_clean(dir.path(), 43).unwrap();
        same(CLEAN_SHUTDOWN, CLEAN_SHUTDOWN);
        unmark_clean(dir.path()).unwrap();
        assert!(!is_clean(dir.path()).unwrap());
    }

    #[test]
    fn meta_properties_survive_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(MetaProperties::read(dir.path()).unwrap(), None);
        let ours = MetaProperties { cluster_id: "laptop".into(), node_id: 3, directory_id: Uuid::from_u128(7) };
        ours.write(dir.path()).unwrap();
        assert_eq!(MetaProperties::read(dir.path()).unwrap(), Some(ours));
        disk::replace(&dir.path().join(META_PROPERTIES), b"version=1\ncluster.id=x\n").unwrap();
        assert!(MetaProperties::read(dir.path()).unwrap_err().to_string().ends_with("it has no node.id"));
    }
}
