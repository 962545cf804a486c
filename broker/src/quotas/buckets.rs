//! The buckets of this broker: how much each user, client id, or both together has used.
//!
//! A bucket is forgotten when nothing was taken from it for an hour, as Kafka forgets inactive sensors, and when there
//! are too many: a client that invents client ids must not fill the memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_access::Principal;
use ottla_access::quotas::{Bucket, QuotaRules, Rate, Resource, Tokens, Windows};
use ottla_wire::Str;
use parking_lot::Mutex;

/// How long a bucket that nobody uses is remembered (`INACTIVE_SENSOR_EXPIRATION_TIME_SECONDS`).
const REMEMBERED: Duration = Duration::from_secs(3600);
/// How many buckets there are at most: some 8 MiB. Beyond that the eighth that was used least recently is forgotten, so
/// those clients start with empty buckets.
const MOST: usize = 16_384;

/// Buckets by their resource and those who share them.
#[derive(Default)]
pub(crate) struct Buckets(Mutex<ByKey>);

type ByKey = HashMap<(Resource, Bucket), Arc<Mutex<Used>>>;

/// What was taken from a bucket.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// Of bytes or time.
    pub rate: Rate,
    /// Of changes of partitions.
    pub tokens: Tokens,
    /// When something was taken last, or its client began.
    pub last: Duration,
}

impl Buckets {
    fn get(&self, key: (Resource, Bucket), now: Duration) -> Arc<Mutex<Used>> {
        let mut buckets = self.0.lock();
        if let Some(bucket) = buckets.get(&key) {
            return bucket.clone();
        }
        if buckets.len() >= MOST {
            forget(&mut buckets, now);
        }
        let bucket = Arc::new(Mutex::new(Used { last: now, ..Used::default() }));
        buckets.insert(key, bucket.clone());
        bucket
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

fn forget(buckets: &mut ByKey, now: Duration) {
    let before = buckets.len();
    buckets.retain(|_, bucket| now.saturating_sub(bucket.lock().last) < REMEMBERED);
    let enough = before - before / 8;
    if buckets.len() <= enough {
        return;
    }
    let mut times: Vec<Duration> = buckets.values().map(|bucket| bucket.lock().last).collect();
    let surplus = times.len() - enough;
    let (_, newest_to_go, _) = times.select_nth_unstable(surplus - 1);
    let newest_to_go = *newest_to_go;
    // Of those with the same time only as many as needed.
    let mut left = surplus;
    buckets.retain(|_, bucket| {
        let goes = left > 0 && bucket.lock().last <= newest_to_go;
        left -= usize::from(goes);
        !goes
    });
}

/// The buckets of one client, and how fast they fill.
pub(crate) struct ClientBuckets(HashMap<Resource, Limited>);

/// A bucket and its quota.
pub(crate) struct Limited {
    /// Per second.
    pub quota: f64,
    /// Shared by all who share the quota.
    pub used: Arc<Mutex<Used>>,
}

impl Limited {
    /// Takes time, of which a whole second is 100. Throttles nobody by itself.
    pub(crate) fn count_time(&self, windows: Windows, time: Duration, now: Duration) {
        let mut used = self.used.lock();
        used.last = now;
        used.rate.record(windows, time.as_secs_f64() * 100.0, now);
    }
}

impl ClientBuckets {
    /// Those of a client with these rules; `None`: nothing is limited.
    pub(crate) fn find(
        buckets: &Buckets,
        rules: &QuotaRules,
        principal: &Principal,
        client_id: &Str,
        now: Duration,
    ) -> Option<ClientBuckets> {
        let limited = |resource| {
            let (bucket, quota) = rules.of_client(resource, principal, client_id)?;
            Some((resource, Limited { quota, used: buckets.get((resource, bucket), now) }))
        };
        let found: HashMap<_, _> = Resource::ALL.into_iter().filter_map(limited).collect();
        (!found.is_empty()).then_some(ClientBuckets(found))
    }

    /// The bucket of a resource; `None`: it is not limited.
    pub(crate) fn of(&self, resource: Resource) -> Option<&Limited> {
        self.0.get(&resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(number: usize) -> (Resource, Bucket) {
        (Resource::Produce, Bucket::Client(number.to_string().into()))
    }

    #[test]
    fn those_unused_for_an_hour_make_room() {
        let buckets = Buckets::default();
        let hour = Duration::from_secs(3600);
        (0..MOST).for_each(|n| drop(buckets.get(bucket(n), Duration::from_secs((n % 2) as u64))));
        buckets.get(bucket(MOST), hour);
        assert_eq!(buckets.len(), MOST / 2 + 1, "half of them were an hour old");
    }

    #[test]
    fn the_least_recently_used_make_room_if_none_is_old() {
        let buckets = Buckets::default();
        let first = buckets.get(bucket(0), Duration::ZERO);
        (1..MOST).for_each(|n| drop(buckets.get(bucket(n), Duration::from_secs(1 + n as u64 / MOST as u64))));
        first.lock().last = Duration::from_secs(3);
        buckets.get(bucket(MOST), Duration::from_secs(4));
        assert_eq!(buckets.len(), MOST - MOST / 8 + 1);
        assert!(Arc::ptr_eq(&first, &buckets.get(bucket(0), Duration::from_secs(4))), "it was used again");
    }
}
