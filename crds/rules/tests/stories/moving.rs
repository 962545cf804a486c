//! Replicas move to other brokers, and leave with a deleted topic.

use expect_test::expect;
use ottla_rules::assignment::BrokerId;

use crate::story::Story;

#[test]
fn a_partition_moves_and_its_leader_with_it() {
    let mut story = Story::created(&[0, 1], &[0, 1, 2, 3]);
    story.high_watermark_is(100);
    story.operator_moves_to(&[2, 3]);
    story.operator_acts();
    story.leader_expands(2, 100);
    story.operator_acts();
    story.leader_expands(3, 100);
    // All targets are in sync: the old replicas leave in one change, with a new leader epoch.
    story.operator_acts();
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1, ISR 0a 1a
        the high watermark is 100
        the operator moves the partition to brokers [2, 3]
            leader 0 in epoch 0 (change 1), replicas 2 3 0 1, adding 2 3, removing 0 1, ISR 0a 1a
        the operator has nothing to do
        leader 0: broker 2 has fetched up to offset 100
            leader 0 in epoch 0 (change 2), replicas 2 3 0 1, adding 2 3, removing 0 1, ISR 0a 1a 2a
        the operator has nothing to do
        leader 0: broker 3 has fetched up to offset 100
            leader 0 in epoch 0 (change 3), replicas 2 3 0 1, adding 2 3, removing 0 1, ISR 0a 1a 2a 3a
        the operator acts
            leader 2 in epoch 1 (change 4), replicas 2 3, ISR 2a 3a
    "#]]);
}

#[test]
fn a_move_is_cancelled() {
    let mut story = Story::created(&[0, 1], &[0, 1, 2, 3]);
    story.operator_moves_to(&[1, 2]);
    story.operator_moves_to(&[1, 3]);
    story.dies(0);
    story.operator_acts();
    // Only broker 1 of the old replicas is valid, and the floor is 2.
    story.operator_cancels_the_move();
    story.returns(0);
    story.operator_cancels_the_move();
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1, ISR 0a 1a
        the operator moves the partition to brokers [1, 2]
            leader 0 in epoch 0 (change 1), replicas 1 2 0, adding 2, removing 0, ISR 0a 1a
        the operator moves the partition to brokers [1, 3]
            refused: a reassignment is in progress
        broker 0 dies
        the operator acts
            leader 1 in epoch 1 (change 2), replicas 1 2 0, adding 2, removing 0, ISR 0a 1a
        the operator cancels the move
            refused: the ISR would fall below its floor of 2
        broker 0 returns with its disk
        the operator cancels the move
            leader 1 in epoch 2 (change 3), replicas 1 0, ISR 0a 1a
    "#]]);
}

#[test]
fn a_deleted_topic_loses_its_replicas_one_by_one() {
    let mut story = Story::created(&[0, 1], &[0, 1, 2, 3]);
    story.line("the object has its tombstone, and broker 0 has removed its files");
    let next = story.entry.forget(BrokerId(0));
    story.change("broker 0 removes itself", next);
    let next = story.entry.forget(BrokerId(1));
    story.change("broker 1 removes itself", next);
    story.line("no entry names a replica: the operator deletes the object");
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1, ISR 0a 1a
        the object has its tombstone, and broker 0 has removed its files
        broker 0 removes itself
            no leader in epoch 1 (change 1), replicas 1, ISR 1a
        broker 1 removes itself
            no leader in epoch 2 (change 2), replicas none, ISR none
        no entry names a replica: the operator deletes the object
    "#]]);
}
