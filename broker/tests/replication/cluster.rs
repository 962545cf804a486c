//! The cluster: three brokers, one topic of one partition, the objects that they see and change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};
use ottla_broker::ask::{Ask, QUEUE_BOUND, Swap};
use ottla_broker::broker::{Broker, Setup};
use ottla_broker::image::{
    Assignment, BrokerId, ClusterImage, Endpoint, Incarnation, IsrMember, LeaderEpoch, Me, PartitionEpoch, Topic,
};
use ottla_broker::metrics::Metrics;
use ottla_config::{BrokerSettings, TopicSettings};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData, ReplicaState};
use ottla_wire::{ErrorCode, Uuid};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::common::{Client, batch, values};

pub const LISTENER: &str = "internal";
pub const DEADLINE: Duration = Duration::from_secs(120);

/// What the cluster's objects say.
pub struct Objects {
    pub assignment: Assignment,
    /// Of the topic's other partitions, of which it has none at first.
    pub others: Vec<Assignment>,
    pub alive: BTreeMap<BrokerId, bool>,
    pub ports: BTreeMap<BrokerId, u16>,
    /// Whether changes of the ISR are made when they are asked for.
    pub grants: bool,
    pub asked: Vec<Assignment>,
    pub settings: Arc<BrokerSettings>,
    /// The bytes per second at which added replicas are copied.
    pub moves_rate: Option<u64>,
}

/// A cluster with one topic of one partition.
pub struct Cluster {
    pub objects: Arc<Mutex<Objects>>,
    pub topic_id: Uuid,
    pub topic_name: &'static str,
    pub topic_config: BTreeMap<String, String>,
    pub images: watch::Sender<Arc<ClusterImage>>,
    pub brokers: BTreeMap<i32, Running>,
    pub data: BTreeMap<i32, TempDir>,
}

pub struct Running {
    pub broker: Broker,
    pub metrics: Arc<Metrics>,
    /// Each broker sees the cluster through its own window, which can be frozen.
    pub window: tokio::task::JoinHandle<()>,
    /// Whether the window shows nothing new for now.
    pub held: watch::Sender<bool>,
    pub asks: tokio::task::JoinHandle<()>,
}

/// The brokers' settings, with these on top.
pub fn settings(more: &[(&str, &str)]) -> Arc<BrokerSettings> {
    let config = [
        ("replica.lag.time.max.ms", "500"),
        ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"),
    ];
    let config = config.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Arc::new(BrokerSettings::resolve(&config.collect()))
}

pub fn member(broker: i32, incarnation: i64) -> IsrMember {
    IsrMember { broker: BrokerId(broker), incarnation: Incarnation(incarnation) }
}

/// The first life of each broker's disk.
pub fn life(broker: i32) -> i64 {
    100 + i64::from(broker)
}

impl Cluster {
    /// Three brokers, of which 0 leads and all are in sync.
    pub async fn start(topic_config: &[(&str, &str)]) -> Cluster {
        Cluster::start_of("t", topic_config).await
    }

    /// The same with another name for the topic.
    pub async fn start_of(topic_name: &'static str, topic_config: &[(&str, &str)]) -> Cluster {
        let ids = [0, 1, 2];
        let assignment = Assignment {
            partition: 0,
            replicas: ids.map(BrokerId).to_vec(),
            adding: vec![],
            removing: vec![],
            leader: Some(BrokerId(0)),
            leader_epoch: LeaderEpoch::FIRST,
            partition_epoch: PartitionEpoch::FIRST,
            isr: ids.map(|id| member(id, life(id))).to_vec(),
            reports: vec![],
            log_start: None,
        };
        let objects = Objects {
            assignment,
            others: vec![],
            alive: ids.map(|id| (BrokerId(id), true)).into(),
            ports: BTreeMap::new(),
            grants: true,
            asked: vec![],
            settings: settings(&[]),
            moves_rate: None,
        };
        let mut cluster = Cluster {
            objects: Arc::new(Mutex::new(objects)),
            topic_id: Uuid::new_v4(),
            topic_name,
            topic_config: topic_config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            images: watch::Sender::new(Arc::default()),
            brokers: BTreeMap::new(),
            data: ids.map(|id| (id, tempfile::tempdir().unwrap())).into(),
        };
        for id in ids {
            cluster.run(id, life(id), false).await;
        }
        let leads = || cluster.brokers[&0].broker.replicas().all().iter().any(|partition| partition.status().leads);
        until("broker 0 leads", leads).await;
        // A follower that has not fetched yet would soon be taken for a laggard.
        let mut client = cluster.client(0).await;
        for id in [1, 2] {
            let rack = format!("rack-{id}");
            let heard = async {
                let (consumer, from) = (ReplicaState::default, FetchPartition::default);
                while cluster.fetch_from_rack(&mut client, consumer(), from(), &rack).await.preferred_read_replica != id
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(DEADLINE, heard).await.expect("every follower is in sync");
        }
        cluster
    }

    /// Starts a broker on its directory, whose content is `incarnation`'s.
    pub async fn run(&mut self, id: i32, incarnation: i64, clean: bool) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.objects.lock().ports.insert(BrokerId(id), socket.local_addr().unwrap().port());
        self.show();
        let (ask, asks) = mpsc::channel(QUEUE_BOUND);
        let (window, images) = watch::channel(self.images.borrow().clone());
        let mut all = self.images.subscribe();
        let (held, mut is_held) = watch::channel(false);
        let window = tokio::spawn(async move {
            loop {
                _ = is_held.wait_for(|held| !held).await;
                window.send_replace(all.borrow_and_update().clone());
                if all.changed().await.is_err() {
                    return;
                }
            }
        });
        let metrics = Metrics::new();
        let setup = Setup {
            me: Me { id: BrokerId(id), incarnation: Incarnation(incarnation) },
            data: self.data[&id].path().to_owned(),
            clean,
            intact: incarnation == life(id),
            listeners: vec![(LISTENER.into(), socket)],
            reactors: 1,
            workers: 2,
            request_memory: 64 << 20,
            images,
            is_current: Arc::new(|| true),
            ask,
            tls: self.data[&id].path().join("tls"),
            metrics: metrics.clone(),
        };
        let broker = Broker::start(setup).await.unwrap();
        let asks = tokio::spawn(answer(asks, self.objects.clone(), self.images.clone(), self.render()));
        self.brokers.insert(id, Running { broker, metrics, window, held, asks });
    }

    pub async fn stop(&mut self, id: i32) {
        let running = self.brokers.remove(&id).unwrap();
        running.window.abort();
        running.asks.abort();
        running.broker.stop().await;
    }

    /// From now on the broker sees nothing new, and nobody hears it.
    pub fn freeze(&self, id: i32) {
        self.brokers[&id].window.abort();
        self.brokers[&id].asks.abort();
    }

    /// The broker sees nothing new, or from now on everything again.
    pub fn hold(&self, id: i32, held: bool) {
        self.brokers[&id].held.send_replace(held);
    }

    pub fn topic(&self, assignment: Assignment) -> Topic {
        let settings = Arc::new(TopicSettings::resolve(&self.topic_config, &BrokerSettings::default()));
        Topic {
            id: self.topic_id,
            name: self.topic_name.into(),
            config: self.topic_config.clone(),
            settings,
            partitions: vec![assignment],
        }
    }

    /// How objects become an image.
    pub fn render(&self) -> impl Fn(&Objects) -> ClusterImage + Send + 'static {
        let (topic, old) = (self.topic(self.objects.lock().assignment.clone()), self.images.borrow().clone());
        let resolved = old.topics.get(&topic.id).map_or(topic.settings.clone(), |old| old.settings.clone());
        move |objects| {
            let partitions = std::iter::once(&objects.assignment).chain(&objects.others).cloned().collect();
            let topic = Topic { partitions, settings: resolved.clone(), ..topic.clone() };
            let broker = |(id, port): (&BrokerId, &u16)| {
                let endpoint = Endpoint { host: "127.0.0.1".into(), port: *port };
                let broker = ottla_broker::image::Broker {
                    id: *id,
                    // Each in a rack of its own.
                    rack: Some(format!("rack-{id}").into()),
                    alive: objects.alive[id],
                    draining: false,
                    endpoints: BTreeMap::from([(LISTENER.into(), endpoint)]),
                    address: None,
                };
                (*id, broker)
            };
            ClusterImage {
                inter_broker_listener: LISTENER.into(),
                brokers: objects.ports.iter().map(broker).collect(),
                topic_names: [(topic.name.clone(), topic.id)].into(),
                topics: [(topic.id, Arc::new(topic))].into_iter().collect(),
                settings: objects.settings.clone(),
                moves_rate: objects.moves_rate,
                ..ClusterImage::default()
            }
        }
    }

    /// Shows everybody the objects as they are.
    pub fn show(&self) {
        let render = self.render();
        let image = render(&self.objects.lock());
        self.images.send_replace(Arc::new(image));
    }

    /// Changes the objects as the operator would, and shows them.
    pub fn change(&self, change: impl FnOnce(&mut Objects)) {
        {
            let mut objects = self.objects.lock();
            let before = objects.assignment.clone();
            change(&mut objects);
            if objects.assignment != before {
                objects.assignment.partition_epoch = before.partition_epoch.next().unwrap();
            }
        }
        self.show();
    }

    pub fn elect(&self, leader: i32) {
        self.change(|objects| {
            objects.assignment.leader = Some(BrokerId(leader));
            objects.assignment.leader_epoch.0 += 1;
        });
    }

    pub fn die(&self, id: i32) {
        self.change(|objects| _ = objects.alive.insert(BrokerId(id), false));
    }

    /// How often the leader has asked to take a broker in since the ISR was changed first.
    pub fn times_asked_to_take_in(&self, id: i32) -> usize {
        let takes_in = |asked: &&Assignment| {
            asked.isr.contains(&member(id, life(id))) && asked.partition_epoch > PartitionEpoch(1)
        };
        self.objects.lock().asked.iter().filter(takes_in).count()
    }

    /// Broker 2 falls out and has caught up again; nobody answers the leader, which asks to take it in.
    pub async fn leave_open_whether_2_is_in_sync(&mut self) {
        self.produce(0, &["x"]).await;
        self.stop(2).await;
        self.change(|objects| objects.assignment.isr.retain(|member| member.broker != BrokerId(2)));
        {
            let mut objects = self.objects.lock();
            objects.grants = false;
            objects.asked.clear();
        }
        self.run(2, life(2), true).await;
        until("it asks to take 2 in", || self.times_asked_to_take_in(2) > 0).await;
    }

    pub fn isr(&self) -> Vec<IsrMember> {
        let mut isr = self.objects.lock().assignment.isr.clone();
        isr.sort();
        isr
    }

    /// Broker 0, which leads, takes a batch that nobody else will have: the others have stopped, and it is not granted
    /// to miss them.
    pub async fn has_leader_0_take_alone(&mut self, values: &[&str]) {
        self.objects.lock().grants = false;
        self.stop(1).await;
        self.stop(2).await;
        let mut client = self.client(0).await;
        let response = client.call(13, &self.produce_request(1, 1000, values)).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    }

    pub async fn client(&self, id: i32) -> Client {
        let port = self.objects.lock().ports[&BrokerId(id)];
        Client::connect(port).await
    }

    pub fn produce_request(&self, acks: i16, timeout_ms: i32, values: &[&str]) -> ProduceRequest {
        self.request_of(acks, timeout_ms, &batch(values))
    }

    pub fn request_of(&self, acks: i16, timeout_ms: i32, batch: &Batch) -> ProduceRequest {
        let records = Some(batch.bytes().clone().into());
        ProduceRequest {
            acks,
            timeout_ms,
            topic_data: vec![TopicProduceData {
                topic_id: self.topic_id,
                partition_data: vec![PartitionProduceData { index: 0, records }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Produces with acks=all, and again as a client does, until it is acknowledged.
    pub async fn produce(&self, id: i32, values: &[&str]) -> i64 {
        let mut client = self.client(id).await;
        let produced = async {
            loop {
                let (code, offset) = self.try_produce(&mut client, values, 60_000).await;
                match code {
                    ErrorCode::NONE => return offset,
                    ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::NOT_ENOUGH_REPLICAS => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(DEADLINE, produced).await.expect("it is acknowledged")
    }

    pub async fn try_produce(&self, client: &mut Client, values: &[&str], timeout_ms: i32) -> (ErrorCode, i64) {
        let response = client.call(13, &self.produce_request(-1, timeout_ms, values)).await;
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    /// Produces one record of an idempotent producer, with acks=all, once.
    pub async fn produce_in_sequence(&self, client: &mut Client, sequence: i32) -> ErrorCode {
        let mut builder = BatchBuilder::new(Codec::None).producer(7, 0, sequence);
        let value = sequence.to_string();
        builder.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(value.as_bytes()), ..NewRecord::default() });
        let response = client.call(13, &self.request_of(-1, 60_000, &builder.build())).await;
        response.responses[0].partition_responses[0].error_code
    }

    pub async fn fetch(&self, client: &mut Client, replica: ReplicaState, partition: FetchPartition) -> PartitionData {
        self.fetch_from_rack(client, replica, partition, "").await
    }

    pub async fn fetch_from_rack(
        &self,
        client: &mut Client,
        replica: ReplicaState,
        partition: FetchPartition,
        rack: &str,
    ) -> PartitionData {
        let request = FetchRequest {
            replica_state: replica,
            rack_id: rack.into(),
            max_bytes: 1 << 20,
            topics: vec![FetchTopic {
                topic_id: self.topic_id,
                partitions: vec![FetchPartition { partition_max_bytes: 1 << 20, ..partition }],
                ..Default::default()
            }],
            ..Default::default()
        };
        client.call(18, &request).await.responses.remove(0).partitions.remove(0)
    }

    /// What a consumer may see at `id`, which leads.
    pub async fn seen(&self, id: i32) -> Vec<String> {
        let mut client = self.client(id).await;
        let fetched = self.fetch(&mut client, ReplicaState::default(), FetchPartition::default()).await;
        assert_eq!(fetched.error_code, ErrorCode::NONE);
        let mut seen = values(fetched.records.as_ref().unwrap());
        seen.truncate(usize::try_from(fetched.high_watermark).unwrap());
        seen
    }

    /// The bytes of a broker's segments; replicas whose logs were cut begin new ones where others do not.
    pub fn log(&self, id: i32) -> Vec<u8> {
        let files =
            std::fs::read_dir(self.data[&id].path().join(format!("{}-0", self.topic_name))).into_iter().flatten();
        let mut segments: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        segments.sort();
        let mut log = Vec::new();
        for bytes in segments.iter().map(|path| std::fs::read(path).unwrap_or_default()) {
            let whole = ottla_batch::Batches::new(bytes.clone().into()).map_while(Result::ok);
            let len: usize = whole.map(|batch| batch.bytes().len()).sum();
            log.extend_from_slice(&bytes[..len]);
        }
        log
    }

    pub async fn all_alike(&self, ids: &[i32]) {
        until("the logs are alike", || ids.windows(2).all(|two| self.log(two[0]) == self.log(two[1]))).await;
    }

    pub fn dir(&self, id: i32) -> &Path {
        self.data[&id].path()
    }
}

/// The cluster's side of what a broker asks: a compare-and-swap on the partition epoch.
pub async fn answer(
    mut asks: mpsc::Receiver<Ask>,
    objects: Arc<Mutex<Objects>>,
    images: watch::Sender<Arc<ClusterImage>>,
    render: impl Fn(&Objects) -> ClusterImage,
) {
    let mut unanswered = Vec::new();
    while let Some(ask) = asks.recv().await {
        let (next, answer) = match ask {
            Ask::ChangeIsr { next, answer, .. } => (next, answer),
            Ask::MovedAway { answer, .. } => {
                let _ = answer.send(());
                continue;
            }
            _ => continue,
        };
        let mut objects = objects.lock();
        objects.asked.push((*next).clone());
        if !objects.grants {
            unanswered.push(answer);
            continue;
        }
        let swap = if next.partition_epoch.follows(objects.assignment.partition_epoch) {
            objects.assignment = *next;
            images.send_replace(Arc::new(render(&objects)));
            Swap::Done
        } else {
            Swap::Moved
        };
        let _ = answer.send(Ok(swap));
    }
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "never so: {what}");
}
