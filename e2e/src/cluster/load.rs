//! Clients that must not notice what a test does: a producer of numbered records and a consumer group, on librdkafka.

use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::LIMIT;
use crate::librdkafka::{Member, Record, Sender, leave_all, read_together};
use crate::wait::until;

/// A hundred records a second: always one on its way, and a core left for everybody else.
const PACE: Duration = Duration::from_millis(10);

/// Nothing lost, nothing twice, in order: what a careful application sets.
const CAREFUL: &[(&str, &str)] = &[("acks", "all"), ("enable.idempotence", "true")];

/// A running load.
pub struct Load {
    sender: Arc<Sender>,
    stop: Arc<AtomicBool>,
    longest_pause_ms: Arc<AtomicU64>,
    sending: JoinHandle<Result<()>>,
    members: Vec<Member>,
}

/// What came of a load.
pub struct Summary {
    /// Records sent, acknowledged and read once.
    pub records: usize,
    /// The longest time without an acknowledgement.
    pub longest_pause: Duration,
}

impl Load {
    /// Starts it and waits until records arrive.
    pub fn start(bootstrap: &str, topic: &str) -> Result<Load> {
        let sender = Arc::new(Sender::new(bootstrap, CAREFUL)?);
        let (stop, longest_pause_ms) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sending = std::thread::spawn({
            let (sender, stop, pause, topic) =
                (sender.clone(), stop.clone(), longest_pause_ms.clone(), topic.to_owned());
            move || send(&sender, &topic, &stop, &pause)
        });
        let join = |_| Member::join(bootstrap, &format!("readers-of-{topic}"), topic, &[]);
        let members = (0..2).map(join).collect::<Result<Vec<_>>>()?;
        let load = Load { sender, stop, longest_pause_ms, sending, members };
        load.goes_on()?;
        Ok(load)
    }

    /// Waits until a hundred more records were acknowledged and read.
    pub fn goes_on(&self) -> Result<()> {
        let read = || self.members.iter().map(Member::read).sum::<usize>();
        let (acknowledged, seen) = (self.sender.acknowledged() + 100, read() + 100);
        until(LIMIT, "a hundred more records acknowledged", || {
            ensure!(!self.sending.is_finished(), "the producer gave up");
            Ok((self.sender.acknowledged() >= acknowledged).then_some(()))
        })?;
        until(LIMIT, "a hundred more records read", || Ok((read() >= seen).then_some(())))
    }

    /// Ends it: every record was acknowledged, and is read once and in order.
    pub fn finish(self) -> Result<Summary> {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.join().map_err(|_| anyhow::anyhow!("the sending thread panicked"))??;
        let sender = Arc::into_inner(self.sender).context("nobody else holds the producer")?;
        let records = sender.finish()?;
        read_together(&self.members, records)?;
        let mut found = leave_all(self.members)?;
        // A group that shares its partitions anew may read a record again, at the same place.
        found.dedup_by_key(|found| (found.partition, found.offset));
        ensure!(found.len() == records, "{} records are there, {records} were sent", found.len());
        for pair in found.windows(2) {
            let [first, second] = pair else { continue };
            let in_order = first.partition != second.partition || first.record.timestamp < second.record.timestamp;
            ensure!(in_order, "{first:?} lies before {second:?}");
        }
        let longest_pause = Duration::from_millis(self.longest_pause_ms.load(Ordering::Relaxed));
        Ok(Summary { records, longest_pause })
    }
}

/// Sends records whose timestamps count up, until it is told to stop.
fn send(sender: &Sender, topic: &str, stop: &AtomicBool, longest_pause_ms: &AtomicU64) -> Result<()> {
    const FIRST: i64 = 1_700_000_000_000;
    let (mut acknowledged, mut since) = (0, Instant::now());
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let value = number.to_string().into_bytes();
        let key = Some(format!("key {}", number % 97).into_bytes());
        sender.send(topic, None, &Record { key, value, timestamp: FIRST + number, headers: vec![] })?;
        std::thread::sleep(PACE);
        if sender.acknowledged() > acknowledged {
            (acknowledged, since) = (sender.acknowledged(), Instant::now());
        }
        longest_pause_ms.fetch_max(since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
    Ok(())
}
