//! A broker in this process, on a real socket; the test sends the image.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its own part; one that can not continue fails here"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_access::Access;
use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};
use ottla_broker::ask::{Ask, QUEUE_BOUND};
use ottla_broker::broker::{Broker, Setup};
use ottla_broker::image::Me;
use ottla_broker::image::{
    Assignment, BrokerId, CONSUMER_OFFSETS, ClusterImage, Endpoint, Incarnation, IsrMember, LeaderEpoch,
    PartitionEpoch, SHARE_GROUP_STATE, TRANSACTION_STATE, Topic,
};
use ottla_broker::metrics::Metrics;
use ottla_broker::node::{Config, Listener, Node};
use ottla_config::{BrokerSettings, TopicSettings};
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m65_describe_transactions::DescribeTransactionsRequest;
use ottla_wire::m87_read_share_group_state_summary::{
    ReadShareGroupStateSummaryRequest, ReadSummaryStateData, ReadSummaryStatePartition,
};
use ottla_wire::{Chunk, ErrorCode, RequestMessage, Str, Uuid, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};

pub const ME: Me = Me { id: BrokerId(0), incarnation: Incarnation(7) };
const LISTENER: &str = "internal";
/// The threads of a broker that wait for the disk.
const WORKERS: usize = 2;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until it is so, for two minutes at most.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never so: {what}");
}

/// A broker with a data directory of its own.
pub struct OneBroker {
    pub broker: Broker,
    pub images: watch::Sender<Arc<ClusterImage>>,
    pub asks: mpsc::Receiver<Ask>,
    pub port: u16,
    pub metrics: Arc<Metrics>,
}

impl OneBroker {
    pub async fn start(data: &std::path::Path, clean: bool, topics: Vec<Topic>) -> OneBroker {
        OneBroker::start_with(data, clean, topics, &[]).await
    }

    pub async fn start_with(
        data: &std::path::Path,
        clean: bool,
        topics: Vec<Topic>,
        settings: &[(&str, &str)],
    ) -> OneBroker {
        OneBroker::start_as(data, clean, |port| image(port, topics, settings)).await
    }

    /// With listeners and permissions; the folder `tls` of `data` has the keys.
    pub async fn start_secured(data: &std::path::Path, topics: Vec<Topic>, access: Access) -> OneBroker {
        OneBroker::start_as(data, false, |port| ClusterImage { access: Arc::new(access), ..image(port, topics, &[]) })
            .await
    }

    async fn start_as(data: &std::path::Path, clean: bool, image: impl FnOnce(u16) -> ClusterImage) -> OneBroker {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let (images, receiver) = watch::channel(Arc::new(image(port)));
        let (ask, asks) = mpsc::channel(QUEUE_BOUND);
        let metrics = Metrics::new();
        let setup = Setup {
            me: ME,
            data: data.to_owned(),
            clean,
            intact: true,
            listeners: vec![(LISTENER.into(), socket)],
            reactors: 2,
            workers: WORKERS,
            request_memory: 64 << 20,
            images: receiver,
            is_current: Arc::new(|| true),
            ask,
            tls: data.join("tls"),
            metrics: metrics.clone(),
        };
        OneBroker { broker: Broker::start(setup).await.unwrap(), images, asks, port, metrics }
    }

    /// Waits until it asks when files of replicas that were moved away may go. They go with the answer.
    pub async fn moved_away(&mut self) -> oneshot::Sender<()> {
        loop {
            if let Ask::MovedAway { answer, .. } = self.asks.recv().await.unwrap() {
                return answer;
            }
        }
    }

    /// Lets no worker take another job before what this returns is dropped.
    pub fn hold_workers(&self) -> Vec<std::sync::mpsc::Sender<()>> {
        let hold = |_| {
            let (release, released) = std::sync::mpsc::channel();
            self.broker.workers().start_job(move || _ = released.recv());
            release
        };
        (0..WORKERS).map(hold).collect()
    }

    /// Waits until the partition is led here.
    pub async fn led(&self, topic: &Topic) {
        let leads = || self.broker.replicas().all().iter().any(|p| p.topic_id == topic.id && p.status().leads);
        until(&format!("{} is led here", topic.name), leads).await;
    }

    /// Waits until the coordinator of an internal topic's only partition serves, which begins a moment after the
    /// partition is led here. Everybody must be allowed to ask it.
    pub async fn coordinates(&self, topic: &Topic) {
        self.led(topic).await;
        let mut client = Client::connect(self.port).await;
        let not_yet = [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS];
        let served = async {
            loop {
                let code = answer_of_coordinator(&mut client, &topic.name).await;
                if !not_yet.contains(&code) {
                    return code;
                }
            }
        };
        let code = tokio::time::timeout(PATIENCE, served).await.expect("the coordinator serves");
        let knows_nothing = [
            ErrorCode::GROUP_ID_NOT_FOUND,
            ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ];
        assert!(knows_nothing.contains(&code), "the coordinator in {} answers {code:?}", topic.name);
    }
}

/// What the coordinator in an internal topic says about something that nobody has used.
async fn answer_of_coordinator(client: &mut Client, topic: &str) -> ErrorCode {
    let nobody = Str::from("nobody");
    match topic {
        CONSUMER_OFFSETS => {
            let request = DescribeGroupsRequest { groups: vec![nobody], ..Default::default() };
            client.call(6, &request).await.groups[0].error_code
        }
        TRANSACTION_STATE => {
            let request = DescribeTransactionsRequest { transactional_ids: vec![nobody] };
            client.call(0, &request).await.transaction_states[0].error_code
        }
        SHARE_GROUP_STATE => {
            let partitions = vec![ReadSummaryStatePartition { partition: 0, leader_epoch: -1 }];
            let topics = vec![ReadSummaryStateData { topic_id: Uuid::from_u128(1), partitions }];
            let request = ReadShareGroupStateSummaryRequest { group_id: nobody, topics };
            client.call(1, &request).await.results[0].partitions[0].error_code
        }
        other => panic!("{other} has no coordinator"),
    }
}

/// Starts a broker as a process does, on ports of its own, for a cluster in the namespace `default` of `client`'s API.
pub async fn start_node(client: kube::Client, cluster: &str, id: BrokerId, data: PathBuf) -> Node {
    start_node_on(1, client, cluster, id, data).await
}

/// The same with so many reactors.
pub async fn start_node_on(reactors: usize, client: kube::Client, cluster: &str, id: BrokerId, data: PathBuf) -> Node {
    let any_port = "127.0.0.1:0".parse().unwrap();
    let listener = Listener { name: LISTENER.into(), bind: any_port, advertised_host: Some("127.0.0.1".to_owned()) };
    let config = Config {
        id,
        namespace: "default".to_owned(),
        cluster: cluster.to_owned(),
        tls: data.join("tls"),
        data,
        listeners: vec![listener],
        http: any_port,
        pod_uid: None,
        reactors,
        workers: 2,
        request_memory: 64 << 20,
    };
    Node::start(config, client).await.unwrap()
}

pub fn image(port: u16, topics: Vec<Topic>, settings: &[(&str, &str)]) -> ClusterImage {
    let endpoint = Endpoint { host: "127.0.0.1".into(), port };
    let broker = ottla_broker::image::Broker {
        id: ME.id,
        rack: None,
        alive: true,
        draining: false,
        endpoints: BTreeMap::from([(LISTENER.into(), endpoint)]),
        address: None,
    };
    let without_delays = [("group.initial.rebalance.delay.ms", "0")];
    let settings = without_delays.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ClusterImage {
        cluster_id: "3Db5QLSqSZieL3rJBUUegA".into(),
        inter_broker_listener: LISTENER.into(),
        brokers: BTreeMap::from([(ME.id, broker)]),
        topic_names: topics.iter().map(|topic| (topic.name.clone(), topic.id)).collect(),
        topics: topics.into_iter().map(|topic| (topic.id, Arc::new(topic))).collect(),
        settings: Arc::new(BrokerSettings::resolve(&settings.collect())),
        ..ClusterImage::default()
    }
}

/// A topic of one partition, led by this broker.
pub fn topic(name: &str, config: &[(&str, &str)]) -> Topic {
    let config: BTreeMap<_, _> = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let settings = Arc::new(TopicSettings::resolve(&config, &broker_settings(&[])));
    let assignment = Assignment {
        partition: 0,
        replicas: vec![ME.id],
        adding: vec![],
        removing: vec![],
        leader: Some(ME.id),
        leader_epoch: LeaderEpoch::FIRST,
        partition_epoch: PartitionEpoch::FIRST,
        isr: vec![IsrMember { broker: ME.id, incarnation: ME.incarnation }],
        reports: vec![],
        log_start: None,
    };
    Topic { id: Uuid::new_v4(), name: name.into(), config, settings, partitions: vec![assignment] }
}

/// The settings of brokers that were given these.
pub fn broker_settings(given: &[(&str, &str)]) -> BrokerSettings {
    BrokerSettings::resolve(&given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

pub fn batch(values: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        builder.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(value.as_bytes()), ..NewRecord::default() });
    }
    builder.build()
}

/// A client that writes and reads the given frames.
pub struct Client {
    pub stream: TcpStream,
    next_correlation_id: i32,
}

impl Client {
    pub async fn connect(port: u16) -> Client {
        Client::on(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    pub fn on(stream: TcpStream) -> Client {
        Client { stream, next_correlation_id: 0 }
    }

    pub async fn send<R: RequestMessage>(&mut self, version: i16, request: &R) {
        self.try_send(version, request).await.unwrap();
    }

    async fn try_send<R: RequestMessage>(&mut self, version: i16, request: &R) -> std::io::Result<()> {
        let client_id = Str::from("test");
        let frame = encode_request(self.next_correlation_id, Some(&client_id), version, request);
        self.next_correlation_id += 1;
        for chunk in frame.into_chunks() {
            let Chunk::Bytes(bytes) = chunk else { panic!("a request is memory") };
            self.stream.write_all(&bytes).await?;
        }
        Ok(())
    }

    /// For brokers that may stop meanwhile.
    pub async fn try_call<R: RequestMessage>(&mut self, version: i16, request: &R) -> std::io::Result<R::Response> {
        self.try_send(version, request).await?;
        let frame = self.frame().await?;
        Ok(decode_response::<R>(version, frame).unwrap().1)
    }

    pub async fn frame(&mut self) -> std::io::Result<Bytes> {
        let len = self.stream.read_i32().await?;
        let mut frame = BytesMut::zeroed(usize::try_from(len).unwrap());
        self.stream.read_exact(&mut frame).await?;
        Ok(frame.freeze())
    }

    pub async fn receive<R: RequestMessage>(&mut self, version: i16) -> (i32, R::Response) {
        let frame = self.frame().await.unwrap();
        decode_response::<R>(version, frame).unwrap()
    }

    pub async fn call<R: RequestMessage>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        let expected = self.next_correlation_id - 1;
        let (correlation_id, response) = self.receive::<R>(version).await;
        assert_eq!(correlation_id, expected);
        response
    }
}

/// The values of all records in fetched bytes.
pub fn values(records: &ottla_wire::Records) -> Vec<String> {
    let Some(bytes) = records.as_bytes() else { return Vec::new() };
    let batches = ottla_batch::Batches::new(bytes.clone());
    let mut values = Vec::new();
    for batch in batches {
        for record in batch.unwrap().records(1 << 20).unwrap() {
            let record = record.unwrap();
            let mut value = record.value().unwrap();
            values.push(String::from_utf8(value.copy_to_bytes(value.remaining()).to_vec()).unwrap());
        }
    }
    values
}
