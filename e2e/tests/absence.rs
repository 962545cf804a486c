//! Topics are created, grown and moved while one of three brokers is away, as during a roll; its replicas follow when
//! it is back.

use anyhow::{Context, Result, ensure};
use ottla_e2e::need::met;
use ottla_e2e::raw::Connection;
use ottla_e2e::target::{Maker, needs, ottla_program};
use ottla_e2e::trio::Trio;
use ottla_e2e::wait::until;
use ottla_wire::m19_create_topics::{CreatableReplicaAssignment, CreatableTopic};
use ottla_wire::m37_create_partitions::CreatePartitionsTopic;
use ottla_wire::m45_alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_wire::{CreatePartitionsRequest, CreateTopicsRequest, ErrorCode};
use rustix::process::Signal;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);
const PATIENCE_MS: i32 = 60_000;
/// Who is away.
const AWAY: u16 = 2;

/// Creates a topic with three replicas of each partition, or with these of one partition.
fn create(trio: &Trio, name: &str, replicas: &[i32]) -> Result<ErrorCode> {
    let new = CreatableTopic { name: name.into(), num_partitions: 2, replication_factor: 3, ..Default::default() };
    let by_hand = CreatableReplicaAssignment { partition_index: 0, broker_ids: replicas.to_vec() };
    let topic = match replicas {
        [] => new,
        _ => CreatableTopic { num_partitions: -1, replication_factor: -1, assignments: vec![by_hand], ..new },
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: PATIENCE_MS, ..Default::default() };
    let answer = Connection::open(trio.address(0))?.ask(7, &request)?.context("an answer")?;
    Ok(answer.topics.first().context("one topic was asked for")?.error_code)
}

#[test]
fn topics_are_created_grown_and_moved_while_a_broker_is_away() -> Result<()> {
    if !met(&needs()) {
        return Ok(());
    }
    let mut trio = Trio::start(Maker::under_test(), &ottla_program()?)?;
    trio.create_topic("moved", 1, &[])?;
    trio.end_broker(AWAY, Signal::TERM)?;
    trio.wait_until_without(AWAY, "moved")?;

    ensure!(create(&trio, "placed", &[])?.is_none());
    ensure!(create(&trio, "by-hand", &[2, 1])?.is_none());
    ensure!(create(&trio, "nobody", &[2])? == ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    let grown = CreatePartitionsTopic { name: "placed".into(), count: 3, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![grown], timeout_ms: PATIENCE_MS, validate_only: false };
    let answer = Connection::open(trio.address(0))?.ask(3, &request)?.context("an answer")?;
    ensure!(answer.results.iter().all(|topic| topic.error_code.is_none()), "{answer:?}");
    let target = ReassignablePartition { partition_index: 0, replicas: Some(vec![2, 1]) };
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic { name: "moved".into(), partitions: vec![target] }],
        timeout_ms: PATIENCE_MS,
        allow_replication_factor_change: true,
    };
    let answer = Connection::open(trio.address(0))?.ask(1, &request)?.context("an answer")?;
    ensure!(
        answer.responses.iter().all(|topic| topic.partitions.iter().all(|one| one.error_code.is_none())),
        "{answer:?}"
    );

    for (topic, count) in [("placed", 3), ("by-hand", 1)] {
        // Kafka's brokers learn of it a moment after the answer.
        let shown = until(LIMIT, "all partitions", || {
            let shown = trio.partitions(topic)?;
            Ok((shown.len() == count && shown.iter().all(|one| one.leader_id >= 0)).then_some(shown))
        })?;
        for one in shown {
            ensure!(one.replica_nodes.contains(&i32::from(AWAY)), "{topic}: {one:?}");
            ensure!(!one.isr_nodes.contains(&i32::from(AWAY)) && !one.isr_nodes.is_empty(), "{topic}: {one:?}");
            ensure!(one.offline_replicas == [i32::from(AWAY)], "{topic}: {one:?}");
        }
    }

    trio.start_broker(AWAY)?;
    trio.wait_until_whole("placed")?;
    trio.wait_until_whole("by-hand")?;
    until(LIMIT, "the move to end", || {
        let shown = trio.partitions("moved")?;
        Ok((shown.iter().all(|one| one.replica_nodes == [2, 1] && one.isr_nodes.len() == 2)).then_some(()))
    })
}
