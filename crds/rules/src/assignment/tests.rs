//! Stories of one partition on brokers 0 to 3. Broker b's first incarnation is 10·b + 1; min.insync.replicas is 2.

use std::time::Duration;

use super::*;

const MIN_IN_SYNC: usize = 2;
const LIMIT: Duration = Duration::from_secs(30);

fn incarnation(broker: i32, life: i64) -> Incarnation {
    Incarnation(i64::from(broker) * 10 + life)
}

fn member(broker: i32) -> IsrMember {
    IsrMember { broker: BrokerId(broker), incarnation: incarnation(broker, 1) }
}

fn ids(brokers: &[i32]) -> Vec<BrokerId> {
    brokers.iter().copied().map(BrokerId).collect()
}

/// The brokers that are there, with what they had from the start.
fn live(brokers: &[i32]) -> Live {
    brokers.iter().map(|id| (BrokerId(*id), LiveBroker { incarnation: incarnation(*id, 1), draining: false })).collect()
}

fn with_new_content(mut live: Live, broker: i32) -> Live {
    live.insert(BrokerId(broker), LiveBroker { incarnation: incarnation(broker, 2), draining: false });
    live
}

fn draining(mut live: Live, broker: i32) -> Live {
    live.entry(BrokerId(broker)).and_modify(|broker| broker.draining = true);
    live
}

/// Broker 0 leads 0, 1 and 2 in epoch 5; `isr` are in sync.
fn partition(isr: &[i32]) -> Assignment {
    Assignment {
        partition: 3,
        replicas: ids(&[0, 1, 2]),
        adding: Vec::new(),
        removing: Vec::new(),
        leader: Some(BrokerId(0)),
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(9),
        isr: isr.iter().copied().map(member).collect(),
        reports: Vec::new(),
        log_start: None,
    }
}

fn without_leader(isr: &[i32]) -> Assignment {
    Assignment { leader: None, ..partition(isr) }
}

fn leader_zero() -> Leader {
    Leader {
        broker: BrokerId(0),
        incarnation: incarnation(0, 1),
        leader_epoch: LeaderEpoch(5),
        epoch_start: 100,
        high_watermark: 200,
        log_start: 50,
        write_in_flight: false,
    }
}

fn follower(broker: i32) -> Follower {
    Follower {
        broker: BrokerId(broker),
        incarnation: incarnation(broker, 1),
        leader_epoch: LeaderEpoch(5),
        log_end: 200,
        log_start: 50,
        leaving: false,
    }
}

fn report(broker: i32, life: i64, last_epoch: i32, log_end: i64) -> RecoveryReport {
    let (broker, incarnation) = (BrokerId(broker), incarnation(broker, life));
    RecoveryReport { broker, incarnation, last_epoch: LeaderEpoch(last_epoch), log_end, log_start: Some(0) }
}

/// Leader, ISR and how far the epochs went.
fn outcome(
    before: &Assignment,
    after: Result<Assignment, Refusal>,
) -> Result<(Option<i32>, Vec<i32>, i32, i32), Refusal> {
    let after = after?;
    Ok((
        after.leader.map(|leader| leader.0),
        after.isr.iter().map(|member| member.broker.0).collect(),
        after.leader_epoch.0 - before.leader_epoch.0,
        after.partition_epoch.0 - before.partition_epoch.0,
    ))
}

#[test]
fn a_new_partition_is_led_by_its_first_replica_that_is_there() {
    let created = Assignment::create(7, ids(&[2, 0, 1]), &live(&[0, 1])).unwrap();
    assert_eq!(created.leader, Some(BrokerId(0)));
    assert_eq!(created.isr, [member(0), member(1)]);
    assert_eq!(created.epochs(), Epochs { leader: LeaderEpoch::FIRST, partition: PartitionEpoch::FIRST });
    assert_eq!(Assignment::create(7, ids(&[2]), &live(&[0, 1])), None);
}

#[test]
fn a_draining_broker_is_in_sync_in_a_new_partition_only_where_nobody_else_is_there() {
    let mut there = live(&[0, 1]);
    there.get_mut(&BrokerId(0)).unwrap().draining = true;
    let created = |replicas: &[i32]| {
        let created = Assignment::create(7, ids(replicas), &there).unwrap();
        (created.leader, created.isr)
    };
    assert_eq!(created(&[0, 1, 2]), (Some(BrokerId(1)), vec![member(1)]));
    assert_eq!(created(&[0, 2]), (Some(BrokerId(0)), vec![member(0)]));
}

#[test]
fn who_is_gone_leaves_and_the_first_valid_replica_leads() {
    let all = live(&[0, 1, 2]);
    for (story, before, live, expected) in [
        ("nothing happened", partition(&[0, 1, 2]), all.clone(), Err(Refusal::Unchanged)),
        ("a follower died", partition(&[0, 1, 2]), live(&[0, 1]), Ok((Some(0), vec![0, 1], 0, 1))),
        ("the leader died", partition(&[0, 1, 2]), live(&[1, 2]), Ok((Some(1), vec![1, 2], 1, 1))),
        ("only the last in preference is left", partition(&[0, 1, 2]), live(&[2]), Ok((Some(2), vec![1, 2], 1, 1))),
        ("one out of sync can not lead", partition(&[0, 2]), live(&[1, 2]), Ok((Some(2), vec![0, 2], 1, 1))),
        ("a dead member at the floor stays", partition(&[0, 1]), live(&[0]), Err(Refusal::Unchanged)),
        ("everybody died", partition(&[0, 1]), live(&[]), Ok((None, vec![0, 1], 1, 1))),
        (
            "all members died above the floor: each may come back",
            partition(&[0, 1, 2]),
            live(&[]),
            Ok((None, vec![0, 1, 2], 1, 1)),
        ),
        (
            "the last in preference came back first",
            without_leader(&[0, 1, 2]),
            live(&[2]),
            Ok((Some(2), vec![1, 2], 1, 1)),
        ),
        (
            "all lost their disks' tails: every one has to report",
            partition(&[0, 1, 2]),
            with_new_content(with_new_content(with_new_content(live(&[]), 0), 1), 2),
            Ok((None, vec![0, 1, 2], 1, 1)),
        ),
        ("everybody is still dead", without_leader(&[0, 1]), live(&[]), Err(Refusal::Unchanged)),
        ("the first of them came back", without_leader(&[0, 1]), live(&[1]), Ok((Some(1), vec![0, 1], 1, 1))),
        (
            "the leader lost its disk",
            partition(&[0, 1, 2]),
            with_new_content(all.clone(), 0),
            Ok((Some(1), vec![1, 2], 1, 1)),
        ),
        (
            "a follower lost its disk at the floor: its entry stays, and is worth nothing",
            partition(&[0, 1]),
            with_new_content(live(&[1]), 1),
            Ok((None, vec![0, 1], 1, 1)),
        ),
        (
            "a member that holds nothing goes before one that is only dead",
            partition(&[0, 1, 2]),
            with_new_content(live(&[0, 2]), 2),
            Ok((Some(0), vec![0, 1], 0, 1)),
        ),
    ] {
        assert_eq!(outcome(&before, before.heal(&live, MIN_IN_SYNC)), expected, "{story}");
    }
}

#[test]
fn a_draining_broker_hands_over_and_leaves_as_far_as_others_can_do_without_it() {
    let all = live(&[0, 1, 2]);
    for (story, before, live, expected) in [
        ("a draining leader", partition(&[0, 1, 2]), draining(all.clone(), 0), Ok((Some(1), vec![1, 2], 1, 1))),
        ("a draining follower", partition(&[0, 1, 2]), draining(all.clone(), 1), Ok((Some(0), vec![0, 2], 0, 1))),
        (
            "a draining leader at the floor",
            partition(&[0, 1]),
            draining(all.clone(), 0),
            Ok((Some(1), vec![0, 1], 1, 1)),
        ),
        ("nobody to hand over to", partition(&[0]), draining(all.clone(), 0), Err(Refusal::Unchanged)),
        (
            "everybody drains",
            partition(&[0, 1, 2]),
            draining(draining(draining(all, 0), 1), 2),
            Ok((Some(0), vec![0, 2], 0, 1)),
        ),
    ] {
        assert_eq!(outcome(&before, before.heal(&live, MIN_IN_SYNC)), expected, "{story}");
    }
}

#[test]
fn the_isr_never_shrinks_below_the_floor() {
    assert_eq!(partition(&[0, 1, 2]).floor(2), 2);
    assert_eq!(partition(&[0, 1, 2]).floor(5), 3);
    assert_eq!(partition(&[0, 1, 2]).floor(0), 1);
    let at_the_floor = partition(&[0, 1]);
    let shrunk = at_the_floor.shrink(&leader_zero(), BrokerId(1), LIMIT * 2, LIMIT, MIN_IN_SYNC);
    assert_eq!(shrunk, Err(Refusal::Floor(2)));
}

#[test]
fn the_leader_takes_out_who_lags() {
    let before = partition(&[0, 1, 2]);
    let late = LIMIT + Duration::from_millis(1);
    let shrink = |broker, behind_for| before.shrink(&leader_zero(), BrokerId(broker), behind_for, LIMIT, MIN_IN_SYNC);
    assert_eq!(outcome(&before, shrink(2, late)), Ok((Some(0), vec![0, 1], 0, 1)));
    assert_eq!(shrink(2, LIMIT), Err(Refusal::CaughtUp));
    assert_eq!(shrink(0, late), Err(Refusal::NotInIsr));
    assert_eq!(shrink(3, late), Err(Refusal::NotInIsr));
}

#[test]
fn an_old_leader_cannot_shrink_the_isr() {
    let before = partition(&[0, 1, 2]);
    for (story, leader) in [
        ("deposed, and does not know", Leader { leader_epoch: LeaderEpoch(4), ..leader_zero() }),
        ("another broker leads", Leader { broker: BrokerId(1), incarnation: incarnation(1, 1), ..leader_zero() }),
        ("it lost its disk since", Leader { incarnation: incarnation(0, 2), ..leader_zero() }),
    ] {
        let shrunk = before.shrink(&leader, BrokerId(2), LIMIT * 2, LIMIT, MIN_IN_SYNC);
        assert_eq!(shrunk, Err(Refusal::NotLeader), "{story}");
        let expanded = partition(&[0, 1]).expand(&leader, &follower(2));
        assert_eq!(expanded, Err(Refusal::NotLeader), "{story}");
    }
}

#[test]
fn one_change_of_the_isr_is_in_flight_at_most() {
    let leader = Leader { write_in_flight: true, ..leader_zero() };
    assert_eq!(partition(&[0, 1]).expand(&leader, &follower(2)), Err(Refusal::WriteInFlight));
    let shrunk = partition(&[0, 1, 2]).shrink(&leader, BrokerId(2), LIMIT * 2, LIMIT, MIN_IN_SYNC);
    assert_eq!(shrunk, Err(Refusal::WriteInFlight));
}

#[test]
fn a_follower_joins_when_it_has_every_acknowledged_record() {
    let before = partition(&[0, 1]);
    for (story, leader, follower, expected) in [
        ("it has", leader_zero(), follower(2), Ok((Some(0), vec![0, 1, 2], 0, 1))),
        ("a record short", leader_zero(), Follower { log_end: 199, ..follower(2) }, Err(Refusal::Behind)),
        ("a deleted record too many", leader_zero(), Follower { log_start: 49, ..follower(2) }, Err(Refusal::Behind)),
        (
            "past a high watermark that a new leader does not know yet",
            Leader { high_watermark: 0, ..leader_zero() },
            Follower { log_end: 99, ..follower(2) },
            Err(Refusal::Behind),
        ),
        (
            "it fetched in the epoch before",
            leader_zero(),
            Follower { leader_epoch: LeaderEpoch(4), ..follower(2) },
            Err(Refusal::Behind),
        ),
        ("it holds no replica", leader_zero(), follower(3), Err(Refusal::NotReplica)),
        ("it is in already", leader_zero(), follower(1), Err(Refusal::InIsr)),
        ("it is about to leave", leader_zero(), Follower { leaving: true, ..follower(2) }, Err(Refusal::Leaving)),
    ] {
        assert_eq!(outcome(&before, before.expand(&leader, &follower)), expected, "{story}");
    }
}

#[test]
fn a_follower_that_lost_its_disk_replaces_its_void_entry_when_it_has_caught_up() {
    let returned = Follower { incarnation: incarnation(1, 2), ..follower(1) };
    let after = partition(&[0, 1]).expand(&leader_zero(), &returned).unwrap();
    assert_eq!(after.isr, [member(0), IsrMember { broker: BrokerId(1), incarnation: incarnation(1, 2) }]);
}

#[test]
fn a_broker_leads_only_what_names_it_with_its_content_and_is_not_older_than_what_it_acted_on() {
    let newest = partition(&[0, 1]);
    let at = |leader, partition| Some(Epochs { leader: LeaderEpoch(leader), partition: PartitionEpoch(partition) });
    for (story, broker, life, acted_on, expected) in [
        ("it is named", 0, 1, None, true),
        ("another is", 1, 1, None, false),
        ("its content was another", 0, 2, None, false),
        ("it acted on this very one", 0, 1, at(5, 9), true),
        ("it acted on a newer one: the API server was set back", 0, 1, at(5, 10), false),
        ("it acted on a newer leader epoch", 0, 1, at(6, 10), false),
        ("history forked: it acted on an older leader epoch, after more changes", 0, 1, at(4, 10), false),
    ] {
        assert_eq!(newest.may_lead(BrokerId(broker), incarnation(broker, life), acted_on), expected, "{story}");
    }
}

#[test]
fn while_a_change_is_in_doubt_the_members_before_and_after_count() {
    let returned = IsrMember { broker: BrokerId(1), incarnation: incarnation(1, 2) };
    for (committed, proposed, expected) in [
        (vec![member(0), member(1)], None, vec![member(0), member(1)]),
        (vec![member(0), member(1)], Some(vec![member(0)]), vec![member(1), member(0)]),
        (vec![member(0)], Some(vec![member(0), member(1)]), vec![member(0), member(1)]),
        (vec![member(0), member(1)], Some(vec![member(0), returned]), vec![member(0), returned]),
    ] {
        assert_eq!(maximal_isr(&committed, proposed.as_deref()), expected);
    }
}

#[test]
fn a_reassignment_grows_to_the_union_and_ends_when_every_target_is_in_sync() {
    let before = partition(&[0, 1, 2]);
    let moving = before.start_reassignment(&ids(&[3, 1])).unwrap();
    assert_eq!(moving.replicas, ids(&[3, 1, 0, 2]));
    assert_eq!((&moving.adding, &moving.removing), (&ids(&[3]), &ids(&[0, 2])));
    assert_eq!((moving.leader, &moving.isr, moving.leader_epoch), (before.leader, &before.isr, before.leader_epoch));
    assert!(moving.partition_epoch.follows(before.partition_epoch));
    assert_eq!(moving.replication_factor(), 3);

    let all = live(&[0, 1, 2, 3]);
    assert_eq!(moving.complete_reassignment(&all), Err(Refusal::Behind));
    let joined = moving.expand(&leader_zero(), &follower(3)).unwrap();
    assert_eq!(joined.complete_reassignment(&live(&[0, 1, 2])), Err(Refusal::Behind));
    assert_eq!(joined.complete_reassignment(&with_new_content(all.clone(), 3)), Err(Refusal::Behind));
    let done = joined.complete_reassignment(&all).unwrap();
    assert_eq!(done.replicas, ids(&[3, 1]));
    assert_eq!(done.isr, [member(1), member(3)]);
    assert_eq!((done.leader, done.leader_epoch), (Some(BrokerId(3)), joined.leader_epoch.next().unwrap()));
    assert!(!done.is_reassigning());
}

#[test]
fn a_reassignment_is_cancelled_while_the_old_replicas_fill_the_floor() {
    let all = live(&[0, 1, 2, 3]);
    let moving = partition(&[0, 1, 2]).start_reassignment(&ids(&[3])).unwrap();
    let back = moving.cancel_reassignment(&all, MIN_IN_SYNC).unwrap();
    assert_eq!((back.replicas, back.isr), (ids(&[0, 1, 2]), partition(&[0, 1, 2]).isr));
    assert_eq!(
        (back.leader, back.leader_epoch),
        (moving.leader, moving.leader_epoch.next().unwrap()),
        "the other one leaves"
    );

    let mut mostly_moved = moving.clone();
    mostly_moved.isr = vec![member(0), member(1), member(3)];
    assert!(mostly_moved.cancel_reassignment(&all, MIN_IN_SYNC).is_ok());
    let lost = with_new_content(all.clone(), 1);
    assert_eq!(mostly_moved.cancel_reassignment(&lost, MIN_IN_SYNC), Err(Refusal::Floor(2)));
}

#[test]
fn the_leader_epoch_rises_when_a_replica_leaves_though_the_leader_stays() {
    let all = live(&[0, 1, 2, 3]);
    let in_sync = |isr: &[i32]| Assignment { isr: isr.iter().copied().map(member).collect(), ..partition(&[0, 1, 2]) };
    let moving = |target: &[i32]| in_sync(&[0, 1, 2, 3]).start_reassignment(&ids(target)).unwrap();
    for (story, before, after, rises) in [
        ("it has moved", moving(&[0, 1, 3]), moving(&[0, 1, 3]).complete_reassignment(&all), 1),
        ("fewer replicas", moving(&[0, 1]), moving(&[0, 1]).complete_reassignment(&all), 1),
        ("more replicas", moving(&[0, 1, 2, 3]), moving(&[0, 1, 2, 3]).complete_reassignment(&all), 0),
        ("it was cancelled", moving(&[0, 1, 3]), moving(&[0, 1, 3]).cancel_reassignment(&all, MIN_IN_SYNC), 1),
        ("it was cancelled, and nobody was to come", moving(&[0, 1]), moving(&[0, 1]).cancel_reassignment(&all, 2), 0),
        ("another preference", partition(&[0, 1, 2]), partition(&[0, 1, 2]).start_reassignment(&ids(&[1, 0, 2])), 0),
        ("a deleted topic's files are gone", partition(&[0, 1, 2]), partition(&[0, 1, 2]).forget(BrokerId(2)), 1),
    ] {
        let after = after.unwrap();
        assert_eq!(after.leader, before.leader, "{story}");
        assert_eq!(after.leader_epoch, LeaderEpoch(5 + rises), "{story}");
        assert!(after.partition_epoch.follows(before.partition_epoch), "{story}");
    }
}

#[test]
fn who_has_a_leader_has_no_reports() {
    let all = with_new_content(live(&[0, 1, 2, 3]), 2);
    let waiting = |isr: &[i32]| Assignment { reports: vec![report(2, 2, 5, 90)], ..without_leader(isr) };
    let moving = |isr: &[i32], target: &[i32]| waiting(isr).start_reassignment(&ids(target)).unwrap();
    for (story, after) in [
        ("the old replicas came back while it moved", moving(&[0, 1], &[3, 2]).cancel_reassignment(&all, MIN_IN_SYNC)),
        ("a member came back", waiting(&[0, 1]).heal(&all, MIN_IN_SYNC)),
        ("the preferred one came back", waiting(&[0, 1]).prefer(&all)),
        ("all that was waited for was reported", waiting(&[2]).recover(&all)),
    ] {
        let after = after.unwrap();
        assert_eq!((after.leader.is_some(), after.reports.len()), (true, 0), "{story}");
    }
}

#[test]
fn only_a_target_that_makes_sense_is_moved_to_and_only_one_at_a_time() {
    let before = partition(&[0, 1, 2]);
    assert_eq!(before.start_reassignment(&[]), Err(Refusal::BadTarget));
    assert_eq!(before.start_reassignment(&ids(&[3, 3])), Err(Refusal::BadTarget));
    assert_eq!(before.start_reassignment(&ids(&[0, 1, 2])), Err(Refusal::Unchanged));
    let another_order = before.start_reassignment(&ids(&[2, 1, 0])).unwrap();
    assert!(!another_order.is_reassigning());
    let moving = before.start_reassignment(&ids(&[3])).unwrap();
    assert_eq!(moving.start_reassignment(&ids(&[1])), Err(Refusal::Reassigning));
    assert_eq!(before.complete_reassignment(&live(&[0])), Err(Refusal::NotReassigning));
    assert_eq!(before.cancel_reassignment(&live(&[0]), MIN_IN_SYNC), Err(Refusal::NotReassigning));
}

#[test]
fn after_a_power_cut_the_longest_log_leads_once_every_last_member_has_reported() {
    let mut now = without_leader(&[0, 1]);
    let all = with_new_content(with_new_content(with_new_content(live(&[]), 0), 1), 2);
    assert_eq!(now.waits_for(&all), ids(&[0, 1]));
    now = now.report(LeaderEpoch(5), report(0, 2, 5, 90)).unwrap();
    now = now.report(LeaderEpoch(5), report(2, 2, 5, 95)).unwrap();
    assert_eq!(now.waits_for(&all), ids(&[1]));
    assert_eq!(now.recover(&all), Err(Refusal::Behind));
    now = now.report(LeaderEpoch(5), report(1, 2, 4, 500)).unwrap();
    let after = now.recover(&all).unwrap();
    assert_eq!(after.leader, Some(BrokerId(2)), "the longest of the last epoch, in the ISR or not");
    assert_eq!(after.isr, [IsrMember { broker: BrokerId(2), incarnation: incarnation(2, 2) }]);
    assert!(after.reports.is_empty());
    assert_eq!(
        after.epochs(),
        Epochs { leader: now.leader_epoch.next().unwrap(), partition: now.partition_epoch.next().unwrap() }
    );
}

#[test]
fn who_holds_a_log_that_nobody_vouches_for_reports_once_in_the_isr_or_not() {
    let now = without_leader(&[0, 1]);
    let is_asked = |now: &Assignment, broker, life| now.asks_for_report(BrokerId(broker), incarnation(broker, life));
    assert!(is_asked(&now, 0, 2), "its entry is void");
    assert!(is_asked(&now, 2, 1), "it was not in sync");
    assert!(!is_asked(&now, 0, 1), "it may simply lead");
    assert!(!is_asked(&now, 3, 1), "it is no replica");
    assert!(!is_asked(&partition(&[0, 1]), 2, 1), "somebody leads");
    let now = now.report(LeaderEpoch(5), report(2, 1, 5, 90)).unwrap();
    assert!(!is_asked(&now, 2, 1), "it has");
    assert!(is_asked(&now, 2, 2), "what it had then");
}

#[test]
fn among_equal_logs_the_preferred_replica_recovers() {
    let all = with_new_content(with_new_content(live(&[]), 0), 1);
    let now = without_leader(&[0, 1])
        .report(LeaderEpoch(5), report(1, 2, 5, 90))
        .unwrap()
        .report(LeaderEpoch(5), report(0, 2, 5, 90))
        .unwrap();
    assert_eq!(now.recover(&all).unwrap().leader, Some(BrokerId(0)));
}

#[test]
fn nobody_recovers_while_a_member_may_come_back_with_its_content() {
    let all = with_new_content(live(&[]), 0);
    let now = without_leader(&[0, 1]).report(LeaderEpoch(5), report(0, 2, 5, 90)).unwrap();
    assert_eq!(now.waits_for(&all), ids(&[1]));
    assert_eq!(now.recover(&all), Err(Refusal::Behind));
    let back = with_new_content(live(&[1]), 0);
    assert_eq!(now.recover(&back), Err(Refusal::NoRecovery), "it can simply lead");
    let healed = now.heal(&back, MIN_IN_SYNC).unwrap();
    assert_eq!((healed.leader, healed.reports.len()), (Some(BrokerId(1)), 0));
}

#[test]
fn an_order_elects_without_missing_members_for_one_leader_epoch() {
    let order = |leader_epoch, broker| RecoveryOrder {
        partition: 3,
        leader_epoch: LeaderEpoch(leader_epoch),
        broker: BrokerId(broker),
    };
    // Broker 0 has lost its tail, broker 1 is away, broker 2 was not in sync.
    let here = with_new_content(live(&[2]), 0);
    let silent = without_leader(&[0, 1]);
    let waiting = silent
        .report(LeaderEpoch(5), report(0, 2, 5, 90))
        .unwrap()
        .report(LeaderEpoch(5), report(2, 1, 5, 80))
        .unwrap();
    let all_void = with_new_content(here.clone(), 1);
    let all_reported = waiting.report(LeaderEpoch(5), report(1, 2, 5, 10)).unwrap();
    for (story, before, live, order, expected) in [
        ("the longest", &waiting, &here, order(5, 0), Ok((Some(0), vec![0], 1, 1))),
        ("one that was not in sync", &waiting, &here, order(5, 2), Ok((Some(2), vec![2], 1, 1))),
        ("an order that was given before", &waiting, &here, order(4, 0), Err(Refusal::OtherEpoch)),
        ("one for a time to come", &waiting, &here, order(6, 0), Err(Refusal::OtherEpoch)),
        (
            "another partition's",
            &waiting,
            &here,
            RecoveryOrder { partition: 4, ..order(5, 0) },
            Err(Refusal::OtherEpoch),
        ),
        ("a broker without a replica", &waiting, &here, order(5, 3), Err(Refusal::NotReplica)),
        ("one that has not reported", &silent, &here, order(5, 0), Err(Refusal::Behind)),
        ("one that has gone since", &waiting, &live(&[2]), order(5, 0), Err(Refusal::Behind)),
        (
            "the missing one is back",
            &waiting,
            &with_new_content(live(&[1, 2]), 0),
            order(5, 0),
            Err(Refusal::NoRecovery),
        ),
        ("all have reported: the longest leads", &all_reported, &all_void, order(5, 1), Err(Refusal::NoRecovery)),
        ("somebody leads", &partition(&[0, 1]), &live(&[0, 1, 2]), order(5, 2), Err(Refusal::NoRecovery)),
    ] {
        assert_eq!(outcome(before, before.obey(&order, live)), expected, "{story}");
    }
    assert_eq!(waiting.possible_order(&here), Some(order(5, 0)));
    assert_eq!(silent.possible_order(&here), None, "nobody has said what is left");
    assert_eq!(all_reported.possible_order(&all_void), None, "nobody is waited for");
    let led = waiting.obey(&order(5, 0), &here).unwrap();
    let gone_again = led.heal(&live(&[]), MIN_IN_SYNC).unwrap();
    assert_eq!(gone_again.obey(&order(5, 0), &live(&[])), Err(Refusal::OtherEpoch), "an order is obeyed once");
}

#[test]
fn of_equal_logs_one_that_was_in_sync_leads_a_recovery() {
    let live = with_new_content(live(&[0]), 1);
    let waiting = without_leader(&[1]).report(LeaderEpoch(5), report(0, 1, 5, 90)).unwrap();
    let equal = waiting.report(LeaderEpoch(5), report(1, 2, 5, 90)).unwrap();
    assert_eq!(equal.recover(&live).unwrap().leader, Some(BrokerId(1)), "broker 0 may have records that were deleted");
    let longer = waiting.report(LeaderEpoch(5), report(1, 2, 5, 89)).unwrap();
    assert_eq!(longer.recover(&live).unwrap().leader, Some(BrokerId(0)), "broker 0 has more");
}

/// As `report`; the log begins there, or an older broker has not said where.
fn report_from(broker: i32, last_epoch: i32, log_start: Option<i64>, log_end: i64) -> RecoveryReport {
    RecoveryReport { log_start, ..report(broker, 2, last_epoch, log_end) }
}

#[test]
fn records_that_were_deleted_on_every_in_sync_replica_stay_deleted_when_another_log_is_longer() {
    let all = with_new_content(with_new_content(with_new_content(live(&[]), 0), 1), 2);
    let longest = report_from(2, 5, Some(0), 90);
    for (story, in_sync, chosen, log_start) in [
        ("both have deleted", [(5, Some(40), 80), (5, Some(40), 70)], longest, Some(40)),
        ("one's retention went further", [(5, Some(60), 80), (5, Some(40), 70)], longest, Some(40)),
        ("one lost its disk", [(5, Some(40), 80), (-1, Some(0), 0)], longest, Some(40)),
        ("all have lost their disks", [(-1, Some(0), 0), (-1, Some(0), 0)], longest, None),
        ("one is of an older version", [(5, Some(40), 80), (5, None, 70)], longest, None),
        ("an older version leads", [(5, Some(40), 80), (5, Some(40), 70)], report_from(2, 5, None, 90), Some(40)),
        ("all is deleted, and the log was longer", [(4, Some(95), 95), (4, Some(95), 95)], longest, Some(95)),
        (
            "the longest has deleted them, too",
            [(5, Some(40), 80), (5, Some(40), 70)],
            report_from(2, 5, Some(40), 90),
            None,
        ),
    ] {
        let mut now = without_leader(&[0, 1]).report(LeaderEpoch(5), chosen).unwrap();
        for (broker, (last_epoch, begins, ends)) in in_sync.into_iter().enumerate() {
            now = now.report(LeaderEpoch(5), report_from(broker as i32, last_epoch, begins, ends)).unwrap();
        }
        let led = now.recover(&all).unwrap();
        assert_eq!((led.leader, led.log_start), (Some(BrokerId(2)), log_start), "{story}");
    }
}

#[test]
fn what_must_stay_deleted_is_known_until_a_replica_joins_that_has_deleted_it() {
    let all = with_new_content(with_new_content(with_new_content(live(&[]), 0), 1), 2);
    let mut now = without_leader(&[0, 1]).report(LeaderEpoch(5), report_from(2, 5, Some(0), 90)).unwrap();
    for broker in [0, 1] {
        now = now.report(LeaderEpoch(5), report_from(broker, 5, Some(40), 80)).unwrap();
    }
    let led = now.recover(&all).unwrap();
    let leader = |log_start| Leader {
        broker: BrokerId(2),
        incarnation: incarnation(2, 2),
        leader_epoch: led.leader_epoch,
        epoch_start: 90,
        high_watermark: 40,
        log_start,
        write_in_flight: false,
    };
    let joins = |leader: &Leader, log_start| {
        let (incarnation, leader_epoch) = (incarnation(0, 2), led.leader_epoch);
        let follower = Follower { incarnation, leader_epoch, log_end: 90, log_start, ..follower(0) };
        led.expand(leader, &follower).map(|next| next.log_start)
    };
    assert_eq!(joins(&leader(40), 39), Err(Refusal::Behind), "it would bring them back");
    assert_eq!(joins(&leader(0), 39), Err(Refusal::Behind), "nor while the leader's own restart would");
    assert_eq!(joins(&leader(0), 40), Ok(Some(40)), "the leader's restart would bring them back");
    assert_eq!(joins(&leader(40), 40), Ok(None));

    // It is gone before it knows, and returns with its content: what must be deleted is still known.
    let gone = led.heal(&live(&[]), MIN_IN_SYNC).unwrap();
    assert_eq!(gone.heal(&all, MIN_IN_SYNC).unwrap().log_start, Some(40));
    // It returns with other content, and what it reports begins at 0 again.
    let lost = LiveBroker { incarnation: incarnation(2, 3), draining: false };
    let again = Live::from([(BrokerId(2), lost)]);
    let report = RecoveryReport { incarnation: lost.incarnation, ..report_from(2, 5, Some(0), 85) };
    assert_eq!(gone.report(gone.leader_epoch, report).unwrap().recover(&again).unwrap().log_start, Some(40));
}

#[test]
fn a_report_counts_only_while_its_broker_has_what_it_reported() {
    let now = without_leader(&[0]).report(LeaderEpoch(5), report(0, 2, 5, 90)).unwrap();
    let mut lost_again = live(&[]);
    lost_again.insert(BrokerId(0), LiveBroker { incarnation: incarnation(0, 3), draining: false });
    assert_eq!(now.recover(&lost_again), Err(Refusal::Behind));
    let beside = now.report(LeaderEpoch(5), report(2, 2, 5, 95)).unwrap();
    let not_seen_yet = with_new_content(live(&[2]), 0);
    assert_eq!(
        beside.waits_for(&not_seen_yet),
        ids(&[2]),
        "broker 2 has come back with other content than is seen of it"
    );
    assert_eq!(beside.recover(&not_seen_yet), Err(Refusal::Behind));
    let away = with_new_content(live(&[]), 0);
    assert_eq!(beside.waits_for(&away), ids(&[2]), "it has most, and may be there though it is not seen");
    assert_eq!(beside.recover(&away), Err(Refusal::Behind));
    assert_eq!(beside.possible_order(&away).map(|order| order.broker), Some(BrokerId(0)));
    for (story, last_epoch, log_end) in [("as much", 5, 90), ("less", 5, 89), ("more, of an older epoch", 4, 500)] {
        let beside = now.report(LeaderEpoch(5), report(2, 2, last_epoch, log_end)).unwrap();
        assert_eq!(beside.recover(&away).unwrap().leader, Some(BrokerId(0)), "the one that is not seen has {story}");
    }
    assert_eq!(now.report(LeaderEpoch(5), report(0, 2, 5, 90)), Err(Refusal::Unchanged));
    assert_eq!(now.report(LeaderEpoch(5), report(3, 2, 5, 90)), Err(Refusal::NotReplica));
    assert_eq!(now.report(LeaderEpoch(5), report(0, 1, 5, 90)), Err(Refusal::InIsr));
    assert_eq!(partition(&[0]).report(LeaderEpoch(5), report(0, 2, 5, 90)), Err(Refusal::NoRecovery));
    assert_eq!(
        now.report(LeaderEpoch(4), report(2, 2, 5, 95)),
        Err(Refusal::OtherEpoch),
        "its log has been cut or has grown since"
    );
}

#[test]
fn a_broker_that_can_not_read_its_log_disowns_it_before_it_copies_it_again() {
    let all = live(&[0, 1, 2]);
    for (story, before, broker, acted_in, expected) in [
        ("the leader: nobody leads until the operator elects", partition(&[0, 1, 2]), 0, 5, Some((None, 1, 1))),
        ("at the floor, too: nobody leaves", partition(&[0, 1]), 0, 5, Some((None, 1, 1))),
        ("the only member", partition(&[0]), 0, 5, Some((None, 1, 1))),
        (
            "a member: its leader keeps leading and forgets its position",
            partition(&[0, 1, 2]),
            1,
            5,
            Some((Some(0), 1, 1)),
        ),
        ("a member that was never seen", partition(&[0, 1]), 1, -1, Some((Some(0), 1, 1))),
        ("a follower that the leader may be about to take in", partition(&[0, 1]), 2, 5, Some((Some(0), 1, 1))),
        ("a member of those who wait for a leader", without_leader(&[0, 1]), 1, 5, Some((None, 0, 1))),
    ] {
        let Remedy::Disown(next) = before.remedy(BrokerId(broker), incarnation(broker, 1), LeaderEpoch(acted_in))
        else {
            panic!("{story}")
        };
        let after = Some((
            next.leader.map(|leader| leader.0),
            next.leader_epoch.0 - before.leader_epoch.0,
            next.partition_epoch.0 - before.partition_epoch.0,
        ));
        assert_eq!((after, next.isr.len()), (expected, before.isr.len()), "{story}");
        assert!(!next.isr.contains(&member(broker)), "{story}");
        let healed = next.heal(&all, MIN_IN_SYNC).unwrap_or(next.clone());
        assert_ne!(healed.leader, Some(BrokerId(broker)), "{story}");
        let again = healed.remedy(BrokerId(broker), incarnation(broker, 1), LeaderEpoch(acted_in));
        let expected = if healed.leader.is_some() { Remedy::CopyAnew } else { Remedy::Wait };
        assert_eq!(again, expected, "{story}");
    }
    let remedy =
        |entry: &Assignment, broker, life| entry.remedy(BrokerId(broker), incarnation(broker, life), LeaderEpoch(5));
    assert_eq!(remedy(&without_leader(&[0, 1]), 2, 1), Remedy::Wait, "it may be all that is left");
    let reported = without_leader(&[0, 1]).report(LeaderEpoch(5), report(2, 1, 4, 70)).unwrap();
    let Remedy::Disown(silent) = remedy(&reported, 2, 1) else {
        panic!("it can't be elected by a log that it can't read")
    };
    assert_eq!((silent.reports.len(), silent.isr, silent.leader_epoch), (0, reported.isr.clone(), LeaderEpoch(5)));
    assert_eq!(remedy(&reported, 2, 2), Remedy::Wait, "that was said of what it had before");
    assert_eq!(remedy(&partition(&[0]), 0, 2), Remedy::Wait, "its entry is void already, and nobody else leads");
    assert_eq!(remedy(&partition(&[0, 1]), 3, 1), Remedy::Wait, "it holds no replica");
}

#[test]
fn a_partition_waits_for_a_disowned_log_until_it_is_repaired_or_an_order_drops_it() {
    let all = live(&[0, 1]);
    let alone = partition(&[0]).disown(BrokerId(0)).unwrap();
    assert_eq!(alone.heal(&all, 1), Err(Refusal::Unchanged));
    assert_eq!(alone.waits_for(&live(&[1])), ids(&[0]), "whether it is there or not");
    let beside = alone.report(LeaderEpoch(6), report(1, 1, 5, 80)).unwrap();
    assert_eq!(beside.recover(&all), Err(Refusal::Behind));
    assert_eq!(beside.possible_order(&all).map(|order| order.broker), Some(BrokerId(1)));
    let mended = beside.report(LeaderEpoch(6), report(0, 1, 5, 90)).unwrap();
    assert_eq!(outcome(&mended, mended.recover(&all)), Ok((Some(0), vec![0], 1, 1)));
    let Remedy::Disown(broken_again) = mended.remedy(BrokerId(0), incarnation(0, 1), LeaderEpoch(5)) else {
        panic!("{mended:?}")
    };
    assert_eq!((broken_again.reports, broken_again.leader_epoch), (beside.reports, beside.leader_epoch));

    let copied = partition(&[0, 1]).disown(BrokerId(1)).unwrap();
    let leader = Leader { leader_epoch: LeaderEpoch(6), ..leader_zero() };
    assert_eq!(copied.expand(&leader, &follower(1)), Err(Refusal::Behind), "it said so before");
    let said_anew = Follower { leader_epoch: LeaderEpoch(6), ..follower(1) };
    assert_eq!(copied.expand(&leader, &said_anew).unwrap().isr, [member(0), member(1)]);
}

#[test]
fn a_deleted_topics_replica_goes_from_its_entry_floor_or_not() {
    let before = partition(&[0, 1]);
    let after = before.forget(BrokerId(0)).unwrap();
    assert_eq!(outcome(&before, Ok(after.clone())), Ok((None, vec![1], 1, 1)));
    assert_eq!(after.replicas, ids(&[1, 2]));
    assert_eq!(after.forget(BrokerId(0)), Err(Refusal::Unchanged));
}

#[test]
fn an_epoch_at_its_end_stops_changes_instead_of_starting_over() {
    let last = Assignment { partition_epoch: PartitionEpoch(i32::MAX), ..partition(&[0, 1]) };
    assert_eq!(last.expand(&leader_zero(), &follower(2)), Err(Refusal::Exhausted));
    let last = Assignment { leader_epoch: LeaderEpoch(i32::MAX), ..partition(&[0, 1, 2]) };
    assert_eq!(last.heal(&live(&[1]), MIN_IN_SYNC), Err(Refusal::Exhausted));
}
