//! The log beside a list of batches that does the same: whatever is done to both, they hold the same bytes.
//!
//! A failure prints its seed and the shortest steps that show it; add those below as a test with a name.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::path::{Path, PathBuf};

use common::{Fixture, NOW, batch_of, bytes_of, read_all};
use ottla_batch::Stamped;
use ottla_log::{CompactionConfig, LogConfig, RecoveryHint, SearchTarget};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: i64,
        len: usize,
        gap: i64,
        new_epoch: bool,
    },
    Roll,
    Flush,
    /// Truncate to so many thousandths of the log.
    Truncate(i64),
    TruncateFully,
    AdvanceLogStart(i64),
    Retain,
    Close,
    Crash,
    /// The machine crashes: one of the last segments loses so many thousandths of what was not flushed of it, and the
    /// log what lies behind that.
    PowerCut {
        thousandths: i64,
        older: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let append = (1..5i64, 1..400usize, prop_oneof![9 => Just(0i64), 1 => 1..20i64], prop::bool::weighted(0.1))
        .prop_map(|(records, len, gap, new_epoch)| Step::Append { records, len, gap, new_epoch });
    prop_oneof![
        20 => append,
        1 => Just(Step::Roll),
        2 => Just(Step::Flush),
        1 => (0..1000i64).prop_map(Step::Truncate),
        1 => Just(Step::TruncateFully),
        1 => (0..1000i64).prop_map(Step::AdvanceLogStart),
        1 => Just(Step::Retain),
        1 => Just(Step::Close),
        1 => Just(Step::Crash),
        1 => (0..=1000i64, 0..3usize).prop_map(|(thousandths, older)| Step::PowerCut { thousandths, older }),
    ]
}

/// The simple thing that a log is.
#[derive(Default)]
struct Model {
    batches: Vec<Stamped>,
    log_start: i64,
    log_end: i64,
    epoch: i32,
}

impl Model {
    fn bytes_from(&self, offset: i64) -> Vec<u8> {
        self.batches.iter().filter(|b| b.header().last_offset() >= offset).flat_map(bytes_of).collect()
    }

    /// Keep what ends before `offset`. Where segments part the log may end a little behind its last batch.
    fn truncate(&mut self, offset: i64, log_end: i64) {
        if offset >= self.log_end {
            return;
        }
        let kept = self.batches.iter().take_while(|b| b.header().last_offset() < offset).count();
        let first_cut = self.batches.get(kept).map_or(offset, |b| b.header().base_offset);
        self.batches.truncate(kept);
        let least = self.batches.last().map_or(0, |b| b.header().next_offset());
        assert!((least..=first_cut).contains(&log_end), "{least} <= {log_end} <= {first_cut}");
        self.log_end = log_end;
        self.log_start = self.log_start.min(log_end);
    }

    /// The disk has lost so many bytes, and with a torn batch the log has lost some more.
    fn keep_prefix(&mut self, log_end: i64, lost: u64, torn: u64) {
        let lens = |batches: &[Stamped]| batches.iter().map(|b| b.len() as u64).sum::<u64>();
        let before = lens(&self.batches);
        self.batches.retain(|b| b.header().next_offset() <= log_end);
        // With nothing readable left, what lies below the log's start may go too.
        if log_end > self.log_start {
            assert_eq!(before - lens(&self.batches), lost + torn, "all whole batches stay");
        }
        self.log_end = log_end;
    }

    /// Records carry their offset as time.
    fn first_at(&self, timestamp: i64) -> Option<i64> {
        let offsets = self.batches.iter().flat_map(|b| b.header().base_offset..b.header().next_offset());
        offsets.into_iter().find(|offset| NOW + offset >= timestamp && *offset >= self.log_start)
    }
}

/// The segments' files with their base offsets, the newest first.
fn segments(dir: &Path) -> Vec<(i64, PathBuf)> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let mut segments: Vec<_> =
        logs.map(|path| (path.file_stem().unwrap().to_str().unwrap().parse().unwrap(), path)).collect();
    segments.sort();
    segments.reverse();
    segments
}

fn run(steps: &[Step]) {
    let config = LogConfig {
        segment_bytes: 2_000,
        index_interval_bytes: 300,
        retention_ms: None,
        retention_bytes: Some(6_000),
        // Only a log of which compaction takes records has gaps that a crash of the machine has not made.
        compaction: Some(CompactionConfig::default()),
        ..LogConfig::default()
    };
    let mut fixture = Fixture::new(config);
    let mut model = Model::default();
    for step in steps {
        let log = &mut fixture.log;
        let share = |thousandths: i64| log.log_start() + (log.log_end() - log.log_start()) * thousandths / 1000;
        match *step {
            Step::Append { records, len, gap, new_epoch } => {
                model.epoch += i32::from(new_epoch);
                let batch = batch_of(model.epoch, model.log_end + gap, records, len);
                fixture.append(&batch);
                model.log_end = batch.header().next_offset();
                model.batches.push(batch);
            }
            Step::Roll => log.roll(NOW).unwrap(),
            Step::Flush => log.flush().unwrap(),
            Step::Truncate(thousandths) => {
                let offset = share(thousandths);
                model.truncate(offset, log.truncate_to(offset, NOW).unwrap());
            }
            Step::TruncateFully => {
                let offset = model.log_end + 7;
                log.truncate_fully_and_start_at(offset, NOW).unwrap();
                model = Model { log_start: offset, log_end: offset, epoch: model.epoch, batches: vec![] };
            }
            Step::AdvanceLogStart(thousandths) => {
                model.log_start = share(thousandths);
                log.advance_log_start(model.log_start);
            }
            Step::Retain => {
                let before = log.size();
                log.apply_retention(log.log_end(), NOW).unwrap().unlink().unwrap();
                // Which segments there are is not the model's business, only that readable ones go for their size
                // alone.
                assert!(log.log_start() == model.log_start || before > 6_000 && log.size() >= 4_000);
                model.log_start = log.log_start();
            }
            Step::Close => fixture = fixture.restart(),
            Step::Crash => {
                let recovery_point = log.recovery_point();
                let log_start = model.log_start;
                let hint = RecoveryHint { recovery_point, log_start, intact: true, ..RecoveryHint::default() };
                let opened = fixture.reopen(hint);
                assert_eq!((opened.cut_bytes, opened.corrupt.len()), (0, 0), "nothing was torn");
            }
            Step::PowerCut { thousandths, older } => {
                let recovery_point = log.recovery_point();
                let segments = segments(&fixture.dir());
                // Of the segment that has lost its end the part is left that was flushed, at least. What lies behind
                // it goes with it.
                let flushed = segments.partition_point(|(base_offset, _)| *base_offset >= recovery_point);
                let torn = older.min(flushed).min(segments.len() - 1);
                let (base_offset, path) = &segments[torn];
                let behind = torn.checked_sub(1).map_or(i64::MAX, |next| segments[next].0);
                let from = (*base_offset).max(recovery_point);
                let bytes_of = |offsets: std::ops::Range<i64>| {
                    let headers = model.batches.iter().map(Stamped::header);
                    let lost = headers.filter(|header| offsets.contains(&header.base_offset));
                    lost.map(|header| header.total_len().unwrap() as u64).sum::<u64>()
                };
                let cut = bytes_of(from..behind) * thousandths as u64 / 1000;
                let behind = if cut > 0 { bytes_of(behind..i64::MAX) } else { 0 };
                let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() - cut).unwrap();
                let opened = fixture.reopen(RecoveryHint {
                    recovery_point,
                    log_start: model.log_start,
                    ..RecoveryHint::default()
                });
                assert!(opened.corrupt.is_empty());
                model.keep_prefix(fixture.log.log_end(), cut + behind, opened.cut_bytes);
                assert!(model.log_end >= recovery_point.min(model.log_end));
            }
        }
        let log = &fixture.log;
        assert_eq!((log.log_start(), log.log_end()), (model.log_start, model.log_end), "after {step:?}");
        assert_eq!(read_all(log, model.log_start), model.bytes_from(model.log_start), "{step:?}");
        for timestamp in [NOW - 1, NOW + (model.log_start + model.log_end) / 2, NOW + model.log_end] {
            let found = log.search(SearchTarget::FirstAt(timestamp)).run().unwrap().map(|found| found.offset);
            assert_eq!(found, model.first_at(timestamp), "{step:?}");
        }
        let held = model.batches.iter().rev().find(|b| b.header().last_offset() >= model.log_start);
        let epoch = held.map(|b| b.header().partition_leader_epoch);
        assert_eq!(epoch.and_then(|_| log.epochs().latest()).map(|e| e.epoch), epoch, "{step:?}");
    }
}

/// Enough to find what is easy to find; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(64, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_holds_what_a_list_of_batches_would(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}
