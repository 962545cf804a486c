//! Transactions over several keys while brokers are killed. Each key is a list in a partition of its own. A client
//! reads parts of all lists, appends to some of them in one transaction, and commits or aborts (Elle's list-append).
//!
//! `OTTLA_CHAOS_SEED` makes the choices again.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};
use ottla_e2e::last_read::{read, reader, whole};
use ottla_e2e::librdkafka::{LIMIT, config};
use ottla_e2e::need::met;
use ottla_e2e::target::{Maker, needs, ottla_program};
use ottla_e2e::trio::{BROKERS, Trio};
use ottla_history::transactions::{Checker, Given, Isolation, Operation, Outcome, Protocol};
use ottla_history::{Id, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rustix::process::Signal;

const TOPIC: &str = "lists";
const KEYS: i32 = 6;
const CLIENTS: u32 = 4;
/// How long brokers are killed.
const FAULTS: Duration = Duration::from_secs(30);
/// The most records that one transaction reads.
const MOST_READ: usize = 30;

#[test]
fn transactions_over_several_keys_are_whole_whatever_dies() -> Result<()> {
    if !met(&needs()) {
        return Ok(());
    }
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let seed = std::env::var("OTTLA_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now);
    let mut chance = Chance::new(seed);
    let mut trio = Trio::start(Maker::under_test(), &ottla_program()?)?;
    trio.create_topic(TOPIC, KEYS, &[])?;
    let work = Work {
        bootstrap: trio.bootstrap(),
        ends: AtomicBool::new(false),
        clients: AtomicU32::new(0),
        told: Mutex::default(),
    };
    let mut killed = 0;
    std::thread::scope(|scope| {
        let places: Vec<_> = (0..CLIENTS)
            .map(|place| {
                scope.spawn({
                    let work = &work;
                    move || work.fill(place, seed)
                })
            })
            .collect();
        let began = Instant::now();
        let faults = (|| {
            while began.elapsed() < FAULTS {
                let victim = chance.below(u64::from(BROKERS)) as u16;
                trio.end_broker(victim, Signal::KILL)?;
                killed += 1;
                trio.start_broker(victim)?;
                trio.wait_until_whole(TOPIC)?;
            }
            anyhow::Ok(())
        })();
        work.ends.store(true, Ordering::Relaxed);
        for place in places {
            place.join().map_err(|_| anyhow::anyhow!("a client has panicked"))?;
        }
        faults
    })?;

    let mut checker = Checker::default();
    let told = work.told.into_inner().unwrap_or_else(PoisonError::into_inner);
    let committed = |one: &&Operation| matches!(one, Operation::Ended { outcome: Outcome::Committed, .. });
    let committed = told.iter().filter(committed).count();
    told.into_iter().for_each(|operation| checker.observe(operation));
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        read(&trio.bootstrap(), (TOPIC, KEYS), isolation, &mut checker, list, |_| Ok(()))?;
    }
    let (report, clients) = (checker.report(), work.clients.into_inner());
    let shown = format!(
        "OTTLA_CHAOS_SEED={seed}: {killed} brokers killed, {clients} clients, {committed} transactions committed; {report}"
    );
    // Not eprintln: the test harness would swallow it.
    let _ = writeln!(std::io::stderr(), "lists: {shown}");
    ensure!(report.is_good() && committed > 100 && killed > 1, "{shown}");
    Ok(())
}

fn list(key: i32) -> Partition {
    Partition(key.unsigned_abs())
}

/// What all clients share.
struct Work {
    bootstrap: String,
    ends: AtomicBool,
    /// How many clients there were.
    clients: AtomicU32,
    told: Mutex<Vec<Operation>>,
}

impl Work {
    /// Keeps a client at work under this transactional id; one that has failed is followed by another.
    fn fill(&self, place: u32, seed: u64) {
        let mut chance = Chance::new(seed.wrapping_add(u64::from(place) + 1));
        while !self.ends.load(Ordering::Relaxed) {
            let number = self.clients.fetch_add(1, Ordering::Relaxed);
            let ended = Client::start(self, place, number).and_then(|mut client| client.work(&mut chance));
            if ended.is_err() {
                std::thread::sleep(Duration::from_millis(100)); // a client that can't even start, again and again
            }
        }
    }

    fn tell(&self, operation: Operation) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }
}

struct Client<'a> {
    work: &'a Work,
    number: u32,
    producer: ThreadedProducer<DefaultProducerContext>,
    consumer: BaseConsumer,
    sequence: u32,
}

impl Client<'_> {
    fn start(work: &Work, place: u32, number: u32) -> Result<Client<'_>> {
        let mut producing = config(&work.bootstrap, &[("linger.ms", "0"), ("transaction.timeout.ms", "20000")]);
        producing.set("transactional.id", format!("lists-{place}"));
        let producer: ThreadedProducer<_> = producing.create()?;
        producer.init_transactions(LIMIT)?;
        let consumer = reader(&work.bootstrap, Isolation::ReadCommitted, "nobody")?;
        consumer.assign(&whole(TOPIC, KEYS)?)?;
        for key in 0..KEYS {
            work.tell(Operation::Seeked { client: number, partition: list(key), offset: 0 });
        }
        Ok(Client { work, number, producer, consumer, sequence: 0 })
    }

    fn work(&mut self, chance: &mut Chance) -> Result<()> {
        while !self.work.ends.load(Ordering::Relaxed) {
            self.read()?;
            self.append(chance)?;
        }
        Ok(())
    }

    fn read(&self) -> Result<()> {
        for _ in 0..MOST_READ {
            match self.consumer.poll(Duration::from_millis(5)) {
                None => break,
                Some(Ok(message)) => {
                    let id = message.payload().and_then(Id::read);
                    let given = Given { partition: list(message.partition()), offset: message.offset(), id };
                    self.work.tell(Operation::Polled { client: self.number, records: vec![given] });
                }
                // The end of a list, or a broker that has gone: the next poll asks another.
                Some(Err(_)) => {}
            }
        }
        Ok(())
    }

    /// One transaction over two keys or more.
    fn append(&mut self, chance: &mut Chance) -> Result<()> {
        let client = self.number;
        // librdkafka has no other protocol.
        self.work.tell(Operation::Begun { client, protocol: Protocol::V1 });
        self.producer.begin_transaction()?;
        let (first, keys) = (chance.below(KEYS as u64) as i32, 2 + chance.below(KEYS as u64 - 1) as i32);
        for key in (first..first + keys).map(|key| key % KEYS) {
            let id = Id { producer: client, sequence: self.sequence };
            self.sequence += 1;
            self.work.tell(Operation::Sent { id });
            let payload = id.payload(40);
            let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(TOPIC).partition(key).payload(&payload);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        let ended = |outcome| self.work.tell(Operation::Ended { client, outcome });
        if chance.below(5) == 0 {
            ended(Outcome::Aborted);
            return Ok(self.producer.abort_transaction(LIMIT)?);
        }
        if let Err(error) = self.producer.commit_transaction(LIMIT) {
            // Whether it is committed is not known here, unless it can be aborted.
            if self.producer.abort_transaction(LIMIT).is_ok() {
                ended(Outcome::Aborted);
            }
            bail!("commit: {error}");
        }
        ended(Outcome::Committed);
        Ok(())
    }
}

/// An xorshift: enough to choose with.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Chance {
        Chance(seed.max(1))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
