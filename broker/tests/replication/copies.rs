//! What is on every replica, and who reads it where.

use ottla_broker::image::BrokerId;
use ottla_wire::ErrorCode;
use ottla_wire::m01_fetch::{FetchPartition, ReplicaState};
use ottla_wire::m21_delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};

use crate::cluster::{Cluster, DEADLINE, life, member, until};
use crate::common::values;

#[tokio::test]
async fn what_acks_all_acknowledges_is_on_every_replica_byte_for_byte() {
    let cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    for n in 0..20 {
        assert_eq!(cluster.produce(0, &["a", "b"]).await, 2 * n);
    }
    cluster.all_alike(&[0, 1, 2]).await;
    assert_eq!(cluster.seen(0).await.len(), 40);
}

#[tokio::test]
async fn a_follower_whose_end_the_leader_no_longer_has_starts_again() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["old"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    cluster.stop(2).await;
    cluster.change(|objects| objects.assignment.isr.retain(|member| member.broker != BrokerId(2)));
    cluster.produce(0, &["gone", "kept"]).await;
    let mut client = cluster.client(0).await;
    let topic = DeleteRecordsTopic {
        name: "t".into(),
        partitions: vec![DeleteRecordsPartition { partition_index: 0, offset: 2 }],
    };
    let deleted = client.call(2, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 60_000 }).await;
    assert_eq!(deleted.topics[0].partitions[0].error_code, ErrorCode::NONE);

    cluster.run(2, life(2), true).await;
    until("it is back in", || cluster.isr().contains(&member(2, life(2)))).await;
    let status = cluster.brokers[&2].broker.replicas().all()[0].status();
    assert_eq!((status.log_start, status.log_end), (2, 3));
}

#[tokio::test]
async fn deleted_records_are_gone_from_every_in_sync_replica_when_that_is_acknowledged() {
    let cluster = Cluster::start(&[]).await;
    for n in 0..5 {
        cluster.produce(0, &["gone", "gone", "kept"]).await;
        let offset = 3 * n + 2;
        let topic = DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition { partition_index: 0, offset }],
        };
        let mut client = cluster.client(0).await;
        let deleted = client.call(2, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 60_000 }).await;
        let partition = &deleted.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.low_watermark), (ErrorCode::NONE, offset));
        for member in cluster.isr() {
            let status = cluster.brokers[&member.broker.0].broker.replicas().all()[0].status();
            assert_eq!(status.log_start, offset, "{member:?}");
        }
    }
}

#[tokio::test]
async fn a_consumer_is_sent_to_the_replica_in_its_rack_and_reads_there_what_is_committed() {
    let cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["x"]).await;
    let (mut leader, mut follower) = (cluster.client(0).await, cluster.client(2).await);
    let consumer = ReplicaState::default;
    for (rack, preferred, records) in [("rack-2", 2, 0), ("rack-0", -1, 1), ("elsewhere", -1, 1), ("", -1, 1)] {
        // A follower that has stood still for a while is sent nobody until it is in sync again.
        let sent = async {
            loop {
                let fetched = cluster.fetch_from_rack(&mut leader, consumer(), FetchPartition::default(), rack).await;
                assert_eq!(fetched.error_code, ErrorCode::NONE, "{rack}");
                if fetched.preferred_read_replica == preferred {
                    break fetched;
                }
            }
        };
        let fetched = tokio::time::timeout(DEADLINE, sent).await.expect(rack);
        assert_eq!(values(fetched.records.as_ref().unwrap()).len(), records, "{rack}");
    }
    loop {
        let fetched = cluster.fetch_from_rack(&mut follower, consumer(), FetchPartition::default(), "rack-2").await;
        assert_eq!(fetched.error_code, ErrorCode::NONE);
        // The follower learns of the high watermark a moment later.
        if fetched.high_watermark == 1 {
            assert_eq!(values(fetched.records.as_ref().unwrap()), ["x"]);
            break;
        }
        assert!(values(fetched.records.as_ref().unwrap()).is_empty());
    }
}
