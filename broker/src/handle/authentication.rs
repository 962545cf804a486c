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
    /// The turns of checks on the workers, which also sync the disk.
    turns: Semaphore,
}

/// How many passwords are checked at the same time.
const CHECKS: usize = 2;

impl Default for Passwords {
    /// Nothing remembered yet.
    fn default() -> Passwords {
        let key = [env::random_bytes(), env::random_bytes()].concat();
        Passwords { remembered: Mutex::new(Remembered::new(&key)), turns: Semaphore::new(CHECKS) }
    }
}

impl Passwords {
    /// Checks a password, unless the same one was right before.
    pub(super) async fn check(&self, workers: &Workers, check: PasswordCheck) -> Result<Identity, Reason> {
        let sign = self.remembered.lock().sign(&check);
        if self.remembered.lock().contains(&sign) {
            return Ok(check.identity());
        }
        let _turn = self.turns.acquire().await.map_err(|_| Reason::Over)?;
        let identity = workers.run(move || check.run()).await?;
        self.remembered.lock().remember(sign);
        Ok(identity)
    }
}
