//! Losses of power while retention takes segments: the names that have changed since the folder was last synced are on
//! the device in any combination.

#![cfg(feature = "simulated")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{Fixture, NOW, batch, headers, hint, read_all};
use ottla_log::disk::DiskChange;
use ottla_log::disk::simulated::stand_in_below;
use ottla_log::{Log, LogConfig, RecoveryHint};
use parking_lot::Mutex;

/// A file, and the names that it has had since the folder was last synced. `None`: it was not there yet, or is gone.
#[derive(Clone, Default)]
struct Inode {
    names: Vec<Option<String>>,
    bytes: Vec<u8>,
}

/// Hears of every change in a folder, and remembers before each what was in it.
#[derive(Default)]
struct Device {
    inodes: Vec<Inode>,
    crashes: Vec<Vec<Inode>>,
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl Device {
    fn of(dir: &Path) -> Device {
        let mut device = Device::default();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            device.inodes.push(Inode { names: vec![Some(name_of(&path))], bytes: vec![] });
        }
        device
    }

    fn named(&mut self, name: &str) -> Option<&mut Inode> {
        self.inodes.iter_mut().find(|inode| inode.names.last().is_some_and(|last| last.as_deref() == Some(name)))
    }

    /// The power may go now.
    fn remember(&mut self, dir: &Path) {
        for inode in &mut self.inodes {
            if let Some(name) = inode.names.last().unwrap() {
                inode.bytes = fs::read(dir.join(name)).unwrap_or_default();
            }
        }
        self.crashes.push(self.inodes.clone());
    }

    fn hear(&mut self, dir: &Path, change: DiskChange<'_>) {
        self.remember(dir);
        match change {
            DiskChange::Create(path) => {
                let name = name_of(path);
                if self.named(&name).is_none() {
                    self.inodes.push(Inode { names: vec![None, Some(name)], bytes: vec![] });
                }
            }
            DiskChange::Rename(from, to) => {
                let (from, to) = (name_of(from), name_of(to));
                if let Some(replaced) = self.named(&to) {
                    replaced.names.push(None);
                }
                self.named(&from).into_iter().for_each(|inode| inode.names.push(Some(to.clone())));
            }
            DiskChange::Remove(path) => {
                self.named(&name_of(path)).into_iter().for_each(|inode| inode.names.push(None));
            }
            DiskChange::SyncDir(_) => {
                self.inodes.iter_mut().for_each(|inode| _ = inode.names.drain(..inode.names.len() - 1));
                self.inodes.retain(|inode| inode.names != [None]);
            }
            DiskChange::Open(_)
            | DiskChange::Write(_)
            | DiskChange::Truncate(..)
            | DiskChange::Sync(_)
            | DiskChange::CreateDir(_) => {}
        }
    }
}

/// Files and what is in them.
type Files = BTreeMap<String, Vec<u8>>;

/// What the device may hold after the crash: each segment under any of its names. Other files as they are.
fn outcomes(inodes: &[Inode]) -> Vec<Files> {
    let mut outcomes = vec![Files::new()];
    for inode in inodes {
        let is_log = inode.names.iter().flatten().any(|name| name.contains(".log"));
        let names = if is_log { &inode.names[..] } else { &inode.names[inode.names.len() - 1..] };
        outcomes = outcomes
            .iter()
            .flat_map(|outcome| {
                names.iter().map(|name| {
                    let mut outcome = outcome.clone();
                    name.iter().for_each(|name| _ = outcome.insert(name.clone(), inode.bytes.clone()));
                    outcome
                })
            })
            .collect();
    }
    outcomes
}

/// Everything that the folder may hold when the power goes at any moment of `act`, or right after it. `act` may call
/// what it is given: then only from there on.
fn play<T>(dir: &Path, act: impl FnOnce(&dyn Fn()) -> T) -> (T, BTreeSet<Files>) {
    let device = Arc::new(Mutex::new(Device::of(dir)));
    let (heard, folder) = (device.clone(), dir.to_owned());
    let disk = stand_in_below(dir, move |change| {
        heard.lock().hear(&folder, change);
        Ok(())
    });
    let done = act(&|| device.lock().crashes.clear());
    drop(disk);
    let mut device = device.lock();
    device.remember(dir);
    (done, device.crashes.iter().flat_map(|inodes| outcomes(inodes)).collect())
}

fn open(root: &tempfile::TempDir, hint: RecoveryHint) -> Log {
    Log::open(&root.path().join("t-0"), config(), hint, &ottla_log::Files::new(4, 1 << 20), NOW).unwrap().0
}

fn folder_with(files: &Files) -> tempfile::TempDir {
    // In memory, where a sync costs nothing, for there are thousands of folders.
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    fs::create_dir(root.path().join("t-0")).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(root.path().join("t-0").join(name), bytes).unwrap());
    root
}

fn config() -> LogConfig {
    LogConfig { retention_ms: None, retention_bytes: None, ..LogConfig::default() }
}

const SEGMENTS: i64 = 4;

/// Four segments of one batch with ten records each, the last of them active, and all on the device.
fn four_segments() -> Fixture {
    let mut fixture = Fixture::new(config());
    for segment in 0..SEGMENTS {
        fixture.log.roll(NOW).unwrap();
        fixture.append(&batch(segment * 10, 10, 100));
    }
    fixture.log.flush().unwrap();
    fixture
}

fn take_up_to(log: &mut Log, offset: i64) -> ottla_log::retention::Retired {
    log.advance_log_start(offset);
    log.apply_retention(log.log_end(), NOW).unwrap()
}

/// No record is missing between where the log begins and where it ends, and nothing went that was to stay.
fn check(log: &Log, latest_start: i64, what: &str) {
    let start = log.log_start();
    assert_eq!((start % 10, log.log_end()), (0, SEGMENTS * 10), "{what}");
    assert!(start <= latest_start, "{what}: {start}");
    let found: Vec<i64> = headers(read_all(log, start)).iter().map(|batch| batch.base_offset).collect();
    assert_eq!(found, (start / 10..SEGMENTS).map(|segment| segment * 10).collect::<Vec<_>>(), "{what}");
}

/// What is called so, what it does, and where the log begins then.
type Act = (&'static str, fn(&mut Log), i64);

/// The checkpoint of log starts says 0, for the disk was full.
#[test]
fn a_loss_of_power_during_retention_leaves_no_hole() {
    let acts: [Act; 4] = [
        ("two segments", |log| take_up_to(log, 20).unlink().unwrap(), 20),
        (
            "two rounds, and the first is unlinked when the second has begun",
            |log| {
                let (first, second) = (take_up_to(log, 10), take_up_to(log, 30));
                first.unlink().unwrap();
                second.unlink().unwrap();
            },
            30,
        ),
        (
            "one round after the other",
            |log| {
                take_up_to(log, 20).unlink().unwrap();
                take_up_to(log, 30).unlink().unwrap();
            },
            30,
        ),
        ("all of them, the active one too", |log| take_up_to(log, 40).unlink().unwrap(), 40),
    ];
    for (name, act, latest_start) in acts {
        let mut fixture = four_segments();
        let hint = hint(false, fixture.log.recovery_point());
        let dir = fixture.dir();
        let ((), crashes) = play(&dir, |_| act(&mut fixture.log));
        assert!(crashes.len() > 10, "{name}: {}", crashes.len());
        let mut seen = BTreeSet::new();
        for crash in crashes.iter().filter(|crash| seen.insert(logs(crash))) {
            let (root, what) = (folder_with(crash), format!("{name}: {}", names(crash)));
            let (log, again) = play(&root.path().join("t-0"), |_| open(&root, hint));
            check(&log, latest_start, &what);
            for crash in &again {
                check(&open(&folder_with(crash), hint), latest_start, &format!("{what}, then {}", names(crash)));
            }
        }
    }
}

/// A follower's log starts again where it had been before.
#[test]
fn what_retention_took_before_a_log_started_again_takes_nothing_after() {
    let mut fixture = four_segments();
    let dir = fixture.dir();
    let (recovery_point, crashes) = play(&dir, |from_now_on| {
        let retired = take_up_to(&mut fixture.log, 30);
        fixture.log.truncate_fully_and_start_at(5, NOW).unwrap();
        fixture.append(&batch(5, 10, 100));
        fixture.log.flush().unwrap();
        from_now_on();
        retired.unlink().unwrap();
        fixture.log.recovery_point()
    });
    assert_eq!(recovery_point, 15);
    for crash in &crashes {
        let log = open(&folder_with(crash), hint(false, recovery_point));
        assert_eq!((log.log_start(), log.log_end()), (5, 15), "{}", names(crash));
    }
}

#[test]
fn a_segment_that_the_disk_does_not_rename_stays_in_the_log() {
    let mut fixture = four_segments();
    for refused in ["00000000000000000010.log", "00000000000000000010.timeindex", "00000000000000000010.index"] {
        let disk = stand_in_below(&fixture.dir(), move |change| match change {
            DiskChange::Rename(from, _) if name_of(from) == refused => Err(std::io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        });
        fixture.log.advance_log_start(30);
        let first = fixture.log.apply_retention(SEGMENTS * 10, NOW);
        assert_eq!(first.map_or(0, |retired| retired.segments), usize::from(refused.ends_with(".log")));
        fixture.log.apply_retention(SEGMENTS * 10, NOW).unwrap_err();
        drop(disk);
        let there: Vec<String> =
            names_in(&fixture).into_iter().filter(|name| name.starts_with("00000000000000000010")).collect();
        assert_eq!(there.iter().filter(|name| name.ends_with(".deleted")).count(), 0, "{there:?}");
    }
    let retired = take_up_to(&mut fixture.log, 30);
    assert_eq!((retired.segments, fixture.log.log_start()), (2, 30));
    retired.unlink().unwrap();
    assert!(names_in(&fixture).iter().all(|name| !name.contains("10.")));
}

#[test]
fn nothing_is_unlinked_when_the_folder_can_not_be_synced_and_a_folder_that_is_gone_is_no_fault() {
    let mut fixture = four_segments();
    let retired = take_up_to(&mut fixture.log, 30);
    let disk = stand_in_below(&fixture.dir(), |change| match change {
        DiskChange::SyncDir(_) => Err(std::io::Error::other("EIO")),
        _ => Ok(()),
    });
    let before = names_in(&fixture);
    retired.unlink().unwrap_err();
    assert_eq!(names_in(&fixture), before);
    drop(disk);
    let retired = take_up_to(&mut fixture.log, 40);
    fs::remove_dir_all(fixture.dir()).unwrap();
    retired.unlink().unwrap();
}

fn logs(files: &Files) -> BTreeSet<String> {
    files.keys().filter(|name| name.contains(".log")).cloned().collect()
}

fn names(files: &Files) -> String {
    files.keys().cloned().collect::<Vec<_>>().join(" ")
}

fn names_in(fixture: &Fixture) -> BTreeSet<String> {
    fs::read_dir(fixture.dir()).unwrap().map(|entry| name_of(&entry.unwrap().path())).collect()
}
