//! What a share group's settings decide for a share partition.

use std::time::Duration;

/// The settings of one group: its own, and the broker's where the group has none. They may change between two calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `share.delivery.count.limit`: deliveries after which a record is archived instead of becoming available; 2–10.
    pub delivery_count_limit: i16,
    /// `share.record.lock.duration.ms`: time that a member has to acknowledge what it acquired.
    pub record_lock_duration: Duration,
    /// `share.partition.max.record.locks`: most records between the start and the end of a share partition.
    pub partition_max_record_locks: i32,
    /// `share.renew.acknowledge.enable` (KIP-1222)
    pub renew_acknowledge_enable: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            delivery_count_limit: 5,
            record_lock_duration: Duration::from_secs(30),
            partition_max_record_locks: 2000,
            renew_acknowledge_enable: true,
        }
    }
}

impl Config {
    /// Deliveries from which a record is delivered with fewer and fewer others, and at last alone, so that a record
    /// that breaks its consumers does not take its neighbours with it (`throttleRecordsDeliveryLimit`).
    pub(crate) fn throttled_from(&self) -> i16 {
        const AT_LEAST: i16 = 2;
        AT_LEAST.max(self.delivery_count_limit / 2 + self.delivery_count_limit % 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_throttled_from_half_of_the_limit() {
        for (limit, throttled_from) in [(2, 2), (3, 2), (4, 2), (5, 3), (6, 3), (9, 5), (10, 5)] {
            assert_eq!(Config { delivery_count_limit: limit, ..Config::default() }.throttled_from(), throttled_from);
        }
    }
}
