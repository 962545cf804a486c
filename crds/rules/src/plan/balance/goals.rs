//! The goals, in their order: what each broker should have of a load, and how far from it the broker may be.
//!
//! An even load is in proportion to capacity, as far as racks allow: a rack gets no more copies of a partition than
//! others because it has more brokers. Brokers that do not serve neither take nor give, but for a full disk.

use std::collections::BTreeMap;

use super::state::{Loads, Metric, PlannedCluster, Site};
use super::terms::{FULL_AFTER, FULL_RELIEVED, Mode, Purpose, Role};

/// How a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Another replica of the partition becomes its preferred leader: nothing is copied.
    Reorder,
    /// A replica moves to another broker.
    Copy,
}

/// What each site should have of one load.
pub(super) struct Goal {
    pub(super) metric: Metric,
    /// The ways to reach it, the cheapest first.
    pub(super) ways: &'static [Way],
    /// By site.
    pub(super) bands: Vec<Band>,
    pub(super) purpose: Purpose,
}

/// What a site should have of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Band {
    /// Below it, the site lacks something.
    pub(super) low: f64,
    /// Below it, the site may take; above it, it may give to those that lack something.
    pub(super) even: f64,
    /// Above it, the site gives.
    pub(super) high: f64,
}

impl Band {
    /// Of a site that neither takes nor gives.
    const CLOSED: Band = Band { low: f64::NEG_INFINITY, even: f64::NEG_INFINITY, high: f64::INFINITY };

    fn around(even: f64, part: f64, metric: Metric) -> Band {
        let (low, high) = (even * (1.0 - part), even * (1.0 + part));
        match metric {
            Metric::Replicas | Metric::Leaders => Band { low: low.floor(), even, high: high.ceil() },
            Metric::Bytes | Metric::In | Metric::Out => Band { low, even, high },
        }
    }

    /// How far a load is outside.
    pub(super) fn outside(&self, load: f64) -> f64 {
        (load - self.high).max(self.low - load).max(0.0)
    }

    /// Whether a load is less than the even one by more than twice what the band allows.
    pub(super) fn lacks_much(&self, load: f64) -> bool {
        self.low.is_finite() && load < self.even - 2.0 * (self.even - self.low)
    }

    /// A load in parts of the even one; 0 for a site that neither takes nor gives.
    pub(super) fn ratio(&self, load: f64) -> f64 {
        if self.even > 0.0 { load / self.even } else { 0.0 }
    }
}

/// The goals of a mode, the first first.
pub(super) fn of(state: &PlannedCluster<'_>, mode: &Mode) -> Vec<Goal> {
    let even = || Even::of(state);
    match mode {
        Mode::Evacuate => vec![disk(state, FULL_RELIEVED)],
        Mode::Leaders => {
            let even = even();
            vec![even.goal(Metric::Leaders, 0.10, &[Way::Reorder]), even.goal(Metric::Out, 0.10, &[Way::Reorder])]
        }
        Mode::Full | Mode::Fill { .. } => {
            let even = even();
            vec![
                disk(state, FULL_AFTER),
                even.goal(Metric::Replicas, 0.05, &[Way::Copy]),
                even.goal(Metric::Bytes, 0.10, &[Way::Copy]),
                even.goal(Metric::Leaders, 0.10, &[Way::Reorder, Way::Copy]),
                even.goal(Metric::In, 0.10, &[Way::Copy]),
                even.goal(Metric::Out, 0.10, &[Way::Reorder, Way::Copy]),
            ]
        }
    }
}

/// No disk is too full. A disk that is fuller than `relieved` gives until it is not fuller than [`FULL_AFTER`].
fn disk(state: &PlannedCluster<'_>, relieved: f64) -> Goal {
    let band = |site: &Site| {
        let (load, space) =
            (site.load[Metric::Bytes as usize], |part: f64| (site.capacity * part - site.other).max(0.0));
        let high = space(FULL_AFTER);
        match site.role {
            Some(Role::Serves) if load <= high => Band { low: f64::NEG_INFINITY, even: high, high },
            Some(Role::Serves | Role::Cordoned) if load > space(relieved) => Band { high, ..Band::CLOSED },
            None | Some(Role::Serves | Role::Cordoned | Role::Silent | Role::Leaves) => Band::CLOSED,
        }
    };
    let bands = state.sites.iter().map(band).collect();
    Goal { metric: Metric::Bytes, ways: &[Way::Copy], bands, purpose: Purpose::Disk }
}

/// What each site would have if the load were even; by site, `None` if the site does not serve.
struct Even(Vec<Option<Loads>>);

impl Even {
    fn of(state: &PlannedCluster<'_>) -> Self {
        let serving = || state.sites.iter().enumerate().filter(|(_, site)| site.takes());
        let mut racks: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut total = Loads::default();
        for (at, site) in serving() {
            racks.entry(site.rack).or_default().push(at);
            total.iter_mut().zip(site.load).for_each(|(total, load)| *total += load);
        }
        let (of_one, of_rack) = most(state, racks.len());
        let mut even: Vec<Option<Loads>> = state.sites.iter().map(|site| site.takes().then(Loads::default)).collect();
        for metric in Metric::ALL.map(|metric| metric as usize) {
            let weight = |site: &usize| state.sites[*site].weight;
            let by_rack: Vec<(f64, f64)> =
                racks.values().map(|sites| (sites.iter().map(weight).sum(), of_rack[metric])).collect();
            for (sites, share) in racks.values().zip(shares(total[metric], &by_rack)) {
                let by_site: Vec<(f64, f64)> = sites.iter().map(|site| (weight(site), of_one[metric])).collect();
                for (site, share) in sites.iter().zip(shares(share, &by_site)) {
                    if let Some(even) = &mut even[*site] {
                        even[metric] = share;
                    }
                }
            }
        }
        Self(even)
    }

    fn goal(&self, metric: Metric, part: f64, ways: &'static [Way]) -> Goal {
        let band = |even: &Option<Loads>| {
            even.as_ref().map_or(Band::CLOSED, |even| Band::around(even[metric as usize], part, metric))
        };
        Goal { metric, ways, bands: self.0.iter().map(band).collect(), purpose: Purpose::Balance }
    }
}

/// The most that one broker, and one of so many racks, can have: one copy of each partition, and as many as even racks
/// have.
fn most(state: &PlannedCluster<'_>, racks: usize) -> (Loads, Loads) {
    let (mut of_one, mut of_rack) = (Loads::default(), Loads::default());
    for part in 0..state.parts.len() {
        let copies = state.parts[part].wanted.len().div_ceil(racks.max(1)) as f64;
        for (metric, load) in Metric::ALL.into_iter().zip(state.load_of(part, 0)) {
            let at = metric as usize;
            of_one[at] += load;
            // A partition has one leader, in whichever rack.
            of_rack[at] += match metric {
                Metric::Replicas | Metric::Bytes | Metric::In => load * copies,
                Metric::Leaders | Metric::Out => load,
            };
        }
    }
    (of_one, of_rack)
}

/// Divides a total in proportion to weights, but gives nobody more than its most: (weight, most) of each.
fn shares(total: f64, among: &[(f64, f64)]) -> Vec<f64> {
    let mut shares: Vec<Option<f64>> = vec![None; among.len()];
    loop {
        let open = || among.iter().zip(&shares).filter(|(_, share)| share.is_none()).map(|(part, _)| part.0);
        let rest = total - shares.iter().flatten().sum::<f64>();
        let per_weight = rest / open().sum::<f64>();
        let over: Vec<usize> =
            (0..among.len()).filter(|at| shares[*at].is_none() && among[*at].0 * per_weight > among[*at].1).collect();
        if over.is_empty() {
            let share = |(at, share): (usize, &Option<f64>)| share.unwrap_or(among[at].0 * per_weight);
            return shares.iter().enumerate().map(share).collect();
        }
        over.into_iter().for_each(|at| shares[at] = Some(among[at].1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_can_not_take_the_others_share() {
        let any = f64::INFINITY;
        for (total, among, shared) in [
            (12.0, &[(1.0, any), (2.0, any)][..], &[4.0, 8.0][..]),
            (12.0, &[(1.0, any), (2.0, 5.0)], &[7.0, 5.0]),
            (12.0, &[(1.0, 4.0), (1.0, 4.0), (4.0, 4.0)], &[4.0, 4.0, 4.0]),
            (12.0, &[(1.0, 3.0), (1.0, 3.0)], &[3.0, 3.0]),
            (0.0, &[(1.0, any)], &[0.0]),
            (1.0, &[], &[]),
        ] {
            assert_eq!(shares(total, among), shared, "{total} among {among:?}");
        }
    }

    #[test]
    fn a_band_of_whole_numbers_has_room_for_one_more_and_one_less() {
        let of = |even, part, metric| Band::around(even, part, metric);
        assert_eq!(of(10.0, 0.05, Metric::Replicas), Band { low: 9.0, even: 10.0, high: 11.0 });
        assert_eq!(of(10.0, 0.10, Metric::Bytes), Band { low: 9.0, even: 10.0, high: 11.0 });
        assert_eq!(of(2.5, 0.10, Metric::Leaders), Band { low: 2.0, even: 2.5, high: 3.0 });
    }
}
