//! The incarnation of a directory's content, and whether a start may keep it: values in, values out.

use ottla_rules::assignment::Incarnation;
use serde::{Deserialize, Serialize};

/// What a directory's content is called, and the start that last used it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The content.
    pub incarnation: Incarnation,
    /// Counts starts: distinguishes a restored snapshot or a clone from the directory that the Lease refers to; a copy
    /// from the last start is recognised by [`Content::ticks`].
    pub starts: i64,
    /// The kernel's boot at the last start: within it the page cache survives the process.
    pub boot_id: String,
    /// The pod at the last start: within it the volume is the same. `None`: it was not in a pod.
    pub pod_uid: Option<String>,
}

/// What a directory says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What it is called.
    pub identity: Identity,
    /// What it has counted while it was in use.
    pub ticks: u64,
}

/// What the broker's Lease says of its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseView {
    /// The API server can't be asked.
    Away,
    /// There is no Lease: no start has ever got so far.
    Absent,
    /// The last start that got so far.
    Says {
        /// Its incarnation.
        incarnation: Incarnation,
        /// Its start counter.
        starts: i64,
        /// What its directory had counted before it was renewed last.
        ticks: u64,
    },
}

/// Where a start takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The pod's uid; `None` outside Kubernetes.
    pub pod_uid: Option<String>,
}

/// What becomes of the incarnation at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncarnationDecision {
    /// The content is what the cluster believes.
    Keep,
    /// It may not be, for this reason.
    DrawAnew(&'static str),
    /// Only the Lease shows it.
    AskAgain,
}

/// Whether the directory's content is what every in-sync entry with its incarnation says it is.
pub fn decide(content: Option<&Content>, lease: LeaseView, here: &Surroundings, clean: bool) -> IncarnationDecision {
    let Some(content) = content else {
        return match lease {
            LeaseView::Away => IncarnationDecision::AskAgain,
            LeaseView::Absent | LeaseView::Says { .. } => IncarnationDecision::DrawAnew(
                "it is new, or its identity file is \
            incomplete",
            ),
        };
    };
    let written = &content.identity;
    let intact = clean || written.boot_id == here.boot_id;
    if lease == LeaseView::Away {
        let same_pod = written.pod_uid.is_some() && written.pod_uid == here.pod_uid;
        return if intact && same_pod { IncarnationDecision::Keep } else { IncarnationDecision::AskAgain };
    }
    match (is_of(content, lease), intact) {
        (false, _) => IncarnationDecision::DrawAnew(
            "the Lease has counted more than this directory: it is a snapshot, a clone \
        or another disk",
        ),
        (true, false) => IncarnationDecision::DrawAnew("the machine restarted without a clean stop of the broker"),
        (true, true) => IncarnationDecision::Keep,
    }
}

/// Whether the Lease speaks of this very directory: it shows the start that was written, and no tick since; or of the
/// start before, when a start died before it could write the Lease.
pub fn is_of(content: &Content, lease: LeaseView) -> bool {
    let written = &content.identity;
    match lease {
        LeaseView::Away => false,
        LeaseView::Absent => written.starts == 1,
        LeaseView::Says { incarnation, starts, ticks } => {
            let is_its_start = written.starts == starts && written.incarnation == incarnation;
            (is_its_start && content.ticks >= ticks) || written.starts == starts + 1
        }
    }
}

impl Identity {
    /// The identity of a start that follows this view of the Lease.
    pub fn of_start(
        incarnation: Incarnation,
        lease: LeaseView,
        last: Option<&Identity>,
        here: Surroundings,
    ) -> Identity {
        let starts = match lease {
            // Not counted: the Lease, which counts too, can't be written. The start is counted when it can.
            LeaseView::Away => last.map_or(0, |last| last.starts),
            LeaseView::Absent => 1,
            LeaseView::Says { starts, .. } => starts + 1,
        };
        Identity { incarnation, starts, boot_id: here.boot_id, pod_uid: here.pod_uid }
    }
}

impl Surroundings {
    /// Those of this process. The pod's uid comes from the downward API.
    pub fn of_process(pod_uid: Option<String>) -> Surroundings {
        // Without a boot id no start is of the same boot: the safe side.
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| uuid::Uuid::new_v4().to_string(), |text| text.trim().to_owned());
        Surroundings { boot_id, pod_uid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Incarnation = Incarnation(7);

    fn here() -> Surroundings {
        Surroundings { boot_id: "this boot".into(), pod_uid: Some("this pod".into()) }
    }

    fn written(starts: i64) -> Identity {
        Identity { incarnation: MINE, starts, boot_id: "this boot".into(), pod_uid: Some("this pod".into()) }
    }

    fn says(starts: i64) -> LeaseView {
        LeaseView::Says { incarnation: MINE, starts, ticks: 9 }
    }

    #[test]
    fn the_incarnation_is_kept_only_where_the_content_is_what_the_cluster_believes() {
        let other_boot = Identity { boot_id: "before".into(), ..written(5) };
        let other_pod = Identity { pod_uid: Some("another".into()), ..written(5) };
        let no_pod = Identity { pod_uid: None, ..written(5) };
        let reborn = Identity { incarnation: Incarnation(8), ..written(5) };
        let rows = [
            // a process that died, a clean stop, a machine that died
            (Some(written(5)), says(5), false, "keep"),
            (Some(other_boot.clone()), says(5), true, "keep"),
            (Some(other_boot.clone()), says(5), false, "draw"),
            (Some(other_pod.clone()), says(5), false, "keep"),
            // a start that died before it wrote the Lease
            (Some(written(6)), says(5), false, "keep"),
            (Some(reborn.clone()), says(4), false, "keep"),
            (Some(written(1)), LeaseView::Absent, false, "keep"),
            // snapshots, clones, new disks, a Lease that was deleted
            (Some(written(4)), says(5), true, "draw"),
            (Some(written(7)), says(5), true, "draw"),
            (Some(reborn), says(5), true, "draw"),
            (Some(written(5)), LeaseView::Absent, true, "draw"),
            (None, says(5), true, "draw"),
            (None, LeaseView::Absent, false, "draw"),
            // the API server is away
            (Some(written(5)), LeaseView::Away, false, "keep"),
            (Some(other_boot.clone()), LeaseView::Away, true, "keep"),
            (Some(other_boot), LeaseView::Away, false, "ask"),
            (Some(other_pod), LeaseView::Away, true, "ask"),
            (Some(no_pod), LeaseView::Away, true, "ask"),
            (None, LeaseView::Away, true, "ask"),
        ];
        for (written, lease, clean, expected) in rows {
            let content = written.map(|identity| Content { identity, ticks: 9 });
            assert_eq!(said(content.as_ref(), lease, clean), expected, "{content:?} {lease:?} clean={clean}");
        }
    }

    fn said(content: Option<&Content>, lease: LeaseView, clean: bool) -> &'static str {
        match decide(content, lease, &here(), clean) {
            IncarnationDecision::Keep => "keep",
            IncarnationDecision::DrawAnew(_) => "draw",
            IncarnationDecision::AskAgain => "ask",
        }
    }

    #[test]
    fn a_snapshot_of_the_last_start_is_recognised_by_the_ticks() {
        let rows = [
            // the process died after it had counted, and before or after the Lease said so
            (written(5), 10, "keep"),
            (written(5), 9, "keep"),
            // the Lease knows of more
            (written(5), 8, "draw"),
            (written(5), 0, "draw"),
            // a start that has not written the Lease yet is newer than all that the Lease says
            (written(6), 0, "keep"),
        ];
        for (identity, ticks, expected) in rows {
            for clean in [false, true] {
                let content = Content { identity: identity.clone(), ticks };
                assert_eq!(said(Some(&content), says(5), clean), expected, "{content:?} clean={clean}");
            }
        }
    }

    #[test]
    fn a_start_that_dies_before_its_lease_any_number_of_times_keeps_the_incarnation() {
        let mut last = written(5);
        for _ in 0..3 {
            last = Identity::of_start(MINE, says(5), Some(&last), here());
            assert_eq!(last.starts, 6);
            let content = Content { identity: last.clone(), ticks: 9 };
            assert_eq!(decide(Some(&content), says(5), &here(), false), IncarnationDecision::Keep);
        }
        let away = Identity::of_start(MINE, LeaseView::Away, Some(&last), here());
        assert_eq!(away.starts, 6, "a start that can't write the Lease is not counted");
    }
}
