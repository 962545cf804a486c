//! What a connection keeps while its client says who it is, and what all connections share to check passwords.

use std::collections::HashMap;
use std::net::IpAddr;

use ottla_access::Login;
use ottla_access::sasl::plain::{PasswordCheck, Remembered};
use ottla_access::sasl::{Exchange, Identity, Reason};
use ottla_wire::Str;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::env::{self, Workers};

/// How far a client has come with saying who it is.
pub(super) struct Authentication {
    pub(super) login: Login,
    /// The exchange of tokens that is under way; `None`: there is none.
    pub(super) exchange: Option<Exchange>,
    /// The name and uid of the KafkaUser that the client is; `None`: of no KafkaUser.
    pub(super) user: Option<(Str, String)>,
}

impl Authentication {
    pub(super) fn new(login: Login) -> Authentication {
        Authentication { login, exchange: None, user: None }
    }
}

/// What the connections of a broker share to check passwords.
pub struct Passwords {
    remembered: Mutex<Remembered>,
    /// The places of checks that run, or wait for a turn.
    places: Places,
    /// The turns of checks on the workers, which also sync the disk.
    turns: Semaphore,
}

/// How many passwords are checked at the same time.
const CHECKS: usize = 2;
/// How many may be checked or wait for it: about a second's work. Beyond that, connections end, and clients try again.
const PLACES: usize = 1000;
/// How many of them one network may have: strangers who fill their share keep nobody out who comes from elsewhere.
const SHARE: usize = PLACES / 4;

impl Default for Passwords {
    /// Nothing remembered yet.
    fn default() -> Passwords {
        let key = [env::random_bytes(), env::random_bytes()].concat();
        let remembered = Mutex::new(Remembered::new(&key));
        Passwords { remembered, places: Places::default(), turns: Semaphore::new(CHECKS) }
    }
}

impl Passwords {
    /// Checks a password that came from `network` (`Peer::network`), unless the same one was
    /// right before.
    pub(super) async fn check(
        &self,
        workers: &Workers,
        network: IpAddr,
        check: PasswordCheck,
    ) -> Result<Identity, Reason> {
        let sign = self.remembered.lock().sign(&check);
        if self.remembered.lock().contains(&sign) {
            return Ok(check.identity());
        }
        let _place = self.places.take(network).ok_or(Reason::Busy)?;
        let _turn = self.turns.acquire().await.map_err(|_| Reason::Over)?;
        // After a start, all clients of one user come at once: the first of them is enough.
        if self.remembered.lock().contains(&sign) {
            return Ok(check.identity());
        }
        let identity = workers.run(move || check.run()).await?;
        self.remembered.lock().remember(sign);
        Ok(identity)
    }
}

/// The places of checks, of which each network has a share.
#[derive(Default)]
struct Places(Mutex<Taken>);

/// The places that are taken. Always: `all` is the sum of `by_network`, where no count is zero.
#[derive(Default)]
struct Taken {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
struct CheckPlace<'a> {
    places: &'a Places,
    network: IpAddr,
}

impl Places {
    /// A place; `None`: all are taken, or the share of the network.
    fn take(&self, network: IpAddr) -> Option<CheckPlace<'_>> {
        let taken = &mut *self.0.lock();
        if taken.all >= PLACES || taken.by_network.get(&network).is_some_and(|count| *count >= SHARE) {
            return None;
        }
        taken.all += 1;
        *taken.by_network.entry(network).or_default() += 1;
        Some(CheckPlace { places: self, network })
    }
}

impl Drop for CheckPlace<'_> {
    fn drop(&mut self) {
        let taken = &mut *self.places.0.lock();
        taken.all -= 1;
        if let Some(count) = taken.by_network.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.by_network.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::poll;
    use ottla_access::sasl::{Credentials, Issuers, LoginInputs, Mechanism, SaslStep, plain};

    use super::*;

    /// A check of a wrong password.
    fn guess() -> PasswordCheck {
        let known = LoginInputs { credentials: &Credentials::default(), issuers: &Issuers::default(), now_ms: 0 };
        match Exchange::new(Mechanism::Plain, [0; 16]).step(&plain::message("alice", "a guess"), known) {
            SaslStep::Check(check) => *check,
            SaslStep::Challenge(_) | SaslStep::Done(..) | SaslStep::Failed(_) => {
                unreachable!("a password is to be checked")
            }
        }
    }

    type Waiting<'a> = Vec<Pin<Box<dyn Future<Output = Result<Identity, Reason>> + 'a>>>;

    /// Checks from a network that all wait for their turn.
    async fn wait<'a>(passwords: &'a Passwords, workers: &'a Workers, network: IpAddr, count: usize) -> Waiting<'a> {
        let mut waiting: Waiting<'a> = Vec::new();
        for _ in 0..count {
            let mut check = Box::pin(passwords.check(workers, network, guess()));
            assert!(poll!(&mut check).is_pending());
            waiting.push(check);
        }
        waiting
    }

    fn network(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    #[tokio::test]
    async fn so_many_passwords_wait_and_no_more() {
        let (passwords, workers) = (Passwords::default(), Workers::start(1).unwrap());
        let turns = passwords.turns.acquire_many(2).await.unwrap();
        let mut waiting = Vec::new();
        for n in 1..=4 {
            waiting.extend(wait(&passwords, &workers, network(n), SHARE).await);
        }
        assert!(matches!(passwords.check(&workers, network(5), guess()).await, Err(Reason::Busy)));
        // A place is free again when a connection ends, and when a password was checked.
        waiting.truncate(1);
        drop(turns);
        assert!(matches!(waiting.remove(0).await, Err(Reason::Credentials)));
        assert!(matches!(passwords.check(&workers, network(5), guess()).await, Err(Reason::Credentials)));
        let taken = passwords.places.0.lock();
        assert_eq!((taken.all, taken.by_network.len()), (0, 0));
    }

    #[tokio::test]
    async fn passwords_from_one_network_leave_places_for_those_from_elsewhere() {
        let (passwords, workers) = (Passwords::default(), Workers::start(1).unwrap());
        let turns = passwords.turns.acquire_many(2).await.unwrap();
        let mut waiting = wait(&passwords, &workers, network(1), SHARE).await;
        assert!(matches!(passwords.check(&workers, network(1), guess()).await, Err(Reason::Busy)));
        waiting.extend(wait(&passwords, &workers, network(2), 1).await);
        // The network has its share again when one of its own connections ends, and not when another one's does.
        waiting.pop();
        assert!(matches!(passwords.check(&workers, network(1), guess()).await, Err(Reason::Busy)));
        waiting.pop();
        waiting.extend(wait(&passwords, &workers, network(1), 1).await);
        drop(waiting);
        drop(turns);
        assert!(matches!(passwords.check(&workers, network(1), guess()).await, Err(Reason::Credentials)));
    }
}
