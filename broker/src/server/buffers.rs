//! Pooled memory for frames.
//!
//! A frame lives in one buffer of a size class; handlers hold views of it, and the last view to go gives the buffer back. Fresh
//! memory costs more than copying it (a page fault each 4 KiB), so buffers are kept; an idle connection holds none. All frames of
//! the broker together are bounded by one budget: past it, connections stop reading.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The smallest class: most requests other than produce fit.
const SMALLEST: usize = 1 << 10;
/// The largest class that is kept: a batch of the default `max.message.bytes` with its request around it. Larger frames come from
/// the allocator and go back to it.
const LARGEST: usize = 1 << 21;
const CLASSES: usize = LARGEST.trailing_zeros() as usize - SMALLEST.trailing_zeros() as usize + 1;
/// Idle bytes kept per class and reactor.
const KEPT_PER_CLASS: usize = 4 << 20;
/// The budget is taken in these steps while a frame arrives, so that a peer that announces much and sends little holds little.
const BUDGET_STEP: usize = 1 << 20;
const BUDGET_UNIT: usize = 1 << 10;

/// What all frames of the broker together may hold, in memory.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    /// A budget of `bytes`, at least one step.
    pub fn new(bytes: usize) -> Budget {
        Budget(Arc::new(Semaphore::new(bytes.max(BUDGET_STEP).div_ceil(BUDGET_UNIT).min(Semaphore::MAX_PERMITS))))
    }
}

/// One reactor's idle buffers.
#[derive(Debug)]
pub struct Buffers {
    idle: Mutex<[Vec<Vec<u8>>; CLASSES]>,
    budget: Budget,
}

fn class_of(len: usize) -> Option<usize> {
    let size = len.max(SMALLEST).next_power_of_two();
    (size <= LARGEST).then(|| (size.trailing_zeros() - SMALLEST.trailing_zeros()) as usize)
}

impl Buffers {
    /// An empty pool that draws on `budget`.
    pub fn new(budget: Budget) -> Arc<Buffers> {
        Arc::new(Buffers { idle: Mutex::default(), budget })
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
        FrameBuffer { memory, len, allowance: None, allowed: 0, home: self.clone() }
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
    allowance: Option<OwnedSemaphorePermit>,
    /// How many bytes the budget has granted.
    allowed: usize,
    home: Arc<Buffers>,
}

impl FrameBuffer {
    /// Bytes still to come.
    pub fn missing(&self) -> usize {
        self.len - self.memory.len()
    }

    /// Waits until the budget allows more bytes to be read. Cancellation safe.
    pub async fn allowance(&mut self) {
        if self.memory.len() < self.allowed || self.missing() == 0 {
            return;
        }
        let step = (self.len - self.allowed).min(BUDGET_STEP);
        let units = u32::try_from(step.div_ceil(BUDGET_UNIT)).expect("a step is small");
        let granted = self.home.budget.0.clone().acquire_many_owned(units).await.expect("the budget is never closed");
        match &mut self.allowance {
            Some(held) => held.merge(granted),
            none => *none = Some(granted),
        }
        self.allowed += step;
    }

    /// Takes the first step of the budget if that needs no waiting.
    pub fn allow_now(&mut self) {
        let step = self.len.min(BUDGET_STEP);
        let units = u32::try_from(step.div_ceil(BUDGET_UNIT)).expect("a step is small");
        if let Ok(granted) = self.home.budget.0.clone().try_acquire_many_owned(units) {
            self.allowance = Some(granted);
            self.allowed = step;
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

    #[tokio::test]
    async fn a_buffer_returns_to_its_pool_with_its_last_view() {
        let pool = Buffers::new(Budget::new(1 << 20));
        let mut buffer = pool.take(5);
        buffer.allowance().await;
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
        assert_eq!(budget.0.available_permits(), 3 << 10);
        large.allowance().await;
        assert_eq!(budget.0.available_permits(), 2 << 10);
        drop(large);
        assert_eq!(budget.0.available_permits(), 3 << 10);
    }

    #[test]
    fn classes_are_powers_of_two_and_huge_frames_have_none() {
        assert_eq!([1, 1024, 1025, 1 << 21].map(class_of), [Some(0), Some(0), Some(1), Some(CLASSES - 1)]);
        assert_eq!(class_of((1 << 21) + 1), None);
    }
}
