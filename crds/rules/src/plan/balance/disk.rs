//! Moves in progress to a disk that fills up meanwhile: they are cancelled, the largest first, until the rest fits.

use super::state::{Metric, PlannedCluster};
use super::terms::{FULL_RELIEVED, Purpose};

/// Plans that partitions stay where they were whose moves would fill a disk beyond [`FULL_RELIEVED`].
pub(super) fn cancel_overfull(state: &mut PlannedCluster<'_>) {
    let is_overfull = |state: &PlannedCluster<'_>, at: usize| {
        let site = &state.sites[at];
        site.other + site.load[Metric::Bytes as usize] > site.capacity * FULL_RELIEVED
    };
    if !(0..state.sites.len()).any(|at| is_overfull(state, at)) {
        return;
    }
    let is_moving = |part: &usize| {
        let source = state.parts[*part].source;
        // Another replication factor is what the topic asks for: it would be started again.
        let keeps_factor = source.entry.origin().len() == source.entry.target().len();
        !source.pinned && keeps_factor && !source.entry.adding.is_empty()
    };
    let mut moving: Vec<usize> = (0..state.parts.len()).filter(is_moving).collect();
    moving.sort_by_key(|part| std::cmp::Reverse(state.parts[*part].source.load.bytes));
    for part in moving {
        let entry = state.parts[part].source.entry;
        let adds_to_overfull = |id| state.site(id).is_some_and(|site| is_overfull(state, site));
        if entry.adding.iter().any(|id| adds_to_overfull(*id)) {
            let origin = entry.origin().into_iter().filter_map(|id| state.site(id)).collect();
            state.replace(part, origin, Purpose::Disk);
        }
    }
}
