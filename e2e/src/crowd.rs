//! Many clients that connect at the same moment, as after a broker's restart: under TLS and by SCRAM, each in a thread.

use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use ottla_wire::MetadataRequest;

use crate::raw::Connection;
use crate::{scram, trusting};

/// The pause of a client that was not served, and the longest: as Kafka's clients have them (`reconnect.backoff.ms`,
/// `reconnect.backoff.max.ms`).
const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// A client that is not served in this time fails.
const LIMIT: Duration = Duration::from_secs(300);
/// Of a client's thread: a handshake of TLS fits, also in a debug build.
const STACK: usize = 256 << 10;

/// Clients that are connected, all by now.
pub struct Crowd {
    /// Their connections.
    pub connections: Vec<Connection>,
    /// How long it took until all were served.
    pub took: Duration,
    /// How often a client had to try again.
    pub retries: usize,
}

/// Connects so many clients of this user at the same moment; each is served when a first request of it is answered.
pub fn connect(address: &str, count: usize, user: &str) -> Result<Crowd> {
    // The clients wait at it. It holds when they began.
    let gate: RwLock<Option<Instant>> = RwLock::new(None);
    thread::scope(|scope| {
        let mut closed = gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut threads = Vec::with_capacity(count);
        for _ in 0..count {
            let client = || {
                let begin = *gate.read().unwrap_or_else(PoisonError::into_inner);
                persist(address, user, begin.context("the clients were not started")?)
            };
            threads.push(thread::Builder::new().stack_size(STACK).spawn_scoped(scope, client)?);
        }
        let begin = Instant::now();
        *closed = Some(begin);
        drop(closed);
        let mut crowd = Crowd { connections: Vec::with_capacity(count), took: Duration::ZERO, retries: 0 };
        for thread in threads {
            let (connection, retries) = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            crowd.connections.push(connection);
            crowd.retries += retries;
        }
        crowd.took = begin.elapsed();
        Ok(crowd)
    })
}

/// Tries until it is served; its connection, and how often it had to try again.
fn persist(address: &str, user: &str, begin: Instant) -> Result<(Connection, usize)> {
    let [mut pause, most] = BACKOFF;
    for retries in 0.. {
        match served(address, user) {
            Ok(connection) => return Ok((connection, retries)),
            Err(error) if begin.elapsed() > LIMIT => return Err(error),
            Err(_) => thread::sleep(pause),
        }
        pause = (2 * pause).min(most);
    }
    unreachable!("it ends at the limit")
}

fn served(address: &str, user: &str) -> Result<Connection> {
    let mut connection = Connection::open_secure(address, trusting::config())?;
    scram::login(&mut connection, user)?;
    let of_brokers = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    connection.ask(12, &of_brokers)?.context("the broker closed the connection")?;
    Ok(connection)
}
