//! librdkafka's producer.

use anyhow::{Result, anyhow};
use ottla_e2e::librdkafka::config;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::{LIMIT, PACE, PARTITIONS, Seen};

/// librdkafka's own, but for these. Whatever brokers do, a request to a frozen one times out after socket.timeout.ms,
/// and one that was refused is sent again after retry.backoff.ms: their defaults, a minute and 100 ms, would be all
/// that is measured.
const SETTINGS: [(&str, &str); 5] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "0"),
    ("socket.timeout.ms", "1000"),
    ("retry.backoff.ms", "10"),
];

/// A producer and the thread that feeds it.
pub(super) struct Sending {
    producer: Arc<ThreadedProducer<Outcomes>>,
    stop: Arc<AtomicBool>,
    sending: JoinHandle<Result<()>>,
}

struct Outcomes(Arc<Seen>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => self.0.acknowledged(usize::try_from(message.partition()).unwrap_or_default()),
            Err((error, _)) => self.0.given_up(error.to_string()),
        }
    }
}

impl Sending {
    pub(super) fn start(bootstrap: &str, topic: &str, seen: Arc<Seen>) -> Result<Sending> {
        let producer: Arc<ThreadedProducer<Outcomes>> =
            Arc::new(config(bootstrap, &SETTINGS).create_with_context(Outcomes(seen))?);
        let stop = Arc::new(AtomicBool::new(false));
        let sending = std::thread::spawn({
            let (producer, stop, topic) = (producer.clone(), stop.clone(), topic.to_owned());
            move || send(&producer, &topic, &stop)
        });
        Ok(Sending { producer, stop, sending })
    }

    /// Stops when every record has its outcome.
    pub(super) fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.join().map_err(|_| anyhow!("the sending thread panicked"))??;
        Ok(self.producer.flush(LIMIT)?)
    }
}

/// Sends to all partitions in turn until it is stopped.
fn send(producer: &ThreadedProducer<Outcomes>, topic: &str, stop: &AtomicBool) -> Result<()> {
    for partition in (0..PARTITIONS as i32).cycle() {
        while !stop.load(Ordering::Relaxed) {
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload("a record of a few bytes");
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => std::thread::sleep(PACE),
                Err((error, _)) => return Err(error.into()),
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(PACE);
    }
    Ok(())
}
