//! Compaction: what readers of a compacted log find, whatever else is done to it, and whenever it is interrupted.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::{Fixture, NOW, bytes_of, headers, hint, read_all};
use ottla_batch::{BatchBuilder, Batches, Codec, NewRecord, Stamped};
use ottla_log::compaction::{Cleaned, CompactionOutcome};
use ottla_log::retention::Retired;
use ottla_log::{CompactionConfig, Files, Log, LogConfig, ReadBounds, SearchTarget};
use proptest::prelude::*;

const DELETE_RETENTION: i64 = 1_000;
const PLENTY: usize = 1 << 20;
const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd { level: 3 }];

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 2_000,
        index_interval_bytes: 200,
        retention_ms: None,
        compaction: Some(CompactionConfig {
            min_dirty_ratio: 0.0,
            delete_retention_ms: DELETE_RETENTION,
            ..CompactionConfig::default()
        }),
        ..LogConfig::default()
    }
}

/// Key and value.
type Keyed = (u8, Option<Vec<u8>>);

/// Records whose timestamp is their offset after [`NOW`].
fn keyed(builder: BatchBuilder, base_offset: i64, records: &[Keyed]) -> Stamped {
    let mut builder = builder;
    for (i, (key, value)) in records.iter().enumerate() {
        let timestamp = NOW + base_offset + i as i64;
        builder.push(NewRecord { timestamp, key: Some(&[*key]), value: value.as_deref(), headers: &[] });
    }
    builder.build().stamp(base_offset, 0, None)
}

fn value(len: usize) -> Option<Vec<u8>> {
    Some((0..len).map(|i| (i * 7 % 251) as u8).collect())
}

/// One round, if it is time for one.
fn compact_at(log: &mut Log, memory: usize, now_ms: i64) -> Option<(CompactionOutcome, Vec<Retired>)> {
    let mut compaction = log.start_compaction(log.log_end())?;
    compaction.dirty_ratio(now_ms).unwrap()?;
    let mut retired = Vec::new();
    let outcome = compaction.run_within(memory, now_ms, |cleaned| {
        retired.extend(log.swap_in(cleaned)?);
        Ok(true)
    });
    Some((outcome.unwrap(), retired))
}

fn compact(log: &mut Log) -> CompactionOutcome {
    compact_at(log, PLENTY, NOW).expect("there is something dirty").0
}

/// Offset, timestamp, key and value of everything in the log.
fn records(log: &Log) -> Vec<(i64, i64, Keyed)> {
    let mut records = Vec::new();
    for batch in Batches::new(read_all(log, log.log_start()).into()).map(Result::unwrap) {
        for record in batch.records(1 << 20).unwrap().map(Result::unwrap) {
            let keyed = (record.key().unwrap()[0], record.value().map(<[u8]>::to_vec));
            records.push((batch.header().base_offset + i64::from(record.offset_delta), record.timestamp, keyed));
        }
    }
    records
}

fn offsets(log: &Log) -> Vec<i64> {
    records(log).iter().map(|(offset, ..)| *offset).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Four segments of one batch each, with the keys 1, 2, 1, 3; then an empty active one.
fn four_segments() -> Fixture {
    let mut fixture = Fixture::new(LogConfig { segment_bytes: 20_000, ..config() });
    for (offset, key) in [1, 2, 1, 3].into_iter().enumerate() {
        fixture.append(&keyed(BatchBuilder::new(Codec::None), offset as i64, &[(key, value(100))]));
        fixture.log.roll(NOW).unwrap();
    }
    fixture
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: Vec<(u8, Option<usize>)>,
        codec: usize,
        producer: Option<i64>,
    },
    Roll,
    /// With room for so many keys.
    Compact(usize),
    Wait,
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..12u8, prop_oneof![4 => (0..200usize).prop_map(Some), 1 => Just(None)]);
    let append = (prop::collection::vec(record, 1..6), 0..CODECS.len(), prop::option::of(0..3i64))
        .prop_map(|(records, codec, producer)| Step::Append { records, codec, producer });
    prop_oneof![
        20 => append,
        2 => Just(Step::Roll),
        3 => prop_oneof![Just(PLENTY), 1..6usize].prop_map(Step::Compact),
        2 => Just(Step::Wait),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

fn run(steps: &[Step]) {
    let mut fixture = Fixture::new(config());
    let mut sent: BTreeMap<i64, Keyed> = BTreeMap::new();
    let mut sequences = [0; 3];
    let mut now_ms = NOW;
    let mut tombstones_left: BTreeSet<i64> = BTreeSet::new();
    for step in steps {
        let base_offset = fixture.log.log_end();
        match step {
            Step::Append { records, codec, producer } => {
                let keyed_records: Vec<Keyed> = records.iter().map(|(key, len)| (*key, len.and_then(value))).collect();
                let mut builder = BatchBuilder::new(CODECS[*codec]);
                if let Some(producer) = producer {
                    let sequence = &mut sequences[*producer as usize];
                    builder = builder.producer(*producer, 0, *sequence);
                    *sequence += records.len() as i32;
                }
                fixture.append(&keyed(builder, base_offset, &keyed_records));
                sent.extend((base_offset..).zip(keyed_records));
            }
            Step::Roll => fixture.log.roll(NOW).unwrap(),
            Step::Compact(keys) => {
                let before = fixture.log.first_dirty();
                if let Some((outcome, retired)) = compact_at(&mut fixture.log, keys * 24 * 2, now_ms) {
                    assert!(outcome.completed && fixture.log.first_dirty() > before);
                    retired.into_iter().for_each(|retired| retired.unlink().unwrap());
                }
            }
            Step::Wait => {
                // One that has gone by a later wait was there for long enough at an earlier one.
                tombstones_left.extend(records(&fixture.log).into_iter().filter(|r| r.2.1.is_none()).map(|r| r.0));
                now_ms += DELETE_RETENTION;
            }
            Step::Restart => {
                let first_dirty = fixture.log.first_dirty();
                fixture = fixture.restart();
                fixture.log.set_first_dirty(first_dirty);
            }
            Step::Crash => {
                let (first_dirty, recovery_point) = (fixture.log.first_dirty(), fixture.log.recovery_point());
                let opened = fixture.reopen_after_crash(recovery_point);
                assert_eq!((opened.cut_bytes, opened.corrupt.len()), (0, 0), "{step:?}");
                fixture.log.set_first_dirty(first_dirty);
            }
        }
        check(&fixture.log, &sent, &tombstones_left, step);
        for (id, next) in sequences.iter().enumerate().filter(|(_, next)| **next > 0) {
            let last = fixture.log.producers().get(id as i64).unwrap().batches.back().unwrap().last_sequence;
            assert_eq!(last, next - 1, "{step:?}");
        }
    }
}

fn check(log: &Log, sent: &BTreeMap<i64, Keyed>, tombstones_left: &BTreeSet<i64>, step: &Step) {
    let found = records(log);
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{step:?}");
    for (offset, timestamp, keyed) in &found {
        assert_eq!((Some(keyed), *timestamp), (sent.get(offset), NOW + offset), "{step:?}");
    }
    let last = |records: &mut dyn Iterator<Item = (i64, Keyed)>| -> BTreeMap<u8, (i64, Option<Vec<u8>>)> {
        records.map(|(offset, (key, value))| (key, (offset, value))).collect()
    };
    let last_found = last(&mut found.iter().map(|(offset, _, keyed)| (*offset, keyed.clone())));
    for (key, (offset, value)) in last(&mut sent.iter().map(|(offset, keyed)| (*offset, keyed.clone()))) {
        match last_found.get(&key) {
            Some(found) => assert_eq!(*found, (offset, value), "{step:?}"),
            // Only a tombstone goes, and only when it was there for long enough.
            None => assert!(value.is_none() && tombstones_left.contains(&offset), "{step:?}"),
        }
    }
    let mut clean = BTreeSet::new();
    for (offset, _, (key, _)) in found.iter().filter(|(offset, ..)| *offset < log.first_dirty()) {
        assert!(clean.insert(*key), "{step:?}: key {key} is there twice, last at {offset}");
    }
    for from in [0, log.log_end() / 3, log.log_end() / 2, log.log_end() - 1] {
        let expected = headers(read_all(log, 0)).into_iter().find(|header| header.last_offset() >= from);
        let bounds = ReadBounds { from: from.max(0), up_to: log.log_end(), max_bytes: 1, at_least_one: true };
        let slice = log.read(bounds).unwrap();
        assert_eq!(slice.map(|slice| slice.base_offset), expected.map(|header| header.base_offset), "{step:?}");
        let first = found.iter().find(|(offset, ..)| *offset >= from).map(|(offset, ..)| *offset);
        let searched = log.search(SearchTarget::FirstAt(NOW + from)).run().unwrap();
        assert_eq!(searched.map(|found| found.offset), first, "{step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn readers_find_the_last_value_of_every_key(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}

/// Found by the random steps: the test itself had forgotten the tombstone at the second wait.
#[test]
fn a_tombstone_that_has_gone_stays_gone() {
    let append = |key, len| Step::Append { records: vec![(key, len)], codec: 0, producer: None };
    run(&[
        append(5, None),
        Step::Roll,
        Step::Compact(PLENTY),
        append(0, Some(0)),
        Step::Wait,
        append(0, Some(7)),
        Step::Roll,
        Step::Compact(PLENTY),
        Step::Wait,
    ]);
}

#[test]
fn superseded_records_go_and_small_segments_become_one() {
    let mut fixture = four_segments();
    let size = fixture.log.size();
    let outcome = compact(&mut fixture.log);
    assert_eq!(offsets(&fixture.log), [1, 2, 3]);
    assert_eq!(outcome, CompactionOutcome { removed_bytes: size - fixture.log.size(), completed: true });
    assert_eq!((fixture.log.log_end(), fixture.log.first_dirty()), (4, 4));
    let logs: Vec<String> = names(&fixture.dir()).into_iter().filter(|name| name.ends_with(".log")).collect();
    assert_eq!(logs, ["00000000000000000000.log", "00000000000000000004.log"]);
    assert!(fixture.log.start_compaction(4).is_none(), "nothing is dirty any more");
    let fixture = fixture.restart();
    assert_eq!(offsets(&fixture.log), [1, 2, 3]);
}

#[test]
fn batches_that_lose_nothing_are_copied_byte_for_byte() {
    let mut fixture = Fixture::new(LogConfig { segment_bytes: 20_000, ..config() });
    let mut written = Vec::new();
    for (i, codec) in CODECS.into_iter().enumerate() {
        let offset = i as i64 * 2;
        let batch = keyed(BatchBuilder::new(codec), offset, &[(i as u8 * 2, value(50)), (i as u8 * 2 + 1, value(50))]);
        written.extend(bytes_of(&batch));
        fixture.append(&batch);
    }
    fixture.append(&keyed(BatchBuilder::new(Codec::None), 6, &[(9, value(1)), (9, value(2))]));
    fixture.log.roll(NOW).unwrap();
    compact(&mut fixture.log);
    let read = read_all(&fixture.log, 0);
    assert_eq!(read[..written.len()], written);
    assert_eq!(offsets(&fixture.log), [0, 1, 2, 3, 4, 5, 7]);
}

#[test]
fn what_is_active_or_not_committed_stays() {
    let mut fixture = four_segments();
    fixture.append(&keyed(BatchBuilder::new(Codec::None), 4, &[(1, value(1)), (1, value(2))]));
    assert!(fixture.log.start_compaction(0).is_none());
    let mut compaction = fixture.log.start_compaction(3).unwrap();
    compaction.dirty_ratio(NOW).unwrap().unwrap();
    compaction.run(NOW, |cleaned| Ok(fixture.log.swap_in(cleaned)?.is_some())).unwrap();
    assert_eq!((offsets(&fixture.log), fixture.log.first_dirty()), (vec![1, 2, 3, 4, 5], 3));
    compact(&mut fixture.log);
    assert_eq!((offsets(&fixture.log), fixture.log.first_dirty()), (vec![1, 2, 3, 4, 5], 4));
}

#[test]
fn a_tombstone_goes_after_its_time_and_its_key_does_not_come_back() {
    let mut fixture = Fixture::new(config());
    fixture.append(&keyed(BatchBuilder::new(Codec::None), 0, &[(1, value(9)), (2, value(9)), (1, None)]));
    fixture.log.roll(NOW).unwrap();
    compact(&mut fixture.log);
    assert_eq!(offsets(&fixture.log), [1, 2]);
    let mut dirty_again = |offset, now_ms| {
        fixture.append(&keyed(BatchBuilder::new(Codec::None), offset, &[(3, value(9))]));
        fixture.log.roll(NOW).unwrap();
        compact_at(&mut fixture.log, PLENTY, now_ms).unwrap();
        offsets(&fixture.log)
    };
    assert_eq!(dirty_again(3, NOW + DELETE_RETENTION - 1), [1, 2, 3]);
    assert_eq!(dirty_again(4, NOW + DELETE_RETENTION), [1, 4]);
}

#[test]
fn a_producers_last_batch_leaves_its_sequence_in_the_log() {
    let mut fixture = Fixture::new(config());
    for i in 0..3 {
        let builder = BatchBuilder::new(Codec::Lz4).producer(7, 2, i * 2);
        fixture.append(&keyed(builder, i64::from(i) * 2, &[(1, value(9)), (1, value(9))]));
    }
    fixture.append(&keyed(BatchBuilder::new(Codec::None), 6, &[(1, value(9))]));
    fixture.log.roll(NOW).unwrap();
    compact(&mut fixture.log);
    assert_eq!(offsets(&fixture.log), [6]);
    let left: Vec<(i64, i32)> =
        headers(read_all(&fixture.log, 0)).iter().map(|header| (header.last_offset(), header.records_count)).collect();
    assert_eq!(left, [(5, 0), (6, 1)]);
    for name in names(&fixture.dir()).into_iter().filter(|name| name.ends_with(".snapshot")) {
        fs::remove_file(fixture.dir().join(name)).unwrap();
    }
    fixture.reopen_after_crash(0);
    let producer = fixture.log.producers().get(7).unwrap();
    assert_eq!((producer.epoch, producer.batches.back().unwrap().last_sequence), (2, 5));
}

#[test]
fn little_memory_takes_several_rounds() {
    let mut fixture = Fixture::new(config());
    for offset in 0..60 {
        fixture.append(&keyed(BatchBuilder::new(Codec::None), offset, &[(offset as u8 % 20, value(100))]));
    }
    fixture.log.roll(NOW).unwrap();
    let room_for_six = 24 * 8;
    let mut rounds = Vec::new();
    while compact_at(&mut fixture.log, room_for_six, NOW).is_some() {
        rounds.push(fixture.log.first_dirty());
    }
    assert_eq!(rounds, [6, 12, 18, 24, 30, 36, 42, 48, 54, 60]);
    assert_eq!(offsets(&fixture.log), (40..60).collect::<Vec<i64>>());
}

#[test]
fn readers_of_replaced_segments_go_on() {
    let mut fixture = four_segments();
    let bounds = |from| ReadBounds { from, up_to: 4, max_bytes: 1 << 20, at_least_one: true };
    let before = fixture.log.read(bounds(0)).unwrap().unwrap();
    let bytes = before.read().unwrap();
    let window = fixture.log.window(bounds(2)).unwrap().unwrap();
    let search = fixture.log.search(SearchTarget::FirstAt(NOW + 1));
    let (_, retired) = compact_at(&mut fixture.log, PLENTY, NOW).unwrap();
    assert_eq!(search.run().unwrap().unwrap().offset, 1, "found in the old segments under their new names");
    retired.into_iter().for_each(|retired| retired.unlink().unwrap());
    assert_eq!(before.read().unwrap(), bytes);
    assert_eq!(window.locate().unwrap().unwrap().base_offset, 2);
    assert!(names(&fixture.dir()).iter().all(|name| !name.ends_with(".deleted")));
}

#[test]
fn a_log_that_was_truncated_meanwhile_keeps_its_segments() {
    let mut fixture = four_segments();
    let early = fixture.log.start_compaction(4).unwrap();
    let late = fixture.log.start_compaction(4).unwrap();
    let void = CompactionOutcome { removed_bytes: 0, completed: false };
    let truncate_and_swap = |cleaned: &Cleaned| {
        fixture.log.truncate_to(3, NOW).unwrap();
        Ok(fixture.log.swap_in(cleaned)?.is_some())
    };
    assert_eq!(late.run(NOW, truncate_and_swap).unwrap(), void);
    let before = read_all(&fixture.log, 0);
    assert_eq!(early.run(NOW, |_| panic!("a segment is gone")).unwrap(), void);
    assert_eq!((read_all(&fixture.log, 0), fixture.log.first_dirty()), (before, 0));
    assert!(names(&fixture.dir()).iter().all(|name| !name.contains("cleaned")), "nothing is left over");
}

#[test]
fn compacted_logs_obey_retention_too() {
    let mut fixture = four_segments();
    compact(&mut fixture.log);
    fixture.log.set_config(LogConfig { retention_ms: Some(1_000), ..config() });
    let retired = fixture.log.apply_retention(4, NOW + 900).unwrap();
    assert_eq!(retired.segments, 0);
    let retired = fixture.log.apply_retention(4, NOW + 2_000).unwrap();
    assert_eq!((retired.segments, fixture.log.log_start()), (1, 4));
}

/// What is done to the folder, one after the other, from the moment that the new segment is on the device.
fn exchange(dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let name = |offset: i64, extension: &str| dir.join(format!("{offset:020}.{extension}"));
    let marks = ["index", "timeindex", "log"];
    let mut renames = Vec::new();
    for extension in marks {
        renames.push((name(0, &format!("{extension}.cleaned")), name(0, &format!("{extension}.swap"))));
    }
    for offset in 0..4 {
        for extension in ["index", "timeindex", "snapshot", "log"] {
            if (offset, extension) != (0, "snapshot") {
                renames.push((name(offset, extension), name(offset, &format!("{extension}.deleted"))));
            }
        }
    }
    for extension in marks {
        renames.push((name(0, &format!("{extension}.swap")), name(0, extension)));
    }
    renames
}

fn copy(from: &Path, to: &Path) {
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new() {
    let mut fixture = four_segments();
    fixture.log.flush().unwrap();
    let recovery_point = fixture.log.recovery_point();
    let old = read_all(&fixture.log, 0);
    let ready = tempfile::tempdir().unwrap();
    let mut compaction = fixture.log.start_compaction(4).unwrap();
    compaction.dirty_ratio(NOW).unwrap().unwrap();
    compaction
        .run(NOW, |cleaned| {
            copy(&fixture.root.path().join("t-0"), ready.path());
            Ok(fixture.log.swap_in(cleaned)?.is_some())
        })
        .unwrap();
    let new = read_all(&fixture.log, 0);
    assert_ne!(old, new);
    let steps = exchange(ready.path());
    for done in 0..=steps.len() {
        if let Some((from, to)) = done.checked_sub(1).map(|last| &steps[last]) {
            fs::rename(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        for clean in [true, false] {
            let crashed = tempfile::tempdir().unwrap();
            copy(ready.path(), crashed.path());
            // The second time there must be nothing left to do.
            for _ in 0..2 {
                let files = Files::new(4, 1 << 20);
                let hint = hint(clean, recovery_point);
                let (log, opened) = Log::open(crashed.path(), config(), hint, &files, NOW).unwrap();
                assert_eq!((opened.cut_bytes, opened.corrupt.len(), log.log_end()), (0, 0, 4), "step {done}");
                assert_eq!(read_all(&log, 0), if done < 3 { old.clone() } else { new.clone() }, "step {done}");
                assert_eq!(log.search(SearchTarget::FirstAt(NOW + 3)).run().unwrap().unwrap().offset, 3, "step {done}");
            }
            let left_over = |name: &String| [".cleaned", ".swap", ".deleted"].iter().any(|mark| name.ends_with(mark));
            assert!(!names(crashed.path()).iter().any(left_over), "step {done}");
        }
    }
    assert_eq!(names(ready.path()).iter().filter(|name| name.ends_with(".swap")).count(), 0, "all steps were shown");
}
