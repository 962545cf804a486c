//! The moves of a plan that may start now: the most urgent first, as many as the budget allows.

use std::collections::BTreeMap;

use super::state::{Part, PlannedCluster};
use super::terms::{Budget, FULL_DURING, Move};
use crate::assignment::{Assignment, BrokerId};

/// The reassignments to start, and those to cancel because they add a replica that the plan has elsewhere.
pub(super) fn next<'a>(state: &PlannedCluster<'a>, budget: &Budget) -> (Vec<Move<'a>>, Vec<(&'a str, i32)>) {
    let mut copies = Copies::in_progress(state);
    let mut moves: Vec<(&Part<'a>, Move<'a>)> = Vec::new();
    let mut cancelled = Vec::new();
    for part in state.parts.iter().filter(|part| part.wanted != part.before) {
        let (topic, entry) = (part.source.topic, part.source.entry);
        let Some(purpose) = part.purpose else { continue };
        let target: Vec<BrokerId> = part.wanted.iter().map(|site| state.sites[*site].id).collect();
        if entry.is_reassigning() {
            // What it adds rightly is worth its bytes: the rest follows when that is complete.
            if entry.adding.iter().any(|id| !target.contains(id)) {
                cancelled.push((topic, entry.partition));
            }
            continue;
        }
        moves.push((part, Move { topic, partition: entry.partition, target, purpose }));
    }
    moves.sort_by_key(|(_, next)| next.purpose);
    moves.retain(|(part, next)| copies.start(part.source.entry, part.source.load.bytes, &next.target, budget));
    (moves.into_iter().map(|(_, next)| next).collect(), cancelled)
}

/// The replicas that are being copied.
#[derive(Default)]
struct Copies {
    into: BTreeMap<BrokerId, usize>,
    out_of: BTreeMap<BrokerId, usize>,
    total: usize,
    /// The reassignments of this round that copy nothing.
    reordered: usize,
    /// The bytes that each disk still has for copies.
    space: BTreeMap<BrokerId, f64>,
}

impl Copies {
    fn in_progress(state: &PlannedCluster<'_>) -> Self {
        let mut copies = Self::default();
        let mut held = vec![0.0; state.sites.len()];
        for part in &state.parts {
            let entry = part.source.entry;
            copies.add(entry, &entry.adding, 0.0);
            for site in entry.replicas.iter().filter_map(|id| state.site(*id)) {
                held[site] += part.source.load.bytes as f64;
            }
        }
        for (site, held) in state.sites.iter().zip(held) {
            copies.space.insert(site.id, site.capacity * FULL_DURING - site.other - held);
        }
        copies
    }

    /// Counts the move if it may start now.
    fn start(&mut self, entry: &Assignment, bytes: u64, target: &[BrokerId], budget: &Budget) -> bool {
        let adding: Vec<BrokerId> = target.iter().filter(|id| !entry.replicas.contains(id)).copied().collect();
        if adding.is_empty() {
            self.reordered += 1;
            return self.reordered <= budget.total;
        }
        // A move of more replicas than the budget has starts alone.
        let is_within = |now: usize, more: usize, most: usize| now == 0 || now + more <= most;
        let count = |counts: &BTreeMap<BrokerId, usize>, id: &BrokerId| counts.get(id).copied().unwrap_or_default();
        let sent = entry.leader.map_or(0, |leader| count(&self.out_of, &leader));
        let starts = is_within(self.total, adding.len(), budget.total)
            && is_within(sent, adding.len(), budget.out_of_broker)
            && adding.iter().all(|id| is_within(count(&self.into, id), 1, budget.into_broker))
            && adding.iter().all(|id| self.space.get(id).is_some_and(|space| *space >= bytes as f64));
        if starts {
            self.add(entry, &adding, bytes as f64);
        }
        starts
    }

    fn add(&mut self, entry: &Assignment, adding: &[BrokerId], bytes: f64) {
        self.total += adding.len();
        if let Some(leader) = entry.leader {
            *self.out_of.entry(leader).or_default() += adding.len();
        }
        for id in adding {
            *self.into.entry(*id).or_default() += 1;
            *self.space.entry(*id).or_default() -= bytes;
        }
    }
}
