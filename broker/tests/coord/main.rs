//! The window on Kubernetes with an operator behind it: embedded API, coordination and brokers' windows in one process.
//!
//! - `asks`: what Kafka's clients ask of the cluster
//! - `restored`: an API server that shows the past, or the words of a newer version
//! - `revoked`: users that were deleted, and an API server that shows the past

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

mod asks;
mod restored;
mod revoked;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytestring::ByteString as Str;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use ottla_broker::ask::{Answer, Ask, AskRefusal, NewTopic, Swap, Whose};
use ottla_broker::coord::{Coord, Setup, copy, session};
use ottla_broker::data_dir::{DataDir, DataDirError};
use ottla_broker::image::{BrokerId, ClusterImage, LeaderEpoch};
use ottla_crds::{
    BrokerOverride, Brokers, ClusterRef, DeletionPolicy, Endpoint, GroupOverride, KafkaAssignment, KafkaCluster,
    KafkaClusterSpec, KafkaTopic, KafkaTopicSpec, names,
};
use ottla_kube::change;
use ottla_local_api::{Server, Store};
use ottla_rules::assignment::{Assignment, Leader, LiveBroker};
use ottla_wire::ErrorCode;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const CLUSTER: &str = "local";

struct World {
    server: Server,
    client: Client,
    operator: JoinHandle<()>,
    data: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.operator.abort();
    }
}

impl World {
    async fn new(brokers: i32) -> World {
        World::with(brokers, |definition| definition).await
    }

    async fn with(brokers: i32, change: impl FnMut(CustomResourceDefinition) -> CustomResourceDefinition) -> World {
        let definitions = ottla_crds::all().into_iter().map(change).collect();
        let server = Server::new(Store::Memory, definitions).unwrap();
        let client = server.client("default");
        let spec: KafkaClusterSpec = serde_json::from_value(serde_json::json!({})).unwrap();
        let spec = KafkaClusterSpec { brokers: Brokers { replicas: brokers, ..Brokers::default() }, ..spec };
        let clusters = Api::namespaced(client.clone(), "default");
        clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await.unwrap();
        let operator = operator(&client);
        World { server, client, operator, data: tempfile::tempdir().unwrap() }
    }

    fn dir(&self, id: i32) -> DataDir {
        DataDir::open(&self.data.path().join(id.to_string()), BrokerId(id)).unwrap()
    }

    async fn open(&self, dir: &DataDir) -> Coord {
        Coord::start(self.setup(dir.broker().0), dir).await.unwrap()
    }

    fn setup(&self, id: i32) -> Setup {
        let endpoint = Endpoint { listener: "internal".into(), host: "127.0.0.1".into(), port: 9092 + id };
        Setup {
            client: self.client.clone(),
            namespace: "default".into(),
            cluster: CLUSTER.into(),
            endpoints: vec![endpoint],
            http: None,
            pod_uid: Some("pod".into()),
        }
    }

    fn topics(&self) -> Api<KafkaTopic> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn apply(&self, name: &str, change: impl FnOnce(&mut KafkaTopicSpec)) {
        let cluster_ref = ClusterRef { name: CLUSTER.into() };
        let mut spec = KafkaTopicSpec { cluster_ref, ..KafkaTopicSpec::default() };
        change(&mut spec);
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        let topic = KafkaTopic { metadata, spec, status: None };
        self.topics().create(&PostParams::default(), &topic).await.unwrap();
    }
}

fn operator(client: &Client) -> JoinHandle<()> {
    let run = ottla_operator::coordination::run(client.clone(), "default", CLUSTER, std::future::pending());
    tokio::spawn(run)
}

async fn shows(coord: &Coord, story: &str, so: impl Fn(&ClusterImage) -> bool) {
    let mut images = coord.images();
    let shown = tokio::time::timeout(Duration::from_secs(60), images.wait_for(|image| so(image))).await;
    assert!(shown.is_ok(), "never: {story}: {:#?}", coord.images().borrow());
}

async fn until(story: &str, so: impl AsyncFn() -> bool) {
    let so = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), so).await.is_ok(), "never: {story}");
}

async fn ask<T>(coord: &Coord, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, AskRefusal> {
    let (answer, answered) = oneshot::channel();
    coord.ask().send(ask(answer)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), answered).await.unwrap().unwrap()
}

async fn create(coord: &Coord, name: &str, partitions: i32) -> Result<uuid::Uuid, AskRefusal> {
    let topic = NewTopic { name: Str::from(name), partitions: Some(partitions), ..NewTopic::default() };
    ask(coord, |answer| Ask::CreateTopic { topic, answer }).await
}

fn led(image: &ClusterImage, topic: &str) -> usize {
    image.topic(topic).map_or(0, |topic| topic.partitions.iter().filter(|entry| entry.leader.is_some()).count())
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_applied_is_in_the_brokers_images_with_its_leaders() {
    let world = World::new(2).await;
    let (dir_0, dir_1) = (world.dir(0), world.dir(1));
    let (zero, one) = (world.open(&dir_0).await, world.open(&dir_1).await);
    shows(&zero, "both brokers", |image| image.live_brokers().count() == 2).await;
    let before = Instant::now();
    world.apply("orders", |spec| spec.partitions = Some(12)).await;
    for coord in [&zero, &one] {
        shows(coord, "every leader", |image| led(image, "orders") == 12).await;
    }
    assert!(before.elapsed() < Duration::from_millis(20), "no timer is waited for: {:?}", before.elapsed());
    let image = zero.images().borrow().clone();
    let endpoint = image.endpoint(BrokerId(1), "internal").unwrap();
    assert_eq!((&*endpoint.host, endpoint.port), ("127.0.0.1", 9093));
    let mine = |entry: &&ottla_broker::image::Assignment| entry.leader == Some(BrokerId(0));
    assert_eq!(image.topic("orders").unwrap().partitions.iter().filter(mine).count(), 6);
}

#[tokio::test(start_paused = true)]
async fn whom_a_broker_does_not_hear_stands_on_its_lease_until_it_does() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let mut coord = world.open(&dir).await;
    let (unheard, told) = watch::channel(BTreeSet::new());
    coord.report_unheard(told);
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
    for (ids, expected) in [(&[1, 12][..], "1,12"), (&[], "")] {
        unheard.send_replace(ids.iter().copied().map(BrokerId).collect());
        let written = async {
            while leases.get("local-broker-0").await.unwrap().annotations()[names::UNHEARD_ANNOTATION] != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), written).await.is_ok(), "never {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_long_outage_brokers_and_operator_see_what_is_new_within_seconds() {
    let world = World::new(2).await;
    let (dir_0, dir_1) = (world.dir(0), world.dir(1));
    let (zero, _one) = (world.open(&dir_0).await, world.open(&dir_1).await);
    shows(&zero, "both brokers", |image| image.live_brokers().count() == 2).await;
    world.server.faults().set_outage(true);
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.server.faults().set_outage(false);
    let back = Instant::now();
    world.apply("orders", |spec| spec.partitions = Some(3)).await;
    shows(&zero, "the new topic's leaders", |image| led(image, "orders") == 3).await;
    // Its watch of topics, and behind it the broker's of assignments.
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_dies_when_its_word_was_the_last_about_a_deleted_topic_does_not_hold_it_again() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let topic_id = create(&coord, "orders", 1).await.unwrap();
    until_copied(&world).await;
    ask(&coord, |answer| Ask::DeleteTopic { topic_id, answer }).await.unwrap();
    coord.ask().send(Ask::Removed { topic_id, partition: 0 }).await.unwrap();
    shows(&coord, "the grave is gone", |image| image.deleted.is_empty()).await;
    kill(coord, dir);

    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    assert!(coord.images().borrow().topics.is_empty());
}

#[tokio::test]
async fn the_files_of_a_replica_that_was_moved_away_may_go_once_the_copy_on_disk_knows() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let topic_id = create(&coord, "t", 1).await.unwrap();
    let assignments: Api<KafkaAssignment> = Api::namespaced(world.client.clone(), "default");
    world.operator.abort();
    let kept = || copy::read(dir.path()).unwrap().unwrap_or_default().assignments;
    until("there is a copy", async || !kept().is_empty()).await;
    let object = assignments.list(&ListParams::default()).await.unwrap().items.remove(0);
    let later = object.spec.partitions[0].heal(&Default::default(), 1).unwrap();
    assert!(change::write(&assignments, &object, std::slice::from_ref(&later)).await.unwrap().is_empty());
    let (answer, answered) = oneshot::channel();
    let partitions = vec![(("t".into(), topic_id), later.clone())];
    coord.ask().send(Ask::MovedAway { partitions, answer }).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), answered).await.unwrap().unwrap();
    assert!(kept().values().any(|object| object.spec.partitions.contains(&later)));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_killed_comes_back_at_once_and_leads_what_it_led() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    create(&coord, "orders", 3).await.unwrap();
    let incarnation = coord.incarnation();
    kill(coord, dir);

    let before = Instant::now();
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert_eq!(coord.incarnation(), incarnation);
    let image = coord.images().borrow().clone();
    let entry = &image.topic("orders").unwrap().partitions[0];
    assert_eq!((entry.leader, entry.leader_epoch), (Some(BrokerId(0)), LeaderEpoch::FIRST));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_a_running_broker_is_not_taken_for_its_directory() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let incarnation = coord.incarnation();
    until_counted(&world, 1).await;
    let (home, snapshot) = (dir.path().to_owned(), world.data.path().join("snapshot"));
    std::fs::create_dir(&snapshot).unwrap();
    for file in ["ottla.identity", "ottla.ticks", "meta.properties"] {
        std::fs::copy(home.join(file), snapshot.join(file)).unwrap();
    }
    until_counted(&world, 3).await;
    kill(coord, dir);

    // The same boot and the same start: only the ticks distinguish them.
    std::fs::remove_dir_all(&home).unwrap();
    std::fs::rename(&snapshot, &home).unwrap();
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    assert_ne!(coord.incarnation(), incarnation);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_at_once_has_a_copy_of_what_it_saw() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    create(&coord, "orders", 3).await.unwrap();
    coord.stop().await;
    let copy = copy::of(dir.path()).unwrap();
    assert!(copy.objects.assignments.values().any(|object| object.spec.topic_name == "orders"), "{copy:?}");
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_lost_its_past_leads_only_what_it_reported() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let topic_id = create(&coord, "orders", 1).await.unwrap();
    let incarnation = coord.incarnation();
    kill(coord, dir);
    std::fs::remove_file(world.data.path().join("0/ottla.identity")).unwrap();

    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    assert_ne!(coord.incarnation(), incarnation);
    shows(&coord, "nobody leads", |image| led(image, "orders") == 0).await;
    let (leader_epoch, last_epoch) = (LeaderEpoch(1), LeaderEpoch::NONE);
    let report = Ask::Report { topic_id, partition: 0, leader_epoch, last_epoch, log_end: 0, log_start: 0 };
    coord.ask().send(report).await.unwrap();
    shows(&coord, "it leads again", |image| led(image, "orders") == 1).await;
    let entry = coord.images().borrow().topic("orders").unwrap().partitions[0].clone();
    assert_eq!(entry.isr[0].incarnation, coord.incarnation());
}

#[tokio::test(start_paused = true)]
async fn a_broker_serves_what_it_last_knew_while_the_api_server_is_away() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    create(&coord, "orders", 3).await.unwrap();
    until_copied(&world).await;
    world.server.faults().set_outage(true);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(led(&coord.images().borrow(), "orders"), 3);
    assert!(coord.signs_of_life().last().elapsed() > Duration::from_secs(3500));
    let incarnation = coord.incarnation();
    kill(coord, dir);

    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    assert_eq!(coord.incarnation(), incarnation);
    assert_eq!(led(&coord.images().borrow(), "orders"), 3);
    world.server.faults().set_outage(false);
    has_its_lease_in_time(&coord).await;
    create(&coord, "after", 1).await.unwrap();
    assert!(coord.signs_of_life().last().elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_started_without_the_api_server_takes_its_lease_before_it_expires() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    create(&coord, "orders", 3).await.unwrap();
    until_copied(&world).await;
    kill(coord, dir);
    world.server.faults().set_outage(true);
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    // What is asked now is never answered.
    world.server.faults().set_latency(Duration::from_secs(3600));
    world.server.faults().set_outage(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.server.faults().set_latency(Duration::ZERO);
    has_its_lease_in_time(&coord).await;
}

#[tokio::test(start_paused = true)]
async fn objects_that_vanish_move_nobody() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    create(&coord, "orders", 3).await.unwrap();
    world.operator.abort();
    let assignments: Api<KafkaAssignment> = Api::namespaced(world.client.clone(), "default");
    for object in assignments.list(&ListParams::default()).await.unwrap() {
        assignments.delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.server.faults().expire_watches();
    world.server.faults().drop_watches();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(led(&coord.images().borrow(), "orders"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_missing_topic_is_not_placed_again_and_is_back_once_restored() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let id = create(&coord, "orders", 3).await.unwrap();
    let assignments: Api<KafkaAssignment> = Api::namespaced(world.client.clone(), "default");
    let lost = assignments.list(&ListParams::default()).await.unwrap().items.remove(0);
    assignments.delete(&lost.name_any(), &DeleteParams::default()).await.unwrap();
    world.topics().delete("orders", &DeleteParams::default()).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
    let told = async || leases.get("local-broker-0").await.unwrap().annotations()[names::MISSING_ANNOTATION].clone();
    let gone = async || told().await == "orders" && world.topics().get_opt("orders").await.unwrap().is_none();
    until("the loss is shown", gone).await;

    world.apply("orders", |spec| spec.partitions = Some(3)).await;
    let ready = async || {
        let status = world.topics().get("orders").await.unwrap().status.unwrap_or_default();
        let ready = status.conditions.into_iter().find(|condition| condition.type_ == "Ready");
        ready.map_or_else(String::new, |ready| ready.reason)
    };
    until("it waits", async || ready().await == "AssignmentsMissing").await;
    let metadata = ObjectMeta { labels: lost.metadata.labels.clone(), ..ObjectMeta::default() };
    let mut again = KafkaAssignment { metadata, spec: lost.spec.clone() };
    again.metadata.name = lost.metadata.name;
    assignments.create(&PostParams::default(), &again).await.unwrap();
    until("it is as it was", async || ready().await == "Ready" && told().await.is_empty()).await;
    let objects = assignments.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(objects.into_iter().map(|object| object.spec).collect::<Vec<_>>(), [lost.spec]);
    assert_eq!(coord.images().borrow().topic("orders").unwrap().id, id);
}

#[tokio::test(start_paused = true)]
async fn asks_survive_conflicts_broken_watches_and_an_outage() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    for n in 0..5 {
        world.server.faults().expire_watches();
        world.server.faults().drop_watches();
        world.server.faults().refuse_writes(3);
        create(&coord, &format!("topic-{n}"), 5).await.unwrap();
    }
    world.server.faults().set_outage(true);
    let (answer, answered) = oneshot::channel();
    coord.ask().send(Ask::ProducerIds { answer }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.server.faults().set_outage(false);
    assert_eq!(answered.await.unwrap().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn changes_of_in_sync_replicas_that_are_asked_for_together_are_written_together() {
    const PARTITIONS: i32 = 40;
    let world = World::new(2).await;
    let (dir_0, dir_1) = (world.dir(0), world.dir(1));
    let (zero, _one) = (world.open(&dir_0).await, world.open(&dir_1).await);
    shows(&zero, "both brokers", |image| image.live_brokers().count() == 2).await;
    world.apply("orders", |spec| (spec.partitions, spec.replication_factor) = (Some(PARTITIONS), Some(2))).await;
    shows(&zero, "leaders", |image| led(image, "orders") == PARTITIONS as usize).await;
    let topic = zero.images().borrow().topic("orders").unwrap().clone();
    let generation = async || {
        let objects = Api::<KafkaAssignment>::namespaced(world.client.clone(), "default");
        let objects = objects.list(&ListParams::default()).await.unwrap().items;
        assert_eq!(objects.len(), 1);
        objects[0].metadata.generation.unwrap()
    };
    let before = generation().await;

    let mut answers = Vec::new();
    for entry in &topic.partitions {
        let mut next = entry.clone();
        next.isr.truncate(1);
        // One of them rests on what nobody has seen.
        next.partition_epoch.0 += if entry.partition == 7 { 2 } else { 1 };
        let (answer, answered) = oneshot::channel();
        zero.ask().send(Ask::ChangeIsr { topic_id: topic.id, next: Box::new(next), answer }).await.unwrap();
        answers.push(answered);
    }
    for (answered, partition) in answers.into_iter().zip(0..) {
        let swap = tokio::time::timeout(Duration::from_secs(60), answered).await.unwrap().unwrap().unwrap();
        assert_eq!(swap, if partition == 7 { Swap::Moved } else { Swap::Done }, "{partition}");
    }
    let written = |image: &ClusterImage| {
        let partitions = &image.topic("orders").unwrap().partitions;
        partitions.iter().filter(|entry| entry.isr.len() == 1).count() == PARTITIONS as usize - 1
    };
    shows(&zero, "smaller ISRs", written).await;
    let writes = generation().await - before;
    assert!(writes < i64::from(PARTITIONS / 4), "{writes} writes");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_waits_for_is_made_all_the_same() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    world.server.faults().set_latency(Duration::from_millis(10));
    let (answer, _) = oneshot::channel();
    let topic = NewTopic { name: "auto".into(), ..NewTopic::default() };
    coord.ask().send(Ask::CreateTopic { topic, answer }).await.unwrap();
    shows(&coord, "its leader", |image| led(image, "auto") == 1).await;
}

#[tokio::test(start_paused = true)]
async fn another_clusters_directory_is_refused() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    world.open(&dir).await.stop().await;
    let other = World::new(1).await;
    let refused = Coord::start(other.setup(0), &dir).await.err().unwrap();
    assert!(matches!(refused, DataDirError::ForeignCluster { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_lets_go_of_its_lease_and_a_draining_one_says_so() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    create(&coord, "orders", 1).await.unwrap();
    coord.drain();
    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    let state = async || clusters.get(CLUSTER).await.unwrap().status.unwrap().brokers[0].state;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(state().await, ottla_crds::BrokerState::Draining);
    coord.stop().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(state().await, ottla_crds::BrokerState::Offline);
}

/// As kill -9 does: nothing is said, the lock is free.
fn kill(coord: Coord, dir: DataDir) {
    drop(coord);
    drop(dir);
}

/// Waits until a broker that hears the API server again has its Lease: before an observer judges the broker dead.
async fn has_its_lease_in_time(coord: &Coord) {
    let (mut session, back) = (coord.session(), Instant::now());
    tokio::time::timeout(Duration::from_secs(60), session.wait_for(Option::is_some)).await.unwrap().unwrap();
    assert!(
        back.elapsed() < ottla_kube::lease::EXPIRE,
        "it had to wait, perhaps for its predecessor: {:?}",
        back.elapsed()
    );
}

/// Waits until the Lease of broker 0 shows so many ticks. A real thread writes them first, which paused time does not
/// wait for.
async fn until_counted(world: &World, ticks: u64) {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
    let began = std::time::Instant::now();
    let counted = async || {
        let lease = leases.get(&names::broker(CLUSTER, BrokerId(0))).await.unwrap();
        session::counted(&lease, 1).unwrap_or_default()
    };
    while counted().await < ticks {
        assert!(began.elapsed() < Duration::from_secs(120), "the Lease never showed {ticks} ticks");
        std::thread::sleep(Duration::from_millis(10));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for the first copy of broker 0. A real thread writes it, which paused time does not wait for.
async fn until_copied(world: &World) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let path = world.data.path().join("0/ottla.objects");
    let began = std::time::Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < Duration::from_secs(120), "{} was never written", path.display());
        std::thread::sleep(Duration::from_millis(10));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
