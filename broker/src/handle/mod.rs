//! What requests mean: one file per API, one exhaustive match.
//!
//! A handler takes a decoded request, does its work through one or two calls downward, and gives a [`Reply`]. Decoding is `wire`'s,
//! order and sockets are `server`'s. Errors of the rooms below become wire codes in `errors` and nowhere else.

mod acls;
mod alter_configs;
mod alter_partition_reassignments;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delegation_tokens;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_topic_partitions;
mod elect_leaders;
mod election;
mod errors;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod internal_topics;
mod join_group;
mod leader_hint;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod names;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod once;
mod produce;
pub mod refusals;
mod resources;
mod sync_group;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::{
    ApiKey, ApiVersionsResponse, Decoder, ErrorCode, Frame, FrameTooLarge, RequestError, RequestHeader,
    ResponseMessage, Str, encode_response,
};

use self::refusals::Refusals;
use crate::ask::{Answer, Ask, AskSender, Refused};
use crate::env::{self, Workers};
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::image::{Broker, BrokerId, ClusterImage, ImageReceiver, Topic};
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::replica::partition::Partition;
use crate::replica::{NotServed, Replicas};
use crate::reply::{CloseReason, Reply};
use tokio::sync::oneshot;
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
    /// What was asked for, where it is not served and the connection ends.
    pub unserved: Option<Asked>,
}

/// What a request's header says, as far as it is known without its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The API's number.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: Option<Str>,
}

impl Asked {
    fn read(frame: Bytes) -> Option<Asked> {
        let mut decoder = Decoder::new(frame);
        let (key, version) = (decoder.i16().ok()?, decoder.i16().ok()?);
        let _correlation_id = decoder.i32().ok()?;
        let length = usize::try_from(decoder.i16().ok()?).unwrap_or(0);
        let client_id = decoder.bytes(length).ok().and_then(|bytes| Str::try_from(bytes).ok());
        Some(Asked { key, version, client_id })
    }
}

/// Of a client's name for its software, as much as a line of the log needs.
const LONGEST_SOFTWARE: usize = 64;

impl Request {
    /// Decodes a frame.
    ///
    /// # Errors
    /// Anything that is not a request of ours ends the connection without a word, as in Kafka; but a version of ApiVersions that
    /// is newer than ours is answered in version 0 with those that we have (KIP-511).
    pub fn read(frame: Bytes) -> Result<Request, Unreadable> {
        let mut decoder = Decoder::new(frame.clone());
        let close = |api, reason| Unreadable { api, reply: Reply::Close(reason), unserved: None };
        let unserved =
            |api| Unreadable { unserved: Asked::read(frame.clone()), ..close(api, CloseReason::Unsupported) };
        let header = RequestHeader::decode(&mut decoder).map_err(|error| match error {
            RequestError::UnknownKey(_) => unserved(ApiKey::ApiVersions),
            _ => close(ApiKey::ApiVersions, CloseReason::Malformed),
        })?;
        let api = header.api_key;
        match ottla_wire::Request::decode(&header, decoder) {
            Ok(body) => Ok(Request { header, body, received: env::now() }),
            Err(RequestError::UnsupportedVersion(ApiKey::ApiVersions, _)) => {
                let answer = encode_response(0, header.correlation_id, &ApiVersionsResponse::unsupported_version());
                let reply = answer.map_or(Reply::Close(CloseReason::TooLarge), Reply::Now);
                Err(Unreadable { api, reply, unserved: None })
            }
            Err(RequestError::UnsupportedVersion(..)) => Err(unserved(api)),
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

    /// What the client says of itself, where this request says it: the software's name and version.
    pub fn software(&self) -> Option<String> {
        match &self.body {
            ottla_wire::Request::ApiVersions(request) if !request.client_software_name.is_empty() => {
                let (name, version) = (&request.client_software_name, &request.client_software_version);
                let short = |text: &str| text.chars().take(LONGEST_SOFTWARE).collect::<String>();
                Some(format!("{} {}", short(name), short(version)))
            }
            _ => None,
        }
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
    /// What consumers fetch, as far as they need not say it each time.
    pub fetch_sessions: FetchSessions,
    /// Producer ids to give away.
    pub producer_ids: ProducerIds,
    /// Threads for what may wait for the disk.
    pub workers: Workers,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// What this broker is rather than what it was told, for DescribeConfigs: `node.id`, `listeners`, …
    pub facts: BTreeMap<&'static str, String>,
}

impl Handler {
    /// Starts on a request: what must happen in order has happened when this returns. `refusals` are the connection's.
    pub fn dispatch(self: &Arc<Self>, peer: &Peer, refusals: &mut Refusals, request: Request) -> Reply {
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
            R::Produce(request) => produce::handle(&context, refusals, request),
            R::Fetch(request) => fetch::handle(&context, request),
            R::ListOffsets(request) => list_offsets::handle(&context, request),
            R::Metadata(request) => metadata::handle(&context, request),
            R::ApiVersions(request) => api_versions::handle(&context, request),
            R::InitProducerId(request) => init_producer_id::handle(&context, request),
            R::OffsetForLeaderEpoch(request) => offset_for_leader_epoch::handle(&context, request),
            R::DeleteRecords(request) => delete_records::handle(&context, request),
            R::FindCoordinator(request) => find_coordinator::handle(&context, request),
            R::JoinGroup(request) => join_group::handle(&context, request),
            R::SyncGroup(request) => sync_group::handle(&context, request),
            R::Heartbeat(request) => heartbeat::handle(&context, request),
            R::LeaveGroup(request) => leave_group::handle(&context, request),
            R::OffsetCommit(request) => offset_commit::handle(&context, request),
            R::OffsetFetch(request) => offset_fetch::handle(&context, request),
            R::OffsetDelete(request) => offset_delete::handle(&context, request),
            R::DescribeGroups(request) => describe_groups::handle(&context, request),
            R::ListGroups(request) => list_groups::handle(&context, request),
            R::DeleteGroups(request) => delete_groups::handle(&context, request),
            R::CreateDelegationToken(request) => delegation_tokens::create(&context, request),
            R::RenewDelegationToken(request) => delegation_tokens::renew(&context, request),
            R::ExpireDelegationToken(request) => delegation_tokens::expire(&context, request),
            R::DescribeDelegationToken(request) => delegation_tokens::describe(&context, request),
            R::CreateTopics(request) => create_topics::handle(&context, request),
            R::DeleteTopics(request) => delete_topics::handle(&context, request),
            R::CreatePartitions(request) => create_partitions::handle(&context, request),
            R::DescribeAcls(request) => acls::describe(&context, request),
            R::CreateAcls(request) => acls::create(&context, request),
            R::DeleteAcls(request) => acls::delete(&context, request),
            R::DescribeConfigs(request) => describe_configs::handle(&context, request),
            R::AlterConfigs(request) => alter_configs::handle(&context, request),
            R::IncrementalAlterConfigs(request) => incremental_alter_configs::handle(&context, request),
            R::ListConfigResources(request) => list_config_resources::handle(&context, request),
            R::DescribeCluster(request) => describe_cluster::handle(&context, request),
            R::DescribeTopicPartitions(request) => describe_topic_partitions::handle(&context, request),
            R::DescribeLogDirs(request) => describe_log_dirs::handle(&context, request),
            R::ElectLeaders(request) => elect_leaders::handle(&context, request),
            R::AlterPartitionReassignments(request) => alter_partition_reassignments::handle(&context, request),
            R::ListPartitionReassignments(request) => list_partition_reassignments::handle(&context, request),
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

/// The operations that a client may use, as bits by Kafka's numbers (KIP-430): all of them, while nobody is kept out.
pub mod operations {
    /// Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite … of the cluster.
    pub const CLUSTER: i32 = 8096;
    /// Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs of a topic.
    pub const TOPIC: i32 = 3576;
    /// They were not asked for.
    pub const NOT_ASKED: i32 = i32::MIN;
}

/// Until when a client waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(env::Instant);

impl Deadline {
    /// A deadline in a request's `timeout_ms`.
    pub fn after_ms(timeout_ms: i32) -> Deadline {
        Deadline(env::now() + Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)))
    }
}

impl Default for Deadline {
    /// For requests that name none: clients give up after `default.api.timeout.ms`, a minute; we say why before that.
    fn default() -> Deadline {
        Deadline::after_ms(30_000)
    }
}

impl Context {
    /// Whether clients are sent to this broker. The one that answers is there, whatever the operator has seen yet: a client that
    /// is told of nobody forgets everybody.
    pub fn is_there(&self, broker: &Broker) -> bool {
        broker.alive || broker.id == self.handler.id
    }

    /// Answers now.
    pub fn reply<R: ResponseMessage>(&self, response: &R) -> Reply {
        self.encode(response).map_or_else(Reply::Close, Reply::Now)
    }

    /// Answers when `response` is there. It is polled by the connection, and dropped with it.
    pub fn later<R: ResponseMessage>(&self, response: impl Future<Output = R> + 'static) -> Reply {
        let context = self.clone();
        let waiting = self.handler.metrics.api(self.api).wait();
        Reply::Later(Box::pin(async move {
            let response = response.await;
            drop(waiting);
            context.encode(&response)
        }))
    }

    fn encode<R: ResponseMessage>(&self, response: &R) -> Result<Frame, CloseReason> {
        self.handler.metrics.api(self.api).seconds.observe(self.received.elapsed().as_secs_f64());
        encode_response(self.version, self.correlation_id, response).map_err(|FrameTooLarge| CloseReason::TooLarge)
    }

    /// Asks the cluster for a change and waits for the answer.
    ///
    /// # Errors
    /// The cluster's refusal, or REQUEST_TIMED_OUT: the change may still come.
    pub async fn ask<T>(&self, deadline: Deadline, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.handler.ask.send(ask(answer)).await.map_err(|_| Refused::stopping())?;
            answered.await.map_err(|_| Refused::stopping())?
        };
        tokio::select! {
            biased;
            answer = asked => answer,
            () = env::sleep_until(deadline.0) => Err(Refused::new(ErrorCode::REQUEST_TIMED_OUT, "The request timed out.")),
        }
    }

    /// Where the client is, as Kafka writes it down.
    fn client_host(&self) -> String {
        format!("/{}", self.peer.address.ip())
    }

    /// The topic that a request names by id (from the version `ids_from` on) or by name.
    pub fn topic(&self, ids_from: i16, name: &str, id: Uuid) -> Result<&Arc<Topic>, NotServed> {
        if self.version >= ids_from {
            self.image.topics.get(&id).ok_or(NotServed::UnknownTopicId)
        } else {
            self.topic_by_name(name)
        }
    }

    /// The topic that a request names by its name in every version.
    pub fn topic_by_name(&self, name: &str) -> Result<&Arc<Topic>, NotServed> {
        self.image.topic(name).ok_or(NotServed::UnknownTopicOrPartition)
    }

    /// The replica of a partition, by its topic's name, that runs here.
    pub fn partition(&self, topic: &str, number: i32) -> Result<Arc<Partition>, NotServed> {
        self.handler.replicas.get(self.topic_by_name(topic)?, number)
    }
}

/// A group's or member's id, for the wire.
fn text(id: &str) -> Str {
    Str::from(id)
}
