//! Broken histories, one a test: each is found, by its name, and nothing else is.

use ottla_history::Kind::{
    AbortedRead, Duplicated, FailedButPresent, Lost, Misplaced, NeverWritten, NotRead, Reordered, Skipped, Stale,
    TwoValues,
};
use ottla_history::Operation::{
    Aborted, CommitInDoubt, CommitRead, Committed, EndRead, Late, LogRead, Logged, Produced, Read, Seeked,
};
use ottla_history::{Checker, Id, Kind, Operation, Outcome, Partition, Report};

const P: Partition = Partition(3);

fn id(sequence: u32) -> Id {
    Id { producer: 1, sequence }
}

fn acknowledged(sequence: u32, offset: i64) -> Operation {
    Produced { id: id(sequence), outcome: Outcome::Acknowledged { partition: P, offset: Some(offset) } }
}

fn told(sequence: u32, outcome: Outcome) -> Operation {
    Produced { id: id(sequence), outcome }
}

fn read(offset: i64, sequence: u32) -> Operation {
    Read { reader: 9, partition: P, offset, id: Some(id(sequence)) }
}

/// The last read: these sequences, from offset 0 on.
fn log(sequences: &[u32]) -> Vec<Operation> {
    log_from(0, sequences)
}

fn log_from(start: i64, sequences: &[u32]) -> Vec<Operation> {
    let end = start + sequences.len() as i64;
    let records = (start..).zip(sequences).map(|(offset, n)| Logged { partition: P, offset, id: Some(id(*n)) });
    records.chain([LogRead { partition: P, start, end }]).collect()
}

fn report(operations: Vec<Operation>) -> Report {
    let mut checker = Checker::default();
    operations.into_iter().for_each(|operation| checker.observe(operation));
    checker.report()
}

fn finds(kind: Kind, before: &[Operation], log: Vec<Operation>) -> String {
    let report = report([before, &log].concat());
    assert_eq!(report.kinds(), [kind], "{report}");
    assert_eq!(report.count(kind), 1, "{report}");
    report.to_string()
}

#[test]
fn a_good_history_is_good_and_unknown_outcomes_are_kept_apart() {
    let mut operations = vec![
        acknowledged(0, 0),
        told(1, Outcome::Unknown),
        told(2, Outcome::Unknown),
        told(3, Outcome::Failed),
        // A client does not always get the offset.
        told(4, Outcome::Acknowledged { partition: P, offset: None }),
        Seeked { reader: 9, partition: P, offset: 0 },
        read(0, 0),
        read(1, 1),
        Seeked { reader: 9, partition: P, offset: 1 },
        read(1, 1),
        EndRead { partition: P, offset: 3, known: 1 },
        Committed { group: 5, partition: P, offset: 2 },
        CommitRead { group: 5, partition: P, offset: Some(2), known: Some(2) },
        // It arrives behind the other one.
        CommitInDoubt { group: 5, partition: P, offset: 1 },
        CommitRead { group: 5, partition: P, offset: Some(1), known: Some(2) },
    ];
    operations.extend(log(&[0, 1, 4]));
    let report = report(operations);
    assert!(report.is_good(), "{report}");
    let counts = report.counts;
    assert_eq!((counts.acknowledged, counts.failed, counts.unknown, counts.unknown_present), (2, 1, 2, 1));
    assert_eq!((counts.read, counts.logged, counts.partitions), (3, 3, 1));
}

#[test]
fn an_acknowledged_record_is_lost() {
    let text = finds(Lost, &[acknowledged(0, 0), acknowledged(1, 1)], log(&[0]));
    assert!(text.contains("partition 3: 1-1 was acknowledged at offset 1 and is not in the log [0, 1)"), "{text}");
}

#[test]
fn a_record_that_a_consumer_has_read_is_lost_though_its_outcome_is_unknown() {
    finds(Lost, &[acknowledged(0, 0), told(1, Outcome::Unknown), read(0, 0), read(1, 1)], log(&[0]));
}

#[test]
fn what_lies_before_the_start_of_a_log_is_not_lost() {
    let mut operations = vec![acknowledged(0, 0), acknowledged(1, 1), read(0, 0)];
    operations.extend(log_from(1, &[1]));
    assert!(report(operations).is_good());
}

#[test]
fn a_record_is_duplicated() {
    finds(Duplicated, &[told(0, Outcome::Unknown), acknowledged(1, 1)], log(&[0, 1, 0]));
}

/// With late copies at these offsets.
fn with_late(log: Vec<Operation>, offsets: &[i64]) -> Vec<Operation> {
    let late = offsets.iter().map(|offset| Late { partition: P, offset: *offset });
    let (last, records) = log.split_last().expect("the read's end");
    records.iter().cloned().chain(late).chain([last.clone()]).collect()
}

#[test]
fn a_late_copy_may_lie_beside_the_first_one_and_behind_later_records() {
    let good = [
        // The first copy is acknowledged, the late one is, none is.
        (vec![acknowledged(0, 0), acknowledged(1, 1)], with_late(log(&[0, 1, 0]), &[2])),
        (vec![acknowledged(0, 2), acknowledged(1, 1)], with_late(log(&[0, 1, 0]), &[2])),
        (vec![told(0, Outcome::Unknown), acknowledged(1, 1)], with_late(log(&[0, 1, 0]), &[2])),
        // The first copy was deleted.
        (vec![acknowledged(0, 0), acknowledged(1, 1)], with_late(log_from(1, &[1, 0]), &[2])),
        // There is no other: the first one was refused, and the record after it was not.
        (vec![acknowledged(0, 1), acknowledged(1, 0)], with_late(log(&[1, 0]), &[1])),
    ];
    for (before, log) in good {
        let report = report([before, log].concat());
        assert!(report.is_good(), "{report}");
    }
}

#[test]
fn beside_late_copies_an_ordinary_duplicate_is_found() {
    // The copy of another record is late; the first copy is, which is no excuse for the second; a third copy is not.
    let before = [told(0, Outcome::Unknown), acknowledged(1, 1)];
    finds(Duplicated, &before, with_late(log(&[0, 1, 0, 1]), &[3]));
    finds(Duplicated, &[told(0, Outcome::Unknown)], with_late(log(&[0, 0]), &[0]));
    finds(Duplicated, &[told(0, Outcome::Unknown)], with_late(log(&[0, 0, 0]), &[1]));
}

#[test]
fn a_late_copy_does_not_make_up_for_what_was_lost_or_changed() {
    finds(Lost, &[acknowledged(0, 0), acknowledged(1, 2)], with_late(log(&[0, 0]), &[1]));
}

#[test]
fn a_producers_records_are_reordered() {
    let text = finds(Reordered, &[acknowledged(0, 1), acknowledged(1, 0)], log(&[1, 0]));
    assert!(text.contains("1-1 lies at offset 0, before 1-0 at 1, which was sent first"), "{text}");
}

#[test]
fn records_of_different_producers_have_no_order() {
    let other = Id { producer: 2, sequence: 0 };
    let outcome = Outcome::Acknowledged { partition: P, offset: Some(0) };
    let mut operations = vec![acknowledged(0, 1), Produced { id: other, outcome }];
    operations.push(Logged { partition: P, offset: 0, id: Some(other) });
    operations.extend(log_from(1, &[0]));
    operations.push(LogRead { partition: P, start: 0, end: 2 });
    assert!(report(operations).is_good());
}

#[test]
fn a_record_that_nobody_sent_is_never_written() {
    finds(NeverWritten, &[acknowledged(0, 0)], log(&[0, 7]));
}

#[test]
fn a_record_whose_bytes_have_changed_is_never_written() {
    let damaged = Logged { partition: P, offset: 1, id: Id::read(b"1-1 abX") };
    finds(NeverWritten, &[acknowledged(0, 0), damaged], log(&[0]));
}

#[test]
fn an_offset_has_two_values() {
    // Both records are there in the end; but a consumer was given one of them where now the other lies.
    let sent = [told(0, Outcome::Unknown), acknowledged(1, 0)];
    finds(TwoValues, &[sent.as_slice(), &[read(0, 0)]].concat(), log(&[1, 0]));
}

#[test]
fn a_record_lies_elsewhere_than_its_producers_answer_said() {
    finds(Misplaced, &[acknowledged(0, 5)], log(&[0]));
}

#[test]
fn a_record_of_an_aborted_transaction_is_read() {
    let aborted = Aborted { producer: 1, sequences: 1..3 };
    finds(
        AbortedRead,
        &[acknowledged(0, 0), acknowledged(1, 1), told(2, Outcome::Unknown), read(1, 1), aborted.clone()],
        log(&[0]),
    );
    finds(AbortedRead, &[acknowledged(0, 0), acknowledged(1, 1), told(2, Outcome::Unknown), aborted], log(&[0, 1]));
}

#[test]
fn a_consumer_skips_a_record() {
    finds(
        Skipped,
        &[acknowledged(0, 0), acknowledged(1, 1), acknowledged(2, 2), read(0, 0), read(2, 2)],
        log(&[0, 1, 2]),
    );
    let seeked = Seeked { reader: 9, partition: P, offset: 0 };
    finds(Skipped, &[acknowledged(0, 0), acknowledged(1, 1), seeked, read(1, 1)], log(&[0, 1]));
}

#[test]
fn a_gap_that_holds_nothing_is_not_skipped() {
    let mut operations = vec![acknowledged(0, 0), acknowledged(1, 2), read(0, 0), read(2, 1)];
    operations.extend([(0, 0), (2, 1)].map(|(offset, n)| Logged { partition: P, offset, id: Some(id(n)) }));
    operations.push(LogRead { partition: P, start: 0, end: 3 });
    assert!(report(operations).is_good());
}

#[test]
fn a_consumer_goes_back() {
    finds(Stale, &[acknowledged(0, 0), acknowledged(1, 1), read(0, 0), read(1, 1), read(0, 0)], log(&[0, 1]));
}

#[test]
fn an_end_goes_back() {
    let mut checker = Checker::default();
    checker.observe(acknowledged(0, 0));
    assert_eq!(checker.known_end(P), 1);
    checker.observe(EndRead { partition: P, offset: 4, known: 1 });
    assert_eq!(checker.known_end(P), 4);
    let ends = [EndRead { partition: P, offset: 4, known: 1 }, EndRead { partition: P, offset: 3, known: 4 }];
    finds(Stale, &[acknowledged(0, 0), ends[0].clone(), ends[1].clone()], log(&[0]));
}

#[test]
fn a_committed_offset_goes_back() {
    let committed = [7, 5].map(|offset| Committed { group: 5, partition: P, offset });
    let mut checker = Checker::default();
    committed.iter().for_each(|operation| checker.observe(operation.clone()));
    assert_eq!((checker.known_commit(5, P), checker.known_commit(6, P)), (Some(7), None));
    let in_doubt = [(5, P, 4), (6, P, 6), (5, Partition(P.0 + 1), 6)];
    let in_doubt = in_doubt.map(|(group, partition, offset)| CommitInDoubt { group, partition, offset });
    let acknowledged =
        [CommitInDoubt { group: 5, partition: P, offset: 6 }, Committed { group: 5, partition: P, offset: 6 }];
    for offset in [Some(6), None] {
        let back = CommitRead { group: 5, partition: P, offset, known: Some(7) };
        finds(Stale, &[committed[0].clone(), back.clone()], log(&[]));
        // Only a commit in doubt may come late.
        finds(Stale, &[&in_doubt[..], &acknowledged, &[committed[0].clone(), back]].concat(), log(&[]));
    }
}

#[test]
fn a_record_that_failed_is_present() {
    finds(FailedButPresent, &[told(0, Outcome::Failed), acknowledged(1, 1)], log(&[0, 1]));
}

#[test]
fn a_partition_is_not_read_at_the_end() {
    finds(NotRead, &[acknowledged(0, 0)], vec![]);
    finds(NotRead, &[told(0, Outcome::Acknowledged { partition: P, offset: None })], vec![]);
}

#[test]
fn a_report_shows_a_few_of_many() {
    let operations = (0..100).map(|n| acknowledged(n, n.into())).chain(log(&[])).collect();
    let report = report(operations);
    assert_eq!(report.count(Lost), 100);
    assert_eq!(report.to_string().lines().count(), 1 + 1 + 5 + 1, "{report}");
}
