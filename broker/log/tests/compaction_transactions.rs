//! Compaction of a log with transactions: what readers with isolation level read_committed find, whatever else is done
//! to it.
//!
//! A failure prints its seed and the shortest steps that show it; add those below as a test with a name.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::{Fixture, NOW, headers, hint, marker, read_all};
use ottla_batch::ControlRecordType::{Abort, Commit};
use ottla_batch::{Batch, BatchBuilder, Batches, Codec, ControlRecordType, NewRecord, Stamped};
use ottla_log::{AbortedTransaction, CompactionConfig, Files, Log, LogConfig, RecoveryHint};
use proptest::prelude::*;

const DELETE_RETENTION: i64 = 1_000;
const PLENTY: usize = 1 << 20;
const PRODUCERS: usize = 3;

fn config() -> LogConfig {
    let compaction =
        CompactionConfig { min_dirty_ratio: 0.0, delete_retention_ms: DELETE_RETENTION, ..CompactionConfig::default() };
    LogConfig {
        segment_bytes: 1_500,
        index_interval_bytes: 200,
        retention_ms: None,
        compaction: Some(compaction),
        ..LogConfig::default()
    }
}

/// Key and value.
type Keyed = (u8, Option<u8>);

fn keyed(builder: BatchBuilder, base_offset: i64, records: &[Keyed]) -> Stamped {
    let mut builder = builder;
    for (key, value) in records {
        let value = value.map(|value| [value; 50]);
        let value = value.as_ref().map(|value| &value[..]);
        builder.push(NewRecord { timestamp: NOW, key: Some(&[*key]), value, headers: &[] });
    }
    builder.build().stamp(base_offset, 0, None)
}

fn in_transaction(producer_id: i64, base_sequence: i32, base_offset: i64, records: &[Keyed]) -> Stamped {
    let builder = BatchBuilder::new(Codec::None).producer(producer_id, 0, base_sequence).transactional();
    keyed(builder, base_offset, records)
}

/// One round up to the last stable offset, with room for so many keys.
fn compact_at(log: &mut Log, keys: usize, now_ms: i64) -> bool {
    log.set_high_watermark(log.log_end());
    let Some(mut compaction) = log.start_compaction(log.last_stable()) else { return false };
    if compaction.dirty_ratio(now_ms).unwrap().is_none() {
        return false;
    }
    let outcome = compaction.run_within(keys * 48, now_ms, |cleaned| {
        let retired = log.swap_in(cleaned)?;
        Ok(retired.map(|retired| retired.unlink()).transpose()?.is_some())
    });
    assert!(outcome.unwrap().completed);
    true
}

fn batches(log: &Log) -> Vec<Batch> {
    Batches::new(read_all(log, log.log_start()).into()).map(Result::unwrap).collect()
}

/// Offsets, keys and values in a batch.
fn records_of(batch: &Batch) -> Vec<(i64, Keyed)> {
    let records = batch.records(1 << 20).unwrap().map(Result::unwrap).map(|record| {
        let value = record.value().map(|value| value[0]);
        (batch.header().base_offset + i64::from(record.offset_delta), (record.key().unwrap()[0], value))
    });
    records.collect()
}

fn aborted(log: &Log) -> Vec<AbortedTransaction> {
    log.aborted_from(0).run(0, log.log_end()).unwrap()
}

/// What Kafka's consumer makes of the log up to the last stable offset.
fn read_committed(log: &Log) -> Vec<(i64, Keyed)> {
    let mut aborted: Vec<(i64, i64)> = aborted(log).iter().map(|a| (a.first_offset, a.producer_id)).collect();
    aborted.sort();
    let mut aborted = aborted.into_iter().peekable();
    let (mut skipped, mut found) = (HashSet::new(), Vec::new());
    for batch in batches(log).iter().take_while(|batch| batch.header().last_offset() < log.last_stable()) {
        let header = batch.header();
        while let Some((_, producer_id)) = aborted.next_if(|(first_offset, _)| *first_offset <= header.last_offset()) {
            skipped.insert(producer_id);
        }
        if header.is_control() {
            skipped.remove(&header.producer_id);
        } else if !(header.is_transactional() && skipped.contains(&header.producer_id)) {
            found.extend(records_of(batch));
        }
    }
    found
}

#[derive(Clone, Debug)]
enum Step {
    /// In a transaction of the producer; of no producer without one.
    Append(Option<usize>, Vec<Keyed>),
    End(usize, ControlRecordType),
    Roll,
    /// With room for so many keys.
    Compact(usize),
    Wait,
    Restart,
    /// Without the snapshots: what is known of producers is in the log.
    Crash(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..8u8, prop_oneof![4 => any::<u8>().prop_map(Some), 1 => Just(None)]);
    let append = (prop::option::weighted(0.9, 0..PRODUCERS), prop::collection::vec(record, 1..4))
        .prop_map(|(producer, records)| Step::Append(producer, records));
    let outcome = prop_oneof![Just(Abort), Just(Commit)];
    prop_oneof![
        20 => append,
        8 => (0..PRODUCERS, outcome).prop_map(|(producer, outcome)| Step::End(producer, outcome)),
        3 => Just(Step::Roll),
        5 => prop_oneof![3 => Just(PLENTY), 1 => 1..6usize].prop_map(Step::Compact),
        3 => Just(Step::Wait),
        1 => Just(Step::Restart),
        2 => any::<bool>().prop_map(Step::Crash),
    ]
}

/// A record as it was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    keyed: Keyed,
    producer: Option<usize>,
    /// The offset of the marker, and what it says.
    ended: Option<(i64, ControlRecordType)>,
}

#[derive(Default)]
struct Model {
    sent: BTreeMap<i64, Sent>,
    sequences: [i32; PRODUCERS],
    /// Tombstones that were there at a wait: from then on they may be gone.
    tombstones_left: BTreeSet<i64>,
}

impl Model {
    fn last_stable(&self, log_end: i64) -> i64 {
        let open = self.sent.iter().find(|(_, sent)| sent.producer.is_some() && sent.ended.is_none());
        open.map_or(log_end, |(offset, _)| *offset)
    }

    fn is_aborted(&self, offset: i64) -> bool {
        matches!(self.sent[&offset].ended, Some((_, Abort)))
    }
}

fn run(steps: &[Step]) {
    let mut fixture = Fixture::new(config());
    let mut model = Model::default();
    let mut now_ms = NOW;
    for step in steps {
        let log_end = fixture.log.log_end();
        match step {
            Step::Append(producer, records) => {
                let batch = match *producer {
                    None => keyed(BatchBuilder::new(Codec::None), log_end, records),
                    Some(producer) => {
                        let sequence = model.sequences[producer];
                        model.sequences[producer] += records.len() as i32;
                        in_transaction(producer as i64, sequence, log_end, records)
                    }
                };
                fixture.append(&batch);
                let sent = records.iter().map(|keyed| Sent { keyed: *keyed, producer: *producer, ended: None });
                model.sent.extend((log_end..).zip(sent));
            }
            Step::End(producer, outcome) => {
                fixture.append(&marker(*producer as i64, 0, *outcome, log_end));
                for sent in model.sent.values_mut().filter(|sent| sent.producer == Some(*producer)) {
                    sent.ended.get_or_insert((log_end, *outcome));
                }
            }
            Step::Roll => fixture.log.roll(NOW).unwrap(),
            Step::Compact(keys) => {
                let before = fixture.log.first_dirty();
                if compact_at(&mut fixture.log, *keys, now_ms) {
                    assert!(fixture.log.first_dirty() > before);
                    check_compacted(&fixture.log, &model, step);
                }
            }
            Step::Wait => {
                let left = batches(&fixture.log).iter().flat_map(records_of_data).collect::<Vec<_>>();
                model.tombstones_left.extend(left.iter().filter(|(_, (_, value))| value.is_none()).map(|(o, _)| *o));
                now_ms += DELETE_RETENTION;
            }
            Step::Restart => {
                let first_dirty = fixture.log.first_dirty();
                fixture = fixture.restart();
                fixture.log.set_first_dirty(first_dirty);
            }
            Step::Crash(without_snapshots) => {
                let (first_dirty, recovery_point) = (fixture.log.first_dirty(), fixture.log.recovery_point());
                for name in names(&fixture.dir()).iter().filter(|name| *without_snapshots && name.ends_with("snapshot"))
                {
                    fs::remove_file(fixture.dir().join(name)).unwrap();
                }
                let opened = fixture.reopen_after_crash(recovery_point);
                assert_eq!((opened.cut_bytes, opened.corrupt.len()), (0, 0), "{step:?}");
                fixture.log.set_first_dirty(first_dirty);
            }
        }
        fixture.log.set_high_watermark(fixture.log.log_end());
        check(&fixture.log, &model, step);
    }
}

fn records_of_data(batch: &Batch) -> Vec<(i64, Keyed)> {
    if batch.header().is_control() { vec![] } else { records_of(batch) }
}

fn check(log: &Log, model: &Model, step: &Step) {
    let last_stable = model.last_stable(log.log_end());
    assert_eq!(log.last_stable(), last_stable, "{step:?}");
    let found = read_committed(log);
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{step:?}");
    for (offset, keyed) in &found {
        assert_eq!(*keyed, model.sent[offset].keyed, "{step:?}");
        assert!(!model.is_aborted(*offset), "{step:?}: offset {offset} was aborted");
    }
    let last_found: BTreeMap<u8, (i64, Option<u8>)> =
        found.iter().map(|(offset, (key, value))| (*key, (*offset, *value))).collect();
    let committed = model.sent.range(..last_stable).filter(|(offset, _)| !model.is_aborted(**offset));
    let last_sent: BTreeMap<u8, (i64, Option<u8>)> =
        committed.map(|(offset, Sent { keyed: (key, value), .. })| (*key, (*offset, *value))).collect();
    for (key, (offset, value)) in last_sent {
        match last_found.get(&key) {
            Some(found) => assert_eq!(*found, (offset, value), "{step:?}: key {key}"),
            // Only a tombstone goes, and only when it was there for long enough.
            None => assert!(value.is_none() && model.tombstones_left.contains(&offset), "{step:?}: key {key}"),
        }
    }
    // A reader that finds a batch of a transaction finds its marker.
    let markers: BTreeSet<i64> =
        batches(log).iter().filter(|batch| batch.header().is_control()).map(|b| b.header().base_offset).collect();
    for batch in batches(log).iter().filter(|batch| batch.header().is_transactional() && !batch.header().is_control()) {
        let ended = model.sent[&batch.header().base_offset].ended;
        assert!(ended.is_none_or(|(marker, _)| markers.contains(&marker)), "{step:?}: {:?}", batch.header());
    }
    for (producer, next) in model.sequences.iter().enumerate().filter(|(_, next)| **next > 0) {
        let known = log.producers().get(producer as i64).unwrap();
        assert_eq!(known.batches.back().unwrap().last_sequence, next - 1, "{step:?}");
        let open = model.sent.iter().find(|(_, sent)| sent.producer == Some(producer) && sent.ended.is_none());
        assert_eq!(known.transaction_start, open.map(|(offset, _)| *offset), "{step:?}");
    }
}

/// Of what was compacted nothing is left that does not count.
fn check_compacted(log: &Log, model: &Model, step: &Step) {
    for batch in &batches(log) {
        for (offset, _) in records_of_data(batch).iter().filter(|(offset, _)| *offset < log.first_dirty()) {
            assert!(!model.is_aborted(*offset), "{step:?}: the aborted record at {offset} is there still");
        }
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Enough to find what is easy to find; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(48, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_find_the_last_committed_value_of_every_key(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}

/// Offsets and how many records of all batches.
fn left(log: &Log) -> Vec<(i64, i32)> {
    headers(read_all(log, 0)).iter().map(|header| (header.base_offset, header.records_count)).collect()
}

/// Make a segment dirty and compact it with all before; the key is always the same.
fn compact_again(log: &mut Log, now_ms: i64) {
    log.append(&[keyed(BatchBuilder::new(Codec::None), log.log_end(), &[(99, Some(0))])], NOW).unwrap();
    log.roll(NOW).unwrap();
    assert!(compact_at(log, PLENTY, now_ms));
}

#[test]
fn an_aborted_transaction_goes_in_the_order_records_index_marker() {
    let mut fixture = Fixture::new(config());
    let log = &mut fixture.log;
    log.append(&[in_transaction(7, 0, 0, &[(1, Some(1))])], NOW).unwrap();
    log.append(&[marker(7, 0, Abort, 1)], NOW).unwrap();
    // The last batch of the producer would stay.
    log.append(&[in_transaction(7, 1, 2, &[(1, Some(2))]), marker(7, 0, Commit, 3)], NOW).unwrap();
    compact_again(log, NOW);
    assert_eq!(left(log), [(1, 1), (2, 1), (3, 1), (4, 1)], "its record has gone");
    assert_eq!(aborted(log).len(), 1, "for those who still find the record");
    compact_again(log, NOW);
    assert_eq!((left(log)[0], aborted(log).len()), ((1, 1), 0), "its marker waits");
    compact_again(log, NOW + DELETE_RETENTION - 1);
    assert_eq!(left(log)[0], (1, 1));
    compact_again(log, NOW + DELETE_RETENTION);
    assert_eq!(left(log)[0], (2, 1), "its marker has gone, the one with a record before it has not");
    assert_eq!(left(log)[1], (3, 1));
}

#[test]
fn nothing_of_an_open_transaction_is_compacted() {
    let mut fixture = Fixture::new(config());
    let log = &mut fixture.log;
    log.append(&[keyed(BatchBuilder::new(Codec::None), 0, &[(1, Some(1)), (1, Some(2))])], NOW).unwrap();
    log.roll(NOW).unwrap();
    log.append(&[in_transaction(7, 0, 2, &[(1, Some(3))])], NOW).unwrap();
    log.roll(NOW).unwrap();
    log.append(&[keyed(BatchBuilder::new(Codec::None), 3, &[(1, Some(4)), (1, Some(5))])], NOW).unwrap();
    log.roll(NOW).unwrap();
    assert!(compact_at(log, PLENTY, NOW));
    assert_eq!((left(log), log.first_dirty()), (vec![(0, 1), (2, 1), (3, 2)], 2));
    log.append(&[marker(7, 0, Abort, 5)], NOW).unwrap();
    assert!(compact_at(log, PLENTY, NOW), "the marker is in the active segment");
    assert_eq!(left(log), [(2, 0), (3, 1), (5, 1)], "the producer's last batch stays without its record");
    assert_eq!(aborted(log).len(), 1);
}

#[test]
fn a_producer_of_which_only_a_marker_is_left_keeps_its_epoch() {
    let mut fixture = Fixture::new(config());
    let log = &mut fixture.log;
    log.append(&[in_transaction(7, 0, 0, &[(1, Some(1))]), marker(7, 1, Abort, 1)], NOW).unwrap();
    compact_again(log, NOW);
    compact_again(log, NOW);
    compact_again(log, NOW + DELETE_RETENTION);
    compact_again(log, NOW + DELETE_RETENTION);
    assert_eq!(left(log)[0], (1, 0));
    for name in names(&fixture.dir()).into_iter().filter(|name| name.ends_with(".snapshot")) {
        fs::remove_file(fixture.dir().join(name)).unwrap();
    }
    fixture.reopen_after_crash(0);
    let producer = fixture.log.producers().get(7).unwrap();
    assert_eq!((producer.epoch, producer.transaction_start, producer.batches.len()), (1, None, 0));
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new_index() {
    let mut fixture = Fixture::new(LogConfig { segment_bytes: 20_000, ..config() });
    let log = &mut fixture.log;
    // Each of two segments has an aborted transaction; of the first one only the marker is left, and its entry.
    log.append(&[in_transaction(7, 0, 0, &[(1, Some(1))]), marker(7, 0, Abort, 1)], NOW).unwrap();
    log.append(&[in_transaction(7, 1, 2, &[(2, Some(1))]), marker(7, 0, Commit, 3)], NOW).unwrap();
    log.roll(NOW).unwrap();
    assert!(compact_at(log, PLENTY, NOW));
    log.append(&[in_transaction(8, 0, 4, &[(1, Some(1))]), marker(8, 0, Abort, 5)], NOW).unwrap();
    log.append(&[in_transaction(8, 1, 6, &[(3, Some(1))]), marker(8, 0, Commit, 7)], NOW).unwrap();
    log.roll(NOW).unwrap();
    log.flush().unwrap();
    let recovery_point = log.recovery_point();
    log.set_high_watermark(8);
    let ready = tempfile::tempdir().unwrap();
    let (dir, old) = (fixture.dir(), (left(&fixture.log), aborted(&fixture.log)));
    let mut compaction = fixture.log.start_compaction(8).unwrap();
    compaction.dirty_ratio(NOW).unwrap().unwrap();
    let swap = |cleaned: &ottla_log::compaction::Cleaned| {
        copy(&dir, ready.path());
        Ok(fixture.log.swap_in(cleaned)?.is_some())
    };
    compaction.run(NOW, swap).unwrap();
    let new = (left(&fixture.log), aborted(&fixture.log));
    assert_eq!((old.0.len(), new.0.len(), old.1.len(), new.1.len()), (7, 6, 2, 1));
    for done in 0..=exchange(ready.path()).len() {
        if let Some((from, to)) = done.checked_sub(1).map(|last| exchange(ready.path()).swap_remove(last)) {
            fs::rename(&from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        for clean in [true, false] {
            let crashed = tempfile::tempdir().unwrap();
            copy(ready.path(), crashed.path());
            // The second time there must be nothing left to do.
            for _ in 0..2 {
                let files = Files::new(4, 1 << 20);
                let hint = RecoveryHint { intact: true, ..hint(clean, recovery_point) };
                let (log, _) = Log::open(crashed.path(), config(), hint, &files, NOW).unwrap();
                let expected = if done < 4 { &old } else { &new };
                assert_eq!((left(&log), aborted(&log)), *expected, "step {done}");
            }
        }
    }
    assert!(!names(ready.path()).iter().any(|name| name.ends_with(".swap")), "all steps were shown");
}

/// What is done to the folder, one after the other, from the moment that the new segment is on the device.
fn exchange(dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let name = |offset: i64, extension: &str| dir.join(format!("{offset:020}.{extension}"));
    let marks = ["txnindex", "index", "timeindex", "log"];
    let mut renames = Vec::new();
    for extension in marks {
        renames.push((name(0, &format!("{extension}.cleaned")), name(0, &format!("{extension}.swap"))));
    }
    for extension in marks {
        renames.push((name(0, extension), name(0, &format!("{extension}.deleted"))));
    }
    for extension in ["index", "timeindex", "txnindex", "snapshot", "log"] {
        renames.push((name(4, extension), name(4, &format!("{extension}.deleted"))));
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
