//! What the world is: the entry in the API server, who believes what of it, and what brokers hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_rules::assignment::{
    Assignment, BrokerId, Incarnation, IsrMember, LeaderEpoch, Live, LiveBroker, Position, RecoveryOrder,
};

use crate::scenario::{Bounds, Used};

/// A record is identified by where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The leader epoch it was appended under.
    pub epoch: LeaderEpoch,
    /// Its number among all records ever produced.
    pub number: usize,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The entry as the API server holds it.
    pub entry: Arc<Assignment>,
    /// `min.insync.replicas` as the KafkaTopic says it.
    pub min_in_sync: usize,
    /// The administrator's order to recover, as the KafkaTopic says it; `None`: none was given.
    pub order: Option<Order>,
    /// Operators; each may act at any time.
    pub operators: Vec<Operator>,
    /// Brokers by id.
    pub brokers: Vec<Broker>,
    /// Leaders' ISR writes that may land at any time, never, or twice: what each would make of the entry.
    pub writes: Vec<Arc<Assignment>>,
    /// What was ever acknowledged to a producer with acks=all, in order.
    pub acknowledged: Vec<Record>,
    /// The leader epoch that the last recovery began. What a leader of an earlier one acknowledges from then on was
    /// lost by right, on more machines than the producers could count on. `None`: no recovery has elected a leader.
    pub recovered_in: Option<LeaderEpoch>,
    /// Whether an order to recover was ever obeyed.
    pub obeyed: bool,
    /// The ISR when somebody last led, while nobody does.
    pub last_isr: Vec<IsrMember>,
    /// The smallest `min.insync.replicas` that there ever was: what the producers could rely on.
    pub least_min_in_sync: usize,
    /// How much of the bounds is used up.
    pub used: Used,
    /// What has just gone wrong, or is worth seeing.
    pub seen: Observations,
}

/// What the last step did, where the state does not show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Observations {
    /// Two leaders acknowledged different records at one offset.
    pub conflict: bool,
    /// A recovery lost an acknowledged record that a replica still had for which it should have waited.
    pub gave_up: bool,
    /// An ordered recovery lost an acknowledged record that a replica still had.
    pub gave_up_by_order: bool,
    /// An order to recover was obeyed on another occasion than the one that it was given for.
    pub obeyed_out_of_time: bool,
    /// A record was acknowledged while an ISR change was in doubt.
    pub acknowledged_in_doubt: bool,
    /// A record was acknowledged by a leader that had been restarted in its epoch.
    pub acknowledged_after_restart: bool,
    /// A follower truncated records that its leader does not have.
    pub truncated: bool,
    /// A log that could not be read was copied again.
    pub copied_anew: bool,
    /// A reassignment was cancelled.
    pub cancelled: bool,
    /// A replica that left lost its log, with a record in it.
    pub left: bool,
}

/// An administrator's order to recover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// What the topic's spec says.
    pub order: RecoveryOrder,
    /// Whether nobody has led since it was given.
    pub stands: bool,
}

/// An operator: what it believes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    /// Who is there, with which content.
    pub live: Live,
    /// The topic's `min.insync.replicas`.
    pub min_in_sync: usize,
}

/// A broker: what it holds and believes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broker {
    /// The id of its data directory's content.
    pub incarnation: Incarnation,
    /// Its log; offsets are positions.
    pub log: Vec<Record>,
    /// The newest entry it has seen.
    pub view: Arc<Assignment>,
    /// The topic's `min.insync.replicas` as it has seen it.
    pub min_in_sync: usize,
    /// Its leadership, while its view makes it the leader.
    pub leadership: Option<Leadership>,
    /// What a restart of the process finds on the disk.
    pub disk: Saved,
    /// It asked to lead nothing.
    pub draining: bool,
    /// It can't read its log, with which it had a role in this leader epoch; `None`: it can.
    pub damaged: Option<LeaderEpoch>,
    /// It was a replica, was none, and lost its log.
    pub has_left: bool,
}

/// What a leader knows beside the entry. Gone with its process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    /// A follower that joins must have got here: the log's end when this leadership began, in this process.
    pub join_from: i64,
    /// The high watermark; a new leader knows none.
    pub high_watermark: i64,
    /// Followers' positions in this epoch.
    pub positions: BTreeMap<BrokerId, Position>,
    /// The change of the ISR whose outcome is unknown; `None`: there is none.
    pub proposed: Option<Arc<Assignment>>,
    /// It led in this epoch before its process was restarted.
    pub resumed: bool,
}

/// What a process that restarts reads from its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Saved {
    /// The copy of the entry. It may be older than the one acted on.
    pub view: Arc<Assignment>,
    /// The last change of the ISR that was proposed; `None`: no outcome is in doubt after a restart.
    pub proposed: Option<Arc<Assignment>>,
}

impl State {
    /// Brokers 0, 1, 2 are there; broker 0 leads and the first of the others are in sync, in epoch 0.
    pub fn new(bounds: &Bounds) -> State {
        let incarnation = Incarnation(1);
        let ids: Vec<BrokerId> = (0..3).map(BrokerId).collect();
        let live: Live = ids.iter().map(|id| (*id, LiveBroker { incarnation, draining: false })).collect();
        let in_sync = live.iter().take(bounds.in_sync).map(|(id, broker)| (*id, *broker)).collect();
        let replicas = ids.iter().take(bounds.replicas).copied().collect();
        let entry = Arc::new(Assignment::create(0, replicas, &in_sync).expect("broker 0 is there"));
        let broker = Broker {
            incarnation,
            log: Vec::new(),
            view: entry.clone(),
            min_in_sync: bounds.min_in_sync,
            leadership: None,
            disk: Saved { view: entry.clone(), proposed: None },
            draining: false,
            damaged: None,
            has_left: false,
        };
        let operator = Operator { live, min_in_sync: bounds.min_in_sync };
        let mut brokers = vec![broker; ids.len()];
        brokers[0].leadership = Some(Leadership::from(0));
        State {
            entry,
            min_in_sync: bounds.min_in_sync,
            order: None,
            operators: vec![operator; bounds.operators],
            brokers,
            writes: Vec::new(),
            acknowledged: Vec::new(),
            recovered_in: None,
            obeyed: false,
            last_isr: Vec::new(),
            least_min_in_sync: bounds.min_in_sync,
            used: Used::default(),
            seen: Observations::default(),
        }
    }

    /// The state of a broker, as it really is.
    pub fn truth(&self, id: BrokerId) -> LiveBroker {
        let Broker { incarnation, draining, .. } = self.broker(id);
        LiveBroker { incarnation: *incarnation, draining: *draining }
    }

    /// A broker by its id.
    pub fn broker(&self, id: BrokerId) -> &Broker {
        &self.brokers[id.0 as usize]
    }

    /// A broker by its id.
    pub fn broker_mut(&mut self, id: BrokerId) -> &mut Broker {
        &mut self.brokers[id.0 as usize]
    }

    /// Every broker's id.
    pub fn ids(&self) -> impl Iterator<Item = BrokerId> + use<> {
        (0..self.brokers.len() as i32).map(BrokerId)
    }

    /// A broker's write is on its way.
    pub fn send(&mut self, next: Arc<Assignment>) {
        if !self.writes.contains(&next) {
            self.writes.push(next);
            let order = |write: &Assignment| (write.partition_epoch, write.leader_epoch, write.isr.clone());
            self.writes.sort_by_key(|write| order(write));
        }
    }

    /// Whether the broker of an ISR entry still has what it joined with.
    pub fn is_valid(&self, member: &IsrMember) -> bool {
        self.broker(member.broker).incarnation == member.incarnation
    }
}

impl Leadership {
    /// A leadership that begins where the log ends.
    pub fn from(log_end: usize) -> Leadership {
        Leadership {
            join_from: log_end as i64,
            high_watermark: 0,
            positions: BTreeMap::new(),
            proposed: None,
            resumed: false,
        }
    }
}

impl Broker {
    /// Its log's end.
    pub fn log_end(&self) -> i64 {
        self.log.len() as i64
    }
}
