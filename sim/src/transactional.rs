//! A producer that makes transactions, of both protocols, as its application and its client library act: one request
//! after the other, each repeated until its answer is final.
//!
//! It knows no connection. [`Writer::ask`] says what to send and to the leader of which entry, [`Writer::answered`]
//! what an answer means. A producer that meets an error after which a client library would need another epoch ends, and
//! its application begins again, with another number and the same transactional id. One of the second protocol that
//! finds its epoch gone while it writes aborts first, as Java's does: if the coordinator has aborted the transaction
//! after its time-out, the producer continues with the next epoch.
//!
//! A transaction may take the input of a group ([`Taken`]): after its records it commits the group's offset. One whose
//! member has lost its place in the group aborts.

use std::ops::Range;

use anyhow::{Result, bail};
use ottla_batch::{BatchBuilder, Codec, NewRecord};
use ottla_history::transactions::{Operation, Outcome, Protocol};
use ottla_history::{Id, Partition as Numbered};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m24_add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use ottla_wire::m25_add_offsets_to_txn::AddOffsetsToTxnRequest;
use ottla_wire::m26_end_txn::EndTxnRequest;
use ottla_wire::m28_txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::{Bytes, ErrorCode, Str, decode_response};

use crate::client::bytes;
use crate::judges::Judges;
use crate::random::Random;
use crate::topics::{self, GROUPS, OFFSETS, PARTITIONS, STATE};

/// Most records of a transaction.
const MOST_RECORDS: usize = 4;
/// `transaction.timeout.ms`.
const TIMEOUT_MS: i32 = 15_000;
const INIT_PRODUCER_ID: i16 = 4;
const ADD_PARTITIONS_TO_TXN: i16 = 3;
const ADD_OFFSETS_TO_TXN: i16 = 4;

/// A producer with a transactional id.
pub(crate) struct Writer {
    /// Another one for each life of the application.
    pub number: u32,
    /// Which transactional id: shared with the lives before, which may not have ended.
    pub id: usize,
    protocol: Protocol,
    /// Id and epoch.
    producer: Option<(i64, i16)>,
    /// Of its next record.
    next: u32,
    /// Kafka's next sequence, by partition.
    sequences: [i32; PARTITIONS],
    state: State,
}

enum State {
    /// It has no producer id, or no transaction.
    Idle,
    Open(Transaction),
    /// Another life may begin.
    Over,
}

struct Transaction {
    /// Where its further records go, the last first.
    left: Vec<usize>,
    commits: bool,
    is_added: [bool; PARTITIONS],
    /// The record that is not acknowledged yet.
    record: Option<(usize, Id, Bytes)>,
    /// The input that it takes, and how far the commit of its offset has got.
    taken: Option<(Taken, Progress)>,
    /// Its end was asked for.
    is_ending: bool,
}

/// Input of a group, whose offset is committed with the records that were made of it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub group: usize,
    /// Whose input it is, in which generation or member epoch.
    pub member: Str,
    pub generation: i32,
    pub partition: usize,
    /// From its first record to the offset that is committed.
    pub offsets: Range<i64>,
}

/// How far the commit of an offset in a transaction has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The transaction does not know of it.
    New,
    /// The transaction's coordinator knows of it, before the group's does: of the first protocol only.
    Added,
    /// It was sent to the group's coordinator, and may be there.
    Sent,
    /// It is there, and counts when the transaction is committed.
    Pending,
}

/// What an answer means.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It is done.
    Done,
    /// A record is there, at this offset if that is known.
    Record { partition: usize, offset: Option<i64> },
    /// The transaction has ended; with the input that it has taken for good, if it took any and is committed.
    Ended(Option<Taken>),
    /// It is refused.
    Refused(ErrorCode),
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Init,
    Add(usize),
    Produce(usize),
    AddOffsets,
    CommitOffsets,
    End,
}

impl Writer {
    pub(crate) fn new(number: u32, id: usize, protocol: Protocol) -> Writer {
        Writer { number, id, protocol, producer: None, next: 0, sequences: [0; PARTITIONS], state: State::Idle }
    }

    /// Whether it has ended for good.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether its transaction has ended, if there was one.
    pub(crate) fn is_idle(&self) -> bool {
        !matches!(self.state, State::Open(_))
    }

    /// Whether it may begin a transaction.
    pub(crate) fn is_ready(&self) -> bool {
        self.producer.is_some() && matches!(self.state, State::Idle)
    }

    /// By which protocol it acts.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The partition whose input its transaction takes.
    pub(crate) fn takes(&self) -> Option<usize> {
        let State::Open(Transaction { taken: Some((taken, _)), .. }) = &self.state else { return None };
        Some(taken.partition)
    }

    /// Whether its transaction has committed an offset, which does not count yet.
    pub(crate) fn has_pending_offset(&self) -> bool {
        matches!(&self.state, State::Open(Transaction { taken: Some((_, Progress::Pending)), .. }))
    }

    /// Whether the end of its transaction was asked for and not answered.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(&self.state, State::Open(transaction) if transaction.is_ending)
    }

    fn name(&self) -> String {
        format!("ledger {}", self.id)
    }

    /// Begins a transaction if none is open, it may, and it has a producer id.
    pub(crate) fn begin(&mut self, taken: Option<Taken>, random: &mut Random, judges: &mut Judges) {
        if !self.is_ready() {
            return;
        }
        // What takes input has other things to ask for besides.
        let most = if taken.is_some() { MOST_RECORDS / 2 } else { MOST_RECORDS };
        let left = (0..1 + random.below(most)).map(|_| random.below(PARTITIONS)).collect();
        let commits = random.happens(750);
        self.state = State::Open(Transaction {
            left,
            commits,
            is_added: [false; PARTITIONS],
            record: None,
            taken: taken.map(|taken| (taken, Progress::New)),
            is_ending: false,
        });
        judges.transactions.observe(Operation::Begun { client: self.number, protocol: self.protocol });
    }

    /// What to ask next, and the entry whose leader is to be asked; again, if it was not answered. None: it waits for
    /// [`Writer::begin`].
    pub(crate) fn ask(&mut self, judges: &mut Judges) -> Option<(Turn, usize, Vec<u8>)> {
        let name = self.name();
        let Some((producer_id, producer_epoch)) = self.producer else {
            let request = InitProducerIdRequest {
                transactional_id: Some(name.into()),
                transaction_timeout_ms: TIMEOUT_MS,
                producer_id: -1,
                producer_epoch: -1,
            };
            return (!self.is_over()).then(|| (Turn::Init, STATE, bytes(0, INIT_PRODUCER_ID, &request)));
        };
        let (number, protocol) = (self.number, self.protocol);
        let State::Open(transaction) = &mut self.state else { return None };
        if transaction.record.is_none()
            && let Some(partition) = transaction.left.pop()
        {
            let id = Id { producer: number, sequence: self.next };
            self.next += 1;
            let value = id.payload(40);
            let builder = BatchBuilder::new(Codec::None).transactional();
            let mut builder = builder.producer(producer_id, producer_epoch, self.sequences[partition]);
            builder.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(&value), ..NewRecord::default() });
            transaction.record = Some((partition, id, builder.build().bytes().clone()));
            judges.transactions.observe(Operation::Sent { id });
        }
        let Some((partition, _, batch)) = &transaction.record else {
            if let Some((taken, progress @ (Progress::New | Progress::Added | Progress::Sent))) = &mut transaction.taken
            {
                if protocol == Protocol::V1 && *progress == Progress::New {
                    let (transactional_id, group_id) = (name.into(), GROUPS[taken.group].into());
                    let request = AddOffsetsToTxnRequest { transactional_id, producer_id, producer_epoch, group_id };
                    return Some((Turn::AddOffsets, STATE, bytes(0, ADD_OFFSETS_TO_TXN, &request)));
                }
                if std::mem::replace(progress, Progress::Sent) != Progress::Sent {
                    judges.transactions.observe(Operation::OffsetsSent {
                        client: number,
                        group: taken.group as u32,
                        partition: Numbered(taken.partition as u32),
                        taken: taken.offsets.clone(),
                    });
                }
                let request = commit_offsets(taken, name.into(), producer_id, producer_epoch);
                return Some((Turn::CommitOffsets, OFFSETS, bytes(0, txn_offset_commit(protocol), &request)));
            }
            transaction.is_ending = true;
            let committed = transaction.commits;
            if let (true, Some((taken, _))) = (committed, &transaction.taken) {
                judges.asks_to_commit(taken.group, taken.partition, taken.offsets.end);
            }
            let request = EndTxnRequest { transactional_id: name.into(), producer_id, producer_epoch, committed };
            return Some((Turn::End, STATE, bytes(0, end_txn(protocol), &request)));
        };
        let partition = *partition;
        if protocol == Protocol::V1 && !transaction.is_added[partition] {
            let topic = AddPartitionsToTxnTopic { name: topics::NAME.into(), partitions: vec![partition as i32] };
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: name.into(),
                v3_and_below_producer_id: producer_id,
                v3_and_below_producer_epoch: producer_epoch,
                v3_and_below_topics: vec![topic],
                ..AddPartitionsToTxnRequest::default()
            };
            return Some((Turn::Add(partition), STATE, bytes(0, ADD_PARTITIONS_TO_TXN, &request)));
        }
        let partition_data =
            vec![PartitionProduceData { index: partition as i32, records: Some(batch.clone().into()) }];
        let topic_data = vec![TopicProduceData { name: topics::NAME.into(), topic_id: topics::ID, partition_data }];
        let request = ProduceRequest { transactional_id: Some(name.into()), acks: -1, timeout_ms: 4_000, topic_data };
        Some((Turn::Produce(partition), partition, bytes(0, produce(protocol), &request)))
    }

    /// What the answer to `turn` means.
    pub(crate) fn answered(&mut self, turn: Turn, frame: Bytes, judges: &mut Judges) -> Result<Heard> {
        let code = match turn {
            Turn::Init => {
                let (_, answer) = decode_response::<InitProducerIdRequest>(INIT_PRODUCER_ID, frame)?;
                if answer.error_code == ErrorCode::NONE {
                    self.producer = Some((answer.producer_id, answer.producer_epoch));
                }
                answer.error_code
            }
            Turn::Add(partition) => {
                let (_, answer) = decode_response::<AddPartitionsToTxnRequest>(ADD_PARTITIONS_TO_TXN, frame)?;
                let results = answer.results_by_topic_v3_and_below.into_iter();
                let code = results.flat_map(|topic| topic.results_by_partition).next();
                let Some(code) = code else { bail!("an answer to AddPartitionsToTxn without a partition") };
                if let (ErrorCode::NONE, State::Open(transaction)) = (code.partition_error_code, &mut self.state) {
                    transaction.is_added[partition] = true;
                }
                code.partition_error_code
            }
            Turn::Produce(partition) => {
                let (_, answer) = decode_response::<ProduceRequest>(produce(self.protocol), frame)?;
                let answer = answer.responses.into_iter().flat_map(|topic| topic.partition_responses).next();
                let Some(answer) = answer else { bail!("an answer to a producer without a partition") };
                let is_there = matches!(answer.error_code, ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
                if let (true, State::Open(transaction)) = (is_there, &mut self.state)
                    && let Some((_, id, _)) = transaction.record.take()
                {
                    self.sequences[partition] += 1;
                    let offset = Some(answer.base_offset).filter(|offset| *offset >= 0);
                    judges.transactions.observe(Operation::Acknowledged {
                        id,
                        partition: Numbered(partition as u32),
                        offset,
                    });
                    return Ok(Heard::Record { partition, offset });
                }
                let is_fenced = answer.error_code == ErrorCode::INVALID_PRODUCER_EPOCH;
                if is_fenced && self.protocol == Protocol::V2 {
                    self.will_abort();
                    return Ok(Heard::Refused(answer.error_code));
                }
                answer.error_code
            }
            Turn::AddOffsets => {
                let (_, answer) = decode_response::<AddOffsetsToTxnRequest>(ADD_OFFSETS_TO_TXN, frame)?;
                if answer.error_code == ErrorCode::NONE {
                    self.progresses(Progress::Added);
                }
                answer.error_code
            }
            Turn::CommitOffsets => {
                let version = txn_offset_commit(self.protocol);
                let (_, answer) = decode_response::<TxnOffsetCommitRequest>(version, frame)?;
                let answer = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
                let Some(answer) = answer else { bail!("an answer to TxnOffsetCommit without a partition") };
                let is_fenced = answer.error_code == ErrorCode::INVALID_PRODUCER_EPOCH;
                match answer.error_code {
                    ErrorCode::NONE => self.progresses(Progress::Pending),
                    code if has_no_place(code) || (is_fenced && self.protocol == Protocol::V2) => {
                        self.will_abort();
                        return Ok(Heard::Refused(code));
                    }
                    _ => {}
                }
                answer.error_code
            }
            Turn::End => {
                let (_, answer) = decode_response::<EndTxnRequest>(end_txn(self.protocol), frame)?;
                if answer.error_code == ErrorCode::NONE {
                    let taken = self.ended(judges);
                    if self.protocol == Protocol::V2 {
                        // The next transaction has an epoch of its own.
                        self.producer = Some((answer.producer_id, answer.producer_epoch));
                        self.sequences = [0; PARTITIONS];
                    }
                    return Ok(Heard::Ended(taken));
                }
                answer.error_code
            }
        };
        if code == ErrorCode::NONE {
            return Ok(Heard::Done);
        }
        if !may_be_repeated(code) {
            self.end(judges);
        }
        Ok(Heard::Refused(code))
    }

    fn progresses(&mut self, to: Progress) {
        if let State::Open(Transaction { taken: Some((_, progress)), .. }) = &mut self.state {
            *progress = to;
        }
    }

    /// Nothing of its transaction is to stay.
    fn will_abort(&mut self) {
        if let State::Open(transaction) = &mut self.state {
            let (is_added, is_ending) = (transaction.is_added, transaction.is_ending);
            let nothing =
                Transaction { left: Vec::new(), commits: false, is_added, record: None, taken: None, is_ending };
            *transaction = nothing;
        }
    }

    fn ended(&mut self, judges: &mut Judges) -> Option<Taken> {
        let State::Open(transaction) = std::mem::replace(&mut self.state, State::Idle) else { return None };
        let outcome = if transaction.commits { Outcome::Committed } else { Outcome::Aborted };
        judges.transactions.observe(Operation::Ended { client: self.number, outcome });
        let (taken, _) = transaction.taken.filter(|_| transaction.commits)?;
        judges.has_committed(taken.group, taken.partition, taken.offsets.end);
        Some(taken)
    }

    /// Its application ends, or has to begin again.
    pub(crate) fn end(&mut self, judges: &mut Judges) {
        if let State::Open(transaction) = std::mem::replace(&mut self.state, State::Over) {
            // What was never asked to be committed never is.
            let in_doubt = transaction.is_ending && transaction.commits;
            let outcome = if in_doubt { Outcome::InDoubt } else { Outcome::Aborted };
            judges.transactions.observe(Operation::Ended { client: self.number, outcome });
        }
    }
}

fn commit_offsets(
    taken: &Taken,
    transactional_id: Str,
    producer_id: i64,
    producer_epoch: i16,
) -> TxnOffsetCommitRequest {
    let partitions = vec![TxnOffsetCommitRequestPartition {
        partition_index: taken.partition as i32,
        committed_offset: taken.offsets.end,
        committed_leader_epoch: -1,
        committed_metadata: None,
    }];
    TxnOffsetCommitRequest {
        transactional_id,
        group_id: GROUPS[taken.group].into(),
        producer_id,
        producer_epoch,
        generation_id: taken.generation,
        member_id: taken.member.clone(),
        group_instance_id: None,
        topics: vec![TxnOffsetCommitRequestTopic { name: topics::NAME.into(), partitions }],
    }
}

fn produce(protocol: Protocol) -> i16 {
    match protocol {
        Protocol::V1 => 11,
        Protocol::V2 => 13,
    }
}

fn end_txn(protocol: Protocol) -> i16 {
    match protocol {
        Protocol::V1 => 4,
        Protocol::V2 => 5,
    }
}

fn txn_offset_commit(protocol: Protocol) -> i16 {
    match protocol {
        Protocol::V1 => 4,
        Protocol::V2 => 5,
    }
}

/// Whether the member that the input was given to is not in the group any more, or not in this generation.
pub(crate) fn has_no_place(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::STALE_MEMBER_EPOCH
            | ErrorCode::FENCED_MEMBER_EPOCH
            | ErrorCode::REBALANCE_IN_PROGRESS
    )
}

/// Whether a client library sends the same request again after this answer.
fn may_be_repeated(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::CONCURRENT_TRANSACTIONS
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::NETWORK_EXCEPTION
            | ErrorCode::KAFKA_STORAGE_ERROR
    )
}

#[cfg(test)]
mod tests {
    use ottla_wire::m00_produce::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
    use ottla_wire::m22_init_producer_id::InitProducerIdResponse;
    use ottla_wire::m25_add_offsets_to_txn::AddOffsetsToTxnResponse;
    use ottla_wire::m26_end_txn::EndTxnResponse;
    use ottla_wire::m28_txn_offset_commit::{
        TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
    };
    use ottla_wire::{Chunk, ResponseMessage, encode_response};

    use super::*;
    use crate::judges::TRANSACTIONAL;
    use crate::topics::JOBS;

    /// An answer without its length.
    fn answer<R: ResponseMessage>(version: i16, response: &R) -> Bytes {
        let frame = encode_response(version, 0, response).expect("it is small");
        let chunks: Vec<u8> = frame
            .into_chunks()
            .into_iter()
            .flat_map(|chunk| if let Chunk::Bytes(bytes) = chunk { bytes.to_vec() } else { Vec::new() })
            .collect();
        Bytes::from(chunks).slice(4..)
    }

    /// A producer whose transaction is open, and which has sent a record in it.
    fn open(protocol: Protocol, judges: &mut Judges) -> Writer {
        let mut writer = Writer::new(TRANSACTIONAL, 0, protocol);
        let begun = InitProducerIdResponse { producer_id: 7, producer_epoch: 3, ..Default::default() };
        writer.answered(Turn::Init, answer(INIT_PRODUCER_ID, &begun), judges).expect("an answer");
        writer.begin(None, &mut Random::new(1), judges);
        let State::Open(transaction) = &mut writer.state else { panic!("it begins") };
        (transaction.left, transaction.commits, transaction.is_added) = (vec![1, 0], true, [true; PARTITIONS]);
        assert!(matches!(writer.ask(judges), Some((Turn::Produce(0), 0, _))));
        writer
    }

    fn refused(code: ErrorCode) -> ProduceResponse {
        let refused = PartitionProduceResponse { error_code: code, ..Default::default() };
        let topic = TopicProduceResponse { partition_responses: vec![refused], ..Default::default() };
        ProduceResponse { responses: vec![topic], ..Default::default() }
    }

    #[test]
    fn one_of_the_second_protocol_that_was_fenced_by_a_time_out_goes_on_with_the_next_epoch() {
        let judges = &mut Judges::default();
        let mut writer = open(Protocol::V2, judges);
        let fenced = answer(produce(Protocol::V2), &refused(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert!(matches!(writer.answered(Turn::Produce(0), fenced, judges), Ok(Heard::Refused(_))));
        assert!(matches!(writer.ask(judges), Some((Turn::End, STATE, _))), "it sends no other record");
        let next = EndTxnResponse { producer_id: 7, producer_epoch: 4, ..Default::default() };
        writer.answered(Turn::End, answer(end_txn(Protocol::V2), &next), judges).expect("an answer");
        assert!(writer.is_idle() && !writer.is_over());
        assert_eq!((writer.producer, writer.sequences), (Some((7, 4)), [0; PARTITIONS]));
    }

    #[test]
    fn one_of_the_first_protocol_that_was_fenced_ends() {
        let judges = &mut Judges::default();
        let mut writer = open(Protocol::V1, judges);
        let fenced = answer(produce(Protocol::V1), &refused(ErrorCode::INVALID_PRODUCER_EPOCH));
        writer.answered(Turn::Produce(0), fenced, judges).expect("an answer");
        assert!(writer.is_over());
    }

    fn taken() -> Taken {
        Taken { group: JOBS, member: "member".into(), generation: 2, partition: 1, offsets: 3..8 }
    }

    /// A producer that has sent all records of a transaction, and takes input with it.
    fn written(protocol: Protocol, judges: &mut Judges) -> Writer {
        let mut writer = open(protocol, judges);
        let State::Open(transaction) = &mut writer.state else { panic!("it is open") };
        (transaction.left, transaction.record) = (Vec::new(), None);
        transaction.taken = Some((taken(), Progress::New));
        writer
    }

    fn committed(code: ErrorCode) -> TxnOffsetCommitResponse {
        let partition = TxnOffsetCommitResponsePartition { partition_index: 1, error_code: code };
        let topic = TxnOffsetCommitResponseTopic { partitions: vec![partition], ..Default::default() };
        TxnOffsetCommitResponse { topics: vec![topic], ..Default::default() }
    }

    #[test]
    fn an_offset_is_committed_with_the_records_and_counts_when_the_transaction_is_committed() {
        for protocol in [Protocol::V1, Protocol::V2] {
            let judges = &mut Judges::default();
            let mut writer = written(protocol, judges);
            if protocol == Protocol::V1 {
                assert!(matches!(writer.ask(judges), Some((Turn::AddOffsets, STATE, _))));
                let added = answer(ADD_OFFSETS_TO_TXN, &AddOffsetsToTxnResponse::default());
                writer.answered(Turn::AddOffsets, added, judges).expect("an answer");
            }
            assert!(matches!(writer.ask(judges), Some((Turn::CommitOffsets, OFFSETS, _))));
            let done = answer(txn_offset_commit(protocol), &committed(ErrorCode::NONE));
            writer.answered(Turn::CommitOffsets, done, judges).expect("an answer");
            assert!(writer.has_pending_offset());
            judges.read_stable(JOBS, 1, Some(8), None).expect_err("nobody has asked for the commit yet");
            assert!(matches!(writer.ask(judges), Some((Turn::End, STATE, _))));
            judges.read_stable(JOBS, 1, Some(8), None).expect("it is asked for");
            assert_eq!(judges.known_commit(JOBS, 1), None);
            let done = answer(end_txn(protocol), &EndTxnResponse::default());
            let heard = writer.answered(Turn::End, done, judges).expect("an answer");
            assert!(matches!(heard, Heard::Ended(Some(_))));
            assert_eq!(judges.known_commit(JOBS, 1), Some(8));
        }
    }

    #[test]
    fn a_transaction_aborts_whose_member_has_lost_its_place() {
        let judges = &mut Judges::default();
        let mut writer = written(Protocol::V2, judges);
        assert!(matches!(writer.ask(judges), Some((Turn::CommitOffsets, OFFSETS, _))));
        let fenced = answer(txn_offset_commit(Protocol::V2), &committed(ErrorCode::ILLEGAL_GENERATION));
        assert!(matches!(writer.answered(Turn::CommitOffsets, fenced, judges), Ok(Heard::Refused(_))));
        assert!(matches!(writer.ask(judges), Some((Turn::End, STATE, _))));
        let done = answer(end_txn(Protocol::V2), &EndTxnResponse::default());
        let heard = writer.answered(Turn::End, done, judges).expect("an answer");
        assert!(matches!(heard, Heard::Ended(None)));
        assert_eq!(judges.known_commit(JOBS, 1), None);
        judges.read_stable(JOBS, 1, Some(8), None).expect_err("it is aborted");
    }
}
