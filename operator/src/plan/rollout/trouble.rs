//! What stops a roll: a crash, an image that can't be pulled, no node, no progress, or a canary that does not stay
//! well.
//!
//! A broker whose node is gone, or that finds no node because others are gone, is no fault of the revision.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::{RolloutState, RolloutStatus};

use super::scene::Scene;
use crate::plan::condition::named;
use crate::plan::platform::Stage;

/// How long a pod of a new revision may wait for a node.
const UNSCHEDULED_FOR: Duration = Duration::from_secs(120);
/// How long restarting brokers may make no progress. While a process opens its logs, its startup probe has the limit.
const NO_PROGRESS_FOR: Duration = Duration::from_secs(600);

/// Why the roll, whose canary has to be well for `canary_for`, is stopped; `None`: it is not.
pub fn trouble(status: &RolloutStatus, scene: &Scene<'_>, canary_for: Duration) -> Option<String> {
    let to = status.to.as_deref()?;
    let of_pod = scene.pods().filter(|(_, pod)| pod.came(&status.from, to)).find_map(|(id, pod)| {
        if scene.waits_for_node(id, status) {
            return None;
        }
        let restarts = status.away.contains(&id);
        // Later a single crash says little: it was the fate of one of many brokers that have the revision.
        let is_canary = status.state == RolloutState::Canary && restarts;
        let crashed = pod.crashed.clone().filter(|_| is_canary);
        let unscheduled = pod.unscheduled.as_ref().filter(|_| restarts);
        let is_long = |since: &Time| scene.since(since) >= UNSCHEDULED_FOR;
        // Time in which nodes were lost does not count: `progress.since` is when the last of them was.
        let counts = status.progress.as_ref().is_none_or(|progress| is_long(&progress.since));
        let unscheduled = unscheduled.filter(|(since, _)| counts && is_long(since));
        pod.stuck.clone().or(crashed).or_else(|| unscheduled.map(|(_, why)| why.clone()))
    });
    of_pod.or_else(|| no_progress(to, status, scene, canary_for))
}

fn no_progress(to: &str, status: &RolloutStatus, scene: &Scene<'_>, canary_for: Duration) -> Option<String> {
    let restarting = || {
        let begun = status.away.iter().filter(|id| !scene.has_restarted(**id, to));
        begun.filter(|id| scene.pod(**id).is_none_or(|pod| pod.has(to) || pod.stage == Stage::Ending))
    };
    let starts = restarting().any(|id| scene.pod(*id).is_some_and(|pod| pod.stage == Stage::Starting));
    if starts || restarting().next().is_none() {
        return None;
    }
    let progress = scene.progress(status, status.progress.as_ref());
    let brokers = named("broker", restarting().map(|id| id.0));
    let behind = match progress.behind {
        1 => "1 replica is not in sync".to_owned(),
        more => format!("{more} replicas are not in sync"),
    };
    let least = progress.least();
    let was_well = status.state == RolloutState::Canary && (least.steps, least.behind) == (0, 0);
    let (limit, message) = if was_well {
        let seconds = canary_for.as_secs();
        let message = format!("{brokers} did not stay ready and in sync for {seconds} s in several attempts: {behind}");
        (NO_PROGRESS_FOR + canary_for, message)
    } else {
        (NO_PROGRESS_FOR, format!("{brokers} made no progress for 10 minutes: {behind}"))
    };
    (scene.since(&progress.since) >= limit).then_some(message)
}
