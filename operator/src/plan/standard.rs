//! What tools read of any kind of object: kstatus, which Flux and others use, takes an object with `Reconciling` for
//! one in progress, with `Stalled` for one that has failed, and with neither for one that is as its spec says.

use ottla_crds::RolloutStatus;

use super::condition::Verdict;

/// The reasons that stay until a person acts, of clusters and topics. What may come by itself is not among them, even
/// if a person brings it: a KafkaCluster that a topic names may be applied later, and a broker may be started again.
const NEED_A_PERSON: [&str; 15] = [
    "InvalidConfig",
    "InvalidSpec",
    "ForeignObject",
    "NetworkPolicyRefused",
    "ResizeImpossible",
    "NoCertManager",
    "NoClientAuthority",
    "VolumesLeft",
    "NodeLost",
    "RolloutStopped",
    "Conflict",
    "NameCollision",
    "AssignmentsMissing",
    "TooFewBrokers",
    "UnknownBroker",
];

/// `Stalled` or `Reconciling`, each only while it is True. `None`: neither is. Topics have no Progressing and no
/// rollout.
pub fn verdict(verdicts: &[Verdict], rollout: Option<&RolloutStatus>) -> Option<Verdict> {
    let of = |type_: &str| verdicts.iter().find(|verdict| verdict.type_ == type_);
    let (ready, progressing) = (of("Ready")?, of("Progressing"));
    let is_unreplicated = || {
        let blockers = rollout.map_or(&[][..], |rollout| &rollout.blocked_by);
        !blockers.is_empty() && blockers.iter().all(|blocker| blocker.reason == "Unreplicated")
    };
    let needs_a_person = |verdict: &&Verdict| {
        NEED_A_PERSON.contains(&verdict.reason) || verdict.reason == "RolloutWaiting" && is_unreplicated()
    };
    if let Some(stalled) = [Some(ready), progressing].into_iter().flatten().find(needs_a_person) {
        return Some(Verdict { type_: "Stalled", status: true, ..stalled.clone() });
    }
    let works = progressing.filter(|progressing| progressing.status).or(Some(ready).filter(|ready| !ready.status));
    works.map(|works| Verdict { type_: "Reconciling", status: true, ..works.clone() })
}

#[cfg(test)]
mod tests {
    use ottla_crds::RolloutBlocker;
    use ottla_rules::assignment::BrokerId;

    use super::*;

    #[test]
    fn an_object_is_in_progress_or_failed_or_neither() {
        let blocked = |reason: &str| {
            let (broker, reason, message) = (BrokerId(0), reason.to_owned(), String::new());
            let blocker = RolloutBlocker { broker, reason, topic: None, partitions: None, message };
            RolloutStatus { blocked_by: vec![blocker], ..RolloutStatus::default() }
        };
        for (ready, progressing, rollout, expected) in [
            ((true, "Ready"), (false, "Settled"), None, None),
            ((true, "Ready"), (false, "Held"), None, None),
            ((true, "Ready"), (false, "Paused"), None, None),
            ((true, "Ready"), (true, "Canary"), None, Some(("Reconciling", "Canary"))),
            ((false, "BrokersOffline"), (false, "Settled"), None, Some(("Reconciling", "BrokersOffline"))),
            ((false, "InvalidSpec"), (true, "InvalidSpec"), None, Some(("Stalled", "InvalidSpec"))),
            ((true, "Ready"), (false, "RolloutStopped"), None, Some(("Stalled", "RolloutStopped"))),
            ((true, "Ready"), (true, "RolloutWaiting"), None, Some(("Reconciling", "RolloutWaiting"))),
            (
                (true, "Ready"),
                (true, "RolloutWaiting"),
                Some(blocked("Unreplicated")),
                Some(("Stalled", "RolloutWaiting")),
            ),
            (
                (true, "Ready"),
                (true, "RolloutWaiting"),
                Some(blocked("TooManyAway")),
                Some(("Reconciling", "RolloutWaiting")),
            ),
        ] {
            let verdicts = [
                Verdict::new("Ready", ready.0, ready.1, ""),
                Verdict::new("Progressing", progressing.0, progressing.1, ""),
            ];
            let verdict = verdict(&verdicts, rollout.as_ref());
            assert!(verdict.iter().all(|verdict| verdict.status));
            assert_eq!(verdict.map(|verdict| (verdict.type_, verdict.reason)), expected, "{ready:?} {progressing:?}");
        }
        for (ready, reason, expected) in [
            (true, "Ready", None),
            (false, "BrokersStarting", Some("Reconciling")),
            (false, "NoCluster", Some("Reconciling")),
            (false, "PartitionsOffline", Some("Reconciling")),
            (false, "Conflict", Some("Stalled")),
            (false, "TooFewBrokers", Some("Stalled")),
        ] {
            let verdict = verdict(&[Verdict::new("Ready", ready, reason, "")], None);
            assert_eq!(verdict.map(|verdict| verdict.type_), expected, "a topic: {reason}");
        }
    }
}
