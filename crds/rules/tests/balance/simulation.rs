//! The stories that every random cluster plays.

use std::env;

use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::balance::{Mode, Role};

use crate::bounds::{MEASURES, least_bytes};
use crate::checks;
use crate::random::Random;
use crate::world::World;

/// The seeds of the clusters to play.
fn seeds() -> Vec<u64> {
    let number = |name: &str| env::var(name).ok().map(|number| number.parse().expect("a number"));
    match number("OTTLA_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("OTTLA_CLUSTERS").unwrap_or(40)).collect(),
    }
}

/// Equal brokers over equal racks, with topics that are anywhere.
fn uneven(seed: u64) -> World {
    println!("cluster {seed}");
    let mut random = Random(seed);
    let (racks, brokers) = match random.below(4) {
        3 => (3, 3 * (1 + random.below(4))),
        2 => (2, 2 * (2 + random.below(4))),
        racks => (racks, 3 + random.below(7)),
    };
    let mut world = World::of(brokers, racks, random.next());
    for _ in 0..1 + random.below(8) {
        let factor = *random.of(&[1, 2, 3, 3]);
        world.add_topic(4 + random.below(40), factor, random.percent(70));
    }
    world
}

#[test]
fn a_full_rebalance_reaches_its_goals_with_few_bytes_and_ends() {
    let (mut least, mut proposed, mut copied) = (0.0, 0.0, 0.0);
    let mut missed = [0; MEASURES.len()];
    let seeds = seeds();
    for seed in &seeds {
        let mut world = uneven(*seed);
        let bound = least_bytes(&world);
        let (bytes, moves) = world.plan(&Mode::Full, |plan| (plan.whole.bytes as f64, plan.whole.moves));
        let before = MEASURES.each_ref().map(|measure| measure.outside(&world));
        let rounds = world.settle(&Mode::Full);
        checks::settled(&world, &Mode::Full);
        let after = MEASURES.each_ref().map(|measure| measure.outside(&world));
        println!("{moves} moves, {bytes} bytes ({} copied), bound {bound}, {rounds} rounds", world.copied);
        println!("outside {before:.2?} -> {after:.2?}");
        assert_eq!(after[0], 0.0, "replicas are as even as the band wants");
        let largest = world.partitions.iter().map(|owned| owned.load.bytes).max().unwrap_or_default() as f64;
        let most = 1.3 * bound + largest * world.brokers.len() as f64;
        assert!(bytes <= most, "{bytes} bytes; the bound and a replica for each broker are {most}");
        for (missed, after) in missed.iter_mut().zip(after) {
            *missed += usize::from(after > 0.0);
        }
        (least, proposed, copied) = (least + bound, proposed + bytes, copied + world.copied as f64);
    }
    let names = MEASURES.each_ref().map(|measure| measure.name);
    println!("{} clusters: {:.3} of the bound proposed, {:.3} copied", seeds.len(), proposed / least, copied / least);
    println!("outside the band at the end: {names:?} {missed:?}");
    assert!(seeds.len() < 10 || copied <= 1.3 * least, "{copied} bytes were copied; the bound is {least}");
}

#[test]
fn evacuations_end_while_brokers_die_disks_fill_and_operators_change() {
    for seed in seeds().into_iter().step_by(2) {
        let mut world = uneven(seed);
        world.add_brokers(3 * world.racks.max(1));
        world.give_disks(40);
        let leaver = world.random.below(world.brokers.len());
        let (mut dead, mut silent): (Option<usize>, Option<usize>) = (None, None);
        for round in 0..60 {
            match world.random.below(12) {
                0 if dead.is_none() => {
                    let broker = world.random.below(world.brokers.len());
                    world.live.remove(&BrokerId(broker as i32));
                    dead = Some(broker);
                }
                1 => dead.take().into_iter().for_each(|broker| world.revive(broker)),
                2 => world.jitter(5),
                3 => {
                    // Another program fills a disk for a while.
                    let broker = world.random.below(world.brokers.len());
                    world.brokers[broker].used = world.brokers[broker].capacity;
                }
                4 => world.brokers.iter_mut().for_each(|broker| broker.used = None),
                5 => silent = Some(world.random.below(world.brokers.len())),
                6 => silent = None,
                _ => {}
            }
            for broker in 0..world.brokers.len() {
                let role = match broker {
                    _ if broker == leaver && round >= 10 => Role::Leaves,
                    _ if dead == Some(broker) => Role::Cordoned,
                    _ if silent == Some(broker) => Role::Silent,
                    _ => Role::Serves,
                };
                world.role(broker, role);
            }
            let stale = world.random.percent(20).then(|| (world.partitions.clone(), world.epochs()));
            let mode = if world.random.percent(50) { Mode::Full } else { Mode::Evacuate };
            world.operator_acts(&mode);
            world.catch_up(40);
            // An operator that was paused since it read writes what it planned.
            if let Some((partitions, epochs)) = stale {
                let orders = world.orders_of(&partitions, &mode);
                world.execute(&orders, &epochs);
            }
        }
        dead.take().into_iter().for_each(|broker| world.revive(broker));
        world.brokers.iter_mut().for_each(|broker| broker.used = None);
        for broker in 0..world.brokers.len() {
            world.role(broker, if broker == leaver { Role::Leaves } else { Role::Serves });
        }
        world.settle(&Mode::Evacuate);
        world.settle(&Mode::Full);
        checks::settled(&world, &Mode::Full);
    }
}

#[test]
fn three_brokers_grow_to_thirty_and_shrink_to_three() {
    for seed in seeds().into_iter().step_by(20) {
        println!("cluster {seed}");
        let mut world = World::of(3, 3, seed);
        (0..4).for_each(|_| world.add_topic(30, 3, false));
        world.give_disks(70);
        let capacity = world.brokers[0].capacity;
        world.add_brokers(27);
        world.brokers.iter_mut().for_each(|broker| broker.capacity = capacity);
        let to = (3..30).map(BrokerId).collect();
        let fill = Mode::Fill { to };
        let rounds = world.settle(&fill);
        checks::settled(&world, &fill);
        println!("filled in {rounds} rounds");
        for broker in &world.brokers {
            let replicas = world.targets_on(broker.id).count();
            assert!((11..=13).contains(&replicas), "360 replicas on 30 brokers: {replicas} on broker {}", broker.id);
        }
        (3..30).for_each(|broker| world.role(broker, Role::Leaves));
        let rounds = world.settle(&Mode::Evacuate);
        checks::settled(&world, &Mode::Evacuate);
        println!("emptied in {rounds} rounds");
    }
}

/// Measures; asserts nothing of time: `cargo test --release -p ottla-rules --test balance -- --ignored --nocapture`.
#[test]
#[ignore = "measures a large cluster, for a release build"]
fn fifty_brokers_and_120_000_partitions_are_planned() {
    let mut world = World::of(45, 3, 1);
    for _ in 0..1_000 {
        world.add_topic(120, 3, false);
    }
    let time = |story: &str, world: &World, mode: &Mode| {
        let (begin, moves) = (std::time::Instant::now(), world.plan(mode, |plan| plan.whole.moves));
        println!("{story}: {moves} moves in {:?}", begin.elapsed());
    };
    time("even", &world, &Mode::Full);
    world.add_brokers(5);
    time("five brokers are new", &world, &Mode::Full);
    time("fill", &world, &Mode::Fill { to: (45..50).map(BrokerId).collect() });
    world.role(7, Role::Leaves);
    time("one leaves", &world, &Mode::Evacuate);
    world.jitter(50);
    time("loads are uneven", &world, &Mode::Full);
    time("leaders", &world, &Mode::Leaders);
}
