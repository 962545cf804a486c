use MemberState::{Stable, Unknown, Unreleased, Unrevoked};

use super::*;

/// `0-1@3`: partition 1 of subtopology 0, active since epoch 3; `s0-1` as standby, `w0-1` as warm-up.
fn assigned(text: &str) -> StreamsAssigned {
    let mut assigned = StreamsAssigned::default();
    for word in text.split_whitespace() {
        let (at, epoch) = word.split_once('@').unwrap_or((word, "0"));
        let (id, partition) = at.split_once('-').unwrap();
        let partition: i32 = partition.parse().unwrap();
        if let Some(id) = id.strip_prefix('s') {
            assigned.standby.entry(id.to_owned()).or_default().insert(partition);
        } else if let Some(id) = id.strip_prefix('w') {
            assigned.warmup.entry(id.to_owned()).or_default().insert(partition);
        } else {
            assigned.active.entry(id.to_owned()).or_default().insert(partition, epoch.parse().unwrap());
        }
    }
    assigned
}

fn current(epoch: i32, previous_epoch: i32, state: MemberState, has: &str, revoking: &str) -> StreamsCurrentValue {
    StreamsCurrentValue { epoch, previous_epoch, state, assigned: assigned(has), revoking: assigned(revoking) }
}

/// What others have: as active anywhere, and in the member's own process.
struct Others(StreamsTasks, StreamsTasks);

impl Holders for Others {
    fn is_active(&self, subtopology: &str, partition: i32) -> bool {
        self.0.active.get(subtopology).is_some_and(|all| all.contains(&partition))
    }

    fn is_in_process(&self, subtopology: &str, partition: i32) -> bool {
        let kinds = [&self.1.active, &self.1.standby, &self.1.warmup];
        kinds.into_iter().any(|tasks| tasks.get(subtopology).is_some_and(|all| all.contains(&partition)))
    }
}

/// `elsewhere` are tasks of other processes, `beside` those of other members of the member's process.
fn step_to(
    before: &StreamsCurrentValue,
    target: &str,
    owned: Option<&str>,
    elsewhere: &str,
    beside: &str,
) -> Result<StreamsCurrentValue, GroupError> {
    let (target, owned) = (assigned(target).tasks(), owned.map(|owned| assigned(owned).tasks()));
    let anywhere = assigned(&format!("{elsewhere} {beside}")).tasks();
    let holders = Others(anywhere, assigned(beside).tasks());
    step(before, &Goal { epoch: 11, target: &target, owned: owned.as_ref(), holders: &holders })
}

#[test]
fn a_member_moves_to_its_target() {
    // Before; target at epoch 11; what it owns; what other processes and other members of its process have; after.
    let cases = [
        // Nothing new, or no more than an epoch.
        (current(11, 10, Stable, "0-0@9", ""), "0-0", None, "", "", current(11, 10, Stable, "0-0@9", "")),
        (current(10, 9, Stable, "0-0@9", ""), "0-0", None, "", "", current(11, 10, Stable, "0-0@9", "")),
        // New tasks that are free, and ones that are not.
        (
            current(10, 9, Stable, "0-0@9", ""),
            "0-0 0-1 s1-0 w1-1",
            None,
            "",
            "",
            current(11, 10, Stable, "0-0@9 0-1@11 s1-0 w1-1", ""),
        ),
        (
            current(10, 9, Stable, "0-0@9", ""),
            "0-0 0-1 0-2",
            None,
            "0-1",
            "",
            current(11, 10, Unreleased, "0-0@9 0-2@11", ""),
        ),
        (current(10, 9, Stable, "", ""), "0-1", None, "0-1", "", current(11, 10, Unreleased, "", "")),
        // Another process may copy what becomes active here; the own one may not.
        (current(10, 9, Stable, "", ""), "0-1", None, "s0-1 w0-1", "", current(11, 10, Stable, "0-1@11", "")),
        (current(10, 9, Stable, "", ""), "0-1", None, "", "s0-1", current(11, 10, Unreleased, "", "")),
        (current(10, 9, Stable, "", ""), "0-1", None, "", "w0-1", current(11, 10, Unreleased, "", "")),
        (current(10, 9, Stable, "", ""), "0-1", None, "", "0-1", current(11, 10, Unreleased, "", "")),
        // Another process may have what is copied here; the own one may not.
        (current(10, 9, Stable, "", ""), "s0-1 w0-2", None, "0-1 0-2", "", current(11, 10, Stable, "s0-1 w0-2", "")),
        (current(10, 9, Stable, "", ""), "s0-1", None, "", "0-1", current(11, 10, Unreleased, "", "")),
        (current(10, 9, Stable, "", ""), "w0-1", None, "", "s0-1", current(11, 10, Unreleased, "", "")),
        // Something goes: it keeps its epoch until it has revoked it, and gets nothing before.
        (
            current(10, 9, Stable, "0-0@9 0-1@10 s1-0 w1-1", ""),
            "0-0 0-2",
            None,
            "",
            "",
            current(10, 10, Unrevoked, "0-0@9", "0-1@10 s1-0 w1-1"),
        ),
        // It says at once that it does not own it.
        (
            current(10, 9, Stable, "0-0@9 0-1@10", ""),
            "0-0 0-2",
            Some("0-0"),
            "",
            "",
            current(11, 10, Stable, "0-0@9 0-2@11", ""),
        ),
        // It has not revoked, and says so or nothing. A task of another kind is another one.
        (
            current(10, 10, Unrevoked, "0-0@9", "0-1@10"),
            "0-0",
            Some("0-0 0-1"),
            "",
            "",
            current(10, 10, Unrevoked, "0-0@9", "0-1@10"),
        ),
        (
            current(10, 10, Unrevoked, "0-0@9", "s1-0"),
            "0-0",
            Some("0-0 s1-0"),
            "",
            "",
            current(10, 10, Unrevoked, "0-0@9", "s1-0"),
        ),
        (
            current(10, 10, Unrevoked, "0-0@9", "0-1@10"),
            "0-0",
            None,
            "",
            "",
            current(10, 10, Unrevoked, "0-0@9", "0-1@10"),
        ),
        (
            current(10, 10, Unrevoked, "0-0@9", "0-1@10"),
            "0-0 s0-1",
            Some("0-0 s0-1"),
            "",
            "",
            current(11, 10, Stable, "0-0@9 s0-1", ""),
        ),
        // It has revoked, but the target has moved on and wants more of it: the next epoch, as in Kafka.
        (
            current(9, 8, Unrevoked, "0-0@8", "0-1@8"),
            "0-2",
            Some("0-0"),
            "",
            "",
            current(10, 9, Unrevoked, "", "0-0@8"),
        ),
        // What it has just revoked comes back: nobody else can have it. Kafka lets it wait for a heartbeat.
        (current(10, 10, Unrevoked, "", "0-0@9"), "0-0", Some(""), "", "", current(11, 10, Stable, "0-0@11", "")),
        // A standby task becomes active once it is not copied any longer.
        (current(10, 9, Stable, "s0-0", ""), "0-0", None, "", "", current(10, 10, Unrevoked, "", "s0-0")),
        (current(10, 10, Unrevoked, "", "s0-0"), "0-0", Some(""), "", "", current(11, 10, Stable, "0-0@11", "")),
        // It waits, and is given what is released.
        (
            current(11, 10, Unreleased, "0-0@9", ""),
            "0-0 0-1 0-2",
            None,
            "0-2",
            "",
            current(11, 11, Unreleased, "0-0@9 0-1@11", ""),
        ),
        // While it waits there is a newer target, which takes something from it.
        (
            current(10, 9, Unreleased, "0-0@9 0-1@9", ""),
            "0-0",
            None,
            "0-2",
            "",
            current(10, 10, Unrevoked, "0-0@9", "0-1@9"),
        ),
        // A state of a newer version: it begins again without tasks.
        (current(10, 9, Unknown, "", ""), "0-0", Some(""), "", "", current(11, 10, Stable, "0-0@11", "")),
    ];
    for (before, target, owned, elsewhere, beside, after) in cases {
        assert_eq!(step_to(&before, target, owned, elsewhere, beside), Ok(after), "{before:?} to {target}");
    }
}

#[test]
fn a_member_in_an_unknown_state_must_not_bring_tasks() {
    for owned in [None, Some("0-0")] {
        let step = step_to(&current(10, 9, Unknown, "0-0@9", ""), "0-0", owned, "", "");
        assert_eq!(step, Err(GroupError::FencedMemberEpoch));
    }
}
