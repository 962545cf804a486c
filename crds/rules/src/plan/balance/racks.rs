//! Replicas of one partition that share a rack or a node, although there are enough: one of them moves.

use super::home::{best, instead, others};
use super::state::PlannedCluster;
use super::terms::Purpose;

/// Plans a smaller crowd for every replica that can have one. Returns whether there was any.
pub(super) fn spread(state: &mut PlannedCluster<'_>, may_take: &[bool]) -> bool {
    let mut any = false;
    for part in 0..state.parts.len() {
        while let Some((from, to)) = step(state, part, may_take) {
            let wanted = instead(&state.parts[part].wanted, from, to);
            state.replace(part, wanted, Purpose::Racks);
            any = true;
        }
    }
    any
}

/// The replica with the largest crowd moves; of equal ones, the one that is least preferred to lead.
fn step(state: &PlannedCluster<'_>, part: usize, may_take: &[bool]) -> Option<(usize, usize)> {
    let planned = &state.parts[part];
    if planned.is_fixed() || is_spread(state, &planned.wanted) {
        return None;
    }
    let crowd = |site: usize| state.crowd(site, &others(state, part, site));
    let from = planned.wanted.iter().copied().max_by_key(|site| crowd(*site))?;
    let bytes = planned.source.load.bytes as f64;
    let to = best(state, part, from, |to| may_take[to] && state.sites[to].has_space(bytes))?;
    (state.crowd(to, &others(state, part, from)) < crowd(from)).then_some((from, to))
}

fn is_spread(state: &PlannedCluster<'_>, wanted: &[usize]) -> bool {
    wanted.iter().enumerate().all(|(at, site)| state.crowd(*site, &wanted[..at]) == (0, 0))
}
