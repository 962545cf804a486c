//! A log from the outside: appended to, read, rolled, truncated, deleted from and opened again.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use common::{Fixture, NOW, batch, batch_of, bytes_of, headers, hint, produced, read_all};
use ottla_batch::{BatchBuilder, Codec, NewRecord};
use ottla_log::{
    Admission, FoundRecord, Log, LogAppendError, LogConfig, ReadBounds, ReadError, RecoveryHint, SearchTarget,
};

#[test]
fn what_is_appended_is_read_back_byte_for_byte() {
    let mut fixture = Fixture::new(LogConfig::default());
    let batches = [batch(0, 3, 100), batch(3, 1, 100), batch(4, 2, 100)];
    for batch in &batches {
        fixture.append(batch);
    }
    let written: Vec<u8> = batches.iter().flat_map(bytes_of).collect();
    assert_eq!(read_all(&fixture.log, 0), written);
    assert_eq!((fixture.log.log_start(), fixture.log.log_end()), (0, 6));
}

#[test]
fn the_batch_that_holds_the_offset_is_never_skipped() {
    let mut fixture = Fixture::new(LogConfig { segment_bytes: 1_000, ..LogConfig::default() });
    for i in 0..20 {
        fixture.append(&batch(i * 5, 5, 100));
    }
    for from in 0..100 {
        let slice = fixture.log.read(bounds(from, 100)).unwrap().unwrap();
        assert_eq!(slice.base_offset, from / 5 * 5, "{from}");
    }
    assert!(fixture.log.read(bounds(100, 100)).unwrap().is_none(), "nothing at the end");
    for outside in [-1, 101] {
        assert!(matches!(fixture.log.read(bounds(outside, 100)), Err(ReadError::OutOfRange(_))), "{outside}");
    }
}

#[test]
fn a_read_gives_whole_batches_within_its_bounds() {
    for index_interval_bytes in [0, 300, 4096] {
        let mut fixture = Fixture::new(LogConfig { index_interval_bytes, ..LogConfig::default() });
        let len = bytes_of(&batch(0, 5, 100)).len();
        for i in 0..20 {
            fixture.append(&batch(i * 5, 5, 100));
        }
        for (from, up_to, max_bytes, at_least_one, batches) in [
            (0, 100, usize::MAX, true, 20),
            (0, 100, 20 * len, true, 20),
            (0, 100, 20 * len - 1, true, 19),
            (0, 100, len, false, 1),
            (0, 100, len - 1, false, 0),
            (0, 100, 0, true, 1),
            (52, 100, 3 * len, true, 3),
            (0, 50, usize::MAX, true, 10),
            (0, 49, usize::MAX, true, 9),
            (0, 4, usize::MAX, true, 0),
            (97, 100, usize::MAX, true, 1),
            (97, 50, usize::MAX, true, 0),
        ] {
            let bounds = ReadBounds { from, up_to, max_bytes, at_least_one };
            let slice = fixture.log.read(bounds).unwrap();
            assert_eq!(slice.as_ref().map_or(0, |s| s.len), batches * len, "{bounds:?} every {index_interval_bytes}");
            if let Some(slice) = slice {
                assert_eq!(slice.next_offset, slice.base_offset + batches as i64 * 5, "{bounds:?}");
            }
        }
    }
}

#[test]
fn offsets_may_leave_gaps_but_never_go_back() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&batch(10, 5, 100));
    fixture.append(&batch(20, 5, 100));
    let error = fixture.log.append(&[batch(24, 1, 100)], 0).unwrap_err();
    assert!(matches!(error, LogAppendError::OutOfOrder { log_end: 25, found: 24 }));
    assert_eq!(fixture.log.read(bounds(17, 25)).unwrap().unwrap().base_offset, 20);
    assert_eq!(fixture.log.read(bounds(0, 25)).unwrap().unwrap().base_offset, 10);
}

fn bounds(from: i64, up_to: i64) -> ReadBounds {
    ReadBounds { from, up_to, max_bytes: usize::MAX, at_least_one: true }
}

fn segments(fixture: &Fixture) -> Vec<String> {
    let names = std::fs::read_dir(fixture.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names
}

#[test]
fn a_segment_rolls_when_it_is_full_old_or_its_offsets_run_out() {
    let quiet = LogConfig { segment_ms: i64::MAX, ..LogConfig::default() };
    let len = bytes_of(&batch(0, 1, 100)).len() as u32;
    let far = i64::from(i32::MAX);
    for (name, config, batches, expected) in [
        ("two fit", LogConfig { segment_bytes: 2 * len, ..quiet.clone() }, [0, 1], 1),
        ("two don't fit", LogConfig { segment_bytes: 2 * len - 1, ..quiet.clone() }, [0, 1], 2),
        ("records carry their offset as time", LogConfig { segment_ms: 10, ..quiet.clone() }, [0, 10], 1),
        ("the second is too young for the first", LogConfig { segment_ms: 10, ..quiet.clone() }, [0, 11], 2),
        ("the last relative offset", quiet.clone(), [0, far], 1),
        ("beyond the last relative offset", quiet.clone(), [0, far + 1], 2),
        ("room for an entry each", LogConfig { segment_index_bytes: 24, ..quiet.clone() }, [0, 1], 1),
        ("no room for an entry", LogConfig { segment_index_bytes: 23, ..quiet.clone() }, [0, 1], 2),
    ] {
        let mut fixture = Fixture::new(config);
        batches.iter().for_each(|&offset| fixture.append(&batch(offset, 1, 100)));
        assert_eq!(segments(&fixture).len(), expected, "{name}");
        assert_eq!(headers(read_all(&fixture.log, 0)).len(), 2, "{name}");
    }
}

#[test]
fn records_without_timestamps_roll_by_the_clock() {
    let mut fixture = Fixture::new(LogConfig { segment_ms: 1_000, ..LogConfig::default() });
    let timeless = |offset| common::batch_at(-1, offset);
    for (now, expected) in [(NOW, 1), (NOW + 1_000, 1), (NOW + 1_001, 2)] {
        let offset = fixture.log.log_end();
        fixture.log.append(&[timeless(offset)], now).unwrap();
        assert_eq!(segments(&fixture).len(), expected, "{now}");
    }
}

#[test]
fn a_gap_at_the_start_leaves_no_empty_segment_behind() {
    let mut fixture = Fixture::new(LogConfig::default());
    let far = i64::from(u32::MAX);
    fixture.append(&batch(far, 1, 100));
    assert_eq!(segments(&fixture), [format!("{far:020}.log")]);
    assert_eq!(fixture.log.read(bounds(0, far + 1)).unwrap().unwrap().base_offset, far);
}

#[test]
fn followers_append_several_batches_at_once() {
    let mut fixture = Fixture::new(LogConfig::default());
    let batches = [batch_of(1, 0, 2, 50), batch_of(1, 2, 3, 50), batch_of(3, 9, 1, 50)];
    let appended = fixture.log.append(&batches, NOW).unwrap();
    assert_eq!((appended.base_offset, appended.log_end), (0, 10));
    assert_eq!(read_all(&fixture.log, 0), batches.iter().flat_map(bytes_of).collect::<Vec<u8>>());
    assert_eq!(fixture.log.epochs().end_offset_for(1, 10), Some((1, 9)));
    let disordered = [batch(10, 2, 50), batch(11, 1, 50)];
    assert!(matches!(fixture.log.append(&disordered, NOW), Err(LogAppendError::OutOfOrder { log_end: 12, found: 11 })));
    assert_eq!(fixture.log.log_end(), 10, "all or none");
}

#[test]
fn an_epoch_is_on_the_device_before_the_first_append_under_it() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&batch_of(2, 0, 5, 50));
    fixture.log.start_epoch(4).unwrap();
    let checkpoint = std::fs::read_to_string(fixture.dir().join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(checkpoint, "0\n2\n2 0\n4 5\n");
    assert_eq!(fixture.log.epochs().end_offset_for(2, 5), Some((2, 5)));
    // Nothing was appended under it: a crash may forget it, the next leader starts its own.
    fixture.reopen_after_crash(0);
    assert_eq!(fixture.log.epochs().latest().map(|latest| latest.epoch), Some(2));
}

#[test]
fn an_epoch_without_records_outlives_its_process_and_no_crash_of_the_machine() {
    let killed = RecoveryHint { intact: true, ..hint(false, 0) };
    for (how, found, latest) in [("killed", killed, 5), ("crashed", hint(false, 0), 2)] {
        let mut fixture = Fixture::new(LogConfig::default());
        fixture.append(&batch_of(2, 0, 5, 50));
        fixture.log.start_epoch(5).unwrap();
        fixture.reopen(found);
        assert_eq!(fixture.log.epochs().latest().unwrap().epoch, latest, "{how}");
        fixture.log.start_epoch(5).unwrap();
        fixture = fixture.restart();
        assert_eq!(fixture.log.epochs().latest().unwrap().epoch, 5, "{how}, then stopped");
        assert_eq!(fixture.log.epochs().end_offset_for(2, 5), Some((2, 5)), "{how}");
    }
}

#[test]
fn a_log_without_records_knows_under_which_epoch_its_last_one_was_written() {
    let no_time = LogConfig { retention_ms: Some(0), ..LogConfig::default() };
    let deleted: fn(&mut Log) = |log| log.advance_log_start(10);
    let expired: fn(&mut Log) = |log| assert_eq!(log.apply_retention(10, NOW + 100).unwrap().segments, 1);
    let cut: fn(&mut Log) = |log| {
        log.append(&[batch_of(3, 10, 5, 50)], NOW).unwrap();
        log.advance_log_start(10);
        log.truncate_to(10, NOW).unwrap();
    };
    let expired_then_cut: fn(&mut Log) = |log| {
        assert_eq!(log.apply_retention(10, NOW + 100).unwrap().segments, 1);
        log.append(&[batch_of(3, 10, 5, 50)], NOW).unwrap();
        log.truncate_to(10, NOW).unwrap();
    };
    let ways = [
        ("deleted", deleted),
        ("expired", expired),
        ("cut where it began", cut),
        ("expired, then cut", expired_then_cut),
    ];
    for (how, goes) in ways {
        let mut fixture = Fixture::new(no_time.clone());
        fixture.append(&batch_of(1, 0, 5, 50));
        fixture.append(&batch_of(2, 5, 5, 50));
        goes(&mut fixture.log);
        let last_epoch = |log: &Log| {
            assert_eq!((log.log_start(), log.log_end()), (10, 10), "{how}");
            log.epochs().epoch_at(9)
        };
        fixture.log.start_epoch(4).unwrap();
        fixture.log.forget_epochs_without_records().unwrap();
        assert_eq!(last_epoch(&fixture.log), Some(2), "{how}, then led without a record, then followed");
        fixture.log.start_epoch(5).unwrap();
        fixture.reopen(RecoveryHint { log_start: 10, ..hint(false, 0) });
        assert_eq!(last_epoch(&fixture.log), Some(2), "{how}, then crashed");
        fixture = fixture.restart();
        assert_eq!(last_epoch(&fixture.log), Some(2), "{how}, then restarted");
        fixture.append(&batch_of(6, 10, 1, 50));
        assert_eq!(fixture.log.epochs().end_offset_for(2, 11), Some((2, 10)), "{how}");
    }
}

#[test]
fn a_slice_that_was_cut_never_turns_into_what_is_appended_later() {
    // Where the second segment, which begins at 10, is cut: within it, in its first batch, before it.
    for cut_to in [15, 11, 10, 5, 0] {
        let mut fixture = Fixture::new(LogConfig::default());
        for base_offset in [0, 5, 10, 15] {
            if base_offset == 10 {
                fixture.log.roll(NOW).unwrap();
            }
            fixture.append(&batch_of(1, base_offset, 5, 50));
        }
        let read = |log: &Log, from| log.read(bounds(from, 20)).unwrap().unwrap();
        let slices = [0, 5, 10, 15].map(|from| read(&fixture.log, from));
        let before = slices.each_ref().map(|slice| slice.read().unwrap());
        let end = fixture.log.truncate_to(cut_to, NOW).unwrap();
        // Of the same size, at the same offsets.
        for base_offset in (end..20).step_by(5) {
            fixture.append(&batch_of(2, base_offset, 5, 50));
        }
        for (slice, before) in slices.iter().zip(before) {
            assert_eq!(slice.is_intact(), slice.next_offset <= end, "cut to {cut_to}: {slice:?}");
            let now = slice.read().unwrap_or_default();
            let same = before.iter().zip(&now).all(|(before, now)| before == now || *now == 0);
            assert!(same, "cut to {cut_to}: {slice:?}");
        }
        assert_eq!(read(&fixture.log, 15).read().unwrap()[12..16], 2_i32.to_be_bytes(), "cut to {cut_to}");
        fixture.reopen_after_crash(0);
        assert_eq!((fixture.log.log_end(), fixture.log.epochs().epoch_at(19)), (20, Some(2)), "cut to {cut_to}");
    }
}

#[test]
fn a_producer_is_known_after_a_restart_a_crash_and_a_truncation() {
    let config = LogConfig { segment_bytes: 300, ..LogConfig::default() };
    let mut fixture = Fixture::new(config);
    for i in 0..10 {
        fixture.append(&produced(7, i, i.into()));
    }
    let again =
        |fixture: &Fixture, sequence: i32| fixture.log.producers().check(&produced(7, sequence, 99).header(), None);
    let Ok(Admission::Duplicate(first)) = again(&fixture, 5) else { panic!("not remembered") };
    assert_eq!(first.last_offset, 5);
    assert!(again(&fixture, 4).is_err(), "only five batches are remembered");

    fixture = fixture.restart();
    assert!(matches!(again(&fixture, 9), Ok(Admission::Duplicate(_))));
    assert_eq!(again(&fixture, 10), Ok(Admission::Append));
    assert!(again(&fixture, 11).is_err());

    fixture.append(&produced(7, 10, 10));
    fixture.reopen_after_crash(0);
    assert_eq!(again(&fixture, 11), Ok(Admission::Append));

    fixture.log.truncate_to(4, NOW).unwrap();
    assert_eq!(again(&fixture, 4), Ok(Admission::Append));
    assert!(again(&fixture, 5).is_err());

    fixture.log.truncate_fully_and_start_at(100, NOW).unwrap();
    assert_eq!(again(&fixture, 5), Ok(Admission::Append), "an unknown producer may begin anywhere");
}

/// Kafka's snapshot holds one batch of each producer. Chaos found it: all brokers killed just after a segment was
/// sealed.
#[test]
fn a_producers_latest_five_batches_are_known_after_a_crash_just_behind_a_snapshot() {
    let mut fixture = Fixture::new(LogConfig::default());
    for sequence in 0..7 {
        fixture.append(&produced(7, sequence, i64::from(sequence)));
    }
    fixture.append(&produced(8, 0, 7));
    fixture.log.roll(NOW).unwrap();
    fixture.append(&produced(9, 0, 8));
    fixture.reopen_after_crash(0);
    let again =
        |producer_id, sequence| fixture.log.producers().check(&produced(producer_id, sequence, 0).header(), None);
    for sequence in 2..7 {
        let Ok(Admission::Duplicate(first)) = again(7, sequence) else { panic!("{sequence} is not remembered") };
        assert_eq!(first.last_offset, i64::from(sequence));
    }
    assert!(again(7, 1).is_err(), "further back than clients go");
    assert_eq!(again(7, 7), Ok(Admission::Append));
    assert!(matches!((again(8, 0), again(9, 0)), (Ok(Admission::Duplicate(_)), Ok(Admission::Duplicate(_)))));
}

#[test]
fn a_quiet_producer_is_forgotten_while_the_log_stays_open() {
    let mut fixture = Fixture::new(LogConfig { producer_expiration_ms: 1_000, ..LogConfig::default() });
    fixture.append(&produced(7, 0, 0));
    for (after_ms, known) in [(999, true), (1_000, false)] {
        assert_eq!(fixture.log.apply_retention(1, NOW + after_ms).unwrap().segments, 0);
        assert_eq!(fixture.log.producers().get(7).is_some(), known, "{after_ms} ms later");
    }
}

#[test]
fn timestamps_are_found_by_record() {
    for codec in [Codec::None, Codec::Lz4] {
        let config = LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..LogConfig::default() };
        let mut fixture = Fixture::new(config);
        // Out of order within and across batches; two records share the largest.
        let times = [[10, 40, 20], [30, 15, 35], [70, 50, 90], [60, 90, 80]];
        for (i, batch) in times.iter().enumerate() {
            fixture.append(&common::batch_with_times(codec, i as i64 * 3, batch));
        }
        let search = |fixture: &Fixture, wanted| fixture.log.search(wanted).run().unwrap();
        let found = |offset, timestamp| Some(FoundRecord { offset, timestamp, leader_epoch: 0 });
        for (wanted, expected) in [
            (SearchTarget::FirstAt(0), found(0, 10)),
            (SearchTarget::FirstAt(10), found(0, 10)),
            (SearchTarget::FirstAt(11), found(1, 40)),
            (SearchTarget::FirstAt(41), found(6, 70)),
            (SearchTarget::FirstAt(71), found(8, 90)),
            (SearchTarget::FirstAt(91), None),
            (SearchTarget::Latest, found(8, 90)),
        ] {
            assert_eq!(search(&fixture, wanted), expected, "{wanted:?} in {codec:?}");
        }
        fixture.log.advance_log_start(5);
        assert_eq!(search(&fixture, SearchTarget::FirstAt(0)), found(5, 35), "below the log's start there is nothing");
        fixture = fixture.restart();
        assert_eq!(search(&fixture, SearchTarget::FirstAt(41)), found(6, 70), "after a restart");
    }
    let empty = Fixture::new(LogConfig::default());
    assert_eq!(empty.log.search(SearchTarget::Latest).run().unwrap(), None);
    assert_eq!(empty.log.search(SearchTarget::FirstAt(0)).run().unwrap(), None);
}

#[test]
fn timestamps_are_found_in_a_batch_that_grows_a_thousandfold() {
    let mut fixture = Fixture::new(LogConfig::default());
    let mut builder = BatchBuilder::new(Codec::Zstd { level: 3 });
    for timestamp in 1..=40 {
        builder.push(NewRecord { timestamp, value: Some(&[0; 1 << 20]), ..NewRecord::default() });
    }
    fixture.append(&builder.build().stamp(0, 0, None));
    let found = fixture.log.search(SearchTarget::FirstAt(40)).run().unwrap();
    assert_eq!(found, Some(FoundRecord { offset: 39, timestamp: 40, leader_epoch: 0 }));
}

#[test]
fn old_segments_go_but_readers_keep_what_they_have() {
    let len = bytes_of(&batch(0, 5, 100)).len() as u32;
    let config = LogConfig {
        segment_bytes: 2 * len,
        retention_ms: None,
        retention_bytes: Some(4 * u64::from(len)),
        ..LogConfig::default()
    };
    let mut fixture = Fixture::new(config);
    for i in 0..10 {
        fixture.append(&batch_of((i / 5) as i32, i * 5, 5, 100));
    }
    let slice = fixture.log.read(bounds(0, 50)).unwrap().unwrap();
    let before = slice.read().unwrap();

    let retired = fixture.log.apply_retention(12, NOW).unwrap();
    assert_eq!((retired.segments, fixture.log.log_start()), (1, 10), "not above the high watermark");
    let more = fixture.log.apply_retention(50, NOW).unwrap();
    assert_eq!((more.segments, fixture.log.log_start(), segments(&fixture).len()), (2, 30, 2));
    assert!(matches!(fixture.log.read(bounds(29, 50)), Err(ReadError::OutOfRange(_))));
    assert_eq!(fixture.log.epochs().end_offset_for(0, 50), Some((0, 29)), "its epoch went with it");

    assert_eq!(slice.read().unwrap(), before);
    let deleted = || std::fs::read_dir(fixture.dir()).unwrap().filter(|e| name_of(e).ends_with(".deleted")).count();
    assert!(deleted() >= 9, "log and indexes of three segments");
    retired.unlink().unwrap();
    more.unlink().unwrap();
    assert_eq!(deleted(), 0);
    assert_eq!(slice.read().unwrap(), before);
}

fn name_of(entry: &std::io::Result<std::fs::DirEntry>) -> String {
    entry.as_ref().unwrap().file_name().into_string().unwrap()
}

#[test]
fn the_last_records_of_a_quiet_topic_expire_too() {
    let mut fixture = Fixture::new(LogConfig { retention_ms: Some(1_000), ..LogConfig::default() });
    fixture.append(&batch(0, 5, 100));
    assert_eq!(fixture.log.apply_retention(5, NOW + 1_004).unwrap().segments, 0);
    assert_eq!(fixture.log.apply_retention(5, NOW + 1_005).unwrap().segments, 1);
    assert_eq!((fixture.log.log_start(), fixture.log.log_end(), fixture.log.size()), (5, 5, 0));
    fixture.append(&batch(5, 5, 100));
    let fixture = fixture.restart();
    assert_eq!((fixture.log.log_start(), fixture.log.log_end()), (5, 10));
}

#[test]
fn deleted_records_stay_deleted() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&batch(0, 5, 100));
    fixture.append(&batch(5, 5, 100));
    fixture.log.advance_log_start(7);
    fixture.log.advance_log_start(3);
    assert_eq!(fixture.log.log_start(), 7, "never back");
    assert!(matches!(fixture.log.read(bounds(6, 10)), Err(ReadError::OutOfRange(_))));
    assert_eq!(fixture.log.read(bounds(7, 10)).unwrap().unwrap().base_offset, 5, "whole batches");
    let mut fixture = fixture.restart();
    assert_eq!(fixture.log.log_start(), 7);
    // All was deleted, then the disk lost the tail: the offsets are not given out again.
    fixture.log.advance_log_start(10);
    std::fs::write(fixture.dir().join("00000000000000000000.log"), []).unwrap();
    fixture.reopen(RecoveryHint { log_start: 10, ..RecoveryHint::default() });
    assert_eq!((fixture.log.log_start(), fixture.log.log_end()), (10, 10));
}

#[test]
fn a_flush_moves_the_recovery_point_unless_the_log_was_truncated_meanwhile() {
    let mut fixture = Fixture::new(LogConfig { segment_bytes: 500, ..LogConfig::default() });
    for i in 0..10 {
        fixture.append(&batch(i, 1, 100));
    }
    let log = &mut fixture.log;
    assert_eq!(log.unflushed_bytes(), log.size());
    let flush = log.start_flush().unwrap().unwrap();
    assert!(log.start_flush().unwrap().is_none(), "one at a time");
    let before = log.size();
    log.append(&[batch(10, 1, 100)], NOW + 5).unwrap();
    flush.run().unwrap();
    log.flushed(&flush);
    assert_eq!((log.recovery_point(), log.unflushed_bytes()), (10, log.size() - before));

    let flush = log.start_flush().unwrap().unwrap();
    log.truncate_to(4, NOW).unwrap();
    flush.run().unwrap();
    log.flushed(&flush);
    assert_eq!(log.recovery_point(), 4, "of the new tail the flush knows nothing");
    log.flush().unwrap();
    assert!(log.start_flush().unwrap().is_none(), "all is flushed");
}

#[test]
fn space_is_reserved_for_growing_segments_only_and_given_back() {
    use std::os::unix::fs::MetadataExt;
    let mut fixture = Fixture::new(LogConfig::default());
    let blocks = |fixture: &Fixture| {
        let path = fixture.dir().join("00000000000000000000.log");
        std::fs::metadata(path).unwrap().blocks() * 512
    };
    fixture.append(&batch(0, 1, 100));
    assert!(blocks(&fixture) < 1 << 20);
    for i in 1..13 {
        fixture.append(&batch(i, 1, 100_000));
    }
    let size = fixture.log.size();
    let reserved = blocks(&fixture);
    fixture.log.roll(NOW).unwrap();
    assert_eq!(std::fs::metadata(fixture.dir().join("00000000000000000000.log")).unwrap().len(), size);
    // Some file systems can't reserve; those that can give back.
    assert!(reserved < size + 65_536 || reserved >= 4 << 20 && blocks(&fixture) < size + 65_536);
}

#[test]
fn a_closed_log_takes_no_writes() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&batch(0, 1, 100));
    fixture.log.close().unwrap();
    assert!(matches!(fixture.log.append(&[batch(1, 1, 100)], NOW), Err(LogAppendError::Failed)));
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let len = bytes_of(&batch(0, 1, 100)).len() as u32;
    let mut fixture = Fixture::new(LogConfig { segment_bytes: 2 * len, ..LogConfig::default() });
    fixture.append(&batch(0, 1, 100));
    fixture.append(&batch(1, 1, 100));
    let before = segments(&fixture);
    // The next batch wants a new segment, and first a snapshot: the device takes none of it.
    let snapshot = fixture.dir().join("00000000000000000002.snapshot");
    std::os::unix::fs::symlink("/dev/full", &snapshot).unwrap();
    let error = fixture.log.append(&[batch(2, 1, 100)], NOW).unwrap_err();
    assert!(matches!(error, LogAppendError::NoRoom(_)), "{error}");
    assert_eq!((segments(&fixture), fixture.log.log_end()), (before, 2));

    std::fs::remove_file(&snapshot).unwrap();
    fixture.append(&batch(2, 1, 100));
    assert_eq!(headers(read_all(&fixture.log, 0)).len(), 3);

    // Behind a wide gap: the segment is made, but its device takes nothing and can't be cut back either.
    fixture.append(&batch(3, 1, 100));
    let far = i64::from(u32::MAX);
    let next = fixture.dir().join(format!("{far:020}.log"));
    std::os::unix::fs::symlink("/dev/full", &next).unwrap();
    let error = fixture.log.append(&[batch(far, 1, 100)], NOW).unwrap_err();
    assert!(matches!(error, LogAppendError::Disk(_)), "{error}");
    assert!(error.to_string().contains("failed to write"), "{error}");
    assert!(matches!(fixture.log.append(&[batch(far, 1, 100)], NOW), Err(LogAppendError::Failed)));
    assert_eq!(fixture.log.log_end(), far, "the gap belongs to the log");
    std::fs::remove_file(&next).unwrap();
    std::fs::write(&next, []).unwrap();
    fixture.reopen(RecoveryHint { intact: true, ..common::hint(false, 0) });
    assert_eq!(fixture.log.log_end(), far, "so it does after a restart");
    assert_eq!(headers(read_all(&fixture.log, 0)).len(), 4);
}
