//! Kafka's checkpoint files: a version, a count, and one line per entry.
//!
//! The four offset checkpoints of a data directory are read and written here; the leader epochs of a partition use the
//! same lines ([`crate::epochs`]). A file is replaced as a whole, so that a crash leaves the old or the new one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError, DiskResult};

/// Up to where each log is known to be on the device: recovery after a crash starts here.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Log starts that were moved by DeleteRecords or retention.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// First dirty offsets: everything before is compacted.
pub const FIRST_DIRTY: &str = "cleaner-offset-checkpoint";

const VERSION: &str = "0";

/// A checkpoint can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It can't be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not what Kafka or we write.
    #[error("malformed checkpoint {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
}

/// Topic and partition.
pub type PartitionKey = (String, i32);

/// Read an offset checkpoint; a missing file is an empty one.
pub fn read_offsets(path: &Path) -> Result<BTreeMap<PartitionKey, i64>, CheckpointError> {
    let entries = read_lines(path, |line| {
        let [topic, partition, offset] = fields(line)?;
        Some(((topic.to_owned(), partition.parse().ok()?), offset.parse().ok()?))
    })?;
    Ok(entries.unwrap_or_default().into_iter().collect())
}

/// Replace an offset checkpoint.
pub fn write_offsets(path: &Path, offsets: &BTreeMap<PartitionKey, i64>) -> DiskResult<()> {
    write_lines(path, offsets.iter().map(|((topic, partition), offset)| format!("{topic} {partition} {offset}")))
}

/// Read entries, one per line; none when there is no file. Kafka creates some of its checkpoints empty.
pub(crate) fn read_lines<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<Option<Vec<T>>, CheckpointError> {
    let Some(bytes) = disk::read(path)? else { return Ok(None) };
    if bytes.is_empty() {
        return Ok(None);
    }
    let malformed = |reason: String| CheckpointError::Malformed { path: path.to_owned(), reason };
    let text = String::from_utf8(bytes).map_err(|_| malformed("it is not text".into()))?;
    // A number that has lost digits is a number too.
    if !text.ends_with('\n') {
        return Err(malformed("its last line is cut off".into()));
    }
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) {
        return Err(malformed(format!("the first line is not version {VERSION}")));
    }
    let count: Option<usize> = lines.next().and_then(|count| count.parse().ok());
    let entries: Result<Vec<T>, CheckpointError> =
        lines.map(|line| parse(line).ok_or_else(|| malformed(format!("can't read the line {line:?}")))).collect();
    let entries = entries?;
    if count != Some(entries.len()) {
        return Err(malformed(format!("it has {} entries, not as many as it says", entries.len())));
    }
    Ok(Some(entries))
}

/// Replace a checkpoint durably.
pub(crate) fn write_lines(path: &Path, lines: impl ExactSizeIterator<Item = String>) -> DiskResult<()> {
    disk::replace(path, text_of(lines).as_bytes())
}

/// Replace a checkpoint; a crash of the machine may leave anything until it is synced.
pub(crate) fn write_lines_unsynced(path: &Path, lines: impl ExactSizeIterator<Item = String>) -> DiskResult<()> {
    disk::replace_unsynced(path, text_of(lines).as_bytes())
}

fn text_of(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("{VERSION}\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Split a line into exactly `N` fields.
pub(crate) fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut fields = line.split_ascii_whitespace();
    let mut found = [""; N];
    for field in &mut found {
        *field = fields.next()?;
    }
    fields.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_their_file_in_kafkas_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINTS);
        assert!(read_offsets(&path).unwrap().is_empty(), "missing");
        let offsets = BTreeMap::from([(("flights".to_owned(), 0), 20), (("flights".to_owned(), 11), i64::MAX)]);
        write_offsets(&path, &offsets).unwrap();
        let text = String::from_utf8(disk::read(&path).unwrap().unwrap()).unwrap();
        assert_eq!(text, format!("0\n2\nflights 0 20\nflights 11 {}\n", i64::MAX));
        assert_eq!(read_offsets(&path).unwrap(), offsets);
    }

    #[test]
    fn a_checkpoint_that_lost_bytes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINTS);
        for bad in [
            "1\n0\n",
            "0\n",
            "0\n1\na 0 4",
            "0\n2\na 0 1\n",
            "0\n1\na 0\n",
            "0\n1\na 0 1 2\n",
            "0\n1\na 0 x\n",
            "0\nx\n",
        ] {
            disk::replace(&path, bad.as_bytes()).unwrap();
            assert!(matches!(read_offsets(&path), Err(CheckpointError::Malformed { .. })), "{bad:?}");
        }
        disk::replace(&path, b"").unwrap();
        assert!(read_offsets(&path).unwrap().is_empty(), "Kafka creates checkpoints empty");
    }
}
