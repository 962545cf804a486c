//! Which brokers try a revision before others get it: one for each pool whose pods it changes in a way of their own,
//! and one for all other brokers. One after the other, the next when the one before was well.
//!
//! A canary proves the change of its own pool and of no other. The next canary may be of any pool that has none yet:
//! what is down already, then what leads least.

use std::collections::BTreeSet;

use ottla_crds::RolloutStatus;
use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::disruption::Blocked;

use super::scene::Scene;
use super::sets;
use crate::plan::platform::Offer;

/// The brokers that are to get the revision and for which no canary has tried it yet. Those whose volumes go are not
/// waited for.
pub fn untried(status: &RolloutStatus, offer: &Offer, scene: &Scene<'_>) -> BTreeSet<BrokerId> {
    let tried: BTreeSet<Option<&str>> = status.canaries.iter().map(|id| scene.changed_pool(*id, offer)).collect();
    let concerned = scene.pods().filter(|(_, pod)| !(pod.has(&status.from) && pod.has(&offer.revision)));
    let ids = concerned.map(|(id, _)| id).filter(|id| !scene.loses_volume(*id));
    ids.filter(|id| !tried.contains(&scene.changed_pool(*id, offer))).collect()
}

/// The next canary, or why no broker can be one.
pub fn next(status: &RolloutStatus, offer: &Offer, scene: &Scene<'_>) -> (Option<BrokerId>, Vec<Blocked>) {
    let untried = untried(status, offer, scene);
    let pods = || scene.pods().filter(|(id, _)| untried.contains(id));
    // What was restarted with the revision already, or is down anyway.
    let restarted = pods().find(|(_, pod)| pod.came(&status.from, &offer.revision));
    let tried = restarted.or_else(|| pods().find(|(id, pod)| scene.is_down(pod, *id))).map(|(id, _)| id);
    // All get it where there is no pod, and the first of them tries it.
    let first = || if scene.pods().next().is_none() { scene.asked_for.first().copied() } else { None };
    match tried.or_else(first) {
        Some(id) => (Some(id), Vec::new()),
        None => sets::canary(&offer.revision, &untried, scene),
    }
}

/// The order in which brokers restart once this one is the canary: the other canaries, as things are, then the rest.
pub fn plan(canary: BrokerId, status: &RolloutStatus, offer: &Offer, scene: &Scene<'_>) -> Vec<String> {
    let untried = untried(status, offer, scene);
    let mut tried = BTreeSet::from([scene.changed_pool(canary, offer)]);
    let mut others = sets::candidates(&offer.revision, scene);
    others.retain(|id| untried.contains(id) && tried.insert(scene.changed_pool(*id, offer)));
    let canaries = [canary].into_iter().chain(others).map(|id| vec![id]).collect();
    sets::plan(&offer.revision, canaries, scene)
}
