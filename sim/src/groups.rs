//! What members of groups do in the world: they join, commit, crash, and are replaced, while their coordinator moves.

use anyhow::Result;
use ottla_history::{Operation, Partition as Numbered};

use crate::client::{Asked, Connection, PATIENCE};
use crate::fault::Fault;
use crate::member::{Heard, Member, Protocol, Turn};
use crate::topics::{GROUPS, OFFSETS, PARTITIONS};
use crate::world::World;

/// Members of each.
const MEMBERS: usize = 2;

/// The members of all groups.
pub(crate) struct Members {
    hands: Vec<Hand>,
    lives: u32,
    /// The last offset that anybody has tried to commit, by group and partition.
    last: [[i64; PARTITIONS]; GROUPS.len()],
}

/// A member with its connection to the coordinator.
struct Hand {
    group: usize,
    member: Member,
    connection: Option<Connection>,
    asked: Option<Asked<Turn>>,
}

impl Members {
    pub(crate) fn new() -> Members {
        let mut members = Members { hands: Vec::new(), lives: 0, last: Default::default() };
        for (group, protocol) in [(1, Protocol::Classic), (2, Protocol::Consumer)] {
            for _ in 0..MEMBERS {
                let hand = members.hand(group, protocol);
                members.hands.push(hand);
            }
        }
        members
    }

    fn hand(&mut self, group: usize, protocol: Protocol) -> Hand {
        self.lives += 1;
        let member = Member::new(GROUPS[group], protocol, self.lives);
        Hand { group, member, connection: None, asked: None }
    }
}

impl World {
    /// A member of a group does something, if there is any. Nobody does when all is well again: what was committed is
    /// to be read, and stays.
    pub(crate) fn use_membership(&mut self) {
        let Some(members) = self.members.as_mut().filter(|_| self.faulty) else { return };
        let number = self.random.below(members.hands.len());
        if self.random.happens(5) {
            members.hands[number].member.end();
        }
        if members.hands[number].member.is_over() {
            let Hand { group, connection, .. } = members.hands[number];
            let protocol = if group == 1 { Protocol::Classic } else { Protocol::Consumer };
            members.hands[number] = members.hand(group, protocol);
            if let Some(connection) = connection {
                self.network.give_up(connection.number);
            }
            return self.note(format!("{} has another member", GROUPS[group]));
        }
        if self.awaits_coordinator(number) {
            return;
        }
        let hand = self.members.as_ref().map(|members| members.hands[number].connection);
        let open = hand.flatten().filter(|connection| self.network.is_open(connection.number));
        let Some(connection) = open.or_else(|| self.connect(OFFSETS, None)) else { return };
        let Some(Members { hands, last, .. }) = &mut self.members else { return };
        let hand = &mut hands[number];
        hand.connection = Some(connection);
        let last = &mut last[hand.group];
        let next = |partition: usize| {
            last[partition] += 1;
            last[partition]
        };
        let Some((turn, bytes)) = hand.member.ask(&mut self.random, next) else { return };
        hand.asked = Some(Asked { at: self.now, what: turn });
        if let Turn::Commit { partition, offset } = turn {
            let (group, partition) = (hand.group as u32, Numbered(partition as u32));
            self.checker.records.observe(Operation::CommitInDoubt { group, partition, offset });
        }
        self.network.send(connection.number, &bytes);
    }

    /// Whether a member waits for an answer. If it does so for too long, it looks for another coordinator.
    fn awaits_coordinator(&mut self, number: usize) -> bool {
        let Some(members) = &mut self.members else { return false };
        let hand = &mut members.hands[number];
        let Some(Asked { at, what }) = hand.asked else { return false };
        let open = hand.connection.filter(|connection| self.network.is_open(connection.number));
        // A rebalance may take as long as a member is waited for.
        if open.is_some() && self.now - at < 2 * PATIENCE {
            return true;
        }
        hand.asked = None;
        hand.connection = None;
        if let Turn::Commit { .. } = what {
            hand.member.end();
        }
        if let Some(connection) = open {
            self.network.give_up(connection.number);
        }
        hand.member.is_over()
    }

    /// Members hear what has come for them.
    pub(crate) fn hear_of_memberships(&mut self) -> Result<()> {
        let count = self.members.as_ref().map_or(0, |members| members.hands.len());
        for number in 0..count {
            self.hear_of_membership(number)?;
        }
        Ok(())
    }

    fn hear_of_membership(&mut self, number: usize) -> Result<()> {
        let Some(members) = &mut self.members else { return Ok(()) };
        let hand = &mut members.hands[number];
        let (Some(Asked { what: turn, .. }), Some(connection)) = (&hand.asked, hand.connection) else { return Ok(()) };
        let turn = *turn;
        let Some(frame) = self.network.receive(connection.number) else { return Ok(()) };
        hand.asked = None;
        let group = hand.group;
        match hand.member.answered(turn, frame)? {
            Heard::Done => self.note(format!("{}: {turn:?} is done at {}", GROUPS[group], connection.to)),
            Heard::Committed { partition, offset } => {
                let committed =
                    Operation::Committed { group: group as u32, partition: Numbered(partition as u32), offset };
                self.checker.records.observe(committed);
                let line = format!("{}: committed {offset} of {partition} at {}", GROUPS[group], connection.to);
                self.happened(Fault::CommittedOffsets, line);
            }
            Heard::Refused(code) => {
                hand.connection = None;
                self.network.give_up(connection.number);
                self.note(format!("{}: {turn:?} refused by {}: {code:?}", GROUPS[group], connection.to));
            }
        }
        Ok(())
    }
}
