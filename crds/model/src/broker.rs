//! What brokers do: see entries, lead, follow, change the ISR that they lead.

use std::sync::Arc;
use std::time::Duration;

use ottla_rules::assignment::{
    Assignment, BrokerId, Follower, Leader, LeaderEpoch, Position, RecoveryReport, Remedy, high_watermark, maximal_isr,
};

use crate::Protocol;
use crate::action::AnswerLost;
use crate::mutant::Mutant;
use crate::operator::common;
use crate::state::{Broker, Leadership, Record, Saved, State};

/// Slow, and how slow is too slow: time is not modelled, so a shrink is one that the time allows.
const BEHIND: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(1);

impl Protocol {
    pub(crate) fn watch(&self, state: &mut State, id: BrokerId) -> Option<()> {
        let entry = state.entry.clone();
        if state.broker(id).view.epochs() >= entry.epochs() {
            return None;
        }
        let broker = state.broker_mut(id);
        if broker.view.replicas.contains(&id) && !entry.replicas.contains(&id) {
            let had_records = leave(broker, entry);
            state.seen.left = had_records;
            return Some(());
        }
        self.act_on(broker, id, entry);
        self.advance(state, id);
        Some(())
    }

    pub(crate) fn watch_topic(&self, state: &mut State, id: BrokerId) -> Option<()> {
        state.broker_mut(id).min_in_sync = state.min_in_sync;
        self.advance(state, id);
        Some(())
    }

    /// Takes the role that the entry gives (COORDINATION §2.5).
    fn act_on(&self, broker: &mut Broker, id: BrokerId, entry: Arc<Assignment>) {
        if broker.damaged.is_some() {
            broker.view = entry; // and that is all
            return;
        }
        let leads = entry.may_lead(id, broker.incarnation, Some(broker.view.epochs()))
            || (self.is(Mutant::LeaderIgnoresItsIncarnation) && entry.leader == Some(id));
        let same_epoch = broker.view.leader_epoch == entry.leader_epoch;
        broker.leadership = match broker.leadership.take() {
            _ if !leads => None,
            // At this partition epoch the proposal was written, or something else was: it can't be any more.
            Some(mut leadership) if same_epoch => {
                leadership.proposed.take_if(|proposed| proposed.partition_epoch <= entry.partition_epoch);
                Some(leadership)
            }
            _ => Some(Leadership::from(broker.log.len())),
        };
        if !same_epoch && !self.is(Mutant::ForgottenEpoch) {
            broker.disk.view = entry.clone();
        }
        broker.view = entry;
    }

    pub(crate) fn save(&self, state: &mut State, id: BrokerId) -> Option<()> {
        let broker = state.broker_mut(id);
        broker.disk.view = broker.view.clone();
        Some(())
    }

    pub(crate) fn produce(&self, state: &mut State, id: BrokerId) -> Option<()> {
        state.used.records += 1;
        let number = state.used.records;
        let broker = state.broker_mut(id);
        broker.log.push(Record { epoch: broker.view.leader_epoch, number });
        self.advance(state, id);
        Some(())
    }

    /// A follower asks its leader for what it lacks, and thereby says what it has.
    pub(crate) fn fetch(&self, state: &mut State, id: BrokerId, answer_lost: AnswerLost) -> Option<()> {
        let follower = state.broker(id);
        let leader_id = follower.view.leader.filter(|leader| *leader != id)?;
        let leader = state.broker(leader_id);
        let leads = leader.leadership.is_some() && leader.view.leader_epoch == follower.view.leader_epoch;
        if !leads || !follower.view.replicas.contains(&id) || follower.damaged.is_some() {
            return None;
        }
        if let Some(end) = where_logs_part(&follower.log, &leader.log) {
            state.broker_mut(id).log.truncate(end);
            state.seen.truncated = true;
            return Some(());
        }
        let position = Position { incarnation: follower.incarnation, fetched_to: follower.log_end() };
        let missing = leader.log[follower.log.len()..].to_vec();
        if answer_lost && missing.is_empty() {
            return None; // there was nothing to lose
        }
        if !answer_lost {
            state.broker_mut(id).log.extend(missing);
        }
        state.broker_mut(leader_id).leadership.as_mut()?.positions.insert(id, position);
        self.advance(state, leader_id);
        Some(())
    }

    pub(crate) fn expand(&self, state: &mut State, leader_id: BrokerId, id: BrokerId) -> Option<()> {
        let broker = state.broker(leader_id);
        let mut leader = broker.as_leader(leader_id)?;
        let position = broker.leadership.as_ref()?.positions.get(&id)?;
        if self.is(Mutant::NoEpochStart) {
            leader.epoch_start = 0;
        }
        if self.is(Mutant::JoinBelowHighWatermark) {
            leader.high_watermark = 0;
        }
        // It may be dead or draining, and its leader not know.
        let follower = Follower {
            broker: id,
            incarnation: position.incarnation,
            leader_epoch: leader.leader_epoch,
            log_end: position.fetched_to,
            // Nothing is deleted in the model.
            log_start: 0,
            leaving: false,
        };
        let next = broker.view.expand(&leader, &follower).ok()?;
        self.propose(state, leader_id, next)
    }

    pub(crate) fn shrink(&self, state: &mut State, leader_id: BrokerId, id: BrokerId) -> Option<()> {
        let broker = state.broker(leader_id);
        let leader = broker.as_leader(leader_id)?;
        let min_in_sync = if self.is(Mutant::NoFloor) { 1 } else { broker.min_in_sync };
        let next = broker.view.shrink(&leader, id, BEHIND, LIMIT, min_in_sync).ok()?;
        state.used.shrinks += 1;
        self.propose(state, leader_id, next)
    }

    /// Sends a change of the ISR on its way. The disk knows of it first: a process that is killed now and starts again
    /// in the same epoch must count the same members.
    fn propose(&self, state: &mut State, leader: BrokerId, next: Assignment) -> Option<()> {
        let next = Arc::new(next);
        let broker = state.broker_mut(leader);
        broker.leadership.as_mut()?.proposed = Some(next.clone());
        if !self.is(Mutant::ForgottenProposal) {
            // What is older than what it rests on is not acted on again.
            broker.disk = Saved { view: broker.view.clone(), proposed: Some(next.clone()) };
        }
        state.send(next);
        self.advance(state, leader);
        Some(())
    }

    /// A broker that can't read its log disowns it, and copies it again: the worst case, all of it.
    pub(crate) fn remedy(&self, state: &mut State, id: BrokerId) -> Option<()> {
        let broker = state.broker(id);
        let acted_in = broker.damaged.filter(|_| !self.is(Mutant::CopiedInTheSameEpoch)).unwrap_or(LeaderEpoch::NONE);
        let remedy = match broker.view.remedy(id, broker.incarnation, acted_in) {
            Remedy::Disown(_) if self.is(Mutant::CopiedInTheIsr) => Remedy::CopyAnew,
            remedy => remedy,
        };
        match remedy {
            Remedy::Disown(next) => state.send(Arc::new(next)),
            Remedy::CopyAnew => {
                let broker = state.broker_mut(id);
                broker.log.clear();
                broker.damaged = None;
                broker.disk.view = broker.view.clone();
                state.seen.copied_anew = true;
            }
            Remedy::Wait => return None,
        }
        Some(())
    }

    /// A write meets the entry; it changes nothing unless the entry is the one it rests on.
    pub(crate) fn land(&self, state: &mut State, write: usize) -> Option<()> {
        if self.is(Mutant::NoCompareAndSwap) {
            let write = state.writes.remove(write);
            let partition_epoch = state.entry.partition_epoch.next()?;
            let entry = Assignment { isr: write.isr.clone(), partition_epoch, ..(*state.entry).clone() };
            state.entry = Arc::new(entry);
            return Some(());
        }
        let write = state.writes.get(write)?;
        if !write.partition_epoch.follows(state.entry.partition_epoch) {
            return None;
        }
        if write.leader.is_none() && state.entry.leader.is_some() {
            state.last_isr = state.entry.isr.clone();
        }
        state.entry = write.clone();
        Some(())
    }

    /// A broker that sees that nobody leads, and can not either, says what it has.
    pub(crate) fn report(&self, state: &mut State, id: BrokerId) -> Option<()> {
        let broker = state.broker(id);
        if broker.view != state.entry || broker.damaged.is_some() {
            return None; // its write would not land, or it can't say
        }
        let report = RecoveryReport {
            broker: id,
            incarnation: broker.incarnation,
            last_epoch: broker.log.last().map_or(LeaderEpoch::NONE, |record| record.epoch),
            log_end: broker.log_end(),
            log_start: Some(0),
        };
        state.entry = Arc::new(state.entry.report(broker.view.leader_epoch, report).ok()?);
        Some(())
    }

    /// Moves the leader's high watermark; what is below it is acknowledged.
    pub(crate) fn advance(&self, state: &mut State, id: BrokerId) {
        let broker = state.broker(id);
        let Some(leadership) = &broker.leadership else { return };
        let min_in_sync = broker.view.floor(broker.min_in_sync);
        if broker.view.isr.len() < min_in_sync {
            return;
        }
        let proposed = leadership.proposed.as_ref().filter(|_| !self.is(Mutant::CommittedIsr));
        let isr = maximal_isr(&broker.view.isr, proposed.map(|proposed| proposed.isr.as_slice()));
        let before = leadership.high_watermark;
        let after = high_watermark(before, broker.log_end(), id, &isr, &leadership.positions, min_in_sync);
        if after == before {
            return;
        }
        let counts = state.recovered_in.is_none_or(|epoch| broker.view.leader_epoch >= epoch);
        let committed = if counts { broker.log[..after as usize].to_vec() } else { Vec::new() };
        let (in_doubt, resumed) = (leadership.proposed.is_some(), leadership.resumed);
        state.seen.acknowledged_in_doubt |= in_doubt;
        state.seen.acknowledged_after_restart |= resumed;
        let shorter = committed.len().min(state.acknowledged.len());
        state.seen.conflict |= common(&committed, &state.acknowledged) < shorter;
        if committed.len() > shorter {
            state.acknowledged = committed;
        }
        let Some(leadership) = &mut state.broker_mut(id).leadership else { return };
        leadership.high_watermark = after;
    }
}

/// It is no replica any more and removes its log, not its incarnation. Whether there was anything in it.
fn leave(broker: &mut Broker, entry: Arc<Assignment>) -> bool {
    let had_records = !broker.log.is_empty();
    broker.has_left |= had_records;
    broker.log.clear();
    (broker.damaged, broker.leadership) = (None, None);
    broker.disk = Saved { view: entry.clone(), proposed: None };
    broker.view = entry;
    had_records
}

impl Broker {
    /// What a leader knows of itself when it changes the ISR.
    fn as_leader(&self, id: BrokerId) -> Option<Leader> {
        let leadership = self.leadership.as_ref()?;
        Some(Leader {
            broker: id,
            incarnation: self.incarnation,
            leader_epoch: self.view.leader_epoch,
            epoch_start: leadership.join_from,
            high_watermark: leadership.high_watermark,
            log_start: 0,
            write_in_flight: leadership.proposed.is_some(),
        })
    }
}

/// Where a follower must cut its log before it can continue (KIP-101, KIP-320): the leader names the newest epoch that
/// it has and that is not above the follower's last, and where that ended; the smaller end counts.
fn where_logs_part(follower: &[Record], leader: &[Record]) -> Option<usize> {
    let last = follower.last()?.epoch;
    let end = leader.iter().take_while(|record| record.epoch <= last).count();
    let epoch = leader[..end].last().map_or(LeaderEpoch::NONE, |record| record.epoch);
    let own_end = follower.iter().take_while(|record| record.epoch <= epoch).count();
    let parted = epoch != last || end < follower.len();
    parted.then(|| end.min(own_end))
}
