//! Rolls of clusters with pools: what of a change is tried where, and what has failed.

use super::*;

/// Six brokers: 0 and 1 of the default pool, 2 and 3 of the pool `a`, 4 and 5 of the pool `b`.
fn pooled() -> Play {
    let mut play = Play::of(6, Rollout::default());
    let pool = |name: &str, first: i32| {
        let storage = json!({ "size": "1Gi" });
        json!({ "name": name, "firstBroker": first, "replicas": 2, "storage": storage })
    };
    play.asks(|spec| {
        spec.brokers.replicas = 2;
        spec.pools = serde_json::from_value(json!([pool("a", 2), pool("b", 4)])).unwrap();
    });
    play.seen.from_pools = own(&[("a", "a1"), ("b", "b1")]);
    play.play(10);
    play
}

fn own(pools: &[(&str, &str)]) -> BTreeMap<String, String> {
    pools.iter().map(|(name, own)| (String::from(*name), String::from(*own))).collect()
}

/// What the user asks for, with what the pools have of their own.
fn asked(revision: &str, pools: &[(&str, &str)]) -> Option<Offer> {
    Some(Offer { pools: own(pools), ..offer(revision, "pools").unwrap() })
}

/// These brokers are as the new revision asks for, too.
fn stay(play: &mut Play, ids: &[i32]) {
    for id in ids {
        play.seen.pods.get_mut(&BrokerId(*id)).unwrap().asked_by.insert("new".to_owned());
    }
}

fn restarts(told: &[String]) -> Vec<&str> {
    told.iter().filter_map(|line| line.strip_prefix("  evict ")).collect()
}

#[test]
fn a_change_of_a_pool_is_tried_and_rolled_out_on_the_brokers_of_the_pool_alone() {
    let mut play = Play::of(4, Rollout::default());
    play.seen.by_user = offer("new", "pools");
    for id in [0, 1] {
        play.seen.pods.get_mut(&BrokerId(id)).unwrap().asked_by.insert("new".to_owned());
    }
    // Another pool's, recreated in an earlier attempt: it would try nothing.
    play.seen.pods.get_mut(&BrokerId(0)).unwrap().revision = "new".to_owned();
    for _ in 0..15 {
        play.tick(10);
    }
    // Brokers that nobody restarts are not done: the roll is about two.
    assert!(play.summary().starts_with("Rolling 1/2"), "{}", play.summary());
    assert!(play.condition().1.contains("(pools), done 2"), "{}", play.condition().1);
    let told = play.play(450);
    let expected = ["Canary 2", "  evict 2", "Canary 2", "Rolling ", "Rolling 3", "  evict 3", "Idle "];
    assert_eq!(told, expected);
    assert_eq!(play.status().from, "new");
    assert_eq!(play.play(60), [""; 0]);
}

#[test]
fn a_revision_that_restarts_nobody_needs_no_approval_and_no_canary() {
    let mut play = Play::of(3, Rollout { policy: RolloutPolicy::Manual, ..Rollout::default() });
    play.play(60);
    play.seen.by_user = offer("new", "pools");
    for pod in play.seen.pods.values_mut() {
        pod.asked_by.insert("new".to_owned());
    }
    assert_eq!(play.play(60), ["Idle "]);
    let status = play.status();
    assert_eq!((status.from.as_str(), status.to, status.why), ("new", None, Vec::new()));
}

#[test]
fn each_pool_that_changes_has_a_canary_before_its_other_brokers_follow() {
    let mut play = pooled();
    stay(&mut play, &[0, 1]);
    play.seen.by_user = asked("new", &[("a", "a2"), ("b", "b2")]);
    play.tick(10);
    assert_eq!(play.status().plan, ["2", "4", "3", "5"]);
    let told = play.play(140);
    let expected = ["Canary 2", "  evict 2", "Canary 2", "Canary 4"];
    assert_eq!(told, expected, "the canary of the one pool proves nothing about the other");
    assert_eq!(play.status().canaries, [BrokerId(2)]);
    let told = play.play(140);
    assert_eq!(told, ["  evict 4", "Canary 4", "Rolling "]);
    assert_eq!(play.status().canaries, [2, 4].map(BrokerId));
    assert!(play.summary().starts_with("Rolling 2/4"), "{}", play.summary());
    let told = play.play(300);
    assert_eq!(told, ["Rolling 3", "  evict 3", "Rolling 5", "  evict 5", "Idle "]);
    assert_eq!((play.status().from.as_str(), play.status().canaries), ("new", Vec::new()));
}

#[test]
fn a_change_of_all_pods_and_of_one_pool_has_two_canaries_and_one_of_all_pods_has_one() {
    for (pools, expected) in [([("a", "a1"), ("b", "b2")], &["0", "4"][..]), ([("a", "a1"), ("b", "b1")], &["0"])] {
        let mut play = pooled();
        play.seen.by_user = asked("new", &pools);
        let mut told = Vec::new();
        while play.status().state != RolloutState::Rolling {
            told.extend(play.play(10));
            assert!(told.len() < 20, "{told:?}");
        }
        assert_eq!(restarts(&told), expected, "{told:?}");
        play.play(900);
        assert_eq!((play.revisions(), play.status().state), (BTreeSet::from(["new"]), RolloutState::Idle));
    }
    // Nobody knows what the pods of a pool had of their own.
    let mut play = pooled();
    play.seen.from_pools.clear();
    play.seen.by_user = asked("new", &[("a", ""), ("b", "")]);
    assert_eq!(restarts(&play.play(400)), ["0", "2", "4"]);
}

#[test]
fn a_second_canary_that_crashes_stops_the_roll_and_the_first_returns_too() {
    let mut play = pooled();
    stay(&mut play, &[0, 1]);
    play.fates.insert("new".to_owned(), |pod| {
        if pod.name == "prod-broker-4" {
            (pod.stage, pod.stuck) = (Stage::Pending, Some("pod ended with exit code 2: bad option".to_owned()));
        }
    });
    play.seen.by_user = asked("new", &[("a", "a2"), ("b", "b2")]);
    let told = play.play(900);
    assert_eq!(restarts(&told), ["2", "4", "2"], "and no other broker: {told:?}");
    let status = play.status();
    assert_eq!((status.state, status.canaries), (RolloutState::Stopped, Vec::new()));
    assert!(status.failed[0].message.contains("bad option"), "{:?}", status.failed);
    assert!(!play.seen.pods.values().any(|pod| pod.revision == "new"));
}

#[test]
fn a_next_canary_that_may_not_restart_yet_is_waited_for() {
    let mut play = pooled();
    stay(&mut play, &[0, 1]);
    Arc::make_mut(&mut play.world.assignments[0]).spec.partitions.extend([entry(7, &[4]), entry(8, &[5])]);
    play.seen.by_user = asked("new", &[("a", "a2"), ("b", "b2")]);
    let told = play.play(900);
    assert_eq!(restarts(&told), ["2"], "{told:?}");
    let status = play.status();
    assert_eq!((status.state, status.pinned(), &status.away[..]), (RolloutState::Canary, "new", &[][..]));
    let summary = play.summary();
    let expected = "Canary: broker 2 was well, and the next canary waits: broker 4: pay 7 would be interrupted";
    assert!(summary.starts_with(expected), "{summary}");
    let (_, message) = play.condition();
    assert!(
        message.starts_with("Canary old → new (pools): broker 2 was well, and the next canary waits; "),
        "{message}"
    );
    play.asks(|spec| spec.rollout.as_mut().unwrap().interrupt = Interrupt::Unreplicated);
    assert_eq!(restarts(&play.play(900)), ["4", "3", "5"]);
    assert_eq!((play.status().from.as_str(), play.status().state), ("new", RolloutState::Idle));
}

#[test]
fn a_pool_that_is_added_after_a_roll_was_stopped_does_not_try_the_revision_again() {
    let mut play = pooled();
    play.fates.insert("new".to_owned(), |pod| {
        (pod.stage, pod.stuck) = (Stage::Pending, Some("bad option".to_owned()));
    });
    let pools = [("a", "a1"), ("b", "b1"), ("c", "c1")];
    play.seen.by_user = asked("new", &pools[..2]);
    play.play(600);
    assert_eq!(play.status().state, RolloutState::Stopped);
    // The same template, and one pool more.
    play.seen.by_user = asked("new-1", &pools);
    let told = play.play(600);
    assert!(!told.iter().any(|line| line.starts_with("Canary") || line.starts_with("  ")), "{told:?}");
    let status = play.status();
    assert_eq!((status.state, status.to.as_deref(), status.pinned()), (RolloutState::Stopped, Some("new-1"), "old"));
    let (_, message) = play.condition();
    assert!(message.contains("bad option") && message.contains(r#"{"rollout":{"retry":"new-1"}}"#), "{message}");
    // The pool is removed again, and both names are of what has failed.
    play.seen.by_user = asked("new", &pools[..2]);
    assert!(!play.play(600).iter().any(|line| line.starts_with("  ")));
    play.seen.by_user = asked("new-1", &pools);
    play.play(60);
    play.asks(|spec| spec.rollout.as_mut().unwrap().retry = Some("new-1".to_owned()));
    play.play(1200);
    assert_eq!((play.status().from.as_str(), play.status().failed), ("new-1", Vec::new()));
}
