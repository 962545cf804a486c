//! What stops a roll: a crash, an image that can't be pulled, no node, or no progress.

use std::time::Duration;

use ottla_crds::{RolloutState, RolloutStatus};

use super::scene::Scene;
use crate::plan::condition::named;
use crate::plan::platform::Stage;

/// How long a pod of a new revision may wait for a node.
const UNSCHEDULED_FOR: Duration = Duration::from_secs(120);
/// How long restarting brokers may make no progress. While a process opens its logs, its startup probe has the limit.
const NO_PROGRESS_FOR: Duration = Duration::from_secs(600);

/// Why the roll is stopped; `None`: it is not.
pub fn trouble(state: RolloutState, status: &RolloutStatus, scene: &Scene<'_>) -> Option<String> {
    let to = status.to.as_deref()?;
    let of_pod = scene.pods().filter(|(_, pod)| pod.revision == to).find_map(|(id, pod)| {
        // Later a single crash says little: it was the fate of one of many brokers that have the revision.
        let is_canary = state == RolloutState::Canary && status.away.contains(&id);
        let crashed = pod.crashed.clone().filter(|_| is_canary);
        let unscheduled = pod.unscheduled.as_ref().filter(|(since, _)| scene.since(since) >= UNSCHEDULED_FOR);
        pod.stuck.clone().or(crashed).or_else(|| unscheduled.map(|(_, why)| why.clone()))
    });
    of_pod.or_else(|| no_progress(to, status, scene))
}

fn no_progress(to: &str, status: &RolloutStatus, scene: &Scene<'_>) -> Option<String> {
    let restarting = || {
        let begun = status.away.iter().filter(|id| !scene.has_restarted(**id, to));
        begun.filter(|id| scene.pod(**id).is_none_or(|pod| pod.revision == to || pod.stage == Stage::Ending))
    };
    let starts = restarting().any(|id| scene.pod(*id).is_some_and(|pod| pod.stage == Stage::Starting));
    if starts || restarting().next().is_none() {
        return None;
    }
    let progress = scene.progress(to, &status.away, status.progress.as_ref());
    (scene.since(&progress.since) >= NO_PROGRESS_FOR).then(|| {
        let brokers = named("broker", restarting().map(|id| id.0));
        let behind = progress.behind;
        format!("{brokers} made no progress for 10 minutes: {behind} replicas are not in sync")
    })
}
