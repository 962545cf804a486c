//! Brokers of several pools: a storage class that is replaced, and changes of mind.

use ottla_crds::{BrokerState, Pool};

use super::relocation::{catch_up, cluster, held, loads, moving, origins, scale};
use super::*;

/// Sets `replicas` of the pool `fast`, which begins with broker 10; `None` removes it from the spec, and the status
/// remembers it, as the cluster's task says.
fn set_pool(world: &mut World, replicas: Option<i32>) {
    let pool = |replicas: i32| -> Pool {
        let storage = serde_json::json!({ "size": "1Gi", "storageClassName": "fast" });
        let pool = serde_json::json!({ "name": "fast", "firstBroker": 10, "replicas": replicas, "storage": storage });
        serde_json::from_value(pool).unwrap()
    };
    Arc::make_mut(world.cluster.as_mut().unwrap()).spec.pools = replicas.map(pool).into_iter().collect();
    let told = ottla_crds::PoolStatus { pool: pool(replicas.unwrap_or(0)), volume_size: None };
    Arc::make_mut(world.platform.as_mut().unwrap()).pools = Some(vec![told]);
}

/// Brokers join that have been online for long enough to get replicas.
fn join(world: &mut World, ids: std::ops::Range<i32>) {
    for id in ids {
        let live = Some(LiveBroker { incarnation: Incarnation(i64::from(id) + 1), draining: false });
        let http = Some(([127, 0, 0, 1], 9404).into());
        world.brokers.insert(BrokerId(id), Broker { live, http, ..Broker::default() });
        world.seasoned.insert(BrokerId(id));
    }
    let answers = world.brokers.keys().map(|id| (*id, BrokerLoads::default()));
    world.loads = Some(Arc::new(answers.collect()));
}

/// Lets all moves end, round by round; each partition has at least two replicas throughout.
fn rest(world: &mut World) {
    for round in 0.. {
        settle(world);
        assert!(entries(world).all(|entry| entry.target().len() == 2 && entry.isr.len() >= 2), "round {round}");
        if moving(world) == 0 {
            return;
        }
        assert!(round < 200, "it does not end");
        catch_up(world);
    }
}

fn held_by(world: &World, ids: impl IntoIterator<Item = i32>) -> usize {
    ids.into_iter().map(|id| held(world, id)).sum()
}

fn status(world: &World) -> &ottla_crds::KafkaClusterStatus {
    world.cluster.as_ref().unwrap().status.as_ref().unwrap()
}

#[test]
fn a_class_is_replaced_by_a_pool_that_fills_and_a_default_pool_that_empties() {
    let mut world = cluster(3, 20);
    catch_up(&mut world);
    set_pool(&mut world, Some(3));
    settle(&mut world);
    let pools: Vec<Option<&str>> = status(&world).brokers.iter().map(|broker| broker.pool.as_deref()).collect();
    assert_eq!(pools, [None, None, None, Some("fast"), Some("fast"), Some("fast")]);
    assert!(status(&world).brokers[3..].iter().all(|broker| broker.state == BrokerState::Offline));
    assert_eq!((status(&world).broker_count, status(&world).replicas), (Some(6), Some(3)));
    assert_eq!(moving(&world), 0, "they are not there yet");

    join(&mut world, 10..13);
    rest(&mut world);
    let filled = [10, 11, 12].map(|id| held(&world, id));
    assert!(filled.iter().all(|held| *held >= 12), "120 replicas on six brokers: {filled:?}");

    scale(&mut world, 0);
    settle(&mut world);
    let wanted: Vec<Wanted> = status(&world).brokers.iter().map(|broker| broker.wanted).collect();
    assert_eq!(
        wanted,
        [Wanted::Leaving, Wanted::Leaving, Wanted::Leaving, Wanted::Serve, Wanted::Serve, Wanted::Serve]
    );
    catch_up(&mut world);
    rest(&mut world);
    assert_eq!((held_by(&world, 0..3), held_by(&world, 10..13)), (0, 120));
    assert_eq!(status(&world).broker_count, Some(3));
}

#[test]
fn a_pool_that_was_removed_by_mistake_is_emptied_and_put_back_cancels_that() {
    let mut world = cluster(3, 20);
    set_pool(&mut world, Some(3));
    join(&mut world, 10..13);
    settle(&mut world);
    catch_up(&mut world);
    rest(&mut world);
    let before = origins(&world);

    set_pool(&mut world, None);
    settle(&mut world);
    assert!(moving(&world) > 0 && held_by(&world, 10..13) > 0, "nothing is dropped: replicas move first");
    assert!(status(&world).brokers[3..].iter().all(|broker| broker.wanted == Wanted::Leaving));
    assert_eq!(status(&world).pools[0].pool.name, "fast", "it is remembered");
    assert_eq!(status(&world).brokers[3].pool.as_deref(), Some("fast"));

    set_pool(&mut world, Some(3));
    settle(&mut world);
    assert_eq!((origins(&world), moving(&world)), (before, 0));
    assert!(status(&world).brokers.iter().all(|broker| broker.wanted == Wanted::Serve));
}

#[test]
fn a_mistaken_size_of_a_pool_and_its_correction_move_nothing() {
    let mut world = cluster(3, 20);
    set_pool(&mut world, Some(1));
    join(&mut world, 10..11);
    catch_up(&mut world);
    rest(&mut world);
    let before = origins(&world);
    set_pool(&mut world, Some(30));
    settle(&mut world);
    assert_eq!(status(&world).brokers.len(), 33);
    set_pool(&mut world, Some(1));
    settle(&mut world);
    assert_eq!((origins(&world), moving(&world), status(&world).brokers.len()), (before, 0, 4));
}

#[test]
fn a_larger_disk_gets_more_replicas() {
    let mut world = cluster(3, 20);
    set_pool(&mut world, Some(3));
    join(&mut world, 10..13);
    let mut answers = BTreeMap::clone(&loads(0));
    for id in world.brokers.keys() {
        let capacity = Some(if id.0 < 10 { 1 << 30 } else { 3 << 30 });
        answers.insert(*id, BrokerLoads { capacity, used: Some(0), ..BrokerLoads::default() });
    }
    world.loads = Some(Arc::new(answers));
    settle(&mut world);
    catch_up(&mut world);
    rest(&mut world);
    let (small, large) = (held_by(&world, 0..3), held_by(&world, 10..13));
    assert!(large >= 2 * small, "{small} on disks of 1 GiB, {large} on disks of 3 GiB");
}
