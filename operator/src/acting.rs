//! Whether this process may write: it holds the operator's Lease, or it is the only operator and needs none.
//!
//! Always: every caller compares the time, so that a process that was frozen does not act on a Lease that has expired
//! meanwhile. A process that acts a moment too long does no harm: every write is a compare-and-swap, or what the other
//! operator would write too.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Until when this process is known to hold the Lease; `None` in a process that needs no Lease.
#[derive(Clone, Debug)]
pub struct Acting(Option<watch::Receiver<Option<Instant>>>);

impl Acting {
    /// May write until the time in `held`.
    pub fn while_held(held: watch::Receiver<Option<Instant>>) -> Acting {
        Acting(Some(held))
    }

    /// May always write: there is no other operator.
    pub fn alone() -> Acting {
        Acting(None)
    }

    /// Whether this process may write now.
    pub fn may_write(&self) -> bool {
        self.0.as_ref().is_none_or(|held| holds(&held.borrow()))
    }

    /// Waits until this process may write; for ever once it no longer tries to hold the Lease.
    pub async fn begins(&mut self) {
        let Some(held) = &mut self.0 else { return };
        if held.wait_for(holds).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until this process may no longer write.
    pub async fn ends(&mut self) {
        let Some(held) = &mut self.0 else { return std::future::pending().await };
        loop {
            let until = *held.borrow_and_update();
            match until {
                Some(until) if until > Instant::now() => tokio::select! {
                    () = sleep_until(until) => {}
                    changed = held.changed() => if changed.is_err() {
                        sleep_until(until).await; // nobody renews any more
                    },
                },
                Some(_) | None => return,
            }
        }
    }
}

fn holds(until: &Option<Instant>) -> bool {
    until.is_some_and(|until| until > Instant::now())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_process_acts_from_the_time_that_it_takes_the_lease_until_its_deadline() {
        let (held, holding) = watch::channel(None);
        let mut acting = Acting::while_held(holding);
        assert!(!acting.may_write());
        assert!(timeout(LONG, acting.begins()).await.is_err(), "it waits");
        timeout(LONG, acting.ends()).await.unwrap();

        held.send_replace(Some(Instant::now() + 2 * LONG));
        assert!(acting.may_write());
        timeout(LONG, acting.begins()).await.unwrap();
        assert!(timeout(LONG, acting.ends()).await.is_err(), "it acts");
        timeout(2 * LONG, acting.ends()).await.unwrap();
        assert!(!acting.may_write(), "nobody has renewed");
    }

    #[tokio::test(start_paused = true)]
    async fn it_acts_no_more_when_another_holds_the_lease_or_nobody_renews() {
        let (held, holding) = watch::channel(Some(Instant::now() + LONG));
        let mut acting = Acting::while_held(holding);
        held.send_replace(None);
        assert!(!acting.may_write());
        timeout(LONG, acting.ends()).await.unwrap();
        held.send_replace(Some(Instant::now() + 3 * LONG));
        drop(held);
        assert!(timeout(LONG, acting.ends()).await.is_err() && acting.may_write(), "it holds what it held");
        timeout(3 * LONG, acting.ends()).await.unwrap();
        assert!(!acting.may_write());
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_operator_always_acts() {
        let mut acting = Acting::alone();
        assert!(acting.may_write());
        acting.begins().await;
        assert!(timeout(LONG, acting.ends()).await.is_err());
    }
}
