//! Replicas that must leave their broker: lost ones first, then those of brokers that leave.

use super::home;
use super::state::PlannedCluster;
use super::terms::{Blocked, Purpose, Reason, Role};

/// Plans another broker for every replica that must leave, the largest first; returns those for which there is none.
pub(super) fn evacuate<'a>(state: &mut PlannedCluster<'a>) -> Vec<Blocked<'a>> {
    let mut blocked = Vec::new();
    for (part, site) in leavers(state) {
        let purpose = if state.sites[site].role.is_none() { Purpose::Lost } else { Purpose::Evacuation };
        match destination(state, part, site) {
            Ok(to) => {
                let wanted = home::instead(&state.parts[part].wanted, site, to);
                state.replace(part, wanted, purpose);
            }
            Err(reason) => {
                let source = state.parts[part].source;
                let (topic, partition) = (source.topic, source.entry.partition);
                blocked.push(Blocked { topic, partition, broker: state.sites[site].id, reason });
            }
        }
    }
    blocked
}

/// The replicas that must leave, as partition and site: lost ones first, then the largest.
fn leavers(state: &PlannedCluster<'_>) -> Vec<(usize, usize)> {
    let mut leavers = Vec::new();
    for (at, part) in state.parts.iter().enumerate() {
        let leaves = part.wanted.iter().filter(|site| state.sites[**site].is_to_be_empty());
        leavers.extend(leaves.map(|site| (at, *site)));
    }
    let largest = |part: usize| u64::MAX - state.parts[part].source.load.bytes;
    leavers.sort_by_key(|(part, site)| (state.sites[*site].role.is_some(), largest(*part), *part));
    leavers
}

/// The site to which the replica of `part` on `site` should move.
fn destination(state: &PlannedCluster<'_>, part: usize, site: usize) -> Result<usize, Reason> {
    let planned = &state.parts[part];
    if planned.source.pinned {
        return Err(Reason::PlacedByHand);
    }
    if planned.source.entry.leader.is_none() {
        return Err(Reason::LastReplica);
    }
    let bytes = planned.source.load.bytes as f64;
    let others = home::others(state, part, site);
    let free = || (0..state.sites.len()).filter(|other| !planned.wanted.contains(other));
    let serving = || free().filter(|other| state.sites[*other].takes());
    let best = home::best(state, part, site, |to| state.sites[to].takes() && state.sites[to].has_space(bytes));
    let silent = || free().filter(|other| state.sites[*other].role == Some(Role::Silent));
    let Some(best) = best else {
        return Err(match (silent().next(), serving().next()) {
            (Some(_), _) => Reason::SpaceUnknown,
            (None, Some(_)) => Reason::NotEnoughSpace,
            (None, None) => Reason::TooFewBrokers,
        });
    };
    let in_rack = |site: usize| state.crowd(site, &others).0;
    // A lost replica is missing now, so any broker is better than none.
    if state.sites[site].role.is_none() || in_rack(best) <= in_rack(site) {
        return Ok(best);
    }
    // It may join another replica's rack only if the racks of the brokers that stay do not suffice.
    let better = |other: &usize| in_rack(*other) < in_rack(best);
    if serving().any(|other| better(&other)) {
        return Err(Reason::NotEnoughSpace);
    }
    if silent().any(|other| better(&other)) {
        return Err(Reason::SpaceUnknown);
    }
    let stays = |other: &usize| !state.sites[*other].is_to_be_empty();
    if free().filter(stays).any(|other| better(&other)) { Err(Reason::TooFewRacks) } else { Ok(best) }
}
