//! The wanted revision: what the user asks for and what this operator builds, as far as they may be rolled out.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::{OperatorUpgrade, Rollout, RolloutPolicy, RolloutState, RolloutStatus};

use super::windows::{Opening, opening};
use crate::plan::platform::{Offer, Revisions};

/// The revision that brokers are to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
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
pub fn wanted<'a>(asked: &Rollout, seen: &'a Revisions, status: &RolloutStatus, now: &Time) -> Wanted<'a> {
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
        (None, None, None) => return held.map_or(Wanted::Present, Wanted::Held),
    };
    if status.failed.iter().any(|failed| failed.revision == offer.revision) {
        return Wanted::Failed(offer);
    }
    if !asks || is_approved(&offer) {
        return Wanted::Roll(offer);
    }
    match asked.policy {
        RolloutPolicy::Auto => Wanted::Roll(offer),
        RolloutPolicy::Manual => Wanted::Held(offer),
        RolloutPolicy::Window => match opening(&asked.windows, now.0) {
            Opening::Now => Wanted::Roll(offer),
            Opening::At(then) => Wanted::Later(offer, Time(then)),
            Opening::Never => Wanted::Held(offer),
        },
    }
}

/// Forgets that a revision has failed, once for each time that its user names it in `retry`.
pub fn retry(asked: &Rollout, status: &mut RolloutStatus) {
    if asked.retry.is_none() {
        status.retried = None;
    }
    let Some(retry) = &asked.retry else { return };
    if status.retried.as_ref() != Some(retry) && status.failed.iter().any(|failed| failed.revision == *retry) {
        status.failed.retain(|failed| failed.revision != *retry);
        status.retried = Some(retry.clone());
    }
}

#[cfg(test)]
mod tests {
    use ottla_crds::FailedRevision;

    use super::*;

    fn now() -> Time {
        Time("2026-11-25T12:00:00Z".parse().unwrap())
    }

    fn offer(revision: &str) -> Option<Offer> {
        Some(Offer { revision: revision.to_owned(), why: Vec::new(), image: String::new() })
    }

    fn told(wanted: Wanted<'_>) -> String {
        match wanted {
            Wanted::Present => "present".to_owned(),
            Wanted::Held(offer) => format!("held {}", offer.revision),
            Wanted::Later(offer, opens) => format!("{} at {}", offer.revision, opens.0),
            Wanted::Failed(offer) => format!("failed {}", offer.revision),
            Wanted::Roll(offer) => format!("roll {}", offer.revision),
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
    fn a_failed_revision_is_tried_again_once_for_each_wish() {
        let seen = Revisions { by_user: offer("u"), ..Revisions::default() };
        let failed = || FailedRevision { revision: "u".to_owned(), message: "it ended".to_owned() };
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
