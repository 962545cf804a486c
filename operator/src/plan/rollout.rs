//! Rolls: which revision brokers are to have, and which of them restart now.
//!
//! A state machine of values: `status.rollout`, what the spec asks for, and what Kubernetes shows of pods → the next
//! `status.rollout`, and the pods to restart. Any operator continues from the objects alone.
//!
//! - [`target`]: the wanted revision
//! - [`scene`]: who is away, who has restarted
//! - [`canaries`]: who tries a revision
//! - [`sets`]: who restarts next
//! - [`windows`]: when a roll may begin
//! - [`trouble`]: what stops a roll
//! - [`words`]: what users read of it
//!
//! Always: a pod is restarted only after the status that names its broker in `away` was written; while anything is
//! unknown, or the cluster is paused, nothing is restarted and the status stays as it is.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_config::{BrokerSettings, Config, TopicSettings};
use ottla_crds::{FailedRevision, KafkaCluster, Rollout, RolloutProgress, RolloutState, RolloutStatus};
use ottla_rules::assignment::BrokerId;

use super::news::News;
use super::platform::Offer;
use super::rules::RuleBook;
use super::world::World;

pub mod canaries;
pub mod restart;
pub mod scene;
pub mod sets;
pub mod target;
pub mod trouble;
pub mod windows;
pub mod words;

use restart::Restart;
use scene::Scene;
use sets::Advance;
use target::RolloutTarget;

/// Progress alone is written no more often.
const PROGRESS_EVERY: Duration = Duration::from_secs(30);

/// What is decided about rolls.
#[derive(Clone, Debug)]
pub struct RolloutDecision {
    /// The next `status.rollout`.
    pub status: RolloutStatus,
    /// The pods to restart now; `None`: none.
    pub restart: Option<Restart>,
    /// The Event about a transition; `None`: there is none.
    pub news: Option<News>,
}

/// Decides. `None`: nothing is known yet, and the status stays as it is.
pub fn decide(
    world: &World,
    cluster: &KafkaCluster,
    settings: &BrokerSettings,
    rules: &RuleBook<'_>,
) -> Option<RolloutDecision> {
    let seen = world.platform.as_deref()?.revisions.as_ref()?;
    let written = cluster.status.as_ref().and_then(|status| status.rollout.as_ref());
    let first = RolloutStatus { from: seen.from.clone(), ..RolloutStatus::default() };
    let before = written.unwrap_or(&first);
    // What the cluster's task has shown is about another status: it follows in a moment.
    let is_about = before.from == seen.from && before.to == seen.to;
    let is_ending = cluster.metadata.deletion_timestamp.is_some();
    if !is_about || is_ending || written.is_some() && (cluster.spec.paused || world.held_back.is_some()) {
        return None;
    }
    let asked = cluster.spec.rollout.clone().unwrap_or_default();
    let mut next = RolloutStatus { blocked_by: Vec::new(), window_opens: None, ..before.clone() };
    target::keep_failed(seen, &mut next);
    target::retry(&asked, &mut next);
    let default_min = TopicSettings::resolve(&Config::default(), settings).min_insync_replicas;
    let min_in_sync = |topic: &str| rules.min_in_sync(topic).unwrap_or(default_min);
    let returns = settings.leader_return_after.is_some();
    let scene = Scene::new(world, cluster, seen, (&asked, &next), &min_in_sync, returns);
    next.away.retain(|id| !scene.leaves(*id));
    let restart = match target::wanted(&asked, seen, &next, &world.now) {
        RolloutTarget::Held(offer) | RolloutTarget::Later(offer, _) | RolloutTarget::Roll(offer)
            if restarts_nobody(&next, offer, &scene) =>
        {
            finish(&mut next, &scene, offer.revision.clone())
        }
        RolloutTarget::Present => back(&mut next, &scene, RolloutState::Idle, None),
        RolloutTarget::Held(offer) => back(&mut next, &scene, RolloutState::Held, Some(offer)),
        RolloutTarget::Later(offer, opens) => {
            let restart = back(&mut next, &scene, RolloutState::Waiting, Some(offer));
            next.window_opens = Some(opens).filter(|_| next.state == RolloutState::Waiting);
            restart
        }
        RolloutTarget::Failed(offer) => back(&mut next, &scene, RolloutState::Stopped, Some(offer)),
        RolloutTarget::Roll(offer) => forward(&mut next, &scene, offer, &asked),
    };
    throttle(before, &mut next, &scene);
    let is_written = written
        .is_some_and(|written| (written.state, &written.to, &written.away) == (next.state, &next.to, &next.away));
    let news = written.and_then(|before| words::news(before, &next));
    Some(RolloutDecision { restart: restart.filter(|_| is_written), news, status: next })
}

/// Whether all brokers are as both the present revision and the offered one ask for, such as after a pool was added
/// that has pods of its own: then that is known to work, and there is nothing to approve or to wait for.
fn restarts_nobody(next: &RolloutStatus, offer: &Offer, scene: &Scene<'_>) -> bool {
    let rests = !matches!(next.state, RolloutState::Canary | RolloutState::Rolling);
    rests
        && scene.pods().next().is_some()
        && scene.pods().all(|(_, pod)| pod.has(&next.from) && pod.has(&offer.revision))
}

/// Brokers return to `from`, if any has another revision; then the state is `rest`.
fn back(next: &mut RolloutStatus, scene: &Scene<'_>, rest: RolloutState, to: Option<&Offer>) -> Option<Restart> {
    let from = next.from.clone();
    let advance = sets::advance(&from, next, scene);
    let returns = !matches!(advance, Advance::Done) && rest != RolloutState::Stopped;
    next.canaries.clear();
    if returns {
        let others = scene.pods().filter(|(_, pod)| !pod.has(&from)).map(|(id, _)| id);
        let returning: BTreeSet<BrokerId> = next.returning.drain(..).chain(others).collect();
        next.returning = returning.into_iter().collect();
        (next.state, next.to, next.why) = (RolloutState::Rolling, Some(from), Vec::new());
    } else {
        next.returning.clear();
        (next.state, next.to) = (rest, to.map(|offer| offer.revision.clone()));
        next.why = to.map(|offer| offer.why.clone()).unwrap_or_default();
    }
    follow(next, scene, advance)
}

/// Brokers get the offered revision: first one of them, then the others.
fn forward(next: &mut RolloutStatus, scene: &Scene<'_>, offer: &Offer, asked: &Rollout) -> Option<Restart> {
    let continues = next.to.as_deref() == Some(&offer.revision);
    let state = if continues { next.state } else { RolloutState::Waiting };
    if !continues {
        (next.away, next.canaries, next.progress) = (Vec::new(), Vec::new(), None);
    }
    next.returning.clear();
    (next.to, next.why) = (Some(offer.revision.clone()), offer.why.clone());
    match state {
        RolloutState::Canary | RolloutState::Rolling => {
            if let Some(message) = trouble::trouble(next, scene, asked.canary_for()) {
                stop(next, offer, message);
                return None;
            }
            if state == RolloutState::Canary {
                try_out(next, scene, offer, asked.canary_for())
            } else {
                roll(next, scene)
            }
        }
        RolloutState::Idle | RolloutState::Held | RolloutState::Waiting | RolloutState::Stopped => {
            begin(next, scene, offer);
            None
        }
    }
}

/// Chooses the canary, or the next one, if one may restart.
fn begin(next: &mut RolloutStatus, scene: &Scene<'_>, offer: &Offer) {
    let (canary, blocked) = canaries::next(next, offer, scene);
    match canary {
        Some(id) => {
            next.plan = canaries::plan(id, next, offer, scene);
            (next.state, next.away) = (RolloutState::Canary, vec![id]);
            next.progress = Some(scene.progress(next, None));
        }
        None => {
            // Once a canary was well, lost pods keep coming with the revision while the next one waits.
            let has_begun = !next.canaries.is_empty();
            next.state = if has_begun { RolloutState::Canary } else { RolloutState::Waiting };
            (next.away, next.plan, next.progress) = (Vec::new(), Vec::new(), None);
            next.blocked_by = words::blockers(&blocked, scene);
        }
    }
}

/// The canary restarts and must stay ready and in sync for a while; then the next one does, or the others get the
/// revision.
fn try_out(next: &mut RolloutStatus, scene: &Scene<'_>, offer: &Offer, canary_for: Duration) -> Option<Restart> {
    let to = offer.revision.clone();
    let Some(canary) = next.away.first().copied() else {
        follow_canary(next, scene, offer);
        return None;
    };
    let mut progress = scene.progress(next, next.progress.as_ref());
    let ready_since = progress.ready_since.take().or_else(|| Some(scene.now().clone()));
    progress.ready_since = ready_since.filter(|_| scene.has_restarted(canary, &to));
    let well_for = progress.ready_since.as_ref().map(|since| scene.since(since));
    next.progress = Some(progress);
    if well_for.is_some_and(|well_for| well_for >= canary_for) {
        next.canaries.push(canary);
        follow_canary(next, scene, offer);
        return None;
    }
    let advance = sets::advance(&to, next, scene);
    match advance {
        Advance::Restart(_) | Advance::Blocked(_) | Advance::Wait => follow(next, scene, advance),
        // The canary is well, and is watched.
        Advance::Done | Advance::Next { .. } => None,
    }
}

/// The next canary, or all brokers that have not tried the revision, once each change was tried.
fn follow_canary(next: &mut RolloutStatus, scene: &Scene<'_>, offer: &Offer) {
    if next.canaries.is_empty() || !canaries::untried(next, offer, scene).is_empty() {
        begin(next, scene, offer);
    } else {
        (next.state, next.progress) = (RolloutState::Rolling, None);
        next.away.clear();
    }
}

fn roll(next: &mut RolloutStatus, scene: &Scene<'_>) -> Option<Restart> {
    let to = next.to.clone().unwrap_or_default();
    let advance = sets::advance(&to, next, scene);
    if matches!(advance, Advance::Done) { finish(next, scene, to) } else { follow(next, scene, advance) }
}

/// All brokers have this revision.
fn finish(next: &mut RolloutStatus, scene: &Scene<'_>, revision: String) -> Option<Restart> {
    (next.state, next.from, next.to) = (RolloutState::Idle, revision, None);
    (next.why, next.canaries, next.returning) = Default::default();
    follow(next, scene, Advance::Done)
}

/// Writes into the status how the roll advances.
fn follow(next: &mut RolloutStatus, scene: &Scene<'_>, advance: Advance) -> Option<Restart> {
    match advance {
        Advance::Done => {
            (next.away, next.plan, next.progress) = (Vec::new(), Vec::new(), None);
            None
        }
        Advance::Next { away, plan, blocked } => {
            next.blocked_by = words::blockers(&blocked, scene);
            (next.away, next.plan) = (away, plan);
            next.progress = (!next.away.is_empty()).then(|| scene.progress(next, None));
            None
        }
        Advance::Restart(restart) => {
            next.progress = Some(scene.progress(next, next.progress.as_ref()));
            Some(restart)
        }
        Advance::Blocked(blocked) => {
            next.blocked_by = words::blockers(&[blocked], scene);
            next.progress = Some(scene.progress(next, next.progress.as_ref()));
            None
        }
        Advance::Wait => {
            next.blocked_by = words::lost_nodes(next, scene);
            next.progress = Some(scene.progress(next, next.progress.as_ref()));
            None
        }
    }
}

/// The new revision has failed: the brokers that have it return.
fn stop(next: &mut RolloutStatus, offer: &Offer, message: String) {
    let (revision, pools) = (offer.revision.clone(), Some(offer.pools.clone()));
    target::note_failed(next, FailedRevision { revision, message, pools });
    (next.state, next.progress) = (RolloutState::Stopped, None);
    (next.away, next.plan, next.canaries) = (Vec::<BrokerId>::new(), Vec::new(), Vec::new());
}

/// Keeps what was written of blockers and of the progress, if nothing else has changed and it was written a moment ago.
fn throttle(before: &RolloutStatus, next: &mut RolloutStatus, scene: &Scene<'_>) {
    let goal = |status: &RolloutStatus| (status.state, status.to.clone(), status.away.clone());
    let is_recent = before.blocked_at.as_ref().is_some_and(|at| scene.since(at) < PROGRESS_EVERY);
    let are_both = !before.blocked_by.is_empty() && !next.blocked_by.is_empty();
    if are_both && goal(before) == goal(next) && (is_recent || before.blocked_by == next.blocked_by) {
        next.blocked_by.clone_from(&before.blocked_by);
        next.plan.clone_from(&before.plan);
    } else {
        next.blocked_at = (!next.blocked_by.is_empty()).then(|| scene.now().clone());
    }
    let (Some(was), Some(is)) = (&before.progress, &next.progress) else { return };
    let rest = RolloutStatus { progress: before.progress.clone(), ..next.clone() };
    let is_news = rest != *before || was.ready_since != is.ready_since;
    let are_other = (was.behind, was.steps, &was.since) != (is.behind, is.steps, &is.since);
    let has_changed = are_other || is.ready_since.is_some();
    let is_old = scene.since(&was.at) >= PROGRESS_EVERY;
    if !(is_news || has_changed && is_old) {
        next.progress = Some(RolloutProgress::clone(was));
    }
}

#[cfg(test)]
mod tests;
