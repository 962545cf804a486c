//! A log with transactions beside a list of records that knows how each transaction ended: whatever is done to both,
//! readers with isolation level read_committed find the same.
//!
//! A failure prints its seed and the shortest steps that show it; add those below as a test with a name.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::collections::HashSet;
use std::fs;

use common::{Fixture, NOW, headers, in_transaction, marker};
use ottla_batch::{BatchBuilder, BatchHeader, Codec, ControlRecordType, NewRecord};
use ottla_log::{Log, LogConfig, ReadBounds, RecoveryHint};
use proptest::prelude::*;

const PRODUCERS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// A record of no transaction.
    Plain,
    /// A record in the producer's transaction.
    Append(usize),
    /// The end of the producer's transaction, if it has one here or not.
    End(usize, ControlRecordType),
    /// The next transaction of the producer has another epoch.
    Bump(usize),
    Roll,
    Flush,
    /// So many thousandths of what is not committed are, now.
    Commit(i64),
    /// Truncate to so many thousandths of the log. A new leader may know less than what was committed here.
    Truncate(i64),
    /// Up to so many thousandths of what is decided.
    DeleteRecords(i64),
    Retain,
    Restart,
    /// With this file of every segment lost or spoilt.
    Crash(Option<(&'static str, bool)>),
}

fn step() -> impl Strategy<Value = Step> {
    let producer = 0..PRODUCERS;
    let outcome = prop_oneof![2 => Just(ControlRecordType::Abort), 1 => Just(ControlRecordType::Commit)];
    let damage = prop::option::of((prop_oneof![Just("index"), Just("txnindex"), Just("snapshot")], any::<bool>()));
    prop_oneof![
        3 => Just(Step::Plain),
        20 => producer.clone().prop_map(Step::Append),
        10 => (producer.clone(), outcome).prop_map(|(producer, outcome)| Step::End(producer, outcome)),
        2 => producer.prop_map(Step::Bump),
        3 => Just(Step::Roll),
        2 => Just(Step::Flush),
        5 => (0..=1000i64).prop_map(Step::Commit),
        2 => (0..=1000i64).prop_map(Step::Truncate),
        1 => (0..=1000i64).prop_map(Step::DeleteRecords),
        1 => Just(Step::Retain),
        2 => Just(Step::Restart),
        2 => damage.prop_map(Step::Crash),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Data(usize),
    Marker(usize, ControlRecordType),
}

/// The simple thing that a log is: what is at each offset.
#[derive(Default)]
struct Model {
    records: Vec<Kind>,
    log_start: usize,
    high_watermark: usize,
}

impl Model {
    /// Where the transaction of the record at `offset` ends, and how.
    fn end_of(&self, offset: usize, producer: usize) -> Option<(usize, ControlRecordType)> {
        (offset..self.records.len()).find_map(|at| match self.records[at] {
            Kind::Marker(of, outcome) if of == producer => Some((at, outcome)),
            Kind::Marker(..) | Kind::Plain | Kind::Data(_) => None,
        })
    }

    /// Everything before is decided, by markers that are committed.
    fn last_stable(&self) -> usize {
        let is_undecided = |offset: &usize| match self.records[*offset] {
            Kind::Data(producer) => self.end_of(*offset, producer).is_none_or(|(end, _)| end >= self.high_watermark),
            Kind::Plain | Kind::Marker(..) => false,
        };
        let first = (0..self.high_watermark).find(is_undecided).unwrap_or(self.high_watermark);
        first.max(self.log_start)
    }

    /// Offsets that count, from `from` up to the last stable offset.
    fn committed(&self, from: usize) -> Vec<i64> {
        let counts = |offset: &usize| match self.records[*offset] {
            Kind::Plain => true,
            Kind::Data(producer) => self.end_of(*offset, producer).unwrap().1 == ControlRecordType::Commit,
            Kind::Marker(..) => false,
        };
        (from..self.last_stable()).filter(counts).map(|offset| offset as i64).collect()
    }
}

/// What Kafka's consumer makes of an answer: the batches, and the transactions that were aborted.
fn consume(batches: &[BatchHeader], mut aborted: Vec<(i64, i64)>, from: i64, found: &mut Vec<i64>) {
    aborted.sort();
    let mut aborted = aborted.into_iter().peekable();
    let mut skipped = HashSet::new();
    for batch in batches {
        while let Some((_, producer_id)) = aborted.next_if(|(first_offset, _)| *first_offset <= batch.last_offset()) {
            skipped.insert(producer_id);
        }
        if batch.is_control() {
            skipped.remove(&batch.producer_id);
        } else if !(batch.is_transactional() && skipped.contains(&batch.producer_id)) {
            found.extend((batch.base_offset..=batch.last_offset()).filter(|offset| *offset >= from));
        }
    }
}

/// Everything that counts, read in pieces of a few batches.
fn read_committed(log: &Log, mut from: i64) -> Vec<i64> {
    let up_to = log.last_stable();
    let mut found = Vec::new();
    while let Some(slice) = log.read(ReadBounds { from, up_to, max_bytes: 300, at_least_one: true }).unwrap() {
        let aborted = log.aborted_from(from).run(from, slice.next_offset).unwrap();
        let aborted = aborted.iter().map(|aborted| (aborted.first_offset, aborted.producer_id)).collect();
        consume(&headers(slice.read().unwrap()), aborted, from, &mut found);
        from = slice.next_offset;
    }
    found
}

fn plain(base_offset: i64) -> ottla_batch::Stamped {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(NewRecord { timestamp: NOW, value: Some(b"v"), ..NewRecord::default() });
    builder.build().stamp(base_offset, 0, None)
}

fn spoil(fixture: &Fixture, extension: &str, remove: bool) {
    for entry in fs::read_dir(fixture.dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|found| found == extension) {
            match remove {
                true => fs::remove_file(&path).unwrap(),
                false => fs::write(&path, b"spoilt").unwrap(),
            }
        }
    }
}

fn run(steps: &[Step]) {
    let config =
        LogConfig { segment_bytes: 1_000, index_interval_bytes: 200, retention_ms: None, ..LogConfig::default() };
    let mut fixture = Fixture::new(config);
    let mut model = Model::default();
    let (mut epochs, mut sequences) = ([0; PRODUCERS], [0; PRODUCERS]);
    for step in steps {
        let log = &mut fixture.log;
        let (offset, log_end) = (model.records.len() as i64, model.records.len());
        match *step {
            Step::Plain => {
                fixture.append(&plain(offset));
                model.records.push(Kind::Plain);
            }
            Step::Append(producer) => {
                fixture.append(&in_transaction(producer as i64, epochs[producer], sequences[producer], offset));
                sequences[producer] += 1;
                model.records.push(Kind::Data(producer));
            }
            Step::End(producer, outcome) => {
                fixture.append(&marker(producer as i64, epochs[producer], outcome, offset));
                model.records.push(Kind::Marker(producer, outcome));
            }
            Step::Bump(producer) => (epochs[producer], sequences[producer]) = (epochs[producer] + 1, 0),
            Step::Roll => log.roll(NOW).unwrap(),
            Step::Flush => log.flush().unwrap(),
            Step::Commit(thousandths) => {
                model.high_watermark += (log_end - model.high_watermark) * thousandths as usize / 1000;
                log.set_high_watermark(model.high_watermark as i64);
            }
            Step::Truncate(thousandths) => {
                // What has become of transactions that began in deleted records must stay decided.
                let least = if model.log_start > 0 { model.high_watermark } else { 0 };
                let to = least + (log_end - least) * thousandths as usize / 1000;
                log.truncate_to(to as i64, NOW).unwrap();
                model.records.truncate(to);
                model.high_watermark = model.high_watermark.min(to);
            }
            Step::DeleteRecords(thousandths) => {
                model.log_start += (model.last_stable() - model.log_start) * thousandths as usize / 1000;
                log.advance_log_start(model.log_start as i64);
            }
            Step::Retain => log.apply_retention(model.high_watermark as i64, NOW).unwrap().unlink().unwrap(),
            Step::Restart | Step::Crash(_) => {
                let clean = matches!(step, Step::Restart);
                let recovery_point = if clean { log.close().unwrap() } else { log.recovery_point() };
                if let Step::Crash(Some((extension, remove))) = *step {
                    // In a log that has lost its first segments, only a snapshot shows what they held.
                    if extension != "snapshot" || model.log_start == 0 {
                        spoil(&fixture, extension, remove && extension != "txnindex");
                    }
                }
                // The checkpoint is a while old.
                let known = model.log_start + (model.high_watermark - model.log_start) / 2;
                let (log_start, high_watermark) = (model.log_start as i64, known as i64);
                fixture.reopen(RecoveryHint { clean, recovery_point, log_start, high_watermark, intact: true });
                assert!(fixture.log.last_stable() <= model.last_stable() as i64);
                fixture.log.set_high_watermark(model.high_watermark as i64);
            }
        }
        let log = &fixture.log;
        assert_eq!((log.log_start(), log.log_end()), (model.log_start as i64, model.records.len() as i64), "{step:?}");
        assert_eq!(log.last_stable(), model.last_stable() as i64, "after {step:?}");
        for from in [model.log_start, (model.log_start + model.records.len()) / 2] {
            assert_eq!(read_committed(log, from as i64), model.committed(from), "from {from} after {step:?}");
        }
    }
}

/// Enough to find what is easy to find; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(64, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_find_what_a_list_of_records_with_outcomes_says(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}
