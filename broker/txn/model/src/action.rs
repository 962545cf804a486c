//! What may happen next.

use ottla_txn::{TransactionResult, TransactionState};

use crate::Protocol;
use crate::state::{Doing, HeldBatch, Letter, MarkerLetter, Stage, State};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The second producer is started.
    Start,
    /// A producer begins a transaction.
    Open(usize),
    /// A producer decides how its transaction ends.
    End(usize, TransactionResult),
    /// The request that a producer waits with arrives: at this coordinator, or, if it is a record, at its partition.
    Ask(usize, usize),
    /// A request arrives, and nobody waits for its answer: a delayed one, a repeated one, one whose answer gets lost.
    Repeat(Letter),

    /// A partition asks this coordinator about a batch that waits there.
    Verify(usize, usize, usize),
    /// The batch that waits goes into the partition.
    Append(usize, usize),
    /// A marker arrives.
    Mark(MarkerLetter),
    /// A marker arrives, and nobody waits for its answer.
    RepeatMark(MarkerLetter),
    /// A partition's log is committed as far as it goes.
    Replicate(usize),
    /// A partition gets another leader, with what is committed, or with all that the former one had.
    Elect(usize, HasAll),

    /// The coordinator's append is committed.
    Commit,
    /// It fails: too few replicas are in sync.
    Refuse,
    /// It takes too long.
    Delay,
    /// What a new coordinator has found in its log is committed.
    Settle,
    /// What could not be written is written again.
    Retry,
    /// The coordinator finds a transaction open for too long.
    TimeOut,
    /// Another broker coordinates. It has the append of unknown fate, or it has not.
    Succeed(HasAll),
}

/// Whether a new leader has also what is not known to be committed.
pub type HasAll = bool;

impl Protocol {
    /// What may happen in `state`, or come to nothing.
    pub(crate) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        let (bounds, used) = (&self.bounds, &state.used);
        if state.producers[1].doing == Doing::Nothing && bounds.transactions[1] > 0 {
            actions.push(Action::Start);
        }
        for (producer, it) in state.producers.iter().enumerate() {
            match it.doing {
                Doing::Nothing | Doing::Stopped => {}
                Doing::Ready if it.begun < bounds.transactions[producer] => actions.push(Action::Open(producer)),
                Doing::Ready => {}
                Doing::Written => {
                    actions.extend(
                        [TransactionResult::Commit, TransactionResult::Abort]
                            .map(|outcome| Action::End(producer, outcome)),
                    );
                }
                Doing::Writing(_) => {
                    actions.push(Action::End(producer, TransactionResult::Abort));
                    actions.extend((!it.waits).then_some(Action::Ask(producer, 0)));
                }
                Doing::Beginning | Doing::Renewing | Doing::Adding | Doing::Ending(_) if it.waits => {}
                Doing::Beginning | Doing::Renewing | Doing::Adding | Doing::Ending(_) => {
                    actions.extend((0..state.coordinators.len()).map(|to| Action::Ask(producer, to)));
                }
            }
        }
        if used.repeats < bounds.repeats {
            actions.extend(state.sent.iter().copied().map(Action::Repeat));
            actions.extend(state.sent_markers.iter().copied().map(Action::RepeatMark));
        }
        for (partition, it) in state.partitions.iter().enumerate() {
            for (held, HeldBatch { stage, .. }) in it.held.iter().enumerate() {
                match stage {
                    Stage::Begun => {
                        actions.extend((0..state.coordinators.len()).map(|at| Action::Verify(partition, held, at)));
                    }
                    Stage::Asked(_) => {}
                    Stage::Verified => actions.push(Action::Append(partition, held)),
                }
            }
            let is_committed = it.committed == it.log.len();
            if !is_committed {
                actions.push(Action::Replicate(partition));
            }
            if used.elections < bounds.elections {
                actions.push(Action::Elect(partition, false));
                actions.extend((!is_committed).then_some(Action::Elect(partition, true)));
            }
        }
        for coordinator in &state.coordinators {
            actions.extend(coordinator.owed.iter().copied().map(Action::Mark));
        }
        self.possible_for_coordinator(state, actions);
    }

    /// What may happen to the coordinator that leads.
    fn possible_for_coordinator(&self, state: &State, actions: &mut Vec<Action>) {
        let (bounds, used) = (&self.bounds, &state.used);
        let coordinator = &state.coordinators[state.present()];
        match &coordinator.undecided {
            Some(undecided) => {
                actions.push(Action::Commit);
                actions.extend((used.refusals < bounds.refusals).then_some(Action::Refuse));
                let may_be_late = used.delays < bounds.delays && !undecided.is_late;
                actions.extend(may_be_late.then_some(Action::Delay));
            }
            None => match coordinator.state() {
                Some(TransactionState::Prepare(_)) if used.refusals > 0 => actions.push(Action::Retry),
                Some(TransactionState::Ongoing) if used.time_outs < bounds.time_outs => actions.push(Action::TimeOut),
                Some(_) | None => {}
            },
        }
        let is_settled = coordinator.unsettled.is_none();
        actions.extend((!is_settled).then_some(Action::Settle));
        if used.successions < bounds.successions {
            actions.push(Action::Succeed(false));
            actions.extend((coordinator.undecided.is_some() || !is_settled).then_some(Action::Succeed(true)));
        }
    }

    /// Makes it happen; `None` where nothing comes of it.
    pub(crate) fn take(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Start => self.start(state),
            Action::Open(producer) => self.open(state, producer),
            Action::End(producer, outcome) => self.decide_to_end(state, producer, outcome),
            Action::Ask(producer, at) => self.ask(state, producer, at),
            Action::Repeat(letter) => self.repeat(state, letter),
            Action::Verify(partition, held, at) => self.verify(state, partition, held, at),
            Action::Append(partition, held) => self.append_held(state, partition, held),
            Action::Mark(letter) => self.mark(state, letter, true),
            Action::RepeatMark(letter) => self.repeat_mark(state, letter),
            Action::Replicate(partition) => self.replicate(state, partition),
            Action::Elect(partition, has_all) => self.elect(state, partition, has_all),
            Action::Commit => self.commit(state),
            Action::Refuse => self.refuse(state),
            Action::Delay => self.delay(state),
            Action::Settle => self.settle(state),
            Action::Retry => self.retry(state),
            Action::TimeOut => self.time_out(state),
            Action::Succeed(has_all) => self.succeed(state, has_all),
        }
    }
}
