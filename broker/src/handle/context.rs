//! The context of one request: the rooms of the broker, the image of the cluster when the request came, and the ways to
//! answer.

use std::sync::Arc;
use std::time::Duration;

use ottla_access::{Operation, Questions};
use ottla_wire::{ApiKey, ErrorCode, Frame, FrameTooLarge, ResponseMessage, Str, encode_response};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::client::Peer;
use super::handler::Handler;
use crate::ask::{Answer, Ask, AskRefusal};
use crate::env;
use crate::image::{Broker, ClusterImage, Topic};
use crate::quotas::meter::Meter;
use crate::replica::NotServed;
use crate::reply::{CloseReason, Reply};

/// The context of one request.
#[derive(Clone)]
pub struct Context {
    /// The broker's rooms.
    pub handler: Arc<Handler>,
    /// The image of the cluster when the request was dispatched.
    pub image: Arc<ClusterImage>,
    /// The client's address and listener.
    pub peer: Peer,
    /// What the client may do, as far as its connection was asked before.
    pub(super) questions: Arc<Mutex<Questions>>,
    /// The request's version.
    pub version: i16,
    /// The client's `client.id`; empty if it has none.
    pub client_id: Str,
    pub(super) api: ApiKey,
    pub(super) correlation_id: i32,
    pub(super) received: env::Instant,
    /// Measures what the client uses; `None`: it has no quotas.
    pub(super) meter: Option<Arc<Meter>>,
}

/// The operations that there are for a type of resource, as bits by Kafka's numbers (KIP-430).
pub(super) mod operations {
    /// Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite … of the cluster.
    pub(crate) const CLUSTER: i32 = 8096;
    /// Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs of a topic.
    pub(crate) const TOPIC: i32 = 3576;
    /// Read, Delete, Describe, DescribeConfigs, AlterConfigs of a group.
    pub(crate) const GROUP: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
    /// The request did not ask for them.
    pub(crate) const NOT_ASKED: i32 = i32::MIN;
}

/// Kafka's message about a group whose topics the client may not describe.
pub(super) const HIDDEN_TOPICS: &str =
    "The group has described topic(s) that the client is not authorized to describe.";

/// Until when a client waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub(super) env::Instant);

impl Deadline {
    /// A deadline in a request's `timeout_ms`.
    pub fn after_ms(timeout_ms: i32) -> Deadline {
        Deadline(env::now() + Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)))
    }
}

impl Default for Deadline {
    /// For requests without a time-out: clients stop trying after `default.api.timeout.ms`, a minute; the answer comes
    /// before that.
    fn default() -> Deadline {
        Deadline::after_ms(30_000)
    }
}

impl Context {
    /// Whether clients may connect to `broker`. The answering broker always counts as live, even if the operator has
    /// not seen it yet, because a client that gets an empty list forgets all brokers.
    pub fn is_there(&self, broker: &Broker) -> bool {
        broker.alive || broker.id == self.handler.id
    }

    /// Answers now.
    pub fn reply<R: ResponseMessage>(&self, response: &R) -> Reply {
        self.encode(response).map_or_else(Reply::Close, Reply::Now)
    }

    /// Answers now, and then ends the connection.
    pub(super) fn reply_last<R: ResponseMessage>(&self, response: &R, reason: CloseReason) -> Reply {
        self.encode(response).map_or_else(Reply::Close, |frame| Reply::Last(frame, reason))
    }

    /// Answers when `response` is ready. The connection polls it, and drops it when it ends.
    pub fn later<R: ResponseMessage>(&self, response: impl Future<Output = R> + 'static) -> Reply {
        let context = self.clone();
        let waiting = self.handler.metrics.clients.api(self.api).wait();
        Reply::Later(Box::pin(async move {
            let response = context.timed(response).await;
            drop(waiting);
            context.encode(&response)
        }))
    }

    /// Starts no further request of the connection until `reply` is ready: what must happen in order happens in it. The
    /// connection polls it, and drops it when it ends.
    pub fn hold(&self, reply: impl Future<Output = Reply> + 'static) -> Reply {
        let context = self.clone();
        let waiting = self.handler.metrics.clients.api(self.api).wait();
        Reply::Held(Box::pin(async move {
            let reply = context.timed(reply).await;
            drop(waiting);
            reply
        }))
    }

    pub(super) fn encode<R: ResponseMessage>(&self, response: &R) -> Result<Frame, CloseReason> {
        self.handler.metrics.clients.api(self.api).seconds.observe(self.received.elapsed().as_secs_f64());
        let throttle_ms = self.meter.as_ref().map_or(0, |meter| meter.finish());
        let began = self.meter.as_ref().map(|_| env::now());
        let encoded = match throttle_ms {
            0 => encode_response(self.version, self.correlation_id, response),
            _ => {
                let mut response = response.clone();
                if let Some(field) = response.throttle_time_ms() {
                    *field = throttle_ms;
                }
                encode_response(self.version, self.correlation_id, &response)
            }
        };
        if let (Some(meter), Some(began)) = (&self.meter, began) {
            meter.encoded(env::now() - began);
        }
        encoded.map_err(|FrameTooLarge| CloseReason::TooLarge)
    }

    /// Counts the reactor's time for `work` as the client's.
    async fn timed<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.meter {
            Some(meter) => meter.timed(work).await,
            None => work.await,
        }
    }

    /// The most bytes of records in an answer: `max_bytes`, or fewer, where more would be throttled in any case, again
    /// and again.
    pub(super) fn most_fetched(&self, max_bytes: usize) -> usize {
        self.meter.as_ref().and_then(|meter| meter.most_fetched()).map_or(max_bytes, |most| most.min(max_bytes))
    }

    /// Asks the client's quota whether so many partitions may be created, added or deleted now. Clients before version
    /// `refusable_from` do not know the refusal: for them the change is made, and they are throttled (KIP-599).
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED.
    pub(super) fn take_mutations(&self, partitions: usize, refusable_from: i16) -> Result<(), AskRefusal> {
        let Some(meter) = &self.meter else { return Ok(()) };
        let taken = meter.mutate(partitions, self.version >= refusable_from);
        taken.map_err(|error| AskRefusal::new(ErrorCode::THROTTLING_QUOTA_EXCEEDED, error.to_string()))
    }

    /// Asks the cluster for a change and waits for the answer.
    ///
    /// # Errors
    /// The cluster's refusal, or REQUEST_TIMED_OUT: the change may still happen.
    pub async fn ask<T>(&self, deadline: Deadline, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, AskRefusal> {
        let (answer, answered) = oneshot::channel();
        let ask = ask(answer);
        self.audit_ask(&ask);
        let asked = async {
            self.handler.ask.send(ask).await.map_err(|_| AskRefusal::stopping())?;
            answered.await.map_err(|_| AskRefusal::stopping())?
        };
        tokio::select! {
            biased;
            answer = asked => answer,
            () = env::sleep_until(deadline.0) => Err(AskRefusal::new(ErrorCode::REQUEST_TIMED_OUT, "The request timed out.")),
        }
    }

    /// The same for a request with `validateOnly`: nothing is asked then, and there is no answer, but the refusal of a
    /// cluster whose objects clients may not change is the same. Use this wherever a request has that field.
    ///
    /// # Errors
    /// As [`Context::ask`].
    pub async fn ask_or_validate<T>(
        &self,
        validate_only: bool,
        deadline: Deadline,
        ask: impl FnOnce(Answer<T>) -> Ask,
    ) -> Result<Option<T>, AskRefusal> {
        if validate_only {
            let refused = ask(oneshot::channel().0).refused_by(&self.handler.images.borrow());
            return refused.map_or(Ok(None), Err);
        }
        self.ask(deadline, ask).await.map(Some)
    }

    /// The client's host, in Kafka's format.
    pub(super) fn client_host(&self) -> String {
        format!("/{}", self.peer.address.ip())
    }

    /// The topic that a request names by id (from the version `ids_from` on) or by name, and that the client may use
    /// so. Ids are no secret: an unknown one is so for everybody.
    pub fn topic(&self, operation: Operation, ids_from: i16, name: &str, id: Uuid) -> Result<&Arc<Topic>, NotServed> {
        if self.version < ids_from {
            return self.topic_by_name(operation, name);
        }
        let topic = self.known_topic(ids_from, name, id)?;
        if self.may_topic(operation, &topic.name) { Ok(topic) } else { Err(NotServed::Denied) }
    }

    /// The topic that a request names by its name in every version, and that the client may use so.
    pub fn topic_by_name(&self, operation: Operation, name: &str) -> Result<&Arc<Topic>, NotServed> {
        if !self.may_topic(operation, name) {
            return Err(NotServed::Denied);
        }
        self.image.topic(name).ok_or(NotServed::UnknownTopicOrPartition)
    }

    /// The topic that a request names by id (from the version `ids_from` on) or by name, whatever the client may do.
    pub(super) fn known_topic(&self, ids_from: i16, name: &str, id: Uuid) -> Result<&Arc<Topic>, NotServed> {
        if self.version >= ids_from {
            self.image.topics.get(&id).ok_or(NotServed::UnknownTopicId)
        } else {
            self.image.topic(name).ok_or(NotServed::UnknownTopicOrPartition)
        }
    }
}

/// A group's or member's id, for the wire.
pub(super) fn text(id: &str) -> Str {
    Str::from(id)
}
