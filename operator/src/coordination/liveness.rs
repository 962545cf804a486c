//! Who is alive: a judgement on evidence (COORDINATION §4).
//!
//! - [`pings`]: one connection to each broker
//! - [`pods`]: what the API shows of their pods
//!
//! All of it is about liveness only: a wrong guess costs a change of leader, never data. The Lease alone takes six seconds;
//! other evidence is faster, and none of it moves anybody on a cut between operator and broker alone.

use std::collections::{BTreeMap, BTreeSet};

use ottla_crds::assignment::BrokerId;
use ottla_crds::lease::Sight;

pub mod pings;
pub mod pods;

/// What is known of the process that holds a broker's Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What its Lease tells.
    pub lease: Sight,
    /// How it answers.
    pub ping: Ping,
    /// What its pod tells.
    pub pod: Pod,
}

/// How a process answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// Nobody knows where to ask, or nothing came of it yet.
    Unasked,
    /// The last ping was answered.
    Answers,
    /// A ping or an attempt to connect is unanswered, or nobody listens.
    Silent,
    /// Its connection broke, and since then nobody listens: the process is gone.
    Gone,
}

/// What a pod tells of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pod {
    /// There are no pods, or they are not known yet.
    Unknown,
    /// Its container runs.
    Runs,
    /// The pod is being deleted: the process is told to stop, or will be in a moment.
    Ends,
    /// Its container, or the whole pod, is gone.
    Gone,
}

/// The brokers that are alive.
///
/// A broker that has just been sighted counts as alive: waiting for its first renewal would cost each topic of a new cluster two
/// seconds. If half of the brokers or more look dead at once the observer suspects itself, and a Lease that expired is not enough
/// while its holder still answers.
pub fn alive(brokers: &BTreeMap<BrokerId, Evidence>) -> BTreeSet<BrokerId> {
    let dead = brokers.values().filter(|evidence| looks_dead(evidence)).count();
    let suspicious = 2 * dead >= brokers.len();
    let is_alive = |evidence: &Evidence| {
        !looks_dead(evidence) || (suspicious && evidence.ping == Ping::Answers && evidence.lease == Sight::Expired)
    };
    brokers.iter().filter(|(_, evidence)| is_alive(evidence)).map(|(id, _)| *id).collect()
}

fn looks_dead(evidence: &Evidence) -> bool {
    let Evidence { lease, ping, pod } = evidence;
    let lease_and_ping = match (lease, ping) {
        (Sight::Released | Sight::Expired, _) | (_, Ping::Gone) => true,
        (Sight::Overdue, Ping::Silent) => true,
        (Sight::Overdue, Ping::Unasked | Ping::Answers) => false,
        (Sight::Unknown | Sight::Alive, Ping::Unasked | Ping::Answers | Ping::Silent) => false,
    };
    lease_and_ping || *pod == Pod::Gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_crds::lease::Sight::{Alive, Expired, Overdue, Released, Unknown};

    const WELL: Evidence = Evidence { lease: Alive, ping: Ping::Answers, pod: Pod::Runs };

    /// Whether a broker is alive beside others.
    fn judge(evidence: Evidence, others: &[Evidence]) -> bool {
        let brokers = (0..).map(BrokerId).zip([evidence].into_iter().chain(others.iter().copied())).collect();
        alive(&brokers).contains(&BrokerId(0))
    }

    #[test]
    fn one_broker_among_three() {
        let cases = [
            ("all is well", Alive, Ping::Answers, Pod::Runs, true),
            ("a laptop", Alive, Ping::Answers, Pod::Unknown, true),
            ("just sighted", Unknown, Ping::Unasked, Pod::Unknown, true),
            ("killed", Alive, Ping::Gone, Pod::Runs, false),
            ("killed, and the operator is new", Unknown, Ping::Silent, Pod::Gone, false),
            ("cut off from the operator alone", Alive, Ping::Silent, Pod::Runs, true),
            ("frozen a moment ago", Alive, Ping::Silent, Pod::Runs, true),
            ("frozen, or its node is gone", Overdue, Ping::Silent, Pod::Runs, false),
            ("the API is slow", Overdue, Ping::Answers, Pod::Runs, true),
            ("the API is slow, and nobody knows where to ask", Overdue, Ping::Unasked, Pod::Unknown, true),
            ("cut off from the API", Expired, Ping::Answers, Pod::Runs, false),
            ("gone without a trace", Expired, Ping::Silent, Pod::Unknown, false),
            ("stopped", Released, Ping::Answers, Pod::Runs, false),
            ("told to stop", Alive, Ping::Answers, Pod::Ends, true),
            ("its container has ended", Alive, Ping::Answers, Pod::Gone, false),
        ];
        for (story, lease, ping, pod, expected) in cases {
            assert_eq!(judge(Evidence { lease, ping, pod }, &[WELL, WELL]), expected, "{story}");
        }
    }

    #[test]
    fn when_half_look_dead_an_expired_lease_alone_is_not_enough() {
        let expired = |ping| Evidence { lease: Expired, ping, ..WELL };
        let (answers, silent) = (expired(Ping::Answers), expired(Ping::Silent));
        let cases = [
            ("one of three", answers, &[WELL, WELL][..], false),
            ("two of three, and it answers", answers, &[answers, WELL], true),
            ("one of two, and it answers", answers, &[WELL], true),
            ("the only one, and it answers", answers, &[], true),
            ("all of three, and it does not answer", silent, &[silent, silent], false),
            ("all were stopped", Evidence { lease: Released, ..WELL }, &[answers, answers], false),
            ("all containers have ended", Evidence { pod: Pod::Gone, ..WELL }, &[answers, answers], false),
        ];
        for (story, evidence, others, expected) in cases {
            assert_eq!(judge(evidence, others), expected, "{story}");
        }
    }
}
