//! Who is in sync: by incarnation, down to the floor, and while nobody knows what became of a change.

use std::time::Duration;

use ottla_broker::image::LeaderEpoch;
use ottla_wire::ErrorCode;
use ottla_wire::m01_fetch::{FetchPartition, ReplicaState};
use ottla_wire::m75_describe_topic_partitions::DescribeTopicPartitionsRequest;

use crate::cluster::{Cluster, DEADLINE, life, member, until};

#[tokio::test]
async fn a_follower_that_is_gone_is_taken_out_and_joins_again_when_it_has_caught_up() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["before"]).await;
    cluster.stop(2).await;
    cluster.produce(0, &["without"]).await;
    assert_eq!(cluster.isr(), [member(0, life(0)), member(1, life(1))]);

    cluster.run(2, life(2), true).await;
    until("it is back in", || cluster.isr().contains(&member(2, life(2)))).await;
    cluster.all_alike(&[0, 2]).await;
}

#[tokio::test]
async fn a_disk_with_other_content_joins_under_its_new_name() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["x"]).await;
    cluster.stop(1).await;
    std::fs::remove_dir_all(cluster.dir(1).join("t-0")).unwrap();
    cluster.run(1, 999, false).await;
    until("the new content is in", || cluster.isr().contains(&member(1, 999))).await;
    assert!(!cluster.isr().contains(&member(1, life(1))), "and the old is not");
    cluster.all_alike(&[0, 1]).await;
}

#[tokio::test]
async fn below_min_insync_acks_all_is_refused_and_the_isr_stays_at_its_floor() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["safe"]).await;
    cluster.stop(2).await;
    cluster.stop(1).await;
    let mut client = cluster.client(0).await;
    let (code, _) = cluster.try_produce(&mut client, &["unsafe"], 100).await;
    assert!(
        matches!(code, ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        "appended before anybody noticed: {code:?}"
    );
    cluster.die(1);
    cluster.die(2);
    loop {
        match cluster.try_produce(&mut client, &["unsafe"], 100).await.0 {
            ErrorCode::NOT_ENOUGH_REPLICAS => break,
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND | ErrorCode::REQUEST_TIMED_OUT => {}
            other => panic!("{other:?}"),
        }
    }
    until("one of them is out", || cluster.isr().len() == 2).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(cluster.isr().len(), 2, "a dead member stays rather than that the floor is broken");
    assert_eq!(cluster.seen(0).await, ["safe"], "what is not committed is not shown");
}

#[tokio::test]
async fn an_old_leader_cannot_shrink_the_isr_nor_commit_anything() {
    let cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["shared"]).await;
    let mut old = cluster.client(0).await;
    // It keeps asking, but sees nothing new.
    cluster.brokers[&0].window.abort();
    cluster.elect(1);
    cluster.produce(1, &["new"]).await;
    let (code, _) = cluster.try_produce(&mut old, &["old"], 1500).await;
    assert_ne!(code, ErrorCode::NONE);
    until("it tries", || cluster.objects.lock().asked.iter().any(|ask| ask.leader_epoch == LeaderEpoch::FIRST)).await;
    assert!(!cluster.isr().contains(&member(0, life(0))), "and it is itself the one who went");
    assert_eq!(cluster.seen(1).await, ["shared", "new"]);
}

#[tokio::test]
async fn the_position_of_another_incarnation_does_not_count() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.stop(2).await;
    cluster.stop(1).await;
    cluster.objects.lock().grants = false;
    let mut leader = cluster.client(0).await;
    cluster.die(2); // else the leader may ask to take that one in first
    cluster.change(|objects| objects.assignment.isr = vec![member(0, life(0)), member(1, life(1))]);
    let response = leader.call(13, &cluster.produce_request(1, 1000, &["x"])).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    let last = FetchPartition { fetch_offset: 1, current_leader_epoch: 0, last_fetched_epoch: 0, ..Default::default() };
    let stranger = ReplicaState { replica_id: 1, replica_epoch: 5 };
    let fetched = cluster.fetch(&mut leader, stranger, last).await;
    assert_eq!((fetched.error_code, fetched.high_watermark), (ErrorCode::NONE, 0));
    let asks_to_let_it_in = || cluster.objects.lock().asked.iter().any(|asked| asked.isr.contains(&member(1, 5)));
    until("it must be let in first", asks_to_let_it_in).await;
}

#[tokio::test]
async fn a_change_whose_outcome_is_unknown_counts_until_the_image_shows_what_became_of_it() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.leave_open_whether_2_is_in_sync().await;
    cluster.freeze(2);
    cluster.brokers.remove(&2).unwrap().broker.stop().await;
    let mut client = cluster.client(0).await;
    let (code, _) = cluster.try_produce(&mut client, &["y"], 1500).await;
    assert_eq!(code, ErrorCode::REQUEST_TIMED_OUT, "perhaps it is in, so it is waited for");
    // The operator was faster: the proposal can't be written any more.
    cluster.change(|objects| objects.assignment.isr.reverse());
    assert_eq!(cluster.produce(0, &["z"]).await, 2);
}

/// The model found it: the mutant `ForgottenProposal`.
#[tokio::test]
async fn a_leader_that_starts_again_in_its_epoch_counts_whom_it_may_have_taken_in() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.leave_open_whether_2_is_in_sync().await;
    let asked = cluster.times_asked_to_take_in(2);
    cluster.stop(2).await;
    cluster.stop(0).await;
    cluster.run(0, life(0), true).await;

    let mut client = cluster.client(0).await;
    let timed_out = async {
        loop {
            match cluster.try_produce(&mut client, &["y"], 1500).await.0 {
                // It has not opened its log yet.
                ErrorCode::NOT_LEADER_OR_FOLLOWER => tokio::time::sleep(Duration::from_millis(5)).await,
                code => break code,
            }
        }
    };
    assert_eq!(timed_out.await, ErrorCode::REQUEST_TIMED_OUT, "perhaps 2 is in, so it is waited for");
    until("it asks again", || cluster.times_asked_to_take_in(2) > asked).await;
}

#[tokio::test]
async fn in_sync_members_that_look_dead_are_shown_as_eligible_leaders() {
    let cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["x"]).await;
    cluster.die(2);
    let mut client = cluster.client(0).await;
    let request = DescribeTopicPartitionsRequest { response_partition_limit: 10, ..Default::default() };
    let waiting = async {
        loop {
            let described = client.call(0, &request).await.topics.remove(0).partitions.remove(0);
            if described.isr_nodes == [0, 1] && described.eligible_leader_replicas == Some(vec![2]) {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
}
