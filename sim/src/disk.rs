//! A machine's disk: real files, and what of them would be gone with its power.
//!
//! What a machine keeps without a sync is up to chance: a file's bytes beyond its last sync are cut anywhere or read as
//! zeros; a name that came, went or was given to another file since its directory's last sync is as it was before, or
//! as it is. But a file that was renamed has its old name or its new one, or both: file systems do that in one step.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Result;
use ottla_log::disk::{DiskChange, simulated};
use rustix::io::Errno;

use crate::random::Random;

/// The disk of one machine.
#[derive(Clone)]
pub(crate) struct Disk(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    /// Where its files are.
    root: PathBuf,
    /// How many bytes of a file are on the device.
    synced: BTreeMap<PathBuf, u64>,
    /// Names that have changed since their directory was synced, and what the device has there: a file's bytes, or
    /// nothing.
    unsure: BTreeMap<PathBuf, Option<Vec<u8>>>,
    /// Files that were renamed since then, the earliest first: their old names and their new ones.
    renamed: Vec<(PathBuf, PathBuf)>,
    /// What the device has, and not the file, of files that were cut since their last sync: from where on, and the
    /// bytes.
    cut: BTreeMap<PathBuf, (u64, Vec<u8>)>,
    /// How many files a loss of power has made as they were before they were cut.
    cut_undone: u64,
    /// What was not on the device of files whose sync has failed: from where to where. It may be gone, for the kernel
    /// believes that it is there; another sync changes nothing.
    unwritten: BTreeMap<PathBuf, (u64, u64)>,
    trouble: Trouble,
    /// The disk has refused something.
    refused: bool,
}

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// No space is left.
    Full,
    /// The broker's process has too many open files.
    NoFiles,
    /// The next sync fails, once.
    SyncFails,
    /// So many changes until the machine loses its power.
    DiesAfter(u32),
}

/// Lays these disks under this thread's files, until dropped.
pub(crate) struct Installed;

impl Installed {
    pub(crate) fn new(disks: Vec<Disk>) -> Installed {
        simulated::stand_in(Some(Box::new(move |change| {
            let disk = disks.iter().find(|disk| change.path().starts_with(&disk.0.borrow().root));
            disk.map_or(Ok(()), |disk| disk.0.borrow_mut().hear(change))
        })));
        Installed
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        simulated::stand_in(None);
    }
}

impl Disk {
    pub(crate) fn new(root: &Path) -> Disk {
        Disk(Rc::new(RefCell::new(State { root: root.to_owned(), ..State::default() })))
    }

    /// From now on this is wrong with it.
    pub(crate) fn set(&self, trouble: Trouble) {
        self.0.borrow_mut().trouble = trouble;
    }

    pub(crate) fn trouble(&self) -> Trouble {
        self.0.borrow().trouble
    }

    /// Whether it has refused something that was not taken note of.
    pub(crate) fn has_refused(&self) -> bool {
        self.0.borrow().refused
    }

    /// Takes note of that.
    pub(crate) fn take_refused(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().refused)
    }

    /// Time passes: the kernel writes everything back.
    pub(crate) fn write_back(&self) -> Result<()> {
        let mut state = self.0.borrow_mut();
        state.unsure.clear();
        state.renamed.clear();
        state.cut.clear();
        state.synced = lengths(&state.root)?;
        Ok(())
    }

    /// Other files are here now, from another volume.
    pub(crate) fn replaced(&self) -> Result<()> {
        self.set(Trouble::None);
        self.write_back()
    }

    /// Whether the kernel has pages that it could not write.
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.0.borrow().unwritten.is_empty()
    }

    /// The kernel lets those go. How many files are not what they were.
    pub(crate) fn lose_unwritten(&self, random: &mut Random) -> Result<usize> {
        let mut state = self.0.borrow_mut();
        let mut lost = 0;
        for (path, (from, to)) in std::mem::take(&mut state.unwritten) {
            let Ok(file) = fs::OpenOptions::new().write(true).open(&path) else { continue };
            let to = to.min(file.metadata()?.len());
            if to > from && random.happens(700) {
                lost += 1;
                file.write_all_at(&vec![0; (to - from) as usize], from)?;
            }
        }
        Ok(lost)
    }

    /// How many files a loss of power has made as they were before they were cut, since this was asked last.
    pub(crate) fn take_cut_undone(&self) -> u64 {
        std::mem::take(&mut self.0.borrow_mut().cut_undone)
    }

    /// The machine loses its power. How many files are not what they were.
    pub(crate) fn cut_power(&self, random: &mut Random) -> Result<usize> {
        self.set(Trouble::None);
        let mut state = self.0.borrow_mut();
        let mut torn = 0;
        let unsure = std::mem::take(&mut state.unsure);
        let mut undone: BTreeSet<PathBuf> = unsure.keys().rev().filter(|_| !random.happens(500)).cloned().collect();
        for (from, to) in std::mem::take(&mut state.renamed).into_iter().rev() {
            if undone.contains(&to) {
                undone.insert(from);
            }
        }
        for (path, before) in unsure.into_iter().rev().filter(|(path, _)| undone.contains(path)) {
            torn += 1;
            match before {
                Some(bytes) => {
                    state.synced.insert(path.clone(), bytes.len() as u64);
                    fs::write(&path, bytes)?;
                }
                None if path.is_dir() => fs::remove_dir_all(&path)?,
                None if path.exists() => fs::remove_file(&path)?,
                None => {}
            }
        }
        state.unwritten.clear();
        for (path, (from, bytes)) in std::mem::take(&mut state.cut) {
            if path.exists() && random.happens(700) {
                torn += 1;
                let file = fs::OpenOptions::new().write(true).open(&path)?;
                file.write_all_at(&bytes, from)?;
                file.set_len(from + bytes.len() as u64)?;
                state.cut_undone += 1;
                state.synced.insert(path, from + bytes.len() as u64);
            }
        }
        for (path, size) in lengths(&state.root)? {
            let synced = state.synced.get(&path).copied().unwrap_or(0);
            if size > synced {
                torn += 1;
                let left = synced + random.below((size - synced) as usize + 1) as u64;
                let file = fs::OpenOptions::new().write(true).open(&path)?;
                file.set_len(left)?;
                if random.happens(300) {
                    file.set_len(size)?; // the file's length was written, its blocks were not
                }
            }
        }
        state.synced = lengths(&state.root)?;
        Ok(torn)
    }
}

impl State {
    fn hear(&mut self, change: DiskChange<'_>) -> io::Result<()> {
        self.refuse(&change).inspect_err(|_| self.refused = true)?;
        match change {
            DiskChange::Open(_) => {}
            DiskChange::Create(path) => {
                self.name_changes(path);
                self.synced.insert(path.to_owned(), 0);
            }
            DiskChange::Write(_) => {}
            DiskChange::Truncate(path, size) => {
                self.note_cut(path, size)?;
                self.synced.entry(path.to_owned()).and_modify(|synced| *synced = size.min(*synced));
            }
            DiskChange::Sync(path) => {
                let size = fs::metadata(path).map_or(0, |file| file.len());
                self.synced.insert(path.to_owned(), size);
                self.cut.remove(path);
            }
            DiskChange::SyncDir(dir) => {
                self.unsure.retain(|path, _| path.parent() != Some(dir));
                self.renamed.retain(|(_, to)| to.parent() != Some(dir));
            }
            DiskChange::CreateDir(path) => {
                if !path.exists() {
                    self.unsure.insert(path.to_owned(), None);
                }
            }
            DiskChange::Rename(from, to) if from.is_dir() => self.move_dir(from, to),
            DiskChange::Rename(from, to) => {
                self.name_changes(from);
                self.name_changes(to);
                self.renamed.push((from.to_owned(), to.to_owned()));
                let synced = self.synced.remove(from).unwrap_or(0);
                self.synced.insert(to.to_owned(), synced);
                self.cut.remove(to);
                self.cut.remove(from);
            }
            DiskChange::Remove(path) if path.is_dir() => {
                self.synced.retain(|file, _| !file.starts_with(path));
                self.cut.retain(|file, _| !file.starts_with(path));
                self.unsure.retain(|file, _| !file.starts_with(path));
                self.renamed.retain(|(_, file)| !file.starts_with(path));
            }
            DiskChange::Remove(path) => {
                self.name_changes(path);
                self.synced.remove(path);
                self.cut.remove(path);
            }
        }
        Ok(())
    }

    /// The device has what was there before a file was cut, until that is synced.
    fn note_cut(&mut self, path: &Path, size: u64) -> io::Result<()> {
        let synced = self.synced.get(path).copied().unwrap_or(0);
        let (end, mut tail) = self.cut.remove(path).unwrap_or((synced, Vec::new()));
        if size < end {
            let mut bytes = fs::read(path)?.get(size as usize..end as usize).unwrap_or_default().to_vec();
            bytes.append(&mut tail);
            self.cut.insert(path.to_owned(), (size, bytes));
        } else if !tail.is_empty() {
            self.cut.insert(path.to_owned(), (end, tail));
        }
        Ok(())
    }

    fn refuse(&mut self, change: &DiskChange<'_>) -> io::Result<()> {
        match &mut self.trouble {
            Trouble::None => {}
            Trouble::Full => {
                let takes_space = match change {
                    DiskChange::Create(_) | DiskChange::Write(_) => true,
                    DiskChange::CreateDir(path) => !path.exists(),
                    DiskChange::Open(_)
                    | DiskChange::Truncate(..)
                    | DiskChange::Sync(_)
                    | DiskChange::SyncDir(_)
                    | DiskChange::Rename(..)
                    | DiskChange::Remove(_) => false,
                };
                if takes_space {
                    return Err(ErrorKind::StorageFull.into());
                }
            }
            Trouble::NoFiles => {
                if let DiskChange::Open(_) | DiskChange::Create(_) = change {
                    return Err(Errno::MFILE.into());
                }
            }
            Trouble::SyncFails => {
                if let DiskChange::Sync(path) = change {
                    let synced = self.synced.get(*path).copied().unwrap_or(0);
                    let size = fs::metadata(path).map_or(0, |file| file.len());
                    self.unwritten.insert((*path).to_owned(), (synced, size));
                    self.trouble = Trouble::None;
                    return Err(io::Error::other("the device does not write"));
                }
            }
            Trouble::DiesAfter(_) if matches!(change, DiskChange::Open(_)) => {}
            Trouble::DiesAfter(0) => return Err(io::Error::other("there is no power")),
            Trouble::DiesAfter(changes) => *changes -= 1,
        }
        Ok(())
    }

    /// A name is about to come, to go, or to be another file's: what the device has there may still be there after a
    /// crash.
    fn name_changes(&mut self, path: &Path) {
        if self.unsure.contains_key(path) {
            return;
        }
        let synced = self.synced.get(path).copied().unwrap_or(0) as usize;
        let on_device = fs::read(path).ok().map(|mut bytes| {
            bytes.truncate(synced);
            bytes
        });
        self.unsure.insert(path.to_owned(), on_device);
    }

    /// A directory's new name counts as synced: the new owner syncs it before anything else.
    fn move_dir(&mut self, from: &Path, to: &Path) {
        let moved = |path: &Path| path.strip_prefix(from).map_or(path.to_owned(), |inside| to.join(inside));
        self.synced = std::mem::take(&mut self.synced).into_iter().map(|(path, size)| (moved(&path), size)).collect();
        self.unsure = std::mem::take(&mut self.unsure).into_iter().map(|(path, was)| (moved(&path), was)).collect();
        self.unsure.remove(to);
        self.renamed = self.renamed.iter().map(|(from, to)| (moved(from), moved(to))).collect();
        self.cut = std::mem::take(&mut self.cut).into_iter().map(|(path, was)| (moved(&path), was)).collect();
    }
}

/// All files below, with their lengths.
fn lengths(dir: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        if metadata.is_dir() {
            found.extend(lengths(&path)?);
        } else {
            found.insert(path, metadata.len());
        }
    }
    Ok(found)
}
