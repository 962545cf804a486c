//! What one request uses, and how long its client is throttled for it.
//!
//! Everything is answered at once, with the throttle time in the answer; then nothing is read from the connection for
//! so long (KIP-219). A Produce counts before its answer waits for followers, so that those behind it, which Kafka
//! would not have read yet, are not read either; its answer names the time that is left.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_access::quotas::{Resource, Windows};
use parking_lot::Mutex;

use super::Quotas;
use super::buckets::{ClientBuckets, Limited};
use crate::env::{self, Instant};
use crate::reply::Reply;

/// Until when nothing is read from a connection.
#[derive(Default)]
pub(crate) struct Muted(Mutex<Option<Instant>>);

impl Muted {
    /// `None`: it is not muted.
    pub(crate) fn until(&self) -> Option<Instant> {
        let mut until = self.0.lock();
        if until.is_some_and(|until| until <= env::now()) {
            *until = None;
        }
        *until
    }

    fn extend(&self, until: Instant) {
        let mut muted = self.0.lock();
        *muted = (*muted).max(Some(until));
    }
}

/// The meter of one request, from a client that has quotas.
pub struct Meter {
    quotas: Arc<Quotas>,
    buckets: Arc<ClientBuckets>,
    muted: Arc<Muted>,
    state: Mutex<RequestUsage>,
}

#[derive(Default)]
struct RequestUsage {
    /// The time that it has taken its reactor, before what is running now.
    spent: Duration,
    /// Since when it is running.
    running: Option<Instant>,
    /// Until when its client is throttled, and for what.
    throttled: Option<(Instant, Resource)>,
    /// Its time has been counted, or is not to be.
    is_exempt: bool,
}

impl Meter {
    pub(super) fn new(quotas: Arc<Quotas>, buckets: Arc<ClientBuckets>, muted: Arc<Muted>) -> Meter {
        let state = RequestUsage { running: Some(env::now()), ..RequestUsage::default() };
        Meter { quotas, buckets, muted, state: Mutex::new(state) }
    }

    /// Counts the time of `work` for this request, also in the part before this call.
    pub async fn timed<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            self.state.lock().running.get_or_insert_with(env::now);
            let polled = work.as_mut().poll(cx);
            if polled.is_pending() {
                self.pause();
            }
            polled
        })
        .await
    }

    /// The request does not run for now: it waits.
    pub fn pause(&self) {
        let mut state = self.state.lock();
        if let Some(since) = state.running.take() {
            state.spent += env::now() - since;
        }
    }

    /// A Produce of so many bytes came.
    pub fn produced(&self, bytes: usize) {
        let Some(limited) = self.buckets.of(Resource::Produce) else { return };
        let time = self.take(limited, self.quotas.windows, bytes as f64);
        self.throttle(Resource::Produce, time);
    }

    /// The most bytes that an answer to a Fetch may have without being throttled; `None`: as many as the client likes.
    pub fn most_fetched(&self) -> Option<usize> {
        let limited = self.buckets.of(Resource::Fetch)?;
        Some(self.quotas.windows.most_at_once(limited.quota) as usize)
    }

    /// Whether an answer of so many bytes may be sent to a consumer. If not, an empty one is to be sent: then these
    /// bytes do not count. The time of the request counts with this call, because it decides, too.
    pub fn may_fetch(&self, bytes: usize) -> bool {
        let request = self.count_time();
        let mut may = request.is_zero();
        if let Some(limited) = self.buckets.of(Resource::Fetch) {
            let time = self.take(limited, self.quotas.windows, bytes as f64);
            self.throttle(Resource::Fetch, time);
            may &= time.is_zero();
            if !may {
                limited.used.lock().rate.record(self.quotas.windows, -(bytes as f64), self.quotas.now());
            }
        }
        may
    }

    /// An answer of so many bytes to a ShareFetch is sent. Its records are the member's already, so it is sent whatever
    /// the quota says; Kafka sends nothing, and the member has to wait until their locks are over.
    pub fn shared(&self, bytes: usize) {
        let Some(limited) = self.buckets.of(Resource::Fetch) else { return };
        let time = self.take(limited, self.quotas.windows, bytes as f64);
        self.throttle(Resource::Fetch, time);
    }

    /// Takes tokens for a change of so many partitions. `refusable`: the client knows how to be refused.
    ///
    /// # Errors
    /// The change may not be made now.
    pub fn mutate(&self, partitions: usize, refusable: bool) -> Result<(), OverQuota> {
        let taken = self.take_tokens(partitions, refusable);
        let (Ok(time) | Err(time)) = taken;
        self.throttle(Resource::ControllerMutation, time);
        taken.map_or(Err(OverQuota), |_| Ok(()))
    }

    /// Takes tokens for partitions that are created because a client asked for them. If they may not be, nobody is
    /// throttled: the client has not asked for the creation.
    pub fn may_create(&self, partitions: usize) -> bool {
        self.take_tokens(partitions, true).is_ok()
    }

    /// For how long the client is throttled, after a change that may be made or one that may not.
    fn take_tokens(&self, partitions: usize, refusable: bool) -> Result<Duration, Duration> {
        let Some(Limited { quota, used }) = self.buckets.of(Resource::ControllerMutation) else {
            return Ok(Duration::ZERO);
        };
        let (windows, now, count) = (self.quotas.controller_windows, self.quotas.now(), partitions as f64);
        let mut used = used.lock();
        used.last = now;
        if refusable {
            used.tokens.take(windows, *quota, count, now).map(|()| Duration::ZERO)
        } else {
            Ok(used.tokens.take_anyway(windows, *quota, count, now))
        }
    }

    /// Ends the request: counts its time, if that has not happened, and mutes the connection. The throttle time that
    /// its answer is to name, in milliseconds.
    pub fn finish(&self) -> i32 {
        self.count_time();
        let throttled = self.state.lock().throttled.take();
        let Some((until, resource)) = throttled else { return 0 };
        let left = until.saturating_duration_since(env::now());
        if left.is_zero() {
            return 0;
        }
        self.quotas.metrics.clients.count_throttled(resource.quota_name(), left);
        tracing::debug!(quota = resource.quota_name(), ?left, "throttled a client");
        self.muted.extend(until);
        // A client that waits less would find the connection muted.
        i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    }

    /// Counts time for the answer after [`Meter::finish`]: it throttles only the requests that come later.
    pub fn encoded(&self, time: Duration) {
        if let Some(limited) = self.buckets.of(Resource::Request) {
            limited.count_time(self.quotas.windows, time, self.quotas.now());
        }
    }

    /// The request was started, with this reply. Nothing is read from the connection from now on, if the client is
    /// throttled already.
    pub fn started(&self, reply: &Reply) {
        self.pause();
        match reply {
            // Answered, and finished with that.
            Reply::Now(_) | Reply::Last(..) | Reply::Close(_) => {}
            Reply::Nothing => {
                // As in Kafka, the time of a Produce with acks=0 does not count.
                self.state.lock().is_exempt = true;
                self.finish();
            }
            Reply::Later(_) | Reply::Held(_) => {
                if let Some((until, _)) = self.state.lock().throttled {
                    self.muted.extend(until);
                }
            }
        }
    }

    /// Counts the time that the request has taken so far. How long its client is throttled for it; what it takes later
    /// does not count.
    fn count_time(&self) -> Duration {
        self.pause();
        let spent = {
            let mut state = self.state.lock();
            if std::mem::replace(&mut state.is_exempt, true) {
                return Duration::ZERO;
            }
            state.spent
        };
        let Some(limited) = self.buckets.of(Resource::Request) else { return Duration::ZERO };
        let windows = self.quotas.windows;
        let time = self.take(limited, windows, spent.as_secs_f64() * 100.0).min(windows.size);
        self.throttle(Resource::Request, time);
        time
    }

    fn take(&self, limited: &Limited, windows: Windows, value: f64) -> Duration {
        let now = self.quotas.now();
        let mut used = limited.used.lock();
        used.last = now;
        used.rate.record(windows, value, now);
        used.rate.throttle_time(windows, limited.quota, now)
    }

    fn throttle(&self, resource: Resource, time: Duration) {
        if !time.is_zero() {
            let mut state = self.state.lock();
            let until = env::now() + time;
            if state.throttled.is_none_or(|(before, _)| before < until) {
                state.throttled = Some((until, resource));
            }
        }
    }
}

/// A change that the client may not make now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The throttling quota has been exceeded.")]
pub struct OverQuota;
