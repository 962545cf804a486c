//! Histories that look odd and are what Kafka allows: good, one a test.

use ottla_history::transactions::Allowed::{IntermediateRead, MixedCycle, Moved, WriteCycle};
use ottla_history::transactions::Isolation::{ReadCommitted, ReadUncommitted};

use super::words::*;

#[test]
fn open_transactions_write_in_different_orders() {
    let seen = [begun(1), begun(2), sent((1, 0)), sent((2, 0)), sent((2, 1)), sent((1, 1)), committed(1), committed(2)];
    let logs = [log(X, [(0, (1, 0)), (1, (2, 0))], 4), log(Y, [(0, (2, 1)), (1, (1, 1))], 4)].concat();
    let report = good(&[&seen, &logs]);
    assert_eq!(report.allowed(WriteCycle), 1, "{report}");
    assert!(report.to_string().contains("transaction 1/0 → transaction 2/0 → transaction 1/0"), "{report}");
    assert_eq!((report.counts.committed, report.counts.sent, report.counts.logged), (2, 4, 4));
}

#[test]
fn a_transaction_reads_what_was_written_after_it_had_written() {
    let other = [begun(2), sent((2, 0)), sent((2, 1)), committed(2)];
    let seen = [&[begun(1), sent((1, 0))][..], &other, &[polled(1, Y, [(0, (2, 1))]), committed(1)]].concat();
    let logs = [log(X, [(0, (1, 0)), (1, (2, 0))], 4), log(Y, [(0, (2, 1))], 2)].concat();
    let report = good(&[&seen, &logs]);
    assert_eq!(report.allowed(MixedCycle), 1, "{report}");
    assert!(report.to_string().contains("transaction 1/0 has read transaction 2/0 and leads to it"), "{report}");
    assert_eq!(report.allowed(WriteCycle), 0, "{report}");
}

#[test]
fn a_poll_ends_inside_a_transaction() {
    let seen = [begun(1), sent((1, 0)), sent((1, 1)), committed(1)];
    let polls = [polled(2, X, [(0, (1, 0))]), polled(2, X, [(1, (1, 1))]), at_end(2, X, 3)];
    let report = good(&[&seen, &polls, &log(X, [(0, (1, 0)), (1, (1, 1))], 3)]);
    assert_eq!(report.allowed(IntermediateRead), 1, "{report}");
}

#[test]
fn a_transactions_records_lie_apart() {
    let seen = [begun(1), sent((1, 0)), sent((2, 0)), sent((1, 1)), committed(1), acknowledged((2, 0), X, 1)];
    good(&[&seen, &log(X, [(0, (1, 0)), (1, (2, 0)), (2, (1, 1))], 4)]);
}

#[test]
fn a_subscribed_consumer_goes_on_elsewhere_after_a_rebalance() {
    let seen = [begun(1), sent((1, 0)), sent((1, 1)), sent((1, 2)), committed(1)];
    let logs = log(X, [(0, (1, 0)), (1, (1, 1)), (2, (1, 2))], 4);
    let forward = [polled(2, X, [(0, (1, 0))]), assigned(2, X), polled(2, X, [(2, (1, 2))])];
    assert_eq!(good(&[&seen, &forward, &logs]).allowed(Moved), 1);
    let back = [polled(2, X, [(1, (1, 1)), (2, (1, 2))]), assigned(2, X), polled(2, X, [(1, (1, 1))])];
    assert_eq!(good(&[&seen, &back, &logs]).allowed(Moved), 1);
    let stays = [polled(2, X, [(0, (1, 0))]), assigned(2, X), polled(2, X, [(1, (1, 1))])];
    assert_eq!(good(&[&seen, &stays, &logs]).allowed(Moved), 0);
    let sees_none = [polled(2, X, [(0, (1, 0))]), assigned(2, X), at_end(2, X, 4)];
    good(&[&seen, &sees_none, &logs]);
}

#[test]
fn markers_and_aborted_records_leave_gaps() {
    let seen = [begun(1), sent((1, 0)), committed(1), begun(1), sent((1, 1)), aborted(1), begun(1), sent((1, 2))];
    let rest = [committed(1), polled(2, X, [(0, (1, 0)), (4, (1, 2))]), at_end(2, X, 6)];
    let logs = [
        log(X, [(0, (1, 0)), (4, (1, 2))], 6),
        read(ReadUncommitted, X, [(0, (1, 0)), (2, (1, 1)), (4, (1, 2))], 0, 6),
    ];
    good(&[&seen, &rest, &logs.concat()]);
}

#[test]
fn a_transaction_in_doubt_is_there_as_a_whole_or_not_at_all() {
    let seen = [begun(1), sent((1, 0)), sent((1, 1)), in_doubt(1)];
    let report = good(&[&seen, &log(X, [(0, (1, 0))], 2), &log(Y, [(0, (1, 1))], 2)]);
    assert_eq!((report.counts.in_doubt, report.counts.in_doubt_committed), (1, 1));
    let report = good(&[&seen, &log(X, [], 2), &log(Y, [], 2)]);
    assert_eq!((report.counts.in_doubt, report.counts.in_doubt_committed), (1, 0));
    // A transaction whose end no client reported.
    assert_eq!(good(&[&seen[..3], &log(X, [(0, (1, 0)), (1, (1, 1))], 3)]).counts.in_doubt, 1);
}

#[test]
fn a_record_without_acknowledgement_may_be_there_or_not() {
    good(&[&[sent((1, 0)), sent((1, 1)), sent((1, 2))], &log(X, [(0, (1, 1))], 1)]);
}

#[test]
fn deleted_records_are_not_lost() {
    let seen = [begun(1), sent((1, 0)), sent((1, 1)), sent((1, 2)), acknowledged((1, 0), X, 0), committed(1)];
    let polls = [polled(2, X, [(0, (1, 0)), (1, (1, 1))])];
    good(&[&seen, &polls, &read(ReadCommitted, X, [(2, (1, 2))], 2, 4)]);
}

#[test]
fn a_job_aborts_seeks_back_and_takes_its_records_again() {
    let input = [sent((1, 0)), sent((1, 1)), acknowledged((1, 0), X, 0), acknowledged((1, 1), X, 1)];
    let first = [seeked(2, X, 0), polled(2, X, [(0, (1, 0)), (1, (1, 1))]), begun(2), sent((2, 0)), taken(2, X, 0..2)];
    let again = [aborted(2), seeked(2, X, 0), polled(2, X, [(0, (1, 0)), (1, (1, 1))]), begun(2), sent((2, 1))];
    let end = [taken(2, X, 0..2), committed(2), group_read(X, Some(2))];
    good(&[&input, &first, &again, &end, &log(X, [(0, (1, 0)), (1, (1, 1))], 2), &log(Y, [(2, (2, 1))], 4)]);
}

#[test]
fn a_group_passes_offsets_that_hold_no_record() {
    // Offset 1 is a marker.
    let seen = [begun(1), sent((1, 0)), committed(1), begun(1), sent((1, 1)), committed(1)];
    let job = [begun(2), taken(2, X, 0..1), committed(2), begun(3), taken(3, X, 2..3), committed(3)];
    good(&[&seen, &job, &log(X, [(0, (1, 0)), (2, (1, 1))], 4), &[group_read(X, Some(3))]]);
}

#[test]
fn offsets_decide_about_a_transaction_in_doubt_without_output() {
    let input = [sent((1, 0)), sent((1, 1)), sent((1, 2))];
    let logs = log(X, [(0, (1, 0)), (1, (1, 1)), (2, (1, 2))], 3);
    let in_the_middle = [begun(2), taken(2, X, 0..1), committed(2), begun(2), taken(2, X, 1..2), in_doubt(2)];
    let after = [begun(3), taken(3, X, 2..3), committed(3), group_read(X, Some(3))];
    good(&[&input, &logs, &in_the_middle, &after]);
    // Aborted after all: another took the same.
    let again = [begun(3), taken(3, X, 1..3), committed(3), group_read(X, Some(3))];
    good(&[&input, &logs, &in_the_middle, &again]);
    // The last one.
    good(&[&input, &logs, &in_the_middle, &[group_read(X, Some(2))]]);
    good(&[&input, &logs, &in_the_middle, &[group_read(X, Some(1))]]);
}

#[test]
fn a_group_that_only_aborted_has_no_offset() {
    let seen = [sent((1, 0)), begun(2), sent((2, 0)), taken(2, X, 0..1), aborted(2)];
    for at_end in [None, Some(0)] {
        good(&[&seen, &log(X, [(0, (1, 0))], 1), &log(Y, [], 2), &[group_read(X, at_end)]]);
    }
}

#[test]
fn v1_alone_is_no_fault() {
    let seen = [begun_v1(1), sent((1, 0)), committed(1), begun_v1(1), sent((1, 1)), aborted(1)];
    good(&[&seen, &log(X, [(0, (1, 0))], 4)]);
}
