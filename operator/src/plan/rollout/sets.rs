//! Who restarts next: one set after the other, each back before the next is chosen.

use std::collections::BTreeSet;

use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::disruption::{Blocked, Situation, check, decide};

use super::restart::Restart;
use super::scene::Scene;
use crate::plan::platform::{PodRevision, Stage};
use ottla_crds::RolloutStatus;

/// How many items a plan has: each costs a look at every partition.
const LONGEST_PLAN: usize = 64;

/// How a roll advances.
#[derive(Debug)]
pub enum Advance {
    /// Every broker has the revision.
    Done,
    /// The former set is back; this one is next. Empty: none may restart.
    Next {
        /// The set.
        away: Vec<BrokerId>,
        /// All sets, the next one first.
        plan: Vec<String>,
        /// Why others may not, if none may.
        blocked: Vec<Blocked>,
    },
    /// Restart these now.
    Restart(Restart),
    /// The set can't be restarted at the moment.
    Blocked(Blocked),
    /// Brokers restart.
    Wait,
}

/// How the roll to `goal` advances from `status`.
pub fn advance(goal: &str, status: &RolloutStatus, scene: &Scene<'_>) -> Advance {
    let is_there = |id: &&BrokerId| scene.pods().any(|(there, _)| there == **id) || scene.is_away(**id);
    let has_not = |id: &&BrokerId| !scene.has_restarted(**id, goal);
    let unfinished: Vec<BrokerId> = status.away.iter().filter(is_there).filter(has_not).copied().collect();
    if unfinished.is_empty() {
        return next_set(goal, scene);
    }
    let is_old = |id: &BrokerId| {
        let is_old = |pod: &&PodRevision| !pod.has(goal) && pod.stage != Stage::Ending;
        scene.pod(*id).filter(is_old).filter(|_| !scene.loses_volume(*id)).map(|pod| (*id, pod))
    };
    let old: Vec<(BrokerId, &PodRevision)> = unfinished.iter().filter_map(is_old).collect();
    if old.is_empty() || !scene.makes(goal) {
        return Advance::Wait;
    }
    let broken: Vec<(BrokerId, &PodRevision)> = old.iter().filter(|(id, _)| scene.is_broken(*id)).copied().collect();
    let broken_ids: Vec<BrokerId> = broken.iter().map(|(id, _)| *id).collect();
    if !broken.is_empty() && check(&scene.situation(), &broken_ids).is_ok() {
        // The PodDisruptionBudget would refuse evictions while several are away, and these take nothing from anybody.
        return Advance::Restart(Restart::new(&broken, false, scene));
    }
    // An eviction counts for the PodDisruptionBudget, which keeps others away from then on. What is down already, or
    // goes down together with that broker, needs none.
    let away = scene.away();
    let only_ours = !away.is_empty() && away.iter().all(|id| status.away.contains(id));
    let set = if only_ours { &old[..] } else { &old[..1] };
    let ids: Vec<BrokerId> = set.iter().map(|(id, _)| *id).collect();
    match check(&scene.situation(), &ids) {
        Ok(()) => Advance::Restart(Restart::new(set, !only_ours, scene)),
        Err(blocked) => Advance::Blocked(blocked),
    }
}

fn next_set(goal: &str, scene: &Scene<'_>) -> Advance {
    let candidates = candidates(goal, scene);
    if candidates.is_empty() {
        return Advance::Done;
    }
    let decision = decide(&scene.situation(), &candidates);
    let blocked = if decision.may_restart.is_empty() { decision.blocked } else { Vec::new() };
    let plan = plan(goal, vec![decision.may_restart.clone()], scene);
    Advance::Next { away: decision.may_restart, plan, blocked }
}

/// Which of these brokers tries the revision next, or why none may.
pub fn canary(goal: &str, among: &BTreeSet<BrokerId>, scene: &Scene<'_>) -> (Option<BrokerId>, Vec<Blocked>) {
    let mut candidates = candidates(goal, scene);
    candidates.retain(|id| among.contains(id));
    let situation = scene.situation();
    // A broker whose node is lost would try nothing until the node is back.
    let is_cut_off = |id: &&BrokerId| scene.pod(**id).is_some_and(|pod| pod.is_cut_off);
    let mut may = candidates.iter().filter(|id| check(&situation, &[**id]).is_ok());
    let may = may.clone().find(|id| !is_cut_off(id)).or_else(|| may.next());
    let blocked = if may.is_none() { decide(&situation, &candidates).blocked } else { Vec::new() };
    (may.copied(), blocked)
}

/// The brokers with another revision, in the order in which they should restart: what is down already, then what leads
/// least.
pub fn candidates(goal: &str, scene: &Scene<'_>) -> Vec<BrokerId> {
    let others = scene.pods().filter(|(id, pod)| !pod.has(goal) && !scene.loses_volume(*id));
    let mut ids: Vec<(bool, usize, BrokerId)> =
        others.map(|(id, _)| (!scene.is_away(id), scene.leads(id), id)).collect();
    ids.sort_unstable();
    ids.into_iter().map(|(_, _, id)| id).collect()
}

/// The sets in which brokers are to restart, those of `first` before the others, as if each were back before the next.
pub fn plan(goal: &str, first: Vec<Vec<BrokerId>>, scene: &Scene<'_>) -> Vec<String> {
    let mut left = candidates(goal, scene);
    let nobody = BTreeSet::new();
    let situation = Situation { away: &nobody, ..scene.situation() };
    let mut sets = Vec::new();
    let mut first = first.into_iter().filter(|set| !set.is_empty());
    while sets.len() < LONGEST_PLAN {
        let set = first.next().unwrap_or_else(|| decide(&situation, &left).may_restart);
        if set.is_empty() {
            break;
        }
        left.retain(|id| !set.contains(id));
        sets.push(joined(&set));
    }
    // Those that may not restart as things are.
    sets.extend(left.iter().map(ToString::to_string));
    sets
}

fn joined(ids: &[BrokerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
