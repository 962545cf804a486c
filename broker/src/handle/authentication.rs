//! What a connection keeps while its client says who it is, and what all connections share to check passwords.

use ottla_access::Login;
use ottla_access::sasl::plain::{PasswordCheck, Remembered};
use ottla_access::sasl::{Exchange, Identity, Reason};
use ottla_wire::Str;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::env::{self, Workers};

/// How far a client has come with saying who it is.
pub struct Authentication {
    pub(super) login: Login,
    /// The exchange of tokens that is under way.
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
    places: Semaphore,
    /// The turns of checks on the workers, which also sync the disk.
    turns: Semaphore,
}

/// How many passwords are checked at the same time.
const CHECKS: usize = 2;
/// How many may be checked or wait for it: about a second's work. Beyond that, connections end, and clients try again.
const PLACES: usize = 1000;

impl Default for Passwords {
    /// Nothing remembered yet.
    fn default() -> Passwords {
        let key = [env::random_bytes(), env::random_bytes()].concat();
        let remembered = Mutex::new(Remembered::new(&key));
        Passwords { remembered, places: Semaphore::new(PLACES), turns: Semaphore::new(CHECKS) }
    }
}

impl Passwords {
    /// Checks a password, unless the same one was right before.
    pub(super) async fn check(&self, workers: &Workers, check: PasswordCheck) -> Result<Identity, Reason> {
        let sign = self.remembered.lock().sign(&check);
        if self.remembered.lock().contains(&sign) {
            return Ok(check.identity());
        }
        let _place = self.places.try_acquire().map_err(|_| Reason::Busy)?;
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

#[cfg(test)]
mod tests {
    use futures::poll;
    use ottla_access::sasl::{Credentials, Issuers, Known, Mechanism, Step, plain};

    use super::*;

    /// A check of a wrong password.
    fn guess() -> PasswordCheck {
        let known = Known { credentials: &Credentials::default(), issuers: &Issuers::default(), now_ms: 0 };
        match Exchange::new(Mechanism::Plain, [0; 16]).step(&plain::message("alice", "a guess"), known) {
            Step::Check(check) => *check,
            Step::Challenge(_) | Step::Done(..) | Step::Failed(_) => unreachable!("a password is to be checked"),
        }
    }

    #[tokio::test]
    async fn so_many_passwords_wait_and_no_more() {
        let (passwords, workers) = (Passwords::default(), Workers::start(1).unwrap());
        let turns = passwords.turns.acquire_many(2).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..PLACES {
            let mut check = Box::pin(passwords.check(&workers, guess()));
            assert!(poll!(&mut check).is_pending());
            waiting.push(check);
        }
        assert!(matches!(passwords.check(&workers, guess()).await, Err(Reason::Busy)));
        // A place is free again when a connection ends, and when a password was checked.
        waiting.truncate(1);
        drop(turns);
        assert!(matches!(waiting.remove(0).await, Err(Reason::Credentials)));
        assert!(matches!(passwords.check(&workers, guess()).await, Err(Reason::Credentials)));
        assert_eq!(passwords.places.available_permits(), PLACES);
    }
}
