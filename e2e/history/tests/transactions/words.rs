//! Short words to write a history in: a record is named by its client and its sequence.

use ottla_history::transactions::Operation::{
    Acknowledged, Assigned, AtEnd, Begun, Ended, GroupRead, LogRead, Logged, OffsetsSent, Polled, Seeked, Sent,
};
use ottla_history::transactions::{Checker, Given, Isolation, Kind, Operation, Outcome, Protocol, Report};
use ottla_history::{Id, Partition};

pub const X: Partition = Partition(0);
pub const Y: Partition = Partition(1);
pub const GROUP: u32 = 7;

pub type Name = (u32, u32);

pub fn id((producer, sequence): Name) -> Id {
    Id { producer, sequence }
}

pub fn begun(client: u32) -> Operation {
    Begun { client, protocol: Protocol::V2 }
}

pub fn begun_v1(client: u32) -> Operation {
    Begun { client, protocol: Protocol::V1 }
}

pub fn sent(name: Name) -> Operation {
    Sent { id: id(name) }
}

pub fn acknowledged(name: Name, partition: Partition, offset: i64) -> Operation {
    Acknowledged { id: id(name), partition, offset: Some(offset) }
}

pub fn polled<const N: usize>(client: u32, partition: Partition, records: [(i64, Name); N]) -> Operation {
    let given = |(offset, name)| Given { partition, offset, id: Some(id(name)) };
    Polled { client, records: records.map(given).to_vec() }
}

pub fn taken(client: u32, partition: Partition, taken: std::ops::Range<i64>) -> Operation {
    OffsetsSent { client, group: GROUP, partition, taken }
}

pub fn committed(client: u32) -> Operation {
    Ended { client, outcome: Outcome::Committed }
}

pub fn aborted(client: u32) -> Operation {
    Ended { client, outcome: Outcome::Aborted }
}

pub fn in_doubt(client: u32) -> Operation {
    Ended { client, outcome: Outcome::InDoubt }
}

pub fn seeked(client: u32, partition: Partition, offset: i64) -> Operation {
    Seeked { client, partition, offset }
}

pub fn assigned(client: u32, partition: Partition) -> Operation {
    Assigned { client, partition }
}

pub fn at_end(client: u32, partition: Partition, offset: i64) -> Operation {
    AtEnd { client, partition, offset }
}

pub fn group_read(partition: Partition, offset: Option<i64>) -> Operation {
    GroupRead { group: GROUP, partition, offset }
}

/// A last read with read_committed from offset 0.
pub fn log<const N: usize>(partition: Partition, records: [(i64, Name); N], end: i64) -> Vec<Operation> {
    read(Isolation::ReadCommitted, partition, records, 0, end)
}

/// A last read.
pub fn read<const N: usize>(
    isolation: Isolation,
    partition: Partition,
    records: [(i64, Name); N],
    start: i64,
    end: i64,
) -> Vec<Operation> {
    let logged = |(offset, name)| Logged { isolation, partition, offset, id: Some(id(name)) };
    records.map(logged).into_iter().chain([LogRead { isolation, partition, start, end }]).collect()
}

pub fn judged(operations: &[Operation]) -> Report {
    let mut checker = Checker::default();
    operations.iter().for_each(|operation| checker.observe(operation.clone()));
    checker.report()
}

/// Finds one violation of this kind and nothing else; returns the report.
#[track_caller]
pub fn finds(kind: Kind, parts: &[&[Operation]]) -> String {
    let report = judged(&parts.concat());
    assert_eq!(report.kinds(), [kind], "{report}");
    assert_eq!(report.count(kind), 1, "{report}");
    assert!(report.delayed_kinds().is_empty(), "{report}");
    report.to_string()
}

#[track_caller]
pub fn good(parts: &[&[Operation]]) -> Report {
    let report = judged(&parts.concat());
    assert!(report.is_good() && report.delayed_kinds().is_empty(), "{report}");
    report
}
