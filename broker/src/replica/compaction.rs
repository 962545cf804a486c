//! In the background: compaction of the topics that say so (`cleanup.policy`), one log at a time, the dirtiest first.
//!
//! A log that can't be compacted is served as before and left alone until the next start.

use std::sync::Arc;
use std::time::Duration;

use ottla_log::compaction::CompactionError;

use super::Replicas;
use super::partition::Partition;
use crate::env;

/// How often to look. A look at a log that has sealed nothing since costs its lock and no more, so it is not Kafka's 15
/// s (`log.cleaner.backoff.ms`).
const CHECK: Duration = Duration::from_secs(1);

impl Replicas {
    /// Compacts until the broker stops.
    pub(super) async fn keep_compacting(&self) {
        loop {
            env::sleep_until(env::now() + CHECK).await;
            for partition in self.dirtiest_first().await {
                self.compact(partition).await;
            }
        }
    }

    /// The partitions for which it is time.
    async fn dirtiest_first(&self) -> Vec<Arc<Partition>> {
        let now_ms = env::wall_clock_ms();
        let mut due = Vec::new();
        for partition in self.all() {
            let Some(mut compaction) = partition.start_compaction() else { continue };
            match self.workers.run(move || compaction.dirty_ratio(now_ms)).await {
                Ok(Some(ratio)) => due.push((ratio, partition)),
                Ok(None) => {}
                Err(error) => partition.compaction_failed(&error.into()),
            }
        }
        due.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        due.into_iter().map(|(_, partition)| partition).collect()
    }

    async fn compact(&self, partition: Arc<Partition>) {
        let now_ms = env::wall_clock_ms();
        let of = partition.clone();
        let done = self.workers.run(move || compact(&of, now_ms)).await;
        match done {
            Ok(Done { removed_bytes, retired }) => {
                if !retired.is_empty() {
                    self.metrics.replicas.compactions.inc();
                    self.metrics.replicas.compaction_removed_bytes.inc_by(removed_bytes);
                    self.unlink_later(&partition, retired, partition.file_delete_delay());
                }
            }
            Err(error) => partition.compaction_failed(&error),
        }
    }
}

struct Done {
    removed_bytes: u64,
    retired: Vec<ottla_log::retention::Retired>,
}

/// Everything but the swaps goes without the partition's lock.
fn compact(partition: &Partition, now_ms: i64) -> Result<Done, CompactionError> {
    let _span = partition.span().entered();
    let mut done = Done { removed_bytes: 0, retired: Vec::new() };
    let Some(mut compaction) = partition.start_compaction() else { return Ok(done) };
    if compaction.dirty_ratio(now_ms)?.is_none() {
        return Ok(done);
    }
    let outcome = compaction.run(now_ms, |cleaned| {
        let retired = partition.swap_in(cleaned)?;
        Ok(retired.map(|retired| done.retired.push(retired)).is_some())
    })?;
    tracing::debug!(?outcome, "compacted");
    done.removed_bytes = outcome.removed_bytes;
    Ok(done)
}
