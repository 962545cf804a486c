//! What clients do that are picked, and what they make of answers.

use anyhow::{Result, bail};
use ottla_history::{Operation, Partition as Numbered};
use ottla_rules::assignment::LeaderEpoch;
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m08_offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::m21_delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::{Bytes, ErrorCode, FetchRequest, ProduceRequest, Records, decode_response};

use crate::client::{Client, Connection, FETCH, OFFSET_FETCH, PATIENCE, PRODUCE, Wants};
use crate::fault::Fault;
use crate::topics::{self, GROUPS, JOBS, OFFSETS, PARTITIONS};
use crate::world::World;

const LIST_OFFSETS: i16 = 7;
const DELETE_RECORDS: i16 = 2;
const OFFSET_COMMIT: i16 = 9;
/// Jobs that do something at a time.
const JOBS_AT_ONCE: usize = 3;

/// Deletes records that were consumed.
#[derive(Default)]
pub(crate) struct Deleter {
    pub client: Client<usize>,
    /// Before which offsets nothing may ever be read again, by partition.
    pub acknowledged: [i64; PARTITIONS],
}

/// Commits one offset after the other, and asks what was committed.
#[derive(Default)]
pub(crate) struct Group {
    pub client: Client<Turn>,
    next: i64,
    /// What each group has committed of each partition, as it was answered since all was healed.
    pub at_end: [[Option<Option<i64>>; PARTITIONS]; GROUPS.len()],
}

/// What a group has asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Commit {
        partition: usize,
        offset: i64,
    },
    /// What must be there, and the coordinator's epoch, if it is one by the newest entry.
    Fetch {
        group: usize,
        partition: usize,
        known: Option<i64>,
        sure_of: Option<LeaderEpoch>,
        /// All is healed, and no transaction is open.
        is_last: bool,
    },
}

impl World {
    /// A connection to a broker that believes that it leads, or one of those that run.
    pub(crate) fn connect(&mut self, entry: usize, rather: Option<usize>) -> Option<Connection> {
        let to = match rather.filter(|at| self.nodes[*at].is_up()) {
            Some(at) => at,
            None => {
                let leads = |at: &usize| self.leader_epoch(*at, entry).is_some();
                let leaders: Vec<usize> = (0..self.nodes.len()).filter(leads).collect();
                *self.random.pick(&leaders)?
            }
        };
        let (number, made) = self.network.connect(to, &mut self.random);
        self.nodes[to].accept(made.stream);
        Some(Connection { number, to })
    }

    /// The epoch in which a broker leads by the newest entry, and knows it.
    pub(crate) fn sure_of(&self, at: usize, entry: usize) -> Option<LeaderEpoch> {
        let newest = self.api.entry(entry);
        let leads = newest.leader == Some(self.nodes[at].id);
        self.leader_epoch(at, entry).filter(|epoch| leads && *epoch == newest.leader_epoch)
    }

    fn log_start(&self, at: usize, entry: usize) -> i64 {
        self.nodes[at].partition(entry).map_or(0, |partition| partition.status().log_start)
    }

    /// A client does something.
    pub(crate) fn act(&mut self) -> Result<()> {
        if let Some(ledger) = &self.ledger
            && self.random.happens(500)
        {
            // A job has more to do for each transaction.
            let times = if ledger.has_jobs { JOBS_AT_ONCE } else { 1 };
            for _ in 0..times {
                self.write_ledger();
            }
            return Ok(());
        }
        if self.members.is_some() && self.random.happens(300) {
            self.use_membership();
            return Ok(());
        }
        if self.loyal.is_some() && self.random.happens(50) {
            self.stay();
            return Ok(());
        }
        let partition = self.random.below(PARTITIONS);
        match self.random.below(100) {
            0..60 => self.produce(),
            60..80 => self.consume(),
            80..95 => self.use_group(partition),
            _ => self.delete(partition),
        }
        Ok(())
    }

    /// A producer sends a record.
    fn produce(&mut self) {
        let number = self.random.below(self.producers.len());
        let now = self.now;
        let producer = &mut self.producers[number];
        let partition = producer.partition;
        if producer.waits_since().is_some_and(|since| now - since >= PATIENCE) {
            self.give_up_producer(number);
        }
        let open = self.producers[number].connection.filter(|connection| self.network.is_open(connection.number));
        let connection = match open {
            Some(connection) => connection,
            None => {
                let Some(connection) = self.connect(partition, None) else { return };
                let sure_of = self.sure_of(connection.to, partition);
                let producer = &mut self.producers[number];
                if producer.is_waiting() {
                    *self.counts.entry(Fault::Retries).or_default() += 1;
                }
                producer.connect(connection, &mut self.checker.records);
                producer.sure_of = sure_of;
                connection
            }
        };
        // In the end it is time to come to an end.
        if let Some((_, bytes)) = self.producers[number].send(self.faulty, now) {
            self.network.send(connection.number, &bytes);
        }
    }

    fn give_up_producer(&mut self, number: usize) {
        if let Some(connection) = self.producers[number].connection.take() {
            self.network.give_up(connection.number);
        }
    }

    fn consume(&mut self) {
        let number = self.random.below(self.consumers.len());
        let consumer = &self.consumers[number];
        let (partition, preferred) = (consumer.partition, consumer.preferred);
        let open = consumer.client.open(&self.network, PATIENCE, self.now);
        if open.is_some() && consumer.client.asked.is_some() {
            return;
        }
        let Some(connection) = open.or_else(|| self.connect(partition, preferred)) else { return };
        let consumer = &mut self.consumers[number];
        consumer.client.change_to(connection, &mut self.network);
        let bytes = consumer.fetch(self.now);
        self.network.send(connection.number, &bytes);
    }

    fn delete(&mut self, partition: usize) {
        let late = self.deleter.client.asked.as_ref().is_some_and(|asked| self.now - asked.at >= 2 * PATIENCE);
        if !self.faulty || (self.deleter.client.asked.is_some() && !late) || !self.taste_deletes {
            return;
        }
        let plain = self.consumers.iter().filter(|consumer| !consumer.is_committed);
        let consumed = plain.filter(|consumer| consumer.partition == partition);
        let Some(most) = consumed.map(|consumer| consumer.position).min().filter(|most| *most > 0) else { return };
        let offset = 1 + self.random.below(most as usize) as i64;
        let Some(connection) = self.connect(partition, None) else { return };
        let partitions = vec![DeleteRecordsPartition { partition_index: partition as i32, offset }];
        let topics = vec![DeleteRecordsTopic { name: topics::NAME.into(), partitions }];
        let request = DeleteRecordsRequest { topics, timeout_ms: 3_000 };
        let bytes = self.deleter.client.ask(DELETE_RECORDS, &request, partition, self.now);
        self.deleter.client.change_to(connection, &mut self.network);
        self.network.send(connection.number, &bytes);
    }

    fn use_group(&mut self, partition: usize) {
        let open = self.group.client.open(&self.network, 2 * PATIENCE, self.now);
        if open.is_some() && self.group.client.asked.is_some() {
            return;
        }
        let Some(connection) = open.or_else(|| self.connect(OFFSETS, None)) else { return };
        let bytes = if self.faulty && self.random.happens(500) {
            self.group.next += 1;
            let offset = self.group.next;
            let partitions = vec![OffsetCommitRequestPartition {
                partition_index: partition as i32,
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }];
            let topics = vec![OffsetCommitRequestTopic { name: topics::NAME.into(), partitions, ..Default::default() }];
            let in_doubt = Operation::CommitInDoubt { group: 0, partition: Numbered(partition as u32), offset };
            self.checker.records.observe(in_doubt);
            let request = OffsetCommitRequest { group_id: GROUPS[0].into(), topics, ..OffsetCommitRequest::default() };
            self.group.client.ask(OFFSET_COMMIT, &request, Turn::Commit { partition, offset }, self.now)
        } else {
            let groups = self.groups();
            let group = if let [group] = groups { *group } else { groups[self.random.below(groups.len())] };
            let known = self.checker.known_commit(group, partition);
            let sure_of = self.sure_of(connection.to, OFFSETS);
            let is_last = self.is_at_rest();
            let partition_indexes = vec![partition as i32];
            let topics =
                vec![OffsetFetchRequestTopics { name: topics::NAME.into(), partition_indexes, ..Default::default() }];
            let (group_id, topics) = (GROUPS[group].into(), Some(topics));
            let groups = vec![OffsetFetchRequestGroup { group_id, topics, ..Default::default() }];
            let request = OffsetFetchRequest { groups, require_stable: group >= JOBS, ..OffsetFetchRequest::default() };
            let turn = Turn::Fetch { group, partition, known, sure_of, is_last };
            self.group.client.ask(OFFSET_FETCH, &request, turn, self.now)
        };
        self.group.client.change_to(connection, &mut self.network);
        self.network.send(connection.number, &bytes);
    }

    /// Clients hear what has come for them.
    pub(crate) fn hear(&mut self) -> Result<()> {
        for number in 0..self.producers.len() {
            while let Some(connection) = self.producers[number].connection
                && let Some(frame) = self.network.receive(connection.number)
            {
                self.produced(number, connection, frame)?;
            }
        }
        for number in 0..self.consumers.len() {
            if let Some(connection) = self.consumers[number].client.connection
                && let Some(frame) = self.network.receive(connection.number)
            {
                self.consumed(number, connection, frame)?;
            }
        }
        if let Some(connection) = self.deleter.client.connection
            && let Some(frame) = self.network.receive(connection.number)
        {
            self.deleted(frame)?;
        }
        if let Some(connection) = self.group.client.connection
            && let Some(frame) = self.network.receive(connection.number)
        {
            self.heard_of_offsets(frame)?;
        }
        self.hear_the_loyal()?;
        self.hear_of_memberships()?;
        self.hear_of_ledger()
    }

    fn produced(&mut self, number: usize, connection: Connection, frame: Bytes) -> Result<()> {
        let (correlation, response) = decode_response::<ProduceRequest>(PRODUCE, frame)?;
        let sequence = correlation as u32;
        let answer = response.responses.into_iter().flat_map(|topic| topic.partition_responses).next();
        let Some(answer) = answer else { bail!("an answer to a producer without a partition") };
        let producer = &mut self.producers[number];
        let (id, partition) = (producer.id(sequence), producer.partition);
        match answer.error_code {
            ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
                let offset = Some(answer.base_offset).filter(|offset| *offset >= 0);
                producer.acknowledged(sequence, offset, &mut self.checker.records);
                if !producer.is_idempotent() {
                    *self.counts.entry(Fault::LeaderAcknowledges).or_default() += 1;
                }
                let expiration = self.producer_expiration;
                if expiration.is_some_and(|expiration| producer.may_be_forgotten(sequence, self.now, expiration)) {
                    *self.counts.entry(Fault::ProducerForgotten).or_default() += 1;
                }
                self.note(format!("{id} acknowledged by {} at {offset:?}", connection.to));
            }
            code => {
                let forgot = code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
                let sure_of = producer.sure_of.filter(|epoch| *epoch == self.api.entry(partition).leader_epoch);
                let leads = sure_of.is_some() && self.sure_of(connection.to, partition) == sure_of;
                let (now, expiration) = (self.now, self.producer_expiration);
                let producer = &mut self.producers[number];
                let is_stuck = forgot && leads && producer.is_idempotent() && producer.is_oldest(sequence);
                let may_be_forgotten =
                    expiration.is_some_and(|expiration| producer.may_be_forgotten(sequence, now, expiration));
                // The leader knows each batch that was acknowledged: the one after them is always welcome. Unless it
                // was appended once and is gone with the first records: of that a new process knows the producer's last
                // batch alone. Or the leader has forgotten the producer, and taken a later batch first.
                if is_stuck && self.log_start(connection.to, partition) == 0 && !may_be_forgotten {
                    let why = answer.error_message.unwrap_or_default();
                    bail!(
                        "{id} is the oldest that is not acknowledged, and {}, which leads, says: {why}",
                        connection.to
                    );
                }
                let producer = &mut self.producers[number];
                if is_stuck {
                    producer.refused(sequence, &mut self.checker.records);
                }
                if !producer.is_idempotent() {
                    producer.refused(sequence, &mut self.checker.records);
                }
                self.give_up_producer(number);
                let why = answer.error_message.unwrap_or_default();
                self.note(format!("{id} refused by {}: {code:?} ({why})", connection.to));
            }
        }
        Ok(())
    }

    fn consumed(&mut self, number: usize, connection: Connection, frame: Bytes) -> Result<()> {
        let Some(asked) = self.consumers[number].client.asked.take() else { bail!("an answer to nothing") };
        match asked.what {
            Wants::Records => self.fetched(number, connection, frame),
            Wants::Start => {
                let (_, response) = decode_response::<ListOffsetsRequest>(LIST_OFFSETS, frame)?;
                let found = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
                let consumer = &mut self.consumers[number];
                match found.filter(|found| found.error_code == ErrorCode::NONE) {
                    Some(found) if found.offset > consumer.position => {
                        consumer.seek(found.offset, &mut self.checker);
                        self.happened(Fault::LogStart, format!("consumer {number} continues at {}", found.offset));
                    }
                    // It is a broker that lags behind: another one is asked.
                    Some(_) | None => self.leave(number),
                }
                Ok(())
            }
        }
    }

    /// A consumer looks for another broker.
    fn leave(&mut self, number: usize) {
        let consumer = &mut self.consumers[number];
        consumer.preferred = None;
        if let Some(connection) = consumer.client.connection.take() {
            self.network.give_up(connection.number);
        }
    }

    fn fetched(&mut self, number: usize, connection: Connection, frame: Bytes) -> Result<()> {
        let (_, response) = decode_response::<FetchRequest>(FETCH, frame)?;
        let data = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let consumer = &mut self.consumers[number];
        let Some(data) = data else { return Ok(()) };
        match data.error_code {
            ErrorCode::NONE if data.preferred_read_replica >= 0 => {
                consumer.preferred = Some(data.preferred_read_replica as usize);
                consumer.client.connection = None;
                self.network.give_up(connection.number);
            }
            ErrorCode::NONE => {
                let records = data.records.as_ref().and_then(Records::as_bytes).cloned().unwrap_or_default();
                let aborted = data.aborted_transactions.unwrap_or_default();
                let aborted: Vec<_> = aborted.iter().map(|one| (one.producer_id, one.first_offset)).collect();
                let taken = match consumer.take(records, &aborted, &mut self.checker) {
                    Ok(taken) => taken,
                    Err(damage) => bail!("consumer {number} was sent a damaged batch by {}: {damage}", connection.to),
                };
                if taken > 0 {
                    let (partition, position) = (consumer.partition, consumer.position);
                    self.shown[partition] = self.shown[partition].max(position);
                    if consumer.preferred.is_some() {
                        *self.counts.entry(Fault::FollowerFetch).or_default() += 1;
                    }
                    self.note(format!("consumed from {}, partition {partition}, up to {position}", connection.to));
                }
            }
            ErrorCode::OFFSET_OUT_OF_RANGE if consumer.preferred.is_none() => {
                // A log's start only rises, and nobody has been shown what is lost.
                let (position, asked) = (consumer.position, self.nodes[connection.to].partition(consumer.partition));
                if let Some(start) = asked.map(|partition| partition.status().log_start)
                    && start <= position
                {
                    bail!("consumer {number} got OFFSET_OUT_OF_RANGE for {position} from {}", connection.to);
                }
                let partitions = vec![ListOffsetsPartition {
                    partition_index: consumer.partition as i32,
                    timestamp: -2,
                    ..ListOffsetsPartition::default()
                }];
                let topics = vec![ListOffsetsTopic { name: topics::NAME.into(), partitions }];
                let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
                let bytes = consumer.client.ask(LIST_OFFSETS, &request, Wants::Start, self.now);
                self.network.send(connection.number, &bytes);
            }
            _ => self.leave(number),
        }
        Ok(())
    }

    fn deleted(&mut self, frame: Bytes) -> Result<()> {
        let (_, response) = decode_response::<DeleteRecordsRequest>(DELETE_RECORDS, frame)?;
        let connection = self.deleter.client.connection.take();
        let Some(asked) = self.deleter.client.asked.take() else { bail!("an answer to nothing") };
        let answer = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let Some(answer) = answer else { bail!("an answer to DeleteRecords without a partition") };
        if let Some(connection) = connection {
            self.network.give_up(connection.number);
        }
        if answer.error_code == ErrorCode::NONE {
            let start = &mut self.deleter.acknowledged[asked.what];
            *start = answer.low_watermark.max(*start);
            self.happened(Fault::DeleteRecords, format!("deleted up to {} in {}", answer.low_watermark, asked.what));
        }
        Ok(())
    }

    fn heard_of_offsets(&mut self, frame: Bytes) -> Result<()> {
        let Some(asked) = self.group.client.asked.take() else { bail!("an answer to nothing") };
        let code = match asked.what {
            Turn::Commit { partition, offset } => {
                let (_, response) = decode_response::<OffsetCommitRequest>(OFFSET_COMMIT, frame)?;
                let answer = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
                let code = answer.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |answer| answer.error_code);
                if code == ErrorCode::NONE {
                    let partition = Numbered(partition as u32);
                    self.checker.records.observe(Operation::Committed { group: 0, partition, offset });
                    self.happened(Fault::CommittedOffsets, format!("committed {offset} of {partition}"));
                }
                code
            }
            Turn::Fetch { group: number, partition, known, sure_of, is_last } => {
                let (_, response) = decode_response::<OffsetFetchRequest>(OFFSET_FETCH, frame)?;
                let Some(group) = response.groups.into_iter().next() else { bail!("no group in an answer") };
                let found = group.topics.into_iter().flat_map(|topic| topic.partitions).next();
                let code = found.as_ref().map_or(group.error_code, |found| found.error_code);
                if code == ErrorCode::NONE
                    && let Some(found) = found
                    // One that is the coordinator no more may not know it yet.
                    && sure_of == Some(self.api.entry(OFFSETS).leader_epoch)
                {
                    let offset = Some(found.committed_offset).filter(|offset| *offset >= 0);
                    let (name, place) = (GROUPS[number], Numbered(partition as u32));
                    self.note(format!("committed by {name} of {place}: {offset:?}, at least {known:?}"));
                    if number >= JOBS {
                        self.checker.read_stable(number, partition, offset, known)?;
                    } else {
                        let group = number as u32;
                        self.checker.records.observe(Operation::CommitRead { group, partition: place, offset, known });
                    }
                    let stays = if number >= JOBS { is_last } else { !self.faulty };
                    if stays {
                        self.group.at_end[number][partition] = Some(offset);
                    }
                }
                code
            }
        };
        match code {
            ErrorCode::NONE => {}
            ErrorCode::UNSTABLE_OFFSET_COMMIT => {
                self.happened(Fault::PendingOffsets, format!("the group's answer: {code:?}"));
            }
            _ => self.note(format!("the group's answer: {code:?}")),
        }
        if code != ErrorCode::NONE
            && let Some(connection) = self.group.client.connection.take()
        {
            self.network.give_up(connection.number);
        }
        Ok(())
    }
}
