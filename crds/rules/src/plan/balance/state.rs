//! The brokers and partitions as planned so far: who holds what, and what each broker would have to do.
//!
//! Owns the wanted replicas; every change of them is a [`PlannedCluster::replace`], which keeps the loads true.

use std::collections::BTreeMap;

use super::terms::{Broker, FULL_AFTER, Partition, Purpose, Role};
use crate::assignment::BrokerId;
use crate::plan::placement::mix;

/// What a broker has too much or too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    /// The number of replicas.
    Replicas,
    /// The bytes of its logs.
    Bytes,
    /// The number of partitions that it should lead.
    Leaders,
    /// The bytes per second that it writes.
    In,
    /// The bytes per second that it sends, to consumers and to followers.
    Out,
}

impl Metric {
    pub(super) const ALL: [Metric; 5] = [Metric::Replicas, Metric::Bytes, Metric::Leaders, Metric::In, Metric::Out];
}

/// One number for each [`Metric`], in its order.
pub(super) type Loads = [f64; Metric::ALL.len()];

/// A broker.
pub(super) struct Site {
    pub(super) id: BrokerId,
    /// What it should do; `None`: the cluster does not have it, and its replicas are lost.
    pub(super) role: Option<Role>,
    /// The same number for all brokers of a rack.
    pub(super) rack: usize,
    /// The same number for all brokers of a node.
    pub(super) node: usize,
    /// Its part of an even load, in any unit: its capacity; the same for all if one is unknown.
    pub(super) weight: f64,
    /// The bytes that its disk can hold; infinite: unknown.
    pub(super) capacity: f64,
    /// The bytes on its disk that are not of its replicas.
    pub(super) other: f64,
    /// What it has to do once all is as planned.
    pub(super) load: Loads,
}

impl Site {
    /// Whether replicas may move to it.
    pub(super) fn takes(&self) -> bool {
        self.role == Some(Role::Serves)
    }

    /// Whether its replicas must move away.
    pub(super) fn is_to_be_empty(&self) -> bool {
        match self.role {
            None | Some(Role::Leaves) => true,
            Some(Role::Serves | Role::Cordoned | Role::Silent) => false,
        }
    }

    /// Whether its disk has space for so many bytes more.
    pub(super) fn has_space(&self, bytes: f64) -> bool {
        self.other + self.load[Metric::Bytes as usize] + bytes <= self.capacity * FULL_AFTER
    }
}

/// A partition: sites are numbers in [`PlannedCluster::sites`].
pub(super) struct Part<'a> {
    pub(super) source: &'a Partition<'a>,
    /// The wanted replicas when the plan began.
    pub(super) before: Vec<usize>,
    /// The wanted replicas as planned, in order of preference to lead.
    pub(super) wanted: Vec<usize>,
    /// Why it moves; `None`: it does not.
    pub(super) purpose: Option<Purpose>,
}

impl Part<'_> {
    /// Whether it only moves if it must.
    pub(super) fn is_fixed(&self) -> bool {
        self.source.pinned || self.source.entry.is_reassigning() || self.source.entry.leader.is_none()
    }
}

/// All brokers and partitions as planned so far.
pub(super) struct PlannedCluster<'a> {
    pub(super) sites: Vec<Site>,
    pub(super) parts: Vec<Part<'a>>,
    index: BTreeMap<BrokerId, usize>,
    /// The sum of the sites' loads.
    total: Loads,
    /// The sum of the weights of the sites that take replicas.
    weights: f64,
    seed: u64,
}

impl<'a> PlannedCluster<'a> {
    /// Every move in progress counts as done.
    pub(super) fn new(brokers: &[Broker], partitions: &'a [Partition<'a>], seed: u64) -> Self {
        let (mut sites, mut index) = (sites(brokers), BTreeMap::new());
        index.extend(sites.iter().enumerate().map(|(at, site)| (site.id, at)));
        let mut parts = Vec::with_capacity(partitions.len());
        for source in partitions {
            let wanted: Vec<usize> = source.entry.target().iter().map(|id| at(*id, &mut sites, &mut index)).collect();
            parts.push(Part { source, before: wanted.clone(), wanted, purpose: None });
        }
        let weights = sites.iter().filter(|site| site.takes()).map(|site| site.weight).sum();
        let mut state = Self { sites, parts, index, total: Loads::default(), weights, seed };
        for part in 0..state.parts.len() {
            state.count(part, 1.0);
        }
        for site in &state.sites {
            state.total.iter_mut().zip(site.load).for_each(|(total, load)| *total += load);
        }
        for (site, broker) in state.sites.iter_mut().zip(brokers) {
            // A replica that is being copied may be on the disk in part. It counts as whole, in both numbers.
            let of_replicas = site.load[Metric::Bytes as usize];
            site.other = broker.used.map_or(0.0, |used| (used as f64 - of_replicas).max(0.0));
        }
        state
    }

    /// The number of a broker that the plan knows: one of the cluster, or one with a replica. `None`: the plan does not
    /// know the broker.
    pub(super) fn site(&self, id: BrokerId) -> Option<usize> {
        self.index.get(&id).copied()
    }

    /// The partition gets these replicas instead, for this reason.
    pub(super) fn replace(&mut self, part: usize, wanted: Vec<usize>, purpose: Purpose) {
        self.count(part, -1.0);
        let changed = &mut self.parts[part];
        changed.wanted = wanted;
        changed.purpose = Some(changed.purpose.map_or(purpose, |earlier| earlier.min(purpose)));
        self.count(part, 1.0);
    }

    /// What the replica at this position of the preference order adds to its broker.
    pub(super) fn load_of(&self, part: usize, position: usize) -> Loads {
        let part = &self.parts[part];
        load_of(part.source, position == 0, part.wanted.len())
    }

    fn count(&mut self, part: usize, sign: f64) {
        let part = &self.parts[part];
        for (position, site) in part.wanted.iter().enumerate() {
            let added = load_of(part.source, position == 0, part.wanted.len());
            self.sites[*site].load.iter_mut().zip(added).for_each(|(load, added)| *load += sign * added);
        }
    }

    /// How many of `others` are in the rack of a site, and how many on its node.
    pub(super) fn crowd(&self, site: usize, others: &[usize]) -> (usize, usize) {
        let (rack, node) = (self.sites[site].rack, self.sites[site].node);
        let in_rack = others.iter().filter(|other| self.sites[**other].rack == rack).count();
        (in_rack, others.iter().filter(|other| self.sites[**other].node == node).count())
    }

    /// The greatest load ratio of a site that gets `added`, over replicas, bytes and bytes in: those that a replica has
    /// wherever it is in the order of preference.
    pub(super) fn ratio_with(&self, site: usize, added: &Loads) -> f64 {
        let share = self.sites[site].weight / self.weights;
        let ratio = |metric: Metric| {
            let even = self.total[metric as usize] * share;
            if even > 0.0 { (self.sites[site].load[metric as usize] + added[metric as usize]) / even } else { 0.0 }
        };
        [Metric::Replicas, Metric::Bytes, Metric::In].into_iter().map(ratio).fold(0.0, f64::max)
    }

    /// A number that decides between sites that are equally good for a partition.
    pub(super) fn tie(&self, part: usize, site: usize) -> u64 {
        let source = self.parts[part].source;
        let topic = source.topic.bytes().fold(self.seed, |hash, byte| mix(hash ^ u64::from(byte)));
        mix(topic
            ^ (u64::from(source.entry.partition.unsigned_abs()) << 32)
            ^ self.sites[site].id.0.unsigned_abs() as u64)
    }
}

/// What a replica adds to its broker. `leads`: whether it is the first of `replicas`.
fn load_of(source: &Partition<'_>, leads: bool, replicas: usize) -> Loads {
    let (bytes, bytes_in, bytes_out) =
        (source.load.bytes as f64, source.load.bytes_in as f64, source.load.bytes_out as f64);
    let followers = replicas.saturating_sub(1) as f64;
    let of_leader = |load: f64| if leads { load } else { 0.0 };
    [1.0, bytes, of_leader(1.0), bytes_in, of_leader(bytes_out + bytes_in * followers)]
}

fn sites(brokers: &[Broker]) -> Vec<Site> {
    let serving = || brokers.iter().filter(|broker| broker.role == Role::Serves);
    let weighs = serving().all(|broker| broker.capacity.is_some_and(|capacity| capacity > 0));
    let (mut racks, mut nodes) = (BTreeMap::new(), BTreeMap::new());
    let site = |(at, broker): (usize, &Broker)| Site {
        id: broker.id,
        role: Some(broker.role),
        rack: broker.rack.as_ref().map_or(at, |rack| *racks.entry(rack.clone()).or_insert(at)),
        node: broker.node.as_ref().map_or(at, |node| *nodes.entry(node.clone()).or_insert(at)),
        weight: broker.capacity.filter(|_| weighs).map_or(1.0, |capacity| capacity as f64),
        capacity: broker.capacity.map_or(f64::INFINITY, |capacity| capacity as f64),
        other: 0.0,
        load: Loads::default(),
    };
    brokers.iter().enumerate().map(site).collect()
}

/// The number of a broker's site; a broker that the cluster does not have gets one, in a rack and on a node of its own.
fn at(id: BrokerId, sites: &mut Vec<Site>, index: &mut BTreeMap<BrokerId, usize>) -> usize {
    *index.entry(id).or_insert_with(|| {
        let at = sites.len();
        let (weight, capacity, load) = (1.0, f64::INFINITY, Loads::default());
        sites.push(Site { id, role: None, rack: at, node: at, weight, capacity, other: 0.0, load });
        at
    })
}
