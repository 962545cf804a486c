//! A log from the outside: appended to, read, rolled, truncated, deleted from and opened again.

mod common;

use common::{Fixture, batch, read_all};
use ottla_log::{AppendError, Bounds, LogConfig, ReadError};

#[test]
fn what_is_appended_is_read_back_byte_for_byte() {
    let mut fixture = Fixture::new(LogConfig::default());
    let batches = [batch(0, 3, 100), batch(3, 1, 100), batch(4, 2, 100)];
    for batch in &batches {
        fixture.append(batch);
    }
    let written: Vec<u8> = batches.iter().flat_map(common::bytes_of).collect();
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
        let len = common::bytes_of(&batch(0, 5, 100)).len();
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
            let bounds = Bounds { from, up_to, max_bytes, at_least_one };
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
    assert!(matches!(error, AppendError::OutOfOrder { log_end: 25, found: 24 }));
    assert_eq!(fixture.log.read(bounds(17, 25)).unwrap().unwrap().base_offset, 20);
    assert_eq!(fixture.log.read(bounds(0, 25)).unwrap().unwrap().base_offset, 10);
}

fn bounds(from: i64, up_to: i64) -> Bounds {
    Bounds { from, up_to, max_bytes: usize::MAX, at_least_one: true }
}
