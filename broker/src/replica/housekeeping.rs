//! In the background: flushes, retention, checkpoints; compaction beside them.
//!
//! Flushing bounds what a crash of the machine can take and how long recovery reads; it is no part of an
//! acknowledgement unless the topic says so (`flush.messages`, `flush.ms`).

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};

use ottla_log::retention::Retired;
use tracing::Instrument;

use super::partition::{Partition, upkeep};
use super::{Replicas, folders};
use crate::env;

/// Dirty data is flushed at this age …
const FLUSH_AGE: Duration = Duration::from_secs(1);
/// … or when a log has this much of it.
const FLUSH_BYTES: u64 = 64 << 20;
/// How often to look. Small against the age, so that it holds.
const FLUSH_CHECK: Duration = Duration::from_millis(250);

impl Replicas {
    /// Keeps house until the broker stops. `retention_interval` is asked each time: it can change while we run.
    pub async fn keep_house(self: Arc<Self>, retention_interval: impl Fn() -> Duration) {
        // A compaction may take long; flushes must not wait for it.
        join(self.flush_and_retain(retention_interval), self.keep_compacting()).await;
    }

    async fn flush_and_retain(self: &Arc<Self>, retention_interval: impl Fn() -> Duration) {
        let mut next_retention = env::now() + retention_interval();
        loop {
            env::sleep_until(env::now() + FLUSH_CHECK).await;
            self.flush_what_is_due().await;
            if self.all().iter().any(|partition| partition.is_torn()) {
                self.torn.notify_one();
            }
            if env::now() >= next_retention {
                self.apply_retention().await;
                self.sweep_strays().await;
                next_retention = env::now() + retention_interval();
            }
            // A shorter interval takes effect before the longer one has passed.
            next_retention = next_retention.min(env::now() + retention_interval());
            self.store_checkpoints().await;
        }
    }

    /// Flushes a partition on a worker. A caller that comes before that flush has begun shares it (group commit).
    pub fn flush_soon(&self, partition: &Arc<Partition>) {
        if !partition.ask_to_flush() {
            return;
        }
        let (partition, metrics) = (partition.clone(), self.metrics.clone());
        self.workers.start_job(move || {
            let _timer = metrics.replicas.flush_seconds.start_timer();
            partition.flush();
        });
    }

    async fn flush_what_is_due(&self) {
        let now = env::now();
        let due = self.all().into_iter().filter(|partition| partition.flush_is_due(now, FLUSH_AGE, FLUSH_BYTES));
        join_all(due.map(|partition| {
            let metrics = self.metrics.clone();
            self.workers.run(move || {
                let _timer = metrics.replicas.flush_seconds.start_timer();
                partition.flush();
            })
        }))
        .await;
    }

    /// Takes old segments out of the logs, and unlinks their files after `file.delete.delay.ms`.
    async fn apply_retention(&self) {
        let now_ms = env::wall_clock_ms();
        let retired = self.all().into_iter().map(|partition| {
            self.workers.run(move || {
                let (retired, delay) = (partition.apply_retention(now_ms), partition.file_delete_delay());
                (partition, retired, delay)
            })
        });
        for (partition, retired, delay) in join_all(retired).await {
            if let Some(retired) = retired {
                self.unlink_later(&partition, vec![retired], delay);
            }
        }
    }

    async fn sweep_strays(&self) {
        let data = self.dir.clone();
        match self.workers.run(move || folders::sweep_strays(&data, env::wall_clock_ms())).await {
            Ok(left) => self.metrics.replicas.stray.set(left as i64),
            Err(error) => tracing::error!(%error, "failed to look for quarantined files"),
        }
    }

    /// Unlinks the files of a partition's old segments once nobody reads them any more.
    pub(super) fn unlink_later(&self, of: &Partition, retired: Vec<Retired>, delay: Duration) {
        let workers = self.workers.clone();
        let unlinking = async move {
            env::sleep_until(env::now() + delay).await;
            let unlinked = workers.run(move || retired.into_iter().try_for_each(Retired::unlink)).await;
            if let Err(error) = unlinked {
                tracing::warn!(%error, "failed to delete old segments: the next start deletes them");
            }
        };
        tokio::spawn(unlinking.instrument(of.span()));
    }

    async fn store_checkpoints(self: &Arc<Self>) {
        let replicas = self.clone();
        self.workers.run(move || replicas.checkpoint(|| replicas.all())).await;
    }

    /// Has the checkpoints say where these logs begin, so that no restart brings back what was deleted before.
    pub async fn keep_log_starts(self: &Arc<Self>, of: Vec<Arc<Partition>>) {
        let replicas = self.clone();
        self.workers.run(move || replicas.checkpoint(|| of)).await;
    }

    fn checkpoint(&self, of: impl FnOnce() -> Vec<Arc<Partition>>) {
        if let Err(error) = upkeep::store(&self.checkpoints, of) {
            tracing::error!(%error, "failed to write the checkpoints");
            if !error.lacks_room() {
                self.failure.note();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::dialer::Dialer;
    use futures::FutureExt;
    use ottla_log::{Files, Log, LogConfig, RecoveryHint};
    use tokio::sync::mpsc;

    use super::*;
    use crate::env::Workers;
    use crate::image::{BrokerId, Incarnation, Me, Topic};
    use crate::metrics::Metrics;
    use crate::replica::RoleWorkers;
    use crate::replica::checkpoints::{Checkpoints, Positions};
    use crate::replica::partition::StoredReplica;
    use crate::replica::proposal::Proposal;
    use ottla_wire::TopicIdPartition;

    #[tokio::test]
    async fn a_log_that_went_while_checkpoints_were_about_to_be_stored_is_not_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let me = Me { id: BrokerId(0), incarnation: Incarnation(7) };
        let (ask, _asked) = mpsc::channel(1);
        let load = || Checkpoints::load(dir.path(), false, true).unwrap();
        let (workers, metrics) = (Workers::start(1).unwrap(), Metrics::new());
        let roles = RoleWorkers { writing: workers.clone(), waiting: workers.clone() };
        let (replicas, _joining) =
            Replicas::new((me, Dialer::plain(me.id)), dir.path(), load(), (workers, roles), metrics, ask).unwrap();
        let id = uuid::Uuid::from_u128(1);
        let topic =
            Topic { id, name: "t".into(), config: Default::default(), settings: Arc::default(), partitions: vec![] };
        let folder = dir.path().join("t-0");
        // The log of a topic whose first five records are deleted.
        let hint = RecoveryHint { log_start: 5, ..RecoveryHint::default() };
        let (log, _) = Log::open(&folder, LogConfig::default(), hint, &Files::new(1, 1 << 10), 0).unwrap();
        let found = StoredReplica { log, high_watermark: 5, proposal: Proposal::open(&folder).unwrap() };
        let of_topic = replicas.metrics.topics.of("t");
        let partition = Arc::new(Partition::new(&topic, 0, me, found, of_topic, replicas.opener.joining.clone()));
        replicas.running.write().insert(TopicIdPartition::new(id, 0), partition);
        replicas.store_checkpoints().await;
        assert_eq!(load().of("t", 0).1.log_start, 5);

        let mut storing = Box::pin(replicas.store_checkpoints());
        {
            let mut checkpoints = replicas.checkpoints.lock();
            assert!((&mut storing).now_or_never().is_none(), "it waits for the lock");
            replicas.running.write().clear();
            checkpoints.forget("t", 0).unwrap();
        }
        storing.await;
        assert_eq!(load().of("t", 0).1, Positions::default());
    }
}
