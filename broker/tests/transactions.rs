//! A transaction from a raw client, on a broker that coordinates it and leads its partition.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};
use ottla_broker::ask::Ask;
use ottla_broker::image::{ClusterImage, TRANSACTION_STATE, Topic};
use ottla_rules::features::{Features, TRANSACTION_VERSION};
use ottla_wire::ErrorCode;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m24_add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use ottla_wire::m26_end_txn::EndTxnRequest;
use ottla_wire::m65_describe_transactions::DescribeTransactionsRequest;
use ottla_wire::m66_list_transactions::ListTransactionsRequest;
use tokio::sync::mpsc;

use crate::common::{Client, OneBroker, topic};

const ID: &str = "payments";
/// What takes longer does not end.
const ENOUGH: Duration = Duration::from_secs(60);

/// A producer of the transactional id, as the coordinator has named it.
#[derive(Clone, Copy, Debug)]
struct Producer {
    id: i64,
    epoch: i16,
}

/// Gives blocks of producer ids, as the cluster does.
async fn give_blocks(mut asks: mpsc::Receiver<Ask>) {
    let mut first = 0;
    while let Some(ask) = asks.recv().await {
        if let Ask::ProducerIds { answer } = ask {
            let _ = answer.send(Ok(first));
            first += 1000;
        }
    }
}

fn topics() -> [Topic; 2] {
    [topic("t", &[]), topic(TRANSACTION_STATE, &[("cleanup.policy", "compact")])]
}

/// The broker and a client of it; its coordinator is loaded.
async fn start(data: &std::path::Path, topics: &[Topic]) -> (OneBroker, Client) {
    start_with(data, topics, &[]).await
}

async fn start_with(data: &std::path::Path, topics: &[Topic], settings: &[(&str, &str)]) -> (OneBroker, Client) {
    let mut one = OneBroker::start_with(data, true, topics.to_vec(), settings).await;
    tokio::spawn(give_blocks(std::mem::replace(&mut one.asks, mpsc::channel(1).1)));
    let client = connect(&one, topics).await;
    (one, client)
}

async fn connect(one: &OneBroker, topics: &[Topic]) -> Client {
    for topic in topics {
        one.led(topic).await;
    }
    one.coordinates(topics.iter().find(|topic| &*topic.name == TRANSACTION_STATE).unwrap()).await;
    Client::connect(one.port).await
}

async fn begin(client: &mut Client) -> Producer {
    begin_with(client, 60_000).await
}

async fn begin_with(client: &mut Client, transaction_timeout_ms: i32) -> Producer {
    let transactional_id = Some(ID.into());
    let request = InitProducerIdRequest { transactional_id, transaction_timeout_ms, ..Default::default() };
    let answer = client.call(4, &request).await;
    assert_eq!(answer.error_code, ErrorCode::NONE);
    Producer { id: answer.producer_id, epoch: answer.producer_epoch }
}

/// Begins a transaction, with one record in it.
async fn open(client: &mut Client) -> Producer {
    let producer = begin(client).await;
    assert_eq!(add(client, producer).await, ErrorCode::NONE);
    assert_eq!(produce(client, producer, 0).await, ErrorCode::NONE);
    producer
}

async fn add(client: &mut Client, Producer { id, epoch }: Producer) -> ErrorCode {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0] }],
        ..Default::default()
    };
    let answer = client.call(3, &request).await;
    answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
}

async fn produce(client: &mut Client, producer: Producer, sequence: i32) -> ErrorCode {
    produce_in(11, client, producer, sequence).await
}

async fn produce_in(version: i16, client: &mut Client, producer: Producer, sequence: i32) -> ErrorCode {
    let records = Some(record(producer, sequence).bytes().clone().into());
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let request = ProduceRequest {
        transactional_id: Some(ID.into()),
        acks: -1,
        timeout_ms: 60_000,
        topic_data: vec![TopicProduceData { name: "t".into(), partition_data, ..Default::default() }],
    };
    client.call(version, &request).await.responses[0].partition_responses[0].error_code
}

fn record(Producer { id, epoch }: Producer, sequence: i32) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None).producer(id, epoch, sequence).transactional();
    let timestamp = ottla_broker::env::wall_clock_ms();
    builder.push(NewRecord { timestamp, value: Some(b"ten euros"), ..NewRecord::default() });
    builder.build()
}

async fn end(client: &mut Client, Producer { id, epoch }: Producer, committed: bool) -> ErrorCode {
    let transactional_id = ID.into();
    let request = EndTxnRequest { transactional_id, producer_id: id, producer_epoch: epoch, committed };
    client.call(4, &request).await.error_code
}

/// The answer to an EndTxn by which the next transaction has an epoch of its own.
async fn end_of_second_protocol(
    client: &mut Client,
    Producer { id, epoch }: Producer,
    committed: bool,
) -> (ErrorCode, i16) {
    let transactional_id = ID.into();
    let request = EndTxnRequest { transactional_id, producer_id: id, producer_epoch: epoch, committed };
    let answer = client.call(5, &request).await;
    (answer.error_code, answer.producer_epoch)
}

/// The code and the state's name.
async fn describe(client: &mut Client) -> (ErrorCode, String) {
    let request = DescribeTransactionsRequest { transactional_ids: vec![ID.into()] };
    let state = client.call(0, &request).await.transaction_states.remove(0);
    (state.error_code, state.transaction_state.to_string())
}

/// Where read_committed ends.
async fn last_stable(client: &mut Client) -> i64 {
    let latest = ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![latest] }];
    let request = ListOffsetsRequest { replica_id: -1, isolation_level: 1, topics, ..Default::default() };
    client.call(7, &request).await.topics[0].partitions[0].offset
}

async fn complete(client: &mut Client, state: &str) {
    while describe(client).await.1 != state {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_open_transaction_outlives_a_restart_of_its_coordinator() {
    let data = tempfile::tempdir().unwrap();
    let topics = topics();
    let (one, mut client) = start(data.path(), &topics).await;
    let producer = open(&mut client).await;
    one.broker.stop().await;

    let (one, mut client) = start(data.path(), &topics).await;
    assert_eq!(describe(&mut client).await, (ErrorCode::NONE, "Ongoing".to_owned()));
    assert_eq!(last_stable(&mut client).await, 0, "it is still open");
    assert_eq!(produce(&mut client, producer, 1).await, ErrorCode::NONE);
    assert_eq!(end(&mut client, producer, true).await, ErrorCode::NONE);
    complete(&mut client, "CompleteCommit").await;
    assert_eq!(last_stable(&mut client).await, 3, "two records and a marker");
    one.broker.stop().await;
}

/// The API server, which has the producer ids, is away when the broker starts.
#[tokio::test]
async fn a_transaction_ends_and_its_producer_is_fenced_while_no_producer_id_can_be_had() {
    let data = tempfile::tempdir().unwrap();
    let topics = topics();
    let (one, mut client) = start(data.path(), &topics).await;
    let producer = open(&mut client).await;
    one.broker.stop().await;

    let mut one = OneBroker::start_with(data.path(), true, topics.to_vec(), &[]).await;
    let mut client = connect(&one, &topics).await;
    let answered = async {
        assert_eq!(end_of_second_protocol(&mut client, producer, true).await, (ErrorCode::NONE, producer.epoch + 1));
        complete(&mut client, "CompleteCommit").await;
        assert_eq!(begin(&mut client).await.epoch, producer.epoch + 2);
    };
    tokio::time::timeout(ENOUGH, answered).await.expect("nothing waits for a producer id");
    assert!(matches!(one.asks.try_recv(), Ok(Ask::ProducerIds { .. })), "it has asked for some");
    one.broker.stop().await;
}

#[tokio::test]
async fn a_new_instance_aborts_what_the_last_one_left_and_fences_it() {
    let data = tempfile::tempdir().unwrap();
    let topics = topics();
    let (one, mut client) = start(data.path(), &topics).await;
    let zombie = open(&mut client).await;

    let request = InitProducerIdRequest {
        transactional_id: Some(ID.into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let answer = client.call(4, &request).await;
    assert_eq!(answer.error_code, ErrorCode::CONCURRENT_TRANSACTIONS, "its transaction is being aborted");
    complete(&mut client, "CompleteAbort").await;
    let producer = begin(&mut client).await;
    assert_eq!((producer.id, producer.epoch > zombie.epoch), (zombie.id, true));
    assert_eq!(produce(&mut client, zombie, 1).await, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(add(&mut client, zombie).await, ErrorCode::PRODUCER_FENCED);
    assert_eq!(end(&mut client, zombie, true).await, ErrorCode::PRODUCER_FENCED);
    assert_eq!(last_stable(&mut client).await, 2, "a record and a marker");
    one.broker.stop().await;
}

#[tokio::test]
async fn after_a_time_out_a_client_of_the_second_protocol_goes_on_with_the_next_epoch() {
    let data = tempfile::tempdir().unwrap();
    let topics = topics();
    let at_once = [("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10")];
    let (one, mut client) = start_with(data.path(), &topics, &at_once).await;
    // Before level 2 is finalized, a time-out fences the producer.
    let first = begin_with(&mut client, 1000).await;
    assert_eq!(add(&mut client, first).await, ErrorCode::NONE);
    complete(&mut client, "CompleteAbort").await;
    assert_eq!(end_of_second_protocol(&mut client, first, false).await, (ErrorCode::PRODUCER_FENCED, -1));

    let levels = [(TRANSACTION_VERSION.to_owned(), 2)].into();
    let image = ClusterImage { features: Features { epoch: 1, levels }, ..(**one.images.borrow()).clone() };
    one.images.send_replace(Arc::new(image));
    // The coordinator that runs hears of it; when, nobody says.
    let mut rounds = 0..10;
    let (producer, next) = loop {
        assert!(rounds.next().is_some(), "the coordinator does not hear of the level");
        let producer = begin_with(&mut client, 1000).await;
        assert_eq!(produce_in(12, &mut client, producer, 0).await, ErrorCode::NONE);
        complete(&mut client, "CompleteAbort").await;
        let (code, epoch) = end_of_second_protocol(&mut client, producer, false).await;
        if code == ErrorCode::NONE {
            break (producer, Producer { epoch, ..producer });
        }
        assert_eq!(code, ErrorCode::PRODUCER_FENCED);
    };
    assert_eq!(next.epoch, producer.epoch + 1, "a single bump");
    let late = end_of_second_protocol(&mut client, producer, true).await;
    assert_eq!(late, (ErrorCode::PRODUCER_FENCED, -1), "a commit that comes too late");
    assert_eq!(produce_in(12, &mut client, producer, 1).await, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(produce_in(12, &mut client, next, 0).await, ErrorCode::NONE, "it continues");
    one.broker.stop().await;
}

#[tokio::test]
async fn transactions_are_listed_by_expressions_of_re2() {
    let data = tempfile::tempdir().unwrap();
    let (one, mut client) = start(data.path(), &[topic(TRANSACTION_STATE, &[])]).await;
    begin(&mut client).await;
    let too_long = "p".repeat(5000);
    for (expression, is_valid, is_listed) in [
        ("pay.*", true, true),
        ("pay", true, false),
        (r"\Qpayments\E", true, true),
        ("other)|(?:payments", false, false),
        (&too_long, false, false),
        ("p{1000}{1000}", false, false),
    ] {
        let transactional_id_pattern = Some(expression.into());
        let request = ListTransactionsRequest { transactional_id_pattern, duration_filter: -1, ..Default::default() };
        let answer = client.call(2, &request).await;
        let code = if is_valid { ErrorCode::NONE } else { ErrorCode::INVALID_REGULAR_EXPRESSION };
        assert_eq!(
            (answer.error_code, answer.transaction_states.len()),
            (code, usize::from(is_listed)),
            "{expression}"
        );
    }
    one.broker.stop().await;
}
