//! The heuristic: shifts load from brokers above their band to those below the even load, then to brokers below their
//! band from those above the even load. The best gain per copied byte comes first.
//!
//! Always: each step brings the brokers nearer to the goal's band, and takes neither farther from the band of an
//! earlier goal; no partition gets a larger crowd. So it ends, and the next plan has nothing to do.

use std::rc::Rc;

use super::goals::{Goal, Way};
use super::state::{Loads, Metric, PlannedCluster};

/// A giver whose partitions so many times in a row found no taker finds none.
const FRUITLESS: usize = 2_000;
/// How many replicas are tried for an exchange.
const MOST_EXCHANGES: usize = 100;
/// What adds less than this part of what a giver's replicas have on average is not worth a reassignment.
const NEGLIGIBLE: f64 = 0.1;

/// Takes steps towards the last of `goals`; the others are earlier ones. Returns whether there was any.
pub(super) fn shift(state: &mut PlannedCluster<'_>, goals: &[Goal], way: Way, may_take: &[bool]) -> bool {
    let Some(goal) = goals.last() else { return false };
    let mut shift = Shift { state, goals, goal, way, may_take, held: Vec::new(), offers: Vec::new(), steps: 0 };
    let outside = |shift: &Shift<'_, '_>, site: usize| goal.bands[site].outside(shift.load(site));
    let mut sites: Vec<usize> = (0..goal.bands.len()).filter(|site| outside(&shift, *site) > 0.0).collect();
    if sites.is_empty() {
        return false;
    }
    shift.held = shift.holders();
    shift.offers = vec![[None, None]; shift.held.len()];
    sites.sort_by(|one, other| shift.ratio(*other).total_cmp(&shift.ratio(*one)));
    for site in &sites {
        shift.relieve(*site);
        shift.exchange(*site);
    }
    for site in sites.iter().rev().filter(|site| may_take[**site]) {
        shift.fill(*site);
    }
    shift.steps > 0
}

/// Partitions that a site could give, with their gains.
type Offers = Rc<[(usize, f64)]>;

/// The order in which offers are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The best gain per byte first: for those that fit in what a site has too much or too little of.
    Best,
    /// The least gain first: for those that do not fit.
    Least,
}

impl Order {
    fn fits(self) -> bool {
        self == Order::Best
    }
}

struct Shift<'s, 'a> {
    state: &'s mut PlannedCluster<'a>,
    goals: &'s [Goal],
    goal: &'s Goal,
    way: Way,
    may_take: &'s [bool],
    /// By site: the partitions that it could give when the shift began.
    held: Vec<Vec<usize>>,
    /// By site and order: what it could give when it was first asked.
    offers: Vec<[Option<Offers>; 2]>,
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

    /// What a site could give, with its gain: the best gain per byte first, or the least gain first.
    fn offers(&mut self, from: usize, order: Order) -> Offers {
        if let Some(offers) = &self.offers[from][order as usize] {
            return offers.clone();
        }
        let mut offers: Vec<(f64, f64, usize)> = Vec::with_capacity(self.held[from].len());
        for part in &self.held[from] {
            let Some(gain) = self.gain(*part, from) else { continue };
            let bytes = 1.0 + self.state.parts[*part].source.load.bytes as f64;
            let best = match (self.way, self.goal.metric) {
                // Nothing is copied; or a byte gains a byte: the fewest moves are the best.
                (Way::Reorder, _) | (Way::Copy, Metric::Bytes) => gain,
                (Way::Copy, Metric::Replicas | Metric::Leaders | Metric::In | Metric::Out) => gain / bytes,
            };
            offers.push((best, gain, *part));
        }
        let least = NEGLIGIBLE * offers.iter().map(|(_, gain, _)| gain).sum::<f64>() / offers.len().max(1) as f64;
        offers.retain(|(_, gain, _)| *gain >= least);
        offers.sort_unstable_by(|one, other| {
            let first = match order {
                Order::Best => other.0.total_cmp(&one.0).then(other.1.total_cmp(&one.1)),
                Order::Least => one.1.total_cmp(&other.1),
            };
            first.then(one.2.cmp(&other.2))
        });
        let offers: Offers = offers.into_iter().map(|(_, gain, part)| (part, gain)).collect();
        self.offers[from][order as usize] = Some(offers.clone());
        offers
    }

    /// A site above its band gives: first what fits in the excess, then the least that does not.
    fn relieve(&mut self, from: usize) {
        let high = self.goal.bands[from].high;
        for order in [Order::Best, Order::Least] {
            if self.load(from) <= high {
                return;
            }
            let mut fruitless = 0;
            for (part, gain) in self.offers(from, order).iter() {
                let excess = self.load(from) - high;
                if excess <= 0.0 || fruitless > FRUITLESS || !self.may_change(from, -1.0) {
                    break;
                }
                if (*gain <= excess) != order.fits() || self.gain(*part, from).is_none() {
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

    /// A site above its band that can give no replica more, because the number of replicas is a goal, too, gives large
    /// ones for small ones. Both are copied, so a small one has at most a tenth of the bytes.
    fn exchange(&mut self, from: usize) {
        const SMALL: f64 = 0.1;
        let is_of_bytes = self.way == Way::Copy && self.goal.metric == Metric::Bytes;
        if !is_of_bytes || !self.may_take[from] {
            return;
        }
        let high = self.goal.bands[from].high;
        let (offers, mut fruitless) = (self.offers(from, Order::Best), 0);
        for (large, gain) in offers.iter() {
            if self.load(from) <= high || fruitless > MOST_EXCHANGES {
                break;
            }
            let takes = |to: &usize| self.load(*to) < self.goal.bands[*to].even && self.may_exchange(*large, from, *to);
            let least = |one: &usize, other: &usize| self.ratio(*one).total_cmp(&self.ratio(*other));
            let Some(to) = (0..self.may_take.len()).filter(takes).min_by(least) else { continue };
            let Some(given) = self.given(*large, from) else { continue };
            let smalls = self.offers(to, Order::Least);
            let small = smalls.iter().take(MOST_EXCHANGES).find(|(small, back)| {
                let returned = self.given(*small, to).filter(|_| *back <= SMALL * gain);
                returned.filter(|_| self.may_exchange(*small, to, from)).is_some_and(|returned| {
                    let mut net = given;
                    net.iter_mut().zip(returned).for_each(|(net, returned)| *net -= returned);
                    self.helps(&net, from, to)
                })
            });
            match small {
                Some((small, _)) => {
                    self.step(*large, from, to);
                    self.step(*small, to, from);
                }
                None => fruitless += 1,
            }
        }
    }

    /// Whether a replica may move, if another one comes back.
    fn may_exchange(&self, part: usize, from: usize, to: usize) -> bool {
        let wanted = &self.state.parts[part].wanted;
        let is_here = wanted.contains(&from) && !wanted.contains(&to);
        is_here && self.may_take[to] && self.crowd(to, wanted, from) <= self.crowd(from, wanted, from)
    }

    /// A site below its band takes from those above the even load, first from the one with the greatest ratio.
    fn fill(&mut self, to: usize) {
        let low = self.goal.bands[to].low;
        for order in [Order::Best, Order::Least] {
            if self.load(to) >= low {
                return;
            }
            // Each giver, what it offers, and how many of its offers were looked at.
            let mut givers: Vec<(usize, Offers, usize)> = Vec::new();
            for from in (0..self.held.len()).filter(|from| *from != to) {
                if self.ratio(from) > 1.0 {
                    givers.push((from, self.offers(from, order), 0));
                }
            }
            while self.load(to) < low && self.may_change(to, 1.0) {
                givers.retain(|(from, offers, looked)| {
                    self.ratio(*from) > 1.0 && *looked < offers.len() && self.may_change(*from, -1.0)
                });
                let greatest = givers.iter_mut().max_by(|one, other| self.ratio(one.0).total_cmp(&self.ratio(other.0)));
                let Some((from, offers, looked)) = greatest else { break };
                let lack = low - self.load(to);
                let suits =
                    |(part, gain): &(usize, f64)| (*gain <= lack) == order.fits() && self.is_allowed(*part, *from, to);
                let found = offers[*looked..].iter().position(suits);
                *looked += found.map_or(offers.len() - *looked, |at| at + 1);
                if found.is_some() {
                    let (part, _) = offers[*looked - 1];
                    self.step(part, *from, to);
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

    /// Whether a site can give a replica, or take one, as far as only the number of replicas counts: that is the same
    /// for all of them.
    fn may_change(&self, site: usize, by: f64) -> bool {
        let of_replicas = self.goals.iter().filter(|goal| goal.metric == Metric::Replicas && self.way == Way::Copy);
        let load = self.state.sites[site].load[Metric::Replicas as usize];
        of_replicas.map(|goal| goal.bands[site]).all(|band| band.outside(load + by) <= band.outside(load))
    }

    fn is_allowed(&self, part: usize, from: usize, to: usize) -> bool {
        if !self.may_take[to] || from == to || !self.may_change(to, 1.0) {
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
