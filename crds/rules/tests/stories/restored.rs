//! The API server is restored from a backup: an older entry, or another history, is shown.

use expect_test::expect;
use ottla_rules::assignment::{Assignment, BrokerId};

use crate::story::{Story, shown};

/// What broker 1, which leads by the entry `known`, does about the entry that it is shown.
fn is_shown(story: &mut Story, known: &Assignment, entry: &Assignment) {
    let incarnation = story.incarnation(1);
    let leads = entry.may_lead(BrokerId(1), incarnation, Some(known.epochs()));
    story.line(&format!("broker 1 is shown: {}", shown(entry)));
    story.line(&format!("    beside the entry that it acts on: {:?}; leads by it: {leads}", entry.age(known)));
}

#[test]
fn brokers_ignore_an_entry_from_a_backup() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    let backup = story.entry.clone();
    story.dies(0);
    story.operator_acts();
    let known = story.entry.clone();
    is_shown(&mut story, &known, &known);
    story.line("the API server is set back to the entry before the election");
    is_shown(&mut story, &known, &backup);
    story.line("broker 1 writes the entry that it knows back, and keeps leading");
    story.leader_shrinks(2, 31);
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        broker 0 dies
        the operator acts
            leader 1 in epoch 1 (change 1), replicas 0 1 2, ISR 1a 2a
        broker 1 is shown: leader 1 in epoch 1 (change 1), replicas 0 1 2, ISR 1a 2a
            beside the entry that it acts on: Same; leads by it: true
        the API server is set back to the entry before the election
        broker 1 is shown: leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
            beside the entry that it acts on: Older; leads by it: false
        broker 1 writes the entry that it knows back, and keeps leading
        leader 1: broker 2 has not been at the log end for 31 s
            refused: the ISR would fall below its floor of 2
    "#]]);
}

#[test]
fn a_change_on_top_of_a_backup_is_a_fork() {
    let mut story = Story::created(&[0, 1, 2], &[0, 1, 2, 3]);
    let backup = story.entry.clone();
    story.dies(0);
    story.operator_acts();
    let known = story.entry.clone();
    story.line("the API server is set back, and the operator acts before a broker has compared the entries");
    story.entry = backup;
    story.returns(0);
    story.dies(1);
    story.operator_acts();
    let fork = story.entry.clone();
    is_shown(&mut story, &known, &fork);
    story.line("the histories have parted: broker 1 keeps its own, and a person decides");
    story.ends_as(&expect![[r#"
        the operator creates the partition on brokers [0, 1, 2]; live are [0, 1, 2, 3]
            leader 0 in epoch 0 (change 0), replicas 0 1 2, ISR 0a 1a 2a
        broker 0 dies
        the operator acts
            leader 1 in epoch 1 (change 1), replicas 0 1 2, ISR 1a 2a
        the API server is set back, and the operator acts before a broker has compared the entries
        broker 0 returns with its disk
        broker 1 dies
        the operator acts
            leader 0 in epoch 0 (change 1), replicas 0 1 2, ISR 0a 2a
        broker 1 is shown: leader 0 in epoch 0 (change 1), replicas 0 1 2, ISR 0a 2a
            beside the entry that it acts on: Forked; leads by it: false
        the histories have parted: broker 1 keeps its own, and a person decides
    "#]]);
}
