//! What somebody does who is picked: a broker, a producer, an operator; or what arrives.

use std::time::Duration;

use anyhow::{Result, bail};
use ottla_batch::BatchHeader;
use ottla_broker::replica::fetching::round::{self, Meaning};
use ottla_broker::replica::partition::reading::{ReadFrom, Reader};
use ottla_broker::replica::partition::{AppendError, Partition};
use ottla_config::BrokerSettings;
use ottla_crds::assignment::{Assignment, Incarnation, RecoveryReport};
use ottla_log::ProducerError;
use ottla_wire::m01_fetch::{EpochEndOffset, FetchPartition, PartitionData};
use ottla_wire::{ErrorCode, Records};
use tokio::time::Instant;

use crate::client::Connection;
use crate::fault::Fault;
use crate::network::{Flight, Writer};
use crate::node::Producing;
use crate::world::{World, short};

/// How long a follower waits for an answer, or a leader for word of its write.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a producer waits for an acknowledgement.
const PRODUCERS_PATIENCE: Duration = Duration::from_secs(5);

impl World {
    /// Something arrives.
    pub(crate) fn deliver(&mut self) -> Result<()> {
        if self.flights.is_empty() {
            return Ok(());
        }
        let mut picked = self.random.below(self.flights.len());
        if let Flight::Produce { connection, .. } = &self.flights[picked] {
            // What was sent first on a connection arrives first.
            let same = |flight: &Flight| matches!(flight, Flight::Produce { connection: c, .. } if c == connection);
            picked = self.flights.iter().position(same).unwrap_or(picked);
        }
        let flight = self.flights.remove(picked);
        if self.faulty && self.random.happens(50) && self.lose(&flight) {
            return Ok(());
        }
        if self.faulty && self.random.happens(50) {
            let twice = match &flight {
                Flight::Fetch { .. } | Flight::Answer { .. } => true,
                Flight::Write { .. } => {
                    *self.counts.entry(Fault::IsrWriteTrouble).or_default() += 1;
                    true
                }
                Flight::Produce { .. } | Flight::Produced { .. } => false,
            };
            if twice {
                self.flights.push(flight.clone());
            }
        }
        match flight {
            Flight::Fetch { from, life, incarnation, to, wanted, asked } => {
                let cut = self.nodes[from].cut_off.contains(&to);
                let reader = Reader::Follower { broker: self.nodes[from].id, incarnation: Incarnation(incarnation) };
                let partition = self.nodes[to].partition(wanted.partition as usize).filter(|_| !cut);
                let Some(partition) = partition else { return Ok(()) };
                let data = Box::new(serve(partition, &wanted, reader));
                self.flights.push(Flight::Answer { from: to, to: from, life, asked, data });
            }
            Flight::Answer { from, to, life, asked, data } => {
                if self.nodes[to].slow && self.random.happens(900) {
                    self.flights.push(Flight::Answer { from, to, life, asked, data });
                } else {
                    self.take_answer(from, to, life, &asked, *data)?;
                }
            }
            Flight::Produce { producer, connection, sequence, batch } => {
                let node = &self.nodes[connection.to];
                if node.life == connection.life && node.frozen {
                    // It stays before what was sent after it.
                    self.flights.insert(picked, Flight::Produce { producer, connection, sequence, batch });
                } else if node.life == connection.life {
                    self.set_clock(connection.to);
                    self.append(producer, connection, sequence, &batch)?;
                }
            }
            Flight::Produced { producer, connection, sequence, offset } => {
                let producer = &mut self.producers[producer];
                if producer.connection != Some(connection) {
                    return Ok(());
                }
                match offset {
                    Some(offset) => {
                        let line = format!("{} acknowledged at {offset}", producer.id(sequence));
                        producer.acknowledged(sequence, offset, &mut self.checker);
                        self.note(line);
                    }
                    None => producer.connection = None,
                }
            }
            Flight::Write { by, next } => {
                let cut_off = match by {
                    Writer::Broker(at) => self.nodes[at].cut_off_from_api,
                    Writer::Operator(_) => false,
                };
                if self.api.away || (cut_off && self.faulty) {
                    self.flights.push(Flight::Write { by, next });
                } else {
                    self.write(format!("{by:?}"), *next);
                }
            }
        }
        Ok(())
    }

    /// Whether it gets lost. Of a connection, all that is sent after it is lost too: it breaks.
    fn lose(&mut self, flight: &Flight) -> bool {
        match flight {
            Flight::Fetch { from, to, .. } => self.note(format!("lost: a fetch of {from} to {to}")),
            Flight::Answer { from, to, .. } => self.note(format!("lost: an answer of {from} to {to}")),
            Flight::Write { by, next } => {
                self.happened(Fault::IsrWriteTrouble, format!("lost: a write of {by:?}: {}", short(next)));
            }
            // What was sent before may still arrive.
            Flight::Produce { producer, connection, .. } | Flight::Produced { producer, connection, .. } => {
                let broken = *connection;
                self.flights.retain(|f| !matches!(f, Flight::Produce { connection: c, .. } if *c == broken));
                let producer = &mut self.producers[*producer];
                if producer.connection == Some(broken) {
                    producer.connection = None;
                }
            }
        }
        true
    }

    fn take_answer(
        &mut self,
        from: usize,
        to: usize,
        life: u64,
        asked: &ottla_broker::replica::partition::following::NextFetch,
        data: PartitionData,
    ) -> Result<()> {
        self.set_clock(to);
        let node = &mut self.nodes[to];
        if node.life != life || node.cut_off.contains(&from) {
            return Ok(());
        }
        let Some(replica) = node.replica_mut(data.partition_index as usize) else { return Ok(()) };
        let Some(partition) = replica.partition.clone() else { return Ok(()) };
        replica.waiting_since = None;
        let before = partition.last_epoch_and_end().1;
        let taken = match round::meaning(data) {
            Meaning::Copy(copied) => partition.append_from_leader(asked, &copied),
            Meaning::Cut { epoch, end_offset } => {
                // An answer that comes twice finds nothing to cut any more.
                let _ = partition.cut_to_end_of(asked, epoch, end_offset);
                *self.counts.entry(Fault::Divergence).or_default() += 1;
                node.keep();
                Ok(())
            }
            Meaning::StartAnew { log_start } => {
                let anew = partition.start_anew(asked, log_start);
                node.keep();
                anew
            }
            Meaning::Rest(_) => Ok(()),
        };
        if let Err(error) = taken {
            self.excused(to, error)?;
        }
        let after = partition.last_epoch_and_end().1;
        if after != before {
            self.note(format!("{to} follows {from}: {before} → {after}"));
        }
        Ok(())
    }

    /// What a broker with a troubled disk can't do is no fault of its own.
    fn excused(&mut self, at: usize, error: impl Into<anyhow::Error>) -> Result<()> {
        let error = error.into();
        let troubled = self.nodes[at].disk.has_refused() || self.nodes[at].is_offline();
        self.note(format!("{at}: {error:#}"));
        if troubled { Ok(()) } else { Err(error) }
    }

    /// A broker looks around and does what is due.
    pub(crate) fn run_node(&mut self, at: usize, partition: usize) -> Result<()> {
        let around = self.surroundings();
        let away = self.api.away || self.nodes[at].cut_off_from_api;
        let node = &mut self.nodes[at];
        let Some(replica) = node.process.as_ref().map(|process| &process.replicas[partition]) else {
            if !self.faulty || self.random.happens(50) {
                let shown = (!away).then(|| self.api.entries());
                match node.start(shown.as_deref(), self.api.min_in_sync, &around) {
                    Ok(true) => self.note(format!("start {at}")),
                    Ok(false) => {}
                    Err(error) => {
                        node.kill();
                        self.excused(at, error)?;
                    }
                }
            }
            return Ok(());
        };
        if node.frozen {
            return Ok(());
        }
        if !away {
            let shown = self.api.shown(&replica.seen, &mut self.random).clone();
            if let Err(error) = node.see(&shown, &around) {
                self.excused(at, error)?;
            }
            if self.random.happens(200) {
                self.nodes[at].see_min_in_sync(self.api.min_in_sync);
            }
        }
        self.keep_in_sync(at, partition);
        self.fetch(at, partition);
        self.report(at, partition);
        Ok(())
    }

    /// A leader asks for changes of the ISR, again and again until it knows what became of them.
    fn keep_in_sync(&mut self, at: usize, number: usize) {
        let Some(replica) = self.nodes[at].replica_mut(number) else { return };
        let Some(partition) = &replica.partition else { return };
        let now = Instant::now();
        let asked = replica.asked.take().filter(|(next, _)| partition.is_undecided(next));
        let due = match asked {
            Some((next, when)) if now - when < PATIENCE => {
                replica.asked = Some((next, when));
                return;
            }
            Some((next, _)) => Some(next),
            None => partition.propose_isr().map(|change| change.next),
        };
        let Some(next) = due else { return };
        replica.asked = Some((next.clone(), now));
        self.note(format!("{at} asks for {}", short(&next)));
        self.flights.push(Flight::Write { by: Writer::Broker(at), next: Box::new(next) });
    }

    /// A follower asks its leader, if it is not waiting for an answer.
    fn fetch(&mut self, at: usize, number: usize) {
        let (id, incarnation, life) = (self.nodes[at].id, self.nodes[at].incarnation, self.nodes[at].life);
        let Some(replica) = self.nodes[at].replica_mut(number) else { return };
        let Some(partition) = &replica.partition else { return };
        let Some((leader, epoch)) = partition.follows() else { return };
        let now = Instant::now();
        if replica.waiting_since.is_some_and(|since| now - since < PATIENCE) {
            return;
        }
        let Some(asked) = partition.next_fetch(epoch) else { return };
        replica.waiting_since = Some(now);
        let me = ottla_broker::image::Me { id, incarnation };
        let key = (partition.topic_id, partition.number);
        let request = round::request(me, &[round::Asked { key, next: asked, room: None }], &BrokerSettings::default());
        let incarnation = request.replica_state.replica_epoch;
        let wanted = request.topics.into_iter().flat_map(|topic| topic.partitions);
        let to = leader.0 as usize;
        let fetches = wanted.map(|wanted| Flight::Fetch { from: at, life, incarnation, to, wanted, asked });
        self.flights.extend(fetches);
    }

    /// A broker that can't lead says what it still has, while nobody leads.
    fn report(&mut self, at: usize, number: usize) {
        let node = &self.nodes[at];
        let Some(replica) = node.replica(number).filter(|_| !node.cut_off_from_api) else { return };
        let Some(partition) = &replica.partition else { return };
        let seen = replica.seen.clone();
        if !seen.asks_for_report(node.id, node.incarnation) {
            return;
        }
        let (last_epoch, log_end) = partition.last_epoch_and_end();
        let report = RecoveryReport { broker: node.id, incarnation: node.incarnation, last_epoch, log_end };
        if self.api.report(&seen, report) {
            self.note(format!("{at} reports {last_epoch}/{log_end} of {number}"));
        }
    }

    /// A producer sends a record to a broker that believes that it leads.
    pub(crate) fn produce(&mut self) {
        let number = self.random.below(self.producers.len());
        let now = Instant::now();
        let partition = self.producers[number].partition;
        let producer = &mut self.producers[number];
        if producer.waits_since().is_some_and(|since| now - since >= PRODUCERS_PATIENCE) {
            producer.connection = None;
        }
        let there = |c: &Connection| self.nodes[c.to].life == c.life && self.nodes[c.to].process.is_some();
        let connection = match self.producers[number].connection.filter(there) {
            Some(connection) => connection,
            None => {
                let leads = |at: &usize| self.leader_epoch(*at, partition).is_some();
                let leaders: Vec<usize> = (0..self.nodes.len()).filter(leads).collect();
                let Some(&to) = self.random.pick(&leaders) else { return };
                self.connections += 1;
                let connection = Connection { number: self.connections, to, life: self.nodes[to].life };
                let producer = &mut self.producers[number];
                if producer.is_waiting() {
                    *self.counts.entry(Fault::Retries).or_default() += 1;
                }
                producer.connect(connection);
                connection
            }
        };
        // In the end it is time to come to an end.
        let Some((sequence, batch)) = self.producers[number].send(self.faulty, now) else { return };
        self.flights.push(Flight::Produce { producer: number, connection, sequence, batch });
    }

    /// A producer's batch is there.
    fn append(&mut self, producer: usize, connection: Connection, sequence: u32, batch: &bytes::Bytes) -> Result<()> {
        let (at, number) = (connection.to, self.producers[producer].partition);
        let id = self.producers[producer].id(sequence);
        let answer = Flight::Produced { producer, connection, sequence, offset: None };
        let Some(replica) = self.nodes[at].replica_mut(number) else { return Ok(()) };
        let Some(partition) = &replica.partition else {
            self.flights.push(answer);
            return Ok(());
        };
        let Some(header) = BatchHeader::peek(batch) else { bail!("a batch of ours has no header") };
        let named = (partition.topic.clone(), partition.topic_id, partition.number);
        let refusals = replica.refusals.entry(connection.number).or_default();
        let appended = match refusals.of_one_before(&named, &header) {
            Some(code) => Err(AppendError::Behind(code)),
            None => partition.append_from_client(batch, true).inspect_err(|error| {
                refusals.note(named, &header, ErrorCode::from(error));
            }),
        };
        match appended {
            Ok(appended) => {
                let line = format!("{id} at {at}: {} in epoch {}", appended.base_offset, appended.leader_epoch);
                replica.producing.push(Producing { producer, connection: connection.number, sequence, appended });
                self.note(line);
            }
            Err(error) => {
                let forgot = matches!(error, AppendError::Producer(ProducerError::OutOfOrderSequence { .. }));
                let entry = self.api.entry(number);
                let leads = entry.leader == Some(self.nodes[at].id)
                    && self.leader_epoch(at, number) == Some(entry.leader_epoch);
                let expects = &self.producers[producer];
                // Whoever leads knows of each batch that was acknowledged: the one after them is always welcome.
                if forgot && leads && expects.connection == Some(connection) && expects.is_oldest(sequence) {
                    bail!("{id} is the oldest that is not acknowledged, and {at}, which leads, says: {error}");
                }
                self.note(format!("{id} refused by {at}: {error}"));
                self.flights.push(answer);
            }
        }
        Ok(())
    }

    /// A broker looks which of its producers wait no longer.
    pub(crate) fn look_for_acknowledgements(&mut self, at: usize, number: usize) {
        let life = self.nodes[at].life;
        let Some(replica) = self.nodes[at].replica_mut(number) else { return };
        let Some(partition) = &replica.partition else { return };
        let mut answers = Vec::new();
        replica.producing.retain(|producing| {
            let Producing { producer, connection, sequence, appended } = producing;
            let offset = match partition.is_committed(appended) {
                Ok(false) => return true,
                Ok(true) => Some(appended.base_offset),
                Err(_) => None,
            };
            let connection = Connection { number: *connection, to: at, life };
            answers.push(Flight::Produced { producer: *producer, connection, sequence: *sequence, offset });
            false
        });
        self.flights.extend(answers);
    }

    /// An operator looks at a broker.
    pub(crate) fn look_at(&mut self, at: usize) {
        let operator = self.random.below(self.operators.len());
        let (id, truth) = (self.nodes[at].id, self.nodes[at].truth());
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
    pub(crate) fn operate(&mut self, partition: usize) {
        let number = self.random.below(self.operators.len());
        let operator = &mut self.operators[number];
        if operator.paused || self.api.away {
            return;
        }
        if self.random.happens(500) {
            operator.seen[partition] = self.api.shown(&operator.seen[partition], &mut self.random).clone();
            operator.min_in_sync = self.api.min_in_sync;
            return;
        }
        for next in self.operators[number].step() {
            if self.random.happens(500) {
                self.write(format!("operator {number}"), next);
            } else {
                self.flights.push(Flight::Write { by: Writer::Operator(number), next: Box::new(next) });
            }
        }
    }

    pub(crate) fn write(&mut self, who: String, next: Assignment) {
        let line = format!("{who}: {}", short(&next));
        if self.api.write(next) {
            self.note(line);
        } else {
            self.happened(Fault::TwoOperators, format!("{line} (stale)"));
        }
    }
}

/// A leader's answer to a fetch, as the broker's handler gives it.
fn serve(partition: &Partition, wanted: &FetchPartition, reader: Reader) -> PartitionData {
    let from = ReadFrom {
        offset: wanted.fetch_offset,
        current_leader_epoch: wanted.current_leader_epoch,
        last_fetched_epoch: wanted.last_fetched_epoch,
    };
    let answer = PartitionData { partition_index: wanted.partition, ..PartitionData::default() };
    match partition.read(&from, 4 << 10, true, 4 << 10, reader) {
        Ok(read) => PartitionData {
            high_watermark: read.high_watermark,
            last_stable_offset: read.last_stable,
            log_start_offset: read.log_start,
            diverging_epoch: read
                .diverging
                .map_or(answer.diverging_epoch.clone(), |(epoch, end_offset)| EpochEndOffset { epoch, end_offset }),
            records: Some(Records(read.chunk.into_iter().collect())),
            ..answer
        },
        Err(error) => PartitionData {
            error_code: ErrorCode::from(&error),
            high_watermark: -1,
            log_start_offset: error.log_start().unwrap_or(-1),
            records: Some(Records::default()),
            ..answer
        },
    }
}
