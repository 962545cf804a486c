//! The answers to `/livez` and `/readyz`, from the state of this process alone.
//!
//! Neither asks the API server: while that is away, brokers are neither restarted nor hidden from clients. A long
//! recovery does not fail the probes while the disk finishes work. A disk that hangs makes the broker not ready, and
//! `ottla_disk_stalled_seconds` shows how long it has hung. The broker stays alive then, also if a reactor waits for
//! the disk: a restart would not repair the disk, the kernel would not let the process end, and clients would lose the
//! records that only memory serves. A replica that can't be in sync for
//! reasons outside this broker (no leader, a dead leader, a failed disk, a move in progress) does not make it not
//! ready; metrics and conditions show those.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::under_way;
use tokio::sync::watch;

use crate::env::{self, Workers};
use crate::image::{Assignment, ClusterImage, ImageReceiver, Me};
use crate::replica::Replicas;
use crate::server::Pulse;

/// How long a reactor may take to answer. No request keeps a reactor busy for nearly as long.
const REACTOR_BOUND: Duration = Duration::from_secs(4);
/// How long the disk may take to finish one job. The longest jobs recover or compact a segment.
const DISK_BOUND: Duration = Duration::from_secs(120);

/// The parts of a broker that probes check.
pub struct Health {
    me: Me,
    reactors: Vec<Pulse>,
    workers: Workers,
    hangs: watch::Receiver<bool>,
    replicas: Arc<Replicas>,
    images: ImageReceiver,
}

/// Why `/livez` fails, so that the kubelet restarts the broker.
#[derive(Debug, thiserror::Error)]
pub enum Ill {
    /// A reactor hangs.
    #[error("reactor {0} has not answered for {REACTOR_BOUND:?}")]
    Reactor(usize),
}

/// Why a broker is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReady {
    opening: usize,
    behind: usize,
    stalled: Option<Duration>,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotReady { opening, behind, stalled } = self;
        write!(f, "replicas not opened yet: {opening}, not in sync yet: {behind}")?;
        match stalled {
            Some(stalled) => {
                write!(
                    f,
                    "; the disk hangs, or has done so lately: a write waits for {} s; see the kernel log of the node",
                    stalled.as_secs()
                )
            }
            None => Ok(()),
        }
    }
}

impl Health {
    /// The health of these parts; of the disk the threads that wait for it, and whether it hangs.
    pub fn new(
        me: Me,
        reactors: Vec<Pulse>,
        (workers, hangs): (Workers, watch::Receiver<bool>),
        replicas: Arc<Replicas>,
        images: ImageReceiver,
    ) -> Health {
        Health { me, reactors, workers, hangs, replicas, images }
    }

    /// Whether every reactor answers, or waits for the disk; a restart repairs one that hangs for another reason.
    ///
    /// # Errors
    /// Names the reactor that does not answer.
    pub async fn lives(&self) -> Result<(), Ill> {
        let until = env::now() + REACTOR_BOUND;
        for (number, reactor) in self.reactors.iter().enumerate() {
            tokio::select! {
                () = reactor.feel() => {}
                () = env::sleep_until(until) => {
                    let waits = self.longest_wait() >= REACTOR_BOUND;
                    return if waits { Ok(()) } else { Err(Ill::Reactor(number)) };
                }
            }
        }
        Ok(())
    }

    /// For how long a thread has waited for the disk, now.
    fn longest_wait(&self) -> Duration {
        under_way::longest(self.replicas.dir()).of_any()
    }

    /// Whether every replica that the newest image assigns to this broker is open and in sync, and the disk finishes
    /// work.
    ///
    /// # Errors
    /// The number of replicas that are not, and how long the disk has hung.
    pub fn is_ready(&self) -> Result<(), NotReady> {
        let image = self.images.borrow().clone();
        let stalled = self.workers.stalled_for(env::now());
        let hangs = stalled > DISK_BOUND || *self.hangs.borrow();
        let stalled = hangs.then(|| stalled.max(self.longest_wait()));
        let mut not = NotReady { opening: 0, behind: 0, stalled };
        for topic in image.topics.values() {
            for entry in topic.partitions.iter().filter(|entry| entry.replicas.contains(&self.me.id)) {
                not.opening += usize::from(self.replicas.is_to_be_opened(topic.id, entry.partition));
                not.behind += usize::from(is_behind(entry, &image, self.me));
            }
        }
        if not.opening + not.behind == 0 && stalled.is_none() { Ok(()) } else { Err(not) }
    }
}

/// Whether the replica is catching up and will join the ISR: it has a live leader.
fn is_behind(entry: &Assignment, image: &ClusterImage, me: Me) -> bool {
    let in_sync = entry.isr.iter().any(|member| member.broker == me.id && member.incarnation == me.incarnation);
    let leads = |leader| leader != me.id && image.brokers.get(&leader).is_some_and(|broker| broker.alive);
    !in_sync && !entry.adding.contains(&me.id) && entry.leader.is_some_and(leads)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::{Broker, BrokerId, Incarnation, IsrMember, LeaderEpoch, PartitionEpoch};

    #[test]
    fn a_replica_is_behind_while_a_leader_is_there_to_take_it_in() {
        let me = Me { id: BrokerId(0), incarnation: Incarnation(7) };
        let broker = |id: i32, alive| Broker {
            id: BrokerId(id),
            rack: None,
            alive,
            draining: false,
            endpoints: BTreeMap::new(),
            address: None,
        };
        let brokers = [broker(0, true), broker(1, true), broker(2, false)];
        let brokers = brokers.into_iter().map(|broker| (broker.id, broker)).collect();
        let image = ClusterImage { brokers, ..ClusterImage::default() };
        let cases = [
            ("in sync", Some(1), &[(0, 7), (1, 1)][..], false, false),
            ("not in sync", Some(1), &[(1, 1)], false, true),
            ("in sync with what it had before", Some(1), &[(0, 6), (1, 1)], false, true),
            ("its data is being moved here", Some(1), &[(1, 1)], true, false),
            ("the leader is away", Some(2), &[(2, 1)], false, false),
            ("nobody leads", None, &[(2, 1)], false, false),
        ];
        for (story, leader, isr, adding, expected) in cases {
            let member = |(id, life): &(i32, i64)| IsrMember { broker: BrokerId(*id), incarnation: Incarnation(*life) };
            let entry = Assignment {
                partition: 0,
                replicas: (0..3).map(BrokerId).collect(),
                adding: if adding { vec![me.id] } else { Vec::new() },
                removing: Vec::new(),
                leader: leader.map(BrokerId),
                leader_epoch: LeaderEpoch::FIRST,
                partition_epoch: PartitionEpoch::FIRST,
                isr: isr.iter().map(member).collect(),
                reports: Vec::new(),
                log_start: None,
            };
            assert_eq!(is_behind(&entry, &image, me), expected, "{story}");
        }
    }
}
