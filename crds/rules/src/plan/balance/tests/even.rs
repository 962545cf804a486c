//! Loads that become even.

use super::*;

fn counts(cluster: &Cluster) -> Vec<usize> {
    let holds = |broker: &Broker| cluster.entries.iter().filter(|entry| entry.replicas.contains(&broker.id)).count();
    cluster.brokers.iter().map(holds).collect()
}

fn leads(cluster: &Cluster) -> Vec<usize> {
    let leads = |broker: &Broker| cluster.entries.iter().filter(|entry| entry.replicas[0] == broker.id).count();
    cluster.brokers.iter().map(leads).collect()
}

#[test]
fn a_new_broker_gets_its_part_and_a_full_rebalance_is_not_needed_twice() {
    let racks = ["a", "b", "c", "a"];
    for (story, mode) in [("full", Mode::Full), ("fill", Mode::Fill { to: [BrokerId(3)].into() })] {
        let replicas: Vec<&[i32]> = [&[0, 1][..], &[1, 2], &[2, 0]].repeat(8);
        let mut cluster = Cluster::new(&racks, &replicas);
        cluster.settle(&mode);
        let counts = counts(&cluster);
        assert!(counts.iter().all(|count| (11..=13).contains(count)), "{story}: {counts:?}");
        let leads = leads(&cluster);
        // Only the new broker gets leaders when it is filled.
        let evened = if mode == Mode::Full { &leads[..] } else { &leads[3..] };
        assert!(evened.iter().all(|count| (5..=7).contains(count)), "{story}: {leads:?}");
        assert_eq!(cluster.settle(&mode), 0, "{story}: again");
    }
}

#[test]
fn a_broker_is_worth_to_be_filled_if_it_lacks_twice_what_the_band_allows() {
    for (of_one, of_other, expected) in
        [(20, 0, true), (20, 14, true), (20, 15, false), (20, 20, false), (0, 20, false)]
    {
        let replicas: Vec<&[i32]> = [vec![&[0][..]; of_one], vec![&[1][..]; of_other]].concat();
        let cluster = Cluster::new(&["a"; 2], &replicas);
        let lacks = lacks_much(&cluster.brokers, &cluster.partitions(), &[BrokerId(1)].into());
        assert_eq!(lacks, expected, "{of_one} and {of_other}");
    }
}

#[test]
fn only_the_brokers_to_fill_get_anything() {
    let replicas: Vec<&[i32]> = vec![&[0]; 12];
    let mut cluster = Cluster::new(&["a"; 4], &replicas);
    cluster.settle(&Mode::Fill { to: [BrokerId(3)].into() });
    assert_eq!(counts(&cluster), [9, 0, 0, 3]);
}

#[test]
fn leaders_become_even_without_a_copy() {
    let replicas: Vec<&[i32]> = [&[0, 1, 2][..], &[0, 2, 1]].repeat(6);
    let mut cluster = Cluster::new(&["a", "b", "c"], &replicas);
    let partitions = cluster.partitions();
    let plan = balance(&cluster.brokers, &partitions, &Mode::Leaders, &Budget::default(), 7);
    assert_eq!((plan.whole.moves, plan.whole.bytes), (0, 0));
    assert!(plan.whole.brokers.iter().all(|broker| broker.replicas == PlannedChange { before: 12, after: 12 }));
    cluster.settle(&Mode::Leaders);
    assert!(leads(&cluster).iter().all(|count| (3..=5).contains(count)), "{:?}", leads(&cluster));
    assert_eq!(counts(&cluster), [12, 12, 12]);
}

#[test]
fn replicas_that_share_a_rack_are_separated_if_there_is_another() {
    for (story, racks, replicas, after) in [
        ("another rack is free", &["a", "a", "b"][..], &[0, 1][..], Some(2)),
        ("there is one rack", &["a", "a", "a"], &[0, 1], None),
        ("two racks for three", &["a", "a", "b"], &[0, 1, 2], None),
    ] {
        let mut cluster = Cluster::new(racks, &[replicas]);
        cluster.settle(&Mode::Full);
        let now = cluster.replicas().remove(0);
        match after {
            Some(broker) => assert!(now.contains(&broker), "{story}: {now:?}"),
            None => assert_eq!(now.len(), replicas.len(), "{story}"),
        }
        let different = |ids: &[i32]| ids.iter().map(|id| racks[*id as usize]).collect::<BTreeSet<_>>().len();
        assert!(different(&now) >= different(replicas), "{story}: {now:?}");
    }
}

#[test]
fn large_replicas_are_exchanged_for_small_ones_where_the_number_of_replicas_is_even() {
    let replicas: Vec<&[i32]> = [vec![&[1][..]; 10], vec![&[0][..]; 10]].concat();
    let mut cluster = Cluster::new(&["a"; 2], &replicas);
    cluster.large_from = 10;
    cluster.settle(&Mode::Full);
    let bytes = |broker: i32| {
        let here = cluster.entries.iter().filter(|entry| entry.replicas == ids(&[broker]));
        here.map(|entry| if entry.partition >= 10 { 1_000 } else { 100 }).sum::<i32>()
    };
    assert!((9..=11).contains(&counts(&cluster)[0]), "{:?}", counts(&cluster));
    assert!((4_950..=6_050).contains(&bytes(0)), "{} and {}", bytes(0), bytes(1));
}

#[test]
fn what_a_user_placed_stays() {
    let replicas: Vec<&[i32]> = vec![&[0]; 12];
    let mut cluster = Cluster::new(&["a"; 2], &replicas);
    cluster.pinned = (0..12).collect();
    assert_eq!(cluster.settle(&Mode::Full), 0);
    assert_eq!(cluster.blocked(&Mode::Full), []);
}

#[test]
fn a_full_disk_is_relieved_and_moves_to_it_are_cancelled() {
    let replicas: Vec<&[i32]> = vec![&[0]; 10];
    for (story, capacity, used, left) in [
        ("100 of 1,000 bytes each: full", 1_000, 1_000, 8),
        ("90 % is not full", 1_112, 1_000, 10),
        ("what is not of replicas counts", 2_000, 1_900, 7),
    ] {
        let mut cluster = Cluster::new(&["a"; 2], &replicas).of_capacity(0, capacity).of_capacity(1, 10_000);
        cluster.brokers[0].used = Some(used);
        cluster.begin(&Mode::Evacuate, &Budget { into_broker: 100, out_of_broker: 100, total: 100 });
        let left_of = |entry: &&Assignment| entry.target() == [BrokerId(0)];
        assert_eq!(cluster.entries.iter().filter(left_of).count(), left, "{story}");
    }
    let mut cluster = Cluster::new(&["a"; 3], &[&[0]]).of_capacity(1, 1_000);
    cluster.entries[0] = cluster.entries[0].start_reassignment(&ids(&[1])).unwrap();
    cluster.brokers[1].used = Some(1_000);
    cluster.begin(&Mode::Evacuate, &Budget::default());
    assert_eq!(cluster.replicas(), [[0]]);
}

#[test]
fn capacity_decides_how_much_is_even() {
    let replicas: Vec<&[i32]> = vec![&[0]; 30];
    let mut cluster = Cluster::new(&["a"; 2], &replicas).of_capacity(0, 10_000).of_capacity(1, 20_000);
    cluster.settle(&Mode::Full);
    let counts = counts(&cluster);
    assert!((9..=11).contains(&counts[0]), "{counts:?}");
}
