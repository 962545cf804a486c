//! The arguments of a member of a chain, and what it prints.
//!
//! Its arguments are those of a [`Job`]. It takes the records of its stage's topic as a member of the group `stage-N`,
//! and writes each with the same key and a value of its own to the next topic, in transactions of `stage-N-M` that
//! carry the offsets; all of one partition go to one partition, so that each key keeps its order. It ends when its
//! standard input ends, and with a code other than 0 after any error: who started it starts another. It prints:
//!
//! | line | before or after |
//! |---|---|
//! | `assigned PARTITION` | after the group has given it the partition |
//! | `polled PARTITION OFFSET VALUE` | after the poll |
//! | `begun` | before the transaction |
//! | `sent SEQUENCE` | before the record is sent |
//! | `offsets PARTITION FROM TO` | before the offset TO is sent with the transaction |
//! | `ended committed`, `ended aborted` | after the answer; without it the transaction is in doubt |

use std::fmt;

use anyhow::{Context, Result, bail};
use ottla_history::transactions::{Given, Operation, Outcome, Protocol};
use ottla_history::{Id, Partition};

/// The topic before a stage; the one after the last stage is the output.
pub fn topic(stage: u32) -> String {
    format!("chain-{stage}")
}

/// How the members of a stage share its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// A classic group, which takes everything from everybody in each rebalance (assignor `range`).
    Eager,
    /// A classic group that moves only what must move (assignor `cooperative-sticky`).
    Cooperative,
    /// A group of the consumer protocol (KIP-848).
    Consumer,
}

impl Group {
    const ALL: [Group; 3] = [Group::Eager, Group::Cooperative, Group::Consumer];
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Eager => "eager",
            Group::Cooperative => "cooperative",
            Group::Consumer => "consumer",
        })
    }
}

/// What a member is started with: BOOTSTRAP STAGE MEMBER CLIENT PARTITIONS GROUP, and INSTANCE if it is static.
#[derive(Clone, Debug)]
pub struct Job {
    /// Where the brokers are.
    pub bootstrap: String,
    /// Which stage it works for, from 0.
    pub stage: u32,
    /// Which member of the stage it is. Its successor has the same number, and so the same transactional id.
    pub member: u32,
    /// Its number among all clients of the chain, which its records carry.
    pub client: u32,
    /// The number of partitions of each topic.
    pub partitions: i32,
    /// How it shares them.
    pub group: Group,
    /// Its `group.instance.id`; none: it is a dynamic member.
    pub instance: Option<String>,
}

impl Job {
    pub(super) fn arguments(&self) -> Vec<String> {
        let Job { bootstrap, stage, member, client, partitions, group, instance } = self;
        let first = [bootstrap.clone(), stage.to_string(), member.to_string(), client.to_string()];
        first.into_iter().chain([partitions.to_string(), group.to_string()]).chain(instance.clone()).collect()
    }

    /// The job that a process was started with.
    ///
    /// # Errors
    /// When these are not the arguments of a member.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Job> {
        let mut next = || arguments.next().context("BOOTSTRAP STAGE MEMBER CLIENT PARTITIONS GROUP [INSTANCE]");
        let (bootstrap, stage, member) = (next()?, next()?.parse()?, next()?.parse()?);
        let (client, partitions, name) = (next()?.parse()?, next()?.parse()?, next()?);
        let Some(group) = Group::ALL.into_iter().find(|group| group.to_string() == name) else {
            bail!("{name} is no kind of group");
        };
        Ok(Job { bootstrap, stage, member, client, partitions, group, instance: arguments.next() })
    }

    /// What a line of the member says; none if it says nothing of the history.
    pub(super) fn operation(&self, line: &str, protocol: Protocol) -> Option<Operation> {
        let client = self.client;
        let mut words = line.splitn(4, ' ');
        let input = |partition: &str| Some(place(self.stage, partition.parse().ok()?, self.partitions));
        Some(match (words.next()?, words.next(), words.next(), words.next()) {
            ("assigned", Some(partition), None, None) => Operation::Assigned { client, partition: input(partition)? },
            ("polled", Some(partition), Some(offset), Some(value)) => {
                let given = Given {
                    partition: input(partition)?,
                    offset: offset.parse().ok()?,
                    id: Id::read(value.as_bytes()),
                };
                Operation::Polled { client, records: vec![given] }
            }
            ("begun", None, ..) => Operation::Begun { client, protocol },
            ("sent", Some(sequence), ..) => {
                Operation::Sent { id: Id { producer: client, sequence: sequence.parse().ok()? } }
            }
            ("offsets", Some(partition), Some(from), Some(to)) => Operation::OffsetsSent {
                client,
                group: self.stage,
                partition: input(partition)?,
                taken: from.parse().ok()?..to.parse().ok()?,
            },
            ("ended", Some("committed"), ..) => Operation::Ended { client, outcome: Outcome::Committed },
            ("ended", Some("aborted"), ..) => Operation::Ended { client, outcome: Outcome::Aborted },
            _ => return None,
        })
    }
}

/// A partition's number in the history.
pub(super) fn place(stage: u32, partition: i32, partitions: i32) -> Partition {
    Partition(stage * partitions.unsigned_abs() + partition.unsigned_abs())
}
