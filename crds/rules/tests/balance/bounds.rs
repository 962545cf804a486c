//! What an even load costs at least, and how even it is: computed here without the planner, for clusters whose brokers
//! and racks are all equal.

use ottla_rules::assignment::BrokerId;

use crate::world::{Owned, World};

/// A load that should be even.
pub struct Measure {
    pub name: &'static str,
    /// How far from the mean a broker may be.
    pub band: f64,
    /// Whether only whole numbers are possible.
    pub counts: bool,
    /// What a replica adds to its broker; whether it leads.
    pub of: fn(&Owned, bool) -> f64,
}

pub const MEASURES: [Measure; 5] = [
    Measure { name: "replicas", band: 0.05, counts: true, of: |_, _| 1.0 },
    Measure { name: "bytes", band: 0.10, counts: false, of: |owned, _| owned.load.bytes as f64 },
    Measure { name: "leaders", band: 0.10, counts: true, of: |_, leads| f64::from(u8::from(leads)) },
    Measure { name: "in", band: 0.10, counts: false, of: |owned, _| owned.load.bytes_in as f64 },
    Measure { name: "out", band: 0.10, counts: false, of: sent },
];

fn sent(owned: &Owned, leads: bool) -> f64 {
    let followers = owned.entry.target().len() as f64 - 1.0;
    if leads { owned.load.bytes_out as f64 + owned.load.bytes_in as f64 * followers } else { 0.0 }
}

impl Measure {
    fn on(&self, world: &World, broker: BrokerId) -> f64 {
        let of = |owned: &Owned| (self.of)(owned, owned.entry.target()[0] == broker);
        world.targets_on(broker).map(of).sum()
    }

    fn loads(&self, world: &World) -> Vec<f64> {
        world.brokers.iter().map(|broker| self.on(world, broker.id)).collect()
    }

    /// The ends of the band.
    fn ends(&self, loads: &[f64]) -> (f64, f64) {
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        let (low, high) = (mean * (1.0 - self.band), mean * (1.0 + self.band));
        if self.counts { (low.floor(), high.ceil()) } else { (low, high) }
    }

    /// The parts of the mean by which the worst broker is outside the band.
    pub fn outside(&self, world: &World) -> f64 {
        let loads = self.loads(world);
        let ((low, high), mean) = (self.ends(&loads), loads.iter().sum::<f64>() / loads.len() as f64);
        let outside = loads.iter().map(|load| (load - high).max(low - load).max(0.0) / mean.max(1.0));
        outside.fold(0.0, f64::max)
    }

    /// The fewest bytes that any plan copies to reach this goal: what givers have above the band must leave, in the
    /// replicas with the fewest bytes for it; and what takers lack must come.
    pub fn least_bytes(&self, world: &World) -> f64 {
        let loads = self.loads(world);
        let (low, high) = self.ends(&loads);
        let all = || world.partitions.iter().filter(|owned| !owned.pinned);
        let (mut leave, mut come) = (0.0, 0.0);
        for (broker, load) in world.brokers.iter().zip(loads) {
            let here = |owned: &&Owned| owned.entry.target().contains(&broker.id);
            leave += self.cheapest(all().filter(here), load - high);
            come += self.cheapest(all().filter(|owned| !here(owned)), low - load);
        }
        f64::max(leave, come)
    }

    /// The bytes of the cheapest replicas that have this much; the last in part.
    fn cheapest<'a>(&self, among: impl Iterator<Item = &'a Owned>, mut much: f64) -> f64 {
        let of = |owned: &'a Owned| ((self.of)(owned, true), owned.load.bytes as f64);
        let mut among: Vec<(f64, f64)> = among.map(of).filter(|(load, _)| *load > 0.0).collect();
        among.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
        let mut bytes = 0.0;
        for (load, size) in among {
            if much <= 0.0 {
                break;
            }
            bytes += size * (much / load).min(1.0);
            much -= load;
        }
        bytes
    }
}

/// The fewest bytes that any plan copies to make every load even; leaders and bytes sent may need none.
pub fn least_bytes(world: &World) -> f64 {
    let copying = MEASURES.iter().filter(|measure| !matches!(measure.name, "leaders" | "out"));
    copying.map(|measure| measure.least_bytes(world)).fold(0.0, f64::max)
}
