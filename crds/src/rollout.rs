//! How brokers' pods are replaced when what they run with changes: what users ask for, and how far it is.
//!
//! A revision is what a pod needs a restart for: image, listeners, resources, pod template. It is named by a hash, and
//! the ConfigMap `<cluster>-broker-<hash>` holds it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_rules::assignment::BrokerId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::schema;

/// How the operator replaces the brokers' pods when their revision changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.policy != 'Window' || has(self.windows)",
    "message": "policy: Window needs windows, which say when a roll may begin",
}]))]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Whether a change of the spec starts a roll. Default: Auto.
    #[serde(default, deserialize_with = "crate::words::rollout_policy")]
    pub policy: RolloutPolicy,
    /// Whether an upgrade of the operator starts a roll if it changes what brokers run. Default: Hold.
    #[serde(default, deserialize_with = "crate::words::operator_upgrade")]
    pub operator_upgrade: OperatorUpgrade,
    /// How many brokers may be away at once in a roll, all of one rack. More than 1 needs `spec.rack`.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_unavailable: i32,
    /// How long the first broker of a new revision must be ready and in sync before others restart: a number and s, m
    /// or h. Default: 2m.
    #[serde(default = "two_minutes")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[0-9]{1,5}[smh]$"))]
    pub canary_for: String,
    /// With `policy: Window`, when rolls may begin: while one of these is open. A roll that has begun is finished. With
    /// another policy they have no effect and stay, for the day when the policy is Window again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub windows: Vec<Window>,
    /// The revision that may be rolled out although `policy` is Manual, no window is open, or only the operator
    /// changed: `status.rollout.to`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub approved: Option<String>,
    /// The revision that is tried once more after its roll was stopped: one of `status.rollout.failed`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub retry: Option<String>,
    /// Whether a restart may interrupt partitions that have no more replicas than `min.insync.replicas`. With one
    /// broker it always may. Default: Never.
    #[serde(default, deserialize_with = "crate::words::interrupt")]
    pub interrupt: Interrupt,
}

fn one() -> i32 {
    1
}

fn two_minutes() -> String {
    "2m".to_owned()
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout {
            policy: RolloutPolicy::Auto,
            operator_upgrade: OperatorUpgrade::Hold,
            max_unavailable: one(),
            canary_for: two_minutes(),
            windows: Vec::new(),
            approved: None,
            retry: None,
            interrupt: Interrupt::Never,
        }
    }
}

impl Rollout {
    /// How long the canary must be well. Two minutes where the text is no duration, which admission refuses.
    pub fn canary_for(&self) -> Duration {
        let text = self.canary_for.as_str();
        let seconds = [("s", 1), ("m", 60), ("h", 3600)].into_iter().find_map(|(unit, seconds)| {
            let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
            count.checked_mul(seconds)
        });
        Duration::from_secs(seconds.unwrap_or(120))
    }
}

/// Whether a change of the spec starts a roll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutPolicy {
    /// It does.
    #[default]
    Auto,
    /// It waits until `approved` names the revision.
    Manual,
    /// It waits until one of `windows` is open.
    Window,
}

/// When rolls may begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The days on which it opens. Absent: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Day>,
    /// When it opens: hours and minutes, such as `02:00`.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// How long it is open, such as `4h`; at most `168h`.
    #[serde(rename = "for")]
    #[schemars(with = "String", length(min = 2, max = 16), regex(pattern = r"^([0-9]{1,5}(m|h))+$"))]
    pub open_for: kube::core::Duration,
    /// The time zone of `from`, by its name in the IANA database, such as `Europe/Berlin`. Default: UTC.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// Whether an upgrade of the operator starts a roll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OperatorUpgrade {
    /// It waits until `approved` names the revision, or the spec names an image.
    #[default]
    Hold,
    /// It does, as a change of the spec would.
    Follow,
}

/// Whether a restart may interrupt partitions that can't survive one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Interrupt {
    /// The roll waits until such partitions have more replicas.
    #[default]
    Never,
    /// Producers of such partitions wait while a broker restarts.
    Unreplicated,
}

/// How far a roll is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// What the operator is doing.
    #[serde(deserialize_with = "crate::words::rollout_state")]
    pub state: RolloutState,
    /// The revision that is known to work: a lost pod returns with it, except in the states Canary and Rolling.
    pub from: String,
    /// The revision that brokers are to have. Absent: `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What differs between the two: `image`, `listeners`, `podTemplate`, `pools`, `rack`, `resources`, `security`,
    /// `operator`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub why: Vec<String>,
    /// The brokers that are to restart, those that may restart together in one item: `4`, `1,7`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub plan: Vec<String>,
    /// The brokers that the operator restarts now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub away: Vec<BrokerId>,
    /// The canaries of this roll that were well. A change that pools have of their own is tried on a broker of each
    /// such pool; the canary of all other brokers is one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub canaries: Vec<BrokerId>,
    /// While brokers return to `from`: those that had another revision, the ones included that are back already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub returning: Vec<BrokerId>,
    /// Brokers that may not restart now, or can't come back, and why; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub blocked_by: Vec<RolloutBlocker>,
    /// When `blockedBy` was written, each 30 seconds at most. Absent: nothing blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub blocked_at: Option<Time>,
    /// When the window opens in which the roll may begin. Absent: it waits for no window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub window_opens: Option<Time>,
    /// The revisions whose rolls were stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub failed: Vec<FailedRevision>,
    /// The failed revision that `spec.rollout.retry` named and that was tried again for it. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried: Option<String>,
    /// How the brokers in `away` get on. Absent: none restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<RolloutProgress>,
}

impl RolloutStatus {
    /// Whether a roll that gets on restarts this broker now: it is away as planned.
    pub fn restarts(&self, broker: BrokerId) -> bool {
        matches!(self.state, RolloutState::Canary | RolloutState::Rolling) && self.away.contains(&broker)
    }

    /// The revision that new pods get.
    pub fn pinned(&self) -> &str {
        match self.state {
            RolloutState::Canary | RolloutState::Rolling => self.to.as_deref().unwrap_or(&self.from),
            RolloutState::Idle | RolloutState::Held | RolloutState::Waiting | RolloutState::Stopped => &self.from,
        }
    }
}

/// What the operator is doing about revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// Every broker has the revision `from`.
    #[default]
    Idle,
    /// A new revision waits for approval.
    Held,
    /// A roll may start and can't yet; `blockedBy` says why.
    Waiting,
    /// One broker tries the new revision, then one more for each pool whose pods change in a way of their own.
    Canary,
    /// The other brokers get it.
    Rolling,
    /// The new revision failed; brokers that had it return to `from`.
    Stopped,
}

/// Why a broker may not restart now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutBlocker {
    /// The broker's id.
    pub broker: BrokerId,
    /// `OtherRackAway`, `TooManyAway`, `WouldStopProducers`, `WouldTakeOffline`, `Unreplicated`; `NodeGone` of a broker
    /// that restarts.
    pub reason: String,
    /// The topic with partitions that do not allow it. Absent: no topic is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The topic's partitions, as ranges: `0–3, 7`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<String>,
    /// The reason as a sentence, with what to do if a person has to.
    pub message: String,
}

/// A revision whose roll was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedRevision {
    /// The revision.
    pub revision: String,
    /// Why its roll was stopped.
    pub message: String,
    /// What it asked of each pool's pods alone, by the name of the pool, as a hash; empty: nothing. So a pool that is
    /// added afterwards does not make another revision of it that would be tried. Absent: an earlier operator wrote
    /// this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "hashes")]
    pub pools: Option<BTreeMap<String, String>>,
}

fn hashes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 1000,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

/// How restarting brokers get on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutProgress {
    /// How many replicas of the restarting brokers are not in sync.
    pub behind: i64,
    /// How many steps the restarting brokers have to take until their processes serve.
    pub steps: i64,
    /// The least of both so far: fewer steps count first. Absent: what is so now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<RolloutBacklog>,
    /// When `least` last fell.
    #[schemars(schema_with = "schema::time")]
    pub since: Time,
    /// Since when the canary is ready and in sync. Absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub ready_since: Option<Time>,
    /// When this was written. Progress alone is written each 30 seconds at most.
    #[schemars(schema_with = "schema::time")]
    pub at: Time,
}

impl RolloutProgress {
    /// The least backlog so far.
    pub fn least(&self) -> RolloutBacklog {
        self.least.unwrap_or(RolloutBacklog { steps: self.steps, behind: self.behind })
    }
}

/// What restarting brokers have left to do. Fewer steps are less, whatever is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct RolloutBacklog {
    /// How many steps the brokers have to take until their processes serve.
    pub steps: i64,
    /// How many of their replicas are not in sync.
    pub behind: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("2m", 120), ("1h", 3600), ("soon", 120), ("9", 120)] {
            let rollout = Rollout { canary_for: text.to_owned(), ..Rollout::default() };
            assert_eq!(rollout.canary_for(), Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn an_empty_rollout_is_the_default() {
        assert_eq!(serde_json::from_str::<Rollout>("{}").unwrap(), Rollout::default());
    }

    #[test]
    fn a_lost_pod_returns_at_the_revision_that_works_unless_the_new_one_is_being_rolled_out() {
        for (state, pinned) in [
            (RolloutState::Idle, "old"),
            (RolloutState::Held, "old"),
            (RolloutState::Waiting, "old"),
            (RolloutState::Canary, "new"),
            (RolloutState::Rolling, "new"),
            (RolloutState::Stopped, "old"),
        ] {
            let from = "old".to_owned();
            let status = RolloutStatus { state, from, to: Some("new".to_owned()), ..RolloutStatus::default() };
            assert_eq!(status.pinned(), pinned, "{state:?}");
        }
    }
}
