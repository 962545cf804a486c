//! What a whole plan does: the replicas and bytes that it copies, and what each broker has before and after.

use super::state::{Metric, PlannedCluster};
use crate::assignment::BrokerId;

/// What is left to do of a whole plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The replicas to copy, those in progress included.
    pub moves: usize,
    /// Their bytes. Those of replicas that are copied in part count as a whole.
    pub bytes: u64,
    /// The brokers of the cluster, in the order in which they were given.
    pub brokers: Vec<BrokerEffect>,
}

/// What a broker has before and after a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEffect {
    /// Its id.
    pub id: BrokerId,
    /// Its replicas.
    pub replicas: PlannedChange,
    /// The bytes on its disk.
    pub disk: PlannedChange,
    /// The partitions that it leads by preference.
    pub leaders: PlannedChange,
}

/// A number that a plan changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlannedChange {
    /// Before: moves in progress count as not begun. For their leaders, those of now count.
    pub before: u64,
    /// After the last round.
    pub after: u64,
}

/// The effect of the plan so far.
pub(super) fn of(state: &PlannedCluster<'_>) -> Effect {
    let mut effect = Effect::default();
    let mut before = vec![(0_u64, 0_u64, 0_u64); state.sites.len()];
    for part in &state.parts {
        let (entry, bytes) = (part.source.entry, part.source.load.bytes);
        let origin = entry.origin();
        // A reassignment that has begun has put the wanted order in the place of the former one.
        let first = if entry.is_reassigning() { entry.leader } else { origin.first().copied() };
        let copied = part.wanted.iter().filter(|site| !origin.contains(&state.sites[**site].id)).count();
        effect.moves += copied;
        effect.bytes = effect.bytes.saturating_add(bytes.saturating_mul(copied as u64));
        for (id, site) in origin.iter().filter_map(|id| Some((*id, state.site(*id)?))) {
            let (replicas, disk, leaders) = &mut before[site];
            *replicas += 1;
            *disk = disk.saturating_add(bytes);
            *leaders += u64::from(first == Some(id));
        }
    }
    for (site, (replicas, disk, leaders)) in state.sites.iter().zip(before).filter(|(site, _)| site.role.is_some()) {
        // Sums of whole numbers below 2^53 are exact; the cast saturates.
        let after = |metric: Metric| site.load[metric as usize] as u64;
        let other = site.other as u64;
        effect.brokers.push(BrokerEffect {
            id: site.id,
            replicas: PlannedChange { before: replicas, after: after(Metric::Replicas) },
            disk: PlannedChange {
                before: disk.saturating_add(other),
                after: after(Metric::Bytes).saturating_add(other),
            },
            leaders: PlannedChange { before: leaders, after: after(Metric::Leaders) },
        });
    }
    effect
}
