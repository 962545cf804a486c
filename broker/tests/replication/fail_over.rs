//! The lead moves: what stays, what is lost, and what waiting clients get.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::image::{Assignment, BrokerId};
use ottla_wire::m00_produce::ProduceRequest;
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use ottla_wire::m03_metadata::MetadataRequest;
use ottla_wire::{ApiKey, ErrorCode};
use tokio::net::{TcpListener, TcpSocket};

use crate::cluster::{Cluster, DEADLINE, life, settings, until};
use crate::common::{Client, values};

#[tokio::test]
async fn a_new_leader_has_every_acknowledged_record_and_the_old_one_truncates_the_others() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["kept"]).await;
    cluster.all_alike(&[0, 1, 2]).await;

    // The old leader takes one more that nobody else will have, and dies before it misses the others.
    cluster.has_leader_0_take_alone(&["lost", "too"]).await;
    cluster.stop(0).await;
    cluster.objects.lock().grants = true;
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
async fn waiting_clients_get_the_new_leader_at_once() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["before"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    // Nobody copies what comes next, so that its producer waits, and the consumer behind it.
    cluster.stop(1).await;
    cluster.stop(2).await;
    let (mut producer, mut consumer) = (cluster.client(0).await, cluster.client(0).await);
    let produce = cluster.produce_request(-1, 60_000, &["not committed"]);
    // One that says which epoch it believes in, as those that know it do: others may continue to read from a follower.
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
async fn a_partition_whose_leader_knows_nothing_of_it_yet_is_asked_for_again_though_others_have_no_news() {
    let cluster = Cluster::start(&[]).await;
    cluster.change(|objects| {
        // The longest that a follower may have its fetches wait.
        objects.settings = settings(&[
            ("replica.fetch.wait.max.ms", "30000"),
            ("replica.lag.time.max.ms", "60000"),
            ("replica.fetch.backoff.ms", "20"),
        ]);
        objects.others = vec![Assignment { partition: 1, ..objects.assignment.clone() }];
    });
    until("all have both", || cluster.brokers.values().all(|one| one.broker.replicas().all().len() == 2)).await;
    cluster.hold(0, true);
    cluster.elect(0);
    let fetches = &cluster.brokers[&0].metrics.clients.api(ApiKey::Fetch).requests;
    let before = fetches.get();
    until("followers ask again and again", || fetches.get() > before + 100).await;
    cluster.hold(0, false);
    cluster.produce(0, &["x"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
}

#[tokio::test]
async fn a_leader_that_is_silent_or_not_there_is_missed_by_its_followers_while_they_follow_it() {
    let cluster = Cluster::start(&[]).await;
    let unheard = |id: i32| cluster.brokers[&id].broker.replicas().unheard().borrow().clone();
    let doubts = |id: i32| cluster.brokers[&id].broker.replicas().doubts().borrow().clone();
    until("all is well", || unheard(1).is_empty() && doubts(1).is_empty()).await;
    // What accepts in its stead does so as a frozen process does: in the kernel.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = frozen.local_addr().unwrap().port();
    cluster.change(|objects| _ = objects.ports.insert(BrokerId(0), port));
    until("both miss it", || [1, 2].iter().all(|id| unheard(*id).contains(&BrokerId(0)))).await;
    assert!([1, 2].iter().all(|id| doubts(*id).contains_key(&BrokerId(0))), "and has doubted it before");
    cluster.elect(1);
    until("nobody follows it", || [1, 2].iter().all(|id| unheard(*id).is_empty() && doubts(*id).is_empty())).await;

    // Where nobody listens any more, as on a machine without power.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = bound.local_addr().unwrap().port();
    cluster.change(|objects| _ = objects.ports.insert(BrokerId(1), nobody));
    until("its follower misses the next one, too", || unheard(2).contains(&BrokerId(1))).await;
}

#[tokio::test]
async fn who_asks_for_leaders_while_one_is_in_doubt_is_answered_all_the_same() {
    let mut cluster = Cluster::start(&[]).await;
    let mut client = cluster.client(1).await;
    cluster.stop(0).await;
    until("it is in doubt", || cluster.brokers[&1].broker.replicas().doubts().borrow().contains_key(&BrokerId(0)))
        .await;
    assert_eq!(leader(&mut client).await, 0, "nobody elects");
}

#[tokio::test]
async fn a_request_for_leaders_just_before_an_election_gets_its_outcome() {
    // An answer waits for half a second: a machine that stands still for so long gets another try.
    for _ in 0..20 {
        let mut cluster = Cluster::start(&[]).await;
        let mut client = cluster.client(1).await;
        cluster.stop(0).await;
        let (doubts, metrics) = (cluster.brokers[&1].broker.replicas().doubts(), cluster.brokers[&1].metrics.clone());
        until("it is in doubt", || doubts.borrow().contains_key(&BrokerId(0))).await;
        let elects = async {
            until("it is asked", || metrics.clients.api(ApiKey::Metadata).requests.get() > 0).await;
            cluster.elect(1);
        };
        let (leader, ()) = tokio::join!(leader(&mut client), elects);
        if leader == 1 {
            return;
        }
    }
    panic!("the old leader each time");
}

async fn leader(client: &mut Client) -> i32 {
    let answer = tokio::time::timeout(DEADLINE, client.call(12, &MetadataRequest::default())).await.unwrap();
    answer.topics[0].partitions[0].leader_id
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
    // Its followers are there, but where all stand still for a while it may not know that at once.
    while produced(&cluster).await != ErrorCode::NONE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
async fn who_waits_for_a_leader_that_leads_on_in_another_epoch_is_answered_when_all_have_it() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["safe"]).await;
    cluster.stop(2).await;
    cluster.stop(1).await;
    let mut client = cluster.client(0).await;
    client.send(13, &cluster.produce_request(-1, 60_000, &["waits"])).await;
    until("it is appended", || values(&Bytes::from(cluster.log(0)).into()) == ["safe", "waits"]).await;
    cluster.elect(0);
    cluster.run(1, life(1), true).await;
    cluster.run(2, life(2), true).await;
    let (_, response) = client.receive::<ProduceRequest>(13).await;
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, 1), "as in Kafka when a reassignment ends");
    cluster.all_alike(&[0, 1, 2]).await;
}

#[tokio::test]
async fn a_fetch_in_another_leader_epoch_learns_which_of_the_two_is_older() {
    let cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["x"]).await;
    cluster.elect(0);
    let mut client = cluster.client(0).await;
    let mut ask = async |current_leader_epoch, last_fetched_epoch, fetch_offset| {
        let replica = ReplicaState { replica_id: 1, replica_epoch: life(1) };
        let partition = FetchPartition { current_leader_epoch, last_fetched_epoch, fetch_offset, ..Default::default() };
        let fetched = cluster.fetch(&mut client, replica, partition).await;
        (fetched.error_code, fetched.diverging_epoch.epoch, fetched.diverging_epoch.end_offset)
    };
    // It begins a moment later.
    while ask(1, 0, 1).await.0 == ErrorCode::UNKNOWN_LEADER_EPOCH {}
    cluster.produce(0, &["y"]).await;
    assert_eq!(ask(0, 0, 1).await, (ErrorCode::FENCED_LEADER_EPOCH, -1, -1));
    assert_eq!(ask(2, 0, 1).await, (ErrorCode::UNKNOWN_LEADER_EPOCH, -1, -1));
    assert_eq!(ask(1, 0, 5).await, (ErrorCode::NONE, 0, 1), "epoch 0 ended before");
    assert_eq!(ask(1, 0, 1).await, (ErrorCode::NONE, -1, -1));
}

#[tokio::test]
async fn what_was_sent_behind_a_refused_batch_comes_after_it_when_the_reason_has_passed() {
    let cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    let mut client = cluster.client(0).await;
    assert_eq!(cluster.produce_in_sequence(&mut client, 0).await, ErrorCode::NONE);
    cluster.die(1);
    cluster.die(2);
    let mut refused_at = 1;
    // What was appended before it has noticed is committed: both keep fetching.
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
