//! What may happen next.

use ottla_rules::assignment::BrokerId;

use crate::Protocol;
use crate::state::State;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An operator sees a broker as it is.
    See(usize, BrokerId),
    /// An operator sees the topic's `min.insync.replicas`.
    SeeTopic(usize),
    /// An operator does what it would do of itself: end a reassignment, heal, recover. It may believe that a broker is
    /// dead, rightly or wrongly, until it has acted.
    Step(usize, Option<BrokerId>),
    /// An operator begins to move the partition.
    Reassign,
    /// An operator takes it back.
    Cancel(usize),
    /// An administrator orders that this broker leads with the records that it has. The order stays in the topic's spec
    /// for ever.
    Order(BrokerId),

    /// A broker sees the newest entry.
    Watch(BrokerId),
    /// A broker sees the topic's `min.insync.replicas`.
    WatchTopic(BrokerId),
    /// A broker keeps on disk what it has seen.
    Save(BrokerId),
    /// A leader appends a record.
    Produce(BrokerId),
    /// A follower's fetch is served, and its answer arrives at once or gets lost. No answer is on its way while
    /// something else happens: one that arrives late is taken to be one that arrives at once. Two rules of the broker
    /// make it so, and nothing in this model holds them:
    ///
    /// - A follower takes no batch of an epoch in which it did not ask, and no answer to a fetch of an earlier epoch
    ///   (`broker/src/replica/partition/following.rs`:
    ///   `batches_of_an_epoch_in_which_nobody_asked_are_not_appended`).
    /// - A leader never sends a slice that was cut (`reading.rs` beside it:
    ///   `what_was_cut_since_it_was_read_is_not_sent`; `broker/log/tests/log.rs`:
    ///   `a_slice_that_was_cut_never_turns_into_what_is_appended_later`; `broker/src/server/replies.rs`:
    ///   `a_reply_whose_records_were_cut_closes_the_connection`).
    ///
    /// The simulation delays answers (its faults `Overtaken` and `StalledConnections`), and fails where both rules are
    /// broken (`sim/mutants/answers-of-another-epoch.patch`).
    Fetch(BrokerId, AnswerLost),
    /// A leader wants a follower in the ISR.
    Expand(BrokerId, BrokerId),
    /// A leader wants it out.
    Shrink(BrokerId, BrokerId),
    /// A leader's write lands.
    Land(usize),
    /// A broker that cannot lead says what it has.
    Report(BrokerId),

    /// A broker finds that it can't read its log.
    Damage(BrokerId),
    /// Somebody mends it.
    Mend(BrokerId),
    /// A broker does what it is to do about a log that it can't read.
    Remedy(BrokerId),
    /// A process is killed and starts again.
    Restart(BrokerId),
    /// A machine crashes; so many records are still there when it is back.
    Crash(BrokerId, usize),
    /// A broker wants to leave.
    Drain(BrokerId),
    /// Somebody changes `min.insync.replicas`.
    ChangeMin,
}

/// Whether a follower learns nothing from its fetch, though its leader does.
pub type AnswerLost = bool;

impl Protocol {
    /// What may happen in `state`, or come to nothing.
    pub(crate) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        let (bounds, used) = (&self.bounds, &state.used);
        for operator in 0..state.operators.len() {
            for id in state.ids() {
                actions.push(Action::See(operator, id));
                if used.suspicions < bounds.suspicions {
                    actions.push(Action::Step(operator, Some(id)));
                }
            }
            actions.extend([Action::SeeTopic(operator), Action::Step(operator, None)]);
            if state.entry.is_reassigning() {
                actions.push(Action::Cancel(operator));
            }
        }
        if used.reassignments < bounds.reassignments {
            actions.push(Action::Reassign);
        }
        if used.orders < bounds.orders {
            actions.extend(state.ids().map(Action::Order));
        }
        if used.changes == 0 && bounds.changed_min_in_sync.is_some() {
            actions.push(Action::ChangeMin);
        }
        actions.extend((0..state.writes.len()).map(Action::Land));
        for id in state.ids() {
            let broker = state.broker(id);
            actions.extend([Action::Watch(id), Action::WatchTopic(id), Action::Save(id), Action::Report(id)]);
            if broker.leadership.is_some() {
                if used.records < bounds.records {
                    actions.push(Action::Produce(id));
                }
                for other in state.ids().filter(|other| *other != id) {
                    actions.push(Action::Expand(id, other));
                    if used.shrinks < bounds.shrinks {
                        actions.push(Action::Shrink(id, other));
                    }
                }
            } else {
                actions.extend([Action::Fetch(id, false), Action::Fetch(id, true)]);
            }
            if broker.damaged.is_some() {
                actions.extend([Action::Mend(id), Action::Remedy(id)]);
            } else if used.damages < bounds.damages {
                actions.push(Action::Damage(id));
            }
            if used.restarts < bounds.restarts {
                actions.push(Action::Restart(id));
            }
            if used.crashes < bounds.crashes {
                actions.extend((0..=broker.log.len()).map(|kept| Action::Crash(id, kept)));
            }
            if used.drains < bounds.drains && !broker.draining {
                actions.push(Action::Drain(id));
            }
        }
    }

    /// Makes it happen; `None` where nothing comes of it.
    pub(crate) fn take(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::See(operator, id) => self.see(state, operator, id),
            Action::SeeTopic(operator) => self.see_topic(state, operator),
            Action::Step(operator, suspect) => self.step(state, operator, suspect),
            Action::Reassign => self.reassign(state),
            Action::Cancel(operator) => self.cancel(state, operator),
            Action::Order(id) => self.order(state, id),
            Action::Watch(id) => self.watch(state, id),
            Action::WatchTopic(id) => self.watch_topic(state, id),
            Action::Save(id) => self.save(state, id),
            Action::Produce(id) => self.produce(state, id),
            Action::Fetch(id, answer_lost) => self.fetch(state, id, answer_lost),
            Action::Expand(leader, id) => self.expand(state, leader, id),
            Action::Shrink(leader, id) => self.shrink(state, leader, id),
            Action::Land(write) => self.land(state, write),
            Action::Report(id) => self.report(state, id),
            Action::Damage(id) => self.damage(state, id),
            Action::Mend(id) => self.mend(state, id),
            Action::Remedy(id) => self.remedy(state, id),
            Action::Restart(id) => self.restart(state, id),
            Action::Crash(id, kept) => self.crash(state, id, kept),
            Action::Drain(id) => self.drain(state, id),
            Action::ChangeMin => self.change_min(state),
        }
    }
}
