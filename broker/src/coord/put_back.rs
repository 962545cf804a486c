//! Restores what an API server that was set back has lost: entries that this broker knows in a newer version.
//!
//! Each broker that knows newer entries does so, by compare-and-swap on the older ones, until the API server has the
//! newest that any broker knows. Changes that no broker knows are lost. Of a fork nothing is written: a person decides.

use std::sync::Arc;
use std::time::Duration;

use kube::{Api, ResourceExt};
use ottla_crds::KafkaAssignment;
use ottla_kube::change;
use tokio::sync::watch;

use super::known::KnownObjects;
use crate::env;

/// The time between two tries, and between a write and the check of its result.
const PAUSE: Duration = Duration::from_millis(500);

/// Restores newer entries, for ever.
pub(super) async fn put_back(assignments: Api<KafkaAssignment>, mut known: watch::Receiver<KnownObjects>) {
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
                    "restored assignments of which the API server, which was set back, showed an older version"
                ),
                Ok(false) => {} // another broker was faster: its outcome is shown
                Err(error) => tracing::warn!(
                    object = object.name_any(),
                    error = change::why(&error),
                    "failed to restore assignments that the API server has lost: trying again"
                ),
            }
        }
        env::sleep_until(env::now() + PAUSE).await;
    }
}

async fn try_to_put_back(assignments: &Api<KafkaAssignment>, known: &KafkaAssignment) -> Result<bool, kube::Error> {
    // An object that does not exist is missing: `ottla objects` restores it.
    let Some(read) = assignments.get_opt(&known.name_any()).await? else { return Ok(false) };
    change::put_back(assignments, &read, known).await
}
