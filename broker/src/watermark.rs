//! A watermark can be waited for.
//!
//! acks=all, the consumer's long poll and the follower's fetch are one thing: wait until an offset is passed. A
//! partition has two watermarks, its log end and its high watermark. Moving one that nobody waits for costs an atomic
//! store and a load.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// An offset that grows, and those who wait for it to grow.
#[derive(Debug, Default)]
pub struct Watermark {
    value: AtomicI64,
    /// Counts [`Watermark::disturb`]; a waiter that sees it change looks again at everything.
    disturbances: AtomicU64,
    /// How many wait: lets `advance` skip the lock.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    next_key: u64,
    list: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    key: u64,
    offset: i64,
    waker: Waker,
}

impl Watermark {
    /// A watermark that stands at `value`.
    pub fn new(value: i64) -> Arc<Watermark> {
        Arc::new(Watermark { value: AtomicI64::new(value), ..Watermark::default() })
    }

    /// Where it stands.
    pub fn get(&self) -> i64 {
        self.value.load(SeqCst)
    }

    /// Moves it forward to `to` (a smaller value changes nothing) and wakes those who waited for it.
    pub fn advance(&self, to: i64) {
        if self.value.fetch_max(to, SeqCst) >= to || self.waiting.load(SeqCst) == 0 {
            return;
        }
        self.wake(|waiter| waiter.offset <= to);
    }

    /// Puts it anywhere, also back (a truncation, a new role), and wakes everyone to look again.
    pub fn reset(&self, to: i64) {
        self.value.store(to, SeqCst);
        self.disturb();
    }

    /// Wakes everyone to look again: the partition's role, its error state or its existence has changed.
    pub fn disturb(&self) {
        self.disturbances.fetch_add(1, SeqCst);
        self.wake(|_| true);
    }

    /// Resolves when the watermark has reached `offset`, or was disturbed: so look again.
    pub fn reached(self: &Arc<Self>, offset: i64) -> Reached {
        self.reached_since(self.disturbances(), offset)
    }

    /// Changes when it is disturbed: to be read before one looks at what may be disturbed.
    pub fn disturbances(&self) -> u64 {
        self.disturbances.load(SeqCst)
    }

    /// Like [`Watermark::reached`], for who has looked already and read [`Watermark::disturbances`] before that.
    pub fn reached_since(self: &Arc<Self>, disturbances: u64, offset: i64) -> Reached {
        Reached { mark: self.clone(), offset, disturbances, key: None }
    }

    fn wake(&self, which: impl Fn(&Waiter) -> bool) {
        let woken: Vec<Waiter> = self.waiters.lock().list.extract_if(.., |waiter| which(waiter)).collect();
        self.waiting.fetch_sub(woken.len(), SeqCst);
        for waiter in woken {
            waiter.waker.wake();
        }
    }
}

/// See [`Watermark::reached`].
#[derive(Debug)]
pub struct Reached {
    mark: Arc<Watermark>,
    offset: i64,
    disturbances: u64,
    key: Option<u64>,
}

impl Reached {
    fn done(&self) -> bool {
        self.mark.get() >= self.offset || self.mark.disturbances.load(SeqCst) != self.disturbances
    }

    fn unregister(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut waiters = self.mark.waiters.lock();
        if let Some(at) = waiters.list.iter().position(|waiter| waiter.key == key) {
            waiters.list.swap_remove(at);
            self.mark.waiting.fetch_sub(1, SeqCst);
        }
    }
}

impl Future for Reached {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.done() {
            self.unregister();
            return Poll::Ready(());
        }
        self.unregister();
        {
            let mut waiters = self.mark.waiters.lock();
            let key = waiters.next_key;
            waiters.next_key += 1;
            // Counted before the value is read once more: a task that moves it after that read sees the count.
            self.mark.waiting.fetch_add(1, SeqCst);
            waiters.list.push(Waiter { key, offset: self.offset, waker: cx.waker().clone() });
            drop(waiters);
            self.key = Some(key);
        }
        if self.done() {
            self.unregister();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        self.unregister();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn poll(reached: &mut Reached, count: &Arc<Count>) -> bool {
        Pin::new(reached).poll(&mut Context::from_waker(&Waker::from(count.clone()))).is_ready()
    }

    #[test]
    fn only_those_whose_offset_is_passed_wake() {
        let mark = Watermark::new(10);
        let (near, far) = (Arc::new(Count(0.into())), Arc::new(Count(0.into())));
        let (mut at_12, mut at_20) = (mark.reached(12), mark.reached(20));
        assert!(!poll(&mut at_12, &near) && !poll(&mut at_20, &far));

        mark.advance(11);
        assert_eq!((near.0.load(SeqCst), far.0.load(SeqCst)), (0, 0));
        mark.advance(12);
        assert_eq!((near.0.load(SeqCst), far.0.load(SeqCst)), (1, 0));
        assert!(poll(&mut at_12, &near) && !poll(&mut at_20, &far));
    }

    #[test]
    fn a_value_passed_before_the_first_poll_is_not_missed() {
        let mark = Watermark::new(0);
        let mut at_5 = mark.reached(5);
        mark.advance(7);
        assert!(poll(&mut at_5, &Arc::new(Count(0.into()))));
    }

    #[test]
    fn it_never_falls_unless_reset_which_disturbs_everyone() {
        let mark = Watermark::new(10);
        mark.advance(4);
        assert_eq!(mark.get(), 10);

        let count = Arc::new(Count(0.into()));
        let mut at_50 = mark.reached(50);
        assert!(!poll(&mut at_50, &count));
        mark.reset(3);
        assert_eq!((mark.get(), count.0.load(SeqCst)), (3, 1));
        assert!(poll(&mut at_50, &count));
    }

    #[test]
    fn a_dropped_waiter_leaves_nothing_behind() {
        let mark = Watermark::new(0);
        let mut at_1 = mark.reached(1);
        assert!(!poll(&mut at_1, &Arc::new(Count(0.into()))));
        drop(at_1);
        assert_eq!(mark.waiting.load(SeqCst), 0);
        assert!(mark.waiters.lock().list.is_empty());
    }
}
