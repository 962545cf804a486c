//! What a follower that is not in sync may be sent of throttled partitions in one answer (KIP-73).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::env;
use crate::replica::throttle::{Reserved, Throttle};

/// A part of the room that the rate leaves, kept for one answer; what is not used is free again when this is dropped.
pub(super) struct Allowance {
    /// With the throttle and its rate in bytes per second; `None`: the reader is not throttled.
    reserved: Option<(Reserved, Arc<Mutex<Throttle>>, u64)>,
    left: usize,
    used: usize,
    lacks_room: bool,
}

impl Allowance {
    /// All the room that there is now, or no limit where there is no rate.
    pub(super) fn take(throttle: &Arc<Mutex<Throttle>>, rate: Option<u64>) -> Allowance {
        let reserved = rate.map(|rate| (Reserved::all(throttle, rate, env::now()), throttle.clone(), rate));
        let left = reserved.as_ref().map_or(usize::MAX, |(reserved, ..)| reserved.bytes());
        Allowance { reserved, left, used: 0, lacks_room: false }
    }

    /// The bytes that may still be read.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// So many bytes of a throttled partition were read; `has_more`: it has records that they don't reach.
    pub(super) fn use_up(&mut self, bytes: usize, has_more: bool) {
        self.lacks_room |= self.left == 0 && has_more;
        self.left = self.left.saturating_sub(bytes);
        self.used += bytes;
    }

    /// Everything was read: what is left is for others.
    pub(super) fn give_back(&mut self) {
        if let Some((reserved, ..)) = &mut self.reserved {
            reserved.keep(self.used);
        }
    }

    /// How long to wait for room, if there was none.
    pub(super) fn pause(&self) -> Option<Duration> {
        let (_, throttle, rate) = self.reserved.as_ref().filter(|_| self.lacks_room)?;
        Some(throttle.lock().pause(*rate))
    }

    /// What was read is sent.
    pub(super) fn pass(self) {
        if let Some((reserved, ..)) = self.reserved {
            reserved.pass(self.used);
        }
    }
}
