//! What producers of transactions do in the world: lives that follow each other and overlap, coordinators that are
//! killed while a transaction ends, and requests that arrive late, or once more. In some seeds they are jobs: each is a
//! member of a group, and makes a transaction of what it reads ([`crate::input`]).

use std::time::Duration;

use anyhow::Result;
use ottla_history::transactions::Protocol;
use ottla_rules::assignment::LeaderEpoch;
use ottla_wire::Bytes;

use crate::client::{Asked, Connection, PATIENCE};
use crate::fault::Fault;
use crate::input::{self, Input};
use crate::judges::{Judges, TRANSACTIONAL};
use crate::random::Random;
use crate::topics::{JOBS, MOST_ENTRIES, OFFSETS, STATE};
use crate::transactional::{self, Heard, Writer, has_no_place};
use crate::world::World;

/// Transactional ids.
const IDS: usize = 4;
/// Most producers of one transactional id at a time.
const MOST_LIVES: usize = 2;
/// How long an application may do nothing in the middle of a transaction: its time-out, and longer than it takes the
/// coordinator to notice.
const SLEEP: Duration = Duration::from_secs(20);
/// How often, in a thousand times that a producer may do something, something happens to one of them; and to jobs,
/// which have more to do for each transaction.
const TROUBLE: usize = 30;
const JOBS_TROUBLE: usize = 5;
/// Jobs of a group.
const MEMBERS: usize = 2;
/// Requests that may arrive once more.
const MOST_STRAYS: usize = 8;

/// The producers of transactions.
pub(crate) struct Ledger {
    /// They are jobs.
    pub has_jobs: bool,
    hands: Vec<Hand>,
    lives: u32,
    /// Copies of requests, and the entries whose leaders they are for.
    strays: Vec<(usize, Vec<u8>)>,
    /// Connections that such copies were sent on, and since when they are there.
    stray: Vec<(u64, Duration)>,
}

/// A producer with its connections, by the entries whose leaders they go to.
struct Hand {
    writer: Writer,
    /// What it makes its records of, if it is a job.
    input: Option<Input>,
    connections: [Option<Connection>; MOST_ENTRIES],
    asked: Option<Asked<Request>>,
    /// Until when its application does nothing, while there are faults.
    sleeps_until: Duration,
}

/// What was asked, and of the leader of which entry.
#[derive(Clone, Copy, Debug)]
struct Request {
    turn: Turn,
    entry: usize,
    /// The epoch of that leader, if it leads by the newest entry.
    sure_of: Option<LeaderEpoch>,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Write(transactional::Turn),
    Read(input::Turn),
}

impl Hand {
    /// What it asks next, and the entry whose leader is to be asked.
    fn ask(
        &mut self,
        is_faulty: bool,
        now: Duration,
        random: &mut Random,
        judges: &mut Judges,
    ) -> Option<(Turn, usize, Vec<u8>)> {
        let Hand { writer, input, .. } = self;
        let read = |(turn, entry, bytes)| (Turn::Read(turn), entry, bytes);
        match input {
            None if is_faulty => writer.begin(None, random, judges),
            Some(input) if is_faulty => {
                if (!writer.is_idle() || writer.is_ready())
                    && let Some(beat) = input.beat(writer.takes(), now)
                {
                    return Some(read(beat));
                }
                if writer.is_ready() {
                    return input.read(random, judges, now).map(read);
                }
            }
            None | Some(_) => {}
        }
        writer.ask(judges).map(|(turn, entry, bytes)| (Turn::Write(turn), entry, bytes))
    }

    /// Whether a copy of what it asks may arrive late. Of a job of the first protocol it may not: brokers would take it
    /// for a part of the next transaction (KAFKA-17754).
    fn may_be_copied(&self, turn: Turn) -> bool {
        match (turn, &self.input) {
            (Turn::Write(_), None) => true,
            (Turn::Write(_) | Turn::Read(input::Turn::Member(_)), Some(_)) => self.writer.protocol() == Protocol::V2,
            (Turn::Read(_), _) => false,
        }
    }

    /// It does not wait for the answer any more.
    fn loses_patience(&mut self, judges: &mut Judges) {
        let asked = self.asked.take();
        let may_be_late = matches!(asked, Some(Asked { what: Request { turn: Turn::Write(_), .. }, .. }));
        // Only another epoch keeps what it has asked out of its next transaction.
        if may_be_late && self.input.is_some() && self.writer.protocol() == Protocol::V1 {
            self.writer.end(judges);
        }
    }
}

impl Ledger {
    /// A producer for each transactional id.
    pub(crate) fn new(has_jobs: bool) -> Ledger {
        let mut ledger = Ledger { has_jobs, hands: Vec::new(), lives: 0, strays: Vec::new(), stray: Vec::new() };
        (0..IDS).for_each(|id| ledger.live(id, None));
        ledger
    }

    /// Another life of an application; or of a producer alone, if the job's `input` stays.
    fn live(&mut self, id: usize, input: Option<Input>) {
        // An application may be replaced by one with a newer client library.
        let protocol = if (self.lives as usize + id).is_multiple_of(3) { Protocol::V1 } else { Protocol::V2 };
        let number = TRANSACTIONAL + self.lives;
        self.lives += 1;
        let input = match input {
            Some(mut input) => {
                input.begin_again(number);
                Some(input)
            }
            None => self.has_jobs.then(|| Input::new(JOBS + id / MEMBERS, number)),
        };
        let writer = Writer::new(number, id, protocol);
        let (connections, sleeps_until) = ([None; MOST_ENTRIES], Duration::ZERO);
        self.hands.push(Hand { writer, input, connections, asked: None, sleeps_until });
    }

    /// Whether no transaction is open that its producer knows of.
    pub(crate) fn is_done(&self) -> bool {
        self.hands.iter().all(|hand| hand.writer.is_idle())
    }
}

impl World {
    /// One of those who make transactions does something, if there is any.
    pub(crate) fn write_ledger(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        let trouble = if ledger.has_jobs { JOBS_TROUBLE } else { TROUBLE };
        if self.faulty && self.random.happens(trouble) {
            return self.trouble_ledger();
        }
        let number = self.random.below(ledger.hands.len());
        if self.is_waiting(number) {
            return;
        }
        let Some(ledger) = &mut self.ledger else { return };
        let hand = &mut ledger.hands[number];
        if self.faulty && self.now < hand.sleeps_until {
            return;
        }
        if hand.writer.is_over() {
            let (id, connections) = (hand.writer.id, hand.connections);
            let is_only_one = ledger.hands.iter().filter(|other| other.writer.id == id).count() == 1;
            if self.faulty || !is_only_one {
                let Hand { input, .. } = ledger.hands.remove(number);
                connections.into_iter().flatten().for_each(|connection| self.network.give_up(connection.number));
                if self.faulty && is_only_one {
                    ledger.live(id, input);
                }
            }
            return;
        }
        let asked = hand.ask(self.faulty, self.now, &mut self.random, &mut self.checker);
        let Some((turn, entry, bytes)) = asked else { return };
        let open = hand.connections[entry].filter(|connection| self.network.is_open(connection.number));
        let Some(connection) = open.or_else(|| self.connect(entry, None)) else { return };
        self.network.send(connection.number, &bytes);
        let is_copied = self.faulty && self.random.happens(100);
        let sure_of = self.sure_of(connection.to, entry);
        let Some(ledger) = &mut self.ledger else { return };
        let hand = &mut ledger.hands[number];
        hand.connections[entry] = Some(connection);
        hand.asked = Some(Asked { at: self.now, what: Request { turn, entry, sure_of } });
        if is_copied && hand.may_be_copied(turn) && ledger.strays.len() < MOST_STRAYS {
            ledger.strays.push((entry, bytes));
        }
    }

    /// Whether a producer waits for an answer. If it does so for too long, it looks for another broker.
    fn is_waiting(&mut self, number: usize) -> bool {
        let Some(ledger) = &mut self.ledger else { return false };
        let hand = &mut ledger.hands[number];
        let Some(Asked { at, what: Request { turn, entry, .. } }) = hand.asked else { return false };
        // A rebalance may take as long as a member is waited for.
        let patience = if let Turn::Read(_) = turn { 2 * PATIENCE } else { PATIENCE };
        let connection = hand.connections[entry].filter(|connection| self.network.is_open(connection.number));
        if connection.is_some() && self.now - at < patience {
            return true;
        }
        hand.loses_patience(&mut self.checker);
        hand.connections[entry] = None;
        if let Some(connection) = connection {
            self.network.give_up(connection.number);
        }
        false
    }

    /// Something happens that transactions must survive.
    fn trouble_ledger(&mut self) {
        let Some(ledger) = &mut self.ledger else { return };
        let number = self.random.below(ledger.hands.len());
        let id = ledger.hands[number].writer.id;
        match self.random.below(8) {
            0 => {
                let hand = &mut ledger.hands[number];
                hand.writer.end(&mut self.checker);
                if let Some(input) = &mut hand.input {
                    input.end();
                }
                self.note(format!("a producer of ledger {id} crashes"));
            }
            1 if ledger.hands.iter().filter(|hand| hand.writer.id == id).count() < MOST_LIVES => {
                ledger.live(id, None);
                self.note(format!("ledger {id} has another producer beside the first one"));
            }
            2 if ledger.hands.iter().any(|hand| hand.writer.is_ending()) => {
                self.kill_coordinator(STATE, "a transaction that ends");
            }
            3 if !ledger.hands[number].writer.is_idle() => {
                ledger.hands[number].sleeps_until = self.now + SLEEP;
                self.note(format!("a producer of ledger {id} sleeps in the middle of a transaction"));
            }
            4 | 5 if ledger.hands.iter().any(|hand| hand.writer.has_pending_offset()) => {
                let entry = [OFFSETS, STATE][self.random.below(2)];
                self.kill_coordinator(entry, "a transaction with a pending offset");
            }
            _ if !ledger.strays.is_empty() => {
                let at = self.random.below(ledger.strays.len());
                let (entry, bytes) = ledger.strays.swap_remove(at);
                let Some(connection) = self.connect(entry, None) else { return };
                self.network.send(connection.number, &bytes);
                self.happened(Fault::TornTransactions, format!("a request arrives once more at {}", connection.to));
                if let Some(ledger) = &mut self.ledger {
                    ledger.stray.push((connection.number, self.now));
                }
            }
            _ => {}
        }
    }

    /// The leader of this entry is killed, which coordinates `what`.
    fn kill_coordinator(&mut self, entry: usize, what: &str) {
        let Some(at) = (0..self.nodes.len()).find(|at| self.leader_epoch(*at, entry).is_some()) else { return };
        self.happened(Fault::Killed, format!("kill {at}, which coordinates {what}"));
        self.nodes[at].kill();
    }

    /// Producers of transactions hear what has come for them.
    pub(crate) fn hear_of_ledger(&mut self) -> Result<()> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        let (now, network) = (self.now, &mut self.network);
        ledger.stray.retain(|(connection, since)| {
            let is_over = network.receive(*connection).is_some() || now - *since >= PATIENCE;
            if is_over {
                network.give_up(*connection);
            }
            !is_over
        });
        for number in 0..ledger.hands.len() {
            self.hear_of_hand(number)?;
        }
        Ok(())
    }

    fn hear_of_hand(&mut self, number: usize) -> Result<()> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        let hand = &mut ledger.hands[number];
        let Some(Asked { what: Request { turn, entry, sure_of }, .. }) = hand.asked else { return Ok(()) };
        let Some(connection) = hand.connections[entry] else { return Ok(()) };
        let Some(frame) = self.network.receive(connection.number) else { return Ok(()) };
        hand.asked = None;
        match turn {
            Turn::Write(turn) => self.hear_of_writing(number, turn, entry, connection, frame),
            Turn::Read(turn) => {
                let is_sure = sure_of == Some(self.api.entry(entry).leader_epoch);
                self.hear_of_input(number, turn, entry, is_sure, frame)
            }
        }
    }

    fn hear_of_writing(
        &mut self,
        number: usize,
        turn: transactional::Turn,
        entry: usize,
        connection: Connection,
        frame: Bytes,
    ) -> Result<()> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        let hand = &mut ledger.hands[number];
        let heard = hand.writer.answered(turn, frame, &mut self.checker)?;
        let name = format!("producer {} of ledger {}", hand.writer.number, hand.writer.id);
        match heard {
            Heard::Done => self.note(format!("{name}: {turn:?} is done at {}", connection.to)),
            Heard::Record { partition, offset } => {
                self.shown[partition] = self.shown[partition].max(offset.map_or(0, |offset| offset + 1));
                self.note(format!("{name}: a record acknowledged by {} at {offset:?}", connection.to));
            }
            Heard::Ended(taken) => {
                if taken.is_none() {
                    hand.input.iter_mut().for_each(Input::forget);
                }
                self.note(format!("{name}: {turn:?} is done at {}", connection.to));
                if let Some(taken) = taken {
                    self.happened(Fault::OffsetsInTransactions, format!("{name}: committed with {taken:?}"));
                }
            }
            Heard::Refused(code) => {
                hand.connections[entry] = None;
                self.network.give_up(connection.number);
                let line = format!("{name}: {turn:?} refused by {}: {code:?}", connection.to);
                if turn == transactional::Turn::CommitOffsets && has_no_place(code) {
                    self.happened(Fault::MemberFenced, line);
                } else {
                    self.note(line);
                }
            }
        }
        Ok(())
    }

    fn hear_of_input(
        &mut self,
        number: usize,
        turn: input::Turn,
        entry: usize,
        is_sure: bool,
        frame: Bytes,
    ) -> Result<()> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        let hand = &mut ledger.hands[number];
        let Some(input) = &mut hand.input else { return Ok(()) };
        let name = format!("job {} of ledger {}", hand.writer.number, hand.writer.id);
        match input.answered(turn, frame, is_sure, &mut self.checker)? {
            input::Heard::Done => self.note(format!("{name}: {turn:?} is done")),
            input::Heard::Unstable => self.happened(Fault::PendingOffsets, format!("{name}: {turn:?} is unstable")),
            input::Heard::Input(taken) => {
                self.shown[taken.partition] = self.shown[taken.partition].max(taken.offsets.end);
                let line = format!("{name} takes {taken:?}");
                hand.writer.begin(Some(taken), &mut self.random, &mut self.checker);
                self.note(line);
            }
            input::Heard::Refused(code) => {
                if let Some(connection) = hand.connections[entry].take() {
                    self.network.give_up(connection.number);
                }
                self.note(format!("{name}: {turn:?} refused: {code:?}"));
            }
        }
        Ok(())
    }
}
