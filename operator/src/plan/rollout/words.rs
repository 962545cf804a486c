//! What users read of a roll: the summary, the condition Progressing, Events, and what blocks it.

use ottla_crds::{RolloutBlocker, RolloutState, RolloutStatus};
use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::disruption::{Blocked, Blocker};

use super::scene::Scene;
use crate::plan::condition::{Verdict, named, ranges};
use crate::plan::news::News;
use crate::plan::platform::{Offer, PodRevision, Revisions};

/// How many blockers the status has.
const MOST_BLOCKERS: usize = 10;

/// The roll in a few words; `None`: there is none.
pub fn summary(status: &RolloutStatus, seen: Option<&Revisions>, canary_seconds: u64) -> Option<String> {
    let to = status.to.as_deref().unwrap_or(&status.from);
    match status.state {
        RolloutState::Idle => None,
        RolloutState::Held => Some(format!("Held: revision {to} ({}) waits for approval", status.why.join(", "))),
        RolloutState::Waiting => Some(match &status.window_opens {
            Some(opens) => format!("Waiting: the next window opens at {}", opens.0),
            None => format!("Waiting: {}", status.blocked_by.first().map_or("", |blocker| blocker.message.as_str())),
        }),
        RolloutState::Canary => {
            let broker = named("broker", status.away.iter().map(|id| id.0));
            let version = seen.and_then(|seen| version(seen.current.as_ref()?)).unwrap_or(to);
            let well = status.progress.as_ref().and_then(|progress| {
                let since = progress.ready_since.as_ref()?;
                Some(progress.at.0.duration_since(since.0).as_secs().max(0))
            });
            if status.away.is_empty() {
                let blocked = status.blocked_by.first().map_or("", |blocker| blocker.message.as_str());
                return Some(format!("Canary: {}: {blocked}", canaries(status)).chars().take(200).collect());
            }
            Some(match well {
                Some(seconds) => format!("Canary: {broker} on {version}, {seconds} s of {canary_seconds} s"),
                None => {
                    let blocked = status.blocked_by.first().map(|blocker| format!(": {}", blocker.message));
                    format!("Canary: {broker} restarts on {version}{}", blocked.unwrap_or_else(|| behind(status)))
                }
            })
        }
        RolloutState::Rolling => {
            let back = if to == status.from { " back" } else { "" };
            let done = seen.map_or(0, |seen| done(status, seen).count());
            let all = seen.map_or(0, |seen| concerned(status, seen).count());
            let blocked = status.blocked_by.first().map(|blocker| format!(": {}", blocker.message));
            let restart = if status.away.len() == 1 { "restarts" } else { "restart" };
            let now = (!status.away.is_empty()).then(|| {
                let brokers = named("broker", status.away.iter().map(|id| id.0));
                match status.progress.as_ref().map_or(0, |progress| progress.behind) {
                    0 => format!(": {brokers} {restart}"),
                    1 => format!(": {brokers} {} 1 partition to catch up", has_or_have(status)),
                    more => format!(": {brokers} {} {more} partitions to catch up", has_or_have(status)),
                }
            });
            Some(format!("Rolling{back} {done}/{all}{}", blocked.or(now).unwrap_or_default()))
        }
        RolloutState::Stopped => {
            let why = status.failed.iter().find(|failed| failed.revision == to);
            Some(format!("Stopped: {to}: {}", why.map_or("it failed", |why| why.message.as_str())))
        }
    }
    .map(|summary| summary.chars().take(200).collect())
}

/// The brokers that a roll is about: a change of one pool leaves those of the others as they are, and those that never
/// had the other revision do not return.
fn concerned<'a>(status: &'a RolloutStatus, seen: &'a Revisions) -> impl Iterator<Item = (BrokerId, &'a PodRevision)> {
    let (from, to) = (&status.from, status.to.as_deref().unwrap_or(&status.from));
    let pods = seen.pods.iter().map(|(id, pod)| (*id, pod));
    let returns = from == to;
    pods.filter(move |(id, pod)| if returns { status.returning.contains(id) } else { !(pod.has(from) && pod.has(to)) })
}

/// Those of them that have the revision, and are back.
fn done<'a>(status: &'a RolloutStatus, seen: &'a Revisions) -> impl Iterator<Item = BrokerId> {
    let to = status.to.as_deref().unwrap_or(&status.from);
    let done = concerned(status, seen).filter(move |(id, pod)| pod.has(to) && !status.away.contains(id));
    done.map(|(id, _)| id)
}

fn has_or_have(status: &RolloutStatus) -> &'static str {
    if status.away.len() == 1 { "has" } else { "have" }
}

fn behind(status: &RolloutStatus) -> String {
    match status.progress.as_ref().map_or(0, |progress| progress.behind) {
        0 => String::new(),
        behind => format!(", {behind} to catch up"),
    }
}

/// The tag of the image; `None`: it has none.
fn version(offer: &Offer) -> Option<&str> {
    let name = offer.image.rsplit('/').next()?;
    if name.contains('@') { None } else { name.split_once(':').map(|(_, tag)| tag) }
}

/// The condition Progressing; `None`: there is no roll.
pub fn progressing(status: &RolloutStatus, seen: Option<&Revisions>, place: (&str, &str)) -> Option<Verdict> {
    let (namespace, cluster) = place;
    let to = status.to.as_deref().unwrap_or(&status.from);
    let patch = |field: &str| {
        format!(
            "kubectl patch kafkacluster {cluster} -n {namespace} --type merge -p \
             '{{\"spec\":{{\"rollout\":{{\"{field}\":\"{to}\"}}}}}}'"
        )
    };
    let why = status.why.join(", ");
    let change = if to == status.from {
        format!("back to {to}")
    } else if why.is_empty() {
        format!("{} → {to}", status.from)
    } else {
        format!("{} → {to} ({why})", status.from)
    };
    let blocked: String = status.blocked_by.iter().map(|blocker| format!("; {}", blocker.message)).collect();
    let done = seen.map(|seen| done(status, seen).map(|id| id.to_string()).collect::<Vec<_>>());
    let done =
        done.filter(|done| !done.is_empty()).map_or_else(String::new, |done| format!(", done {}", done.join(",")));
    let next = match status.plan.first() {
        Some(next) => format!(", next {next}"),
        None => String::new(),
    };
    Some(match status.state {
        RolloutState::Idle => return None,
        RolloutState::Held => {
            let message = format!(
                "revision {to} ({why}) waits for approval; brokers keep {}. To roll it out: {}",
                status.from,
                patch("approved")
            );
            Verdict::new("Progressing", false, "Held", message)
        }
        RolloutState::Waiting => match &status.window_opens {
            // Nothing is in progress until then, and nobody has to act.
            Some(opens) => {
                let approve = patch("approved");
                let message =
                    format!("{change} begins in the window that opens at {}; to begin it now: {approve}", opens.0);
                Verdict::new("Progressing", false, "Held", message)
            }
            None => Verdict::new("Progressing", true, "RolloutWaiting", format!("{change} can not begin yet{blocked}")),
        },
        RolloutState::Canary => {
            let message = format!("Canary {change}: {}{blocked}", canaries(status));
            Verdict::new("Progressing", true, "Canary", message)
        }
        RolloutState::Rolling => {
            Verdict::new("Progressing", true, "Rolling", format!("Rolling {change}{done}{next}{blocked}"))
        }
        RolloutState::Stopped => {
            let failed = status.failed.iter().find(|failed| failed.revision == to);
            let message = format!(
                "the roll {change} was stopped: {}. Brokers keep or return to {}{blocked}. Change the spec; or try the \
                 same once more: {}",
                failed.map_or("the revision failed", |failed| failed.message.as_str()),
                status.from,
                patch("retry")
            );
            Verdict::new("Progressing", false, "RolloutStopped", message)
        }
    })
}

/// The canary, and those before it.
fn canaries(status: &RolloutStatus) -> String {
    let well = match &status.canaries[..] {
        [] => String::new(),
        [one] => format!("broker {one} was well, and "),
        more => format!("{} were well, and ", named("broker", more.iter().map(|id| id.0))),
    };
    match &status.away[..] {
        [] => format!("{well}the next canary waits"),
        away => format!("{well}{} tries the new revision", named("broker", away.iter().map(|id| id.0))),
    }
}

/// The Event about a transition.
pub fn news(before: &RolloutStatus, next: &RolloutStatus) -> Option<News> {
    let is_next_canary = next.canaries.len() > before.canaries.len() && next.state == RolloutState::Canary;
    if (before.state, &before.to) == (next.state, &next.to) && !is_next_canary {
        return None;
    }
    let to = next.to.as_deref().unwrap_or(&next.from);
    let why = next.why.join(", ");
    let canary = named("broker", next.away.iter().map(|id| id.0));
    let (warning, reason, note) = match next.state {
        RolloutState::Idle if before.state == RolloutState::Held => return None,
        RolloutState::Idle => (false, "RolloutFinished", format!("every broker has revision {to}")),
        RolloutState::Held => (false, "RolloutHeld", format!("revision {to} ({why}) waits for approval")),
        RolloutState::Waiting => {
            let note = match &next.window_opens {
                Some(opens) => format!("the roll to {to} ({why}) begins in the window that opens at {}", opens.0),
                None => {
                    let blocker = next.blocked_by.first().map_or("", |blocker| blocker.message.as_str());
                    format!("the roll to {to} ({why}) can not begin yet: {blocker}")
                }
            };
            (false, "RolloutWaiting", note)
        }
        RolloutState::Canary if is_next_canary => {
            (false, "RolloutContinues", format!("revision {to} ({why}): {}", canaries(next)))
        }
        RolloutState::Canary => (false, "RolloutStarted", format!("{canary} tries revision {to} ({why})")),
        RolloutState::Rolling if to == next.from => {
            (false, "RolloutReturns", format!("brokers return to revision {to}"))
        }
        RolloutState::Rolling => (false, "RolloutContinues", format!("the other brokers get revision {to}")),
        RolloutState::Stopped => {
            let failed = next.failed.iter().find(|failed| failed.revision == to);
            let message = failed.map_or("", |failed| failed.message.as_str());
            // Under another name: a pool was added or removed since.
            let was_tried = before.state != RolloutState::Stopped;
            let note = if was_tried { "the roll to {to} was stopped" } else { "revision {to} is not tried again" };
            (true, "RolloutStopped", format!("{}: {message}", note.replace("{to}", to)))
        }
    };
    Some(News { warning, reason: reason.to_owned(), note })
}

/// The restarting brokers that can't come back because their nodes are gone, as the status has it.
pub fn lost_nodes(status: &RolloutStatus, scene: &Scene<'_>) -> Vec<RolloutBlocker> {
    let lost = |id: &BrokerId| {
        let pod = scene.pod(*id)?;
        let node = pod.lost_node.as_ref()?;
        let volume = scene.volume(*id).map_or_else(String::new, |volume| {
            // One text says what to type: the operator may replace the volume by itself.
            if volume.lost.is_some() {
                return "; the broker's volume was on it, and the condition Ready says what happens to that".to_owned();
            }
            format!(
                "; if the node is lost for good and the broker's volume was on it, order a new volume: state: Fresh and \
                 volume: {} in spec.brokers.overrides",
                volume.uid
            )
        });
        let message = format!(
            "broker {id}: its node {node} is gone, and the roll waits for pod {}: bring the node back, or add one that takes \
             the pod{volume}",
            pod.name
        );
        let (broker, reason) = (*id, "NodeGone".to_owned());
        Some(RolloutBlocker { broker, reason, topic: None, partitions: None, message })
    };
    status.away.iter().filter_map(lost).take(MOST_BLOCKERS).collect()
}

/// What blocks a roll, as the status has it.
pub fn blockers(blocked: &[Blocked], scene: &Scene<'_>) -> Vec<RolloutBlocker> {
    // What one broker would do to partitions says more than that it waits for others.
    let waits = |by: &Blocker| matches!(by, Blocker::OtherRack(_) | Blocker::Budget(_));
    let (waiting, real): (Vec<&Blocked>, Vec<&Blocked>) = blocked.iter().partition(|one| waits(&one.by));
    let chosen = if real.is_empty() { waiting } else { real };
    chosen.into_iter().take(MOST_BLOCKERS).map(|one| blocker(one, scene)).collect()
}

fn blocker(blocked: &Blocked, scene: &Scene<'_>) -> RolloutBlocker {
    let broker = blocked.broker;
    let are = |ids: &[BrokerId]| {
        let verb = if ids.len() == 1 { "is" } else { "are" };
        format!("{} {verb}", named("broker", ids.iter().map(|id| id.0)))
    };
    let (reason, place, sentence) = match &blocked.by {
        Blocker::OtherRack(others) => {
            ("OtherRackAway", None, format!("{} away, in another rack or in an unknown one", are(others)))
        }
        Blocker::Budget(others) => ("TooManyAway", None, format!("{} away (maxUnavailable)", are(others))),
        Blocker::TooFewInSync { topic, partitions, in_sync, needed, missing } => {
            let reason = if *in_sync == 0 { "WouldTakeOffline" } else { "WouldStopProducers" };
            let partitions = ranges(partitions.iter().copied());
            let state = if missing.iter().all(|id| scene.is_away(*id)) { "offline" } else { "not in sync" };
            let because = if missing.is_empty() { String::new() } else { format!(": {} {state}", are(missing)) };
            let sentence = format!("{topic} {partitions} would have {in_sync} in sync of {needed}{because}");
            (reason, Some((topic.clone(), partitions)), sentence)
        }
        Blocker::Unreplicated { topic, partitions, needed } => {
            let (namespace, cluster) = scene.place;
            let partitions = ranges(partitions.iter().copied());
            let sentence = format!(
                "{topic} {partitions} would be interrupted: it needs {needed} in sync and has no more replicas; raise \
                 its replicationFactor, or allow interruptions: kubectl patch kafkacluster {cluster} -n {namespace} \
                 --type merge -p '{{\"spec\":{{\"rollout\":{{\"interrupt\":\"Unreplicated\"}}}}}}'"
            );
            ("Unreplicated", Some((topic.clone(), partitions)), sentence)
        }
    };
    let (topic, partitions) = place.unzip();
    RolloutBlocker {
        broker,
        reason: reason.to_owned(),
        topic,
        partitions,
        message: format!("broker {broker}: {sentence}"),
    }
}
