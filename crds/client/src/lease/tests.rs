//! client-go's leader-election cases, and holders and observers against an API server in this process, on paused time.

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams},
};
use ottla_local_api::{Server, Store};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{advance, sleep, timeout},
};

use super::*;

fn claim(identity: &str) -> Claim {
    Claim {
        name: "prod-broker-0".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), "x".to_owned())]),
        identity: identity.to_owned(),
        predecessor: None,
        pace: Pace::BROKER,
        observed: Observed::default(),
        set_backs: SetBacks::default(),
    }
}

/// A record of `holder` that was renewed `renewals` times.
fn record(holder: &str, renewals: i64) -> LeaseSpec {
    let time = |second| Some(MicroTime(Timestamp::from_second(second).unwrap()));
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(6),
        lease_transitions: Some(4),
        acquire_time: time(1000),
        renew_time: time(1000 + renewals),
        ..LeaseSpec::default()
    }
}

#[test]
fn who_may_write_what_over_which_record() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let clock = Timestamp::from_second(9000).unwrap();
    let gone = |mut claim: Claim| {
        claim.predecessor = Some("other".to_owned());
        claim
    };
    // What was seen before at second 0, what is read at which second, and whether the lease changes hands or stays.
    for (story, mut claim, before, read, second, expected) in [
        ("there is none", claim("me"), None, None, 0, Some(0)),
        ("it is mine", claim("me"), Some(record("me", 0)), Some(record("me", 0)), 1, Some(4)),
        ("it is mine, and long overdue", claim("me"), Some(record("me", 0)), Some(record("me", 0)), 99, Some(4)),
        ("the first sight of another's", claim("me"), None, Some(record("other", 0)), 99, None),
        ("another's, seen for a while", claim("me"), Some(record("other", 0)), Some(record("other", 0)), 5, None),
        (
            "another's, unchanged for the whole time",
            claim("me"),
            Some(record("other", 0)),
            Some(record("other", 0)),
            6,
            Some(5),
        ),
        (
            "another's, renewed in the meantime",
            claim("me"),
            Some(record("other", 0)),
            Some(record("other", 1)),
            99,
            None,
        ),
        ("another took it over", claim("me"), Some(record("me", 0)), Some(record("other", 0)), 99, None),
        ("released as client-go does", claim("me"), None, Some(record("", 0)), 0, Some(5)),
        (
            "released as we do",
            claim("me"),
            None,
            Some(LeaseSpec { holder_identity: None, ..record("", 0) }),
            0,
            Some(5),
        ),
        ("held by one that is known to be gone", gone(claim("me")), None, Some(record("other", 0)), 0, Some(5)),
        ("held by a third", gone(claim("me")), None, Some(record("third", 0)), 0, None),
        ("an empty record", claim("me"), None, Some(LeaseSpec::default()), 0, Some(1)),
    ] {
        if let Some(before) = before {
            claim.observed.see(&before, start);
        }
        let mine = read.as_ref().is_some_and(|read: &LeaseSpec| read.holder_identity.as_deref() == Some("me"));
        let acquired = if mine { Timestamp::from_second(1000).unwrap() } else { clock };
        let written = claim.decide(at(second), clock, read.as_ref(), false);
        assert_eq!(written.as_ref().and_then(|record| record.lease_transitions), expected, "{story}");
        if let Some(written) = written {
            assert_eq!(written.holder_identity.as_deref(), Some("me"), "{story}");
            assert_eq!(written.acquire_time, Some(MicroTime(acquired)), "{story}");
            assert_eq!(written.renew_time, Some(MicroTime(clock)), "{story}");
        }
    }
}

#[test]
fn silence_is_evidence_only_beside_a_late_renewal() {
    let start = Instant::now();
    let clock = Timestamp::from_second(9000).unwrap();
    let (overdue, asked) = (Pace::OPERATOR.overdue, Pace::OPERATOR.overdue - door::PATIENCE);
    let a_moment = Duration::from_millis(1);
    for (story, changed, unchanged, is_asked, is_late) in [
        ("it renewed just now", true, asked - a_moment, false, false),
        ("a renewal is due", true, asked, true, false),
        ("a renewal is a moment late", true, overdue - a_moment, true, false),
        ("a renewal is missing", true, overdue, true, true),
        ("it was never seen to renew", false, overdue, false, false),
    ] {
        let mut claim = Claim { pace: Pace::OPERATOR, ..claim("me") };
        claim.observed.see(&record("other", 0), start);
        let read = record("other", i64::from(changed));
        claim.observed.see(&read, start);
        let now = start + unchanged;
        assert_eq!(claim.is_to_ask(now, &read), is_asked, "{story}");
        assert_eq!(claim.decide(now, clock, Some(&read), false), None, "{story}: it answers");
        assert_eq!(claim.decide(now, clock, Some(&read), true).is_some(), is_late, "{story}: it does not answer");
        assert!(!claim.is_to_ask(now, &record("me", 0)), "one's own");
    }
}

#[tokio::test]
async fn a_door_is_answered_or_not() {
    let at = |address| Lease {
        metadata: ObjectMeta { annotations: Some(door::at(address)), ..ObjectMeta::default() },
        ..Lease::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lease = at(listener.local_addr().unwrap());
    assert!(door::is_unanswered(&lease).await, "it is frozen: its kernel takes the connection, and nobody answers");
    let answers = async {
        loop {
            let (mut asker, _) = listener.accept().await.unwrap();
            // The one who lost patience has gone.
            let _ = asker.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await;
        }
    };
    // An answer that lay unread for too long, where this process stood still, is asked for again.
    let heard = async { while door::is_unanswered(&lease).await {} };
    tokio::select! {
        () = answers => unreachable!("it answers for ever"),
        heard = timeout(Duration::from_secs(60), heard) => heard.unwrap(),
    }
    drop(listener);
    assert!(door::is_unanswered(&lease).await, "nobody listens");
    assert!(!door::is_unanswered(&Lease::default()).await, "a holder that does not say where it answers");
}

#[test]
fn only_the_holder_releases() {
    let clock = Timestamp::from_second(9000).unwrap();
    let released = claim("me").release(clock, &record("me", 0)).unwrap();
    assert_eq!((released.holder_identity, released.lease_transitions), (None, Some(4)));
    assert_eq!(claim("me").release(clock, &record("other", 0)), None);
}

#[test]
fn an_observer_believes_in_changes_and_in_its_own_clock_alone() {
    let start = Instant::now();
    // Which renewals were seen and when, a millisecond after that, and the judgement at that millisecond.
    for (story, seen, millis, expected) in [
        ("nothing was seen", vec![], 99_000, Sight::Unknown),
        ("the first sight proves nothing", vec![(0, 0)], 5_999, Sight::Unknown),
        ("it never changed", vec![(0, 0)], 6_000, Sight::Expired),
        ("it changed, however old its times are", vec![(0, 0), (1_000, 1)], 3_999, Sight::Alive),
        ("a clock set back is a change too", vec![(0, 5), (1_000, 1)], 3_999, Sight::Alive),
        ("the same again is no change", vec![(0, 0), (1_000, 1), (3_000, 1)], 4_000, Sight::Overdue),
        ("a renewal is missing", vec![(0, 0), (1_000, 1)], 4_000, Sight::Overdue),
        ("three are", vec![(0, 0), (1_000, 1)], 7_000, Sight::Expired),
        ("it came back", vec![(0, 0), (1_000, 1), (60_000, 2)], 60_000, Sight::Alive),
    ] {
        let mut observed = Observed::default();
        for (millis, renewals) in seen {
            observed.see(&record("other", renewals), start + Duration::from_millis(millis));
        }
        assert_eq!(observed.judge(Pace::BROKER, start + Duration::from_millis(millis)), expected, "{story}");
    }
}

#[test]
fn after_a_stall_an_observer_knows_nothing() {
    let start = Instant::now();
    let mut observed = Observed::default();
    observed.see(&record("other", 0), start);
    observed.see(&record("other", 1), start);
    let later = start + Duration::from_secs(60);
    observed.start_anew(later);
    assert_eq!(observed.judge(Pace::BROKER, later + Duration::from_secs(5)), Sight::Unknown);
    assert_eq!(observed.judge(Pace::BROKER, later + EXPIRE), Sight::Expired);
}

#[test]
fn a_brokers_session_is_read_as_it_was_written() {
    let session = BrokerSession { incarnation: Incarnation(i64::MAX), start: 3, draining: true };
    assert_eq!(BrokerSession::from_annotations(&session.annotations()), Some(session));
    assert_eq!(BrokerSession::from_annotations(&BTreeMap::new()), None);
    assert_eq!(BrokerSession::of(&Lease::default()), None);
}

fn server() -> (Server, Api<Lease>) {
    let server = Server::new(Store::Memory, Vec::new()).unwrap();
    let api = Api::default_namespaced(server.client("default"));
    (server, api)
}

/// A process that holds or waits.
struct Process {
    held: watch::Receiver<Option<Instant>>,
    annotations: watch::Sender<BTreeMap<String, String>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Process {
    fn start(api: &Api<Lease>, claim: Claim) -> Self {
        let (held, receiver) = watch::channel(None);
        let (annotations, wanted) = watch::channel(BTreeMap::new());
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(hold(api.clone(), claim, wanted, held, stopped));
        Self { held: receiver, annotations, stop: Some(stop), task }
    }

    fn holds(&self) -> bool {
        self.held.borrow().is_some_and(|until| until > Instant::now())
    }

    /// How long it took until it held the lease.
    async fn takes(&mut self) -> Duration {
        let start = Instant::now();
        timeout(Duration::from_secs(60), self.held.wait_for(Option::is_some)).await.unwrap().unwrap();
        start.elapsed()
    }

    async fn stop(mut self) {
        self.stop.take();
        self.task.await.unwrap();
    }

    /// As a kill -9 would.
    fn kill(self) {
        self.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_renews_and_nobody_else_gets_in() {
    let (_server, api) = server();
    let mut one = Process::start(&api, claim("one"));
    assert!(one.takes().await < Duration::from_secs(1));
    let two = Process::start(&api, claim("two"));
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        assert!(one.holds() && !two.holds());
    }
    let lease = api.get("prod-broker-0").await.unwrap();
    assert_eq!(lease.labels()["app"], "x");
    assert_eq!(lease.spec.unwrap().lease_transitions, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_killed_holder_is_replaced_after_its_time_and_a_released_lease_at_once() {
    let (_server, api) = server();
    let mut one = Process::start(&api, claim("one"));
    one.takes().await;
    let mut two = Process::start(&api, claim("two"));
    sleep(Duration::from_secs(10)).await;
    one.kill();
    let waited = two.takes().await;
    assert!(waited >= EXPIRE - Pace::BROKER.renew && waited <= EXPIRE + Duration::from_secs(1), "{waited:?}");

    let mut three = Process::start(&api, claim("three"));
    sleep(Duration::from_secs(10)).await;
    two.stop().await;
    assert!(three.takes().await <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_killed_holder_that_said_where_it_answers_is_missed_with_its_first_renewal() {
    let (_server, api) = server();
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut one = Process::start(&api, Claim { pace: Pace::OPERATOR, ..claim("one") });
    one.annotations.send_replace(door::at(nobody.local_addr().unwrap()));
    one.takes().await;
    let mut two = Process::start(&api, Claim { pace: Pace::OPERATOR, ..claim("two") });
    sleep(Duration::from_secs(10)).await;
    assert!(one.holds() && !two.holds(), "nobody is asked who renews in time");
    one.kill();
    assert!(two.takes().await <= Pace::OPERATOR.overdue + Pace::OPERATOR.look);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_process_with_its_predecessors_disk_does_not_wait() {
    let (_server, api) = server();
    let mut one = Process::start(&api, claim("one"));
    one.takes().await;
    one.kill();
    let mut again = Process::start(&api, Claim { predecessor: Some("one".to_owned()), ..claim("one again") });
    assert!(again.takes().await < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_holder_cut_off_stops_before_anybody_takes_over_and_goes_on_when_it_can() {
    let (server, api) = server();
    let mut one = Process::start(&api, claim("one"));
    one.takes().await;
    server.faults().set_outage(true);
    sleep(DEADLINE).await;
    assert!(!one.holds());
    sleep(Duration::from_secs(3600)).await;
    assert!(!one.holds());
    server.faults().set_outage(false);
    sleep(Duration::from_secs(2)).await;
    assert!(one.holds());
}

#[tokio::test(start_paused = true)]
async fn who_renews_after_the_api_server_was_set_back_says_at_once_that_it_has_not_compared() {
    let (server, api) = server();
    let set_backs = SetBacks::default();
    let newer = |newer: &str| BTreeMap::from([(names::NEWER_ANNOTATION.to_owned(), newer.to_owned())]);
    let mut one = Process::start(&api, Claim { set_backs: set_backs.clone(), ..claim("one") });
    one.annotations.send_replace(newer("0"));
    one.takes().await;
    sleep(Duration::from_secs(1)).await;
    let backup = server.faults().snapshot();
    sleep(Duration::from_secs(3)).await;
    server.faults().set_back(&backup, true);
    // Others write, too: the server's versions soon are what they were.
    let other = Lease { metadata: ObjectMeta { name: Some("other".to_owned()), ..ObjectMeta::default() }, spec: None };
    let mut other = api.create(&Default::default(), &other).await.unwrap();
    for second in 0..9 {
        other.spec = Some(LeaseSpec { lease_transitions: Some(second), ..LeaseSpec::default() });
        other = api.replace("other", &Default::default(), &other).await.unwrap();
    }
    let before = api.get("prod-broker-0").await.unwrap();
    assert_eq!(Knowledge::of(&before), Knowledge::AsShown, "as it was said when the backup was made");
    while api.get("prod-broker-0").await.unwrap().spec == before.spec {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(Knowledge::of(&api.get("prod-broker-0").await.unwrap()), Knowledge::NotCompared);
    assert!(one.holds() && set_backs.times() == 1);
    one.annotations.send_replace(newer("7"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(Knowledge::of(&api.get("prod-broker-0").await.unwrap()), Knowledge::Newer);
    sleep(Duration::from_secs(60)).await;
    assert!(one.holds() && set_backs.times() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_api_server_costs_nobody_the_lease() {
    for latency_ms in [500, 1200, 1900, 2500] {
        let (server, api) = server();
        let mut one = Process::start(&api, claim("one"));
        one.takes().await;
        let mut sightings = observer(&api);
        seen(&mut sightings, Sight::Alive).await;
        server.faults().set_latency(Duration::from_millis(latency_ms));
        for _ in 0..600 {
            sleep(Duration::from_millis(100)).await;
            let sight = sightings.borrow().get("prod-broker-0").map(|sighting| sighting.sight);
            assert!(matches!(sight, Some(Sight::Alive | Sight::Overdue)), "{latency_ms} ms: {sight:?}");
            assert!(one.holds() || latency_ms > 2000, "{latency_ms} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_survives_conflicts_and_a_deleted_lease() {
    let (server, api) = server();
    let mut one = Process::start(&api, claim("one"));
    one.takes().await;
    let label = serde_json::json!({ "metadata": { "labels": { "somebody": "else" } } });
    api.patch("prod-broker-0", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    server.faults().refuse_writes(2);
    for _ in 0..5 {
        sleep(Duration::from_secs(1)).await;
        assert!(one.holds());
    }
    api.delete("prod-broker-0", &DeleteParams::default()).await.unwrap();
    for _ in 0..5 {
        sleep(Duration::from_secs(1)).await;
        assert!(one.holds());
    }
    assert!(api.get_opt("prod-broker-0").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_a_holder_says_of_itself_is_written_at_once() {
    let (_server, api) = server();
    let mut one = Process::start(&api, claim("one"));
    one.takes().await;
    let session = BrokerSession { incarnation: Incarnation(7), start: 1, draining: true };
    one.annotations.send_replace(session.annotations());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(BrokerSession::of(&api.get("prod-broker-0").await.unwrap()), Some(session));
}

/// An observer of every lease.
fn observer(api: &Api<Lease>) -> watch::Receiver<Sightings> {
    let (seen, receiver) = watch::channel(Sightings::new());
    let api = api.clone();
    tokio::spawn(async move { observe(api, "app=x", seen, &SetBacks::default()).await });
    receiver
}

/// How long it took until the lease was seen so.
async fn seen(observer: &mut watch::Receiver<Sightings>, wanted: Sight) -> Duration {
    let start = Instant::now();
    let so = |seen: &Sightings| seen.get("prod-broker-0").is_some_and(|sighting| sighting.sight == wanted);
    timeout(Duration::from_secs(60), observer.wait_for(so)).await.unwrap().unwrap();
    start.elapsed()
}

/// A server, an observer, and a process that was seen to renew.
async fn observed() -> (Server, Api<Lease>, watch::Receiver<Sightings>, Process) {
    let (server, api) = server();
    let mut observer = observer(&api);
    let one = Process::start(&api, claim("one"));
    seen(&mut observer, Sight::Alive).await;
    (server, api, observer, one)
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_a_life() {
    let (_server, api) = server();
    let mut observer = observer(&api);
    let one = Process::start(&api, claim("one"));
    assert!(seen(&mut observer, Sight::Unknown).await < Duration::from_secs(1));
    assert!(seen(&mut observer, Sight::Alive).await <= Pace::BROKER.renew + Duration::from_secs(1));
    one.kill();
    let death = seen(&mut observer, Sight::Expired).await;
    assert!(death >= EXPIRE - Pace::BROKER.renew && death <= EXPIRE + Duration::from_secs(1), "{death:?}");
    let two = Process::start(&api, Claim { predecessor: Some("one".to_owned()), ..claim("two") });
    assert!(seen(&mut observer, Sight::Alive).await <= Duration::from_secs(1));
    two.stop().await;
    assert!(seen(&mut observer, Sight::Released).await <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_wakes_no_user() {
    let (_server, _api, mut observer, one) = observed().await;
    let annotations = one.annotations.clone();
    let ticks = async {
        for ticks in 1.. {
            sleep(Pace::BROKER.renew).await;
            annotations.send_if_modified(|all| {
                all.insert(names::TICKS_ANNOTATION.to_owned(), format!("1/{ticks}"));
                false
            });
        }
    };
    tokio::select! {
        changed = timeout(Duration::from_secs(60), observer.changed()) => assert!(changed.is_err()),
        () = ticks => {}
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_given_up_while_the_api_server_is_away_or_the_watch_is_frozen() {
    let (server, _api, mut observer, _one) = observed().await;
    server.faults().set_outage(true);
    let dead = |seen: &Sightings| seen.values().any(|sighting| sighting.sight == Sight::Expired);
    assert!(timeout(Duration::from_secs(3600), observer.wait_for(dead)).await.is_err());
    server.faults().set_outage(false);
    seen(&mut observer, Sight::Alive).await;
    assert!(timeout(Duration::from_secs(60), observer.wait_for(dead)).await.is_err());
}

/// The moment at which it is heard again may be the one before the observer's patience ends.
#[tokio::test(start_paused = true)]
async fn whoever_renews_soon_after_an_api_server_that_was_away_is_not_given_up() {
    let dead = |seen: &Sightings| seen.values().any(|sighting| sighting.sight == Sight::Expired);
    // Shorter than its patience, and longer.
    for tenths in (0..70).chain(200..270).step_by(2) {
        let (server, api, mut observer, one) = observed().await;
        server.faults().set_outage(true);
        one.kill();
        sleep(tenths * Duration::from_millis(100)).await;
        server.faults().set_outage(false);
        sleep(Duration::from_secs(1)).await;
        let _restarted = Process::start(&api, Claim { predecessor: Some("one".to_owned()), ..claim("again") });
        let given_up = timeout(Duration::from_secs(20), observer.wait_for(dead)).await;
        assert!(given_up.is_err(), "after {tenths} tenths of a second");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_deleted_while_the_api_server_was_away_has_its_time_too() {
    let gone = |seen: &Sightings| seen.values().all(|sighting| sighting.sight == Sight::Expired);
    for tenths in (0..70).step_by(2) {
        let (server, api, mut observer, one) = observed().await;
        server.faults().set_outage(true);
        one.kill();
        sleep(Duration::from_secs(20) + tenths * Duration::from_millis(100)).await;
        server.faults().set_outage(false);
        api.delete("prod-broker-0", &DeleteParams::default()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let _restarted = Process::start(&api, claim("again"));
        let given_up = timeout(Duration::from_secs(20), observer.wait_for(gone)).await;
        assert!(given_up.is_err(), "after {tenths} tenths of a second");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_lost_again_and_again_does_not_keep_the_dead_alive() {
    let (server, _api, mut observer, one) = observed().await;
    one.kill();
    let flaps = async {
        loop {
            server.faults().set_outage(true);
            sleep(Duration::from_millis(110)).await;
            server.faults().set_outage(false);
            sleep(Duration::from_millis(900)).await;
        }
    };
    tokio::select! {
        () = flaps => {}
        death = seen(&mut observer, Sight::Expired) => assert!(death < 6 * EXPIRE, "{death:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn after_its_own_stall_an_observer_gives_nobody_up_too_early() {
    let (_server, _api, mut observer, one) = observed().await;
    one.kill();
    advance(Duration::from_secs(60)).await;
    assert!(seen(&mut observer, Sight::Expired).await >= EXPIRE - Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_second_look_from_before_its_own_stall_proves_nothing() {
    let (server, _api, mut observer, one) = observed().await;
    one.kill();
    seen(&mut observer, Sight::Overdue).await;
    server.faults().set_latency(Duration::from_millis(900));
    // It has begun to look again, and has no answer yet.
    sleep(EXPIRE - Pace::BROKER.overdue + Duration::from_millis(400)).await;
    advance(Duration::from_secs(60)).await;
    assert!(seen(&mut observer, Sight::Expired).await >= EXPIRE - Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_no_proof_of_a_death() {
    let (_server, api, mut observer, _one) = observed().await;
    api.delete("prod-broker-0", &DeleteParams::default()).await.unwrap();
    let missed = |seen: &Sightings| {
        seen.get("prod-broker-0").is_none_or(|sighting| !matches!(sighting.sight, Sight::Alive | Sight::Overdue))
    };
    assert!(timeout(Duration::from_secs(60), observer.wait_for(missed)).await.is_err());
}
