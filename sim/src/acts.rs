//! What a broker or an operator does that is picked, and what becomes of what brokers ask of the cluster.

use anyhow::Result;
use ottla_broker::ask::{Ask, AskRefusal, Swap};
use ottla_rules::assignment::{Assignment, IsrMember, LeaderEpoch, RecoveryReport};
use ottla_wire::ErrorCode;
use tokio::sync::oneshot;

use crate::fault::Fault;
use crate::node::Peer;
use crate::topics;
use crate::world::{World, short};

/// A write on its way to the API server. It lands also when its writer is gone.
pub(crate) struct Flight {
    by: Writer,
    entry: usize,
    what: What,
}

enum What {
    /// What it makes of the entry before it, and which brokers see that.
    Write(Box<Assignment>, Option<oneshot::Sender<Result<Swap, AskRefusal>>>),
    /// In which leader epoch a broker has found so much.
    Report(LeaderEpoch, RecoveryReport),
}

/// Who writes to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// A broker.
    Broker(usize),
    /// An operator.
    Operator(usize),
}

impl World {
    /// The members that writes under way would put into the ISR of an entry, if they are accepted.
    pub(crate) fn members_under_way(&self, entry: usize) -> impl Iterator<Item = IsrMember> {
        let newest = self.api.entry(entry).partition_epoch;
        let writes =
            self.flights.iter().filter(move |flight| flight.entry == entry).filter_map(|flight| match &flight.what {
                What::Write(next, _) => Some(next),
                What::Report(..) => None,
            });
        writes.filter(move |next| next.partition_epoch.follows(newest)).flat_map(|next| next.isr.iter().copied())
    }

    /// A broker's process runs, if there is one; else it may start.
    pub(crate) fn run_node(&mut self, at: usize, entry: usize) -> Result<()> {
        let away = self.api.away || self.nodes[at].cut_off_from_api;
        if !self.nodes[at].is_up() {
            // A start waits for the disk.
            if (!self.faulty || self.random.happens(50)) && !self.nodes[at].is_hanging(self.now) {
                self.start(at, away)?;
            }
            return Ok(());
        }
        if !away
            && !self.nodes[at].frozen
            && let Some(seen) = self.nodes[at].seen(entry).cloned()
        {
            if self.random.happens(200) {
                let told = self.told();
                self.nodes[at].see_settings(&told);
            }
            let shown = self.api.shown(entry, &seen, &mut self.random).clone();
            let around = self.around();
            self.nodes[at].see(entry, &shown, &around);
        }
        self.pass_time(at);
        Ok(())
    }

    pub(crate) fn start(&mut self, at: usize, away: bool) -> Result<()> {
        let (told, around, now) = (self.told(), self.around(), self.now);
        let shown = (!away).then(|| self.api.entries());
        match self.nodes[at].start(shown.as_deref(), &told, &around, now) {
            Ok(true) => {
                self.note(format!("start {at}"));
                self.has_started(at);
            }
            Ok(false) => {}
            Err(error) => {
                self.nodes[at].kill();
                self.excused(at, error)?;
            }
        }
        Ok(())
    }

    /// A broker runs up to now; what it has done meanwhile gets on its way.
    pub(crate) fn pass_time(&mut self, at: usize) {
        let listening = self.nodes.iter().map(|node| node.is_up()).collect();
        self.network.runs(at, listening);
        let before = self.log_ends(at);
        self.nodes[at].run(self.now);
        for (entry, (before, after)) in before.into_iter().zip(self.log_ends(at)).enumerate() {
            if let (Some(before), Some(after)) = (before, after)
                && after < before
            {
                self.nodes[at].has_cut = true;
                self.happened(Fault::Divergence, format!("{at} cuts its log of {entry}: {before} → {after}"));
            }
        }
        for made in self.network.take_made(&mut self.random) {
            // One that is frozen takes it when it runs again.
            self.nodes[made.to].accept(made.stream);
        }
        let (id, incarnation) = (self.nodes[at].id, self.nodes[at].incarnation);
        for ask in self.nodes[at].process().map(|process| process.take_asks()).unwrap_or_default() {
            match ask {
                Ask::ChangeIsr { topic_id, next, answer } => {
                    let entry = topics::entry(topic_id, next.partition);
                    self.note(format!("{at} asks for {}", short(entry, &next)));
                    self.flights.push(Flight { by: Writer::Broker(at), entry, what: What::Write(next, Some(answer)) });
                }
                Ask::Report { topic_id, partition, leader_epoch, last_epoch, log_end, log_start } => {
                    let entry = topics::entry(topic_id, partition);
                    let log_start = Some(log_start);
                    let report = RecoveryReport { broker: id, incarnation, last_epoch, log_end, log_start };
                    self.flights.push(Flight {
                        by: Writer::Broker(at),
                        entry,
                        what: What::Report(leader_epoch, report),
                    });
                }
                Ask::MovedAway { partitions, answer } => {
                    let entry =
                        |((_, id), moved): ((_, uuid::Uuid), Assignment)| (topics::entry(id, moved.partition), moved);
                    let moved: Vec<_> = partitions.into_iter().map(entry).collect();
                    let entries: Vec<usize> = moved.iter().map(|(entry, _)| *entry).collect();
                    self.note(format!("{at} may remove {entries:?} when its copy says so"));
                    self.nodes[at].answer_when_kept(moved, answer);
                }
                Ask::ProducerIds { answer } => {
                    let away = self.api.away || self.nodes[at].cut_off_from_api;
                    let unknown = AskRefusal::new(ErrorCode::REQUEST_TIMED_OUT, "the API server does not answer");
                    let _ = answer.send(if away { Err(unknown) } else { Ok(self.api.take_producer_ids()) });
                }
                // Topics are neither made nor deleted here, and nobody changes their settings on the wire.
                _ => {}
            }
        }
    }

    /// Where the logs of a broker end, by entry.
    pub(crate) fn log_ends(&self, at: usize) -> [Option<i64>; topics::MOST_ENTRIES] {
        std::array::from_fn(|entry| self.nodes[at].partition(entry).map(|partition| partition.log_end.get()))
    }

    /// What a broker with a troubled disk can't do is no fault of its own.
    fn excused(&mut self, at: usize, error: impl Into<anyhow::Error>) -> Result<()> {
        let error = error.into();
        let troubled = self.nodes[at].disk.has_refused();
        self.note(format!("{at}: {error:#}"));
        if troubled { Ok(()) } else { Err(error) }
    }

    /// Bytes move on a connection, or a connection breaks; or a write lands.
    pub(crate) fn deliver(&mut self) {
        if self.faulty
            && self.random.happens(10)
            && let Some((from, to)) = self.network.break_one(&mut self.random)
        {
            return self.happened(Fault::BrokenConnection, format!("a connection of {from:?} to {to} breaks"));
        }
        let nodes = &self.nodes;
        self.network.deliver(&mut self.random, self.now, |from, to| nodes[from].cut_off.contains(&to));
    }

    /// A write lands, any of those under way. Once all is healed none is late: all of them land, in their order.
    pub(crate) fn land(&mut self) {
        if self.flights.is_empty() || self.api.away {
            return;
        }
        if !self.faulty {
            return std::mem::take(&mut self.flights).into_iter().for_each(|flight| self.land_one(flight));
        }
        let at = self.random.below(self.flights.len());
        if let Writer::Broker(at) = self.flights[at].by
            && self.nodes[at].cut_off_from_api
        {
            return;
        }
        let flight = self.flights.swap_remove(at);
        self.land_one(flight);
    }

    /// This write lands, or gets lost, or both its writer and the API server believe something else of it.
    fn land_one(&mut self, Flight { by, entry, what }: Flight) {
        let (next, answer) = match what {
            What::Report(leader_epoch, report) => {
                let line = format!("{by:?} reports {}/{} of {entry}", report.last_epoch, report.log_end);
                if self.api.report(entry, leader_epoch, report) {
                    self.note(line);
                }
                return;
            }
            What::Write(next, answer) => (next, answer),
        };
        let tell = |answer: Option<oneshot::Sender<_>>, told| answer.map(|answer| answer.send(told));
        let unknown = || Err(AskRefusal::new(ErrorCode::REQUEST_TIMED_OUT, "nobody knows what became of it"));
        if self.faulty && self.random.happens(50) {
            self.happened(Fault::IsrWriteTrouble, format!("lost: a write of {by:?}: {}", short(entry, &next)));
            tell(answer, unknown());
            return;
        }
        if self.faulty && self.random.happens(50) {
            self.happened(
                Fault::IsrWriteTrouble,
                format!("twice, or late: a write of {by:?}: {}", short(entry, &next)),
            );
            tell(answer, unknown());
            self.flights.push(Flight { by, entry, what: What::Write(next.clone(), None) });
            if self.random.happens(500) {
                return;
            }
            self.write(&format!("{by:?}"), entry, *next);
            return;
        }
        let swapped = self.write(&format!("{by:?}"), entry, *next);
        let told = if self.faulty && self.random.happens(50) {
            unknown()
        } else {
            Ok(if swapped { Swap::Done } else { Swap::Moved })
        };
        tell(answer, told);
    }

    /// An operator looks at a broker.
    pub(crate) fn look_at(&mut self, at: usize) {
        let operator = self.random.below(self.operators.len());
        // The Lease of one that is deserted ends.
        let is_missed = self.loyal.is_some() && self.nodes[at].cut_off_from_api;
        let (id, truth) = (self.nodes[at].id, self.nodes[at].truth().filter(|_| !is_missed));
        let operator = &mut self.operators[operator];
        if operator.paused {
            return;
        }
        match truth {
            Some(truth) => _ = operator.live.insert(id, truth),
            None => _ = operator.live.remove(&id),
        }
    }

    /// An operator sees an entry, or does what is due by what it has seen.
    pub(crate) fn operate(&mut self, entry: usize) {
        let number = self.random.below(self.operators.len());
        let operator = &mut self.operators[number];
        if operator.paused || self.api.away {
            return;
        }
        if self.random.happens(500) {
            operator.seen[entry] = self.api.shown(entry, &operator.seen[entry], &mut self.random).clone();
            operator.min_in_sync = self.api.min_in_sync;
            return;
        }
        for (entry, next) in self.operators[number].step() {
            if self.random.happens(500) {
                self.write(&format!("operator {number}"), entry, next);
            } else {
                let what = What::Write(Box::new(next), None);
                self.flights.push(Flight { by: Writer::Operator(number), entry, what });
            }
        }
    }

    pub(crate) fn write(&mut self, who: &str, entry: usize, next: Assignment) -> bool {
        let line = format!("{who}: {}", short(entry, &next));
        let swapped = self.api.write(entry, next);
        if swapped {
            self.note(line);
        } else {
            self.happened(Fault::TwoOperators, format!("{line} (stale)"));
        }
        swapped
    }

    /// What is shown of all brokers.
    pub(crate) fn around(&self) -> Vec<Peer> {
        let peer = |node: &crate::node::Node| Peer {
            id: node.id,
            alive: node.truth().is_some(),
            draining: node.is_draining(),
        };
        self.nodes.iter().map(peer).collect()
    }
}
