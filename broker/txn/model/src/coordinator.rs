//! What coordinators do. What they decide, the real [`Shard`] decides; here is their log, and who leads it.

use std::sync::Arc;

use ottla_txn::{
    AddPartitions, Effects, EndTxn, InitProducerId, MarkerResult, ProducerIdAndEpoch, Request, Shard, Ticket,
    TopicPartition, TransactionState, TransactionVersion, TxnAppendError, TxnError, TxnReply, VerifyPartitions,
    WriteMarkers,
};

use crate::Protocol;
use crate::action::HasAll;
use crate::clock::{TIMEOUT_MS, now, soon};
use crate::mutant::Mutant;
use crate::producer::WriteResult;
use crate::state::{
    Coordinator, Doing, Job, Letter, MarkerLetter, PARTITIONS, Stage, State, Undecided, WrittenRecord, config,
    fresh_ids, id, topic_partition,
};

/// The batch that a partition holds until its partition is added. There is at most one: an id has one change at a time.
const HELD: Ticket = Ticket(100);
/// Nobody waits for the answer.
const NOBODY: Ticket = Ticket(101);

impl Protocol {
    /// A request arrives at a coordinator. `waits`: who waits for the answer.
    pub(crate) fn request(&self, state: &mut State, at: usize, letter: Letter, waits: Option<usize>) -> Option<()> {
        let ticket = waits.map_or(NOBODY, |producer| Ticket(producer as u64));
        let (request, asked_for) = match letter {
            Letter::Begin { keeps, .. } => {
                let none = ProducerIdAndEpoch { producer_id: -1, producer_epoch: -1 };
                let ProducerIdAndEpoch { producer_id, producer_epoch } = keeps.unwrap_or(none);
                let timeout_ms = TIMEOUT_MS;
                let request = InitProducerId { transactional_id: id(), timeout_ms, producer_id, producer_epoch };
                (Request::InitProducerId(request), None)
            }
            Letter::Add { job, identity } => (self.adding(identity, job, 0..PARTITIONS), Some((job, identity))),
            Letter::End { job, identity, outcome } => {
                let client_version = self.version_of_requests(job.producer);
                let request = EndTxn { transactional_id: id(), producer: identity, outcome, client_version };
                (Request::EndTxn(request), Some((job, identity)))
            }
            Letter::Write(_) => unreachable!("records go to partitions"),
        };
        if let Some((job, identity)) = asked_for
            && self.comes_too_late(&state.coordinators[at], job, identity, matches!(letter, Letter::End { .. }))
        {
            return None;
        }
        if self.is(Mutant::LastEpochIsDerived)
            && let Letter::Begin { producer, keeps: Some(keeps) } = letter
            && let Some(identity) = one_above(keeps, &state.coordinators[at])
        {
            self.hear(state, producer, &TxnReply::InitProducerId(Ok(identity)));
            return Some(());
        }
        let (effects, job) = self.decide(state, at, &request, asked_for.map(|(job, _)| job), ticket)?;
        self.carry_out(state, at, effects, job);
        Some(())
    }

    fn adding(&self, producer: ProducerIdAndEpoch, job: Job, partitions: impl IntoIterator<Item = usize>) -> Request {
        Request::AddPartitions(AddPartitions {
            transactional_id: id(),
            producer,
            partitions: partitions.into_iter().map(topic_partition).collect(),
            client_version: self.version_of_requests(job.producer),
        })
    }

    /// Before V2 a request of a transaction that has ended is taken for one of the next: the epoch is the same
    /// (KAFKA-17754). Those are left out. An end that repeats the last one does no harm.
    fn comes_too_late(&self, at: &Coordinator, job: Job, identity: ProducerIdAndEpoch, ends: bool) -> bool {
        let (Some(known), Ok(described)) = (at.job, at.shard.describe(&id())) else { return false };
        let is_complete = matches!(described.state, TransactionState::Complete(_));
        let has_ended = known.number > job.number || (known == job && is_complete && !ends);
        self.may_confuse(job) && known.producer == job.producer && described.producer == identity && has_ended
    }

    /// Whether the transactions of the job's producer share an epoch, so that what is delayed may be taken for part of
    /// another one.
    pub(crate) fn may_confuse(&self, job: Job) -> bool {
        self.protocol(job.producer) < TransactionVersion::V2 && !self.is(Mutant::NothingIsLeftOut)
    }

    /// A coordinator decides on a request for a job; gives also the job that its append is about. What a zombie would
    /// have to write down is never committed, and its sender asks elsewhere: as if the request had not arrived. So it
    /// is with one that arrives while the last record is not settled: the host answers that it is loading.
    fn decide(
        &self,
        state: &mut State,
        at: usize,
        request: &Request,
        asked_for: Option<Job>,
        ticket: Ticket,
    ) -> Option<(Effects, Option<Job>)> {
        let (is_zombie, clock) = (at < state.present(), now(state.used.time_outs));
        let coordinator = state.coordinator_mut(at);
        if !coordinator.shard.is_settled(&id()) {
            return None;
        }
        let effects = coordinator.shard.request(request, ticket, clock);
        if effects.appends.is_empty() {
            return Some((effects, None));
        }
        let is_open = coordinator.state() == Some(TransactionState::Ongoing);
        let job = if is_open { coordinator.job } else { asked_for };
        state.seen.took_for_another |= is_open && asked_for.is_some() && asked_for != job;
        (!is_zombie).then_some((effects, job))
    }

    /// A partition asks about a batch that waits there.
    pub(crate) fn verify(&self, state: &mut State, partition: usize, held: usize, at: usize) -> Option<()> {
        let of_held = &state.partitions[partition].held[held];
        let (batch, Stage::Begun) = (of_held.batch, of_held.stage) else { return None };
        let coordinator = &state.coordinators[at];
        if self.protocol(batch.job.producer) >= TransactionVersion::V2 {
            state.partition_mut(partition).held[held].stage = Stage::Asked(coordinator.epoch);
            let request = self.adding(batch.identity, batch.job, [partition]);
            let (mut effects, job) = self.decide(state, at, &request, Some(batch.job), HELD)?;
            if let Some((_, reply)) = effects.replies.pop() {
                self.hear_of_verification(state, partition, held, addition(&reply));
            }
            self.carry_out(state, at, effects, job);
            return Some(());
        }
        if !coordinator.shard.is_settled(&id()) {
            return None;
        }
        let request = VerifyPartitions {
            transactional_id: id(),
            producer: batch.identity,
            partitions: vec![topic_partition(partition)],
        };
        let verified = coordinator.shard.verify(&request).and_then(|results| results[0]);
        if verified.is_ok() && self.is_taken_for_another(state, at, batch.job) {
            return None;
        }
        self.hear_of_verification(state, partition, held, verified);
        Some(())
    }

    /// Before V2 a coordinator that is asked about a record of a transaction that has ended takes it for one of the
    /// next (KAFKA-17754); and a coordinator that was replaced does not know that the transaction has ended. What these
    /// say is left out.
    fn is_taken_for_another(&self, state: &State, at: usize, job: Job) -> bool {
        let is_open = state.written.job == Some(job) && state.transaction().state == TransactionState::Ongoing;
        let knows_less = at < state.present() && !is_open;
        self.may_confuse(job) && (state.coordinators[at].job != Some(job) || knows_less)
    }

    /// Does what a coordinator wants done. `job`: whose transaction its append is about.
    fn carry_out(&self, state: &mut State, at: usize, effects: Effects, job: Option<Job>) {
        let Effects { replies, appends, sends } = effects;
        let coordinator = state.coordinator_mut(at);
        for append in appends {
            coordinator.begin(append, job);
        }
        let of = coordinator.job;
        self.post(state, at, sends, of);
        for (ticket, reply) in replies {
            match ticket {
                NOBODY => {}
                HELD => self.hear_of_addition(state, at, &reply),
                Ticket(producer) => self.hear(state, producer as usize, &reply),
            }
        }
        if self.is(Mutant::MarkersBeforeCommit)
            && let Some(Undecided { append, written, .. }) = state.coordinators[at].undecided.clone()
        {
            let as_if_committed =
                state.coordinators[at].shard.clone().decided(append, Ok(0), now(state.used.time_outs));
            self.post(state, at, as_if_committed.sends, written.job);
        }
    }

    /// Markers are on their way.
    fn post(&self, state: &mut State, at: usize, sends: Vec<WriteMarkers>, job: Option<Job>) {
        for WriteMarkers { id: send, marker, partitions } in sends {
            let letter = |to: &TopicPartition| MarkerLetter { send, marker, partition: to.partition as usize, job };
            state.sent_markers.extend(partitions.iter().map(letter));
            state.coordinator_mut(at).owed.extend(partitions.iter().map(letter));
        }
    }

    /// The append is committed.
    pub(crate) fn commit(&self, state: &mut State) -> Option<()> {
        let at = state.present();
        let Undecided { append, written, .. } = state.coordinator_mut(at).undecided.take()?;
        let job = self.take_over(state, at, written);
        let clock = now(state.used.time_outs);
        let effects = state.coordinator_mut(at).shard.decided(append, Ok(0), clock);
        self.carry_out(state, at, effects, job);
        Some(())
    }

    /// A record is in the log for good; the coordinator knows it.
    fn take_over(&self, state: &mut State, at: usize, written: WrittenRecord) -> Option<Job> {
        let job = written.job;
        state.written = written;
        state.coordinator_mut(at).job = job;
        if let (Some(job), TransactionState::Prepare(outcome)) = (job, state.transaction().state) {
            state.seen.decided_again |= state.decided.insert(job, outcome).is_some_and(|first| first != outcome);
        }
        job
    }

    /// The append fails, and is not in the log.
    pub(crate) fn refuse(&self, state: &mut State) -> Option<()> {
        state.used.refusals += 1;
        let (at, clock) = (state.present(), now(state.used.time_outs));
        let coordinator = state.coordinator_mut(at);
        let Undecided { append, .. } = coordinator.undecided.take()?;
        let effects = coordinator.shard.decided(append, Err(TxnAppendError::NotCommitted), clock);
        self.carry_out(state, at, effects, None);
        Some(())
    }

    /// Nobody waits for the append any longer.
    pub(crate) fn delay(&self, state: &mut State) -> Option<()> {
        state.used.delays += 1;
        let at = state.present();
        let coordinator = state.coordinator_mut(at);
        let undecided = coordinator.undecided.as_mut().filter(|undecided| !undecided.is_late)?;
        undecided.is_late = true;
        let effects = coordinator.shard.delayed(undecided.append);
        self.carry_out(state, at, effects, None);
        Some(())
    }

    /// What could not be written is written again.
    pub(crate) fn retry(&self, state: &mut State) -> Option<()> {
        let (at, clock) = (state.present(), soon(state.used.time_outs));
        let coordinator = state.coordinator_mut(at);
        let effects = coordinator.shard.tick(clock);
        let job = coordinator.job;
        (!effects.appends.is_empty()).then(|| self.carry_out(state, at, effects, job))
    }

    /// The coordinator finds a transaction open for too long.
    pub(crate) fn time_out(&self, state: &mut State) -> Option<()> {
        state.used.time_outs += 1;
        let (at, clock) = (state.present(), now(state.used.time_outs));
        let coordinator = state.coordinator_mut(at);
        let effects = coordinator.shard.tick(clock);
        let job = coordinator.job;
        if effects.appends.is_empty() {
            return None;
        }
        self.carry_out(state, at, effects, job);
        Some(())
    }

    /// Another broker coordinates. Whether its predecessor's append is committed, if it has that, it can't know yet.
    pub(crate) fn succeed(&self, state: &mut State, has_all: HasAll) -> Option<()> {
        state.used.successions += 1;
        let at = state.present();
        let former = &state.coordinators[at];
        let tail = former.undecided.as_ref().map(|undecided| &undecided.written).or(former.unsettled.as_ref()).cloned();
        let unsettled = tail.filter(|_| has_all);
        let former_epoch = former.epoch;
        let epoch = former_epoch + 1;
        let mut shard = Shard::new(config(self.bounds.cluster), epoch);
        shard.replay(state.written.record.clone());
        match &unsettled {
            Some(tail) if self.is(Mutant::ActsOnWhatIsNotSettled) => shard.replay(tail.record.clone()),
            Some(tail) => shard.replay_unsettled(tail.record.clone()),
            None => {}
        }
        shard.add_producer_ids(fresh_ids(epoch));
        let effects = shard.loaded(now(state.used.time_outs));
        let job = unsettled.as_ref().map_or(state.written.job, |tail| tail.job);
        let next = Coordinator { epoch, shard, job, undecided: None, unsettled, owed: Default::default() };
        if self.bounds.has_zombie {
            state.coordinators.drain(..at);
        } else {
            state.coordinators.clear();
        }
        state.coordinators.push(Arc::new(next));
        // Who waited for the former one asks again.
        for producer in &mut state.producers {
            producer.waits &= matches!(producer.doing, Doing::Writing(_));
        }
        self.give_up_additions(state, former_epoch);
        let at = state.present();
        state.seen.inherited = !effects.sends.is_empty();
        self.carry_out(state, at, effects, job);
        Some(())
    }

    /// What a new coordinator has found in its log is committed.
    pub(crate) fn settle(&self, state: &mut State) -> Option<()> {
        let at = state.present();
        let tail = state.coordinator_mut(at).unsettled.take()?;
        let job = self.take_over(state, at, tail);
        state.seen.settled = true;
        let clock = now(state.used.time_outs);
        let effects = state.coordinator_mut(at).shard.settled(clock);
        self.carry_out(state, at, effects, job);
        Some(())
    }

    /// What came of a marker. Of one that may be written the next time the coordinator hears nothing: its host repeats
    /// it.
    pub(crate) fn report(&self, state: &mut State, letter: &MarkerLetter, result: MarkerResult) {
        let clock = now(state.used.time_outs);
        let of_letter = |coordinator: &Arc<Coordinator>| coordinator.epoch == letter.marker.coordinator_epoch;
        let Some(at) = state.coordinators.iter().position(of_letter) else { return };
        let coordinator = state.coordinator_mut(at);
        if !coordinator.owed.remove(letter) {
            return;
        }
        let mut results = vec![(topic_partition(letter.partition), result)];
        if self.is(Mutant::CompleteWithTheFirstMarker) {
            results = (0..PARTITIONS).map(|partition| (topic_partition(partition), result)).collect();
        }
        let effects = coordinator.shard.sent(letter.send, &results, clock);
        let job = coordinator.job;
        self.carry_out(state, at, effects, job);
    }

    /// What the coordinator says at last of a partition that it was asked to add.
    fn hear_of_addition(&self, state: &mut State, at: usize, reply: &TxnReply) {
        let asked = Stage::Asked(state.coordinators[at].epoch);
        for partition in 0..PARTITIONS {
            if let Some(held) = state.partitions[partition].held.iter().position(|held| held.stage == asked) {
                self.hear_of_verification(state, partition, held, addition(reply));
            }
        }
    }

    /// The coordinator of this epoch answers nothing any more.
    fn give_up_additions(&self, state: &mut State, epoch: i32) {
        for partition in 0..PARTITIONS {
            let held = &mut state.partition_mut(partition).held;
            let gone: Vec<_> = held.extract_if(.., |held| held.stage == Stage::Asked(epoch)).collect();
            for held in gone.into_iter().filter(|held| held.is_heard) {
                self.hear_of_record(state, held.batch.job.producer, &held.batch, &WriteResult::Retriable);
            }
        }
    }
}

/// The identity that a coordinator knows, if it is that of the next epoch and has no transaction yet.
fn one_above(keeps: ProducerIdAndEpoch, at: &Coordinator) -> Option<ProducerIdAndEpoch> {
    let known = at.shard.describe(&id()).ok().filter(|known| known.state == TransactionState::Empty)?;
    let next = ProducerIdAndEpoch { producer_epoch: keeps.producer_epoch + 1, ..keeps };
    (known.producer == next).then_some(next)
}

fn addition(reply: &TxnReply) -> Result<(), TxnError> {
    match reply {
        TxnReply::AddPartitions(result) => *result,
        TxnReply::InitProducerId(_) | TxnReply::EndTxn(_) => unreachable!("an answer of another kind: {reply:?}"),
    }
}
