//! A leader is overtaken while its answers to a follower are under way: another leads in its place, and it is cut back
//! and copies that one's records. The follower, which hears of nothing, takes the answers then, and what became of the
//! files that they lie in.

use std::time::Duration;

use ottla_rules::assignment::BrokerId;

use crate::fault::Fault;
use crate::topics::PARTITIONS;
use crate::world::World;

/// For how long the leader gets records that the two do not ask for; they stay in sync.
const ALONE: Duration = Duration::from_millis(900);
/// How long the follower then has to ask for them.
const ASKS: Duration = Duration::from_millis(500);
/// How long it has to take the answers until it hears who leads.
const TAKES: Duration = Duration::from_secs(1);
/// How long they may be late.
const LATE: Duration = Duration::from_secs(15);

/// A leader that is to be overtaken, by number, as the others.
pub(crate) struct Overtaking {
    entry: usize,
    leader: usize,
    /// Who leads next.
    next: usize,
    /// Who is answered late.
    last: usize,
    stage: Stage,
    due: Duration,
}

#[derive(Clone, Copy)]
enum Stage {
    /// The two do not reach it.
    Alone,
    /// The follower that is answered late reaches it.
    Asked,
    /// Its log ended here when others were to lead.
    Overtaken(i64),
    /// The same, and now it ends before that.
    CutBack(i64),
    /// Its answers are under way again.
    Answered,
}

impl World {
    /// Who leads one of the producers' partitions is to be overtaken there.
    pub(crate) fn overtake(&mut self) {
        let entry = self.random.below(PARTITIONS);
        let led = (0..self.nodes.len()).find(|at| self.sure_of(*at, entry).is_some());
        let Some(leader) = led.filter(|_| self.overtaking.is_none()) else { return };
        let follows = |broker: &BrokerId| {
            let partition = self.nodes[broker.0 as usize].partition(entry);
            partition.and_then(|partition| partition.follows()).is_some_and(|(id, _)| id == self.nodes[leader].id)
        };
        let now = self.api.entry(entry);
        let is_in_sync = |broker: &&BrokerId| now.isr.iter().any(|member| member.broker == **broker);
        let in_sync = now.replicas.iter().filter(is_in_sync).filter(|broker| follows(broker));
        let [next, .., last] = in_sync.map(|broker| broker.0 as usize).collect::<Vec<_>>()[..] else { return };
        for follower in [next, last] {
            self.nodes[follower].cut_off.push(leader);
        }
        self.note(format!("{leader} is to be overtaken by {next}, and {last} to hear of nothing"));
        self.overtaking = Some(Overtaking { entry, leader, next, last, stage: Stage::Alone, due: self.now + ALONE });
    }

    /// What is next to be done, if anything is.
    pub(crate) fn run_overtaking(&mut self) {
        let Some(mut overtaking) = self.overtaking.take_if(|_| self.faulty) else { return };
        let Overtaking { entry, leader, next, last, stage, due } = overtaking;
        match stage {
            Stage::Alone if self.now >= due => {
                self.let_reach(last, leader);
                self.nodes[last].cut_off_from_api = true;
                self.network.stall(leader, self.now + LATE);
                (overtaking.stage, overtaking.due) = (Stage::Asked, self.now + ASKS);
            }
            Stage::Asked if self.now >= due => {
                self.let_reach(next, leader);
                self.believed_dead(self.nodes[leader].id, entry);
                let log_end = self.log_ends(leader)[entry].unwrap_or_default();
                self.happened(
                    Fault::Overtaken,
                    format!("{leader} is overtaken by {next}, and {last} hears of nothing"),
                );
                (overtaking.stage, overtaking.due) = (Stage::Overtaken(log_end), self.now + LATE);
            }
            Stage::Overtaken(log_end) if self.log_ends(leader)[entry].is_some_and(|end| end < log_end) => {
                overtaking.stage = Stage::CutBack(log_end);
            }
            Stage::CutBack(log_end) if self.log_ends(leader)[entry].is_some_and(|end| end >= log_end) => {
                self.network.stall(leader, self.now);
                (overtaking.stage, overtaking.due) = (Stage::Answered, self.now + TAKES);
            }
            Stage::Overtaken(_) | Stage::CutBack(_) | Stage::Answered if self.now >= due => {
                self.nodes[last].cut_off_from_api = false;
                return;
            }
            Stage::Alone | Stage::Asked | Stage::Overtaken(_) | Stage::CutBack(_) | Stage::Answered => {}
        }
        self.overtaking = Some(overtaking);
    }
}
