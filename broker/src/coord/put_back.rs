//! Puts back what an API server that was set back has lost: entries that this broker knows in a newer version than is
//! shown.
//!
//! Each broker that knows newer entries does so, by compare-and-swap on the older one, until the newest that anybody
//! knows stands. What nobody knows any more is lost with the backup. Of a fork nothing is written: people decide.

use std::sync::Arc;
use std::time::Duration;

use kube::{Api, ResourceExt};
use ottla_crds::{KafkaAssignment, change};
use tokio::sync::watch;

use super::known::Known;
use crate::env;

/// Between two tries, and between a write and the look at what it has come to.
const PAUSE: Duration = Duration::from_millis(500);

/// Puts back what is known in a newer version, for ever.
pub async fn put_back(assignments: Api<KafkaAssignment>, mut known: watch::Receiver<Known>) {
    loop {
        let behind: Vec<Arc<KafkaAssignment>> = known.borrow_and_update().behind().cloned().collect();
        if behind.is_empty() {
            if known.changed().await.is_err() {
                return; // nothing new can be known
            }
            continue;
        }
        for object in behind {
            match try_to_put_back(&assignments, &object).await {
                Ok(true) => tracing::warn!(
                    object = object.name_any(),
                    "put back entries of which the API server showed an older version: it was set back"
                ),
                Ok(false) => {} // another broker was faster: its outcome is shown
                Err(error) => tracing::warn!(object = object.name_any(), %error,
                    "failed to put back entries that the API server has lost: trying again"),
            }
        }
        env::sleep_until(env::now() + PAUSE).await;
    }
}

async fn try_to_put_back(assignments: &Api<KafkaAssignment>, known: &KafkaAssignment) -> Result<bool, kube::Error> {
    // One that is gone altogether is missing: `ottla objects` makes it again.
    let Some(read) = assignments.get_opt(&known.name_any()).await? else { return Ok(false) };
    change::put_back(assignments, &read, known).await
}
