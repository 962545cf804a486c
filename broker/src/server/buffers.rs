//! Pooled memory for frames.
//!
//! A frame lives in one buffer of a size class; handlers hold views of it, and the last view to go gives the buffer
//! back. Fresh memory costs more than a copy (a page fault for each 4 KiB), so buffers are kept; an idle connection
//! holds none. One budget bounds all large frames of the broker together: beyond it, they wait. Small frames do not
//! need the budget.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::env;

/// The smallest class: most requests other than produce fit.
const SMALLEST: usize = 1 << 10;
/// The largest class that is kept: a batch of the default `max.message.bytes` with its request around it. Larger frames
/// come from the allocator and go back to it.
const LARGEST: usize = 1 << 21;
const CLASSES: usize = LARGEST.trailing_zeros() as usize - SMALLEST.trailing_zeros() as usize + 1;
/// Idle bytes kept per class and reactor.
const KEPT_PER_CLASS: usize = 4 << 20;
/// The first bytes of each frame, which need no budget. The fetches of followers are hardly larger, so they are read
/// even when producers hold the whole budget, and acknowledge what those producers wait for.
pub const FREE: usize = 64 << 10;
/// The first bytes of each frame of a client that has not authenticated. Most tokens fit, and ten thousand strangers
/// hold 40 MiB.
const FREE_OF_STRANGERS: usize = 4 << 10;
/// What the larger tokens of all clients that have not authenticated may hold together.
pub const BUDGET_OF_STRANGERS: usize = 16 << 20;
const BUDGET_UNIT: usize = 1 << 10;
/// A frame that has waited this long may exceed the budget, one frame at a time: if all frames hold a part and wait for
/// more, they are read one after the other.
const PATIENCE: Duration = Duration::from_secs(1);

/// What all frames of the broker together may hold, in memory, and one frame more.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    overdraft: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Budget {
        let units = bytes.div_ceil(BUDGET_UNIT).min(Semaphore::MAX_PERMITS);
        Budget { units: Arc::new(Semaphore::new(units)), overdraft: Arc::new(Semaphore::new(1)) }
    }

    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let units = u32::try_from(bytes.div_ceil(BUDGET_UNIT)).expect("a frame's length is an i32");
        self.units.clone().acquire_many_owned(units).await.expect("the budget is never closed")
    }

    async fn overdraw(&self) -> OwnedSemaphorePermit {
        env::sleep_until(env::now() + PATIENCE).await;
        self.overdraft.clone().acquire_owned().await.expect("the budget is never closed")
    }
}

/// One reactor's idle buffers.
#[derive(Debug)]
pub struct Buffers {
    idle: Mutex<[Vec<Vec<u8>>; CLASSES]>,
    budget: Budget,
    /// The first bytes of each frame, which need no budget.
    free: usize,
}

fn class_of(len: usize) -> Option<usize> {
    let size = len.max(SMALLEST).next_power_of_two();
    (size <= LARGEST).then(|| (size.trailing_zeros() - SMALLEST.trailing_zeros()) as usize)
}

impl Buffers {
    /// An empty pool that draws on `budget`, but for the first [`FREE`] bytes of each frame.
    pub fn new(budget: Budget) -> Arc<Buffers> {
        Arc::new(Buffers { idle: Mutex::default(), budget, free: FREE })
    }

    /// The same for clients that have not authenticated: less of a frame is free.
    pub fn for_strangers(budget: Budget) -> Arc<Buffers> {
        Arc::new(Buffers { idle: Mutex::default(), budget, free: FREE_OF_STRANGERS })
    }

    /// The first bytes of each frame, which need no budget. No more is read ahead of a frame.
    pub fn free(&self) -> usize {
        self.free
    }

    /// An empty buffer for a frame of `len` bytes.
    pub fn take(self: &Arc<Self>, len: usize) -> FrameBuffer {
        let memory = match class_of(len) {
            Some(class) => {
                let idle = self.idle.lock()[class].pop();
                idle.unwrap_or_else(|| Vec::with_capacity(SMALLEST << class))
            }
            None => Vec::with_capacity(len),
        };
        FrameBuffer { memory, len, held: None, overdraft: None, allowed: len.min(self.free), home: self.clone() }
    }

    fn give_back(&self, mut memory: Vec<u8>) {
        let Some(class) = class_of(memory.capacity()).filter(|class| memory.capacity() == SMALLEST << class) else {
            return;
        };
        let kept = &mut self.idle.lock()[class];
        if (kept.len() + 1) * memory.capacity() <= KEPT_PER_CLASS {
            memory.clear();
            kept.push(memory);
        }
    }
}

/// A frame that is being read.
#[derive(Debug)]
pub struct FrameBuffer {
    memory: Vec<u8>,
    len: usize,
    /// The frame's share of the budget.
    held: Option<OwnedSemaphorePermit>,
    /// Set while the frame may exceed the budget.
    overdraft: Option<OwnedSemaphorePermit>,
    /// How many bytes the frame may hold.
    allowed: usize,
    home: Arc<Buffers>,
}

impl FrameBuffer {
    /// How long the whole frame is.
    pub fn whole_len(&self) -> usize {
        self.len
    }

    /// Bytes still to come.
    pub fn missing(&self) -> usize {
        self.len - self.memory.len()
    }

    /// Whether the next bytes need more of the budget.
    pub fn needs_allowance(&self) -> bool {
        self.memory.len() == self.allowed && self.missing() > 0
    }

    /// Waits until the budget allows as many bytes again as have come, so that a client that announces much and sends
    /// little holds little. Cancellation safe.
    pub async fn allowance(&mut self) {
        if !self.needs_allowance() {
            return;
        }
        let step = self.missing().min(self.allowed);
        tokio::select! {
            biased;
            granted = self.home.budget.take(step) => {
                match &mut self.held {
                    Some(held) => held.merge(granted),
                    none => *none = Some(granted),
                }
                self.allowed += step;
            }
            overdraft = self.home.budget.overdraw() => {
                self.overdraft = Some(overdraft);
                self.allowed = self.len;
            }
        }
    }

    /// Where the next bytes go, no further than the budget has allowed.
    pub fn spare(&mut self) -> impl BufMut + '_ {
        let room = self.allowed - self.memory.len();
        (&mut self.memory).limit(room)
    }

    /// Copies what fits of `bytes`, and returns how much that was.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let fits = bytes.len().min(self.missing()).min(self.allowed - self.memory.len());
        self.memory.extend_from_slice(&bytes[..fits]);
        fits
    }

    /// The whole frame, as memory that goes back to the pool with its last view.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for FrameBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for FrameBuffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_to_its_pool_with_its_last_view() {
        let pool = Buffers::new(Budget::new(1 << 20));
        let mut buffer = pool.take(5);
        assert_eq!(buffer.fill(b"hello, world"), 5);
        let address = buffer.as_ref().as_ptr();
        let frame = buffer.freeze();
        let view = frame.slice(1..3);
        drop(frame);
        assert_eq!(pool.idle.lock()[0].len(), 0);
        assert_eq!(&view[..], b"el");
        drop(view);
        assert_eq!(pool.take(1000).as_ref().as_ptr(), address);
    }

    #[tokio::test]
    async fn a_frame_takes_its_budget_as_it_arrives_and_returns_it() {
        let budget = Budget::new(3 << 20);
        let pool = Buffers::new(budget.clone());
        let mut large = pool.take(50 << 20);
        for held in [0, 64, 192, 448] {
            assert_eq!(budget.units.available_permits(), (3 << 10) - held);
            assert!(!large.needs_allowance());
            while !large.needs_allowance() {
                large.fill(&[0; 1000]);
            }
            large.allowance().await;
        }
        drop(large);
        assert_eq!(budget.units.available_permits(), 3 << 10);
    }

    async fn filled(mut buffer: FrameBuffer) -> FrameBuffer {
        while buffer.missing() > 0 {
            buffer.allowance().await;
            buffer.fill(&[0; 10_000]);
        }
        buffer
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_that_is_used_up_stops_large_frames_and_lets_small_ones_pass() {
        let pool = Buffers::new(Budget::new(1 << 20));
        let first = filled(pool.take((1 << 20) + FREE)).await;
        let small = filled(pool.take(FREE)).await;
        let beyond = filled(pool.take(FREE + 1)).await;
        let third = filled(pool.take(FREE + 1));
        let waited = tokio::time::timeout(10 * PATIENCE, third).await;
        assert!(waited.is_err(), "one frame goes beyond the budget, not two");
        drop((small, beyond));
        filled(pool.take(FREE + 1)).await;
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_wait_for_each_other_get_through_one_by_one() {
        let pool = Buffers::new(Budget::new(1 << 20));
        let frames = (0..20).map(|_| async { drop(filled(pool.take(900_000)).await) });
        let all = futures::future::join_all(frames);
        tokio::time::timeout(30 * PATIENCE, all).await.expect("nobody waits for ever");
    }

    #[test]
    fn classes_are_powers_of_two_and_huge_frames_have_none() {
        assert_eq!([1, 1024, 1025, 1 << 21].map(class_of), [Some(0), Some(0), Some(1), Some(CLASSES - 1)]);
        assert_eq!(class_of((1 << 21) + 1), None);
    }
}
