//! The best broker for a replica that moves: the smallest crowd, then the least load ratio.

use super::state::PlannedCluster;

/// The site, of those that are allowed, to which the replica of `part` on `site` should move.
pub(super) fn best(
    state: &PlannedCluster<'_>,
    part: usize,
    site: usize,
    is_allowed: impl Fn(usize) -> bool,
) -> Option<usize> {
    let planned = &state.parts[part];
    let position = planned.wanted.iter().position(|other| *other == site)?;
    let added = state.load_of(part, position);
    let others = others(state, part, site);
    let free = (0..state.sites.len()).filter(|other| !planned.wanted.contains(other));
    free.filter(|other| is_allowed(*other)).min_by(|one, other| {
        let crowds = state.crowd(*one, &others).cmp(&state.crowd(*other, &others));
        let ratios = || state.ratio_with(*one, &added).total_cmp(&state.ratio_with(*other, &added));
        crowds.then_with(ratios).then_with(|| state.tie(part, *one).cmp(&state.tie(part, *other)))
    })
}

/// The wanted replicas of a partition without the one on `site`.
pub(super) fn others(state: &PlannedCluster<'_>, part: usize, site: usize) -> Vec<usize> {
    state.parts[part].wanted.iter().copied().filter(|other| *other != site).collect()
}

/// Plans that the replica on `from` moves to `to`, which gets its place in the order.
pub(super) fn instead(wanted: &[usize], from: usize, to: usize) -> Vec<usize> {
    wanted.iter().map(|site| if *site == from { to } else { *site }).collect()
}
