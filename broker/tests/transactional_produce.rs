//! Transactional batches from raw clients: a broker on real sockets, and a transaction coordinator that answers what
//! the test says, when the test says so.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_batch::{Batch, BatchBuilder, Codec, ControlRecordType, Marker, NewRecord};
use ottla_broker::image::{BrokerId, Endpoint, LeaderEpoch, TRANSACTION_STATE, Topic};
use ottla_broker::replica::partition::Partition;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m18_api_versions::{ApiVersion, ApiVersionsResponse};
use ottla_wire::m24_add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
};
use ottla_wire::{ApiKey, ErrorCode, Request, RequestHeader, ResponseMessage, encode_response};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::common::{Client, OneBroker, batch, image, topic, values};

const DEADLINE: Duration = Duration::from_secs(120);
const COORDINATOR: BrokerId = BrokerId(1);
const NONE: ErrorCode = ErrorCode::NONE;

/// A broker that leads the topic "t", and the coordinator of every transactional id: the test.
struct Setup {
    broker: OneBroker,
    topic: Topic,
    asked: mpsc::UnboundedReceiver<Question>,
    _data: TempDir,
}

/// A request to the coordinator.
struct Question {
    request: AddPartitionsToTxnRequest,
    answer: mpsc::UnboundedSender<ErrorCode>,
}

impl Question {
    /// Answers it: the same for every partition.
    fn answer(self, code: ErrorCode) {
        self.answer.send(code).unwrap();
    }
}

impl Setup {
    async fn start() -> Setup {
        let (topic, mut state) = (topic("t", &[]), topic(TRANSACTION_STATE, &[]));
        state.partitions[0].leader = Some(COORDINATOR);
        state.partitions[0].replicas = vec![COORDINATOR];
        let data = tempfile::tempdir().unwrap();
        let broker = OneBroker::start(data.path(), false, vec![topic.clone()]).await;
        let (asked, port) = coordinate().await;
        let mut image = image(broker.port, vec![topic.clone(), state], &[]);
        let endpoint = Endpoint { host: "127.0.0.1".into(), port };
        let coordinator = ottla_broker::image::Broker {
            id: COORDINATOR,
            endpoints: BTreeMap::from([(image.inter_broker_listener.clone(), endpoint)]),
            ..image.brokers[&BrokerId(0)].clone()
        };
        image.brokers.insert(COORDINATOR, coordinator);
        broker.images.send_replace(Arc::new(image));
        broker.led(&topic).await;
        Setup { broker, topic, asked, _data: data }
    }

    async fn client(&self) -> Client {
        Client::connect(self.broker.port).await
    }

    fn partition(&self) -> Arc<Partition> {
        let mut all = self.broker.broker.replicas().all().into_iter();
        all.find(|partition| partition.topic_id == self.topic.id).unwrap()
    }

    fn end(&self, outcome: ControlRecordType) {
        self.partition().append_marker(7, 0, Marker { outcome, coordinator_epoch: 0 }, 1, LeaderEpoch::NONE).unwrap();
    }

    async fn question(&mut self) -> Question {
        timeout(DEADLINE, self.asked.recv()).await.unwrap().unwrap()
    }

    fn produce(&self, id: Option<&str>, batches: &[&Batch]) -> ProduceRequest {
        let data = |batch: &&Batch| PartitionProduceData { index: 0, records: Some(batch.bytes().clone().into()) };
        let topic = |batch| TopicProduceData {
            name: self.topic.name.clone(),
            topic_id: self.topic.id,
            partition_data: vec![data(batch)],
        };
        ProduceRequest {
            transactional_id: id.map(Into::into),
            acks: -1,
            timeout_ms: 60_000,
            topic_data: batches.iter().map(topic).collect(),
        }
    }

    /// What a consumer of committed records sees.
    async fn committed(&self) -> Vec<String> {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic { topic_id: self.topic.id, partitions: vec![partition], ..Default::default() };
        let request =
            FetchRequest { isolation_level: 1, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
        let mut response = self.client().await.call(18, &request).await;
        let partition = response.responses.remove(0).partitions.remove(0);
        assert_eq!(partition.error_code, NONE);
        let mut seen = values(partition.records.as_ref().unwrap());
        seen.truncate(usize::try_from(partition.last_stable_offset).unwrap());
        seen
    }
}

/// Listens as a broker that serves AddPartitionsToTxn, on the port that comes back.
async fn coordinate() -> (mpsc::UnboundedReceiver<Question>, u16) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let (questions, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(serve(Client::on(stream), questions.clone()));
        }
    });
    (asked, port)
}

async fn serve(mut peer: Client, questions: mpsc::UnboundedSender<Question>) {
    while let Ok(frame) = peer.frame().await {
        let mut decoder = ottla_wire::Decoder::new(frame);
        let header = RequestHeader::decode(&mut decoder).unwrap();
        match Request::decode(&header, decoder).unwrap() {
            Request::ApiVersions(_) => {
                let api_keys = vec![ApiVersion::of(ApiKey::AddPartitionsToTxn)];
                send(&mut peer.stream, &header, &ApiVersionsResponse { api_keys, ..Default::default() }).await;
            }
            Request::AddPartitionsToTxn(request) => {
                assert_eq!(header.api_version, 5);
                let (answer, mut answers) = mpsc::unbounded_channel();
                if questions.send(Question { request: request.clone(), answer }).is_err() {
                    return;
                }
                let Some(code) = answers.recv().await else { return };
                send(&mut peer.stream, &header, &response(&request, code)).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn send<R: ResponseMessage>(to: &mut TcpStream, header: &RequestHeader, response: &R) {
    for chunk in encode_response(header.api_version, header.correlation_id, response).unwrap().into_chunks() {
        let ottla_wire::Chunk::Bytes(bytes) = chunk else { panic!("a response is memory") };
        to.write_all(&bytes).await.unwrap();
    }
}

fn response(request: &AddPartitionsToTxnRequest, code: ErrorCode) -> AddPartitionsToTxnResponse {
    let partition =
        |index: &i32| AddPartitionsToTxnPartitionResult { partition_index: *index, partition_error_code: code };
    let results = request.transactions.iter().map(|transaction| AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id.clone(),
        topic_results: (transaction.topics.iter())
            .map(|topic| AddPartitionsToTxnTopicResult {
                name: topic.name.clone(),
                results_by_partition: topic.partitions.iter().map(partition).collect(),
            })
            .collect(),
    });
    AddPartitionsToTxnResponse { results_by_transaction: results.collect(), ..Default::default() }
}

/// One record of a transactional producer, written now: markers are, and a segment holds records of a few days only.
fn in_transaction(producer_id: i64, sequence: i32, value: &str) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer_id, 0, sequence).transactional();
    let timestamp = ottla_broker::env::wall_clock_ms();
    builder.push(NewRecord { timestamp, value: Some(value.as_bytes()), ..NewRecord::default() });
    builder.build()
}

fn codes(response: &ottla_wire::ProduceResponse) -> Vec<(ErrorCode, i64)> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.map(|partition| (partition.error_code, partition.base_offset)).collect()
}

#[tokio::test]
async fn batches_wait_for_the_verification_of_the_one_before_them() {
    let mut setup = Setup::start().await;
    let mut client = setup.client().await;
    client.send(11, &setup.produce(Some("x"), &[&in_transaction(7, 0, "a")])).await;
    client.send(11, &setup.produce(Some("x"), &[&in_transaction(7, 1, "b")])).await;
    let question = setup.question().await;
    let sent = &question.request.transactions[0];
    assert_eq!((&*sent.transactional_id, sent.producer_id, sent.producer_epoch), ("x", 7, 0));
    assert_eq!((sent.verify_only, &*sent.topics[0].name, &sent.topics[0].partitions[..]), (true, "t", &[0][..]));

    // Others do not wait.
    let mut other = setup.client().await;
    for offset in 0..20 {
        assert_eq!(codes(&other.call(13, &setup.produce(None, &[&batch(&["x"])])).await), [(NONE, offset)]);
    }
    assert_eq!(setup.broker.broker.requests_for_records(), 21, "the second batch was started");
    question.answer(NONE);
    for offset in [20, 21] {
        let (_, response) = client.receive::<ProduceRequest>(11).await;
        assert_eq!(codes(&response), [(NONE, offset)]);
    }
    assert!(setup.asked.try_recv().is_err(), "the transaction is open: there is nothing to ask");
}

#[tokio::test]
async fn consumers_of_committed_records_see_a_transaction_when_it_has_ended() {
    let mut setup = Setup::start().await;
    let mut client = setup.client().await;
    for (sequence, value, outcome) in
        [(0, "kept", ControlRecordType::Commit), (1, "kept, too", ControlRecordType::Commit)]
    {
        let before = setup.committed().await;
        client.send(11, &setup.produce(Some("x"), &[&in_transaction(7, sequence, value)])).await;
        setup.question().await.answer(NONE);
        assert_eq!(codes(&client.receive::<ProduceRequest>(11).await.1)[0].0, NONE);
        assert_eq!(setup.committed().await, before);
        setup.end(outcome);
        assert!(setup.committed().await.iter().any(|seen| seen == value), "{value}");
    }
}

#[tokio::test]
async fn a_refused_batch_is_not_appended_and_gets_a_code_that_its_client_knows() {
    let mut setup = Setup::start().await;
    let mut client = setup.client().await;
    for (version, said, expected) in [
        (10, ErrorCode::TRANSACTION_ABORTABLE, ErrorCode::INVALID_TXN_STATE),
        (11, ErrorCode::TRANSACTION_ABORTABLE, ErrorCode::TRANSACTION_ABORTABLE),
        (11, ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_EPOCH),
        (11, ErrorCode::CONCURRENT_TRANSACTIONS, ErrorCode::NOT_ENOUGH_REPLICAS),
        (11, ErrorCode::NOT_COORDINATOR, ErrorCode::NOT_ENOUGH_REPLICAS),
    ] {
        client.send(version, &setup.produce(Some("x"), &[&in_transaction(7, 0, "a")])).await;
        setup.question().await.answer(said);
        let (_, response) = client.receive::<ProduceRequest>(version).await;
        assert_eq!(codes(&response), [(expected, -1)], "{said:?} to version {version}");
    }
    assert_eq!(setup.partition().log_end.get(), 0);
}

#[tokio::test]
async fn the_leader_adds_partitions_for_newer_clients_when_the_transaction_before_has_ended() {
    let mut setup = Setup::start().await;
    let mut client = setup.client().await;
    client.send(12, &setup.produce(Some("x"), &[&in_transaction(7, 0, "a")])).await;
    for said in [ErrorCode::CONCURRENT_TRANSACTIONS, NONE] {
        let question = setup.question().await;
        assert!(!question.request.transactions[0].verify_only);
        question.answer(said);
    }
    assert_eq!(codes(&client.receive::<ProduceRequest>(12).await.1), [(NONE, 0)]);
}

#[tokio::test]
async fn a_transaction_that_ends_during_the_verification_gets_no_more_records() {
    let mut setup = Setup::start().await;
    let mut client = setup.client().await;
    client.send(11, &setup.produce(Some("x"), &[&in_transaction(7, 0, "late")])).await;
    let question = setup.question().await;
    setup.end(ControlRecordType::Abort);
    question.answer(NONE);
    let (_, response) = client.receive::<ProduceRequest>(11).await;
    assert_eq!(codes(&response), [(ErrorCode::INVALID_TXN_STATE, -1)]);
    assert_eq!(setup.partition().log_end.get(), 1, "the marker alone");
}

#[tokio::test]
async fn a_silent_coordinator_does_not_hold_a_connection_for_ever() {
    let mut setup = Setup::start().await;
    let mut client = setup.client().await;
    for sequence in [0, 1, 2] {
        let batch = in_transaction(7, sequence, "a");
        client.send(11, &ProduceRequest { timeout_ms: 10, ..setup.produce(Some("x"), &[&batch]) }).await;
    }
    let _unanswered = setup.question().await;
    for _ in 0..3 {
        let (_, response) = timeout(DEADLINE, client.receive::<ProduceRequest>(11)).await.unwrap();
        assert_eq!(codes(&response), [(ErrorCode::NOT_ENOUGH_REPLICAS, -1)]);
    }
    assert!(setup.asked.try_recv().is_err(), "those behind the first were not verified");
}

#[tokio::test]
async fn requests_that_contradict_themselves_are_refused_as_a_whole() {
    let setup = Setup::start().await;
    let mut client = setup.client().await;
    let (plain, first, other) = (batch(&["plain"]), in_transaction(7, 0, "a"), in_transaction(8, 0, "b"));
    for (id, batches, code) in [
        (None, [&plain, &first], ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (Some("x"), [&other, &first], ErrorCode::INVALID_PRODUCER_ID_MAPPING),
    ] {
        let response = client.call(11, &setup.produce(id, &batches)).await;
        assert_eq!(codes(&response), [(code, -1); 2]);
    }
    assert_eq!(setup.partition().log_end.get(), 0);
}

#[tokio::test]
async fn without_a_coordinator_producers_try_again() {
    let setup = Setup::start().await;
    let mut client = setup.client().await;
    let first = in_transaction(7, 0, "a");
    setup.broker.images.send_modify(|image| {
        let mut without = (**image).clone();
        without.topic_names.remove(TRANSACTION_STATE);
        *image = Arc::new(without);
    });
    let response = client.call(11, &setup.produce(Some("x"), &[&first])).await;
    assert_eq!(codes(&response), [(ErrorCode::NOT_ENOUGH_REPLICAS, -1)]);
    assert_eq!(setup.partition().log_end.get(), 0);
}
