//! Waiting for conditions, never for seconds.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Asks until there is an answer; an error of the question itself ends the wait.
pub fn until<T>(limit: Duration, what: &str, mut question: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = question()? {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
