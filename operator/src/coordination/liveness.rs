//! Who is alive: a judgement on evidence (COORDINATION §4).
//!
//! - [`pings`]: one connection to each broker
//! - [`pods`]: what the API shows of their pods
//!
//! All of it is about liveness only: a wrong guess costs a change of leader, never data. The Lease alone takes six
//! seconds; other evidence is faster, but a network cut between the operator and a broker alone moves no leader: a
//! broker that is silent to the operator must also be unheard by a follower, or its Lease must be overdue. Leaders
//! return to a broker that was wrongly judged dead only once it has been live for a while, so a broker that stalls now
//! and then loses its leaders once, not each time.

use std::collections::{BTreeMap, BTreeSet};

use ottla_kube::lease::Sight;
use ottla_rules::assignment::BrokerId;

use self::pings::Heard;

pub mod pings;
pub mod pods;

/// What is known of the process that holds a broker's Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How the operator judges its Lease.
    pub lease: Sight,
    /// How it answers.
    pub ping: Ping,
    /// Whether a follower misses it too.
    pub missed: bool,
    /// What its pod shows.
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

/// What a pod shows of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pod {
    /// There are no pods, or they are not known yet.
    Unknown,
    /// Its container runs.
    Runs,
    /// The pod is being deleted: the process has got SIGTERM, or will get it in a moment.
    Ends,
    /// By the clocks of Lease and container, its container has ended.
    Ended,
    /// The whole pod is gone.
    Gone,
}

/// The brokers that are alive.
///
/// A broker that has just been sighted counts as alive: waiting for its first renewal would cost each topic of a new
/// cluster two seconds. If half of the brokers or more look dead at once the observer suspects itself: it may be cut
/// off, or too slow. Then a Lease that expired is not enough while its holder is not known to be silent, nor is silence
/// before the Lease has expired.
pub fn alive(brokers: &BTreeMap<BrokerId, Evidence>) -> BTreeSet<BrokerId> {
    let dead = brokers.values().filter(|evidence| judge(evidence) != Judgement::Alive).count();
    let suspicious = 2 * dead >= brokers.len();
    let is_alive = |evidence: &Evidence| match judge(evidence) {
        Judgement::Alive => true,
        Judgement::SeemsDead => suspicious,
        Judgement::Dead => false,
    };
    brokers.iter().filter(|(_, evidence)| is_alive(evidence)).map(|(id, _)| *id).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Alive,
    /// Unless it is the observer who is cut off or too slow.
    SeemsDead,
    Dead,
}

fn judge(evidence: &Evidence) -> Judgement {
    let Evidence { lease, ping, missed, pod } = evidence;
    match (lease, ping) {
        _ if *pod == Pod::Gone => Judgement::Dead,
        (_, Ping::Unasked | Ping::Silent) if *pod == Pod::Ended => Judgement::Dead,
        (Sight::Expired, Ping::Unasked | Ping::Answers) => Judgement::SeemsDead,
        (Sight::Released | Sight::Expired, _) | (_, Ping::Gone) => Judgement::Dead,
        (Sight::Overdue, Ping::Silent) => Judgement::SeemsDead,
        // Also while the Lease is unknown: the follower that misses its holder has been seen to renew since.
        (Sight::Unknown | Sight::Alive, Ping::Silent) if *missed => Judgement::SeemsDead,
        (Sight::Overdue, Ping::Unasked | Ping::Answers) => Judgement::Alive,
        (Sight::Unknown | Sight::Alive, Ping::Unasked | Ping::Answers | Ping::Silent) => Judgement::Alive,
    }
}

/// Brokers that a follower has missed while they were silent to the operator. They stay so until they answer the
/// operator: their followers soon follow somebody else, and say nothing of them any more.
#[derive(Debug, Default)]
pub struct Missed(BTreeSet<BrokerId>);

impl Missed {
    /// Takes note of whom followers miss now.
    pub fn note(&mut self, missed: impl IntoIterator<Item = BrokerId>, heard: &BTreeMap<BrokerId, Heard>) {
        self.0.extend(missed);
        self.0.retain(|id| heard.get(id) == Some(&Heard::Silent));
    }

    /// Whether it is one of them.
    pub fn contains(&self, id: BrokerId) -> bool {
        self.0.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_kube::lease::Sight::{Alive, Expired, Overdue, Released, Unknown};

    const WELL: Evidence = Evidence { lease: Alive, ping: Ping::Answers, missed: false, pod: Pod::Runs };

    /// Whether a broker is alive beside others.
    fn is_alive(evidence: Evidence, others: &[Evidence]) -> bool {
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
            ("stopping", Alive, Ping::Answers, Pod::Ends, true),
            ("its container has ended", Alive, Ping::Silent, Pod::Ended, false),
            ("it took its Lease by a clock that was set back", Alive, Ping::Answers, Pod::Ended, true),
            ("its pod is gone", Alive, Ping::Answers, Pod::Gone, false),
        ];
        for (story, lease, ping, pod, expected) in cases {
            assert_eq!(is_alive(Evidence { lease, ping, missed: false, pod }, &[WELL, WELL]), expected, "{story}");
        }
    }

    #[test]
    fn who_is_silent_and_missed_by_a_follower_need_not_be_late_with_its_lease() {
        let missed = |lease, ping| Evidence { lease, ping, missed: true, ..WELL };
        let frozen = missed(Alive, Ping::Silent);
        let cases = [
            ("frozen", frozen, &[WELL, WELL][..], false),
            ("cut off from a follower alone", missed(Alive, Ping::Answers), &[WELL, WELL], true),
            (
                "frozen with its operator, and another operator has just come",
                missed(Unknown, Ping::Silent),
                &[WELL, WELL],
                false,
            ),
            ("the operator was stalled, and so is another", missed(Unknown, Ping::Silent), &[frozen, WELL], true),
            ("so is another: the operator may be cut off", frozen, &[frozen, WELL], true),
            ("so is another, and the Lease is late", missed(Overdue, Ping::Silent), &[frozen, WELL], true),
            ("so is another, and the Lease has expired", missed(Expired, Ping::Silent), &[frozen, WELL], false),
            ("one of two", frozen, &[WELL], true),
        ];
        for (story, evidence, others, expected) in cases {
            assert_eq!(is_alive(evidence, others), expected, "{story}");
        }
    }

    #[test]
    fn who_was_missed_stays_so_until_it_answers() {
        let id = BrokerId(2);
        let heard = |what: Heard| BTreeMap::from([(id, what)]);
        let mut missed = Missed::default();
        missed.note([id], &heard(Heard::Answers));
        assert!(!missed.contains(id), "the operator hears it");
        missed.note([id], &heard(Heard::Silent));
        assert!(missed.contains(id));
        missed.note([], &heard(Heard::Silent));
        assert!(missed.contains(id), "it is followed no more");
        missed.note([], &heard(Heard::Answers));
        missed.note([], &heard(Heard::Silent));
        assert!(!missed.contains(id), "it has answered since");
    }

    #[test]
    fn when_half_look_dead_an_expired_lease_alone_is_not_enough() {
        let expired = |ping| Evidence { lease: Expired, ping, ..WELL };
        let (answers, silent) = (expired(Ping::Answers), expired(Ping::Silent));
        let late = Evidence { lease: Overdue, ping: Ping::Silent, ..WELL };
        let cases = [
            ("one of three", answers, &[WELL, WELL][..], false),
            ("two of three, and it answers", answers, &[answers, WELL], true),
            ("one of two, and it answers", answers, &[WELL], true),
            ("the only one, and it answers", answers, &[], true),
            ("all of three, and it does not answer", silent, &[silent, silent], false),
            ("all of three, and it was not asked", expired(Ping::Unasked), &[silent, silent], true),
            ("one of three is late and silent", late, &[WELL, WELL], false),
            ("all of three are: the operator's own network stalls", late, &[late, late], true),
            ("two of three are", late, &[late, WELL], true),
            ("all were stopped", Evidence { lease: Released, ..WELL }, &[answers, answers], false),
            ("all pods are gone", Evidence { pod: Pod::Gone, ..WELL }, &[answers, answers], false),
        ];
        for (story, evidence, others, expected) in cases {
            assert_eq!(is_alive(evidence, others), expected, "{story}");
        }
    }
}
