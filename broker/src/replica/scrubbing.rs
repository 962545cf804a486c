//! In the background: sealed segments are read again, so that bit rot is found and repaired while another replica still
//! has the destroyed bytes ([`ottla_log::scrub`]).
//!
//! A pass reads what was sealed when it first saw a log; the first begins with the broker. Gentle: a few megabytes a
//! second.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::LogError;
use ottla_log::scrub::Damage;
use ottla_wire::TopicIdPartition;
use tracing::Instrument;

use super::Replicas;
use super::fetching::single;
use super::partition::Partition;
use crate::env;
use crate::image::{BrokerId, ImageReceiver, Route};

/// From the beginning of a pass to that of the next.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Read at once …
const STEP: u64 = 4 << 20;
/// … and then rested.
const REST: Duration = Duration::from_millis(250);
/// How often to look for logs that were not there yet.
const CHECK: Duration = Duration::from_secs(1);

impl Replicas {
    /// Scrubs until the broker stops; `images` say who else may have a batch.
    pub async fn keep_scrubbing(self: Arc<Self>, images: ImageReceiver) {
        loop {
            let end = env::now() + EVERY;
            let mut left: HashMap<TopicIdPartition, Range<i64>> = HashMap::new();
            while env::now() < end {
                env::sleep_until(env::now() + CHECK).await;
                for partition in self.all() {
                    let key = partition.id();
                    let sealed = match left.entry(key) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(new) => match partition.sealed() {
                            Some(sealed) => new.insert(sealed),
                            None => continue,
                        },
                    };
                    while !sealed.is_empty() {
                        let scrubbed = self.scrub_segment(&partition, sealed.start, &images);
                        sealed.start = scrubbed.instrument(partition.span()).await.unwrap_or(sealed.end);
                    }
                }
            }
        }
    }

    /// Reads the segment that holds `from`, or the next; gives the offset after it.
    async fn scrub_segment(&self, partition: &Arc<Partition>, from: i64, images: &ImageReceiver) -> Option<i64> {
        let mut scrub = partition.scrub(from)?;
        while !scrub.is_done() {
            let (read, back) = self.workers.run(move || (scrub.read_on(STEP), scrub)).await;
            scrub = back;
            match read {
                Ok(damaged) => {
                    for damage in damaged {
                        self.mend(partition, damage, images).await;
                    }
                }
                Err(error) => {
                    // Its files may have gone meanwhile, by retention or because the partition has.
                    if matches!(error, LogError::Corrupt { .. }) {
                        tracing::error!(%error, "a segment is damaged");
                    }
                    break;
                }
            }
            env::sleep_until(env::now() + REST).await;
        }
        Some(scrub.end())
    }

    async fn mend(&self, partition: &Arc<Partition>, damage: Damage, images: &ImageReceiver) {
        let offset = damage.offset();
        tracing::error!(offset, bytes = damage.size(), "a batch is damaged: asking other replicas for it");
        for route in self.others(partition, images) {
            let found = single::batch_at(&self.dialer, &route, partition.id(), offset).await;
            let Ok(Some(batch)) =
                found.inspect_err(|error| tracing::warn!(%error, "failed to fetch a batch from another replica"))
            else {
                continue;
            };
            let (of, damage) = (partition.clone(), damage.clone());
            if self.workers.run(move || of.mend(&damage, &batch)).await {
                tracing::info!(offset, "repaired the batch");
                return;
            }
        }
        tracing::error!(offset, "no other replica has the damaged batch: its records can't be read");
    }

    /// How a partition's other replicas are reached, those in sync first.
    fn others(&self, partition: &Partition, images: &ImageReceiver) -> Vec<Route> {
        let image = images.borrow();
        let entry = image.topics.get(&partition.topic_id).zip(usize::try_from(partition.number).ok());
        let Some(entry) = entry.and_then(|(topic, number)| topic.partitions.get(number)) else { return Vec::new() };
        let mut others: Vec<BrokerId> = entry.replicas.iter().copied().filter(|id| *id != self.me.id).collect();
        others.sort_by_key(|id| !entry.isr.iter().any(|member| member.broker == *id));
        others.iter().filter_map(|id| image.route(*id)).collect()
    }
}
