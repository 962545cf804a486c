//! What a leader knows of its followers, and what follows from it: the high watermark, who is in sync, who should be.
//!
//! Values in, values out; the rules themselves are `ottla_rules::assignment`'s. Always: a change of the ISR that was
//! asked for counts (the maximal ISR) until an image shows what became of it; no time-out takes it back.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_rules::assignment::{self as rules, Follower, Leader, Position, maximal_isr};

use crate::env::Instant;
use crate::image::{Assignment, BrokerId, Incarnation, IsrMember, LeaderEpoch, Me};

/// How long clients may take to send to a new leader what they had sent to the one before.
const NEWS_OF_A_LEADER: Duration = Duration::from_secs(10);

/// How many offsets beyond the log are remembered that clients have asked for.
const DOUBTS: usize = 16;

/// One leader epoch of a partition, as its leader sees it.
#[derive(Debug)]
pub struct Leadership {
    me: Me,
    /// The newest assignment seen.
    committed: Assignment,
    /// The assignment that was asked for, while nobody knows whether it was written.
    proposed: Option<Assignment>,
    /// It was asked for by a process that is gone: somebody must ask again.
    orphaned: bool,
    /// The members of both.
    maximal: Vec<IsrMember>,
    surroundings: Surroundings,
    began: Instant,
    led_since: LedSince,
    /// The offset at which this leader epoch starts.
    epoch_start: i64,
    /// How far followers have got in this leader epoch.
    positions: BTreeMap<BrokerId, Position>,
    paces: BTreeMap<BrokerId, Pace>,
    /// How many requests of each follower have come in this leader epoch.
    requests: BTreeMap<BrokerId, u64>,
    /// Offsets beyond the log that clients have asked for, and `requests` when they did.
    doubts: BTreeMap<i64, BTreeMap<BrokerId, u64>>,
    gives_way: bool,
    /// Whether it gave way when [`Leadership::give_way`] was asked last.
    gave_way: bool,
}

/// Since when a broker leads without a break: from one leader epoch to the next while a replica leaves, for instance.
/// Nobody else has written to the log meanwhile, and nothing of it was cut off. Nobody else has acted as its
/// coordinator either: partitions refuse the markers of one whose epoch is older than another's that they have heard.
#[derive(Clone, Copy, Debug)]
pub struct LedSince {
    leader_epoch: LeaderEpoch,
    began: Instant,
}

/// What the image shows beside the assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Replicas on brokers whose Leases are not renewed.
    pub dead: Vec<BrokerId>,
    /// Replicas on brokers that asked to lead nothing.
    pub draining: Vec<BrokerId>,
    /// `replica.lag.time.max.ms`.
    pub max_lag: Duration,
}

/// Whether a follower keeps up, by Kafka's measure.
#[derive(Clone, Copy, Debug)]
struct Pace {
    fetched: Instant,
    /// The log end at that time: a later fetch from there shows that the follower was caught up then.
    log_end: i64,
    caught_up: Option<Instant>,
    /// Where its log begins; −1: it has not said.
    log_start: i64,
}

/// The moment at which the followers are looked at.
#[derive(Clone, Copy, Debug)]
pub struct LeaderSnapshot {
    /// Now.
    pub now: Instant,
    /// The leader's log end.
    pub log_end: i64,
    /// The leader's high watermark.
    pub high_watermark: i64,
    /// Where the leader's log begins.
    pub log_start: i64,
    /// `min.insync.replicas`.
    pub min_in_sync: usize,
}

impl Leadership {
    /// The epoch of `committed` begins at `epoch_start`.
    pub fn new(
        me: Me,
        committed: Assignment,
        surroundings: Surroundings,
        epoch_start: i64,
        now: Instant,
    ) -> Leadership {
        let maximal = committed.isr.clone();
        let (positions, paces) = (BTreeMap::new(), BTreeMap::new());
        let led_since = LedSince { leader_epoch: committed.leader_epoch, began: now };
        Leadership {
            me,
            committed,
            proposed: None,
            orphaned: false,
            maximal,
            surroundings,
            began: now,
            led_since,
            epoch_start,
            positions,
            paces,
            requests: BTreeMap::new(),
            doubts: BTreeMap::new(),
            gives_way: false,
            gave_way: false,
        }
    }

    /// The leader epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.committed.leader_epoch
    }

    /// The epoch is the next one after one that this broker led until now.
    pub fn lead_on(&mut self, led_since: LedSince) {
        self.led_since = led_since;
    }

    /// Since when this broker leads without a break.
    pub fn led_since(&self) -> LedSince {
        self.led_since
    }

    /// Whether this broker leads without a break since it led in `epoch`.
    pub fn has_led_since(&self, epoch: LeaderEpoch) -> bool {
        (self.led_since.leader_epoch..=self.epoch()).contains(&epoch)
    }

    /// Whether clients may not have heard yet that another broker led before.
    pub fn took_over_lately(&self, now: Instant) -> bool {
        let LedSince { leader_epoch, began } = self.led_since;
        leader_epoch > LeaderEpoch::FIRST && now.duration_since(began) < NEWS_OF_A_LEADER
    }

    /// The offset at which it starts: nothing is known to be committed before the high watermark has passed that.
    pub fn epoch_start(&self) -> i64 {
        self.epoch_start
    }

    /// The newest assignment seen.
    pub fn assignment(&self) -> &Assignment {
        &self.committed
    }

    /// A newer assignment of the same leader epoch.
    pub fn learn(&mut self, committed: &Assignment) {
        self.committed.clone_from(committed);
        // At this partition epoch either the proposal was written or something else was: it can't be written any more.
        self.proposed.take_if(|proposed| proposed.partition_epoch <= committed.partition_epoch);
        self.positions.retain(|broker, _| committed.replicas.contains(broker));
        self.paces.retain(|broker, _| committed.replicas.contains(broker));
        self.count_maximal();
    }

    /// The image shows other surroundings.
    pub fn set_surroundings(&mut self, surroundings: Surroundings) {
        self.surroundings = surroundings;
    }

    fn count_maximal(&mut self) {
        let proposed = self.proposed.as_ref().map(|proposed| proposed.isr.as_slice());
        self.maximal = maximal_isr(&self.committed.isr, proposed);
    }

    /// A follower, with the content named by `incarnation`, has everything before `offset`.
    pub fn fetched(&mut self, broker: BrokerId, incarnation: Incarnation, offset: i64, log_end: i64, now: Instant) {
        let before = self.positions.insert(broker, Position { incarnation, fetched_to: offset });
        let same = before.is_some_and(|before| before.incarnation == incarnation);
        let last = self.paces.get(&broker).filter(|_| same);
        let caught_up = match last {
            _ if offset >= log_end => Some(now),
            Some(last) if offset >= last.log_end => Some(last.fetched),
            last => last.and_then(|last| last.caught_up),
        };
        let log_start = last.map_or(-1, |last| last.log_start);
        self.paces.insert(broker, Pace { fetched: now, log_end, caught_up, log_start });
        self.gives_way = false;
    }

    /// A follower sends another request.
    pub fn asks(&mut self, broker: BrokerId) {
        *self.requests.entry(broker).or_default() += 1;
    }

    /// Whether no broker's log has this offset, which is beyond this one's; false while another broker may lead. A
    /// leader that stood still does not know of its successor, whose records clients have read meanwhile. With
    /// OFFSET_OUT_OF_RANGE, which Kafka answers, such a client would reset its position: it would read everything
    /// again, or skip records. Another broker could lead only if it is in sync: when each of those has sent two
    /// requests in this epoch since a client asked, the second of them was sent after that. Until then the client asks
    /// again.
    pub fn is_beyond_every_log(&mut self, offset: i64) -> bool {
        let others = || self.maximal.iter().map(|member| member.broker).filter(|broker| *broker != self.me.id);
        let requests = |broker| self.requests.get(&broker).copied().unwrap_or_default();
        if let Some(before) = self.doubts.get(&offset) {
            let has_answered = |broker| before.get(&broker).is_some_and(|before| requests(broker) >= before + 2);
            let have_answered = others().all(has_answered);
            if have_answered {
                self.doubts.remove(&offset);
            }
            return have_answered;
        }
        let now: BTreeMap<BrokerId, u64> = others().map(|broker| (broker, requests(broker))).collect();
        if now.is_empty() {
            return true;
        }
        if self.doubts.len() >= DOUBTS {
            self.doubts.pop_first();
        }
        self.doubts.insert(offset, now);
        false
    }

    /// The log of a follower that has fetched begins there.
    pub fn begins_at(&mut self, broker: BrokerId, log_start: i64) {
        if let Some(pace) = self.paces.get_mut(&broker) {
            pace.log_start = log_start;
        }
    }

    /// Where the log of every member begins, or later, with this log start of the leader; −1 while one has not said.
    pub fn low_watermark(&self, log_start: i64) -> i64 {
        let followers = self.maximal.iter().filter(|member| member.broker != self.me.id);
        let log_starts = followers.map(|member| {
            let position = self.positions.get(&member.broker).filter(|p| p.incarnation == member.incarnation);
            position.and_then(|_| self.paces.get(&member.broker)).map_or(-1, |pace| pace.log_start)
        });
        log_starts.fold(log_start, i64::min)
    }

    /// Whether `broker` holds a replica, as far as is known here.
    pub fn is_follower(&self, broker: BrokerId) -> bool {
        broker != self.me.id && self.committed.replicas.contains(&broker)
    }

    /// Whether the high watermark waits for this member: it is in sync, or may be by now.
    pub fn waits_for(&self, member: IsrMember) -> bool {
        self.maximal.contains(&member)
    }

    /// See [`rules::high_watermark`]; it stands still while the committed ISR is below its floor, too.
    pub fn high_watermark(&self, current: i64, log_end: i64, min_in_sync: usize) -> i64 {
        let floor = self.committed.floor(min_in_sync);
        if self.committed.isr.len() < floor {
            return current;
        }
        rules::high_watermark(current, log_end, self.me.id, &self.maximal, &self.positions, floor)
    }

    /// Whether as many in-sync members as acks=all needs are there and keep up.
    pub fn has_enough_in_sync(&self, snapshot: &LeaderSnapshot) -> bool {
        let keeps_up = |member: &&IsrMember| {
            member.broker == self.me.id
                || (!self.surroundings.dead.contains(&member.broker)
                    && self.behind_for(member, snapshot) <= self.surroundings.max_lag)
        };
        self.committed.isr.iter().filter(keeps_up).count() >= self.committed.floor(snapshot.min_in_sync)
    }

    /// Since when a member has not been at the log end; an entry of other content than what fetches never was.
    fn behind_for(&self, member: &IsrMember, snapshot: &LeaderSnapshot) -> Duration {
        let position = self.positions.get(&member.broker).filter(|p| p.incarnation == member.incarnation);
        if position.is_some_and(|position| position.fetched_to >= snapshot.log_end) {
            return Duration::ZERO;
        }
        let pace = position.and_then(|_| self.paces.get(&member.broker));
        snapshot.now.duration_since(pace.and_then(|pace| pace.caught_up).unwrap_or(self.began))
    }

    /// The next change of the ISR, if one is due: members that lag behind leave, replicas that have caught up join. One
    /// at a time; see `Assignment::shrink` and `Assignment::expand`.
    pub fn isr_change(&self, snapshot: &LeaderSnapshot) -> Option<Assignment> {
        let leader = self.as_leader(snapshot.high_watermark, snapshot.log_start);
        let shrunk = self.committed.isr.iter().find_map(|member| {
            let behind_for = self.behind_for(member, snapshot);
            self.committed
                .shrink(&leader, member.broker, behind_for, self.surroundings.max_lag, snapshot.min_in_sync)
                .ok()
        });
        shrunk.or_else(|| self.positions.keys().find_map(|broker| self.with(*broker, &leader)))
    }

    /// Whether what `broker` has fetched lets it join the ISR.
    pub fn may_join(&self, broker: BrokerId, high_watermark: i64, log_start: i64) -> bool {
        self.with(broker, &self.as_leader(high_watermark, log_start)).is_some()
    }

    fn with(&self, broker: BrokerId, leader: &Leader) -> Option<Assignment> {
        let position = self.positions.get(&broker)?;
        let follower = Follower {
            broker,
            incarnation: position.incarnation,
            // Positions of former epochs are forgotten.
            leader_epoch: self.epoch(),
            log_end: position.fetched_to,
            // One that has not said where its log begins has deleted nothing.
            log_start: self.paces.get(&broker).map_or(0, |pace| pace.log_start.max(0)),
            leaving: self.surroundings.dead.contains(&broker) || self.surroundings.draining.contains(&broker),
        };
        self.committed.expand(leader, &follower).ok()
    }

    fn as_leader(&self, high_watermark: i64, log_start: i64) -> Leader {
        Leader {
            broker: self.me.id,
            incarnation: self.me.incarnation,
            leader_epoch: self.epoch(),
            epoch_start: self.epoch_start,
            high_watermark,
            log_start,
            write_in_flight: self.proposed.is_some(),
        }
    }

    /// The in-sync follower among `near` that has got furthest, if it has what comes at `offset`.
    pub fn furthest_in_sync(&self, offset: i64, near: impl Fn(BrokerId) -> bool) -> Option<BrokerId> {
        let others = self.committed.isr.iter().filter(|member| member.broker != self.me.id && near(member.broker));
        let there = others.filter(|member| !self.surroundings.dead.contains(&member.broker)).filter_map(|member| {
            let position = self.positions.get(&member.broker)?;
            let has_it = position.incarnation == member.incarnation && position.fetched_to >= offset;
            has_it.then_some((position.fetched_to, member.broker))
        });
        there.max().map(|(_, broker)| broker)
    }

    /// From now on `next` may be written at any time.
    pub fn propose(&mut self, next: Assignment) {
        self.proposed = Some(next);
        self.count_maximal();
    }

    /// A former process of this broker has asked for `undecided`: it may be written, or may be yet.
    pub fn inherit(&mut self, undecided: Assignment) {
        self.propose(undecided);
        self.orphaned = true;
    }

    /// What is to be asked for again, once; `None`: nothing.
    pub fn adopt_orphan(&mut self) -> Option<Assignment> {
        if std::mem::take(&mut self.orphaned) { self.proposed.clone() } else { None }
    }

    /// What was asked for and is not known to be written or superseded; `None`: nothing.
    pub fn proposed(&self) -> Option<&Assignment> {
        self.proposed.as_ref()
    }

    /// Gives way while this broker is cut off and deserted; true where that has changed since the last call, also if a
    /// follower that came has ended it meanwhile.
    pub fn give_way(&mut self, cut_off: bool, now: Instant) -> bool {
        self.gives_way = cut_off && self.is_deserted(now);
        std::mem::replace(&mut self.gave_way, self.gives_way) != self.gives_way
    }

    /// Whether somebody else leads most likely, though nothing here says so.
    pub fn gives_way(&self) -> bool {
        self.gives_way
    }

    /// Whether no follower has fetched for `replica.lag.time.max.ms`, though there should be some. Without another
    /// member of the ISR nobody else can lead, and replicas that are still to join may be silent for long, waiting for
    /// their share of a throttle.
    fn is_deserted(&self, now: Instant) -> bool {
        let heard = self.paces.values().map(|pace| pace.fetched).max().unwrap_or(self.began);
        self.maximal.iter().any(|member| member.broker != self.me.id)
            && now.duration_since(heard) > self.surroundings.max_lag
    }

    /// Replicas that lead or follow in sync, of how many.
    pub fn is_under_replicated(&self) -> bool {
        self.committed.isr.len() < self.committed.replicas.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env;
    use crate::image::PartitionEpoch;

    const LAG: Duration = Duration::from_secs(30);

    fn member(broker: i32, incarnation: i64) -> IsrMember {
        IsrMember { broker: BrokerId(broker), incarnation: Incarnation(incarnation) }
    }

    fn assignment(isr: &[IsrMember]) -> Assignment {
        Assignment {
            partition: 0,
            replicas: [0, 1, 2].map(BrokerId).to_vec(),
            adding: vec![],
            removing: vec![],
            leader: Some(BrokerId(0)),
            leader_epoch: LeaderEpoch(3),
            partition_epoch: PartitionEpoch(7),
            isr: isr.to_vec(),
            reports: vec![],
            log_start: None,
        }
    }

    /// A leader whose epoch starts at 10, and the time at which it began.
    fn leader(isr: &[IsrMember]) -> (Leadership, Instant) {
        let me = Me { id: BrokerId(0), incarnation: Incarnation(1) };
        let surroundings = Surroundings { max_lag: LAG, ..Surroundings::default() };
        let now = env::now();
        (Leadership::new(me, assignment(isr), surroundings, 10, now), now)
    }

    fn snapshot(now: Instant, log_end: i64, high_watermark: i64) -> LeaderSnapshot {
        LeaderSnapshot { now, log_end, high_watermark, log_start: 0, min_in_sync: 2 }
    }

    fn isr(change: Option<Assignment>) -> Option<Vec<i32>> {
        change.map(|next| next.isr.iter().map(|member| member.broker.0).collect())
    }

    #[test]
    fn who_has_records_that_the_leader_has_deleted_does_not_join() {
        let (mut leader, now) = leader(&[member(0, 1), member(1, 1)]);
        leader.fetched(BrokerId(2), Incarnation(1), 20, 20, now);
        let may_join = |leader: &Leadership| leader.may_join(BrokerId(2), 20, 5);
        assert!(!may_join(&leader), "it has not said where its log begins");
        leader.begins_at(BrokerId(2), 4);
        assert!(!may_join(&leader));
        leader.begins_at(BrokerId(2), 5);
        assert!(may_join(&leader));
    }

    #[test]
    fn who_was_at_the_log_end_within_the_allowed_lag_keeps_up() {
        let three = [member(0, 1), member(1, 1), member(2, 1)];
        let (mut leader, began) = leader(&three);
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(
            isr(leader.isr_change(&snapshot(at(30), 20, 10))),
            None,
            "nobody has fetched, but the epoch is young"
        );
        assert_eq!(isr(leader.isr_change(&snapshot(at(31), 20, 10))), Some(vec![0, 2]), "one at a time");

        leader.fetched(BrokerId(1), Incarnation(1), 20, 20, at(31));
        leader.fetched(BrokerId(2), Incarnation(1), 15, 20, at(31));
        assert_eq!(isr(leader.isr_change(&snapshot(at(32), 20, 15))), Some(vec![0, 1]), "2 fetches, and lags behind");
        // 2 never sees the log end, but at 40 it asks from where the log ended at 31.
        leader.fetched(BrokerId(2), Incarnation(1), 20, 30, at(40));
        assert_eq!(isr(leader.isr_change(&snapshot(at(61), 30, 20))), None);
        assert_eq!(isr(leader.isr_change(&snapshot(at(62), 30, 20))), Some(vec![0, 2]));
        assert_eq!(isr(leader.isr_change(&snapshot(at(62), 20, 20))), None, "an idle partition has no laggards");
    }

    #[test]
    fn only_who_took_over_from_another_did_so_lately() {
        let (leader, began) = leader(&[member(0, 1)]);
        assert!(leader.took_over_lately(began + Duration::from_secs(9)));
        assert!(!leader.took_over_lately(began + Duration::from_secs(10)));
        let me = Me { id: BrokerId(0), incarnation: Incarnation(1) };
        let first = Assignment { leader_epoch: LeaderEpoch::FIRST, ..assignment(&[member(0, 1)]) };
        let first = Leadership::new(me, first, Surroundings::default(), 0, began);
        assert!(!first.took_over_lately(began));
        let (mut leads_on, _) = self::leader(&[member(0, 1)]);
        leads_on.lead_on(first.led_since());
        assert!(!leads_on.took_over_lately(began), "it led before, too");
        let has_led_since = |epoch| leads_on.has_led_since(LeaderEpoch(epoch));
        assert!(has_led_since(0) && has_led_since(3) && !has_led_since(4));
    }

    #[test]
    fn who_is_cut_off_and_deserted_gives_way_unless_nobody_else_can_lead() {
        let (mut leader_of_two, began) = leader(&[member(0, 1), member(1, 1)]);
        let (within, after) = (began + LAG, began + LAG + Duration::from_secs(1));
        for (cut_off, now, gives_way) in [(true, within, false), (false, after, false), (true, after, true)] {
            leader_of_two.give_way(cut_off, now);
            assert_eq!(leader_of_two.gives_way(), gives_way);
        }
        assert!(!leader_of_two.give_way(true, after), "nothing has changed");
        leader_of_two.fetched(BrokerId(2), Incarnation(1), 10, 20, after);
        assert!(!leader_of_two.gives_way());
        assert!(leader_of_two.give_way(true, after), "a follower that came has ended it");
        assert!(!leader_of_two.gives_way());

        let (mut alone, _) = leader(&[member(0, 1)]);
        alone.give_way(true, after);
        assert!(!alone.gives_way(), "the other replicas are not in sync");
    }

    #[test]
    fn who_has_reached_high_watermark_and_epoch_start_joins_unless_it_is_leaving() {
        let (mut leader, now) = leader(&[member(0, 1), member(1, 1)]);
        leader.fetched(BrokerId(1), Incarnation(1), 20, 20, now);
        for (offset, high_watermark, joins) in [(9, 5, false), (14, 15, false), (15, 15, true)] {
            leader.fetched(BrokerId(2), Incarnation(8), offset, 20, now);
            assert_eq!(leader.may_join(BrokerId(2), high_watermark, 0), joins, "{offset} of {high_watermark}");
        }
        let next = leader.isr_change(&snapshot(now, 20, 15)).unwrap();
        assert_eq!(next.isr, [member(0, 1), member(1, 1), member(2, 8)]);
        leader.set_surroundings(Surroundings { draining: vec![BrokerId(2)], dead: vec![], max_lag: LAG });
        assert_eq!(leader.isr_change(&snapshot(now, 20, 15)), None);
    }

    #[test]
    fn a_proposal_counts_until_the_image_shows_its_partition_epoch() {
        let (mut leader, now) = leader(&[member(0, 1), member(1, 1)]);
        leader.fetched(BrokerId(1), Incarnation(1), 20, 20, now);
        leader.fetched(BrokerId(2), Incarnation(1), 15, 20, now);
        assert_eq!(leader.high_watermark(10, 20, 2), 20);
        leader.propose(leader.isr_change(&snapshot(now, 20, 12)).unwrap());
        assert_eq!(leader.high_watermark(12, 20, 2), 15, "who may be in is waited for");
        assert_eq!(leader.isr_change(&snapshot(now, 20, 15)), None, "one at a time");

        let mut others = assignment(&[member(0, 1), member(1, 1)]);
        leader.learn(&others);
        assert!(leader.proposed().is_some(), "the same image again");
        others.partition_epoch = PartitionEpoch(8);
        leader.learn(&others);
        assert_eq!((leader.proposed(), leader.high_watermark(15, 20, 2)), (None, 20));
    }

    #[test]
    fn dead_members_and_laggards_are_not_enough_for_acks_all() {
        let (mut leader, now) = leader(&[member(0, 1), member(1, 1)]);
        leader.fetched(BrokerId(1), Incarnation(1), 20, 20, now);
        assert!(leader.has_enough_in_sync(&snapshot(now, 25, 20)));
        assert!(!leader.has_enough_in_sync(&snapshot(now + LAG + LAG, 25, 20)), "it lags");
        assert!(leader.has_enough_in_sync(&snapshot(now + LAG + LAG, 20, 20)), "there is nothing to fetch");
        leader.set_surroundings(Surroundings { dead: vec![BrokerId(1)], draining: vec![], max_lag: LAG });
        assert!(!leader.has_enough_in_sync(&snapshot(now, 20, 20)));
        assert_eq!(leader.isr_change(&snapshot(now + LAG + LAG, 25, 20)), None, "but it stays: the floor");
    }

    #[test]
    fn a_consumer_is_sent_to_whom_has_got_furthest_near_it() {
        let (mut leader, now) = leader(&[member(0, 1), member(1, 1), member(2, 1)]);
        leader.fetched(BrokerId(1), Incarnation(1), 12, 20, now);
        leader.fetched(BrokerId(2), Incarnation(1), 15, 20, now);
        assert_eq!(leader.furthest_in_sync(11, |_| true), Some(BrokerId(2)));
        assert_eq!(leader.furthest_in_sync(11, |id| id == BrokerId(1)), Some(BrokerId(1)));
        assert_eq!(leader.furthest_in_sync(13, |id| id == BrokerId(1)), None, "it has not got there");
        leader.set_surroundings(Surroundings { dead: vec![BrokerId(2)], draining: vec![], max_lag: LAG });
        assert_eq!(leader.furthest_in_sync(13, |_| true), None);
    }
}
