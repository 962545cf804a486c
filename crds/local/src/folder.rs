//! A folder of YAML files: `<plural>/<namespace>/<name>.yaml`, without the namespace for cluster-wide kinds.
//!
//! What people or the operator declare is on the disk before a write is answered: written beside, synced, renamed.
//! Writes that come together are synced together: their files at the same time, each folder once. Events are not kept.
//! A Lease is kept when anything but its renewal changes, so that heartbeats do not wear the disk, wait for nothing
//! that does, and a broker's incarnation survives. Files may be edited or added while no server runs; one that is wrong
//! stops the start with its name and the field. One process at a time: the folder is locked.
//!
//! What a crash of the server forgets of a Lease is what its last renewals said: the time, and the annotations of
//! [`RENEWED`]. A Lease that shows older ones proves less, and nothing wrong. Brokers that still run say the newer ones
//! with their next renewal, and a holder that stops releases its Lease, which keeps all of it. If a broker ended in the
//! same crash, its Lease no longer distinguishes its data directory from a copy that was made since the broker's start;
//! such a copy must not take the place of the directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::admit;
use crate::kind::{Kind, Kinds};
use crate::object::{Key, metadata, metadata_mut, restore};
use crate::status::Status;
use crate::store::{Edit, ObjectWrite};
use crate::verbs;

/// Versions set aside for one run. The next run starts above them, whatever the clock says.
const VERSIONS_PER_RUN: u64 = 1_000_000_000;
const LOCK: &str = ".lock";
const VERSION: &str = ".version";
/// Begins the names of files that are written beside, until they are renamed.
const UNFINISHED: &str = ".unfinished";
/// Files that are written and synced at the same time. The file system puts syncs that overlap into one commit of its
/// journal; more threads than this gain nothing.
const WRITERS: usize = 16;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("the folder {0} is in use by another process")]
    InUse(PathBuf),
    /// The disk or the file system refuses.
    #[error("failed to {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that is not what its place says.
    #[error("{path}: {why}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it.
        why: String,
    },
}

/// An open folder; nobody else has it while this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

type Loaded = (Folder, Vec<(Key, Value)>, u64);

impl Folder {
    /// Locks the folder, making it if need be, and reads every object in it. The number is the version they have.
    pub(crate) fn open(path: &Path, kinds: &Kinds) -> Result<Loaded, FolderError> {
        fs::create_dir_all(path).map_err(failed("create", path))?;
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(failed("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FolderError::InUse(path.to_owned()),
            TryLockError::Error(source) => FolderError::Io { action: "lock", path: lock_path, source },
        })?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.remove_unfinished()?;
        let version = folder.next_version()?;
        let mut objects = Vec::new();
        for kind in kinds.iter().filter(|kind| is_kept(&kind.stored_resource())) {
            folder.read_kind(kind, &mut objects)?;
        }
        Ok((folder, objects, version))
    }

    fn next_version(&self) -> Result<u64, FolderError> {
        let path = self.path.join(VERSION);
        let version = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| FolderError::Bad {
                path: path.clone(),
                why: format!("expected a number, found {text:?}"),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(FolderError::Io { action: "read", path, source }),
        };
        let next = format!("{}\n", version + VERSIONS_PER_RUN);
        let unfinished = self.path.join(UNFINISHED);
        let written = write_synced(&unfinished, next.as_bytes()).and_then(|()| fs::rename(&unfinished, &path));
        written.and_then(|()| sync_folder(&self.path)).map_err(failed("write", &path))?;
        Ok(version)
    }

    /// Removes what a process that was killed has left half written.
    fn remove_unfinished(&self) -> Result<(), FolderError> {
        for path in entries(&self.path)? {
            if file_name(&path).starts_with(UNFINISHED) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    fn read_kind(&self, kind: &Kind, objects: &mut Vec<(Key, Value)>) -> Result<(), FolderError> {
        let folder = self.path.join(&kind.plural);
        if !kind.namespaced {
            return self.read_objects(kind, "", &folder, objects);
        }
        for path in entries(&folder)? {
            if path.is_dir() {
                self.read_objects(kind, &file_name(&path), &path, objects)?;
            }
        }
        Ok(())
    }

    fn read_objects(
        &self,
        kind: &Kind,
        namespace: &str,
        folder: &Path,
        objects: &mut Vec<(Key, Value)>,
    ) -> Result<(), FolderError> {
        for path in entries(folder)? {
            let Some(name) = file_name(&path).strip_suffix(".yaml").map(str::to_owned) else { continue };
            let text = fs::read(&path).map_err(failed("read", &path))?;
            let key = Key { resource: kind.stored_resource(), namespace: namespace.to_owned(), name };
            let object = read_object(kind, &key, &text).map_err(|why| FolderError::Bad { path: path.clone(), why })?;
            objects.push((key, object));
        }
        Ok(())
    }

    /// Makes changes of different objects survive a crash, each whole or not at all. Blocks. The answer has an outcome
    /// for each of them, in their order.
    pub(crate) fn persist(&self, writes: &[&ObjectWrite]) -> Vec<io::Result<()>> {
        let mut outcomes = self.write_beside(writes);
        let mut folders: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (at, (write, outcome)) in writes.iter().zip(&mut outcomes).enumerate() {
            let path = self.path_of(&write.key);
            if outcome.is_ok() {
                *outcome = self.put_in_place(at, write, &path);
            }
            if let (Ok(()), Some(folder)) = (&outcome, path.parent()) {
                folders.entry(folder.to_owned()).or_default().push(at);
            }
        }
        for (folder, changed) in folders {
            if let Err(error) = sync_folder(&folder) {
                for at in changed {
                    outcomes[at] = Err(io::Error::new(error.kind(), error.to_string()));
                }
            }
        }
        outcomes
    }

    /// Writes each new file beside its place and syncs it, several at a time.
    fn write_beside(&self, writes: &[&ObjectWrite]) -> Vec<io::Result<()>> {
        let write = |(at, write): (usize, &&ObjectWrite)| match &write.edit {
            Edit::Delete(_) => Ok(()),
            Edit::Put(new) => {
                let text = serde_yaml::to_string(&as_written(new)).map_err(io::Error::other)?;
                write_synced(&self.unfinished(at), text.as_bytes())
            }
        };
        let share = writes.len().div_ceil(WRITERS).max(1);
        if writes.len() == share {
            return writes.iter().enumerate().map(write).collect();
        }
        std::thread::scope(|scope| {
            let spawned: Vec<_> = (0..writes.len())
                .step_by(share)
                .map(|first| {
                    let part = writes.iter().enumerate().skip(first).take(share);
                    let size = part.len();
                    (scope.spawn(|| part.map(write).collect::<Vec<_>>()), size)
                })
                .collect();
            let refused = |size| (0..size).map(|_| Err(io::Error::other("a thread panicked"))).collect();
            spawned.into_iter().flat_map(|(thread, size)| thread.join().unwrap_or_else(|_| refused(size))).collect()
        })
    }

    /// Gives the new file its name, or takes the deleted one away.
    fn put_in_place(&self, at: usize, write: &ObjectWrite, path: &Path) -> io::Result<()> {
        match &write.edit {
            Edit::Delete(_) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
            Edit::Put(_) => {
                if let Some(folder) = path.parent()
                    && !folder.exists()
                {
                    fs::create_dir_all(folder)?;
                    // The namespace's folder, and the kind's, may both be new.
                    for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.path)) {
                        sync_folder(above)?;
                    }
                }
                fs::rename(self.unfinished(at), path)
            }
        }
    }

    fn unfinished(&self, at: usize) -> PathBuf {
        self.path.join(format!("{UNFINISHED}-{at}"))
    }

    fn path_of(&self, key: &Key) -> PathBuf {
        let plural = key.resource.split('.').next().unwrap_or_default();
        let mut path = self.path.join(plural);
        if !key.namespace.is_empty() {
            path.push(&key.namespace);
        }
        path.join(format!("{}.yaml", key.name))
    }
}

/// Whether a change must be on the disk before anybody sees it.
pub(crate) fn must_survive(write: &ObjectWrite) -> bool {
    if !is_kept(&write.key.resource) {
        return false;
    }
    match (&write.edit, &write.old) {
        (Edit::Put(new), Some(old)) if write.key.resource == LEASES => {
            !only_renewed(as_written(&old.value), &as_written(new))
        }
        (Edit::Put(_) | Edit::Delete(_), _) => true,
    }
}

const LEASES: &str = "leases.coordination.k8s.io";

/// Events are gone with the process; definitions come from it.
fn is_kept(resource: &str) -> bool {
    !matches!(resource, "events" | "customresourcedefinitions.apiextensions.k8s.io")
}

/// An object as its file shows it: without the version, which the next run does not know, and with the record of
/// field owners in one line, which people need not read.
fn as_written(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = metadata_mut(&mut object);
    metadata.remove("resourceVersion");
    if let Some(owners) = metadata.get_mut(OWNERS) {
        *owners = owners.to_string().into();
    }
    object
}

/// The object that a file shows.
fn as_read(mut object: Value) -> Result<Value, String> {
    if let Some(owners) = object.get_mut("metadata").and_then(|metadata| metadata.get_mut(OWNERS))
        && let Value::String(line) = owners
    {
        *owners = serde_json::from_str(line).map_err(|error| format!("metadata.{OWNERS}: {error}"))?;
    }
    Ok(object)
}

const OWNERS: &str = "managedFields";

/// Annotations that each renewal of a Lease changes: the version in which its holder wrote it last, and what a broker's
/// data directory has counted.
const RENEWED: [&str; 2] = ["ottla.io/seen", "ottla.io/ticks"];

/// Whether a Lease changed in nothing but its renewal.
fn only_renewed(mut old: Value, new: &Value) -> bool {
    let changes = [("/spec", &["renewTime"][..]), ("/metadata", &[OWNERS]), ("/metadata/annotations", &RENEWED)];
    for (place, fields) in changes {
        if let (Some(before), Some(now)) =
            (old.pointer_mut(place).filter(|value| value.is_object()), new.pointer(place))
        {
            fields.iter().for_each(|field| restore(before, field, now));
        }
    }
    old == *new
}

fn read_object(kind: &Kind, key: &Key, text: &[u8]) -> Result<Value, String> {
    let mut object = as_read(serde_yaml::from_slice(text).map_err(|error| error.to_string())?)?;
    let text = |status: Status| status.message;
    crate::request::check_shape(&object).map_err(text)?;
    for (field, expected) in [("name", &key.name), ("namespace", &key.namespace)] {
        let stated = metadata(&object, field);
        if stated != expected && !(stated.is_empty() && field == "namespace") {
            return Err(format!("metadata.{field}: {stated:?} does not match the file's place, {expected:?}"));
        }
    }
    if !key.namespace.is_empty() {
        metadata_mut(&mut object).insert("namespace".into(), key.namespace.clone().into());
    }
    let unknown = kind.schema.as_ref().map(|schema| schema.prune(&mut object)).unwrap_or_default();
    if let Some(field) = unknown.first() {
        return Err(format!("{field}: unknown field"));
    }
    // A file that a person wrote has no uid yet; everything else is kept as it was.
    let kept = object.clone();
    admit::create(kind, &mut object, &verbs::birth()).map_err(text)?;
    restore(&mut object, "status", &kept);
    if let Some(Value::Object(stated)) = kept.get("metadata") {
        metadata_mut(&mut object).extend(stated.clone());
    }
    Ok(object)
}

/// What is in a folder, in order; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(failed("read", folder))?,
    };
    let mut entries = Vec::new();
    for entry in read {
        entries.push(entry.map_err(failed("read", folder))?.path());
    }
    entries.sort();
    Ok(entries)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    // For the eyes of this user only: it may be a Secret.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// A rename or removal is there after a crash only when its folder is synced too.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::object::Object;

    fn key(name: &str) -> Key {
        Key { resource: "gadgets.test.ottla.io".into(), namespace: "default".into(), name: name.into() }
    }

    fn put(name: &str) -> ObjectWrite {
        ObjectWrite { key: key(name), old: None, edit: Edit::Put(json!({"metadata": {"name": name}})) }
    }

    #[test]
    fn a_group_is_written_as_a_whole_and_refused_one_by_one() {
        let home = tempfile::tempdir().expect("a folder");
        let (folder, _, _) = Folder::open(home.path(), &Kinds::new(Vec::new()).expect("no kinds")).expect("opens");
        let gadgets = home.path().join("gadgets/default");
        assert!(folder.persist(&[&put("old")])[0].is_ok());
        // No file can replace this one.
        fs::create_dir_all(gadgets.join("name-7.yaml/inside")).expect("made");
        let mut group: Vec<ObjectWrite> = (0..100).map(|number| put(&format!("name-{number}"))).collect();
        let last = Arc::new(Object::new(json!({"metadata": {"name": "old"}}), 1));
        group.push(ObjectWrite { key: key("old"), edit: Edit::Delete(last.value.clone()), old: Some(last) });
        let outcomes = folder.persist(&group.iter().collect::<Vec<_>>());
        let refused: Vec<usize> = outcomes.iter().enumerate().filter(|(_, o)| o.is_err()).map(|(at, _)| at).collect();
        assert_eq!(refused, [7]);
        assert!(!gadgets.join("old.yaml").exists());
        for number in (0..100).filter(|number| *number != 7) {
            let text = fs::read_to_string(gadgets.join(format!("name-{number}.yaml"))).expect("written");
            assert!(text.contains(&format!("name: name-{number}\n")), "{text}");
        }
        drop(folder);
        Folder::open(home.path(), &Kinds::new(Vec::new()).expect("no kinds")).expect("opens");
        let left = fs::read_dir(home.path()).expect("read").filter_map(Result::ok).map(|entry| entry.file_name());
        assert_eq!(left.filter(|name| name.to_string_lossy().starts_with(UNFINISHED)).count(), 0);
    }
}
