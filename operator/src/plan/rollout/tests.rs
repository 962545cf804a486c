//! Rolls as transcripts: each line is a state with what restarts. The API server and the kubelets are played.

mod play;
mod pools;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use ottla_crds::{Interrupt, KafkaAssignment, OperatorUpgrade, RolloutPolicy};
use serde_json::json;

use super::*;
use crate::plan::HeldBack;
use crate::plan::platform::{Lost, PodRevision, Stage, Volume};
use play::{Play, START, entry, offer, pod};

#[test]
fn a_change_is_tried_on_one_broker_and_then_rolled_out_one_by_one() {
    let mut play = Play::of(3, Rollout::default());
    assert_eq!(play.play(60), [""; 0], "nothing to do, nothing to write");
    play.seen.by_user = offer("new", "image");
    let told = play.play(600);
    let expected =
        ["Canary 0", "  evict 0", "Canary 0", "Rolling ", "Rolling 1", "  evict 1", "Rolling 2", "  evict 2", "Idle "];
    assert_eq!(told, expected);
    assert_eq!(play.revisions(), BTreeSet::from(["new"]));
    let status = play.status();
    assert_eq!((status.from.as_str(), status.to, status.progress), ("new", None, None));
    assert_eq!(play.condition().0, "Settled");
    assert_eq!(play.play(60), [""; 0]);
}

#[test]
fn a_revision_is_not_known_to_work_because_every_pod_has_it() {
    let mut play = Play::of(1, Rollout { retry: Some("new".to_owned()), ..Rollout::default() });
    play.seen.by_user = offer("new", "image");
    play.fates.insert("new".to_owned(), |pod| pod.stage = Stage::Started);
    let told = play.play(1800);
    assert_eq!((play.status().from.as_str(), play.status().retried.as_deref()), ("old", Some("new")), "{told:?}");
}

#[test]
fn brokers_of_a_rack_restart_together_if_that_is_allowed() {
    let mut play = Play::of(9, Rollout { max_unavailable: 3, ..Rollout::default() });
    play.seen.by_user = offer("new", "podTemplate");
    play.play(130);
    assert_eq!(play.status().plan[0], "0");
    let told = play.play(600);
    let sets: Vec<&String> = told.iter().filter(|line| line.starts_with("Rolling ")).collect();
    assert!(
        sets.iter().any(|set| *set == "Rolling 1,4,7") && sets.iter().any(|set| *set == "Rolling 2,5,8"),
        "{told:?}"
    );
    assert!(told.iter().any(|line| line == "Rolling 3,6"), "the canary's rack: {told:?}");
    let evicted = told.iter().filter(|line| line.starts_with("  evict")).count();
    assert_eq!(evicted, 3 + 5, "pods that are ready again at once are evicted one by one: {told:?}");
    assert_eq!(play.status().state, RolloutState::Idle);
}

#[test]
fn once_the_first_of_a_set_is_down_the_others_are_deleted() {
    let mut play = Play::of(9, Rollout { max_unavailable: 3, ..Rollout::default() });
    play.seen.by_user = offer("new", "image");
    play.play(160);
    let set = play.status().away;
    assert_eq!(set.len(), 3, "{set:?}");
    play.fates.insert("new".to_owned(), |pod| pod.stage = Stage::Started);
    let told = play.play(30);
    let [first, second, third] = [set[0], set[1], set[2]];
    let expected = [format!("  evict {first}"), format!("  delete {second}"), format!("  delete {third}")];
    assert_eq!(told.into_iter().filter(|line| line.starts_with("  ")).collect::<Vec<_>>(), expected);
}

#[test]
fn a_canary_that_crashes_stops_the_roll_and_returns() {
    let crash: fn(&mut PodRevision) = |pod| {
        (pod.stage, pod.stuck) = (Stage::Pending, Some("pod ended with exit code 2: bad option".to_owned()));
    };
    let mut play = Play::of(3, Rollout::default());
    play.fates.insert("new".to_owned(), crash);
    play.seen.by_user = offer("new", "podTemplate");
    let told = play.play(900);
    assert_eq!(told[..2], ["Canary 0", "  evict 0"]);
    assert!(told.contains(&"Stopped ".to_owned()), "{told:?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("  ")).count(), 1, "no other broker: {told:?}");
    assert_eq!(play.revisions(), BTreeSet::from(["old"]));
    let (reason, message) = play.condition();
    assert_eq!(reason, "RolloutStopped");
    assert!(message.contains("bad option") && message.contains(r#"{"rollout":{"retry":"new"}}"#), "{message}");
    assert_eq!(play.status().failed[0].revision, "new");

    play.fates.clear();
    assert_eq!(play.play(300), [""; 0], "it stays so");
    play.asks(|spec| spec.rollout.as_mut().unwrap().retry = Some("new".to_owned()));
    play.play(900);
    assert_eq!((play.revisions(), play.status().state), (BTreeSet::from(["new"]), RolloutState::Idle));
}

#[test]
fn a_canary_without_a_node_or_without_progress_stops_the_roll_and_one_that_opens_its_logs_does_not() {
    let unscheduled: fn(&mut PodRevision) = |pod| {
        let since = Time(Timestamp::from_second(START).unwrap());
        (pod.stage, pod.unscheduled) = (Stage::Pending, Some((since, "no node".to_owned())));
    };
    for (story, fate, stops) in [
        ("no node", unscheduled, true),
        ("it never runs", |pod| pod.stage = Stage::Pending, true),
        ("it never is ready", |pod| pod.stage = Stage::Started, true),
        ("it opens its logs for as long as the startup probe lets it", |pod| pod.stage = Stage::Starting, false),
    ] as [(&str, fn(&mut PodRevision), bool); 4]
    {
        let mut play = Play::of(3, Rollout::default());
        play.fates.insert("new".to_owned(), fate);
        play.seen.by_user = offer("new", "resources");
        play.play(1200);
        assert_eq!(play.status().state == RolloutState::Stopped, stops, "{story}");
    }
}

#[test]
fn a_canary_that_leaves_its_isrs_is_watched_from_the_beginning() {
    let mut play = Play::of(3, Rollout::default());
    play.seen.by_user = offer("new", "image");
    play.play(100);
    assert_eq!(play.summary(), "Canary: broker 0 on new, 60 s of 120 s");
    let fall_behind = |play: &mut Play, is_behind: bool| {
        let object = Arc::make_mut(&mut play.world.assignments[0]);
        for one in &mut object.spec.partitions {
            let all = entry(one.partition, &one.replicas.iter().map(|id| id.0).collect::<Vec<_>>());
            one.isr = all.isr;
            one.isr.retain(|member| !is_behind || member.broker != BrokerId(0));
        }
    };
    fall_behind(&mut play, true);
    play.play(100);
    assert_eq!(play.status().state, RolloutState::Canary);
    fall_behind(&mut play, false);
    play.play(100);
    assert_eq!(play.status().state, RolloutState::Canary, "it is well for 100 seconds only");
    play.play(60);
    assert_eq!(play.status().state, RolloutState::Rolling);
}

#[test]
fn an_upgraded_operator_restarts_nobody_until_somebody_approves() {
    let mut play = Play::of(3, Rollout::default());
    play.seen.by_operator = offer("next", "operator");
    assert_eq!(play.play(3600), ["Held "]);
    assert_eq!(play.summary(), "Held: revision next (operator) waits for approval");
    let (reason, message) = play.condition();
    let command =
        "kubectl patch kafkacluster prod -n kafka --type merge -p '{\"spec\":{\"rollout\":{\"approved\":\"next\"}}}'";
    assert!(reason == "Held" && message.ends_with(command), "{message}");
    play.asks(|spec| spec.rollout.as_mut().unwrap().approved = Some("next".to_owned()));
    play.play(900);
    assert_eq!(play.revisions(), BTreeSet::from(["next"]));

    let mut follows = Play::of(3, Rollout { operator_upgrade: OperatorUpgrade::Follow, ..Rollout::default() });
    follows.seen.by_operator = offer("next", "operator");
    follows.play(900);
    assert_eq!(follows.revisions(), BTreeSet::from(["next"]));
}

#[test]
fn an_upgraded_operator_finishes_the_roll_that_it_finds() {
    let mut play = Play::of(3, Rollout::default());
    play.seen.by_user = offer("new", "image");
    play.play(150);
    assert_eq!(play.status().state, RolloutState::Rolling);
    // It would build another of the same spec.
    (play.seen.by_user, play.seen.by_operator) = (None, offer("newer", "operator"));
    play.seen.current = offer("new", "image");
    for _ in 0..60 {
        let current = play.seen.current.clone();
        play.tick(10);
        play.seen.current = current;
        play.seen.by_operator = offer("newer", "operator");
    }
    assert!(!play.revisions().contains("newer"));
}

#[test]
fn a_change_that_is_taken_back_in_the_middle_is_undone() {
    let mut play = Play::of(6, Rollout::default());
    play.seen.by_user = offer("new", "image");
    play.play(170);
    assert!(play.revisions().contains("new"));
    (play.seen.by_user, play.seen.current) = (None, None);
    // Brokers that never had the change do not return.
    let mut told = Vec::new();
    for _ in 0..30 {
        play.tick(10);
        if play.status().state == RolloutState::Rolling {
            told.extend(play.summary().split(':').next().map(str::to_owned));
        }
    }
    told.dedup();
    assert_eq!(told, ["Rolling back 0/2", "Rolling back 1/2"]);
    assert_eq!((play.revisions(), play.status().state), (BTreeSet::from(["old"]), RolloutState::Idle));
    assert_eq!(play.status().returning, []);
}

#[test]
fn another_change_in_the_middle_begins_with_a_canary_again() {
    let mut play = Play::of(3, Rollout::default());
    play.seen.by_user = offer("new", "image");
    play.play(150);
    (play.seen.by_user, play.seen.current) = (offer("newer", "image"), None);
    play.tick(10);
    assert_eq!(play.status().state, RolloutState::Canary);
    play.play(900);
    assert_eq!(play.revisions(), BTreeSet::from(["newer"]));
}

#[test]
fn nothing_restarts_while_the_cluster_is_paused_or_entries_may_be_old_or_a_person_decides() {
    for (story, arrange) in [
        ("paused", |play| play.asks(|spec| spec.paused = true)),
        ("an API server that was set back", |play| {
            play.world.held_back = Some(HeldBack::SetBack(vec![BrokerId(1)]));
        }),
        ("Manual", |play| play.asks(|spec| spec.rollout.as_mut().unwrap().policy = RolloutPolicy::Manual)),
    ] as [(&str, fn(&mut Play)); 3]
    {
        for begun in [0, 150] {
            let mut play = Play::of(3, Rollout::default());
            play.seen.by_user = offer("new", "image");
            if story == "Manual" {
                arrange(&mut play);
                play.play(begun);
            } else {
                play.play(begun);
                arrange(&mut play);
            }
            play.told.clear();
            let told = play.play(900);
            assert!(!told.iter().any(|line| line.starts_with("  ")), "{story}: {told:?}");
        }
    }
}

#[test]
fn a_roll_waits_for_who_is_away_and_says_for_what() {
    let mut play = Play::of(6, Rollout::default());
    for id in [BrokerId(4), BrokerId(5)] {
        play.live(id, false);
        play.seen.pods.get_mut(&id).unwrap().stage = Stage::Started;
    }
    play.seen.by_user = offer("new", "image");
    let told = play.play(60);
    assert!(!told.iter().any(|line| line.starts_with("  ")), "{told:?}");
    let status = play.status();
    assert_eq!(status.state, RolloutState::Waiting);
    assert!(status.blocked_by.iter().any(|blocker| blocker.message.contains("broker 5 is away")), "{status:?}");
}

#[test]
fn a_revision_that_never_worked_is_replaced_although_every_broker_is_down() {
    let mut play = Play::of(3, Rollout::default());
    for id in 0..3 {
        let pod = play.seen.pods.get_mut(&BrokerId(id)).unwrap();
        (pod.stage, pod.stuck) = (Stage::Pending, Some("no such image".to_owned()));
        play.live(BrokerId(id), false);
    }
    play.seen.by_user = offer("new", "image");
    play.play(600);
    assert_eq!((play.revisions(), play.status().state), (BTreeSet::from(["new"]), RolloutState::Idle));
}

#[test]
fn partitions_without_spare_replicas_wait_for_a_person_except_on_a_single_broker() {
    let mut play = Play::of(3, Rollout::default());
    Arc::make_mut(&mut play.world.assignments[0]).spec.partitions.push(entry(7, &[0]));
    Arc::make_mut(&mut play.world.assignments[0]).spec.partitions.push(entry(8, &[1]));
    Arc::make_mut(&mut play.world.assignments[0]).spec.partitions.push(entry(9, &[2]));
    play.seen.by_user = offer("new", "image");
    play.play(60);
    let (reason, message) = play.condition();
    assert_eq!(reason, "RolloutWaiting");
    assert!(message.contains("pay 7 would be interrupted") && message.contains("kubectl patch"), "{message}");
    play.asks(|spec| spec.rollout.as_mut().unwrap().interrupt = Interrupt::Unreplicated);
    play.play(900);
    assert_eq!(play.revisions(), BTreeSet::from(["new"]));

    let mut single = Play::of(1, Rollout::default());
    single.seen.by_user = offer("new", "image");
    single.play(300);
    assert_eq!(single.revisions(), BTreeSet::from(["new"]));
}

#[test]
fn kubectl_prints_the_state_in_a_few_words() {
    let mut play = Play::of(5, Rollout::default());
    play.seen.by_user = offer("0.3.1", "image");
    play.play(100);
    let status = play.status();
    let mut shown = status.clone();
    let progress = shown.progress.as_mut().unwrap();
    progress.at = Time(progress.ready_since.as_ref().unwrap().0 + SignedDuration::from_secs(70));
    shown.away = vec![BrokerId(4)];
    let words = |status: &RolloutStatus| words::summary(status, Some(&play.seen), 120).unwrap();
    assert_eq!(words(&shown), "Canary: broker 4 on 0.3.1, 70 s of 120 s");

    let mut rolling = RolloutStatus { state: RolloutState::Rolling, away: vec![BrokerId(2)], ..status };
    let scene_progress = rolling.progress.as_mut().unwrap();
    scene_progress.behind = 38;
    let mut seen = play.seen.clone();
    for id in [1, 4] {
        seen.pods.insert(BrokerId(id), pod(id, "0.3.1"));
    }
    seen.pods.insert(BrokerId(0), pod(0, "old"));
    let summary = words::summary(&rolling, Some(&seen), 120).unwrap();
    assert_eq!(summary, "Rolling 2/5: broker 2 has 38 partitions to catch up");

    rolling.from = "41aa07".to_owned();
    rolling.plan = vec!["2,5".to_owned()];
    rolling.blocked_by = vec![ottla_crds::RolloutBlocker {
        broker: BrokerId(2),
        reason: "WouldStopProducers".to_owned(),
        topic: Some("pay".to_owned()),
        partitions: Some("0–3".to_owned()),
        message: "broker 2: pay 0–3 would have 1 in sync of 2: broker 6 is offline".to_owned(),
    }];
    let verdict = words::progressing(&rolling, Some(&seen), ("kafka", "prod")).unwrap();
    assert_eq!(
        verdict.message,
        "Rolling 41aa07 → 0.3.1 (image), done 1,4, next 2,5; broker 2: pay 0–3 would have 1 in sync of 2: broker 6 is \
         offline"
    );
}

#[test]
fn planned_restarts_make_no_cluster_unready_and_others_do() {
    let mut play = Play::of(3, Rollout::default());
    play.seen.by_user = offer("new", "image");
    play.fates.insert("new".to_owned(), |pod| pod.stage = Stage::Pending);
    play.play(60);
    let ready = |play: &Play| {
        let conditions = &play.world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
        conditions.iter().find(|condition| condition.type_ == "Ready").unwrap().reason.clone()
    };
    assert_eq!(play.status().state, RolloutState::Canary);
    assert!(play.world.brokers[&BrokerId(0)].live.is_none());
    assert_ne!(ready(&play), "BrokersOffline");
    play.live(BrokerId(1), false);
    play.tick(1);
    assert_eq!(ready(&play), "BrokersOffline");
}

#[test]
fn two_broken_brokers_of_different_racks_do_not_keep_a_good_revision_waiting() {
    for (story, stage, restarts) in [
        ("they run, and their Leases are dead", Stage::Started, true),
        ("they do not run", Stage::Pending, true),
        ("they open their logs", Stage::Starting, false),
    ] {
        let mut play = Play::of(3, Rollout::default());
        for id in [BrokerId(0), BrokerId(1)] {
            play.fails(id, stage);
        }
        // An approval does not give lost pods a revision that nobody has tried.
        play.asks(|spec| spec.rollout.as_mut().unwrap().approved = Some("good".to_owned()));
        play.seen.by_user = offer("good", "image");
        let told = play.play(900);
        if restarts {
            assert_eq!(told[..2], ["Canary 0", "  delete 0"], "{story}: an eviction would be refused");
            assert_eq!(
                (play.revisions(), play.status().state),
                (BTreeSet::from(["good"]), RolloutState::Idle),
                "{story}"
            );
        } else {
            assert_eq!((told, play.status().pinned()), (vec!["Waiting ".to_owned()], "old"), "{story}");
        }
    }
}

#[test]
fn brokers_that_a_failed_revision_has_broken_return_together() {
    let mut play = Play::of(3, Rollout::default());
    play.seen.by_user = offer("new", "image");
    play.play(900);
    play.seen.by_user = offer("newer", "image");
    play.play(150);
    assert_eq!(play.status().state, RolloutState::Rolling);
    // They live, catch up for ever, and the others do not start.
    play.fates.insert("newer".to_owned(), |pod| pod.stage = Stage::Started);
    play.play(30);
    for id in [BrokerId(0), BrokerId(1)] {
        play.fails(id, Stage::Started);
        play.live(id, true);
    }
    let told = play.play(1200);
    assert!(told.contains(&"Stopped 0,1".to_owned()), "{told:?}");
    assert_eq!((play.revisions(), play.status().state), (BTreeSet::from(["new"]), RolloutState::Stopped));
}

#[test]
fn a_lost_node_is_no_fault_of_the_revision() {
    let unscheduled: fn(&mut PodRevision) = |pod| {
        let since = Time(Timestamp::from_second(START).unwrap());
        (pod.stage, pod.unscheduled) = (Stage::Pending, Some((since, "no node".to_owned())));
    };
    let gone: fn(&mut PodRevision) = |pod| {
        let since = Time(Timestamp::from_second(START).unwrap());
        (pod.stage, pod.unscheduled) = (Stage::Pending, Some((since, "no node".to_owned())));
        (pod.is_cut_off, pod.lost_node) = (true, Some("worker-2".to_owned()));
    };
    for (story, fate, why, lacks_nodes, stops) in [
        (
            "the node is lost",
            (|pod| (pod.stage, pod.is_cut_off) = (Stage::Pending, true)) as fn(&mut PodRevision),
            "image",
            true,
            false,
        ),
        (
            "the pod is stuck there",
            |pod| (pod.stage, pod.stuck, pod.is_cut_off) = (Stage::Pending, Some("crash".to_owned()), true),
            "image",
            true,
            false,
        ),
        ("the node is gone", gone, "image", false, false),
        ("more memory, and the node is gone", gone, "resources", false, false),
        ("an image needs no other node", unscheduled, "image", false, false),
        ("more memory may", unscheduled, "resources", false, true),
        ("more memory, and a node is lost", unscheduled, "resources", true, false),
    ] {
        let mut play = Play::of(3, Rollout::default());
        play.seen.by_user = offer("new", why);
        play.play(150);
        assert_eq!(play.status().state, RolloutState::Rolling, "{story}");
        play.seen.lacks_nodes = lacks_nodes;
        play.fates.insert("new".to_owned(), fate);
        play.play(1800);
        assert_eq!(play.status().state == RolloutState::Stopped, stops, "{story}");
        if !stops {
            // The node is back: the broker has its time from now on.
            let id = play.status().away[0];
            play.fates.insert("new".to_owned(), |pod| pod.stage = Stage::Started);
            play.make(id);
            play.play(300);
            assert_eq!(play.status().state, RolloutState::Rolling, "{story}");
            play.fates.clear();
            play.make(id);
            play.play(300);
            assert_eq!(
                (play.revisions(), play.status().state),
                (BTreeSet::from(["new"]), RolloutState::Idle),
                "{story}"
            );
        }
    }
}

#[test]
fn a_roll_waits_for_a_canary_whose_node_is_gone_and_says_which_node() {
    let mut play = Play::of(3, Rollout::default());
    let volume = |id| Volume { uid: format!("u{id}"), ..Volume::default() };
    play.volumes = (0..3).map(|id| (BrokerId(id), volume(id))).collect();
    play.seen.by_user = offer("new", "resources");
    play.fates.insert("new".to_owned(), |pod| {
        let since = Time(Timestamp::from_second(START).unwrap());
        (pod.stage, pod.unscheduled) = (Stage::Pending, Some((since, "no node".to_owned())));
        (pod.is_cut_off, pod.lost_node) = (true, Some("worker-2".to_owned()));
    });
    assert_eq!(play.play(3600), ["Canary 0", "  evict 0", "Canary 0"]);
    let message = "broker 0: its node worker-2 is gone, and the roll waits for pod prod-broker-0: bring the node back, or add one \
                   that takes the pod; if the node is lost for good and the broker's volume was on it, order a new volume: \
                   state: Fresh and volume: u0 in spec.brokers.overrides";
    let blocked = play.status().blocked_by;
    assert_eq!(blocked.iter().map(|one| (&*one.reason, &*one.message)).collect::<Vec<_>>(), [("NodeGone", message)]);
    assert!(play.condition().1.ends_with(message), "{}", play.condition().1);
    let summary = play.summary();
    assert!(summary.starts_with("Canary: broker 0 restarts on new: broker 0: its node worker-2 is gone"), "{summary}");

    // The new volume that it orders is not kept waiting by the roll that waits for the broker.
    play.asks(|spec| {
        let order = json!([{ "broker": 0, "state": "Fresh", "volume": "u0" }]);
        spec.brokers.overrides = serde_json::from_value(order).unwrap();
    });
    assert!(play.play(10).contains(&"  renew 0".to_owned()));
    play.volumes.clear();

    // The node is back, and the scheduler has not looked yet: it has its time, and no more.
    let pod = play.seen.pods.get_mut(&BrokerId(0)).unwrap();
    (pod.is_cut_off, pod.lost_node) = (false, None);
    play.play(60);
    assert_eq!((play.status().state, play.status().blocked_by), (RolloutState::Canary, Vec::new()));
    play.play(120);
    assert_eq!(play.status().state, RolloutState::Stopped, "more memory than any node has");
}

#[test]
fn a_roll_that_waits_for_a_lost_volume_leaves_it_to_ready_to_say_what_to_type() {
    let mut play = Play::of(3, Rollout::default());
    let lost = Lost { nodes: ["worker-2".to_owned()].into(), for_long: false };
    play.volumes.insert(BrokerId(0), Volume { uid: "u0".to_owned(), lost: Some(lost), ..Volume::default() });
    play.seen.by_user = offer("new", "resources");
    play.fates.insert("new".to_owned(), |pod| {
        let since = Time(Timestamp::from_second(START).unwrap());
        (pod.stage, pod.unscheduled) = (Stage::Pending, Some((since, "no node".to_owned())));
        (pod.is_cut_off, pod.lost_node) = (true, Some("worker-2".to_owned()));
    });
    play.play(600);
    let message = play.status().blocked_by[0].message.clone();
    assert!(message.ends_with("was on it, and the condition Ready says what happens to that"), "{message}");
    let conditions = &play.world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.reason, "NodeLost");
    assert!(ready.message.contains("kubectl patch kafkacluster prod"), "{}", ready.message);
}

#[test]
fn a_broker_whose_node_is_lost_is_no_canary_if_another_can_be_one() {
    for (max_unavailable, expected) in [(2, "Canary 3"), (1, "Canary 0")] {
        let mut play = Play::of(6, Rollout { max_unavailable, ..Rollout::default() });
        play.fails(BrokerId(0), Stage::Started);
        play.seen.pods.get_mut(&BrokerId(0)).unwrap().is_cut_off = true;
        play.seen.by_user = offer("new", "image");
        assert_eq!(play.play(10), [expected]);
    }
}

#[test]
fn another_broker_tries_the_revision_if_the_canary_is_scaled_away() {
    let mut play = Play::of(4, Rollout::default());
    Arc::make_mut(&mut play.world.assignments[0]).spec.partitions[3] = entry(3, &[0, 1, 2]);
    play.fates.insert("new".to_owned(), |pod| pod.stage = Stage::Started);
    play.seen.by_user = offer("new", "image");
    assert_eq!(play.play(60)[0], "Canary 3", "it leads least");
    play.asks(|spec| spec.brokers.replicas = 3);
    play.seen.pods.remove(&BrokerId(3));
    play.world.brokers.remove(&BrokerId(3));
    play.entries(|one| *one = entry(one.partition, &[0, 1, 2]));
    play.fates.clear();
    assert_eq!(play.play(20)[0], "Canary 1", "what leads least now");
    play.play(900);
    assert_eq!((play.revisions(), play.status().state), (BTreeSet::from(["new"]), RolloutState::Idle));
}

#[test]
fn a_topic_that_is_newer_than_the_plan_is_protected_also_where_interruptions_are_allowed() {
    for (interrupt, isr, safe) in [
        (Interrupt::Never, &[0, 1, 2][..], false),
        (Interrupt::Unreplicated, &[0, 1, 2], true),
        (Interrupt::Unreplicated, &[0, 1], false),
    ] {
        let mut play = Play::of(3, Rollout { interrupt, ..Rollout::default() });
        play.seen.by_user = offer("new", "image");
        play.play(30);
        let mut newer = KafkaAssignment::clone(&play.world.assignments[0]);
        newer.spec.topic_name = "newer".to_owned();
        newer.spec.partitions = vec![entry(0, &[0, 1, 2])];
        newer.spec.partitions[0].isr.retain(|member| isr.contains(&member.broker.0));
        assert_eq!(play.restarted.unwrap().is_safe_with(&[newer]).is_ok(), safe, "{interrupt:?} {isr:?}");
    }
}

#[test]
fn where_no_pod_exists_the_first_tries_the_revision_for_all() {
    for (fate, state, from) in [
        ((|_| {}) as fn(&mut PodRevision), RolloutState::Idle, "new"),
        (|pod| pod.stage = Stage::Started, RolloutState::Stopped, "old"),
    ] {
        let mut play = Play::of(3, Rollout::default());
        play.seen.pods.clear();
        play.fates.insert("new".to_owned(), fate);
        play.seen.by_user = offer("new", "podTemplate");
        assert_eq!(play.play(20), ["Canary 0"]);
        assert_eq!((play.status().pinned().to_owned(), play.status().from), ("new".to_owned(), "old".to_owned()));
        (0..3).for_each(|id| play.make(BrokerId(id)));
        play.play(60);
        assert_eq!(play.status().from, "old", "it is not tried yet");
        play.play(1200);
        assert_eq!((play.status().state, play.status().from.as_str()), (state, from));
    }
}

#[test]
fn a_canary_that_flaps_stops_the_roll() {
    let mut play = Play::of(3, Rollout::default());
    play.seen.by_user = offer("new", "image");
    play.play(40);
    for _ in 0..20 {
        for stage in [Stage::Started, Stage::Ready] {
            if play.status().state == RolloutState::Canary {
                play.seen.pods.get_mut(&BrokerId(0)).unwrap().stage = stage;
            }
            play.play(50);
        }
    }
    let status = play.status();
    assert_eq!((status.state, play.revisions()), (RolloutState::Stopped, BTreeSet::from(["old"])));
    let message = &status.failed[0].message;
    assert!(message.contains("broker 0 did not stay ready and in sync for 120 s"), "{message}");
}

#[test]
fn a_roll_that_waits_is_written_each_half_minute_and_within_the_budget_it_does_not_wait() {
    let mut play = Play::of(6, Rollout::default());
    play.seen.by_user = offer("new", "image");
    let only = |play: &mut Play, kept: i32| {
        play.entries(|one| {
            *one = entry(one.partition, &one.replicas.iter().map(|id| id.0).collect::<Vec<_>>());
            one.isr.retain(|member| member.broker.0 % 3 == kept);
        });
    };
    only(&mut play, 1);
    play.tick(10);
    assert_eq!(play.status().state, RolloutState::Waiting);
    let (writes, blocked) = (play.writes, play.status().blocked_by);
    for kept in [2, 1, 2, 1, 2, 1, 2, 1, 2] {
        only(&mut play, kept);
        play.tick(10);
    }
    assert_ne!(play.status().blocked_by, blocked);
    assert_eq!(play.writes - writes, 3, "nine changes in 90 seconds");

    let mut play = Play::of(9, Rollout { max_unavailable: 3, ..Rollout::default() });
    play.seen.pods.remove(&BrokerId(3));
    play.live(BrokerId(3), false);
    play.entries(|one| one.isr.retain(|member| member.broker != BrokerId(3)));
    play.seen.by_user = offer("new", "image");
    assert_eq!(play.play(20)[0], "Canary 0", "of the rack of the missing one");
}

#[test]
fn a_roll_restarts_no_broker_whose_volume_would_go() {
    for (needed, expected) in [(false, true), (true, false)] {
        let mut play = Play::of(3, Rollout { interrupt: Interrupt::Unreplicated, ..Rollout::default() });
        if needed {
            Arc::make_mut(&mut play.world.assignments[0]).spec.partitions.push(entry(7, &[1]));
        }
        let volume = Volume { is_deleted: true, pod: Some("1".to_owned()), ..Volume::default() };
        play.volumes.insert(BrokerId(1), volume);
        play.seen.by_user = offer("new", "image");
        let told = play.play(900);
        assert!(!told.iter().any(|line| line == "  evict 1" || line == "  delete 1"), "{told:?}");
        assert_eq!(told.iter().any(|line| line == "  renew 1"), expected, "{told:?}");
        assert_eq!(play.status().state, RolloutState::Idle);
        // The new volume is there.
        play.volumes.clear();
        play.seen.pods.insert(BrokerId(1), pod(1, "new"));
        assert!(!play.play(300).iter().any(|line| line.starts_with("  ")));
    }
}

#[test]
fn a_roll_begins_in_a_window_and_is_finished_after_it() {
    // START is at 13:46:40 UTC.
    let window = json!({ "policy": "Window", "windows": [{ "from": "14:00", "for": "5m" }] });
    let mut play = Play::of(3, serde_json::from_value(window).unwrap());
    play.seen.by_user = offer("new", "image");
    assert_eq!(play.play(780), ["Waiting "]);
    assert_eq!(play.summary(), "Waiting: the next window opens at 1970-01-12T14:00:00Z");
    let (reason, message) = play.condition();
    assert!(reason == "Held" && message.contains("begins in the window that opens at 1970-01-12"), "{message}");
    assert!(message.ends_with(r#"'{"spec":{"rollout":{"approved":"new"}}}'"#), "{message}");
    play.fates.insert("new".to_owned(), |pod| pod.stage = Stage::Starting);
    assert_eq!(play.play(40), ["Canary 0", "  evict 0"]);
    assert_eq!(play.status().window_opens, None);
    play.play(600);
    play.fates.clear();
    play.make(BrokerId(0));
    play.play(600);
    assert_eq!((play.revisions(), play.status().state), (BTreeSet::from(["new"]), RolloutState::Idle));
}
