//! One partition and its brokers, and the transcript of what happens to them.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use expect_test::Expect;
use ottla_rules::{
    assignment::{
        Assignment, BrokerId, Follower, Incarnation, IsrMember, Leader, LeaderEpoch, Live, LiveBroker, RecoveryOrder,
        RecoveryReport, Refusal, Remedy,
    },
    plan::election,
};

pub const MIN_IN_SYNC: usize = 2;
/// `replica.lag.time.max.ms`.
pub const LAG_TIME_MAX: Duration = Duration::from_secs(30);

pub struct Story {
    pub entry: Assignment,
    pub live: Live,
    /// The incarnation that each broker's disk has now, also while the broker is dead: 1, 2, …
    incarnations: BTreeMap<BrokerId, i64>,
    /// The leader's high watermark, at which its leader epoch also starts.
    high_watermark: i64,
    transcript: String,
}

impl Story {
    /// The operator creates a partition while these brokers are live.
    pub fn created(replicas: &[i32], live: &[i32]) -> Story {
        let incarnations: BTreeMap<BrokerId, i64> = (0..4).map(|id| (BrokerId(id), 1)).collect();
        let live: Live = live.iter().map(|id| (BrokerId(*id), live_with(1))).collect();
        let entry = Assignment::create(0, ids(replicas), &live).unwrap();
        let mut story = Story { entry, live, incarnations, high_watermark: 0, transcript: String::new() };
        let brokers: Vec<i32> = story.live.keys().map(|id| id.0).collect();
        story.line(&format!("the operator creates the partition on brokers {replicas:?}; live are {brokers:?}"));
        story.show();
        story
    }

    pub fn ends_as(&self, transcript: &Expect) {
        transcript.assert_eq(&self.transcript);
    }

    /// A line about something that changes nothing in the entry.
    pub fn line(&mut self, text: &str) {
        writeln!(self.transcript, "{text}").unwrap();
    }

    fn show(&mut self) {
        let text = shown(&self.entry);
        self.line(&format!("    {text}"));
    }

    /// Somebody applies a transition: the line says who and what, and the next one what came of it.
    pub fn change(&mut self, text: &str, outcome: Result<Assignment, Refusal>) {
        self.line(text);
        match outcome {
            Ok(next) => {
                self.entry = next;
                self.show();
            }
            Err(refusal) => self.line(&format!("    refused: {refusal}")),
        }
    }

    pub fn dies(&mut self, broker: i32) {
        self.live.remove(&BrokerId(broker));
        self.line(&format!("broker {broker} dies"));
    }

    pub fn returns(&mut self, broker: i32) {
        self.live.insert(BrokerId(broker), live_with(self.incarnations[&BrokerId(broker)]));
        self.line(&format!("broker {broker} returns with its disk"));
    }

    pub fn returns_empty(&mut self, broker: i32) {
        let incarnation = self.incarnations.get_mut(&BrokerId(broker)).unwrap();
        *incarnation += 1;
        self.live.insert(BrokerId(broker), live_with(*incarnation));
        self.line(&format!("broker {broker} returns without its records: it has a new incarnation"));
    }

    pub fn drains(&mut self, broker: i32) {
        self.live.get_mut(&BrokerId(broker)).unwrap().draining = true;
        self.line(&format!("broker {broker} is draining"));
    }

    /// The operator takes its next step for this partition, if there is one.
    pub fn operator_acts(&mut self) {
        match election::elect(std::slice::from_ref(&self.entry), &self.live, MIN_IN_SYNC).pop() {
            Some(next) => self.change("the operator acts", Ok(next)),
            None => self.line("the operator has nothing to do"),
        }
    }

    /// The operator returns the leadership to the preferred replica.
    pub fn operator_prefers(&mut self) {
        let outcome = self.entry.prefer(&self.live);
        self.change("the operator returns the leadership to the first replica", outcome);
    }

    /// The leader as it knows itself.
    pub fn leader(&self) -> Leader {
        let broker = self.entry.leader.unwrap();
        Leader {
            broker,
            incarnation: self.incarnation(broker.0),
            leader_epoch: self.entry.leader_epoch,
            epoch_start: self.high_watermark,
            high_watermark: self.high_watermark,
            log_start: 0,
            write_in_flight: false,
        }
    }

    pub fn high_watermark_is(&mut self, offset: i64) {
        self.high_watermark = offset;
        self.line(&format!("the high watermark is {offset}"));
    }

    /// The leader asks to remove a follower that was last at its log end so long ago.
    pub fn leader_shrinks(&mut self, follower: i32, seconds: u64) {
        let behind_for = Duration::from_secs(seconds);
        let leader = self.leader();
        let outcome = self.entry.shrink(&leader, BrokerId(follower), behind_for, LAG_TIME_MAX, MIN_IN_SYNC);
        self.change(
            &format!("leader {}: broker {follower} has not been at the log end for {seconds} s", leader.broker),
            outcome,
        );
    }

    /// The leader asks to add a follower that has fetched up to this offset in the present leader epoch.
    pub fn leader_expands(&mut self, follower: i32, log_end: i64) {
        let (leader, incarnation) = (self.leader(), self.incarnation(follower));
        let leader_epoch = leader.leader_epoch;
        let broker = BrokerId(follower);
        let fetch = Follower { broker, incarnation, leader_epoch, log_end, log_start: 0, leaving: false };
        let outcome = self.entry.expand(&leader, &fetch);
        self.change(
            &format!("leader {}: broker {follower} has fetched up to offset {log_end}", leader.broker),
            outcome,
        );
    }

    /// A replica reports its log while the partition has no leader.
    pub fn reports(&mut self, broker: i32, last_epoch: i32, log_end: i64) {
        let (id, incarnation) = (BrokerId(broker), self.incarnation(broker));
        let report = RecoveryReport {
            broker: id,
            incarnation,
            last_epoch: LeaderEpoch(last_epoch),
            log_end,
            log_start: Some(0),
        };
        let outcome = self.entry.report(self.entry.leader_epoch, report);
        self.change(
            &format!("broker {broker} reports that its log ends at offset {log_end}, in epoch {last_epoch}"),
            outcome,
        );
    }

    /// An administrator orders an unclean election, and the operator obeys or refuses.
    pub fn administrator_orders(&mut self, broker: i32, leader_epoch: i32) {
        let order = RecoveryOrder { partition: 0, leader_epoch: LeaderEpoch(leader_epoch), broker: BrokerId(broker) };
        let outcome = self.entry.obey(&order, &self.live);
        self.change(&format!("spec.recovery orders: broker {broker} leads, for leader epoch {leader_epoch}"), outcome);
    }

    /// Whom the partition waits for while it has no leader.
    pub fn waits(&mut self) {
        let brokers: Vec<i32> = self.entry.waits_for(&self.live).iter().map(|id| id.0).collect();
        self.line(&format!("the partition is waiting for brokers {brokers:?}"));
    }

    /// A broker can't read its log, which had a role last in this leader epoch.
    pub fn can_not_read_its_log(&mut self, broker: i32, acted_in: i32) {
        let text = format!("broker {broker} can't read its log, with which it acted last in epoch {acted_in}");
        match self.entry.remedy(BrokerId(broker), self.incarnation(broker), LeaderEpoch(acted_in)) {
            Remedy::Disown(next) => self.change(&format!("{text}, and disowns it"), Ok(next)),
            Remedy::CopyAnew => self.line(&format!("{text}, and copies it from the leader")),
            Remedy::Wait => self.line(&format!("{text}, and waits")),
        }
    }

    pub fn operator_moves_to(&mut self, replicas: &[i32]) {
        let outcome = self.entry.start_reassignment(&ids(replicas));
        self.change(&format!("the operator moves the partition to brokers {replicas:?}"), outcome);
    }

    pub fn operator_cancels_the_move(&mut self) {
        let outcome = self.entry.cancel_reassignment(&self.live, MIN_IN_SYNC);
        self.change("the operator cancels the move", outcome);
    }

    pub fn incarnation(&self, broker: i32) -> Incarnation {
        Incarnation(self.incarnations[&BrokerId(broker)])
    }
}

fn live_with(incarnation: i64) -> LiveBroker {
    LiveBroker { incarnation: Incarnation(incarnation), draining: false }
}

pub fn ids(brokers: &[i32]) -> Vec<BrokerId> {
    brokers.iter().copied().map(BrokerId).collect()
}

/// An entry in one line.
pub fn shown(entry: &Assignment) -> String {
    let Assignment { partition: _, replicas, adding, removing, leader, .. } = entry;
    let Assignment { leader_epoch, partition_epoch, isr, reports, log_start, .. } = entry;
    let leader = leader.map_or("no leader".to_owned(), |leader| format!("leader {leader}"));
    let mut text = format!("{leader} in epoch {leader_epoch} (change {partition_epoch}), replicas {}", list(replicas));
    for (name, brokers) in [("adding", adding), ("removing", removing)] {
        if !brokers.is_empty() {
            write!(text, ", {name} {}", list(brokers)).unwrap();
        }
    }
    let isr: Vec<String> = isr.iter().map(|member| member_shown(*member)).collect();
    write!(text, ", ISR {}", if isr.is_empty() { "none".to_owned() } else { isr.join(" ") }).unwrap();
    for RecoveryReport { broker, incarnation, last_epoch, log_end, log_start: _ } in reports {
        let member = member_shown(IsrMember { broker: *broker, incarnation: *incarnation });
        write!(text, ", {member} reported epoch {last_epoch} offset {log_end}").unwrap();
    }
    if let Some(log_start) = log_start {
        write!(text, ", its log begins at offset {log_start}").unwrap();
    }
    text
}

fn list(brokers: &[BrokerId]) -> String {
    let brokers: Vec<String> = brokers.iter().map(BrokerId::to_string).collect();
    if brokers.is_empty() { "none".to_owned() } else { brokers.join(" ") }
}

/// Broker 2 with its first incarnation is `2a`.
fn member_shown(member: IsrMember) -> String {
    let letter = match member.incarnation {
        Incarnation::NONE => '-',
        Incarnation(number) => char::from(b'a' + u8::try_from(number - 1).unwrap()),
    };
    format!("{}{letter}", member.broker)
}
