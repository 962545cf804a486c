//! What producers of transactions do in the world: lives that follow each other and overlap, coordinators that are
//! killed while a transaction ends, and requests that arrive late, or once more.

use std::time::Duration;

use anyhow::Result;
use ottla_history::transactions::Protocol;

use crate::client::{Asked, Connection, PATIENCE, TRANSACTIONAL};
use crate::fault::Fault;
use crate::topics::{MOST_ENTRIES, STATE};
use crate::transactional::{Heard, Turn, Writer};
use crate::world::World;

/// Transactional ids.
const IDS: usize = 4;
/// Most producers of one transactional id at a time.
const MOST_LIVES: usize = 2;
/// How long an application may do nothing in the middle of a transaction: its time-out, and longer than it takes the
/// coordinator to notice.
const SLEEP: Duration = Duration::from_secs(20);
/// Requests that may arrive once more.
const MOST_STRAYS: usize = 8;

/// The producers of transactions.
pub(crate) struct Ledger {
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
    connections: [Option<Connection>; MOST_ENTRIES],
    asked: Option<Asked<(Turn, usize)>>,
    /// Until when its application does nothing, while there are faults.
    sleeps_until: Duration,
}

impl Ledger {
    /// A producer for each transactional id.
    pub(crate) fn new() -> Ledger {
        let mut ledger = Ledger { hands: Vec::new(), lives: 0, strays: Vec::new(), stray: Vec::new() };
        (0..IDS).for_each(|id| ledger.live(id));
        ledger
    }

    /// Another life of an application.
    fn live(&mut self, id: usize) {
        // An application may be replaced by one with a newer client library.
        let protocol = if (self.lives as usize + id).is_multiple_of(3) { Protocol::V1 } else { Protocol::V2 };
        let writer = Writer::new(TRANSACTIONAL + self.lives, id, protocol);
        self.lives += 1;
        self.hands.push(Hand { writer, connections: [None; MOST_ENTRIES], asked: None, sleeps_until: Duration::ZERO });
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
        if self.faulty && self.random.happens(30) {
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
                ledger.hands.remove(number);
                connections.into_iter().flatten().for_each(|connection| self.network.give_up(connection.number));
            }
            if self.faulty && is_only_one {
                ledger.live(id);
            }
            return;
        }
        if self.faulty {
            hand.writer.begin(&mut self.random, &mut self.checker.transactions);
        }
        let Some((turn, entry, bytes)) = hand.writer.ask(&mut self.checker.transactions) else { return };
        let open = hand.connections[entry].filter(|connection| self.network.is_open(connection.number));
        let Some(connection) = open.or_else(|| self.connect(entry, None)) else { return };
        self.network.send(connection.number, &bytes);
        let is_copied = self.faulty && self.random.happens(100);
        let Some(ledger) = &mut self.ledger else { return };
        let hand = &mut ledger.hands[number];
        hand.connections[entry] = Some(connection);
        hand.asked = Some(Asked { at: self.now, what: (turn, entry) });
        if is_copied && ledger.strays.len() < MOST_STRAYS {
            ledger.strays.push((entry, bytes));
        }
    }

    /// Whether a producer waits for an answer. If it does so for too long, it looks for another broker.
    fn is_waiting(&mut self, number: usize) -> bool {
        let Some(ledger) = &mut self.ledger else { return false };
        let hand = &mut ledger.hands[number];
        let Some(Asked { at, what: (_, entry) }) = hand.asked else { return false };
        let connection = hand.connections[entry].filter(|connection| self.network.is_open(connection.number));
        if connection.is_some() && self.now - at < PATIENCE {
            return true;
        }
        hand.asked = None;
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
                ledger.hands[number].writer.end(&mut self.checker.transactions);
                self.note(format!("a producer of ledger {id} crashes"));
            }
            1 if ledger.hands.iter().filter(|hand| hand.writer.id == id).count() < MOST_LIVES => {
                ledger.live(id);
                self.note(format!("ledger {id} has another producer beside the first one"));
            }
            2 if ledger.hands.iter().any(|hand| hand.writer.is_ending()) => {
                let leads = |at: &usize| self.leader_epoch(*at, STATE).is_some();
                if let Some(at) = (0..self.nodes.len()).find(leads) {
                    self.happened(Fault::Killed, format!("kill {at}, which coordinates a transaction that ends"));
                    self.nodes[at].kill();
                }
            }
            3 if !ledger.hands[number].writer.is_idle() => {
                ledger.hands[number].sleeps_until = self.now + SLEEP;
                self.note(format!("a producer of ledger {id} sleeps in the middle of a transaction"));
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
        let Some(Asked { what: (turn, entry), .. }) = hand.asked else { return Ok(()) };
        let Some(connection) = hand.connections[entry] else { return Ok(()) };
        let Some(frame) = self.network.receive(connection.number) else { return Ok(()) };
        hand.asked = None;
        let heard = hand.writer.answered(turn, frame, &mut self.checker.transactions)?;
        let name = format!("producer {} of ledger {}", hand.writer.number, hand.writer.id);
        match heard {
            Heard::Done => self.note(format!("{name}: {turn:?} is done at {}", connection.to)),
            Heard::Record { partition, offset } => {
                self.shown[partition] = self.shown[partition].max(offset.map_or(0, |offset| offset + 1));
                self.note(format!("{name}: a record acknowledged by {} at {offset:?}", connection.to));
            }
            Heard::Refused(code) => {
                hand.connections[entry] = None;
                self.network.give_up(connection.number);
                self.note(format!("{name}: {turn:?} refused by {}: {code:?}", connection.to));
            }
        }
        Ok(())
    }
}
