//! Transactions: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn, markers, and what
//! describes them.
//!
//! The scripts share a broker and run side by side, so each lists the transactions of its own producers only.

use crate::consumers::{beat, join, settled_at_once};
use crate::groups::first_member;
use crate::offsets::{coordinated, fetch};
use crate::producing::{altered, produce};
use crate::{batch, play, text, topic};
use anyhow::{Result, ensure};
use ottla_e2e::answers::{Conversation, LIMIT};
use ottla_e2e::wait::until;
use ottla_wire::m00_produce::ProduceRequest;
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m24_add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_wire::m25_add_offsets_to_txn::AddOffsetsToTxnRequest;
use ottla_wire::m26_end_txn::EndTxnRequest;
use ottla_wire::m27_write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest};
use ottla_wire::m28_txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::m61_describe_producers::{DescribeProducersRequest, DescribeProducersTopic};
use ottla_wire::m65_describe_transactions::DescribeTransactionsRequest;
use ottla_wire::m66_list_transactions::ListTransactionsRequest;
use ottla_wire::{ErrorCode, Str};

/// A producer of a transactional id, as its coordinator has named it.
#[derive(Clone, Copy)]
struct Producer {
    transactional_id: &'static str,
    id: i64,
    epoch: i16,
}

impl Producer {
    fn add(self, topic: &str, partitions: &[i32]) -> AddPartitionsToTxnRequest {
        AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: text(self.transactional_id),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: topics(topic, partitions),
            ..Default::default()
        }
    }

    /// What a broker asks: to verify or to add.
    fn ask(self, verify_only: bool, topic: &str, partitions: &[i32]) -> AddPartitionsToTxnRequest {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: text(self.transactional_id),
            producer_id: self.id,
            producer_epoch: self.epoch,
            verify_only,
            topics: topics(topic, partitions),
        };
        AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() }
    }

    fn add_offsets(self, group: &str) -> AddOffsetsToTxnRequest {
        AddOffsetsToTxnRequest {
            transactional_id: text(self.transactional_id),
            producer_id: self.id,
            producer_epoch: self.epoch,
            group_id: text(group),
        }
    }

    fn end(self, committed: bool) -> EndTxnRequest {
        EndTxnRequest {
            transactional_id: text(self.transactional_id),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        }
    }

    fn send(self, topic: &str, sequence: i32, count: usize) -> ProduceRequest {
        let records = altered(&batch(count), |header| {
            header.attributes |= 16;
            header.producer_id = self.id;
            header.producer_epoch = self.epoch;
            header.base_sequence = sequence;
        });
        ProduceRequest { transactional_id: Some(text(self.transactional_id)), ..produce(topic, 0, records) }
    }

    fn offsets(self, group: &str, topic: &str, offset: i64) -> TxnOffsetCommitRequest {
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: offset,
            committed_metadata: Some(text("in a transaction")),
            ..Default::default()
        };
        TxnOffsetCommitRequest {
            transactional_id: text(self.transactional_id),
            group_id: text(group),
            producer_id: self.id,
            producer_epoch: self.epoch,
            topics: vec![TxnOffsetCommitRequestTopic { name: text(topic), partitions: vec![partition] }],
            ..Default::default()
        }
    }

    fn list(self) -> ListTransactionsRequest {
        ListTransactionsRequest { producer_id_filters: vec![self.id], ..Default::default() }
    }
}

fn topics(name: &str, partitions: &[i32]) -> Vec<AddPartitionsToTxnTopic> {
    vec![AddPartitionsToTxnTopic { name: text(name), partitions: partitions.into() }]
}

fn init(transactional_id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(text(transactional_id)),
        transaction_timeout_ms: 600_000,
        ..Default::default()
    }
}

fn describe(transactional_ids: &[&str]) -> DescribeTransactionsRequest {
    DescribeTransactionsRequest { transactional_ids: transactional_ids.iter().map(|id| text(id)).collect() }
}

fn producers(topic: &str, partitions: &[i32]) -> DescribeProducersRequest {
    let topic = DescribeProducersTopic { name: text(topic), partition_indexes: partitions.into() };
    DescribeProducersRequest { topics: vec![topic] }
}

fn marker(id: i64, epoch: i16, committed: bool, topic: &str, coordinator_epoch: i32) -> WriteTxnMarkersRequest {
    let topics = vec![WritableTxnMarkerTopic { name: text(topic), partition_indexes: vec![0] }];
    let marker = WritableTxnMarker {
        producer_id: id,
        producer_epoch: epoch,
        transaction_result: committed,
        topics,
        coordinator_epoch,
        ..Default::default()
    };
    WriteTxnMarkersRequest { markers: vec![marker] }
}

/// Waits until these ids have coordinators that have loaded them: the first question makes their topic.
fn loaded(broker: &mut Conversation<'_>, transactional_ids: &[&str]) -> Result<()> {
    for id in transactional_ids {
        until(LIMIT, "the transaction coordinator", || {
            let keys = vec![text(id)];
            let request = FindCoordinatorRequest { key_type: 1, coordinator_keys: keys, ..Default::default() };
            if !broker.quietly(4, request)?.coordinators[0].error_code.is_none() {
                return Ok(None);
            }
            let described = broker.quietly(0, describe(&[id]))?;
            let code = described.transaction_states[0].error_code;
            Ok((code == ErrorCode::TRANSACTIONAL_ID_NOT_FOUND).then_some(()))
        })?;
    }
    Ok(())
}

/// Asks for the identity of a transactional id, without noting it, until the broker has producer ids to give.
fn begin(broker: &mut Conversation<'_>, transactional_id: &'static str) -> Result<Producer> {
    until(LIMIT, "a producer id", || {
        let answer = broker.quietly(5, init(transactional_id))?;
        if answer.error_code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
            return Ok(None);
        }
        ensure!(answer.error_code.is_none(), "{transactional_id}: {answer:?}");
        Ok(Some(Producer { transactional_id, id: answer.producer_id, epoch: answer.producer_epoch }))
    })
}

/// Waits until the coordinator has all markers of a transaction.
fn complete(broker: &mut Conversation<'_>, producer: Producer) -> Result<()> {
    until(LIMIT, "the markers", || {
        let described = broker.quietly(0, describe(&[producer.transactional_id]))?;
        Ok(described.transaction_states[0].transaction_state.starts_with("Complete").then_some(()))
    })
}

#[test]
fn transactional_ids_get_producer_ids() -> Result<()> {
    play("transactional-ids", |broker| {
        loaded(broker, &["ids", "ids.other"])?;
        let first = broker.ask("an unknown id", 5, init("ids"))?;
        for version in 0..=5 {
            broker.ask("the next instance", version, init("ids"))?;
        }
        let with = |producer_id, producer_epoch| InitProducerIdRequest { producer_id, producer_epoch, ..init("ids") };
        broker.ask("with its identity", 5, with(first.producer_id, 6))?;
        broker.ask("with the same one again", 5, with(first.producer_id, 6))?;
        broker.ask("with an older epoch", 5, with(first.producer_id, 2))?;
        broker.ask("with an older epoch, before fencing had a code", 3, with(first.producer_id, 2))?;
        broker.ask("with another producer id", 5, with(first.producer_id + (1 << 40), 0))?;
        broker.ask("with a producer id and no epoch", 5, with(first.producer_id, -1))?;
        broker.ask("with an epoch and no producer id", 5, with(-1, 3))?;
        for timeout in [0, -1, 900_000, 900_001] {
            let asked = InitProducerIdRequest { transaction_timeout_ms: timeout, ..init("ids.other") };
            broker.ask(&format!("a time-out of {timeout} ms"), 5, asked)?;
        }
        broker.ask("an empty id", 5, init(""))?;
        Ok(())
    })
}

#[test]
fn transactions_are_begun_and_ended() -> Result<()> {
    play("transactions", |broker| {
        topic(broker, "txn", 3, &[])?;
        loaded(broker, &["txn", "txn.unknown"])?;
        let producer = begin(broker, "txn")?;
        let older = Producer { epoch: producer.epoch - 1, ..producer };
        let stranger = Producer { id: producer.id + (1 << 40), ..producer };
        let unknown = Producer { transactional_id: "txn.unknown", ..producer };

        broker.ask("described before its first transaction", 0, describe(&["txn"]))?;
        broker.ask("a commit of nothing", 4, producer.end(true))?;
        broker.ask("an abort of nothing", 4, producer.end(false))?;
        broker.ask("verified before it is begun", 4, producer.ask(true, "txn", &[0]))?;
        for version in 0..=3 {
            broker.ask("a partition", version, producer.add("txn", &[0]))?;
        }
        broker.ask("another partition too", 3, producer.add("txn", &[0, 1]))?;
        broker.ask("verified", 4, producer.ask(true, "txn", &[0, 1]))?;
        broker.ask("verified, one that is not in it", 5, producer.ask(true, "txn", &[2, 0]))?;
        broker.ask("an unknown partition", 3, producer.add("txn", &[9, 0]))?;
        broker.ask("an unknown topic", 3, producer.add("txn.unknown", &[0]))?;
        for version in [1, 2, 3] {
            broker.ask("an older epoch adds", version, older.add("txn", &[2]))?;
        }
        broker.ask("another producer adds", 3, stranger.add("txn", &[2]))?;
        broker.ask("an unknown id adds", 3, unknown.add("txn", &[2]))?;
        broker.ask("a broker of an older epoch verifies", 4, older.ask(true, "txn", &[0]))?;
        broker.ask("a broker of another producer verifies", 4, stranger.ask(true, "txn", &[0]))?;
        broker.ask("a broker of an unknown id verifies", 4, unknown.ask(true, "txn", &[0]))?;

        broker.ask("records", 11, producer.send("txn", 0, 2))?;
        broker.ask("records of an older epoch", 11, older.send("txn", 0, 1))?;
        broker.ask("described while it is open", 0, describe(&["txn", "txn.unknown", ""]))?;
        broker.ask("producers while it is open", 0, producers("txn", &[0, 1, 9]))?;
        broker.ask("listed while it is open", 0, producer.list())?;
        let of = |states: &[&str]| ListTransactionsRequest {
            state_filters: states.iter().map(|state| text(state)).collect(),
            ..producer.list()
        };
        broker.ask("those that are open", 0, of(&["Ongoing"]))?;
        broker.ask("those that are empty, or in no state that there is", 0, of(&["Empty", "Asleep"]))?;
        broker.ask("open for long", 1, ListTransactionsRequest { duration_filter: 3_600_000, ..producer.list() })?;
        for pattern in ["txn", "tx", "t.*n", "", "t("] {
            let asked = ListTransactionsRequest { transactional_id_pattern: Some(text(pattern)), ..producer.list() };
            broker.ask(&format!("with a name as {pattern:?}"), 2, asked)?;
        }

        for version in [1, 2, 4] {
            broker.ask("an older epoch commits", version, older.end(true))?;
        }
        broker.ask("another producer commits", 4, stranger.end(true))?;
        broker.ask("an unknown id commits", 4, unknown.end(true))?;
        broker.ask("the commit", 4, producer.end(true))?;
        complete(broker, producer)?;
        broker.ask("the commit again", 4, producer.end(true))?;
        broker.ask("an abort after it", 4, producer.end(false))?;
        broker.ask("described after it", 0, describe(&["txn"]))?;
        broker.ask("producers after it", 0, producers("txn", &[0]))?;
        broker.ask("records without a partition added", 10, producer.send("txn", 2, 1))?;
        broker.ask("and in version 11", 11, producer.send("txn", 2, 1))?;

        broker.ask("the next one", 3, producer.add("txn", &[0]))?;
        broker.ask("records of the next one", 11, producer.send("txn", 2, 1))?;
        broker.ask("its abort", 0, producer.end(false))?;
        complete(broker, producer)?;
        broker.ask("its abort again", 4, producer.end(false))?;
        broker.ask("producers after the abort", 0, producers("txn", &[0]))?;
        broker.ask("producers of an unknown topic", 0, producers("txn.unknown", &[0]))?;
        Ok(())
    })
}

/// KIP-890's second part: partitions are added by producing to them, and each end gives the next epoch.
#[test]
fn every_transaction_has_an_epoch_of_its_own() -> Result<()> {
    play("transaction-epochs", |broker| {
        topic(broker, "txn.epochs", 1, &[])?;
        loaded(broker, &["txn.epochs"])?;
        let first = begin(broker, "txn.epochs")?;
        let next =
            |answer: &ottla_wire::m26_end_txn::EndTxnResponse| Producer { epoch: answer.producer_epoch, ..first };
        broker.ask("a commit of nothing", 5, first.end(true))?;
        let second = next(&broker.ask("an abort of nothing", 5, first.end(false))?);
        complete(broker, first)?;
        broker.ask("it again", 5, first.end(false))?;
        broker.ask("a broker adds a partition", 5, second.ask(false, "txn.epochs", &[0]))?;
        broker.ask("records", 12, second.send("txn.epochs", 0, 2))?;
        let third = next(&broker.ask("the commit", 5, second.end(true))?);
        complete(broker, first)?;
        broker.ask("it again", 5, second.end(true))?;
        broker.ask("an abort instead", 5, second.end(false))?;
        broker.ask("the epoch before", 5, first.end(true))?;
        broker.ask("records of the epoch before", 12, second.send("txn.epochs", 2, 1))?;
        broker.ask("described", 0, describe(&["txn.epochs"]))?;
        broker.ask("a new epoch begins with a sequence of zero", 12, third.send("txn.epochs", 0, 1))?;
        broker.ask("its producers", 0, producers("txn.epochs", &[0]))?;
        broker.ask("the abort", 5, third.end(false))?;
        complete(broker, first)?;
        broker.ask("its producers after the abort", 0, producers("txn.epochs", &[0]))?;
        Ok(())
    })
}

/// The coordinator aborts by itself, and bumps the epoch once.
#[test]
fn a_transaction_that_was_open_for_too_long_is_aborted() -> Result<()> {
    play("transaction-timeouts", |broker| {
        topic(broker, "txn.late", 1, &[])?;
        loaded(broker, &["txn.late"])?;
        let mut producer = begin(broker, "txn.late")?;
        let request = InitProducerIdRequest { transaction_timeout_ms: 1_000, ..init("txn.late") };
        producer.epoch = broker.quietly(5, request)?.producer_epoch;
        broker.ask("records", 12, producer.send("txn.late", 0, 2))?;
        complete(broker, producer)?;
        broker.ask("described after its time-out", 0, describe(&["txn.late"]))?;
        broker.ask("a commit that comes too late", 5, producer.end(true))?;
        broker.ask("by the older protocol", 4, producer.end(true))?;
        broker.ask("records of the epoch before", 12, producer.send("txn.late", 2, 1))?;
        let next = broker.ask("an abort that comes too late", 5, producer.end(false))?;
        producer.epoch = next.producer_epoch;
        broker.ask("the next transaction", 12, producer.send("txn.late", 0, 1))?;
        broker.ask("its producers", 0, producers("txn.late", &[0]))?;
        broker.ask("its abort", 5, producer.end(false))?;
        Ok(())
    })
}

#[test]
fn offsets_are_committed_in_transactions() -> Result<()> {
    play("transaction-offsets", |broker| {
        topic(broker, "taken", 1, &[])?;
        loaded(broker, &["taken", "taken.unknown"])?;
        coordinated(broker, &["takers", "takers.other"])?;
        let producer = begin(broker, "taken")?;
        let older = Producer { epoch: producer.epoch - 1, ..producer };
        let unknown = Producer { transactional_id: "taken.unknown", ..producer };
        broker.ask("offsets before they are added", 3, producer.offsets("takers", "taken", 1))?;
        for version in 0..=4 {
            broker.ask("a group", version, producer.add_offsets("takers"))?;
        }
        for version in [1, 4] {
            broker.ask("an older epoch adds", version, older.add_offsets("takers"))?;
        }
        broker.ask("an unknown id adds", 4, unknown.add_offsets("takers"))?;
        broker.ask("no group's name", 4, producer.add_offsets(""))?;
        for version in 0..=4 {
            broker.ask("offsets", version, producer.offsets("takers", "taken", 10 + i64::from(version)))?;
        }
        broker.ask("an older epoch's", 4, older.offsets("takers", "taken", 99))?;
        broker.ask("of an unknown topic", 4, producer.offsets("takers", "taken.unknown", 3))?;
        let of_member = TxnOffsetCommitRequest { member_id: text("nobody"), ..producer.offsets("takers", "taken", 3) };
        broker.ask("by an unknown member", 4, of_member)?;
        let of_generation = TxnOffsetCommitRequest { generation_id: 5, ..producer.offsets("takers", "taken", 3) };
        broker.ask("of an unknown generation", 4, of_generation)?;

        broker.ask("fetched while they are pending", 8, fetch("takers", None))?;
        let mut stable = fetch("takers", None);
        stable.require_stable = true;
        broker.ask("fetched stable while they are pending", 8, stable.clone())?;
        broker.ask("the commit", 4, producer.end(true))?;
        complete(broker, producer)?;
        broker.ask("fetched stable after the commit", 8, stable.clone())?;

        broker.ask("the group once more", 4, producer.add_offsets("takers"))?;
        broker.ask("offsets that are aborted", 4, producer.offsets("takers", "taken", 77))?;
        broker.ask("the abort", 4, producer.end(false))?;
        complete(broker, producer)?;
        broker.ask("fetched stable after the abort", 8, stable)?;
        Ok(())
    })
}

#[test]
fn members_of_groups_commit_offsets_in_transactions() -> Result<()> {
    play("transaction-members", |broker| {
        let (classic, modern) = ("taking.classic", "taking.modern");
        topic(broker, "taking", 1, &[])?;
        loaded(broker, &["taking"])?;
        coordinated(broker, &[classic, modern])?;
        settled_at_once(broker, modern)?;
        let mut producer = begin(broker, "taking")?;
        let offsets = |producer: Producer, group: &str, generation_id: i32, member: &Str| TxnOffsetCommitRequest {
            generation_id,
            member_id: member.clone(),
            ..producer.offsets(group, "taking", 4)
        };
        let mut stable = fetch(classic, None);
        stable.require_stable = true;

        let member = first_member(broker, classic)?;
        let stranger = text("stranger");
        broker.ask("by a stranger", 5, offsets(producer, classic, 1, &stranger))?;
        broker.ask("in another generation", 5, offsets(producer, classic, 2, &member))?;
        broker.ask("without a generation", 5, offsets(producer, classic, -1, &text("")))?;
        broker.ask("by the member, which adds its group", 5, offsets(producer, classic, 1, &member))?;
        broker.ask("fetched stable while they are pending", 8, stable.clone())?;
        let next = broker.ask("the commit", 5, producer.end(true))?.producer_epoch;
        complete(broker, producer)?;
        broker.ask("fetched stable after the commit", 8, stable)?;
        broker.ask("in the epoch before", 5, offsets(producer, classic, 1, &member))?;
        producer.epoch = next;

        broker.ask("a member of the consumer protocol joins", 1, join(modern, "member", "taking"))?;
        let member = text("member");
        broker.ask("by a stranger", 5, offsets(producer, modern, 2, &stranger))?;
        broker.ask("in an older epoch", 5, offsets(producer, modern, 1, &member))?;
        broker.ask("in a later epoch", 5, offsets(producer, modern, 3, &member))?;
        broker.ask("by the member", 5, offsets(producer, modern, 2, &member))?;
        broker.ask("the abort", 5, producer.end(false))?;
        complete(broker, producer)?;
        broker.ask("the member leaves", 1, beat(modern, "member", -1))?;
        Ok(())
    })
}

#[test]
fn markers_end_transactions_in_partitions() -> Result<()> {
    play("markers", |broker| {
        topic(broker, "marked", 1, &[])?;
        topic(broker, "marked.too", 1, &[])?;
        loaded(broker, &["marked"])?;
        let producer = begin(broker, "marked")?;
        broker.quietly(3, producer.add("marked", &[0]))?;
        broker.ask("records", 11, producer.send("marked", 0, 1))?;
        let older = producer.epoch - 1;
        broker.ask("of an older epoch", 1, marker(producer.id, older, true, "marked", 0))?;
        broker.ask("in an unknown topic", 1, marker(producer.id, producer.epoch, true, "marked.unknown", 0))?;
        broker.ask("the end", 1, marker(producer.id, producer.epoch, false, "marked", 5))?;
        broker.ask("the producers", 0, producers("marked", &[0]))?;
        broker.ask("it again", 1, marker(producer.id, producer.epoch, false, "marked", 5))?;
        broker.ask("of an older coordinator", 1, marker(producer.id, producer.epoch, false, "marked", 4))?;
        let second = |epoch, transaction_version| {
            let mut request = marker(producer.id, epoch, false, "marked", 5);
            request.markers[0].transaction_version = transaction_version;
            request
        };
        broker.ask("it again, without the second protocol", 2, second(producer.epoch, 0))?;
        broker.ask("it again, with the second protocol", 2, second(producer.epoch, 2))?;
        broker.ask("the next epoch, with the second protocol", 2, second(producer.epoch + 1, 2))?;
        broker.ask("of a producer that has written nothing", 1, marker(1 << 40, 0, true, "marked.too", 0))?;
        broker.ask("the producers at last", 0, producers("marked", &[0]))?;
        broker.ask("and of the other topic", 0, producers("marked.too", &[0]))?;
        broker.ask("no markers", 1, WriteTxnMarkersRequest::default())?;
        Ok(())
    })
}
