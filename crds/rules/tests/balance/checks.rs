//! What holds in every round, and after the last one.

use std::collections::BTreeSet;

use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::balance::{Budget, Mode, Role};

use crate::world::{Orders, World};

fn rack(world: &World, id: BrokerId) -> Option<&String> {
    world.brokers.iter().find(|broker| broker.id == id)?.rack.as_ref()
}

fn racks(world: &World, replicas: &[BrokerId]) -> usize {
    let known: BTreeSet<_> = replicas.iter().filter_map(|id| rack(world, *id)).collect();
    known.len() + replicas.iter().filter(|id| rack(world, **id).is_none()).count()
}

fn role(world: &World, id: BrokerId) -> Option<Role> {
    Some(world.brokers.iter().find(|broker| broker.id == id)?.role)
}

/// Orders may move replicas only to brokers that serve, and never one that a user placed, nor into fewer racks.
pub fn orders(world: &World, orders: &Orders) {
    for (at, target) in &orders.start {
        let owned = &world.partitions[*at];
        let origin = &owned.entry.replicas;
        let story = format!("{} {}: {origin:?} to {target:?}", owned.topic, owned.entry.partition);
        assert!(!owned.pinned, "a user placed {story}");
        assert!(!owned.entry.is_reassigning(), "moves already: {story}");
        assert_eq!(target.iter().collect::<BTreeSet<_>>().len(), origin.len(), "{story}");
        for id in target.iter().filter(|id| !origin.contains(id)) {
            assert_eq!(role(world, *id), Some(Role::Serves), "{story}");
        }
        let stay = |id: &BrokerId| matches!(role(world, *id), Some(Role::Serves | Role::Cordoned | Role::Silent));
        if origin.iter().all(stay) {
            assert!(racks(world, target) >= racks(world, origin), "into fewer racks: {story}");
        }
    }
}

/// After the orders: no more copies than the budget allows, and no disk that fills up.
pub fn budget(world: &World, orders: &Orders) {
    let budget = Budget::default();
    let moving = || world.partitions.iter().filter(|owned| !owned.entry.adding.is_empty());
    let new: BTreeSet<BrokerId> =
        orders.start.iter().flat_map(|(at, _)| world.partitions[*at].entry.adding.clone()).collect();
    // A cancellation that the floor forbids leaves a move in progress that the plan did not count.
    if new.is_empty() || !orders.cancel.is_empty() {
        return;
    }
    assert!(moving().map(|owned| owned.entry.adding.len()).sum::<usize>() <= budget.total);
    for broker in &world.brokers {
        let into = moving().filter(|owned| owned.entry.adding.contains(&broker.id)).count();
        assert!(!new.contains(&broker.id) || into <= budget.into_broker, "{into} copies to broker {}", broker.id);
        let Some(capacity) = broker.capacity.filter(|_| new.contains(&broker.id)) else { continue };
        let after: u64 = world.targets_on(broker.id).map(|owned| owned.load.bytes).sum();
        assert!(after as f64 <= 0.8 * capacity as f64, "broker {} gets {after} of {capacity} bytes", broker.id);
        let held = world.partitions.iter().filter(|owned| owned.entry.replicas.contains(&broker.id));
        let during: u64 = held.map(|owned| owned.load.bytes).sum();
        assert!(during as f64 <= 0.85 * capacity as f64, "broker {} holds {during} of {capacity} bytes", broker.id);
    }
}

/// After the last round: the next plan has nothing to do, racks are as different as they can be, and who leaves is
/// empty.
pub fn settled(world: &World, mode: &Mode) {
    world.plan(mode, |plan| {
        assert_eq!((plan.start.len(), plan.cancel.len(), plan.whole.moves), (0, 0, 0), "{plan:?}");
        assert_eq!(plan.blocked, []);
    });
    let serving: Vec<BrokerId> = world.brokers.iter().filter(|b| b.role == Role::Serves).map(|b| b.id).collect();
    for owned in world.partitions.iter().filter(|owned| !owned.pinned) {
        let replicas = &owned.entry.replicas;
        let stays = |id: &BrokerId| matches!(role(world, *id), Some(Role::Serves | Role::Cordoned));
        assert!(replicas.iter().all(stays), "{} {}: {replicas:?}", owned.topic, owned.entry.partition);
        let best = racks(world, &serving).min(replicas.len());
        assert!(racks(world, replicas) >= best, "{} {}: {replicas:?}", owned.topic, owned.entry.partition);
    }
}
