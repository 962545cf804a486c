//! The leader changes the ISR, and the high watermark follows from it.

use std::collections::BTreeMap;

use expect_test::expect;
use ottla_rules::assignment::{BrokerId, IsrMember, Leader, Position, high_watermark, maximal_isr};

use crate::story::{LAG_TIME_MAX, MIN_IN_SYNC, Story};

/// The high watermark of a leader whose log ends at 120 and whose followers have fetched up to these offsets.
fn moves_to(story: &Story, isr: &[IsrMember], followers: &[(i32, i64)]) -> i64 {
    let position = |(broker, fetched_to): &(i32, i64)| {
        (BrokerId(*broker), Position { incarnation: story.incarnation(*broker), fetched_to: *fetched_to })
    };
    let positions: BTreeMap<_, _> = followers.iter().map(position).collect();
    high_watermark(100, 120, BrokerId(0), isr, &positions, MIN_IN_SYNC)
}

#[test]
fn a_follower_falls_behind_and_catches_up() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    story.high_watermark_is(100);
    let offset = moves_to(&story, &story.entry.isr, &[(1, 120), (2, 105)]);
    story.line(&format!("brokers 1 and 2 have fetched up to 120 and 105: the high watermark is {offset}"));
    story.leader_shrinks(2, 30);
    story.leader_shrinks(2, 31);
    let offset = moves_to(&story, &story.entry.isr, &[(1, 120), (2, 105)]);
    story.line(&format!("without broker 2, the high watermark is {offset}"));
    // Not below the floor: with one member fewer, a record could be acknowledged that only one broker has.
    story.leader_shrinks(1, 31);
    story.high_watermark_is(120);
    story.leader_expands(2, 119);
    story.leader_expands(2, 120);
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        the high watermark is 100
        brokers 1 and 2 have fetched up to 120 and 105: the high watermark is 105
        leader 0: broker 2 has not been at the log end for 30 s
            refused: the follower was at the log end recently
        leader 0: broker 2 has not been at the log end for 31 s
            leader 0 in epoch 0 (change 1), replicas 0 1 2, ISR 0a 1a
        without broker 2, the high watermark is 120
        leader 0: broker 1 has not been at the log end for 31 s
            refused: the ISR would fall below its floor of 2
        the high watermark is 120
        leader 0: broker 2 has fetched up to offset 119
            refused: the replica has not caught up, or has not reported, in this leader epoch
        leader 0: broker 2 has fetched up to offset 120
            leader 0 in epoch 0 (change 2), replicas 0 1 2, ISR 0a 1a 2a
    "#]]);
}

#[test]
fn a_change_of_the_isr_counts_before_its_outcome_is_known() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 3]);
    story.high_watermark_is(100);
    story.returns(2);
    let committed = story.entry.isr.clone();
    story.leader_expands(2, 100);
    let maximal = maximal_isr(&committed, Some(&story.entry.isr));
    let offset = moves_to(&story, &maximal, &[(1, 120), (2, 110)]);
    story.line(&format!("until the leader's image shows the change, members before and after count: {offset}"));
    let second = story.entry.shrink(
        &Leader { write_in_flight: true, ..story.leader() },
        BrokerId(1),
        2 * LAG_TIME_MAX,
        LAG_TIME_MAX,
        MIN_IN_SYNC,
    );
    story.change("the leader asks for a second change meanwhile", second);
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a
        the high watermark is 100
        broker 2 returns with its disk
        leader 0: broker 2 has fetched up to offset 100
            leader 0 in epoch 0 (change 1), replicas 0 1 2, ISR 0a 1a 2a
        until the leader's image shows the change, members before and after count: 110
        the leader asks for a second change meanwhile
            refused: the outcome of an earlier change is not known yet
    "#]]);
}

#[test]
fn an_old_leader_changes_nothing() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    let old = story.leader();
    story.dies(0);
    story.operator_acts();
    let late = story.entry.shrink(&old, BrokerId(2), 2 * LAG_TIME_MAX, LAG_TIME_MAX, MIN_IN_SYNC);
    story.change("broker 0, cut off but running, asks to remove broker 2 from the ISR", late);
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        broker 0 dies
        the operator acts
            leader 1 in epoch 1 (change 1), replicas 0 1 2, ISR 1a 2a
        broker 0, cut off but running, asks to remove broker 2 from the ISR
            refused: the broker does not lead the partition in this epoch with this incarnation
    "#]]);
}
