//! A broker can't read its log: the others continue, and give it what it lacks.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ottla_broker::image::{BrokerId, Incarnation, LeaderEpoch};
use ottla_log::disk::DiskChange;
use ottla_log::disk::simulated::stand_in_below;
use ottla_rules::assignment::{Live, LiveBroker};

use crate::cluster::{Cluster, life, member, until};

/// A bit flips in the first header of each of a broker's segments, which had been on the device; its process is killed
/// and starts again.
async fn damage(cluster: &mut Cluster, id: i32) {
    cluster.stop(id).await;
    for segment in segments(cluster, id) {
        let mut bytes = fs::read(&segment).unwrap();
        bytes[8] ^= 0x40; // the batch's length
        fs::write(&segment, bytes).unwrap();
    }
    cluster.run(id, life(id), true).await;
}

fn segment(cluster: &Cluster, id: i32) -> PathBuf {
    cluster.dir(id).join("t-0/00000000000000000000.log")
}

fn segments(cluster: &Cluster, id: i32) -> Vec<PathBuf> {
    let files = fs::read_dir(cluster.dir(id).join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

/// The bytes of quarantined segments.
fn aside(cluster: &Cluster, id: i32) -> Vec<Vec<u8>> {
    let folders = fs::read_dir(cluster.dir(id)).unwrap().map(|entry| entry.unwrap().path());
    let strays = folders.filter(|folder| folder.to_str().unwrap().ends_with("-stray"));
    strays.map(|stray| fs::read(stray.join("00000000000000000000.log")).unwrap()).collect()
}

/// What the operator does when it sees all three brokers alive.
fn heal(cluster: &Cluster) {
    let broker = |id| (BrokerId(id), LiveBroker { incarnation: Incarnation(life(id)), draining: false });
    let live: Live = BTreeMap::from([0, 1, 2].map(broker));
    cluster.change(|objects| {
        if let Ok(healed) = objects.assignment.heal(&live, 2) {
            objects.assignment = healed;
        }
    });
}

#[tokio::test]
async fn a_leader_that_can_not_read_its_log_hands_over_and_copies_it_again() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["kept"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    damage(&mut cluster, 0).await;
    let damaged = fs::read(segment(&cluster, 0)).unwrap();
    until("it says so", || cluster.objects.lock().assignment.leader.is_none()).await;
    assert_eq!(cluster.isr().len(), 3, "nobody falls below the floor");
    assert!(aside(&cluster, 0).is_empty(), "nobody leads yet: nothing is quarantined");

    heal(&cluster);
    let leader = cluster.objects.lock().assignment.leader;
    assert_eq!((leader, cluster.isr()), (Some(BrokerId(1)), vec![member(1, life(1)), member(2, life(2))]));
    cluster.produce(1, &["next"]).await;
    until("it is back in sync", || cluster.isr().contains(&member(0, life(0)))).await;
    cluster.all_alike(&[0, 1, 2]).await;
    assert_eq!(aside(&cluster, 0), [damaged]);
    cluster.elect(0);
    cluster.produce(0, &["last"]).await;
    assert_eq!(cluster.seen(0).await, ["kept", "next", "last"]);
}

/// While the broker is down somebody removes what a log holds; the directory is the same otherwise.
#[tokio::test]
async fn a_leader_whose_log_lost_its_tail_or_its_folder_hands_over_and_copies_it_again() {
    let tail: fn(&Cluster) = |cluster| {
        let kept = cluster.log(0).len() / 2;
        fs::write(segment(cluster, 0), &cluster.log(0)[..kept]).unwrap();
    };
    let folder: fn(&Cluster) = |cluster| fs::remove_dir_all(cluster.dir(0).join("t-0")).unwrap();
    for (what, lose) in [("tail", tail), ("folder", folder)] {
        let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
        for value in ["one", "two"] {
            cluster.produce(0, &[value]).await;
        }
        cluster.all_alike(&[0, 1, 2]).await;
        cluster.stop(0).await;
        lose(&cluster);
        cluster.run(0, life(0), true).await;
        until("it says so", || cluster.objects.lock().assignment.leader.is_none()).await;
        heal(&cluster);
        let leader = cluster.objects.lock().assignment.leader;
        assert_eq!(
            (leader, cluster.isr()),
            (Some(BrokerId(1)), vec![member(1, life(1)), member(2, life(2))]),
            "{what}"
        );
        cluster.produce(1, &["next"]).await;
        until("it is back in sync", || cluster.isr().contains(&member(0, life(0)))).await;
        cluster.all_alike(&[0, 1, 2]).await;
        cluster.elect(0);
        cluster.produce(0, &["last"]).await;
        assert_eq!(cluster.seen(0).await, ["one", "two", "next", "last"], "{what}");
    }
}

/// It is not in sync, but may be about to be: its leader has heard how far it had got.
#[tokio::test]
async fn a_follower_whose_folder_is_gone_joins_in_a_new_leader_epoch() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.leave_open_whether_2_is_in_sync().await;
    until("it knows what is committed", || {
        cluster.brokers[&2].broker.replicas().all().iter().any(|partition| partition.high_watermark.get() == 1)
    })
    .await;
    cluster.stop(2).await;
    let known = fs::read_to_string(cluster.dir(2).join("replication-offset-checkpoint")).unwrap();
    assert!(known.contains("t 0 1"), "{known}");
    fs::remove_dir_all(cluster.dir(2).join("t-0")).unwrap();
    joins_in_a_new_leader_epoch(&mut cluster).await;
}

/// Broker 2 comes back without what it had.
async fn joins_in_a_new_leader_epoch(cluster: &mut Cluster) {
    cluster.objects.lock().grants = true;
    let epoch = cluster.objects.lock().assignment.leader_epoch;
    cluster.run(2, life(2), true).await;
    until("it is in sync", || cluster.isr().contains(&member(2, life(2)))).await;
    assert!(cluster.objects.lock().assignment.leader_epoch > epoch, "what it had before does not count");
    cluster.all_alike(&[0, 2]).await;
}

/// The same where it never heard that what it lacks is committed.
#[tokio::test]
async fn a_follower_that_lacks_what_it_had_flushed_joins_in_a_new_leader_epoch() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.leave_open_whether_2_is_in_sync().await;
    cluster.stop(2).await;
    fs::write(cluster.dir(2).join("replication-offset-checkpoint"), "0\n1\nt 0 0\n").unwrap();
    fs::write(segment(&cluster, 2), "").unwrap();
    joins_in_a_new_leader_epoch(&mut cluster).await;
}

#[tokio::test]
async fn an_in_sync_follower_that_can_not_read_its_log_copies_it_again_at_the_floor_too() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "3")]).await;
    cluster.produce(0, &["kept"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    damage(&mut cluster, 2).await;
    until("it is back in sync", || {
        let objects = cluster.objects.lock();
        objects.assignment.leader_epoch == LeaderEpoch(1) && objects.assignment.isr.contains(&member(2, life(2)))
    })
    .await;
    cluster.produce(0, &["next"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    assert_eq!(aside(&cluster, 2).len(), 1);
}

#[tokio::test]
async fn a_log_that_lost_segments_is_not_trusted_up_to_where_it_was_flushed_before() {
    let mut cluster = Cluster::start(&[("segment.bytes", "1048576")]).await;
    let large = "kept".repeat(150 << 10);
    cluster.produce(0, &[&large]).await;
    cluster.produce(0, &[&large]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    assert_eq!(segments(&cluster, 0).len(), 2);
    damage(&mut cluster, 0).await;
    until("it says so", || cluster.objects.lock().assignment.leader.is_none()).await;
    // Nothing can be copied yet.
    cluster.stop(1).await;
    heal(&cluster);
    let epoch = cluster.objects.lock().assignment.leader_epoch;
    until("it is open", || !cluster.brokers[&0].broker.replicas().all().is_empty()).await;
    assert_eq!(cluster.objects.lock().assignment.leader_epoch, epoch, "not one for each segment");
    let recovery_points = fs::read_to_string(cluster.dir(0).join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(recovery_points.lines().last(), Some("t 0 0"));
}

#[tokio::test]
async fn the_only_copy_is_left_where_it_is_until_it_is_mended() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.produce(0, &["precious"]).await;
    for id in [1, 2] {
        cluster.stop(id).await;
    }
    cluster.change(|objects| objects.assignment.isr.retain(|member| member.broker == BrokerId(0)));
    cluster.produce(0, &["too"]).await;
    let whole = fs::read(segment(&cluster, 0)).unwrap();
    damage(&mut cluster, 0).await;
    until("it says so", || cluster.objects.lock().assignment.leader.is_none()).await;
    heal(&cluster);
    let leader = cluster.objects.lock().assignment.leader;
    assert_eq!((leader, cluster.isr().len()), (None, 1), "its entry stays");
    fs::write(segment(&cluster, 0), whole).unwrap();
    until("it is open again", || !cluster.brokers[&0].broker.replicas().all().is_empty()).await;
    assert!(aside(&cluster, 0).is_empty());
    let status = cluster.brokers[&0].broker.replicas().all()[0].status();
    assert_eq!((status.log_end, status.leads), (2, false), "it reports, and is elected for that");
}

#[tokio::test]
async fn a_follower_whose_log_could_not_be_truncated_on_a_full_disk_continues_when_there_is_room() {
    let mut cluster = Cluster::start(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0, &["kept"]).await;
    cluster.all_alike(&[0, 1, 2]).await;
    // The old leader takes one more that nobody else will have.
    cluster.has_leader_0_take_alone(&["lost"]).await;
    cluster.elect(1);
    let partition = || cluster.brokers[&0].broker.replicas().all().first().cloned();
    until("it follows", || partition().is_some_and(|partition| partition.follows().is_some())).await;

    let (full, refused) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_full, count) = (full.clone(), refused.clone());
    let _disk = stand_in_below(&cluster.dir(0).join("t-0"), move |change| {
        let takes_room = matches!(change, DiskChange::Create(_) | DiskChange::Write(_));
        if takes_room && is_full.load(Ordering::SeqCst) {
            count.fetch_add(1, Ordering::SeqCst);
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    });
    cluster.objects.lock().grants = true;
    cluster.run(1, life(1), true).await;
    cluster.run(2, life(2), true).await;
    until("its log is to be cut", || refused.load(Ordering::SeqCst) > 0).await;
    cluster.produce(1, &["next"]).await;
    full.store(false, Ordering::SeqCst);
    cluster.all_alike(&[0, 1, 2]).await;
    until("all are in sync", || cluster.isr().len() == 3).await;
    assert_eq!(cluster.seen(1).await, ["kept", "next"]);
}
