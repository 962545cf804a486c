//! The coordinator of a group moves again and again while a consumer commits: what was acknowledged is there wherever
//! it moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use ottla_broker::image::{BrokerId, CONSUMER_OFFSETS};
use ottla_wire::m08_offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::{ErrorCode, Uuid};
use parking_lot::Mutex;

use crate::cluster::{Cluster, Objects, life, settings, until};
use crate::common::Client;

const GROUP: &str = "g";
const PAUSE: Duration = Duration::from_millis(5);

/// Who leads, in which epoch, and where.
fn leader(objects: &Mutex<Objects>) -> (BrokerId, i32, u16) {
    let objects = objects.lock();
    let leader = objects.assignment.leader.unwrap();
    (leader, objects.assignment.leader_epoch.0, objects.ports[&leader])
}

/// Commits for a partition of the offsets topic itself: it is there.
fn commit(topic_id: Uuid, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic { topic_id, partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    }
}

/// Commits 1, 2, 3… each until it is acknowledged, at the present leader.
async fn keep_committing(objects: Arc<Mutex<Objects>>, topic_id: Uuid, acknowledged: Arc<AtomicI64>) {
    let mut offset = 1;
    loop {
        let (_, _, port) = leader(&objects);
        let Ok(stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut client = Client::on(stream);
        while let Ok(answer) = client.try_call(10, &commit(topic_id, offset)).await {
            match answer.topics[0].partitions[0].error_code {
                ErrorCode::NONE => {
                    acknowledged.store(offset, SeqCst);
                    offset += 1;
                }
                ErrorCode::NOT_COORDINATOR
                | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
                | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What the leader says is committed, if it says anything and still leads then.
async fn committed(objects: &Mutex<Objects>) -> Option<i64> {
    let before = leader(objects);
    let mut client = Client::on(tokio::net::TcpStream::connect(("127.0.0.1", before.2)).await.ok()?);
    let topic =
        OffsetFetchRequestTopics { name: CONSUMER_OFFSETS.into(), partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup { group_id: GROUP.into(), topics: Some(vec![topic]), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = client.try_call(9, &request).await.ok()?;
    let group = &answer.groups[0];
    (group.error_code == ErrorCode::NONE && leader(objects) == before)
        .then(|| group.topics[0].partitions[0].committed_offset)
}

/// Waits until something was committed in the present epoch, and never sees less than was acknowledged before it
/// looked.
async fn goes_on(cluster: &Cluster, acknowledged: &AtomicI64) {
    let before = acknowledged.load(SeqCst);
    let judged = async {
        loop {
            let floor = acknowledged.load(SeqCst);
            if let Some(offset) = committed(&cluster.objects).await {
                assert!(offset >= floor, "{offset} is committed, {floor} was acknowledged");
                if floor >= before + 10 {
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(crate::cluster::DEADLINE, judged).await.expect("commits continue");
}

/// Another member of the ISR leads.
fn fail_over(cluster: &Cluster) {
    cluster.change(|objects| {
        let (old, assignment) = (objects.assignment.leader, &mut objects.assignment);
        let next = |id: i32| BrokerId((old.unwrap().0 + id) % 3);
        let in_sync = |id: &BrokerId| assignment.isr.iter().any(|member| member.broker == *id);
        assignment.leader = [next(1), next(2)].into_iter().find(in_sync).or(old);
        assignment.leader_epoch.0 += 1;
    });
}

#[tokio::test]
async fn committed_offsets_never_fall_while_the_coordinator_moves() {
    let config = [("min.insync.replicas", "2"), ("cleanup.policy", "compact")];
    let mut cluster = Cluster::start_of(CONSUMER_OFFSETS, &config).await;
    cluster.objects.lock().settings = settings(&[("offsets.commit.timeout.ms", "1000")]);
    cluster.show();
    let acknowledged = Arc::new(AtomicI64::new(-1));
    let committing = keep_committing(cluster.objects.clone(), cluster.topic_id, acknowledged.clone());
    let committing = tokio::spawn(committing);
    goes_on(&cluster, &acknowledged).await;
    for round in 0..9 {
        match round % 3 {
            // It hands over, and is in sync.
            0 => fail_over(&cluster),
            // Twice before the first is there.
            1 => {
                fail_over(&cluster);
                fail_over(&cluster);
            }
            // It is gone without a word, and comes back.
            _ => {
                let (BrokerId(gone), _, _) = leader(&cluster.objects);
                cluster.stop(gone).await;
                cluster.die(gone);
                fail_over(&cluster);
                goes_on(&cluster, &acknowledged).await;
                cluster.run(gone, life(gone), true).await;
                cluster.change(|objects| _ = objects.alive.insert(BrokerId(gone), true));
                until("it is in sync again", || cluster.isr().len() == 3).await;
            }
        }
        goes_on(&cluster, &acknowledged).await;
    }
    assert!(!committing.is_finished());
    committing.abort();
}
