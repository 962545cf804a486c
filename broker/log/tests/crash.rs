//! Crashes: the log's folder is copied as it stands, damaged as a crash may damage it, and opened again.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use common::{Fixture, NOW, batch, batch_of, bytes_of, hint, in_transaction, marker, read_all};
use ottla_batch::{Batch, ControlRecordType, HEADER_LEN, Stamped};
use ottla_log::folder::Folder;
use ottla_log::{CompactionConfig, Files, Log, LogConfig, LogError, Opened, RecoveryHint, put_aside_from};

/// Four segments. The recovery point is in the middle of the second; the last has three small batches.
struct Crashed {
    fixture: Fixture,
    batches: Vec<Stamped>,
    recovery_point: i64,
}

const SEGMENT_BYTES: u32 = 3_000;

impl Crashed {
    fn new() -> Crashed {
        let config = LogConfig { segment_bytes: SEGMENT_BYTES, index_interval_bytes: 500, ..LogConfig::default() };
        let mut fixture = Fixture::new(config);
        let mut batches = Vec::new();
        for i in 0..20 {
            if i == 12 {
                fixture.log.flush().unwrap();
            }
            // Two epochs, so that recovery has some to find.
            batches.push(batch_of(i / 10, i64::from(i) * 3, 3, 300));
            fixture.append(&batches[i as usize]);
        }
        fixture.log.roll(NOW).unwrap();
        for i in 20..23 {
            batches.push(batch_of(3, i * 3, 3, 3));
            fixture.append(&batches[i as usize]);
        }
        let recovery_point = fixture.log.recovery_point();
        assert_eq!(recovery_point, 36);
        Crashed { fixture, batches, recovery_point }
    }

    fn segments(&self) -> Vec<PathBuf> {
        files(&self.fixture.dir(), ".log")
    }

    fn last_segment(&self) -> PathBuf {
        self.segments().pop().unwrap()
    }

    fn written(&self, batches: Range<usize>) -> Vec<u8> {
        self.batches[batches].iter().flat_map(bytes_of).collect()
    }

    /// Open a copy of the folder in which `file` holds other bytes.
    fn open_with(&self, file: &Path, bytes: &[u8]) -> Result<(Log, Opened, tempfile::TempDir), LogError> {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(folder(&copy)).unwrap();
        for entry in fs::read_dir(self.fixture.dir()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder(&copy).join(path.file_name().unwrap())).unwrap();
        }
        fs::write(folder(&copy).join(file.file_name().unwrap()), bytes).unwrap();
        self.open_copy(copy, hint(false, self.recovery_point))
    }

    fn open_copy(
        &self,
        copy: tempfile::TempDir,
        hint: RecoveryHint,
    ) -> Result<(Log, Opened, tempfile::TempDir), LogError> {
        let files = Files::new(4, 1 << 20);
        let (log, opened) = Log::open(&folder(&copy), self.fixture.config.clone(), hint, &files, NOW)?;
        Ok((log, opened, copy))
    }
}

fn folder(root: &tempfile::TempDir) -> PathBuf {
    root.path().join("t-0")
}

/// The bytes of the segments that were quarantined, by the names of their files.
fn put_aside(opened: &Opened) -> Vec<(PathBuf, Vec<u8>)> {
    let logs = opened.aside.iter().flat_map(|aside| files(aside, ".log"));
    logs.map(|log| (PathBuf::from(log.file_name().unwrap()), fs::read(log).unwrap())).collect()
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with(extension));
    paths.sort();
    paths
}

#[test]
fn a_killed_process_loses_nothing() {
    let crashed = Crashed::new();
    let bytes = fs::read(crashed.last_segment()).unwrap();
    let (log, opened, _dir) = crashed.open_with(&crashed.last_segment(), &bytes).unwrap();
    assert_eq!(read_all(&log, 0), crashed.written(0..23));
    assert_eq!((log.log_end(), opened.cut_bytes, opened.corrupt.len()), (69, 0, 0));
    assert_eq!(log.epochs(), crashed.fixture.log.epochs());
    assert_eq!(log.recovery_point(), crashed.recovery_point);
}

#[test]
fn wherever_the_tail_is_torn_the_whole_batches_before_it_stay() {
    let crashed = Crashed::new();
    let segment = crashed.last_segment();
    let whole = fs::read(&segment).unwrap();
    let batch_len = whole.len() / 3;
    for cut in 0..=whole.len() {
        let (mut log, opened, _dir) = crashed.open_with(&segment, &whole[..cut]).unwrap();
        let left = 20 + cut / batch_len;
        assert_eq!(log.log_end(), left as i64 * 3, "cut at {cut}");
        assert_eq!(opened.cut_bytes as usize, cut % batch_len, "cut at {cut}");
        assert_eq!(read_all(&log, 0), crashed.written(0..left), "cut at {cut}");
        if cut % batch_len == 0 {
            log.append(&[batch_of(4, log.log_end(), 1, 10)], NOW).unwrap();
            assert_eq!(log.epochs().end_offset_for(4, log.log_end()), Some((4, left as i64 * 3 + 1)));
        }
    }
}

#[test]
fn a_tail_of_zeros_is_torn_too() {
    // A file system may give a file its new length before its data.
    let crashed = Crashed::new();
    let segment = crashed.last_segment();
    let whole = fs::read(&segment).unwrap();
    let batch_len = whole.len() / 3;
    for from in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[from..].fill(0);
        bytes.extend([0; 4096]);
        let (log, _, _dir) = crashed.open_with(&segment, &bytes).unwrap();
        // Records of zeros exist, so a batch may survive that ended with them.
        let least = 20 + from / batch_len;
        let end = log.log_end() as usize / 3;
        assert!((least..=least + 1).contains(&end), "zeros from {from}");
        assert_eq!(read_all(&log, 0), crashed.written(0..end), "zeros from {from}");
    }
}

#[test]
fn a_changed_byte_ends_the_log_before_its_batch() {
    let crashed = Crashed::new();
    let segment = crashed.last_segment();
    let whole = fs::read(&segment).unwrap();
    let batch_len = whole.len() / 3;
    for position in 0..whole.len() {
        // Neither the base offset nor the leader epoch is in the checksum: Kafka's format can't show damage to them.
        if matches!(position % batch_len, 0..8 | 12..16) {
            continue;
        }
        let mut bytes = whole.clone();
        bytes[position] ^= 0x41;
        let (log, opened, _dir) = crashed.open_with(&segment, &bytes).unwrap();
        let left = 20 + position / batch_len;
        assert_eq!(read_all(&log, 0), crashed.written(0..left), "byte {position}");
        assert_eq!(opened.cut_bytes as usize, whole.len() - position / batch_len * batch_len, "byte {position}");
    }
}

#[test]
fn behind_a_torn_segment_the_later_ones_are_put_aside() {
    let crashed = Crashed::new();
    let second = &crashed.segments()[1];
    let whole = fs::read(second).unwrap();
    let (log, opened, dir) = crashed.open_with(second, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(log.log_end(), 13 * 3, "the second segment holds the batches 7 to 13");
    assert_eq!(files(&folder(&dir), ".log").len(), 2);
    assert!(opened.cut_bytes > 0);
    assert_eq!(read_all(&log, 0), crashed.written(0..13));
    let aside = opened.aside.as_ref().unwrap();
    let name = aside.file_name().unwrap().to_str().unwrap();
    assert_eq!((aside.parent(), Folder::parse(name)), (Some(dir.path()), Some(Folder::Stray)));
    let later = &crashed.segments()[2..];
    let later: Vec<_> = later.iter().map(|log| (log.file_name().unwrap().into(), fs::read(log).unwrap())).collect();
    assert_eq!(put_aside(&opened), later);

    // The log continues, and is cut at the same place again.
    drop(log);
    for segment in &crashed.segments()[2..] {
        fs::copy(segment, folder(&dir).join(segment.file_name().unwrap())).unwrap();
    }
    let (log, again, _dir) = crashed.open_copy(dir, hint(false, crashed.recovery_point)).unwrap();
    assert_eq!((log.log_end(), put_aside(&again)), (13 * 3, later));
    assert_ne!(again.aside, opened.aside);
}

#[test]
fn behind_a_segment_that_lost_its_last_batches_the_later_ones_are_put_aside() {
    let mut crashed = Crashed::new();
    let segments = crashed.segments();
    let third = fs::read(&segments[2]).unwrap();
    let batch_len = bytes_of(&crashed.batches[0]).len();
    for kept in 0..third.len() / batch_len {
        // A compacted log has lawful holes, but not there.
        for compaction in [None, Some(CompactionConfig::default())] {
            crashed.fixture.config.compaction = compaction;
            let (log, opened, _dir) = crashed.open_with(&segments[2], &third[..kept * batch_len]).unwrap();
            let left = crashed.written(0..23).len() - third.len() - fs::read(&segments[3]).unwrap().len();
            let before = left / batch_len;
            assert_eq!(log.log_end(), (before + kept) as i64 * 3, "{kept} batches of the third segment are left");
            assert_eq!(read_all(&log, 0), crashed.written(0..before + kept));
            let last = (PathBuf::from(segments[3].file_name().unwrap()), fs::read(&segments[3]).unwrap());
            assert_eq!((opened.cut_bytes, put_aside(&opened)), (0, vec![last]));
        }
    }
}

#[test]
fn gaps_that_a_follower_copied_are_no_lost_ends() {
    let wide = i64::from(i32::MAX) + 2;
    for gap in [1, 5, wide - 2, wide - 1, wide, 3 * wide] {
        let config = LogConfig { segment_bytes: 1_000, index_interval_bytes: 300, ..LogConfig::default() };
        let mut fixture = Fixture::new(config);
        let batches: Vec<Stamped> = (0..20).map(|i| batch(i * (gap + 2), 2, 300)).collect();
        batches.iter().for_each(|batch| fixture.append(batch));
        let written: Vec<u8> = batches.iter().flat_map(bytes_of).collect();
        let opened = fixture.reopen(RecoveryHint::default());
        assert_eq!((opened.cut_bytes, opened.aside), (0, None), "{gap}");
        assert_eq!(read_all(&fixture.log, 0), written, "{gap}");
    }
}

/// Nothing would show there that the end of the segment is lost.
#[cfg(feature = "simulated")]
#[test]
fn what_lies_before_a_wide_gap_is_on_the_device_before_the_next_segment_is_there() {
    use std::sync::mpsc;

    use ottla_log::disk::{DiskChange, simulated::stand_in_below};

    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&batch(0, 1, 100));
    let first = fixture.dir().join("00000000000000000000.log");
    let (hears, heard) = mpsc::channel();
    let disk = stand_in_below(fixture.root.path(), move |change| {
        let change = match change {
            DiskChange::Sync(path) if path == first => Some("sync"),
            DiskChange::Create(path) if path.extension().is_some_and(|extension| extension == "log") => Some("create"),
            _ => None,
        };
        change.map_or(Ok(()), |change| hears.send(change).map_err(std::io::Error::other))
    });
    fixture.append(&batch(i64::from(u32::MAX), 1, 100));
    drop(disk);
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["sync", "create"]);
}

#[test]
fn what_compaction_has_removed_is_no_lost_end() {
    let compaction = CompactionConfig { min_dirty_ratio: 0.0, ..CompactionConfig::default() };
    let mut fixture =
        Fixture::new(LogConfig { segment_bytes: 300, compaction: Some(compaction), ..LogConfig::default() });
    for offset in 0..30 {
        fixture.append(&in_transaction(7, 0, offset, offset.into()));
    }
    fixture.append(&marker(7, 0, ControlRecordType::Commit, 30));
    fixture.log.roll(NOW).unwrap();
    let mut compaction = fixture.log.start_compaction(31).unwrap();
    compaction.dirty_ratio(NOW).unwrap().unwrap();
    let outcome = compaction.run(NOW, |cleaned| Ok(fixture.log.swap_in(cleaned)?.is_some())).unwrap();
    assert!(outcome.completed && outcome.removed_bytes > 1_000);
    let left = read_all(&fixture.log, 0);
    let opened = fixture.reopen(RecoveryHint::default());
    assert_eq!((opened.cut_bytes, opened.aside), (0, None));
    assert_eq!((fixture.log.log_end(), read_all(&fixture.log, 0)), (31, left));
}

#[test]
fn without_a_crash_of_the_machine_only_what_was_written_last_is_torn() {
    let crashed = Crashed::new();
    let open = |file: &Path, bytes: &[u8]| {
        let hint = RecoveryHint { intact: true, ..hint(false, crashed.recovery_point) };
        let (_, _, copy) = crashed.open_with(file, bytes).unwrap();
        for path in crashed.segments() {
            fs::copy(&path, folder(&copy).join(path.file_name().unwrap())).unwrap();
        }
        fs::write(folder(&copy).join(file.file_name().unwrap()), bytes).unwrap();
        crashed.open_copy(copy, hint).unwrap()
    };
    let last = crashed.last_segment();
    let whole = fs::read(&last).unwrap();
    let (log, opened, _dir) = open(&last, &whole[..whole.len() - 1]);
    assert_eq!((log.log_end(), opened.corrupt.len()), (22 * 3, 0), "the last append is torn");

    let mut rotten = whole.clone();
    rotten[whole.len() / 2] ^= 0x41;
    let (log, opened, _dir) = open(&last, &rotten);
    assert_eq!((log.log_end(), opened.cut_bytes, opened.corrupt.len()), (23 * 3, 0, 1), "a whole batch follows");

    let second = &crashed.segments()[1];
    let mut rotten = fs::read(second).unwrap();
    // In the last batch, above the recovery point.
    let end = rotten.len();
    rotten[end - 1] ^= 0x41;
    let (log, opened, _dir) = open(second, &rotten);
    assert_eq!((log.log_end(), opened.cut_bytes, opened.corrupt.len()), (23 * 3, 0, 1), "a segment follows");
}

#[test]
fn a_scrub_finds_what_is_damaged_and_the_same_batch_mends_it_and_no_other() {
    let crashed = Crashed::new();
    let first = &crashed.segments()[0];
    let whole = fs::read(first).unwrap();
    let batch_len = bytes_of(&crashed.batches[1]).len();
    let mut rotten = whole.clone();
    // In the second batch, behind its header.
    rotten[bytes_of(&crashed.batches[0]).len() + HEADER_LEN + 8] ^= 0x41;
    let (log, opened, dir) = crashed.open_with(first, &rotten).unwrap();
    assert!(opened.corrupt.is_empty(), "what was flushed is not read at a start");

    let damaged = |log: &Log| {
        let (mut from, mut damaged) = (0, Vec::new());
        while let Some(mut scrub) = log.scrub(from) {
            while !scrub.is_done() {
                damaged.append(&mut scrub.read_on(500).unwrap());
            }
            from = scrub.end();
        }
        damaged
    };
    let found = damaged(&log);
    assert_eq!(found.iter().map(|d| (d.offset(), d.size())).collect::<Vec<_>>(), [(3, batch_len as u64)]);
    let batch = |i: usize| Batch::parse(&bytes_of(&crashed.batches[i]).into()).unwrap();
    assert!(!log.mend(&found[0], &batch(2)).unwrap(), "another batch");
    assert!(log.mend(&found[0], &batch(1)).unwrap());
    assert_eq!(fs::read(folder(&dir).join(first.file_name().unwrap())).unwrap(), whole);
    assert!(damaged(&log).is_empty());
}

#[test]
fn damage_below_the_recovery_point_is_reported_and_never_cut() {
    let crashed = Crashed::new();
    let [first, second, ..] = &crashed.segments()[..] else { panic!("too few segments") };
    let whole = fs::read(first).unwrap();
    let flipped = |whole: &[u8], position: usize| {
        let mut bytes = whole.to_vec();
        bytes[position] ^= 0x41;
        bytes
    };
    // The first segment is not read at all: it lies below the recovery point.
    let (log, opened, dir) = crashed.open_with(first, &flipped(&whole, 500)).unwrap();
    assert_eq!((log.log_end(), opened.cut_bytes, opened.corrupt.len()), (69, 0, 0));
    assert_eq!(fs::read(folder(&dir).join(first.file_name().unwrap())).unwrap().len(), whole.len());

    // The second holds the recovery point. Without its index all of it is read.
    let whole = fs::read(second).unwrap();
    fs::remove_file(second.with_extension("index")).unwrap();
    let (log, opened, dir) = crashed.open_with(second, &flipped(&whole, 100)).unwrap();
    assert_eq!((log.log_end(), opened.cut_bytes), (69, 0));
    assert!(matches!(&opened.corrupt[..], [LogError::Corrupt { position: 0, .. }]), "{:?}", opened.corrupt);
    assert_eq!(fs::read(folder(&dir).join(second.file_name().unwrap())).unwrap(), flipped(&whole, 100));
}

#[test]
fn a_last_segment_that_is_garbage_below_the_recovery_point_does_not_open() {
    let mut crashed = Crashed::new();
    crashed.fixture.log.flush().unwrap();
    crashed.recovery_point = crashed.fixture.log.recovery_point();
    let segment = crashed.last_segment();
    let error = crashed.open_with(&segment, &[0x41; 200]).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { position: 0, .. }), "{error}");
}

#[test]
fn a_log_opens_without_the_segments_from_the_damaged_one_on_and_they_are_kept() {
    let mut crashed = Crashed::new();
    crashed.fixture.log.flush().unwrap();
    let recovery_point = crashed.fixture.log.recovery_point();
    for left in (0..4).rev() {
        let kept: Vec<Vec<u8>> = crashed.segments()[..left].iter().map(|log| fs::read(log).unwrap()).collect();
        let aside = put_aside_from(&crashed.segments()[left]).unwrap().unwrap();
        assert_eq!(files(&aside, ".log").len(), 1);
        crashed.fixture.reopen_after_crash(recovery_point);
        assert_eq!(read_all(&crashed.fixture.log, 0), kept.concat(), "{left} segments are left");
    }
    crashed.fixture.append(&crashed.batches[0]);
    assert_eq!(crashed.fixture.log.log_end(), 3, "it continues from its beginning");
}

#[test]
fn indexes_that_are_missing_or_damaged_are_rebuilt() {
    for extension in [".index", ".timeindex"] {
        for damage in [None, Some(&b"1234567"[..]), Some(&[0xFF; 24]), Some(&[0; 48])] {
            let mut crashed = Crashed::new();
            // Those of sealed segments reach their files at once, but nobody may have looked at them yet.
            let paths = files(&crashed.fixture.dir(), extension);
            let right: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
            for path in &paths {
                match damage {
                    None => fs::remove_file(path).unwrap(),
                    Some(bytes) => fs::write(path, bytes).unwrap(),
                }
            }
            crashed.fixture.reopen_after_crash(crashed.recovery_point);
            let log = &crashed.fixture.log;
            for (i, batch) in crashed.batches.iter().enumerate() {
                let rest = read_all(log, batch.header().last_offset());
                assert_eq!(rest, crashed.written(i..23), "{extension} {damage:?}");
            }
            let rebuilt: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
            assert_eq!(rebuilt[..2], right[..2], "{extension} {damage:?}");
        }
    }
}

#[test]
fn leader_epochs_are_found_again_without_their_checkpoint() {
    let crashed = Crashed::new();
    let checkpoint = crashed.fixture.dir().join("leader-epoch-checkpoint");
    let written = fs::read(&checkpoint).unwrap();
    for damaged in [&b""[..], b"0\n", b"garbage", &written[..written.len() - 4]] {
        let (log, _, dir) = crashed.open_with(&checkpoint, damaged).unwrap();
        assert_eq!(log.epochs(), crashed.fixture.log.epochs());
        assert_eq!(fs::read(folder(&dir).join("leader-epoch-checkpoint")).unwrap(), written);
    }
}

/// The cut and what came after it were not on the device yet, but the file of epochs was: a leader must learn what is
/// in the log.
#[test]
fn a_tail_that_a_loss_of_power_brings_back_is_of_its_own_epoch() {
    let mut fixture = Fixture::new(LogConfig::default());
    for offset in 0..3 {
        fixture.append(&batch_of(0, offset, 1, 10));
    }
    let segments = files(&fixture.dir(), ".log");
    let on_device = fs::read(&segments[0]).unwrap();
    fixture.log.truncate_to(1, NOW).unwrap();
    fixture.append(&batch_of(1, 1, 1, 10));
    let recovery_point = fixture.log.recovery_point();
    for segment in files(&fixture.dir(), ".log") {
        fs::remove_file(segment).unwrap();
    }
    fs::write(&segments[0], on_device).unwrap();
    fixture.reopen_after_crash(recovery_point);
    assert_eq!(fixture.log.log_end(), 3);
    assert_eq!(fixture.log.epochs().epoch_at(2), Some(0));
    fixture.append(&batch_of(2, 3, 1, 10));
    assert_eq!(fixture.log.epochs().end_offset_for(1, 4), Some((0, 3)));
}

/// The same where what came after it is there, too.
#[test]
fn a_tail_that_a_loss_of_power_brings_back_does_not_hide_what_followed_the_cut() {
    let mut fixture = Fixture::new(LogConfig::default());
    let old: Vec<Stamped> = (0..3).map(|offset| batch_of(0, offset, 1, 10)).collect();
    old.iter().for_each(|batch| fixture.append(batch));
    let segments = files(&fixture.dir(), ".log");
    let on_device = fs::read(&segments[0]).unwrap();
    fixture.log.truncate_to(1, NOW).unwrap();
    let new = batch_of(1, 1, 1, 10);
    fixture.append(&new);
    for on_device in [&on_device[..], &on_device[..on_device.len() - 7]] {
        fs::write(&segments[0], on_device).unwrap();
        fixture.reopen_after_crash(1);
        assert_eq!(read_all(&fixture.log, 0), [bytes_of(&old[0]), bytes_of(&new)].concat());
        assert_eq!((fixture.log.log_end(), fixture.log.epochs().epoch_at(1)), (2, Some(1)));
    }
}

/// And where whole segments were removed by the cut: they would continue the log just where what followed ends.
#[test]
fn a_segment_that_a_loss_of_power_brings_back_does_not_follow_records_of_a_later_epoch() {
    let mut fixture = Fixture::new(LogConfig::default());
    for offset in 0..4 {
        if offset == 2 {
            fixture.log.roll(NOW).unwrap();
        }
        fixture.append(&batch_of(0, offset, 1, 10));
    }
    let removed = files(&fixture.dir(), ".log").pop().unwrap();
    let on_device = fs::read(&removed).unwrap();
    fixture.log.truncate_to(1, NOW).unwrap();
    let new = batch_of(1, 1, 1, 10);
    fixture.append(&new);
    let whole = [bytes_of(&batch_of(0, 0, 1, 10)), bytes_of(&new)].concat();
    fs::write(&removed, &on_device).unwrap();
    fixture.reopen_after_crash(1);
    assert_eq!((read_all(&fixture.log, 0), fixture.log.log_end()), (whole, 2));
    assert_eq!(fixture.log.epochs().end_offset_for(0, 2), Some((0, 1)));
}
