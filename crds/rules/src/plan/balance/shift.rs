//! The heuristic: shifts load from brokers above their band to those below the even load, then to brokers below their
//! band from those above the even load. The best gain per copied byte comes first.
//!
//! Always: each step brings the brokers nearer to the goal's band, and takes neither farther from the band of an
//! earlier goal; no partition gets a larger crowd. So it ends, and the next plan has nothing to do.

use super::goals::{Goal, Way};
use super::state::{Loads, Metric, State};

/// A giver whose partitions so many times in a row found no taker finds none.
const FRUITLESS: usize = 2_000;
/// What adds less than this part of what a giver's replicas have on average is not worth a reassignment.
const NEGLIGIBLE: f64 = 0.1;

/// Takes steps towards the last of `goals`; the others are earlier ones. Returns whether there was any.
pub(super) fn shift(state: &mut State<'_>, goals: &[Goal], way: Way, may_take: &[bool]) -> bool {
    let Some(goal) = goals.last() else { return false };
    let mut shift = Shift { state, goals, goal, way, may_take, held: Vec::new(), steps: 0 };
    let outside = |shift: &Shift<'_, '_>, site: usize| goal.bands[site].outside(shift.load(site));
    let mut sites: Vec<usize> = (0..goal.bands.len()).filter(|site| outside(&shift, *site) > 0.0).collect();
    if sites.is_empty() {
        return false;
    }
    shift.held = shift.holders();
    sites.sort_by(|one, other| shift.ratio(*other).total_cmp(&shift.ratio(*one)));
    for site in &sites {
        shift.relieve(*site);
    }
    for site in sites.iter().rev().filter(|site| may_take[**site]) {
        shift.fill(*site);
    }
    shift.steps > 0
}

struct Shift<'s, 'a> {
    state: &'s mut State<'a>,
    goals: &'s [Goal],
    goal: &'s Goal,
    way: Way,
    may_take: &'s [bool],
    /// By site: the partitions that it could give when the shift began.
    held: Vec<Vec<usize>>,
    steps: usize,
}

impl Shift<'_, '_> {
    fn load(&self, site: usize) -> f64 {
        self.state.sites[site].load[self.goal.metric as usize]
    }

    fn ratio(&self, site: usize) -> f64 {
        self.goal.bands[site].ratio(self.load(site))
    }

    fn holders(&self) -> Vec<Vec<usize>> {
        let mut held = vec![Vec::new(); self.state.sites.len()];
        for (at, part) in self.state.parts.iter().enumerate().filter(|(_, part)| !part.is_fixed()) {
            let givers = match self.way {
                Way::Reorder => &part.wanted[..part.wanted.len().min(1)],
                Way::Copy => &part.wanted[..],
            };
            givers.iter().for_each(|site| held[*site].push(at));
        }
        held
    }

    /// What a partition's step takes from a site; `None`: the site can not give it (any more).
    fn given(&self, part: usize, from: usize) -> Option<Loads> {
        let position = self.state.parts[part].wanted.iter().position(|site| *site == from)?;
        match self.way {
            Way::Copy => Some(self.state.load_of(part, position)),
            Way::Reorder if position > 0 => None,
            Way::Reorder => {
                let mut led = self.state.load_of(part, position);
                let follows = self.state.load_of(part, 1);
                led.iter_mut().zip(follows).for_each(|(led, follows)| *led -= follows);
                Some(led)
            }
        }
    }

    fn gain(&self, part: usize, from: usize) -> Option<f64> {
        self.given(part, from).map(|given| given[self.goal.metric as usize]).filter(|gain| *gain > 0.0)
    }

    /// What a site could give, with its gain: the best gain per byte first.
    fn offers(&self, from: usize) -> Vec<(usize, f64)> {
        let gain = |part: &usize| Some((*part, self.gain(*part, from)?));
        let mut offers: Vec<(usize, f64)> = self.held[from].iter().filter_map(gain).collect();
        let least = NEGLIGIBLE * offers.iter().map(|(_, gain)| gain).sum::<f64>() / offers.len().max(1) as f64;
        offers.retain(|(_, gain)| *gain >= least);
        let per_byte = |(part, gain): &(usize, f64)| match self.way {
            Way::Copy => gain / (1.0 + self.state.parts[*part].source.load.bytes as f64),
            Way::Reorder => 0.0,
        };
        let best = |one: &(usize, f64), other: &(usize, f64)| {
            let by_byte = per_byte(other).total_cmp(&per_byte(one));
            by_byte.then(other.1.total_cmp(&one.1)).then(one.0.cmp(&other.0))
        };
        match self.goal.metric {
            // A byte gains a byte: the fewest moves are the best.
            Metric::Bytes => offers.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0))),
            Metric::Replicas | Metric::Leaders | Metric::In | Metric::Out => offers.sort_by(best),
        }
        offers
    }

    /// A site above its band gives: first what fits in the excess, then the least that does not.
    fn relieve(&mut self, from: usize) {
        let high = self.goal.bands[from].high;
        if self.load(from) <= high {
            return;
        }
        let mut offers = self.offers(from);
        for fits in [true, false] {
            if !fits {
                offers.sort_by(|one, other| one.1.total_cmp(&other.1));
            }
            let mut fruitless = 0;
            for (part, gain) in &offers {
                let excess = self.load(from) - high;
                if excess <= 0.0 || fruitless > FRUITLESS {
                    break;
                }
                if (*gain <= excess) != fits || self.gain(*part, from).is_none() {
                    continue;
                }
                match self.taker(*part, from) {
                    Some(to) => {
                        self.step(*part, from, to);
                        fruitless = 0;
                    }
                    None => fruitless += 1,
                }
            }
        }
    }

    /// A site below its band takes from those above the even load, first from the one with the greatest ratio.
    fn fill(&mut self, to: usize) {
        let low = self.goal.bands[to].low;
        for fits in [true, false] {
            let mut givers: Vec<(usize, std::vec::IntoIter<(usize, f64)>)> = Vec::new();
            if self.load(to) >= low {
                return;
            }
            for from in (0..self.held.len()).filter(|from| *from != to && self.ratio(*from) > 1.0) {
                let mut offers = self.offers(from);
                if !fits {
                    offers.sort_by(|one, other| one.1.total_cmp(&other.1));
                }
                givers.push((from, offers.into_iter()));
            }
            while self.load(to) < low {
                givers.retain(|(from, offers)| self.ratio(*from) > 1.0 && offers.len() > 0);
                let greatest = givers.iter_mut().max_by(|one, other| self.ratio(one.0).total_cmp(&self.ratio(other.0)));
                let Some((from, offers)) = greatest else { break };
                let from = *from;
                let lack = low - self.load(to);
                let wanted = offers
                    .take(FRUITLESS)
                    .find(|(part, gain)| (*gain <= lack) == fits && self.is_allowed(*part, from, to));
                if let Some((part, _)) = wanted {
                    self.step(part, from, to);
                }
            }
        }
    }

    /// The site below the even load, with the least ratio, that may take a partition.
    fn taker(&self, part: usize, from: usize) -> Option<usize> {
        let takes = |to: &usize| self.load(*to) < self.goal.bands[*to].even && self.is_allowed(part, from, *to);
        let least = |one: &usize, other: &usize| self.ratio(*one).total_cmp(&self.ratio(*other));
        match self.way {
            Way::Reorder => self.state.parts[part].wanted.iter().copied().filter(takes).min_by(least),
            Way::Copy => (0..self.may_take.len()).filter(takes).min_by(least),
        }
    }

    fn is_allowed(&self, part: usize, from: usize, to: usize) -> bool {
        if !self.may_take[to] || from == to {
            return false;
        }
        let Some(given) = self.given(part, from) else { return false };
        let wanted = &self.state.parts[part].wanted;
        let is_possible = match self.way {
            Way::Reorder => wanted.contains(&to),
            Way::Copy => !wanted.contains(&to) && self.crowd(to, wanted, from) <= self.crowd(from, wanted, from),
        };
        is_possible && self.helps(&given, from, to)
    }

    /// The crowd that a partition's replica would have on a site, without the one on `from`.
    fn crowd(&self, site: usize, wanted: &[usize], from: usize) -> (usize, usize) {
        // A site is in its own rack and on its own node.
        let (own_rack, own_node) = self.state.crowd(site, &[from]);
        let (in_rack, on_node) = self.state.crowd(site, wanted);
        (in_rack - own_rack, on_node - own_node)
    }

    /// Whether a step brings both sites nearer to the goal, and neither farther from an earlier one.
    fn helps(&self, given: &Loads, from: usize, to: usize) -> bool {
        let mut nearer = 0.0;
        for goal in self.goals {
            let at = goal.metric as usize;
            let by = |site: usize, delta: f64| {
                let load = self.state.sites[site].load[at];
                goal.bands[site].outside(load) - goal.bands[site].outside(load + delta)
            };
            let (giver, taker) = (by(from, -given[at]), by(to, given[at]));
            if giver < 0.0 || taker < 0.0 {
                return false;
            }
            nearer = giver + taker;
        }
        nearer > 0.0
    }

    fn step(&mut self, part: usize, from: usize, to: usize) {
        let mut wanted = self.state.parts[part].wanted.clone();
        let Some(at) = wanted.iter().position(|site| *site == from) else { return };
        match self.way {
            Way::Copy => wanted[at] = to,
            Way::Reorder => {
                let Some(other) = wanted.iter().position(|site| *site == to) else { return };
                wanted.swap(at, other);
            }
        }
        self.state.replace(part, wanted, self.goal.purpose);
        self.steps += 1;
    }
}
