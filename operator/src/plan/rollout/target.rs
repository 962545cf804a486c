//! The wanted revision: what the user asks for and what this operator builds, as far as they may be rolled out.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::{FailedRevision, OperatorUpgrade, Rollout, RolloutPolicy, RolloutState, RolloutStatus, names};

use super::windows::{Opening, opening};
use crate::plan::platform::{Offer, Revisions};

/// The revision that brokers are to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutTarget<'a> {
    /// The present one.
    Present,
    /// The present one, and this one once it is approved.
    Held(&'a Offer),
    /// The present one, and this one once a window opens, which is then.
    Later(&'a Offer, Time),
    /// The present one, because this one has failed.
    Failed(&'a Offer),
    /// This one.
    Roll(&'a Offer),
}

/// Which revision brokers are to have now.
pub fn wanted<'a>(asked: &Rollout, seen: &'a Revisions, status: &RolloutStatus, now: &Time) -> RolloutTarget<'a> {
    let is_under_way = matches!(status.state, RolloutState::Canary | RolloutState::Rolling);
    // Another operator that took over would build another revision: what was begun is finished.
    let begun = seen.current.as_ref().filter(|current| is_under_way && current.revision != status.from);
    let is_approved = |offer: &&Offer| asked.approved.as_deref() == Some(offer.revision.as_str());
    let by_operator = seen.by_operator.as_ref();
    let upgrade = by_operator.filter(|offer| asked.operator_upgrade == OperatorUpgrade::Follow || is_approved(offer));
    let held = seen.by_user.as_ref().or(by_operator);
    let (offer, asks) = match (begun, upgrade, seen.by_user.as_ref()) {
        (Some(begun), ..) => (begun, false),
        (None, Some(upgrade), _) => (upgrade, true),
        (None, None, Some(by_user)) => (by_user, true),
        (None, None, None) => return held.map_or(RolloutTarget::Present, RolloutTarget::Held),
    };
    if status.failed.iter().any(|failed| failed.revision == offer.revision) {
        return RolloutTarget::Failed(offer);
    }
    if !asks || is_approved(&offer) {
        return RolloutTarget::Roll(offer);
    }
    match asked.policy {
        RolloutPolicy::Auto => RolloutTarget::Roll(offer),
        RolloutPolicy::Manual => RolloutTarget::Held(offer),
        RolloutPolicy::Window => match opening(&asked.windows, now.0) {
            Opening::Now => RolloutTarget::Roll(offer),
            Opening::At(then) => RolloutTarget::Later(offer, Time(then)),
            Opening::Never => RolloutTarget::Held(offer),
        },
    }
}

/// How many failed revisions the status names.
const MOST_FAILED: usize = 10;

/// Notes that a revision has failed.
pub fn note_failed(status: &mut RolloutStatus, failed: FailedRevision) {
    status.failed.retain(|known| known.revision != failed.revision);
    status.failed.push(failed);
    let surplus = status.failed.len().saturating_sub(MOST_FAILED);
    status.failed.drain(..surplus);
}

/// Notes that what is offered has failed, if all of it has failed under another name: a pool that was added or removed
/// since gives it that, and has nothing to do with what failed.
pub fn keep_failed(seen: &Revisions, status: &mut RolloutStatus) {
    for offer in [&seen.by_user, &seen.by_operator].into_iter().flatten() {
        let is_known = status.failed.iter().any(|failed| failed.revision == offer.revision);
        let same = status.failed.iter().find(|failed| is_same(failed, offer, &seen.from_pools));
        if let (false, Some(same)) = (is_known, same) {
            let same = FailedRevision { revision: offer.revision.clone(), ..same.clone() };
            note_failed(status, same);
        }
    }
}

/// Whether what is offered is what has failed, unless it be for pools that were added since, or were removed and had
/// not been changed.
fn is_same(failed: &FailedRevision, offer: &Offer, from: &BTreeMap<String, String>) -> bool {
    let Some(pools) = &failed.pools else { return false };
    let has_kept = |(name, own): (&String, &String)| match offer.pools.get(name) {
        Some(offered) => offered == own,
        None => from.get(name) == Some(own),
    };
    let mut added = offer.pools.iter().filter(|(name, _)| !pools.contains_key(*name));
    names::template_half(&failed.revision) == names::template_half(&offer.revision)
        && pools.iter().all(has_kept)
        && added.all(|(name, own)| from.get(name).is_none_or(|had| had == own))
}

/// Forgets that a revision has failed, under all its names, once for each time that its user names it in `retry`.
pub fn retry(asked: &Rollout, status: &mut RolloutStatus) {
    if asked.retry.is_none() {
        status.retried = None;
    }
    let Some(retry) = &asked.retry else { return };
    let Some(tried) = status.failed.iter().find(|failed| failed.revision == *retry).cloned() else { return };
    if status.retried.as_ref() != Some(retry) {
        let is_same = |failed: &FailedRevision| {
            let halves = [&failed.revision, retry].map(|name| names::template_half(name));
            tried.pools.is_some() && tried.pools == failed.pools && halves[0] == halves[1]
        };
        status.failed.retain(|failed| failed.revision != *retry && !is_same(failed));
        status.retried = Some(retry.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Time {
        Time("2026-11-25T12:00:00Z".parse().unwrap())
    }

    fn offer(revision: &str) -> Option<Offer> {
        Some(Offer { revision: revision.to_owned(), ..Offer::default() })
    }

    fn told(wanted: RolloutTarget<'_>) -> String {
        match wanted {
            RolloutTarget::Present => "present".to_owned(),
            RolloutTarget::Held(offer) => format!("held {}", offer.revision),
            RolloutTarget::Later(offer, opens) => format!("{} at {}", offer.revision, opens.0),
            RolloutTarget::Failed(offer) => format!("failed {}", offer.revision),
            RolloutTarget::Roll(offer) => format!("roll {}", offer.revision),
        }
    }

    #[test]
    fn users_changes_are_rolled_out_and_operators_wait() {
        let auto = Rollout::default;
        let manual = || Rollout { policy: RolloutPolicy::Manual, ..auto() };
        let follow = || Rollout { operator_upgrade: OperatorUpgrade::Follow, ..auto() };
        let windows = |from: &str| {
            let window = serde_json::json!({ "policy": "Window", "windows": [{ "from": from, "for": "1h" }] });
            serde_json::from_value::<Rollout>(window).unwrap()
        };
        let approves = |rollout: Rollout, revision: &str| Rollout { approved: Some(revision.to_owned()), ..rollout };
        for (story, asked, by_user, by_operator, current, expected) in [
            ("nothing new", auto(), None, None, None, "present"),
            ("a change", auto(), offer("u"), offer("u"), None, "roll u"),
            ("an upgrade", auto(), None, offer("o"), None, "held o"),
            ("both: the change with the present image", auto(), offer("u"), offer("o"), None, "roll u"),
            ("an approved upgrade", approves(auto(), "o"), None, offer("o"), None, "roll o"),
            ("both, approved", approves(auto(), "o"), offer("u"), offer("o"), None, "roll o"),
            ("another was approved", approves(auto(), "x"), None, offer("o"), None, "held o"),
            ("an upgrade that is followed", follow(), None, offer("o"), None, "roll o"),
            ("a person decides", manual(), offer("u"), None, None, "held u"),
            ("a person has decided", approves(manual(), "u"), offer("u"), None, None, "roll u"),
            (
                "a person decides about upgrades, too",
                Rollout { policy: RolloutPolicy::Manual, ..follow() },
                None,
                offer("o"),
                None,
                "held o",
            ),
            ("a window is open", windows("11:30"), offer("u"), None, None, "roll u"),
            ("a window opens later", windows("13:00"), offer("u"), None, None, "u at 2026-11-25T13:00:00Z"),
            ("sooner by approval", approves(windows("13:00"), "u"), offer("u"), None, None, "roll u"),
            ("it has begun in a window", windows("13:00"), offer("u"), None, offer("u"), "roll u"),
            ("a window is not for upgrades", windows("11:30"), None, offer("o"), None, "held o"),
            ("an upgrade in the middle of a roll", auto(), offer("u2"), offer("o"), offer("u"), "roll u"),
            ("approval is taken back in the middle of a roll", manual(), offer("u"), None, offer("u"), "roll u"),
        ] {
            let seen = Revisions { by_user, by_operator, current, ..Revisions::default() };
            let state = if seen.current.is_some() { RolloutState::Rolling } else { RolloutState::Idle };
            let from = "f".to_owned();
            let status = RolloutStatus { state, from, to: Some("u".to_owned()), ..RolloutStatus::default() };
            assert_eq!(told(wanted(&asked, &seen, &status, &now())), expected, "{story}");
        }
    }

    #[test]
    fn what_has_failed_is_not_tried_under_another_name_and_a_change_is() {
        let own = |pools: &[(&str, &str)]| -> BTreeMap<String, String> {
            pools.iter().map(|(name, own)| (String::from(*name), String::from(*own))).collect()
        };
        // From pools a1 and b1, with a2 and b1 to a template that is new, too.
        let failed = |pools: Option<&[(&str, &str)]>| FailedRevision {
            revision: "t-1".to_owned(),
            message: "it ended".to_owned(),
            pools: pools.map(own),
        };
        let (had, from_pools) = ([("a", "a2"), ("b", "b1")], own(&[("a", "a1"), ("b", "b1"), ("z", "z1")]));
        for (story, revision, pools, is_failed) in [
            ("the same", "t-1", &had[..], true),
            ("a pool that is new", "t-2", &[("a", "a2"), ("b", "b1"), ("c", "c1")], true),
            ("one that is gone", "t-2", &[("a", "a2")], true),
            ("that which was changed is gone", "t-2", &[("b", "b1")], false),
            ("it is as before", "t-2", &[("a", "a1"), ("b", "b1")], false),
            ("another has changed", "t-2", &[("a", "a2"), ("b", "b2")], false),
            ("a pool that comes back otherwise", "t-2", &[("a", "a2"), ("b", "b1"), ("z", "z2")], false),
            ("another template", "u-1", &had, false),
        ] {
            let offer = Offer { pools: own(pools), ..offer(revision).unwrap() };
            let seen = Revisions { by_user: Some(offer), from_pools: from_pools.clone(), ..Revisions::default() };
            let mut status = RolloutStatus { failed: vec![failed(Some(&had))], ..RolloutStatus::default() };
            keep_failed(&seen, &mut status);
            let expected = if is_failed { "failed" } else { "roll" };
            let expected = format!("{expected} {revision}");
            assert_eq!(told(wanted(&Rollout::default(), &seen, &status, &now())), expected, "{story}");
            // Each name is taken for a wish.
            for name in ["t-1", revision].iter().filter(|_| is_failed) {
                let (asked, mut status) =
                    (Rollout { retry: Some(String::from(*name)), ..Rollout::default() }, status.clone());
                retry(&asked, &mut status);
                keep_failed(&seen, &mut status);
                assert_eq!(told(wanted(&asked, &seen, &status, &now())), format!("roll {revision}"), "{story}");
            }
            let mut earlier = RolloutStatus { failed: vec![failed(None)], ..RolloutStatus::default() };
            keep_failed(&seen, &mut earlier);
            assert_eq!(earlier.failed.len(), 1, "an earlier operator did not say of which pools");
        }
    }

    #[test]
    fn a_failed_revision_is_tried_again_once_for_each_wish() {
        let seen = Revisions { by_user: offer("u"), ..Revisions::default() };
        let failed = || FailedRevision { revision: "u".to_owned(), message: "it ended".to_owned(), pools: None };
        let mut status = RolloutStatus { failed: vec![failed()], ..RolloutStatus::default() };
        let (never, once) = (Rollout::default(), Rollout { retry: Some("u".to_owned()), ..Rollout::default() });
        let mut told = |asked: &Rollout, fails: bool| {
            if fails {
                status.failed.push(failed());
            }
            retry(asked, &mut status);
            told(wanted(asked, &seen, &status, &now()))
        };
        assert_eq!(told(&never, false), "failed u");
        assert_eq!(told(&once, false), "roll u");
        assert_eq!(told(&once, true), "failed u", "that was once");
        assert_eq!(told(&never, false), "failed u");
        assert_eq!(told(&once, false), "roll u", "another wish");
    }
}
