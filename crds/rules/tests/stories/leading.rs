//! Creation, and who leads when brokers die, drain and return.

use expect_test::expect;

use crate::story::Story;

#[test]
fn a_partition_is_created_while_a_broker_is_dead() {
    // The first live replica leads. The dead one is not in sync: it has nothing yet.
    let mut story = Story::created(&[2, 0, 1], &[0, 1, 3]);
    story.operator_acts();
    story.returns(2);
    story.leader_expands(2, 0);
    story.operator_prefers();
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [2, 0, 1]; live are [0, 1, 3]
            leader 0 in epoch 0 (change 0), replicas 2 0 1, ISR 0a 1a
        the operator has nothing to do
        broker 2 returns with its disk
        leader 0: broker 2 has fetched up to offset 0
            leader 0 in epoch 0 (change 1), replicas 2 0 1, ISR 0a 1a 2a
        the operator returns the leadership to the first replica
            leader 2 in epoch 1 (change 2), replicas 2 0 1, ISR 0a 1a 2a
    "#]]);
}

#[test]
fn a_leader_dies_and_returns_as_a_follower() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    story.high_watermark_is(100);
    story.dies(0);
    story.operator_acts();
    story.operator_acts();
    story.returns(0);
    // It has truncated its log where it differs from the new leader's, and copied what it lacks.
    story.leader_expands(0, 100);
    story.operator_prefers();
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        the high watermark is 100
        broker 0 dies
        the operator acts
            leader 1 in epoch 1 (change 1), replicas 0 1 2, ISR 1a 2a
        the operator has nothing to do
        broker 0 returns with its disk
        leader 1: broker 0 has fetched up to offset 100
            leader 1 in epoch 1 (change 2), replicas 0 1 2, ISR 1a 2a 0a
        the operator returns the leadership to the first replica
            leader 0 in epoch 2 (change 3), replicas 0 1 2, ISR 1a 2a 0a
    "#]]);
}

#[test]
fn dead_members_stay_in_the_isr_at_its_floor() {
    // With min.insync.replicas 2, records are acknowledged on two brokers: one of them must stay named.
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    story.dies(2);
    story.operator_acts();
    story.dies(1);
    story.operator_acts();
    story.dies(0);
    story.operator_acts();
    story.waits();
    // Broker 2 may lack records that 0 and 1 acknowledged without it: only a member of the ISR may lead.
    story.returns(2);
    story.operator_acts();
    story.returns(1);
    story.operator_acts();
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        broker 2 dies
        the operator acts
            leader 0 in epoch 0 (change 1), replicas 0 1 2, ISR 0a 1a
        broker 1 dies
        the operator has nothing to do
        broker 0 dies
        the operator acts
            no leader in epoch 1 (change 2), replicas 0 1 2, ISR 0a 1a
        the partition is waiting for brokers [0, 1]
        broker 2 returns with its disk
        the operator has nothing to do
        broker 1 returns with its disk
        the operator acts
            leader 1 in epoch 2 (change 3), replicas 0 1 2, ISR 0a 1a
    "#]]);
}

#[test]
fn a_draining_leader_hands_over() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    story.drains(0);
    story.operator_acts();
    story.operator_prefers();
    story.dies(0);
    story.returns(0);
    story.leader_expands(0, 0);
    story.operator_prefers();
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        broker 0 is draining
        the operator acts
            leader 1 in epoch 1 (change 1), replicas 0 1 2, ISR 1a 2a
        the operator returns the leadership to the first replica
            refused: the broker is not in the ISR
        broker 0 dies
        broker 0 returns with its disk
        leader 1: broker 0 has fetched up to offset 0
            leader 1 in epoch 1 (change 2), replicas 0 1 2, ISR 1a 2a 0a
        the operator returns the leadership to the first replica
            leader 0 in epoch 2 (change 3), replicas 0 1 2, ISR 1a 2a 0a
    "#]]);
}
