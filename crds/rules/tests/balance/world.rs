//! A cluster whose operator plans in rounds: its brokers, its partitions, and what happens to them in a round.

use std::collections::BTreeSet;

use ottla_rules::assignment::{Assignment, BrokerId, Incarnation, IsrMember, Live, LiveBroker, PartitionEpoch};
use ottla_rules::plan::balance::{Broker, Budget, Load, Mode, Partition, Plan, Role, balance};
use ottla_rules::plan::election;
use ottla_rules::plan::placement::{self, Copysets};

use crate::checks;
use crate::random::Random;

pub const MIB: u64 = 1 << 20;
/// Of the largest partition.
const LARGEST: u64 = 20_000 * MIB;
const MIN_IN_SYNC: usize = 1;

pub struct World {
    /// 0: the racks are not known.
    pub racks: usize,
    pub brokers: Vec<Broker>,
    pub partitions: Vec<Owned>,
    pub live: Live,
    pub random: Random,
    /// The bytes that rounds have begun to copy.
    pub copied: u64,
}

/// A partition and what is known of it.
#[derive(Clone)]
pub struct Owned {
    pub topic: String,
    pub entry: Assignment,
    pub pinned: bool,
    pub load: Load,
}

/// What a plan says to do.
pub struct Orders {
    pub start: Vec<(usize, Vec<BrokerId>)>,
    pub cancel: Vec<usize>,
}

impl World {
    /// So many brokers over so many racks (0: none is known), without partitions.
    pub fn of(brokers: usize, racks: usize, seed: u64) -> World {
        let (live, random) = (Live::new(), Random(seed));
        let mut world = World { racks, brokers: Vec::new(), partitions: Vec::new(), live, random, copied: 0 };
        world.add_brokers(brokers);
        world
    }

    pub fn add_brokers(&mut self, count: usize) {
        for at in self.brokers.len()..self.brokers.len() + count {
            let id = BrokerId(at as i32);
            let rack = (self.racks > 0).then(|| format!("rack {}", at % self.racks));
            let node = Some(format!("node {at}"));
            self.brokers.push(Broker { id, rack, node, capacity: None, used: None, role: Role::Serves });
            self.live.insert(id, LiveBroker { incarnation: Incarnation(1), draining: false });
        }
    }

    /// Adds a topic. `uneven`: each partition finds only some of the brokers, but enough racks.
    pub fn add_topic(&mut self, partitions: usize, factor: usize, uneven: bool) {
        let topic = format!("topic-{}", self.partitions.len());
        let serving = self.brokers.iter().filter(|broker| broker.role == Role::Serves);
        let place = |broker: &Broker| placement::Broker { id: broker.id, rack: broker.rack.clone(), away: false };
        let places: Vec<placement::Broker> = serving.map(place).collect();
        let racks =
            |places: &[placement::Broker]| places.iter().map(|place| &place.rack).collect::<BTreeSet<_>>().len();
        let salt = self.random.next();
        let mut placed = placement::place(partitions, factor, &places, &[], &mut Copysets::default(), salt).unwrap();
        for replicas in placed.iter_mut().filter(|_| uneven) {
            let some = &places[..factor.max(1 + self.random.below(places.len()))];
            if racks(some) >= racks(&places).min(factor) {
                *replicas = placement::place(1, factor, some, &[], &mut Copysets::default(), self.random.next())
                    .unwrap()
                    .remove(0);
            }
        }
        for (number, replicas) in placed.into_iter().enumerate() {
            let entry = Assignment::create(number as i32, replicas, &self.live).unwrap();
            let load = self.some_load();
            self.partitions.push(Owned { topic: topic.clone(), entry, pinned: false, load });
        }
    }

    /// Zipf: the n-th has an n-th of the largest.
    fn some_load(&mut self) -> Load {
        let bytes = LARGEST / (1 + self.random.below(200) as u64);
        let bytes_in = bytes / 50_000 / (1 + self.random.below(4) as u64);
        Load { bytes, bytes_in, bytes_out: bytes_in * self.random.below(4) as u64 }
    }

    /// Every broker gets a disk of the same size: so many percent of it would be full, and the largest partitions fit
    /// besides.
    pub fn give_disks(&mut self, percent: u64) {
        let held: u64 = self.partitions.iter().map(|owned| owned.load.bytes * owned.entry.target().len() as u64).sum();
        let capacity = held / self.brokers.len() as u64 * 100 / percent + 3 * LARGEST;
        self.brokers.iter_mut().for_each(|broker| broker.capacity = Some(capacity));
    }

    /// Loads change by up to so many percent.
    pub fn jitter(&mut self, percent: u64) {
        for owned in &mut self.partitions {
            let mut around =
                |load: u64| load / 100 * (100 - percent + self.random.below(2 * percent as usize + 1) as u64);
            let Load { bytes, bytes_in, bytes_out } = owned.load;
            owned.load = Load { bytes: around(bytes), bytes_in: around(bytes_in), bytes_out: around(bytes_out) };
        }
    }

    pub fn plan<T>(&self, mode: &Mode, look: impl FnOnce(&Plan<'_>) -> T) -> T {
        self.plan_of(&self.partitions, mode, look)
    }

    /// The plan of an operator that reads these partitions.
    fn plan_of<T>(&self, partitions: &[Owned], mode: &Mode, look: impl FnOnce(&Plan<'_>) -> T) -> T {
        let mut read = Vec::with_capacity(partitions.len());
        for Owned { topic, entry, pinned, load } in partitions {
            read.push(Partition { topic, entry, pinned: *pinned, load: *load });
        }
        look(&balance(&self.brokers, &read, mode, &Budget::default(), 7))
    }

    /// What the plan of an operator that reads these partitions says.
    pub fn orders_of(&self, partitions: &[Owned], mode: &Mode) -> Orders {
        let find = |topic: &str, number: i32| {
            let is_it = |owned: &Owned| owned.topic == topic && owned.entry.partition == number;
            partitions.iter().position(is_it).unwrap()
        };
        self.plan_of(partitions, mode, |plan| Orders {
            start: plan.start.iter().map(|next| (find(next.topic, next.partition), next.target.clone())).collect(),
            cancel: plan.cancel.iter().map(|(topic, partition)| find(topic, *partition)).collect(),
        })
    }

    /// The operator elects, plans, and starts and cancels what the plan says. Returns whether anything is to be done.
    pub fn operator_acts(&mut self, mode: &Mode) -> bool {
        self.elect();
        let orders = self.orders_of(&self.partitions, mode);
        checks::orders(self, &orders);
        self.execute(&orders, &self.epochs());
        checks::budget(self, &orders);
        !orders.start.is_empty() || !orders.cancel.is_empty() || self.is_moving()
    }

    pub fn is_moving(&self) -> bool {
        self.partitions.iter().any(|owned| owned.entry.is_reassigning())
    }

    pub fn epochs(&self) -> Vec<PartitionEpoch> {
        self.partitions.iter().map(|owned| owned.entry.partition_epoch).collect()
    }

    /// Each write succeeds only if the entry is as it was read.
    pub fn execute(&mut self, orders: &Orders, read: &[PartitionEpoch]) {
        for at in orders.cancel.iter().copied().filter(|at| self.is_as_read(*at, read)).collect::<Vec<_>>() {
            if let Ok(next) = self.partitions[at].entry.cancel_reassignment(&self.live, MIN_IN_SYNC) {
                self.partitions[at].entry = next;
            }
        }
        for (at, target) in orders.start.iter().filter(|(at, _)| self.is_as_read(*at, read)).collect::<Vec<_>>() {
            let next = self.partitions[*at].entry.start_reassignment(target).unwrap();
            self.copied += self.partitions[*at].load.bytes * next.adding.len() as u64;
            self.partitions[*at].entry = next;
        }
    }

    fn is_as_read(&self, at: usize, read: &[PartitionEpoch]) -> bool {
        read.get(at) == Some(&self.partitions[at].entry.partition_epoch)
    }

    /// Completes reassignments and elects leaders, until there is nothing to do.
    pub fn elect(&mut self) {
        for owned in &mut self.partitions {
            while let Some(next) = election::elect(std::slice::from_ref(&owned.entry), &self.live, MIN_IN_SYNC).pop() {
                owned.entry = next;
            }
            if let Ok(next) = owned.entry.prefer(&self.live) {
                owned.entry = next;
            }
        }
    }

    /// Of the live replicas that are not in sync, so many percent catch up.
    pub fn catch_up(&mut self, percent: usize) {
        for owned in self.partitions.iter_mut().filter(|owned| owned.entry.leader.is_some()) {
            for broker in owned.entry.replicas.clone() {
                let is_member = owned.entry.isr.iter().any(|member| member.broker == broker);
                let Some(live) = self.live.get(&broker).filter(|_| !is_member) else { continue };
                if self.random.percent(percent) {
                    owned.entry.isr.push(IsrMember { broker, incarnation: live.incarnation });
                }
            }
        }
    }

    /// Rounds until the plan is empty; returns how many.
    pub fn settle(&mut self, mode: &Mode) -> usize {
        for round in 0..2_000 {
            if !self.operator_acts(mode) {
                return round;
            }
            self.catch_up(60);
        }
        panic!("the plan never ends");
    }

    pub fn revive(&mut self, broker: usize) {
        self.live.insert(BrokerId(broker as i32), LiveBroker { incarnation: Incarnation(1), draining: false });
    }

    pub fn role(&mut self, broker: usize, role: Role) {
        self.brokers[broker].role = role;
    }

    /// What a broker is to have once all moves are done.
    pub fn targets_on(&self, broker: BrokerId) -> impl Iterator<Item = &Owned> {
        self.partitions.iter().filter(move |owned| owned.entry.target().contains(&broker))
    }
}
