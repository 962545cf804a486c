//! Replicas that the operator moves by itself, against the embedded API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_crds::{KafkaRebalance, KafkaRebalanceStatus, RebalanceState};
use ottla_operator::acting::Acting;
use ottla_rules::assignment::{Assignment, BrokerId};
use serde_json::json;

use super::unlimited;
use crate::world::{Process, Seen, World};

fn entries(seen: &Seen) -> impl Iterator<Item = &Assignment> {
    seen.assignments.iter().flat_map(|object| &object.spec.partitions)
}

fn held(seen: &Seen, broker: i32) -> usize {
    entries(seen).filter(|entry| entry.replicas.contains(&BrokerId(broker))).count()
}

fn is_moving(seen: &Seen) -> bool {
    entries(seen).any(|entry| !entry.adding.is_empty())
}

/// Four brokers on Kubernetes, and a topic on all of them.
async fn four() -> (World, Vec<Process>) {
    let world = World::with_volumes(4).await;
    let brokers = (0..4).map(|id| world.broker(id, 7 + i64::from(id))).collect();
    let _operator = world.operator_that(Acting::alone(), unlimited()).await;
    let all = |seen: &Seen| seen.cluster().is_some_and(|cluster| cluster.replicas == Some(4));
    world.until("all brokers are there", all).await;
    world.apply(world.topic("orders", 24, |topic| topic.replication_factor = Some(2))).await;
    world.until("each partition has a leader", |seen| seen.leaders("orders").len() == 24).await;
    world.settle().await;
    (world, brokers)
}

/// What leaders do until every replica that is added is in sync.
async fn catch_up(world: &World) {
    for id in 0..4 {
        world.join(BrokerId(id), 7 + i64::from(id)).await;
    }
}

/// The operator is killed before its n-th write, for several n, and another one takes over.
#[tokio::test(start_paused = true)]
async fn replicas_leave_a_broker_although_operators_stop_between_any_two_writes() {
    for writes in [1, 2, 3, 5, 8] {
        let (world, _brokers) = four().await;
        assert!(held(&world.seen().await, 3) > 8);
        world.patch_cluster(json!({ "spec": { "brokers": { "replicas": 3 } } })).await;
        for _ in 0..30 {
            let left = Arc::new(AtomicI64::new(writes));
            let operator = world.operator_that(Acting::alone(), left.clone()).await;
            world.settle().await;
            drop(operator);
            catch_up(&world).await;
            if held(&world.seen().await, 3) == 0 && left.load(Ordering::SeqCst) == writes {
                break;
            }
        }
        let _operator = world.operator_that(Acting::alone(), unlimited()).await;
        world.settle().await;
        let seen = world.seen().await;
        assert_eq!((held(&seen, 3), is_moving(&seen)), (0, false), "{writes} writes at a time");
        assert!(entries(&seen).all(|entry| entry.replicas.len() == 2 && entry.leader.is_some()));
    }
}

/// The operator is killed before its n-th write, as above: a pool takes over from the default one.
#[tokio::test(start_paused = true)]
async fn a_pool_replaces_the_default_one_although_operators_stop_between_any_two_writes() {
    for writes in [1, 3, 8] {
        let (world, mut brokers) = four().await;
        let pool = json!({ "name": "fast", "firstBroker": 10, "replicas": 3, "storage": { "size": "1Gi" } });
        world.patch_cluster(json!({ "spec": { "brokers": { "replicas": 0 }, "pools": [pool] } })).await;
        brokers.extend((10..13).map(|id| world.broker(id, 7 + i64::from(id))));
        let left_there = |seen: &Seen| (0..4).map(|id| held(seen, id)).sum::<usize>();
        for _ in 0..60 {
            let left = Arc::new(AtomicI64::new(writes));
            let operator = world.operator_that(Acting::alone(), left.clone()).await;
            world.settle().await;
            drop(operator);
            for id in 10..13 {
                world.join(BrokerId(id), 7 + i64::from(id)).await;
            }
            if left_there(&world.seen().await) == 0 && left.load(Ordering::SeqCst) == writes {
                break;
            }
        }
        let _operator = world.operator_that(Acting::alone(), unlimited()).await;
        world.settle().await;
        let seen = world.seen().await;
        assert_eq!((left_there(&seen), is_moving(&seen)), (0, false), "{writes} writes at a time");
        assert!(entries(&seen).all(|entry| entry.replicas.len() == 2 && entry.leader.is_some()));
        let status = seen.cluster().unwrap();
        assert_eq!((status.broker_count, status.replicas), (Some(3), Some(4)), "the old ones are still there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scale_down_that_is_undone_moves_nothing_more() {
    let (world, _brokers) = four().await;
    let _operator = world.operator_that(Acting::alone(), unlimited()).await;
    world.patch_cluster(json!({ "spec": { "brokers": { "replicas": 3 } } })).await;
    world.until("replicas move", is_moving).await;
    let progress = |seen: &Seen| seen.cluster().and_then(|status| status.moves.clone());
    world
        .until("that is said", |seen| progress(seen).is_some_and(|moves| moves.total > 8 && moves.rate.is_some()))
        .await;
    world.patch_cluster(json!({ "spec": { "brokers": { "replicas": 4 } } })).await;
    world.until("nothing moves", |seen| !is_moving(seen) && progress(seen).is_none()).await;
    world.settle().await;
    assert!(held(&world.seen().await, 3) > 0 && !is_moving(&world.seen().await));
}

#[tokio::test(start_paused = true)]
async fn a_new_broker_is_filled_when_it_has_been_there_for_ten_minutes() {
    let world = World::with_volumes(3).await;
    let _operator = world.operator_that(Acting::alone(), unlimited()).await;
    let mut brokers: Vec<Process> = (0..3).map(|id| world.broker(id, 7 + i64::from(id))).collect();
    let all = |count: i32| move |seen: &Seen| seen.cluster().is_some_and(|cluster| cluster.replicas == Some(count));
    world.until("all brokers are there", all(3)).await;
    world.apply(world.topic("orders", 24, |topic| topic.replication_factor = Some(2))).await;
    world.until("each partition has a leader", |seen| seen.leaders("orders").len() == 24).await;
    world.patch_cluster(json!({ "spec": { "brokers": { "replicas": 4 } } })).await;
    brokers.push(world.broker(3, 10));
    world.until("the fourth is there", all(4)).await;
    tokio::time::sleep(std::time::Duration::from_secs(9 * 60)).await;
    assert_eq!(held(&world.seen().await, 3), 0, "it may be a mistake");
    for _ in 0..40 {
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        catch_up(&world).await;
    }
    let seen = world.seen().await;
    let replicas: Vec<usize> = (0..4).map(|id| held(&seen, id)).collect();
    assert!(!is_moving(&seen) && replicas.iter().all(|held| (11..=13).contains(held)), "{replicas:?}");
    let status = seen.cluster().unwrap();
    assert!(status.moves.is_none() && status.brokers.iter().all(|broker| !broker.unfilled), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_is_proposed_approved_made_and_told_of() {
    let (world, _brokers) = four().await;
    let _operator = world.operator_that(Acting::alone(), unlimited()).await;
    // Everything on two of the four.
    let placement: Vec<_> =
        (0..24).map(|partition| json!({ "partition": partition, "replicas": [0, 1], "once": true })).collect();
    world.patch_topic("orders", json!({ "spec": { "placement": placement } })).await;
    for _ in 0..40 {
        world.settle().await;
        catch_up(&world).await;
    }
    world.until("nothing is pinned", |seen| seen.topic("orders").unwrap().spec.placement.is_empty()).await;
    let before = world.seen().await;
    assert_eq!((held(&before, 2), held(&before, 3)), (0, 0));

    let cluster_ref = json!({ "name": "prod" });
    let object = json!({ "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaRebalance", "metadata": { "name": "even" },
        "spec": { "clusterRef": cluster_ref } });
    world.apply_rebalance(serde_json::from_value::<KafkaRebalance>(object).unwrap()).await;
    let proposed = status_in(&world, RebalanceState::Proposed).await;
    world.settle().await;
    let versions =
        |seen: &Seen| seen.assignments.iter().map(|o| o.metadata.resource_version.clone()).collect::<Vec<_>>();
    assert_eq!(versions(&world.seen().await), versions(&before), "a dry run writes to no assignment");
    assert!((22..=26).contains(&proposed.moves), "{proposed:?}");

    world.patch_rebalance("even", json!({ "spec": { "approved": proposed.hash } })).await;
    status_in(&world, RebalanceState::Moving).await;
    let mut percents = BTreeSet::new();
    for _ in 0..40 {
        world.settle().await;
        catch_up(&world).await;
        percents.extend(world.rebalance("even").await.status.unwrap().percent);
    }
    status_in(&world, RebalanceState::Done).await;
    assert!(percents.len() > 3 && percents.contains(&100), "{percents:?}");
    let seen = world.seen().await;
    let replicas: Vec<usize> = (0..4).map(|id| held(&seen, id)).collect();
    assert!(replicas.iter().all(|held| (11..=13).contains(held)), "{replicas:?}");
    let events = world.events().await;
    assert!(["Proposed", "Moving", "Done"].iter().all(|reason| events.contains(&(*reason).to_owned())), "{events:?}");
}

async fn status_in(world: &World, state: RebalanceState) -> KafkaRebalanceStatus {
    for _ in 0..1000 {
        let status = world.rebalance("even").await.status;
        if let Some(status) = status.filter(|status| status.state == state) {
            return status;
        }
        // Time is paused: it moves when everybody else has nothing left to do.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never {state:?}: {:?}", world.rebalance("even").await.status);
}
