//! How an authority gets a new key while everybody keeps working.
//!
//! Trust comes first and goes last. Everybody trusts both keys before the first certificate is issued with the new one,
//! and nobody uses a certificate of the old one any more when it is dropped.

/// Whose certificates an authority issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of brokers: clients need time to trust the new key before a broker shows a certificate of it.
    Brokers,
    /// Those of users: clients need time to use their new certificates before the old key is dropped.
    Users,
}

/// An authority's keys, as its Secrets have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The generation of the key that issues certificates.
    pub issuing: i64,
    /// The generation of the other key that is trusted, and since when both are as they are, in seconds since 1970.
    /// `None`: no other key is trusted.
    pub other: Option<(i64, i64)>,
}

/// What everybody else has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Others {
    /// How long clients have to get truststores or certificates, in seconds.
    pub patience: i64,
    /// Whether every broker trusts what the Secrets say now.
    pub all_trust: bool,
    /// Whether every broker uses a certificate of the issuing key; true of the users' authority.
    pub all_renewed: bool,
}

/// What a rotation is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is one key.
    Steady,
    /// Both are trusted; brokers and clients learn of the new one.
    TrustBoth,
    /// New certificates are issued by the new key, and loaded.
    Renew,
}

impl Phase {
    /// Its name in the status.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Steady => "Steady",
            Phase::TrustBoth => "TrustBoth",
            Phase::Renew => "Renew",
        }
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// Make a key of this generation and trust it beside the present one.
    Trust(i64),
    /// Issue with the other key from now on.
    Issue,
    /// Trust the issuing key alone.
    Drop,
    /// Nothing, or to wait.
    Wait(Phase),
}

/// The next step of an authority whose spec wants this generation of its key.
pub fn step(whose: Whose, keys: Keys, wanted: i64, others: Others, now: i64) -> RotationStep {
    // A clock that was set back makes clients wait longer, never shorter.
    let had_time = |since: i64| now.saturating_sub(since) >= others.patience;
    match keys.other {
        None if wanted > keys.issuing => RotationStep::Trust(wanted),
        None => RotationStep::Wait(Phase::Steady),
        Some((other, since)) if other > keys.issuing => {
            if others.all_trust && (whose == Whose::Users || had_time(since)) {
                RotationStep::Issue
            } else {
                RotationStep::Wait(Phase::TrustBoth)
            }
        }
        Some((_, since)) => {
            if others.all_renewed && others.all_trust && (whose == Whose::Brokers || had_time(since)) {
                RotationStep::Drop
            } else {
                RotationStep::Wait(Phase::Renew)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: i64 = 7 * 24 * 3600;
    const ALL: Others = Others { patience: PATIENCE, all_trust: true, all_renewed: true };
    const NOW: i64 = 1_800_000_000;

    #[test]
    fn trust_comes_first_and_goes_last() {
        use RotationStep::Wait;
        use Whose::{Brokers, Users};
        let slow = Others { all_trust: false, ..ALL };
        let stale = Others { all_renewed: false, ..ALL };
        let one = Keys { issuing: 1, other: None };
        let both = Keys { issuing: 1, other: Some((2, NOW)) };
        let turned = Keys { issuing: 2, other: Some((1, NOW)) };
        let later = NOW + PATIENCE;
        for (story, whose, keys, wanted, others, now, expected) in [
            ("nothing to do", Brokers, one, 1, ALL, NOW, Wait(Phase::Steady)),
            ("a lower number is no order", Brokers, one, 0, ALL, NOW, Wait(Phase::Steady)),
            ("an order", Brokers, one, 2, ALL, NOW, RotationStep::Trust(2)),
            ("clients need time to trust it", Brokers, both, 2, ALL, later - 1, Wait(Phase::TrustBoth)),
            ("clients need no time for this one yet", Users, both, 2, ALL, NOW, RotationStep::Issue),
            ("a broker is behind", Brokers, both, 2, slow, later, Wait(Phase::TrustBoth)),
            ("the same, of users", Users, both, 2, slow, later, Wait(Phase::TrustBoth)),
            ("the clock was set back", Brokers, both, 2, ALL, NOW - 1, Wait(Phase::TrustBoth)),
            ("all trust both", Brokers, both, 2, stale, later, RotationStep::Issue),
            ("certificates are renewed", Brokers, turned, 2, stale, NOW, Wait(Phase::Renew)),
            ("a broker has not loaded its own", Brokers, turned, 2, slow, NOW, Wait(Phase::Renew)),
            ("all have new ones", Brokers, turned, 2, ALL, NOW, RotationStep::Drop),
            ("users may still use old ones", Users, turned, 2, ALL, later - 1, Wait(Phase::Renew)),
            ("users had time", Users, turned, 2, ALL, later, RotationStep::Drop),
            ("the next order waits for the end of this one", Brokers, turned, 3, stale, NOW, Wait(Phase::Renew)),
        ] {
            assert_eq!(step(whose, keys, wanted, others, now), expected, "{story}");
        }
    }

    #[test]
    fn at_no_time_is_a_certificate_in_use_that_somebody_does_not_trust() {
        // Brokers and clients get what was published some steps ago; every delay and every order of events.
        for delay in 0..4 {
            let (mut keys, mut now) = (Keys { issuing: 1, other: None }, NOW);
            let mut published: Vec<Vec<i64>> = vec![vec![1]];
            let mut in_use = vec![1];
            for round in 0..40 {
                let trusted = published[published.len().saturating_sub(1 + delay)].clone();
                assert!(
                    in_use.iter().all(|key| trusted.contains(key)),
                    "delay {delay}, round {round}: {in_use:?} {trusted:?}"
                );
                let all_trust = trusted == *published.last().unwrap();
                let all_renewed = in_use.iter().all(|key| *key == keys.issuing);
                match step(Whose::Brokers, keys, 2, Others { patience: PATIENCE, all_trust, all_renewed }, now) {
                    RotationStep::Trust(generation) => keys.other = Some((generation, now)),
                    RotationStep::Issue => keys = Keys { issuing: 2, other: Some((1, now)) },
                    RotationStep::Drop => keys.other = None,
                    RotationStep::Wait(Phase::Renew) if round % 2 == 0 => in_use = vec![keys.issuing],
                    RotationStep::Wait(_) => {}
                }
                let mut trust: Vec<i64> = keys.other.iter().map(|(key, _)| *key).chain([keys.issuing]).collect();
                trust.sort_unstable();
                published.push(trust);
                now += PATIENCE / 3;
            }
            assert_eq!((keys, in_use), (Keys { issuing: 2, other: None }, vec![2]), "delay {delay}");
        }
    }
}
