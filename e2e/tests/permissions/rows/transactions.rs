//! What transactional producers ask.

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
use ottla_wire::m66_list_transactions::{ListTransactionsRequest, ListTransactionsResponse};

use super::names;
use crate::bed::Me;
use crate::row::{Row, at, latest, tidied};

pub fn transactions() -> Vec<Row> {
    let add_topics =
        |me: &Me| -> Vec<_> { names(me).map(|name| AddPartitionsToTxnTopic { name, partitions: vec![0] }).into() };
    vec![
        latest("of a transactional id", |me| InitProducerIdRequest {
            transactional_id: Some(me.x()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        }),
        latest("of none", |_| InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() }),
        at(3, "of a client", move |me| AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: me.x(),
            v3_and_below_producer_id: 1_000_000,
            v3_and_below_topics: add_topics(me),
            ..Default::default()
        }),
        latest("of a broker", move |me| AddPartitionsToTxnRequest {
            transactions: vec![AddPartitionsToTxnTransaction {
                transactional_id: me.x(),
                producer_id: 1_000_000,
                topics: vec![AddPartitionsToTxnTopic { name: me.topic(), partitions: vec![0] }],
                ..Default::default()
            }],
            ..Default::default()
        }),
        at(3, "of a client", |me| AddOffsetsToTxnRequest {
            transactional_id: me.x(),
            producer_id: 1_000_000,
            group_id: me.group(),
            ..Default::default()
        }),
        at(3, "of a client", |me| TxnOffsetCommitRequest {
            transactional_id: me.x(),
            group_id: me.group(),
            producer_id: 1_000_000,
            generation_id: -1,
            topics: names(me)
                .map(|name| TxnOffsetCommitRequestTopic {
                    name,
                    partitions: vec![TxnOffsetCommitRequestPartition::default()],
                })
                .into(),
            ..Default::default()
        }),
        at(3, "of another producer", |me| EndTxnRequest {
            transactional_id: me.x(),
            producer_id: 1_000_000,
            committed: true,
            ..Default::default()
        }),
        latest("of no transaction", |me| WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: 1_000_000,
                topics: names(me).map(|name| WritableTxnMarkerTopic { name, partition_indexes: vec![0] }).into(),
                ..Default::default()
            }],
        })
        .only_whether(),
        latest("of two topics", |me| DescribeProducersRequest {
            topics: names(me).map(|name| DescribeProducersTopic { name, partition_indexes: vec![0] }).into(),
        })
        .only_whether(),
        latest("one, and one that there is not", |me| DescribeTransactionsRequest {
            transactional_ids: vec![me.x(), me.y()],
        }),
        tidied(
            "all",
            |_| ListTransactionsRequest::default(),
            |me, answer: &mut ListTransactionsResponse| {
                answer.transaction_states.retain(|state| state.transactional_id.ends_with(me.name));
            },
        ),
    ]
}
