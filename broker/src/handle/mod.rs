//! What requests mean: one file per API, one exhaustive match.
//!
//! A handler takes a decoded request, does its work through one or two calls downward, and gives a [`Reply`]. Decoding is `wire`'s,
//! order and sockets are `server`'s. Errors of the rooms below become wire codes in `errors` and nowhere else.

mod api_versions;
mod delete_records;
mod errors;
mod fetch;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod names;
mod offset_for_leader_epoch;
mod produce;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::{
    ApiKey, ApiVersionsResponse, Decoder, Frame, RequestError, RequestHeader, ResponseMessage, Str, encode_response,
};

use crate::ask::AskSender;
use crate::env;
use crate::groups::Groups;
use crate::image::{BrokerId, ClusterImage, ImageReceiver, Topic};
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::replica::{NotServed, Replicas};
use crate::server::replies::{CloseReason, Reply};
use uuid::Uuid;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The listener it came in on: it is told addresses of the same listener.
    pub listener: Str,
}

impl Peer {
    /// A peer on `listener`.
    pub fn new(address: SocketAddr, listener: Str) -> Peer {
        Peer { address, listener }
    }
}

/// A request, decoded.
#[derive(Debug)]
pub struct Request {
    header: RequestHeader,
    body: ottla_wire::Request,
    received: env::Instant,
}

/// A frame that is no request of ours, and what becomes of it.
pub struct Unreadable {
    /// The API that it named, as far as that is known.
    pub api: ApiKey,
    /// The answer, or the end of the connection.
    pub reply: Reply,
}

impl Request {
    /// Decodes a frame.
    ///
    /// # Errors
    /// Anything that is not a request of ours ends the connection without a word, as in Kafka; but a version of ApiVersions that
    /// is newer than ours is answered in version 0 with those that we have (KIP-511).
    pub fn read(frame: Bytes) -> Result<Request, Unreadable> {
        let mut decoder = Decoder::new(frame);
        let close = |api, reason| Unreadable { api, reply: Reply::Close(reason) };
        let header = RequestHeader::decode(&mut decoder).map_err(|error| match error {
            RequestError::UnknownKey(_) => close(ApiKey::ApiVersions, CloseReason::Unsupported),
            _ => close(ApiKey::ApiVersions, CloseReason::Malformed),
        })?;
        let api = header.api_key;
        match ottla_wire::Request::decode(&header, decoder) {
            Ok(body) => Ok(Request { header, body, received: env::now() }),
            Err(RequestError::UnsupportedVersion(ApiKey::ApiVersions, _)) => {
                let frame = encode_response(0, header.correlation_id, &ApiVersionsResponse::unsupported_version());
                Err(Unreadable { api, reply: Reply::Now(frame) })
            }
            Err(RequestError::UnsupportedVersion(..)) => Err(close(api, CloseReason::Unsupported)),
            Err(error) => {
                tracing::debug!(%error, "refused a request");
                Err(close(api, CloseReason::Malformed))
            }
        }
    }

    /// Which API it is for.
    pub fn api(&self) -> ApiKey {
        self.header.api_key
    }
}

/// The broker's rooms, as handlers see them.
pub struct Handler {
    /// This broker.
    pub id: BrokerId,
    /// The cluster as it is known now.
    pub images: ImageReceiver,
    /// The replicas that run here.
    pub replicas: Arc<Replicas>,
    /// The groups that are coordinated here.
    pub groups: Arc<Groups>,
    /// The way to ask for changes.
    pub ask: AskSender,
    /// Producer ids to give away.
    pub producer_ids: ProducerIds,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
}

impl Handler {
    /// Starts on a request: what must happen in order has happened when this returns.
    pub fn dispatch(self: &Arc<Self>, peer: &Peer, request: Request) -> Reply {
        let Request { header, body, received } = request;
        let context = Context {
            handler: self.clone(),
            image: self.images.borrow().clone(),
            peer: peer.clone(),
            version: header.api_version,
            client_id: header.client_id.unwrap_or_default(),
            api: header.api_key,
            correlation_id: header.correlation_id,
            received,
        };
        self.metrics.api(context.api).requests.inc();
        use ottla_wire::Request as R;
        match body {
            R::Produce(request) => produce::handle(&context, request),
            R::Fetch(request) => fetch::handle(&context, request),
            R::ListOffsets(request) => list_offsets::handle(&context, request),
            R::Metadata(request) => metadata::handle(&context, request),
            R::ApiVersions(request) => api_versions::handle(&context, request),
            R::InitProducerId(request) => init_producer_id::handle(&context, request),
            R::OffsetForLeaderEpoch(request) => offset_for_leader_epoch::handle(&context, request),
            R::DeleteRecords(request) => delete_records::handle(&context, request),
            _ => Reply::Close(CloseReason::Unsupported),
        }
    }
}

/// One request's surroundings.
#[derive(Clone)]
pub struct Context {
    /// The broker's rooms.
    pub handler: Arc<Handler>,
    /// The cluster as it was known when the request was dispatched.
    pub image: Arc<ClusterImage>,
    /// Who asks.
    pub peer: Peer,
    /// The request's version.
    pub version: i16,
    /// The name that the client gave itself; empty if none.
    pub client_id: Str,
    api: ApiKey,
    correlation_id: i32,
    received: env::Instant,
}

/// Who leads a partition and where, for a client that asked somebody else (KIP-951).
pub struct LeaderHint {
    /// The leader.
    pub id: i32,
    /// Its epoch.
    pub epoch: i32,
    /// Where the client reaches it.
    pub host: Str,
    /// TCP port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<Str>,
}

impl Context {
    /// Answers now.
    pub fn reply<R: ResponseMessage>(&self, response: &R) -> Reply {
        Reply::Now(self.encode(response))
    }

    /// Answers when `response` is there. It is polled by the connection, and dropped with it.
    pub fn later<R: ResponseMessage>(&self, response: impl Future<Output = R> + 'static) -> Reply {
        let context = self.clone();
        Reply::Later(Box::pin(async move { context.encode(&response.await) }))
    }

    fn encode<R: ResponseMessage>(&self, response: &R) -> Frame {
        self.handler.metrics.api(self.api).seconds.observe(self.received.elapsed().as_secs_f64());
        encode_response(self.version, self.correlation_id, response)
    }

    /// The topic that a request names by id (from the version `ids_from` on) or by name.
    pub fn topic(&self, ids_from: i16, name: &str, id: Uuid) -> Result<&Arc<Topic>, NotServed> {
        if self.version >= ids_from {
            self.image.topics.get(&id).ok_or(NotServed::UnknownTopicId)
        } else {
            self.image.topic(name).ok_or(NotServed::UnknownTopicOrPartition)
        }
    }

    /// Who leads a partition of `topic`, if that is somebody alive.
    pub fn leader_hint(&self, topic: &Topic, partition: i32) -> Option<LeaderHint> {
        let assignment = topic.partitions.get(usize::try_from(partition).ok()?)?;
        let leader = assignment.leader?;
        let endpoint = self.image.endpoint(leader, &self.peer.listener)?;
        Some(LeaderHint {
            id: leader.0,
            epoch: assignment.leader_epoch,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: self.image.brokers.get(&leader).and_then(|broker| broker.rack.clone()),
        })
    }
}
