//! A producer that makes transactions, of both protocols, as its application and its client library act: one request
//! after the other, each repeated until its answer is final.
//!
//! It knows no connection. [`Writer::ask`] says what to send and to the leader of which entry, [`Writer::answered`]
//! what an answer means. A producer that meets an error after which a client library would need another epoch ends, and
//! its application begins again, with another number and the same transactional id. One of the second protocol that
//! finds its epoch gone while it writes aborts first, as Java's does: if the coordinator has aborted the transaction
//! after its time-out, the producer continues with the next epoch.

use anyhow::{Result, bail};
use ottla_batch::{BatchBuilder, Codec, NewRecord};
use ottla_history::transactions::{Checker, Operation, Outcome, Protocol};
use ottla_history::{Id, Partition as Numbered};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m24_add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use ottla_wire::m26_end_txn::EndTxnRequest;
use ottla_wire::{Bytes, ErrorCode, decode_response};

use crate::client::bytes;
use crate::random::Random;
use crate::topics::{self, PARTITIONS, STATE};

/// Most records of a transaction.
const MOST_RECORDS: usize = 4;
/// `transaction.timeout.ms`.
const TIMEOUT_MS: i32 = 15_000;
const INIT_PRODUCER_ID: i16 = 4;
const ADD_PARTITIONS_TO_TXN: i16 = 3;

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
    /// Its end was asked for.
    is_ending: bool,
}

/// What an answer means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard {
    /// It is done.
    Done,
    /// A record is there, at this offset if that is known.
    Record { partition: usize, offset: Option<i64> },
    /// It is refused.
    Refused(ErrorCode),
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Init,
    Add(usize),
    Produce(usize),
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

    /// Whether the end of its transaction was asked for and not answered.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(&self.state, State::Open(transaction) if transaction.is_ending)
    }

    fn name(&self) -> String {
        format!("ledger {}", self.id)
    }

    /// Begins a transaction if none is open, it may, and it has a producer id.
    pub(crate) fn begin(&mut self, random: &mut Random, checker: &mut Checker) {
        if self.producer.is_none() || !matches!(self.state, State::Idle) {
            return;
        }
        let left = (0..1 + random.below(MOST_RECORDS)).map(|_| random.below(PARTITIONS)).collect();
        let commits = random.happens(750);
        self.state =
            State::Open(Transaction { left, commits, is_added: [false; PARTITIONS], record: None, is_ending: false });
        checker.observe(Operation::Begun { client: self.number, protocol: self.protocol });
    }

    /// What to ask next, and the entry whose leader is to be asked; again, if it was not answered. None: it waits for
    /// [`Writer::begin`].
    pub(crate) fn ask(&mut self, checker: &mut Checker) -> Option<(Turn, usize, Vec<u8>)> {
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
            checker.observe(Operation::Sent { id });
        }
        let Some((partition, _, batch)) = &transaction.record else {
            transaction.is_ending = true;
            let committed = transaction.commits;
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
    pub(crate) fn answered(&mut self, turn: Turn, frame: Bytes, checker: &mut Checker) -> Result<Heard> {
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
                    checker.observe(Operation::Acknowledged { id, partition: Numbered(partition as u32), offset });
                    return Ok(Heard::Record { partition, offset });
                }
                let is_fenced = answer.error_code == ErrorCode::INVALID_PRODUCER_EPOCH;
                if let (true, Protocol::V2, State::Open(transaction)) = (is_fenced, self.protocol, &mut self.state) {
                    *transaction = Transaction { left: Vec::new(), commits: false, record: None, ..*transaction };
                    return Ok(Heard::Refused(answer.error_code));
                }
                answer.error_code
            }
            Turn::End => {
                let (_, answer) = decode_response::<EndTxnRequest>(end_txn(self.protocol), frame)?;
                if answer.error_code == ErrorCode::NONE {
                    self.ended(checker);
                    if self.protocol == Protocol::V2 {
                        // The next transaction has an epoch of its own.
                        self.producer = Some((answer.producer_id, answer.producer_epoch));
                        self.sequences = [0; PARTITIONS];
                    }
                    return Ok(Heard::Done);
                }
                answer.error_code
            }
        };
        if code == ErrorCode::NONE {
            return Ok(Heard::Done);
        }
        if !may_be_repeated(code) {
            self.end(checker);
        }
        Ok(Heard::Refused(code))
    }

    fn ended(&mut self, checker: &mut Checker) {
        if let State::Open(transaction) = std::mem::replace(&mut self.state, State::Idle) {
            let outcome = if transaction.commits { Outcome::Committed } else { Outcome::Aborted };
            checker.observe(Operation::Ended { client: self.number, outcome });
        }
    }

    /// Its application ends, or has to begin again.
    pub(crate) fn end(&mut self, checker: &mut Checker) {
        if let State::Open(transaction) = std::mem::replace(&mut self.state, State::Over) {
            // What was never asked to be committed never is.
            let in_doubt = transaction.is_ending && transaction.commits;
            let outcome = if in_doubt { Outcome::InDoubt } else { Outcome::Aborted };
            checker.observe(Operation::Ended { client: self.number, outcome });
        }
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
    use ottla_wire::m26_end_txn::EndTxnResponse;
    use ottla_wire::{Chunk, ResponseMessage, encode_response};

    use super::*;
    use crate::client::TRANSACTIONAL;

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
    fn open(protocol: Protocol, checker: &mut Checker) -> Writer {
        let mut writer = Writer::new(TRANSACTIONAL, 0, protocol);
        let begun = InitProducerIdResponse { producer_id: 7, producer_epoch: 3, ..Default::default() };
        writer.answered(Turn::Init, answer(INIT_PRODUCER_ID, &begun), checker).expect("an answer");
        writer.begin(&mut Random::new(1), checker);
        let State::Open(transaction) = &mut writer.state else { panic!("it begins") };
        (transaction.left, transaction.commits, transaction.is_added) = (vec![1, 0], true, [true; PARTITIONS]);
        assert!(matches!(writer.ask(checker), Some((Turn::Produce(0), 0, _))));
        writer
    }

    fn refused(code: ErrorCode) -> ProduceResponse {
        let refused = PartitionProduceResponse { error_code: code, ..Default::default() };
        let topic = TopicProduceResponse { partition_responses: vec![refused], ..Default::default() };
        ProduceResponse { responses: vec![topic], ..Default::default() }
    }

    #[test]
    fn one_of_the_second_protocol_that_was_fenced_by_a_time_out_goes_on_with_the_next_epoch() {
        let checker = &mut Checker::default();
        let mut writer = open(Protocol::V2, checker);
        let fenced = answer(produce(Protocol::V2), &refused(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert!(matches!(writer.answered(Turn::Produce(0), fenced, checker), Ok(Heard::Refused(_))));
        assert!(matches!(writer.ask(checker), Some((Turn::End, STATE, _))), "it sends no other record");
        let next = EndTxnResponse { producer_id: 7, producer_epoch: 4, ..Default::default() };
        writer.answered(Turn::End, answer(end_txn(Protocol::V2), &next), checker).expect("an answer");
        assert!(writer.is_idle() && !writer.is_over());
        assert_eq!((writer.producer, writer.sequences), (Some((7, 4)), [0; PARTITIONS]));
    }

    #[test]
    fn one_of_the_first_protocol_that_was_fenced_ends() {
        let checker = &mut Checker::default();
        let mut writer = open(Protocol::V1, checker);
        let fenced = answer(produce(Protocol::V1), &refused(ErrorCode::INVALID_PRODUCER_EPOCH));
        writer.answered(Turn::Produce(0), fenced, checker).expect("an answer");
        assert!(writer.is_over());
    }
}
