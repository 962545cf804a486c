//! What happens to brokers and topics: restarts, crashes, drains, settings.

use ottla_rules::assignment::{Assignment, BrokerId, Incarnation};

use crate::Protocol;
use crate::mutant::Mutant;
use crate::state::{Broker, Leadership, State};

impl Protocol {
    /// A process is killed and starts again: its log is whole, its incarnation stays (COORDINATION §3), and it begins
    /// with the copy on its disk, as if the API server were away.
    pub(crate) fn restart(&self, state: &mut State, id: BrokerId) -> Option<()> {
        state.used.restarts += 1;
        let broker = state.broker_mut(id);
        broker.draining = false;
        broker.view = broker.disk.view.clone();
        self.begin(state, id);
        Some(())
    }

    /// A broker begins with what it knows and has on disk, if it can read that.
    fn begin(&self, state: &mut State, id: BrokerId) {
        let broker = state.broker_mut(id);
        let (view, proposed) = (broker.view.clone(), broker.disk.proposed.clone());
        let leads = broker.damaged.is_none() && view.may_lead(id, broker.incarnation, None);
        let began = broker.log.iter().position(|record| record.epoch >= view.leader_epoch);
        broker.leadership = leads.then(|| Leadership {
            proposed: proposed.filter(|proposed| is_in_doubt(proposed, &view)),
            resumed: true,
            join_from: match began {
                Some(began) if self.is(Mutant::EpochStartOfTheFirstProcess) => began as i64,
                _ => broker.log_end(),
            },
            ..Leadership::from(0)
        });
        self.advance(state, id);
    }

    /// Something in a log is not what was written: its broker finds that it can't read it.
    pub(crate) fn damage(&self, state: &mut State, id: BrokerId) -> Option<()> {
        state.used.damages += 1;
        let broker = state.broker_mut(id);
        broker.damaged = Some(broker.view.leader_epoch);
        broker.leadership = None;
        Some(())
    }

    /// It is as it was, by hand or by itself.
    pub(crate) fn mend(&self, state: &mut State, id: BrokerId) -> Option<()> {
        let broker = state.broker_mut(id);
        let acted_in = broker.damaged.take()?;
        if broker.view.leader_epoch != acted_in {
            broker.disk.view = broker.view.clone();
        }
        self.begin(state, id);
        Some(())
    }

    /// A machine crashes: the tail that was not flushed is gone, and with it the incarnation.
    pub(crate) fn crash(&self, state: &mut State, id: BrokerId, kept: usize) -> Option<()> {
        state.used.crashes += 1;
        let broker = state.broker_mut(id);
        if !self.is(Mutant::BrokerIdsInsteadOfIncarnations) {
            broker.incarnation = Incarnation(broker.incarnation.0 + 1);
        }
        broker.log.truncate(kept);
        broker.draining = false;
        broker.leadership = None;
        Some(())
    }

    pub(crate) fn drain(&self, state: &mut State, id: BrokerId) -> Option<()> {
        state.used.drains += 1;
        state.broker_mut(id).draining = true;
        Some(())
    }

    pub(crate) fn change_min(&self, state: &mut State) -> Option<()> {
        state.used.changes += 1;
        state.min_in_sync = self.bounds.changed_min_in_sync?;
        state.least_min_in_sync = state.least_min_in_sync.min(state.min_in_sync);
        Some(())
    }

    /// Fewer states to look at: what can have no consequence any more is forgotten.
    pub(crate) fn forget_what_cannot_matter(&self, state: &mut State) {
        let base = state.entry.partition_epoch;
        if !self.is(Mutant::NoCompareAndSwap) {
            state.writes.retain(|write| write.partition_epoch.follows(base));
        }
        let only_follows = |broker: &Broker| broker.leadership.is_none() && broker.damaged.is_none();
        for (id, broker) in (0..).map(BrokerId).zip(&mut state.brokers).filter(|(_, broker)| only_follows(broker)) {
            let is_replica = |entry: &Assignment| entry.replicas.contains(&id);
            if broker.view.leader_epoch == state.entry.leader_epoch
                && is_replica(&broker.view) == is_replica(&state.entry)
            {
                // Who does not lead looks at leader, epoch and whether it is a replica only.
                broker.view = state.entry.clone();
            }
        }
        let may_restart = state.used.restarts < self.bounds.restarts;
        let may_begin = may_restart
            || state.used.damages < self.bounds.damages
            || state.brokers.iter().any(|broker| broker.damaged.is_some());
        for broker in &mut state.brokers {
            if !may_restart {
                broker.disk.view = state.entry.clone(); // only a restart reads it
            }
            // What views have once passed they pass for ever.
            let view = if may_restart { &broker.disk.view } else { &broker.view };
            broker.disk.proposed.take_if(|proposed| !may_begin || !is_in_doubt(proposed, view));
        }
    }
}

/// Whether a process that has seen `view` can't know the outcome of a change that it proposed before it was killed.
fn is_in_doubt(proposed: &Assignment, view: &Assignment) -> bool {
    proposed.leader_epoch == view.leader_epoch && proposed.partition_epoch > view.partition_epoch
}
