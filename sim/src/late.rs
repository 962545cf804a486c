//! Which copies of records may be late ones: a broker forgets a producer that has written nothing for
//! `producer.id.expiration.ms`, and what that producer then sends again is written once more, as in Kafka.
//!
//! Brokers count from the time that is in a producer's last batch. No batch that a record's first copy left behind is
//! older than the record, so whatever happened in between, a second copy that was written sooner after the record was
//! made is a fault.

use std::time::Duration;

use crate::topics::PARTITIONS;

/// When what lies at each offset was written there.
#[derive(Default)]
pub(crate) struct Written {
    /// By offset: when a leader's log end passed it last. An offset that nobody saw written has no time.
    times: [Vec<Option<Duration>>; PARTITIONS],
    /// What was last seen of each broker's replica, by broker.
    seen: Vec<[Option<Seen>; PARTITIONS]>,
}

/// A replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub leads: bool,
    pub end: i64,
}

impl Written {
    /// Looks at the replica of a broker; `None` while it has none that runs. To be called after each time that the
    /// broker may have written.
    pub(crate) fn look(&mut self, at: usize, partition: usize, replica: Option<Seen>, now: Duration) {
        if self.seen.len() <= at {
            self.seen.resize(at + 1, [None; PARTITIONS]);
        }
        let before = std::mem::replace(&mut self.seen[at][partition], replica);
        // A follower writes what is written already. One that led a moment ago may have written before it followed.
        if let (Some(before), Some(replica)) = (before, replica)
            && (before.leads || replica.leads)
            && before.end < replica.end
        {
            let (from, to) = (before.end.max(0) as usize, replica.end.max(0) as usize);
            let times = &mut self.times[partition];
            times.resize(times.len().max(to), None);
            times[from..to].fill(Some(now));
        }
    }

    /// Whether a copy at this offset was written when the producer of a record that was made then may have been
    /// forgotten.
    pub(crate) fn is_late(&self, partition: usize, offset: i64, made: Duration, expiration: Duration) -> bool {
        let time = usize::try_from(offset).ok().and_then(|at| *self.times[partition].get(at)?);
        time.is_none_or(|time| time.saturating_sub(made) >= expiration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRATION: Duration = Duration::from_millis(4_000);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn replica(leads: bool, end: i64) -> Option<Seen> {
        Some(Seen { leads, end })
    }

    #[test]
    fn a_copy_is_late_when_its_producer_may_have_been_forgotten_before_it_was_written() {
        let mut written = Written::default();
        written.look(0, 0, replica(true, 0), ms(0));
        written.look(0, 0, replica(true, 1), ms(1_000));
        written.look(0, 0, replica(true, 2), ms(4_999));
        written.look(0, 0, replica(true, 3), ms(5_000));
        let made = ms(1_000);
        let late = [0, 1, 2].map(|offset| written.is_late(0, offset, made, EXPIRATION));
        assert_eq!(late, [false, false, true]);
        assert!(written.is_late(0, 3, made, EXPIRATION), "nobody saw it written");
        assert!(written.is_late(1, 0, made, EXPIRATION), "nor there");
    }

    #[test]
    fn what_a_follower_copies_was_written_before() {
        let mut written = Written::default();
        written.look(0, 0, replica(true, 0), ms(0));
        written.look(0, 0, replica(true, 2), ms(100));
        written.look(1, 0, replica(false, 0), ms(200));
        written.look(1, 0, replica(false, 2), ms(9_000));
        // A process that starts has what it had.
        written.look(0, 0, None, ms(9_100));
        written.look(0, 0, replica(true, 2), ms(9_200));
        assert!(!written.is_late(0, 1, ms(0), EXPIRATION));
    }

    #[test]
    fn what_is_written_in_the_place_of_something_that_was_cut_off_has_its_own_time() {
        let mut written = Written::default();
        written.look(0, 0, replica(true, 5), ms(0));
        written.look(0, 0, replica(true, 7), ms(100));
        written.look(1, 0, replica(false, 6), ms(200));
        written.look(1, 0, replica(true, 6), ms(300));
        written.look(1, 0, replica(true, 7), ms(8_000));
        written.look(0, 0, replica(false, 6), ms(8_100));
        let late = [5, 6].map(|offset| written.is_late(0, offset, ms(50), EXPIRATION));
        assert_eq!(late, [false, true]);
        // It led when it was seen last, and has written once more before it stepped down.
        written.look(1, 0, replica(false, 8), ms(8_200));
        assert!(!written.is_late(0, 7, ms(8_000), EXPIRATION));
    }
}
