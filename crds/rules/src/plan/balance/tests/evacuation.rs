//! Brokers that leave, and brokers that are lost.

use super::*;

const LEAVES: Role = Role::Leaves;

#[test]
fn a_replica_that_must_leave_goes_to_its_own_rack_then_to_the_broker_with_the_least() {
    let five = ["a", "a", "b", "b", "c"];
    for (story, cluster, after) in [
        ("nobody leaves", Cluster::new(&five, &[&[0, 2]]), &[&[0, 2][..]][..]),
        ("its rack has another", Cluster::new(&five, &[&[0, 2, 4]]).with(0, LEAVES), &[&[1, 2, 4]]),
        ("its place in the order stays", Cluster::new(&five, &[&[2, 0, 4]]).with(0, LEAVES), &[&[2, 1, 4]]),
        ("another rack is free", Cluster::new(&["a", "b", "c"], &[&[0, 1]]).with(0, LEAVES), &[&[2, 1]]),
        (
            "two leave at once",
            Cluster::new(&["a", "a", "b", "b"], &[&[0, 2]]).with(0, LEAVES).with(2, LEAVES),
            &[&[1, 3]],
        ),
        ("the only replica", Cluster::new(&["a", "b"], &[&[0]]).with(0, LEAVES), &[&[1]]),
        ("the cluster does not have broker 9", Cluster::new(&five, &[&[9, 2, 4]]), &[&[0, 2, 4]]),
        ("its last rack leaves", Cluster::new(&["a", "b", "b"], &[&[0, 1]]).with(0, LEAVES), &[&[2, 1]]),
        ("busy brokers get less", Cluster::new(&["a"; 3], &[&[0], &[1]]).with(0, LEAVES), &[&[2], &[1]]),
    ] {
        let mut cluster = cluster;
        cluster.settle(&Mode::Evacuate);
        if story.contains("broker 9") {
            // Brokers 0 and 1 are equally good: the seed decides.
            assert!(matches!(cluster.replicas()[0][0], 0 | 1), "{story}: {:?}", cluster.replicas());
            continue;
        }
        assert_eq!(cluster.replicas(), after, "{story}");
    }
}

#[test]
fn what_can_not_leave_says_why() {
    let mut pinned = Cluster::new(&["a", "a"], &[&[0], &[0]]).with(0, LEAVES);
    pinned.pinned = vec![1];
    let mut offline = Cluster::new(&["a", "a"], &[&[0]]).with(0, LEAVES);
    offline.entries[0].leader = None;
    let cordoned = Cluster::new(&["a", "a", "b", "b"], &[&[0, 2]]).with(0, LEAVES).with(1, Role::Cordoned);
    let full = Cluster::new(&["a", "a", "b", "b"], &[&[0, 2]]).with(0, LEAVES).of_capacity(1, 124);
    let all_full = Cluster::new(&["a", "a"], &[&[0]]).with(0, LEAVES).of_capacity(1, 124);
    let silent = Cluster::new(&["a", "a", "b", "b"], &[&[0, 2]]).with(0, LEAVES).with(1, Role::Silent);
    for (story, cluster, reason) in [
        ("nobody knows the space in its rack", silent, &[(0, 0, Reason::SpaceUnknown)][..]),
        (
            "nobody knows any space",
            Cluster::new(&["a"; 2], &[&[0]]).with(0, LEAVES).with(1, Role::Silent),
            &[(0, 0, Reason::SpaceUnknown)],
        ),
        ("a user placed it", pinned, &[(1, 0, Reason::PlacedByHand)][..]),
        ("there is no leader to copy from", offline, &[(0, 0, Reason::LastReplica)]),
        ("all have it", Cluster::new(&["a", "b"], &[&[0, 1]]).with(0, LEAVES), &[(0, 0, Reason::TooFewBrokers)]),
        ("its rack is cordoned", cordoned, &[(0, 0, Reason::TooFewRacks)]),
        ("its rack is full", full, &[(0, 0, Reason::NotEnoughSpace)]),
        ("all are full", all_full, &[(0, 0, Reason::NotEnoughSpace)]),
        ("125 bytes have space for 100", Cluster::new(&["a"; 2], &[&[0]]).with(0, LEAVES).of_capacity(1, 125), &[]),
    ] {
        assert_eq!(cluster.blocked(&Mode::Evacuate), reason, "{story}");
    }
}

#[test]
fn nothing_moves_to_a_broker_of_unknown_space_and_what_moves_there_already_stays() {
    let mut cluster = Cluster::new(&["a"; 4], &[&[0], &[0]]).with(0, LEAVES);
    cluster.entries[1] = cluster.entries[1].start_reassignment(&ids(&[1])).unwrap();
    let mut cluster = cluster.with(1, Role::Silent).with(2, Role::Silent);
    cluster.begin(&Mode::Evacuate, &Budget::default());
    assert_eq!(cluster.replicas(), [[3, 0], [1, 0]]);
}

#[test]
fn a_round_starts_no_more_copies_than_the_budget_allows() {
    let replicas: Vec<&[i32]> = vec![&[0, 1]; 100];
    let racks: Vec<String> = (0..22).map(|id| format!("rack {id}")).collect();
    let racks: Vec<&str> = racks.iter().map(String::as_str).collect();
    let copies = |cluster: &Cluster| cluster.entries.iter().map(|entry| entry.adding.len()).sum::<usize>();
    let wide = Budget { into_broker: 100, out_of_broker: 100, total: 100 };
    for (story, racks, budget, most) in [
        ("all at once", &racks[..], wide, 100),
        ("in all", &racks[..], Budget { total: 64, ..wide }, 64),
        ("out of the leader", &racks[..], Budget { out_of_broker: 4, ..wide }, 4),
        ("into each of two brokers", &racks[..4], Budget { into_broker: 4, ..wide }, 8),
    ] {
        let mut cluster = Cluster::new(racks, &replicas).with(0, LEAVES);
        cluster.begin(&Mode::Evacuate, &budget);
        assert_eq!(copies(&cluster), most, "{story}");
        cluster.begin(&Mode::Evacuate, &budget);
        assert_eq!(copies(&cluster), most, "{story}: those in progress count");
    }
}

#[test]
fn a_move_to_a_broker_that_leaves_is_cancelled_and_other_moves_stay() {
    let mut cluster = Cluster::new(&["a", "a", "b", "b"], &[&[0, 2], &[0, 2]]);
    cluster.entries[0] = cluster.entries[0].start_reassignment(&ids(&[1, 2])).unwrap();
    cluster.entries[1] = cluster.entries[1].start_reassignment(&ids(&[0, 3])).unwrap();
    let mut cluster = cluster.with(1, LEAVES);
    cluster.begin(&Mode::Evacuate, &Budget::default());
    assert_eq!(cluster.replicas(), [&[2, 0][..], &[0, 3, 2]]);
    cluster.catch_up();
    cluster.settle(&Mode::Evacuate);
    assert_eq!(cluster.replicas(), [&[2, 0], &[0, 3]]);
}

#[test]
fn the_effect_counts_what_is_left_and_each_broker_before_and_after() {
    let mut cluster = Cluster::new(&["a", "a", "b"], &[&[0, 2], &[0, 2]]).with(0, LEAVES).of_capacity(1, 1000);
    cluster.brokers[1].used = Some(50);
    cluster.entries[1] = cluster.entries[1].start_reassignment(&ids(&[1, 2])).unwrap();
    let partitions = cluster.partitions();
    let whole = balance(&cluster.brokers, &partitions, &Mode::Evacuate, &Budget::default(), 7).whole;
    assert_eq!((whole.moves, whole.bytes), (2, 200));
    let shown = |change: PlannedChange| (change.before, change.after);
    let rows: Vec<_> = whole
        .brokers
        .iter()
        .map(|broker| (broker.id.0, shown(broker.replicas), shown(broker.disk), shown(broker.leaders)))
        .collect();
    assert_eq!(rows, [(0, (2, 0), (200, 0), (2, 0)), (1, (0, 2), (0, 200), (0, 2)), (2, (2, 2), (200, 200), (0, 0))]);
}
