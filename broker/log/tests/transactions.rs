//! Transactions in a log: what is decided, what was aborted, and how that outlives crashes and cuts.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;

use common::{Fixture, NOW, hint, in_transaction, marker, produced};
use ottla_batch::ControlRecordType::{Abort, Commit};
use ottla_log::{AbortedTransaction, Log, LogConfig, RecoveryHint};

/// Producer 7 has begun at 0 and committed at 2, producer 8 has begun at 1; behind a snapshot at 3 something else.
fn one_ended_and_one_open() -> Fixture {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&in_transaction(7, 0, 0, 0));
    fixture.append(&in_transaction(8, 0, 0, 1));
    fixture.append(&marker(7, 0, Commit, 2));
    fixture.log.roll(NOW).unwrap();
    fixture.append(&produced(9, 0, 3));
    fixture
}

#[test]
fn the_last_stable_offset_is_where_the_first_undecided_transaction_begins() {
    let mut fixture = one_ended_and_one_open();
    let stable_at = |fixture: &mut Fixture, high_watermark| {
        fixture.log.set_high_watermark(high_watermark);
        fixture.log.last_stable()
    };
    for (high_watermark, expected, why) in [
        (0, 0, "nothing is committed"),
        (1, 0, "7 began at 0"),
        (2, 0, "the marker is not committed"),
        (3, 1, "8 began at 1"),
        (4, 1, "8 is open"),
    ] {
        assert_eq!(stable_at(&mut fixture, high_watermark), expected, "{why}");
    }
    fixture.append(&marker(8, 0, Abort, 4));
    assert_eq!(stable_at(&mut fixture, 4), 1);
    assert_eq!(stable_at(&mut fixture, 5), 5);
    fixture.append(&in_transaction(7, 0, 1, 5));
    assert_eq!(stable_at(&mut fixture, 5), 5, "not above the high watermark");
    fixture.append(&in_transaction(8, 0, 1, 6));
    assert_eq!(stable_at(&mut fixture, 7), 5);
    fixture.log.advance_log_start(6);
    assert_eq!(fixture.log.last_stable(), 6, "DeleteRecords may pass it");
}

#[test]
fn undecided_transactions_outlive_a_crash_and_a_restart() {
    for (high_watermark, expected) in [(0, 0), (2, 0), (3, 1), (4, 1)] {
        let mut fixture = one_ended_and_one_open();
        fixture.reopen(RecoveryHint { high_watermark, ..hint(false, 0) });
        assert_eq!(fixture.log.last_stable(), expected, "after a crash at {high_watermark}");
        let recovery_point = fixture.log.close().unwrap();
        fixture.reopen(RecoveryHint { high_watermark, ..hint(true, recovery_point) });
        assert_eq!(fixture.log.last_stable(), expected, "after a restart at {high_watermark}");
        let producer = |id| fixture.log.producers().get(id).unwrap().clone();
        assert_eq!((producer(7).transaction_start, producer(8).transaction_start), (None, Some(1)));
        assert_eq!((producer(7).coordinator_epoch, producer(8).coordinator_epoch), (0, -1));
    }
}

#[test]
fn no_restart_makes_an_open_transaction_younger() {
    let later = NOW + 7_200_000;
    let Fixture { root, config, files, mut log } = one_ended_and_one_open();
    let last_timestamp = |log: &Log, id| log.producers().get(id).unwrap().last_timestamp;
    for clean in [false, true, true] {
        let recovery_point = if clean { log.close().unwrap() } else { 0 };
        let found = hint(clean, recovery_point);
        log = Log::open(&root.path().join("t-0"), config.clone(), found, &files, later).unwrap().0;
        assert_eq!(last_timestamp(&log, 8), NOW + 1, "when its record was made");
        assert_eq!(last_timestamp(&log, 7), later, "a producer that has ended its transaction does not expire at once");
    }
}

#[test]
fn a_transaction_whose_marker_is_cut_off_is_open_again() {
    let mut fixture = one_ended_and_one_open();
    fixture.log.set_high_watermark(2);
    fixture.log.truncate_to(3, NOW).unwrap();
    assert_eq!(fixture.log.last_stable(), 0, "its marker is not committed yet");
    fixture.log.truncate_to(2, NOW).unwrap();
    let producer = |fixture: &Fixture, id| fixture.log.producers().get(id).cloned();
    assert_eq!(producer(&fixture, 7).unwrap().transaction_start, Some(0));
    fixture.log.truncate_to(1, NOW).unwrap();
    assert_eq!((producer(&fixture, 8), fixture.log.last_stable()), (None, 0));
    fixture.log.truncate_fully_and_start_at(10, NOW).unwrap();
    assert_eq!((producer(&fixture, 7), fixture.log.last_stable()), (None, 10));
}

fn aborted(log: &Log, from: i64, up_to: i64) -> Vec<AbortedTransaction> {
    log.aborted_from(from).run(from, up_to).unwrap()
}

fn entry(producer_id: i64, first_offset: i64, last_offset: i64, last_stable: i64) -> AbortedTransaction {
    AbortedTransaction { producer_id, first_offset, last_offset, last_stable }
}

/// Three segments, from 0, 4 and 7; the last one is active. Producer 7 aborts in the first and in the last, 8 begins in
/// the first and aborts in the second, 9 commits.
fn three_aborted() -> Fixture {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&in_transaction(7, 0, 0, 0));
    fixture.append(&in_transaction(8, 0, 0, 1));
    fixture.append(&marker(7, 0, Abort, 2));
    fixture.append(&in_transaction(9, 0, 0, 3));
    fixture.log.roll(NOW).unwrap();
    fixture.append(&marker(9, 0, Commit, 4));
    fixture.append(&in_transaction(7, 0, 1, 5));
    fixture.append(&marker(8, 0, Abort, 6));
    fixture.log.roll(NOW).unwrap();
    fixture.append(&marker(7, 0, Abort, 7));
    fixture.append(&marker(8, 0, Abort, 8));
    fixture
}

const FIRST: i64 = 0;
const SECOND: i64 = 4;
const ACTIVE: i64 = 7;

fn all_three() -> [AbortedTransaction; 3] {
    [entry(7, 0, 2, 1), entry(8, 1, 6, 5), entry(7, 5, 7, 8)]
}

fn file(fixture: &Fixture, base_offset: i64, extension: &str) -> std::path::PathBuf {
    fixture.dir().join(format!("{base_offset:020}.{extension}"))
}

#[test]
fn the_aborted_transactions_of_a_range_are_found_in_the_segments_of_their_markers() {
    let mut fixture = three_aborted();
    let [a, b, c] = all_three();
    let search = |log: &Log| {
        assert_eq!(aborted(log, 0, 9), [a, b, c]);
        assert_eq!(aborted(log, 0, 1), [a]);
        assert_eq!(aborted(log, 0, 2), [a, b]);
        assert_eq!(aborted(log, 3, 4), [b], "its marker is two segments on");
        assert_eq!(aborted(log, 5, 6), [b, c]);
        assert_eq!(aborted(log, 7, 8), [c]);
        assert_eq!(aborted(log, 8, 9), [], "a marker without records aborts nothing");
    };
    search(&fixture.log);
    fixture.log.flush().unwrap();
    let sizes = [FIRST, SECOND, ACTIVE].map(|base| fs::metadata(file(&fixture, base, "txnindex")).unwrap().len());
    assert_eq!(sizes, [34, 34, 34]);
    fixture = fixture.restart();
    search(&fixture.log);
    fixture.reopen_after_crash(0);
    search(&fixture.log);
}

#[test]
fn a_segment_without_aborted_transactions_has_no_index() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&in_transaction(7, 0, 0, 0));
    fixture.append(&marker(7, 0, Commit, 1));
    fixture.append(&marker(7, 0, Abort, 2));
    let fixture = fixture.restart();
    assert!(!file(&fixture, 0, "txnindex").exists());
}

#[test]
fn an_index_that_is_missing_or_wrong_is_made_anew() {
    for base in [FIRST, SECOND, ACTIVE] {
        for clean in [true, false] {
            for damage in ["removed with the others", "removed", "cut", "of another segment", "not ours"] {
                let mut fixture = three_aborted();
                let recovery_point = fixture.log.close().unwrap();
                let path = file(&fixture, base, "txnindex");
                let good = fs::read(&path).unwrap();
                match damage {
                    "removed with the others" => {
                        fs::remove_file(&path).unwrap();
                        fs::remove_file(file(&fixture, base, "timeindex")).unwrap();
                    }
                    // After a clean stop, or below the recovery point, that says that nothing was aborted.
                    "removed" if clean || base != ACTIVE => continue,
                    "removed" => fs::remove_file(&path).unwrap(),
                    "cut" => fs::write(&path, &good[..20]).unwrap(),
                    "of another segment" => {
                        let other = if base == FIRST { ACTIVE } else { FIRST };
                        fs::copy(file(&fixture, other, "txnindex"), &path).map(drop).unwrap();
                    }
                    _ => fs::write(&path, [1; 34]).unwrap(),
                }
                fixture.reopen(hint(clean, recovery_point));
                assert_eq!(aborted(&fixture.log, 0, 9), all_three(), "{base} {clean} {damage}");
                fixture.log.flush().unwrap();
                assert_eq!(fs::read(&path).unwrap(), good, "{base} {clean} {damage}");
            }
        }
    }
}

#[test]
fn a_cut_takes_the_aborted_transactions_behind_it() {
    let [a, b, c] = all_three();
    for (offset, left) in [(8, &[a, b, c][..]), (7, &[a, b]), (6, &[a]), (3, &[a]), (2, &[]), (0, &[])] {
        for damaged in [false, true] {
            let mut fixture = three_aborted();
            fixture.log.flush().unwrap();
            if damaged {
                [FIRST, SECOND].iter().for_each(|base| fs::remove_file(file(&fixture, *base, "index")).unwrap());
            }
            fixture.log.truncate_to(offset, NOW).unwrap();
            assert_eq!(aborted(&fixture.log, 0, offset), left, "cut at {offset}");
            let log_end = fixture.log.log_end();
            fixture.append(&marker(8, 0, Abort, log_end));
            let is_open_again = (2..=6).contains(&offset);
            let newest =
                aborted(&fixture.log, 0, log_end + 1).last().filter(|last| last.last_offset == log_end).copied();
            assert_eq!(newest.map(|newest| newest.first_offset), is_open_again.then_some(1), "cut at {offset}");
            let before = aborted(&fixture.log, 0, log_end + 1);
            fixture = fixture.restart();
            assert_eq!(aborted(&fixture.log, 0, log_end + 1), before, "cut at {offset}");
        }
    }
}

#[test]
fn an_index_goes_with_its_segment() {
    let mut fixture = three_aborted();
    fixture.log.advance_log_start(5);
    let retired = fixture.log.apply_retention(9, NOW).unwrap();
    assert_eq!(retired.segments, 1);
    assert!(!file(&fixture, FIRST, "txnindex").exists());
    retired.unlink().unwrap();
    let [_, b, c] = all_three();
    assert_eq!(aborted(&fixture.log, 5, 9), [b, c]);
    fixture.reopen(RecoveryHint { log_start: 5, ..hint(false, 0) });
    assert_eq!(aborted(&fixture.log, 5, 9), [b, c], "the snapshot knows that 8 began before");
    fixture.log.truncate_fully_and_start_at(20, NOW).unwrap();
    assert!(!file(&fixture, SECOND, "txnindex").exists());
    assert_eq!(aborted(&fixture.log, 20, 21), []);
}
