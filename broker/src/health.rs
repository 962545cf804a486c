//! Whether the broker lives, and whether it is ready: what a kubelet asks, answered from this process alone.
//!
//! Neither asks the API server: while that is away brokers are neither restarted nor taken from clients. Recovery is
//! not illness: a disk that works, however long, is well. A disk that hangs makes a broker unready, and
//! `ottla_disk_stalled_seconds` tells how long it has hung; a restart would not mend the disk, and would take the
//! records that only memory serves. What can't be in sync for reasons outside this broker (nobody leads, the leader is
//! away, its own disk failed, its data is still being moved here) does not keep it unready; metrics and conditions tell
//! of those.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::env::{self, Workers};
use crate::image::{Assignment, ClusterImage, ImageReceiver, Me};
use crate::replica::Replicas;
use crate::server::Pulse;

/// How long a reactor may take to answer. The longest that a request keeps one busy is far below.
const REACTOR_BOUND: Duration = Duration::from_secs(4);
/// How long the disk may take to finish any one job: recovering or compacting a segment is the longest there is.
const DISK_BOUND: Duration = Duration::from_secs(120);

/// What of a broker can be well or ill.
pub struct Health {
    me: Me,
    reactors: Vec<Pulse>,
    workers: Workers,
    replicas: Arc<Replicas>,
    images: ImageReceiver,
}

/// Why a broker should be started again.
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
        write!(f, "{opening} replicas are not open yet, {behind} are not in sync yet")?;
        match stalled {
            Some(stalled) => {
                write!(f, "; the disk has not finished a job for {} s: see the node's kernel log", stalled.as_secs())
            }
            None => Ok(()),
        }
    }
}

impl Health {
    /// Of these parts.
    pub fn new(
        me: Me,
        reactors: Vec<Pulse>,
        workers: Workers,
        replicas: Arc<Replicas>,
        images: ImageReceiver,
    ) -> Health {
        Health { me, reactors, workers, replicas, images }
    }

    /// Whether every reactor answers: what a restart mends.
    ///
    /// # Errors
    /// With the one that does not.
    pub async fn lives(&self) -> Result<(), Ill> {
        let until = env::now() + REACTOR_BOUND;
        for (number, reactor) in self.reactors.iter().enumerate() {
            tokio::select! {
                () = reactor.feel() => {}
                () = env::sleep_until(until) => return Err(Ill::Reactor(number)),
            }
        }
        Ok(())
    }

    /// Whether every replica that the newest image puts here is open and in sync, and the disk gets on.
    ///
    /// # Errors
    /// With how many are not, and how long the disk has hung.
    pub fn is_ready(&self) -> Result<(), NotReady> {
        let image = self.images.borrow().clone();
        let stalled = Some(self.workers.stalled_for(env::now())).filter(|stalled| *stalled > DISK_BOUND);
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

/// Whether the replica is on its way into the ISR: somebody is there to take it in.
fn is_behind(entry: &Assignment, image: &ClusterImage, me: Me) -> bool {
    let in_sync = entry.isr.iter().any(|member| member.broker == me.id && member.incarnation == me.incarnation);
    let leads = |leader| leader != me.id && image.brokers.get(&leader).is_some_and(|broker| broker.alive);
    !in_sync && !entry.adding.contains(&me.id) && entry.leader.is_some_and(leads)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::{Broker, BrokerId, Incarnation, IsrMember};

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
                leader_epoch: 0,
                partition_epoch: 0,
                isr: isr.iter().map(member).collect(),
                reports: Vec::new(),
            };
            assert_eq!(is_behind(&entry, &image, me), expected, "{story}");
        }
    }
}
