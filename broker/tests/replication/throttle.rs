//! Throttles of reassignments (KIP-73).

use std::time::Duration;

use ottla_broker::image::{Assignment, BrokerId};

use crate::cluster::{Cluster, Objects, life, member, settings, until};

const RATES: [&str; 2] = ["follower.replication.throttled.rate", "leader.replication.throttled.rate"];
/// From broker 0 to broker 2.
const THROTTLED: &[(&str, &str)] =
    &[("follower.replication.throttled.replicas", "0:2"), ("leader.replication.throttled.replicas", "0:0")];
/// Of a batch, so that there are many of them in a second of the rate.
const SIZE: usize = 10_000;

/// Broker 2 was away while `batches` were written, and comes back to a cluster with these settings on top.
async fn lacking(batches: usize, topic_config: &[(&str, &str)], more: &[(&str, &str)]) -> Cluster {
    lacking_while(batches, topic_config, more, |_| {}).await
}

/// The same while the objects say something else, too.
async fn lacking_while(
    batches: usize,
    topic_config: &[(&str, &str)],
    more: &[(&str, &str)],
    say: impl FnOnce(&mut Objects),
) -> Cluster {
    let mut cluster = Cluster::start(topic_config).await;
    cluster.stop(2).await;
    cluster.change(|objects| {
        objects.assignment.isr.retain(|member| member.broker != BrokerId(2));
        say(objects);
    });
    let value = "x".repeat(SIZE);
    for _ in 0..batches {
        cluster.produce(0, &[&value]).await;
    }
    // Who is in sync stays so, however slow this machine is.
    cluster.objects.lock().settings = settings(&[more, &[("replica.lag.time.max.ms", "60000")]].concat());
    cluster.run(2, life(2), true).await;
    cluster
}

#[tokio::test]
async fn only_a_replica_that_is_not_in_sync_is_slowed_down_and_only_while_there_is_a_rate() {
    for rate in RATES {
        let cluster = lacking(10, THROTTLED, &[(rate, "1")]).await;
        // A first batch, after which nothing passes for hours.
        until("it has begun", || !cluster.log(2).is_empty()).await;
        let value = "x".repeat(SIZE);
        for _ in 0..10 {
            cluster.produce(0, &[&value]).await;
        }
        until("1 is in sync and 2 is not", || cluster.isr() == [member(0, life(0)), member(1, life(1))]).await;
        assert!(cluster.log(2).len() < 3 * SIZE, "{rate}: {} bytes", cluster.log(2).len());
        cluster.change(|objects| objects.settings = settings(&[]));
        until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
        cluster.all_alike(&[0, 1, 2]).await;
    }
}

#[tokio::test]
async fn a_replica_that_a_move_adds_is_copied_at_the_rate_of_moves_and_another_is_not() {
    let at_one_byte = |adding: &[BrokerId]| {
        let adding = adding.to_vec();
        move |objects: &mut Objects| (objects.assignment.adding, objects.moves_rate) = (adding, Some(1))
    };
    let cluster = lacking_while(10, &[], &[], at_one_byte(&[BrokerId(2)])).await;
    // A first batch, after which nothing passes for hours.
    until("it has begun", || !cluster.log(2).is_empty()).await;
    cluster.produce(0, &[&"x".repeat(SIZE)]).await;
    assert!(cluster.log(2).len() < 3 * SIZE, "{} bytes", cluster.log(2).len());
    cluster.change(|objects| objects.moves_rate = Some(1 << 30));
    until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
    cluster.all_alike(&[0, 1, 2]).await;

    let cluster = lacking_while(10, &[], &[], at_one_byte(&[])).await;
    until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
}

#[tokio::test]
async fn a_backlog_takes_at_least_its_size_over_the_rate() {
    for rate in RATES {
        let began = std::time::Instant::now();
        let cluster = lacking(30, THROTTLED, &[(rate, "100000")]).await;
        until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
        // 300 kB, of which a second's worth may have been spared before, and the last batch comes whole.
        assert!(began.elapsed() > Duration::from_millis(1800), "{rate}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn replicas_that_no_list_names_are_not_slowed_down() {
    let others = [("follower.replication.throttled.replicas", "0:1"), ("leader.replication.throttled.replicas", "0:2")];
    let cluster = lacking(10, &others, &RATES.map(|rate| (rate, "1"))).await;
    until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
}

#[tokio::test]
async fn who_has_no_room_is_copied_when_there_is_some_though_other_partitions_have_no_news() {
    // A step of the backlog takes 0.1 s; a fetch that waited for the other partition would take 30.
    let rate = [("follower.replication.throttled.rate", "100000"), ("replica.fetch.wait.max.ms", "30000")];
    let beside = |objects: &mut Objects| {
        objects.others = vec![Assignment { partition: 1, ..objects.assignment.clone() }];
    };
    let cluster = lacking_while(40, THROTTLED, &rate, beside).await;
    until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
}
