//! Three brokers in one process, on real sockets; the test sends the image and is the cluster that they ask.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails here")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Client, batch, values};
use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};
use ottla_broker::ask::{Ask, QUEUE_BOUND, Swap};
use ottla_broker::broker::{Broker, Setup};
use ottla_broker::image::{Assignment, BrokerId, ClusterImage, Endpoint, Incarnation, IsrMember, Me, Topic};
use ottla_broker::metrics::Metrics;
use ottla_config::{BrokerSettings, TopicSettings};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData, ReplicaState};
use ottla_wire::m21_delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::m75_describe_topic_partitions::DescribeTopicPartitionsRequest;
use ottla_wire::{ErrorCode, Uuid};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

const LISTENER: &str = "internal";
const DEADLINE: Duration = Duration::from_secs(30);

/// What the cluster's objects say.
struct Objects {
    assignment: Assignment,
    alive: BTreeMap<BrokerId, bool>,
    ports: BTreeMap<BrokerId, u16>,
    /// Whether changes of the ISR are made when they are asked for.
    grants: bool,
    asked: Vec<Assignment>,
    settings: Arc<BrokerSettings>,
}

/// A cluster with one topic of one partition.
struct Cluster {
    objects: Arc<Mutex<Objects>>,
    topic_id: Uuid,
    topic_config: BTreeMap<String, String>,
    images: watch::Sender<Arc<ClusterImage>>,
    brokers: BTreeMap<i32, Running>,
    data: BTreeMap<i32, TempDir>,
}

struct Running {
    broker: Broker,
    /// Each broker sees the cluster through its own window, which can be frozen.
    window: tokio::task::JoinHandle<()>,
    asks: tokio::task::JoinHandle<()>,
}

/// The brokers' settings, with these on top.
fn settings(more: &[(&str, &str)]) -> Arc<BrokerSettings> {
    let config = [
        ("replica.lag.time.max.ms", "500"),
        ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"),
    ];
    let config = config.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Arc::new(BrokerSettings::resolve(&config.collect()))
}

fn member(broker: i32, incarnation: i64) -> IsrMember {
    IsrMember { broker: BrokerId(broker), incarnation: Incarnation(incarnation) }
}

/// The first life of each broker's disk.
fn life(broker: i32) -> i64 {
    100 + i64::from(broker)
}

impl Cluster {
    /// Three brokers, of which 0 leads and all are in sync.
    async fn start(topic_config: &[(&str, &str)]) -> Cluster {
        let ids = [0, 1, 2];
        let assignment = Assignment {
            partition: 0,
            replicas: ids.map(BrokerId).to_vec(),
            adding: vec![],
            removing: vec![],
            leader: Some(BrokerId(0)),
            leader_epoch: 0,
            partition_epoch: 0,
            isr: ids.map(|id| member(id, life(id))).to_vec(),
            reports: vec![],
        };
        let objects = Objects {
            assignment,
            alive: ids.map(|id| (BrokerId(id), true)).into(),
            ports: BTreeMap::new(),
            grants: true,
            asked: vec![],
            settings: settings(&[]),
        };
        let mut cluster = Cluster {
            objects: Arc::new(Mutex::new(objects)),
            topic_id: Uuid::new_v4(),
            topic_config: topic_config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            images: watch::Sender::new(Arc::default()),
            brokers: BTreeMap::new(),
            data: ids.map(|id| (id, tempfile::tempdir().unwrap())).into(),
        };
        for id in ids {
            cluster.run(id, life(id), false).await;
        }
        let leads = || cluster.brokers[&0].broker.replicas().all().iter().any(|partition| partition.standing().leads);
        until("broker 0 leads", leads).await;
        cluster
    }

    /// Starts a broker on its directory, whose content is `incarnation`'s.
    async fn run(&mut self, id: i32, incarnation: i64, clean: bool) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.objects.lock().ports.insert(BrokerId(id), socket.local_addr().unwrap().port());
        self.show();
        let (ask, asks) = mpsc::channel(QUEUE_BOUND);
        let (window, images) = watch::channel(self.images.borrow().clone());
        let mut all = self.images.subscribe();
        let window = tokio::spawn(async move {
            loop {
                window.send_replace(all.borrow_and_update().clone());
                if all.changed().await.is_err() {
                    return;
                }
            }
        });
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
            ask,
            metrics: Metrics::new(),
        };
        let broker = Broker::start(setup).await.unwrap();
        let asks = tokio::spawn(answer(asks, self.objects.clone(), self.images.clone(), self.render()));
        self.brokers.insert(id, Running { broker, window, asks });
    }

    async fn stop(&mut self, id: i32) {
        let running = self.brokers.remove(&id).unwrap();
        running.window.abort();
        running.asks.abort();
        running.broker.stop().await;
    }

    /// From now on the broker sees nothing new, and nobody hears it.
    fn freeze(&self, id: i32) {
        self.brokers[&id].window.abort();
        self.brokers[&id].asks.abort();
    }

    fn topic(&self, assignment: Assignment) -> Topic {
        let settings = Arc::new(TopicSettings::resolve(&self.topic_config, &BrokerSettings::default()));
        Topic {
            id: self.topic_id,
            name: "t".into(),
            config: self.topic_config.clone(),
            settings,
            partitions: vec![assignment],
        }
    }

    /// How objects become an image.
    fn render(&self) -> impl Fn(&Objects) -> ClusterImage + Send + 'static {
        let (topic, old) = (self.topic(self.objects.lock().assignment.clone()), self.images.borrow().clone());
        let resolved = old.topics.get(&topic.id).map_or(topic.settings.clone(), |old| old.settings.clone());
        move |objects| {
            let topic =
                Topic { partitions: vec![objects.assignment.clone()], settings: resolved.clone(), ..topic.clone() };
            let broker = |(id, port): (&BrokerId, &u16)| {
                let endpoint = Endpoint { host: "127.0.0.1".into(), port: *port };
                let broker = ottla_broker::image::Broker {
                    id: *id,
                    // Each in a rack of its own.
                    rack: Some(format!("rack-{id}").into()),
                    alive: objects.alive[id],
                    draining: false,
                    endpoints: BTreeMap::from([(LISTENER.into(), endpoint)]),
                };
                (*id, broker)
            };
            ClusterImage {
                inter_broker_listener: LISTENER.into(),
                brokers: objects.ports.iter().map(broker).collect(),
                topic_names: BTreeMap::from([(topic.name.clone(), topic.id)]),
                topics: [(topic.id, Arc::new(topic))].into(),
                settings: objects.settings.clone(),
                ..ClusterImage::default()
            }
        }
    }

    /// Shows everybody the objects as they are.
    fn show(&self) {
        let render = self.render();
        let image = render(&self.objects.lock());
        self.images.send_replace(Arc::new(image));
    }

    /// Changes the objects as the operator would, and shows them.
    fn change(&self, change: impl FnOnce(&mut Objects)) {
        {
            let mut objects = self.objects.lock();
            let before = objects.assignment.clone();
            change(&mut objects);
            if objects.assignment != before {
                objects.assignment.partition_epoch = before.partition_epoch + 1;
            }
        }
        self.show();
    }

    fn elect(&self, leader: i32) {
        self.change(|objects| {
            objects.assignment.leader = Some(BrokerId(leader));
            objects.assignment.leader_epoch += 1;
        });
    }

    fn die(&self, id: i32) {
        self.change(|objects| _ = objects.alive.insert(BrokerId(id), false));
    }

    /// How often the leader has asked to take a broker in since the ISR was changed first.
    fn times_asked_to_take_in(&self, id: i32) -> usize {
        let takes_in = |asked: &&Assignment| asked.isr.contains(&member(id, life(id))) && asked.partition_epoch > 1;
        self.objects.lock().asked.iter().filter(takes_in).count()
    }

    /// Broker 2 falls out and has caught up again; nobody answers the leader, which asks to take it in.
    async fn leave_open_whether_2_is_in_sync(&mut self) {
        self.produce(0, &["x"]).await;
        self.stop(2).await;
        self.change(|objects| objects.assignment.isr.retain(|member| member.broker != BrokerId(2)));
        self.objects.lock().grants = false;
        self.run(2, life(2), true).await;
        until("it asks to take 2 in", || self.times_asked_to_take_in(2) > 0).await;
    }

    fn isr(&self) -> Vec<IsrMember> {
        let mut isr = self.objects.lock().assignment.isr.clone();
        isr.sort();
        isr
    }

    async fn client(&self, id: i32) -> Client {
        let port = self.objects.lock().ports[&BrokerId(id)];
        Client::connect(port).await
    }

    fn produce_request(&self, acks: i16, timeout_ms: i32, values: &[&str]) -> ProduceRequest {
        self.request_of(acks, timeout_ms, &batch(values))
    }

    fn request_of(&self, acks: i16, timeout_ms: i32, batch: &Batch) -> ProduceRequest {
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
    async fn produce(&self, id: i32, values: &[&str]) -> i64 {
        let mut client = self.client(id).await;
        loop {
            let (code, offset) = self.try_produce(&mut client, values, 10_000).await;
            match code {
                ErrorCode::NONE => return offset,
                ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::NOT_ENOUGH_REPLICAS => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn try_produce(&self, client: &mut Client, values: &[&str], timeout_ms: i32) -> (ErrorCode, i64) {
        let response = client.call(13, &self.produce_request(-1, timeout_ms, values)).await;
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    /// Produces one record of an idempotent producer, with acks=all, once.
    async fn produce_in_sequence(&self, client: &mut Client, sequence: i32) -> ErrorCode {
        let mut builder = BatchBuilder::new(Codec::None).producer(7, 0, sequence);
        let value = sequence.to_string();
        builder.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(value.as_bytes()), ..NewRecord::default() });
        let response = client.call(13, &self.request_of(-1, 10_000, &builder.build())).await;
        response.responses[0].partition_responses[0].error_code
    }

    async fn fetch(&self, client: &mut Client, replica: ReplicaState, partition: FetchPartition) -> PartitionData {
        self.fetch_from_rack(client, replica, partition, "").await
    }

    async fn fetch_from_rack(
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
    async fn seen(&self, id: i32) -> Vec<String> {
        let mut client = self.client(id).await;
        let fetched = self.fetch(&mut client, ReplicaState::default(), FetchPartition::default()).await;
        assert_eq!(fetched.error_code, ErrorCode::NONE);
        let mut seen = values(fetched.records.as_ref().unwrap());
        seen.truncate(usize::try_from(fetched.high_watermark).unwrap());
        seen
    }

    /// The bytes of a broker's only segment.
    fn log(&self, id: i32) -> Vec<u8> {
        let bytes = std::fs::read(self.data[&id].path().join("t-0/00000000000000000000.log")).unwrap_or_default();
        let whole = ottla_batch::Batches::new(bytes.clone().into()).map_while(Result::ok);
        let len: usize = whole.map(|batch| batch.bytes().len()).sum();
        bytes[..len].to_vec()
    }

    async fn all_alike(&self, ids: &[i32]) {
        until("the logs are alike", || ids.windows(2).all(|two| self.log(two[0]) == self.log(two[1]))).await;
    }

    fn dir(&self, id: i32) -> &Path {
        self.data[&id].path()
    }
}

/// The cluster's side of what a broker asks: a compare-and-swap on the partition epoch.
async fn answer(
    mut asks: mpsc::Receiver<Ask>,
    objects: Arc<Mutex<Objects>>,
    images: watch::Sender<Arc<ClusterImage>>,
    render: impl Fn(&Objects) -> ClusterImage,
) {
    let mut unanswered = Vec::new();
    while let Some(ask) = asks.recv().await {
        let Ask::ChangeIsr { next, answer, .. } = ask else { continue };
        let mut objects = objects.lock();
        objects.asked.push((*next).clone());
        if !objects.grants {
            unanswered.push(answer);
            continue;
        }
        let swap = if next.partition_epoch == objects.assignment.partition_epoch + 1 {
            objects.assignment = *next;
            images.send_replace(Arc::new(render(&objects)));
            Swap::Done
        } else {
            Swap::Moved
        };
        let _ = answer.send(Ok(swap));
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "never so: {what}");
}

#[tokio::test]
async fn what_acks_all_acknowledges_is_on_every_replica_byte_for_byte() {
    let cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    for n in 0..20 {
        assert_eq!(cluster.produce(0, &["a", "b"]).await, 2 * n);
    }
    cluster.all_alike(&[0, 1, 2]).await;
    assert_eq!(cluster.seen(0).await.len(), 40);
}

#[tokio::test]
async fn a_follower_that_is_gone_is_taken_out_and_joins_again_when_it_has_caught_up() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["before"]).await;
    cluster.stop(2).await;
    cluster.produce(0, &["without"]).await;
    assert_eq!(cluster.isr(), [member(0, life(0)), member(1, life(1))]);

    cluster.run(2, life(2), true).await;
    until("it is back in", || cluster.isr().contains(&member(2, life(2)))).await;
    cluster.all_alike(&[0, 2]).await;
}

#[tokio::test]
async fn a_disk_with_other_content_joins_under_its_new_name() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["x"]).await;
    cluster.stop(1).await;
    std::fs::remove_dir_all(cluster.dir(1).join("t-0")).unwrap();
    cluster.run(1, 999, false).await;
    until("the new content is in", || cluster.isr().contains(&member(1, 999))).await;
    assert!(!cluster.isr().contains(&member(1, life(1))), "and the old is not");
    cluster.all_alike(&[0, 1]).await;
}

#[tokio::test]
async fn a_new_leader_has_every_acknowledged_record_and_the_old_one_gives_up_the_others() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["kept"]).await;
    cluster.all_alike(&[0, 1, 2]).await;

    // The old leader takes one more that nobody else will have.
    cluster.stop(1).await;
    cluster.stop(2).await;
    let mut client = cluster.client(0).await;
    let response = client.call(13, &cluster.produce_request(1, 1000, &["lost", "too"])).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    cluster.stop(0).await;
    cluster.run(1, life(1), true).await;
    cluster.run(2, life(2), true).await;
    cluster.die(0);
    cluster.elect(1);
    cluster.produce(1, &["next"]).await;

    cluster.run(0, life(0), true).await;
    cluster.change(|objects| _ = objects.alive.insert(BrokerId(0), true));
    cluster.all_alike(&[0, 1, 2]).await;
    assert_eq!(cluster.seen(1).await, ["kept", "next"]);
}

#[tokio::test]
async fn who_waits_while_the_lead_moves_is_told_at_once_where_it_went() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["before"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    // Nobody copies what comes next, so that its producer waits, and the consumer behind it.
    cluster.stop(1).await;
    cluster.stop(2).await;
    let (mut producer, mut consumer) = (cluster.client(0).await, cluster.client(0).await);
    let produce = cluster.produce_request(-1, 60_000, &["not committed"]);
    // One that says which epoch it believes in, as those that know it do: others may go on reading from a follower.
    let partition = FetchPartition { fetch_offset: 1, current_leader_epoch: 0, ..Default::default() };
    let topic = FetchTopic { topic_id: cluster.topic_id, partitions: vec![partition], ..Default::default() };
    let fetch = FetchRequest { max_wait_ms: 60_000, min_bytes: 1, topics: vec![topic], ..Default::default() };
    let moves = async {
        until("it is appended", || cluster.log(0).len() > cluster.log(1).len()).await;
        cluster.elect(1);
    };
    let answers = async { tokio::join!(producer.call(13, &produce), consumer.call(18, &fetch), moves) };
    let (produced, fetched, ()) = tokio::time::timeout(DEADLINE, answers).await.unwrap();

    let port = i32::from(cluster.objects.lock().ports[&BrokerId(1)]);
    let answer = &produced.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!((answer.current_leader.leader_id, answer.current_leader.leader_epoch), (1, 1));
    assert_eq!((produced.node_endpoints[0].node_id, produced.node_endpoints[0].port), (1, port));
    let answer = &fetched.responses[0].partitions[0];
    assert_eq!(answer.error_code, ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!((answer.current_leader.leader_id, answer.current_leader.leader_epoch), (1, 1));
    assert_eq!((fetched.node_endpoints[0].node_id, fetched.node_endpoints[0].port), (1, port));
}

#[tokio::test]
async fn a_leader_that_wrote_nothing_in_its_epoch_follows_the_next() {
    let cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["first"]).await;
    for leader in [1, 2, 0, 1] {
        cluster.elect(leader);
    }
    cluster.produce(1, &["second"]).await;
    cluster.elect(2);
    cluster.produce(2, &["third"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    assert_eq!(cluster.seen(2).await, ["first", "second", "third"]);
}

#[tokio::test]
async fn a_leader_that_is_silent_is_missed_by_its_followers_while_they_follow_it() {
    let cluster = Cluster::start(&[]).await;
    let unheard = |id: i32| cluster.brokers[&id].broker.replicas().unheard().borrow().clone();
    assert!(unheard(1).is_empty());
    // What accepts in its stead does so as a frozen process does: in the kernel.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = frozen.local_addr().unwrap().port();
    cluster.change(|objects| _ = objects.ports.insert(BrokerId(0), port));
    until("both miss it", || [1, 2].iter().all(|id| unheard(*id).contains(&BrokerId(0)))).await;
    cluster.elect(1);
    until("nobody follows it", || [1, 2].iter().all(|id| unheard(*id).is_empty())).await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_and_deserted_gives_way_until_a_follower_is_back() {
    let mut cluster = Cluster::start(&[]).await;
    let cut_off = Arc::new(AtomicBool::new(false));
    let replicas = cluster.brokers[&0].broker.replicas().clone();
    let looks = tokio::spawn(replicas.give_way({
        let cut_off = cut_off.clone();
        move || cut_off.load(Ordering::Relaxed)
    }));
    cluster.freeze(0);
    cut_off.store(true, Ordering::Relaxed);
    let mut client = cluster.client(0).await;
    let mut produced = async |cluster: &Cluster| {
        let answer = client.call(13, &cluster.produce_request(1, 1000, &["x"])).await;
        answer.responses[0].partition_responses[0].error_code
    };
    assert_eq!(produced(&cluster).await, ErrorCode::NONE);
    cluster.stop(1).await;
    cluster.stop(2).await;
    while produced(&cluster).await == ErrorCode::NONE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(produced(&cluster).await, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    cluster.run(1, life(1), true).await;
    while produced(&cluster).await != ErrorCode::NONE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    looks.abort();
}

#[tokio::test]
async fn below_min_insync_acks_all_is_refused_and_the_isr_stays_at_its_floor() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["safe"]).await;
    cluster.stop(2).await;
    cluster.stop(1).await;
    let mut client = cluster.client(0).await;
    let (code, _) = cluster.try_produce(&mut client, &["unsafe"], 100).await;
    assert!(
        matches!(code, ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        "appended before anybody noticed: {code:?}"
    );
    cluster.die(1);
    cluster.die(2);
    loop {
        match cluster.try_produce(&mut client, &["unsafe"], 100).await.0 {
            ErrorCode::NOT_ENOUGH_REPLICAS => break,
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND | ErrorCode::REQUEST_TIMED_OUT => {}
            other => panic!("{other:?}"),
        }
    }
    until("one of them is out", || cluster.isr().len() == 2).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(cluster.isr().len(), 2, "a dead member stays rather than that the floor is broken");
    assert_eq!(cluster.seen(0).await, ["safe"], "what is not committed is not shown");
}

#[tokio::test]
async fn what_was_sent_behind_a_refused_batch_comes_after_it_when_the_reason_has_passed() {
    let cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    let mut client = cluster.client(0).await;
    assert_eq!(cluster.produce_in_sequence(&mut client, 0).await, ErrorCode::NONE);
    cluster.die(1);
    cluster.die(2);
    let mut refused_at = 1;
    // What was appended before it has noticed is committed: both go on fetching.
    until_refused(&cluster, &mut client, &mut refused_at).await;
    cluster.change(|objects| objects.alive.values_mut().for_each(|alive| *alive = true));
    let mut other = cluster.client(0).await;
    // Somebody else's records are taken again: so the reason has passed.
    while cluster.try_produce(&mut other, &["other"], 10_000).await.0 != ErrorCode::NONE {}
    for ahead in 1..=4 {
        let code = cluster.produce_in_sequence(&mut client, refused_at + ahead).await;
        assert_eq!(code, ErrorCode::NOT_ENOUGH_REPLICAS, "{ahead} ahead");
    }
    for next in refused_at..=refused_at + 4 {
        assert_eq!(cluster.produce_in_sequence(&mut client, next).await, ErrorCode::NONE, "in order");
    }
    let mut seen = cluster.seen(0).await;
    seen.retain(|value| value != "other");
    let expected: Vec<String> = (0..=refused_at + 4).map(|sequence| sequence.to_string()).collect();
    assert_eq!(seen, expected);
}

async fn until_refused(cluster: &Cluster, client: &mut Client, sequence: &mut i32) {
    loop {
        match cluster.produce_in_sequence(client, *sequence).await {
            ErrorCode::NONE => *sequence += 1,
            ErrorCode::NOT_ENOUGH_REPLICAS => return,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_waits_for_a_leader_that_leads_on_in_another_epoch_is_told_that_it_does_not_lead() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["safe"]).await;
    cluster.stop(2).await;
    cluster.stop(1).await;
    let mut client = cluster.client(0).await;
    client.send(13, &cluster.produce_request(-1, 60_000, &["waits"])).await;
    until("it is appended", || values(&Bytes::from(cluster.log(0)).into()) == ["safe", "waits"]).await;
    cluster.elect(0);
    let (_, response) = client.receive::<ProduceRequest>(13).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[tokio::test]
async fn an_old_leader_cannot_shrink_the_isr_nor_commit_anything() {
    let cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["shared"]).await;
    let mut old = cluster.client(0).await;
    // It goes on asking, but sees nothing new.
    cluster.brokers[&0].window.abort();
    cluster.elect(1);
    cluster.produce(1, &["new"]).await;
    let (code, _) = cluster.try_produce(&mut old, &["old"], 1500).await;
    assert_ne!(code, ErrorCode::NONE);
    let asked = cluster.objects.lock().asked.clone();
    assert!(asked.iter().any(|ask| ask.leader_epoch == 0), "it tried");
    assert!(!cluster.isr().contains(&member(0, life(0))), "and it is itself the one who went");
    assert_eq!(cluster.seen(1).await, ["shared", "new"]);
}

#[tokio::test]
async fn the_position_of_another_incarnation_does_not_count() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.stop(2).await;
    cluster.stop(1).await;
    cluster.objects.lock().grants = false;
    let mut leader = cluster.client(0).await;
    cluster.change(|objects| objects.assignment.isr = vec![member(0, life(0)), member(1, life(1))]);
    let response = leader.call(13, &cluster.produce_request(1, 1000, &["x"])).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    let last = FetchPartition { fetch_offset: 1, current_leader_epoch: 0, last_fetched_epoch: 0, ..Default::default() };
    let stranger = ReplicaState { replica_id: 1, replica_epoch: 5 };
    let fetched = cluster.fetch(&mut leader, stranger, last).await;
    assert_eq!((fetched.error_code, fetched.high_watermark), (ErrorCode::NONE, 0));
    let asks_to_let_it_in = || cluster.objects.lock().asked.iter().any(|asked| asked.isr.contains(&member(1, 5)));
    until("it must be let in first", asks_to_let_it_in).await;
}

#[tokio::test]
async fn a_change_whose_outcome_is_unknown_counts_until_the_image_shows_what_became_of_it() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.leave_open_whether_2_is_in_sync().await;
    cluster.freeze(2);
    cluster.brokers.remove(&2).unwrap().broker.stop().await;
    let mut client = cluster.client(0).await;
    let (code, _) = cluster.try_produce(&mut client, &["y"], 1500).await;
    assert_eq!(code, ErrorCode::REQUEST_TIMED_OUT, "perhaps it is in, so it is waited for");
    // The operator was faster: the proposal can't be written any more.
    cluster.change(|objects| objects.assignment.isr.reverse());
    assert_eq!(cluster.produce(0, &["z"]).await, 2);
}

/// The model found it: the mutant `ForgottenProposal`.
#[tokio::test]
async fn a_leader_that_starts_again_in_its_epoch_counts_whom_it_may_have_taken_in() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.leave_open_whether_2_is_in_sync().await;
    let asked = cluster.times_asked_to_take_in(2);
    cluster.stop(2).await;
    cluster.stop(0).await;
    cluster.run(0, life(0), true).await;

    let mut client = cluster.client(0).await;
    let timed_out = async {
        loop {
            match cluster.try_produce(&mut client, &["y"], 1500).await.0 {
                // It has not opened its log yet.
                ErrorCode::NOT_LEADER_OR_FOLLOWER => tokio::time::sleep(Duration::from_millis(5)).await,
                code => break code,
            }
        }
    };
    assert_eq!(timed_out.await, ErrorCode::REQUEST_TIMED_OUT, "perhaps 2 is in, so it is waited for");
    until("it asks again", || cluster.times_asked_to_take_in(2) > asked).await;
}

#[tokio::test]
async fn fetches_of_another_leader_epoch_are_told_which_of_the_two_is_behind() {
    let cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["x"]).await;
    cluster.elect(0);
    cluster.produce(0, &["y"]).await;
    let mut client = cluster.client(0).await;
    let mut ask = async |current_leader_epoch, last_fetched_epoch, fetch_offset| {
        let replica = ReplicaState { replica_id: 1, replica_epoch: life(1) };
        let partition = FetchPartition { current_leader_epoch, last_fetched_epoch, fetch_offset, ..Default::default() };
        let fetched = cluster.fetch(&mut client, replica, partition).await;
        (fetched.error_code, fetched.diverging_epoch.epoch, fetched.diverging_epoch.end_offset)
    };
    assert_eq!(ask(0, 0, 1).await, (ErrorCode::FENCED_LEADER_EPOCH, -1, -1));
    assert_eq!(ask(2, 0, 1).await, (ErrorCode::UNKNOWN_LEADER_EPOCH, -1, -1));
    assert_eq!(ask(1, 0, 5).await, (ErrorCode::NONE, 0, 1), "epoch 0 ended before");
    assert_eq!(ask(1, 0, 1).await, (ErrorCode::NONE, -1, -1));
}

#[tokio::test]
async fn a_consumer_is_sent_to_the_replica_in_its_rack_and_reads_there_what_is_committed() {
    let cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["x"]).await;
    let (mut leader, mut follower) = (cluster.client(0).await, cluster.client(2).await);
    let consumer = ReplicaState::default;
    for (rack, preferred, records) in [("rack-2", 2, 0), ("rack-0", -1, 1), ("elsewhere", -1, 1), ("", -1, 1)] {
        let fetched = cluster.fetch_from_rack(&mut leader, consumer(), FetchPartition::default(), rack).await;
        let found = (fetched.preferred_read_replica, values(fetched.records.as_ref().unwrap()).len());
        assert_eq!((fetched.error_code, found), (ErrorCode::NONE, (preferred, records)), "{rack}");
    }
    loop {
        let fetched = cluster.fetch_from_rack(&mut follower, consumer(), FetchPartition::default(), "rack-2").await;
        assert_eq!(fetched.error_code, ErrorCode::NONE);
        // The follower learns of the high watermark a moment later.
        if fetched.high_watermark == 1 {
            assert_eq!(values(fetched.records.as_ref().unwrap()), ["x"]);
            break;
        }
        assert!(values(fetched.records.as_ref().unwrap()).is_empty());
    }
}

#[tokio::test]
async fn a_follower_whose_end_the_leader_no_longer_has_starts_anew() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["old"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    cluster.stop(2).await;
    cluster.change(|objects| objects.assignment.isr.retain(|member| member.broker != BrokerId(2)));
    cluster.produce(0, &["gone", "kept"]).await;
    let mut client = cluster.client(0).await;
    let topic = DeleteRecordsTopic {
        name: "t".into(),
        partitions: vec![DeleteRecordsPartition { partition_index: 0, offset: 2 }],
    };
    let deleted = client.call(2, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 }).await;
    assert_eq!(deleted.topics[0].partitions[0].error_code, ErrorCode::NONE);

    cluster.run(2, life(2), true).await;
    until("it is back in", || cluster.isr().contains(&member(2, life(2)))).await;
    let standing = cluster.brokers[&2].broker.replicas().all()[0].standing();
    assert_eq!((standing.log_start, standing.log_end), (2, 3));
}

#[tokio::test]
async fn in_sync_members_that_look_dead_are_shown_as_eligible_leaders() {
    let cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["x"]).await;
    cluster.die(2);
    let mut client = cluster.client(0).await;
    let request = DescribeTopicPartitionsRequest { response_partition_limit: 10, ..Default::default() };
    let waiting = async {
        loop {
            let described = client.call(0, &request).await.topics.remove(0).partitions.remove(0);
            if described.isr_nodes == [0, 1] && described.eligible_leader_replicas == Some(vec![2]) {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
}

const RATES: [&str; 2] = ["follower.replication.throttled.rate", "leader.replication.throttled.rate"];
/// From broker 0 to broker 2.
const THROTTLED: &[(&str, &str)] =
    &[("follower.replication.throttled.replicas", "0:2"), ("leader.replication.throttled.replicas", "0:0")];
/// Of a batch, so that there are many of them in a second of the rate.
const SIZE: usize = 10_000;

/// Broker 2 was away while `batches` were written, and comes back to a cluster with these settings on top.
async fn lacking(batches: usize, topic_config: &[(&str, &str)], more: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::start(topic_config).await;
    cluster.stop(2).await;
    cluster.change(|objects| objects.assignment.isr.retain(|member| member.broker != BrokerId(2)));
    let value = "x".repeat(SIZE);
    for _ in 0..batches {
        cluster.produce(0, &[&value]).await;
    }
    cluster.objects.lock().settings = settings(more);
    cluster.run(2, life(2), true).await;
    cluster
}

#[tokio::test]
async fn only_a_replica_that_is_not_in_sync_is_slowed_down_and_only_while_there_is_a_rate() {
    for rate in RATES {
        let cluster = lacking(10, THROTTLED, &[(rate, "1")]).await;
        // A first batch, after which nothing passes for hours.
        until("it has begun", || !cluster.log(2).is_empty()).await;
        let value = "x".repeat(SIZE);
        for _ in 0..10 {
            cluster.produce(0, &[&value]).await;
        }
        assert_eq!(cluster.isr(), [member(0, life(0)), member(1, life(1))]);
        assert!(cluster.log(2).len() < 3 * SIZE, "{rate}: {} bytes", cluster.log(2).len());
        cluster.change(|objects| objects.settings = settings(&[]));
        until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
        cluster.all_alike(&[0, 1, 2]).await;
    }
}

#[tokio::test]
async fn a_backlog_takes_at_least_its_size_over_the_rate() {
    for rate in RATES {
        let began = std::time::Instant::now();
        let cluster = lacking(30, THROTTLED, &[(rate, "100000")]).await;
        until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
        // 300 kB, of which a second's worth may have been spared before, and the last batch comes whole.
        assert!(began.elapsed() > Duration::from_millis(1800), "{rate}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn replicas_that_no_list_names_are_not_slowed_down() {
    let others = [("follower.replication.throttled.replicas", "0:1"), ("leader.replication.throttled.replicas", "0:2")];
    let cluster = lacking(10, &others, &RATES.map(|rate| (rate, "1"))).await;
    until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
}
