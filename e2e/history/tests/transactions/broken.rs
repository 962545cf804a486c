//! Broken histories, one a test: each is found, with its evidence, and nothing else is.

use std::ops::Range;

use ottla_history::Partition;
use ottla_history::transactions::Isolation::{ReadCommitted, ReadUncommitted};
use ottla_history::transactions::Kind::{
    AbortedRead, AbortedStays, CircularFlow, Duplicated, Incomplete, Lost, Misplaced, NeverWritten, OffsetMismatch,
    OwnWriteSeen, Reordered, Reversed, Skipped, Torn, Unseen,
};
use ottla_history::transactions::Operation::{self, Logged};

use super::words::*;

#[track_caller]
fn says(report: &str, evidence: &str) {
    assert!(report.contains(evidence), "not “{evidence}” but {report}");
}

#[test]
fn a_record_of_an_aborted_transaction_is_read() {
    let seen = [begun(1), sent((1, 0)), polled(2, X, [(0, (1, 0))]), aborted(1)];
    let report = finds(AbortedRead, &[&seen, &log(X, [], 2)]);
    says(&report, "client 2 was given record 1-0 of transaction 1/0 (partition 0, offset 0), which is aborted");
}

#[test]
fn two_transactions_read_each_other() {
    let one = [begun(1), sent((1, 0)), polled(1, Y, [(0, (2, 0))]), committed(1)];
    let other = [begun(2), sent((2, 0)), polled(2, X, [(0, (1, 0))]), committed(2)];
    let report = finds(CircularFlow, &[&one, &other, &log(X, [(0, (1, 0))], 2), &log(Y, [(0, (2, 0))], 2)]);
    says(&report, "transaction 1/0 → transaction 2/0 → transaction 1/0: ");
    says(&report, "client 1 was given record 2-0 of transaction 2/0 (partition 1, offset 0)");
    says(&report, "client 1 then ended transaction 1/0");
    says(&report, "client 2 was given record 1-0 of transaction 1/0 (partition 0, offset 0)");
    says(&report, "client 2 then ended transaction 2/0");
}

#[test]
fn a_transaction_is_read_before_one_of_its_records_was_written() {
    // Client 1 writes after it has read what client 2 committed; but its record lies before client 2's.
    let reader = [begun(1), polled(1, Y, [(0, (2, 0))]), sent((1, 0)), committed(1)];
    let writer = [begun(2), sent((2, 0)), sent((2, 1)), committed(2)];
    let logs = [log(X, [(0, (1, 0)), (1, (2, 1))], 4), log(Y, [(0, (2, 0))], 2)].concat();
    let report = finds(CircularFlow, &[&reader, &writer, &logs]);
    says(&report, "transaction 2/0 → transaction 2/0: client 1 was given record 2-0 of transaction 2/0");
    says(&report, "client 1 then sent record 1-0 of transaction 1/0 (partition 0, offset 0)");
    says(&report, "which lies before record 2-1 of transaction 2/0 (partition 0, offset 1)");
}

#[test]
fn a_client_reads_what_it_only_writes_later() {
    let seen = [begun(1), polled(1, X, [(0, (1, 0))]), committed(1), begun(1), sent((1, 0)), committed(1)];
    let report = finds(CircularFlow, &[&seen, &log(X, [(0, (1, 0))], 2)]);
    says(&report, "client 1 was given record 1-0 of transaction 1/1 (partition 0, offset 0)");
}

#[test]
fn the_smallest_of_many_cycles_is_shown() {
    // A ring of ten transactions, each of which has read the one before; and within it a pair.
    let mut history = Vec::new();
    for client in 0..10 {
        let before = (client + 9) % 10;
        history.extend([begun(client), polled(client, Partition(before), [(0, (before, 0))])]);
        if client == 3 {
            history.push(polled(3, Partition(4), [(0, (4, 0))]));
        }
        history.extend([sent((client, 0)), committed(client)]);
        history.extend(log(Partition(client), [(0, (client, 0))], 2));
    }
    let report = finds(CircularFlow, &[&history]);
    assert!(
        report.contains("transaction 3/0 → transaction 4/0 → transaction 3/0: ")
            || report.contains("transaction 4/0 → transaction 3/0 → transaction 4/0: "),
        "{report}"
    );
}

#[test]
fn records_without_a_transaction_flow_too() {
    let seen = [polled(1, Y, [(0, (2, 0))]), sent((1, 0)), polled(2, X, [(0, (1, 0))]), sent((2, 0))];
    let report = finds(CircularFlow, &[&seen, &log(X, [(0, (1, 0))], 1), &log(Y, [(0, (2, 0))], 1)]);
    says(&report, "client 2 was given record 1-0 (partition 0, offset 0)");
}

#[test]
fn a_committed_record_is_lost() {
    let seen = [begun(1), sent((1, 0)), sent((1, 1)), acknowledged((1, 1), X, 1), committed(1)];
    let report = finds(Lost, &[&seen, &log(X, [(0, (1, 0))], 3)]);
    says(&report, "record 1-1 of transaction 1/0 (partition 0, offset 1) is committed, and not in the log");
}

#[test]
fn a_record_without_a_transaction_is_lost() {
    finds(Lost, &[&[sent((1, 0)), acknowledged((1, 0), X, 0)], &log(X, [], 1)]);
    finds(Lost, &[&[sent((1, 0)), polled(2, X, [(0, (1, 0))])], &log(X, [], 1)]);
    // The whole log ends before it.
    let logs = [log(X, [], 0), read(ReadUncommitted, X, [], 0, 0)].concat();
    finds(Lost, &[&[sent((1, 0)), acknowledged((1, 0), X, 0)], &logs]);
}

#[test]
fn a_record_of_a_transaction_in_doubt_was_read_and_is_lost() {
    let seen = [begun(1), sent((1, 0)), in_doubt(1), polled(2, X, [(0, (1, 0))])];
    says(&finds(Lost, &[&seen, &log(X, [], 2)]), "was given to a consumer, and is not in the log");
}

#[test]
fn a_transaction_in_doubt_is_there_in_part() {
    let seen = [begun(1), sent((1, 0)), sent((1, 1)), in_doubt(1)];
    let report = finds(Torn, &[&seen, &log(X, [(0, (1, 0))], 2), &log(Y, [], 2)]);
    says(&report, "record 1-1 of transaction 1/0 is not in the log, while others of its transaction are");
}

#[test]
fn a_record_is_duplicated() {
    let seen = [begun(1), sent((1, 0)), committed(1)];
    let report = finds(Duplicated, &[&seen, &log(X, [(0, (1, 0)), (1, (1, 0))], 3)]);
    says(&report, "record 1-0 of transaction 1/0 (partition 0, offset 0) lies at partition 0, offset 1, too");
}

#[test]
fn an_aborted_record_stays() {
    let seen = [begun(1), sent((1, 0)), aborted(1)];
    let report = finds(AbortedStays, &[&seen, &log(X, [(0, (1, 0))], 2)]);
    says(&report, "record 1-0 of transaction 1/0 (partition 0, offset 0) is aborted");
}

#[test]
fn a_committed_record_is_unseen_by_read_committed() {
    let seen = [begun(1), sent((1, 0)), committed(1)];
    let logs = [log(X, [], 2), read(ReadUncommitted, X, [(0, (1, 0))], 0, 2)].concat();
    says(&finds(Unseen, &[&seen, &logs]), "only a read with read_uncommitted found it");
}

#[test]
fn a_committed_record_is_unseen_beyond_the_last_stable_offset() {
    let seen = [begun(1), sent((1, 0)), acknowledged((1, 0), X, 3), committed(1)];
    says(&finds(Unseen, &[&seen, &log(X, [], 2)]), "lies beyond the end of the last read");
}

#[test]
fn a_transaction_is_never_ended() {
    let logs = [log(X, [], 2), read(ReadUncommitted, X, [], 0, 3)].concat();
    says(&finds(Unseen, &[&logs]), "partition 0: the last stable offset is 2, the end 3");
}

#[test]
fn a_consumer_at_its_end_has_not_seen_a_record() {
    let seen = [begun(1), sent((1, 0)), committed(1), seeked(2, X, 0), at_end(2, X, 2)];
    let report = finds(Unseen, &[&seen, &log(X, [(0, (1, 0))], 2)]);
    says(&report, "client 2 was not given record 1-0 of transaction 1/0 (partition 0, offset 0)");
}

#[test]
fn a_client_sees_its_own_open_transaction() {
    let seen = [begun(1), sent((1, 0)), polled(1, X, [(0, (1, 0))]), committed(1)];
    let report = finds(OwnWriteSeen, &[&seen, &log(X, [(0, (1, 0))], 2)]);
    says(&report, "client 1 was given its own record 1-0 of transaction 1/0 (partition 0, offset 0)");
}

#[test]
fn a_poll_skips_a_record() {
    let writes = [begun(1), sent((1, 0)), sent((1, 1)), sent((1, 2)), sent((1, 3)), committed(1)];
    let logs = log(X, [(0, (1, 0)), (1, (1, 1)), (2, (1, 2)), (3, (1, 3))], 5);
    let report = finds(Skipped, &[&writes, &[polled(2, X, [(0, (1, 0)), (3, (1, 3))])], &logs]);
    says(&report, "client 2 was not given record 1-1 of transaction 1/0 (partition 0, offset 1) and 1 more");
    // Between polls as well, if no rebalance came between.
    let polls = [polled(2, X, [(0, (1, 0))]), polled(2, X, [(2, (1, 2)), (3, (1, 3))])];
    finds(Skipped, &[&writes, &polls, &logs]);
    // A rebalance excuses one step.
    let polls = [polled(2, X, [(0, (1, 0))]), assigned(2, X), polled(2, X, [(1, (1, 1)), (3, (1, 3))])];
    finds(Skipped, &[&writes, &polls, &logs]);
}

#[test]
fn a_poll_goes_back() {
    let writes = [begun(1), sent((1, 0)), sent((1, 1)), committed(1)];
    let logs = log(X, [(0, (1, 0)), (1, (1, 1))], 3);
    let report = finds(Reversed, &[&writes, &[polled(2, X, [(1, (1, 1)), (0, (1, 0))])], &logs]);
    says(&report, "partition 0: client 2 was given offset 0 where 2 comes next");
    let polls = [polled(2, X, [(0, (1, 0)), (1, (1, 1))]), polled(2, X, [(1, (1, 1))])];
    finds(Reversed, &[&writes, &polls, &logs]);
}

#[test]
fn a_clients_records_are_reordered() {
    let writes = [begun(1), sent((1, 0)), sent((1, 1)), committed(1)];
    let report = finds(Reordered, &[&writes, &log(X, [(0, (1, 1)), (1, (1, 0))], 3)]);
    says(&report, "record 1-1 of transaction 1/0 (partition 0, offset 0) lies before record 1-0 of transaction 1/0");
}

#[test]
fn a_record_is_at_two_places() {
    let writes = [begun(1), sent((1, 0)), acknowledged((1, 0), X, 4), committed(1)];
    let report = finds(Misplaced, &[&writes, &log(X, [(0, (1, 0))], 5)]);
    says(&report, "record 1-0 of transaction 1/0 (partition 0, offset 4): the last read found it at partition 0");
    let polls = [polled(2, X, [(0, (1, 0))])];
    let writes = [begun(1), sent((1, 0)), committed(1)];
    finds(Misplaced, &[&writes, &polls, &log(X, [], 2), &log(Y, [(0, (1, 0))], 2)]);
}

#[test]
fn an_offset_holds_two_records() {
    // The aborted one was acknowledged where another lies now.
    let seen = [begun(1), sent((1, 0)), acknowledged((1, 0), X, 0), aborted(1), begun(2), sent((2, 0)), committed(2)];
    let report = finds(Misplaced, &[&seen, &log(X, [(0, (2, 0))], 2)]);
    says(&report, "partition 0: offset 0 held record 1-0 and record 2-0");
}

#[test]
fn a_record_that_nobody_sent_is_there() {
    finds(NeverWritten, &[&log(X, [(0, (1, 0))], 1)]);
    let damaged = Logged { isolation: ReadCommitted, partition: X, offset: 0, id: None };
    says(&finds(NeverWritten, &[&[damaged], &log(X, [], 1)]), "partition 0: offset 0 holds bytes that are no record's");
}

#[test]
fn a_partition_is_not_read_at_the_end() {
    let seen = [begun(1), sent((1, 0)), acknowledged((1, 0), X, 0), committed(1)];
    says(&finds(Incomplete, &[&seen]), "partition 0 was not read at the end with read_committed");
    finds(Incomplete, &[&seen, &read(ReadUncommitted, X, [(0, (1, 0))], 0, 2)]);
}

#[test]
fn an_operation_belongs_to_no_transaction() {
    says(&finds(Incomplete, &[&[committed(1)]]), "client 1 ended a transaction that it has not begun");
    finds(Incomplete, &[&[taken(1, X, 0..1)]]);
}

/// Client 1 has written four records to X.
fn input() -> Vec<Operation> {
    let records = [(0, (1, 0)), (1, (1, 1)), (2, (1, 2)), (3, (1, 3))];
    records.into_iter().map(|(_, name)| sent(name)).chain(log(X, records, 4)).collect()
}

/// A client takes some of them and writes two of its own.
fn takes(client: u32, range: Range<i64>) -> Vec<Operation> {
    vec![begun(client), sent((client, 0)), sent((client, 1)), taken(client, X, range)]
}

#[test]
fn a_group_takes_a_record_twice() {
    let job = [takes(2, 0..3), vec![committed(2)], takes(3, 2..4), vec![committed(3)]].concat();
    let output = log(Y, [(0, (2, 0)), (1, (2, 1)), (3, (3, 0)), (4, (3, 1))], 6);
    let report = finds(OffsetMismatch, &[&input(), &job, &output, &[group_read(X, Some(4))]]);
    says(&report, "group 7 took record 1-2 (partition 0, offset 2) twice: ");
    says(&report, "transaction 2/0 (Committed) took partition 0, offsets 0 to 3; ");
    says(&report, "transaction 3/0 (Committed) took partition 0, offsets 2 to 4");
}

#[test]
fn the_offsets_of_an_aborted_transaction_are_committed() {
    let output = log(Y, [(3, (3, 0)), (4, (3, 1))], 6);
    let job = [takes(2, 0..2), vec![aborted(2)], takes(3, 2..4), vec![committed(3)]].concat();
    let report = finds(OffsetMismatch, &[&input(), &job, &output, &[group_read(X, Some(4))]]);
    says(&report, "group 7 passed record 1-0 (partition 0, offset 0) without output: ");
    says(&report, "transaction 3/0 (Committed) took partition 0, offsets 2 to 4; ");
    says(&report, "transaction 2/0 (Aborted) took partition 0, offsets 0 to 2");
    // The last one.
    let job = [takes(3, 0..2), vec![committed(3)], takes(2, 2..4), vec![aborted(2)]].concat();
    let report = finds(OffsetMismatch, &[&input(), &job, &output, &[group_read(X, Some(4))]]);
    says(&report, "partition 0: group 7 has offset 4 at the end; ");
    says(&report, "transaction 3/0 (Committed) took partition 0, offsets 0 to 2; ");
    says(&report, "transaction 2/0 (Aborted) took partition 0, offsets 2 to 4");
    // The only one.
    let job = [takes(2, 0..2), vec![aborted(2)]].concat();
    let report = finds(OffsetMismatch, &[&input(), &job, &log(Y, [], 3), &[group_read(X, Some(2))]]);
    says(&report, "group 7 has offset 2 at the end; no transaction took any");
}

#[test]
fn a_transaction_in_doubt_leaves_its_offsets_and_not_its_output() {
    let job = [takes(2, 0..2), vec![in_doubt(2)], takes(3, 2..4), vec![committed(3)]].concat();
    let output = log(Y, [(3, (3, 0)), (4, (3, 1))], 6);
    let report = finds(OffsetMismatch, &[&input(), &job, &output, &[group_read(X, Some(4))]]);
    says(&report, "transaction 2/0 (InDoubt) took partition 0, offsets 0 to 2");
}

#[test]
fn committed_offsets_are_lost() {
    let job = [takes(2, 0..2), vec![committed(2)]].concat();
    let output = log(Y, [(0, (2, 0)), (1, (2, 1))], 3);
    for at_end in [None, Some(0), Some(1), Some(3)] {
        finds(OffsetMismatch, &[&input(), &job, &output, &[group_read(X, at_end)]]);
    }
}

#[test]
fn committed_offsets_have_lost_their_output() {
    let job = [takes(2, 0..2), vec![committed(2)]].concat();
    let report = judged(&[input(), job, log(Y, [(0, (2, 0))], 3), vec![group_read(X, Some(2))]].concat());
    assert_eq!(report.kinds(), [Lost, OffsetMismatch], "{report}");
    let evidence = "took partition 0, offsets 0 to 2, but its record 2-1 of transaction 2/0 is missing";
    says(&report.to_string(), evidence);
}

#[test]
fn what_a_delayed_request_may_explain_is_counted_apart() {
    // A delayed EndTxn has committed what client 1 aborted, before KIP-890.
    let seen = [begun_v1(1), committed(1), begun_v1(1), sent((1, 0)), polled(2, X, [(0, (1, 0))]), aborted(1)];
    let report = judged(&[&seen[..], &log(X, [(0, (1, 0))], 2)].concat());
    assert!(report.is_good(), "{report}");
    assert_eq!(report.delayed_kinds(), [AbortedRead, AbortedStays], "{report}");
    assert_eq!(report.delayed(AbortedRead), 1);
    says(&report.to_string(), "AbortedRead, perhaps KAFKA-17754: 1");
    // A producer's only transaction has no other whose requests could be delayed.
    let seen = [begun_v1(1), sent((1, 0)), aborted(1)];
    finds(AbortedStays, &[&seen, &log(X, [(0, (1, 0))], 2)]);
}

#[test]
fn what_no_delayed_request_explains_is_a_violation_before_kip_890_too() {
    let seen = [begun_v1(1), committed(1), begun_v1(1), sent((1, 0)), committed(1)];
    finds(Duplicated, &[&seen, &log(X, [(0, (1, 0)), (1, (1, 0))], 3)]);
}
