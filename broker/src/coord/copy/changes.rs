//! What has changed since the copy was written whole: a file beside it, to which each change is added.
//!
//! Always: the changes name the copy that they follow, so those of another one are not used; a change is on the device
//! before the next is added, so only the last can be incomplete; nothing is added to a file of an earlier process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic};
use ottla_log::disk::{self, DiskFile};
use ottla_log::{DiskError, DiskResult};
use serde::{Deserialize, Serialize};

use super::COPY;
use crate::coord::known::KnownObjects;
use crate::data_dir::{checked, first_checked};

const CHANGES: &str = "ottla.objects.changes";
/// The changes of a small cluster may be larger than its copy.
const LEAST: u64 = 1 << 20;

/// The copy that changes follow: its first line, which is its checksum, and its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    sum: String,
    length: u64,
}

impl Base {
    pub(super) fn of(copy: &[u8]) -> Base {
        let sum = copy.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Base { sum: String::from_utf8_lossy(sum).into_owned(), length: copy.len() as u64 }
    }
}

/// What is known now and was not before. An object that is `None` is not known any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CopyDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Arc<KafkaCluster>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    topics: BTreeMap<String, Option<Arc<KafkaTopic>>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    assignments: BTreeMap<String, Option<Arc<KafkaAssignment>>>,
    /// All of them, if they are others.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone_topics: Option<BTreeSet<String>>,
    /// All of them, if they are others.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<BTreeSet<String>>,
}

impl CopyDelta {
    fn between(before: &KnownObjects, now: &KnownObjects) -> CopyDelta {
        // How it compares with what is shown is not kept.
        let KnownObjects { cluster, topics, assignments, gone_topics, missing, others: _ } = now;
        let topics = topics.differences(&before.topics, Arc::ptr_eq);
        let assignments = assignments.differences(&before.assignments, Arc::ptr_eq);
        CopyDelta {
            cluster: cluster.clone().filter(|cluster| before.cluster.as_ref() != Some(cluster)),
            topics: topics.into_iter().map(|(name, _, now)| (name.clone(), now.cloned())).collect(),
            assignments: assignments.into_iter().map(|(name, _, now)| (name.clone(), now.cloned())).collect(),
            gone_topics: Some(gone_topics).filter(|now| **now != before.gone_topics).cloned(),
            missing: Some(missing).filter(|now| **now != before.missing).cloned(),
        }
    }

    pub(super) fn apply(self, known: &mut KnownObjects) {
        let CopyDelta { cluster, topics, assignments, gone_topics, missing } = self;
        for (name, topic) in topics {
            match topic {
                Some(topic) => _ = known.topics.insert(name, topic),
                None => _ = known.topics.remove(&name),
            }
        }
        for (name, object) in assignments {
            match object {
                Some(object) => _ = known.assignments.insert(name, object),
                None => _ = known.assignments.remove(&name),
            }
        }
        known.cluster = cluster.or(known.cluster.take());
        known.gone_topics = gone_topics.unwrap_or(std::mem::take(&mut known.gone_topics));
        known.missing = missing.unwrap_or(std::mem::take(&mut known.missing));
    }
}

/// The changes that follow this copy; `None`: there are none, or they follow another one.
///
/// # Errors
/// When the disk refuses.
pub(super) fn read(dir: &Path, base: &Base) -> DiskResult<Option<Vec<CopyDelta>>> {
    let Some(bytes) = disk::read(&dir.join(CHANGES))? else { return Ok(None) };
    // What is not text was torn.
    let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let Some((_, mut rest)) = first_checked::<Base>(text).filter(|(of, _)| of == base) else { return Ok(None) };
    let mut changes = Vec::new();
    while let Some((change, more)) = first_checked(rest) {
        changes.push(change);
        rest = more;
    }
    Ok(Some(changes))
}

/// Writes the copy of one process.
pub(super) struct Writer {
    dir: PathBuf,
    /// What the files have; `None`: nobody knows.
    written: Option<WrittenCopy>,
}

struct WrittenCopy {
    known: Arc<KnownObjects>,
    base: Base,
    /// The changes since the copy was written whole, and their length.
    changes: Option<(DiskFile, u64)>,
}

impl Writer {
    pub(super) fn new(dir: PathBuf) -> Writer {
        Writer { dir, written: None }
    }

    /// Whether there are changes that the copy itself does not have.
    pub(super) fn has_changes(&self) -> bool {
        self.written.as_ref().is_some_and(|written| written.changes.is_some())
    }

    /// Makes it durable: as a change if that is small, else whole. After an error everything is written the next time.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn write(&mut self, known: Arc<KnownObjects>) -> Result<(), DiskError> {
        let Some(mut written) = self.written.take() else { return self.write_whole(known) };
        let change = CopyDelta::between(&written.known, &known);
        if change != CopyDelta::default() && !written.add(&self.dir, &change)? {
            return self.write_whole(known);
        }
        written.known = known;
        self.written = Some(written);
        Ok(())
    }

    /// Makes it durable in the copy itself.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn write_whole(&mut self, known: Arc<KnownObjects>) -> Result<(), DiskError> {
        self.written = None;
        let copy = checked(&*known);
        disk::replace(&self.dir.join(COPY), copy.as_bytes())?;
        disk::remove(&self.dir.join(CHANGES))?;
        self.written = Some(WrittenCopy { known, base: Base::of(copy.as_bytes()), changes: None });
        Ok(())
    }
}

impl WrittenCopy {
    /// Adds a change; false: there is no place for it.
    fn add(&mut self, dir: &Path, change: &CopyDelta) -> DiskResult<bool> {
        let record = checked(change);
        let length = self.changes.as_ref().map_or(0, |(_, length)| *length);
        if length + record.len() as u64 > self.base.length.max(LEAST) {
            return Ok(false);
        }
        match &mut self.changes {
            Some((file, length)) => {
                file.write_all_at(&mut [IoSlice::new(record.as_bytes())], *length)?;
                file.sync()?;
                *length += record.len() as u64;
            }
            None => {
                let (file, base) = (DiskFile::create(&dir.join(CHANGES))?, checked(&self.base));
                file.write_all_at(&mut [IoSlice::new(base.as_bytes()), IoSlice::new(record.as_bytes())], 0)?;
                file.sync()?;
                disk::sync_dir(dir)?;
                self.changes = Some((file, (base.len() + record.len()) as u64));
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use ottla_crds::KafkaAssignmentSpec;

    use super::super::read as read_copy;
    use super::*;

    fn object(name: &str, first: i32) -> Arc<KafkaAssignment> {
        let spec = KafkaAssignmentSpec { topic_name: name.to_owned(), first, ..Default::default() };
        Arc::new(KafkaAssignment::new(name, spec))
    }

    fn thousand() -> KnownObjects {
        let assignments = (0..1000).map(|number| (format!("t{number}"), object("t", number)));
        KnownObjects { assignments: assignments.collect(), ..KnownObjects::default() }
    }

    fn size(dir: &Path, name: &str) -> u64 {
        dir.join(name).metadata().map_or(0, |metadata| metadata.len())
    }

    #[test]
    fn a_change_is_added_and_the_copy_is_not_written_again() {
        let (dir, mut known) = (tempfile::tempdir().unwrap(), thousand());
        let mut writer = Writer::new(dir.path().to_owned());
        writer.write(Arc::new(known.clone())).unwrap();
        let copy = std::fs::read(dir.path().join(COPY)).unwrap();
        assert!(!writer.has_changes());

        known.assignments.insert("t7".to_owned(), object("t", 70));
        known.assignments.remove("t8");
        known.topics.insert("t".to_owned(), Arc::new(KafkaTopic::new("t", Default::default())));
        known.cluster = Some(Arc::new(KafkaCluster::new("prod", Default::default())));
        writer.write(Arc::new(known.clone())).unwrap();
        let one = size(dir.path(), CHANGES);
        assert!(one * 10 < copy.len() as u64, "{one} bytes for two assignments, a topic and a cluster");
        assert_eq!(read_copy(dir.path()).unwrap(), Some(known.clone()));

        known.gone_topics = ["t".to_owned()].into();
        known.missing = ["t9".to_owned()].into();
        writer.write(Arc::new(known.clone())).unwrap();
        known.missing = BTreeSet::new();
        writer.write(Arc::new(known.clone())).unwrap();
        assert_eq!(std::fs::read(dir.path().join(COPY)).unwrap(), copy);
        assert_eq!(read_copy(dir.path()).unwrap(), Some(known.clone()));
        assert!(size(dir.path(), CHANGES) > one);
        let before = size(dir.path(), CHANGES);
        writer.write(Arc::new(known.clone())).unwrap();
        assert_eq!(size(dir.path(), CHANGES), before, "nothing has changed");

        writer.write_whole(Arc::new(known.clone())).unwrap();
        assert_eq!((size(dir.path(), CHANGES), writer.has_changes()), (0, false));
        assert_eq!(read_copy(dir.path()).unwrap(), Some(known));
    }

    #[test]
    fn changes_that_are_more_than_the_copy_make_it_be_written_again() {
        let (dir, mut known) = (tempfile::tempdir().unwrap(), thousand());
        let mut writer = Writer::new(dir.path().to_owned());
        let (mut whole, mut most) = (0, 0);
        let mut last = Vec::new();
        for turn in 0..300 {
            known.assignments.extend((0..100).map(|number| (format!("t{number}"), object("t", turn))));
            writer.write(Arc::new(known.clone())).unwrap();
            most = most.max(size(dir.path(), CHANGES));
            if !writer.has_changes() {
                let copy = std::fs::read(dir.path().join(COPY)).unwrap();
                whole += usize::from(copy != last);
                last = copy;
            }
        }
        assert!((2..20).contains(&whole), "written {whole} times");
        assert!(most <= LEAST.max(last.len() as u64));
        assert_eq!(read_copy(dir.path()).unwrap(), Some(known));
    }

    #[test]
    fn an_incomplete_change_is_ignored_and_so_are_those_of_another_copy() {
        let (dir, mut known) = (tempfile::tempdir().unwrap(), thousand());
        let (path, changes) = (dir.path().join(COPY), dir.path().join(CHANGES));
        let mut writer = Writer::new(dir.path().to_owned());
        let mut states = Vec::new();
        for turn in 0..3 {
            known.assignments.insert("t7".to_owned(), object("ü", 70 + turn));
            writer.write(Arc::new(known.clone())).unwrap();
            states.push((size(dir.path(), CHANGES) as usize, known.clone()));
        }
        let whole = std::fs::read(&changes).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&changes, &whole[..length]).unwrap();
            let expected = states.iter().rev().find(|(end, _)| *end <= length).map(|(_, known)| known);
            assert_eq!(read_copy(dir.path()).unwrap().as_ref(), expected, "cut at {length}");
        }

        // The machine crashed after the copy was written again, and before the changes were removed.
        std::fs::write(&changes, &whole).unwrap();
        known.assignments.insert("t7".to_owned(), object("t", 99));
        std::fs::write(&path, checked(&known)).unwrap();
        assert_eq!(read_copy(dir.path()).unwrap(), Some(known.clone()));
        // The next process writes everything first.
        let mut next = Writer::new(dir.path().to_owned());
        known.assignments.remove("t7");
        next.write(Arc::new(known.clone())).unwrap();
        assert!(!changes.exists());
        assert_eq!(read_copy(dir.path()).unwrap(), Some(known));
    }
}
