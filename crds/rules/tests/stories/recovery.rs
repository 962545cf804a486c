//! Lost disks, elections without a whole in-sync replica, and logs that can't be read.

use expect_test::expect;

use crate::story::Story;

#[test]
fn a_follower_returns_with_an_empty_disk() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    story.high_watermark_is(100);
    story.returns_empty(2);
    // Its member of the ISR is void: what the broker had acknowledged is gone.
    story.operator_acts();
    story.leader_expands(2, 40);
    story.leader_expands(2, 100);
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        the high watermark is 100
        broker 2 returns without its records: it has a new incarnation
        the operator acts
            leader 0 in epoch 0 (change 1), replicas 0 1 2, ISR 0a 1a
        leader 0: broker 2 has fetched up to offset 40
            refused: the replica has not caught up, or has not reported, in this leader epoch
        leader 0: broker 2 has fetched up to offset 100
            leader 0 in epoch 0 (change 2), replicas 0 1 2, ISR 0a 1a 2b
    "#]]);
}

#[test]
fn a_leader_returns_with_an_empty_disk() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    story.high_watermark_is(100);
    story.returns_empty(0);
    story.operator_acts();
    story.leader_expands(0, 100);
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        the high watermark is 100
        broker 0 returns without its records: it has a new incarnation
        the operator acts
            leader 1 in epoch 1 (change 1), replicas 0 1 2, ISR 1a 2a
        leader 1: broker 0 has fetched up to offset 100
            leader 1 in epoch 1 (change 2), replicas 0 1 2, ISR 1a 2a 0b
    "#]]);
}

#[test]
fn every_member_lost_data_and_the_longest_log_leads() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    for broker in [0, 1, 2] {
        story.returns_empty(broker);
    }
    story.operator_acts();
    story.waits();
    story.reports(0, 0, 70);
    story.operator_acts();
    story.reports(1, 0, 95);
    story.reports(2, -1, 0);
    story.operator_acts();
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        broker 0 returns without its records: it has a new incarnation
        broker 1 returns without its records: it has a new incarnation
        broker 2 returns without its records: it has a new incarnation
        the operator acts
            no leader in epoch 1 (change 1), replicas 0 1 2, ISR 0a 1a 2a
        the partition is waiting for brokers [0, 1, 2]
        broker 0 reports that its log ends at offset 70, in epoch 0
            no leader in epoch 1 (change 2), replicas 0 1 2, ISR 0a 1a 2a, 0b reported epoch 0 offset 70
        the operator has nothing to do
        broker 1 reports that its log ends at offset 95, in epoch 0
            no leader in epoch 1 (change 3), replicas 0 1 2, ISR 0a 1a 2a, 0b reported epoch 0 offset 70, 1b reported epoch 0 offset 95
        broker 2 reports that its log ends at offset 0, in epoch -1
            no leader in epoch 1 (change 4), replicas 0 1 2, ISR 0a 1a 2a, 0b reported epoch 0 offset 70, 1b reported epoch 0 offset 95, 2b reported epoch -1 offset 0
        the operator acts
            leader 1 in epoch 2 (change 5), replicas 0 1 2, ISR 1b
    "#]]);
}

#[test]
fn an_administrator_accepts_the_loss_of_a_dead_broker() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    story.dies(2);
    story.operator_acts();
    story.dies(1);
    story.dies(0);
    story.operator_acts();
    story.returns(2);
    story.operator_acts();
    story.waits();
    let epoch = story.entry.leader_epoch.0;
    story.administrator_orders(2, epoch);
    story.reports(2, 0, 60);
    story.administrator_orders(2, epoch - 1);
    story.administrator_orders(2, epoch);
    story.line("the order is still in the KafkaTopic when broker 2 dies");
    story.dies(2);
    story.operator_acts();
    story.administrator_orders(2, epoch);
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        broker 2 dies
        the operator acts
            leader 0 in epoch 0 (change 1), replicas 0 1 2, ISR 0a 1a
        broker 1 dies
        broker 0 dies
        the operator acts
            no leader in epoch 1 (change 2), replicas 0 1 2, ISR 0a 1a
        broker 2 returns with its disk
        the operator has nothing to do
        the partition is waiting for brokers [0, 1]
        spec.recovery orders: broker 2 leads, for leader epoch 1
            refused: the replica has not caught up, or has not reported, in this leader epoch
        broker 2 reports that its log ends at offset 60, in epoch 0
            no leader in epoch 1 (change 3), replicas 0 1 2, ISR 0a 1a, 2a reported epoch 0 offset 60
        spec.recovery orders: broker 2 leads, for leader epoch 0
            refused: the order or report is for another leader epoch
        spec.recovery orders: broker 2 leads, for leader epoch 1
            leader 2 in epoch 2 (change 4), replicas 0 1 2, ISR 2a
        the order is still in the KafkaTopic when broker 2 dies
        broker 2 dies
        the operator acts
            no leader in epoch 3 (change 5), replicas 0 1 2, ISR 2a
        spec.recovery orders: broker 2 leads, for leader epoch 1
            refused: the order or report is for another leader epoch
    "#]]);
}

#[test]
fn a_leader_can_not_read_its_log() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    story.high_watermark_is(100);
    story.can_not_read_its_log(0, 0);
    story.operator_acts();
    story.can_not_read_its_log(0, 0);
    story.leader_expands(0, 100);
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        the high watermark is 100
        broker 0 can't read its log, with which it acted last in epoch 0, and disowns it
            no leader in epoch 1 (change 1), replicas 0 1 2, ISR 0- 1a 2a
        the operator acts
            leader 1 in epoch 2 (change 2), replicas 0 1 2, ISR 1a 2a
        broker 0 can't read its log, with which it acted last in epoch 0, and copies it from the leader
        leader 1: broker 0 has fetched up to offset 100
            leader 1 in epoch 2 (change 3), replicas 0 1 2, ISR 1a 2a 0a
    "#]]);
}
