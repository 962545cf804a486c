//! What requests mean: one file per API, one exhaustive match.
//!
//! A handler takes a decoded request, does its work through one or two calls of lower rooms, and returns a [`Reply`].
//! `wire` decodes, `server` keeps the order and has the sockets. Errors of lower rooms become wire codes only in
//! `errors`.
//!
//! - [`request`], [`client`]: a frame that was decoded, and the connection it came on
//! - `authentication`: what connections keep while their clients say who they are
//! - `authorization`: whether the client may do something
//! - `audit`: what auditors read of it
//! - `peers`: what brokers and the operator may ask for, by their certificates
//! - [`context`], [`handler`]: what the answer to one request may use, and what all may use
//! - `records`, `transactions`, `groups`, `shares`, `topics`, `configs`, `cluster`, `security`: a folder for each
//!   subject, a file for each API
//! - `election`, `leader_hint`, `names`, `once`, `errors`: steps that several of them share
//! - [`creations`]: topics that heartbeats of streams groups have created

mod audit;
mod authentication;
mod authorization;
mod client;
mod cluster;
mod configs;
mod context;
mod creations;
mod election;
mod errors;
mod groups;
mod handler;
mod leader_hint;
mod names;
mod once;
mod peers;
mod records;
mod request;
mod security;
mod shares;
mod topics;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

pub use self::authentication::Passwords;
pub use self::client::{Client, Peer, Role};
use self::cluster::{api_versions, describe_cluster, describe_log_dirs, describe_topic_partitions, metadata};
use self::configs::{alter_configs, describe_configs, incremental_alter_configs, list_config_resources};
pub use self::context::Context;
pub use self::creations::Creations;
use self::groups::{
    consumer_group_describe, consumer_group_heartbeat, delete_groups, describe_groups, find_coordinator, heartbeat,
    join_group, leave_group, list_groups, offset_commit, offset_delete, offset_fetch, streams_group_describe,
    streams_group_heartbeat, sync_group,
};
pub use self::handler::Handler;
use self::records::{delete_records, fetch, init_producer_id, list_offsets, offset_for_leader_epoch, produce};
pub use self::request::{CommonHeader, Request, Unreadable};
use self::security::{acls, client_quotas, delegation_tokens, sasl, scram_credentials};
use self::shares::{
    alter_share_group_offsets, delete_share_group_offsets, describe_share_group_offsets, share_acknowledge,
    share_fetch, share_group_describe, share_group_heartbeat, share_group_state,
};
pub use self::topics::internal_topics::ask_for_topic;
use self::topics::{
    alter_partition_reassignments, create_partitions, create_topics, delete_topics, elect_leaders,
    list_partition_reassignments,
};
use self::transactions::{
    add_offsets_to_txn, add_partitions_to_txn, describe_producers, describe_transactions, end_txn, list_transactions,
    txn_offset_commit, write_txn_markers,
};

use crate::image::ClusterImage;
use crate::quotas::meter::Meter;
use crate::reply::{CloseReason, Reply};

impl Handler {
    /// Starts a request: the part that must happen in order has happened when this returns. If the client's quotas
    /// say so, [`Client::muted_until`] holds those behind it from then on, or from its answer on.
    pub fn dispatch(self: &Arc<Self>, client: &mut Client, request: Request) -> Reply {
        let image = self.images.borrow().clone();
        // What a client says of itself is no reason to trust it.
        let is_between_brokers = match client.peer.role {
            Role::Broker(_) | Role::Operator => true,
            Role::Client => image.has_plain_brokers(&client.peer.listener) && request.is_between_brokers(),
        };
        if image.access.quotas.limits_no_client() || is_between_brokers {
            return self.start(image, None, client, request);
        }
        let client_id = request.header.client_id.clone().unwrap_or_default();
        let meter = self.quotas.meter(&image.access, &client.peer().principal, &client_id, &mut client.quotas);
        let Some(meter) = meter else { return self.start(image, None, client, request) };
        if let ottla_wire::Request::Produce(_) = &request.body {
            meter.produced(request.size);
        }
        let reply = self.start(image, Some(meter.clone()), client, request);
        meter.started(&reply);
        reply
    }

    /// Writing answers to the client took this time of the reactor.
    pub fn wrote(&self, client: &Client, time: Duration) {
        self.quotas.wrote(&client.quotas, time);
    }

    fn start(
        self: &Arc<Self>,
        image: Arc<ClusterImage>,
        meter: Option<Arc<Meter>>,
        client: &mut Client,
        request: Request,
    ) -> Reply {
        if let Some(software) = request.software() {
            client.software = Some(software);
        }
        let Request { header, body, received, size } = request;
        let context = Context {
            handler: self.clone(),
            image,
            peer: client.peer(),
            questions: client.questions.clone(),
            version: header.api_version,
            client_id: header.client_id.unwrap_or_default(),
            api: header.api_key,
            correlation_id: header.correlation_id,
            received,
            meter,
        };
        self.metrics.clients.api(context.api).requests.inc();
        let body = match sasl::admit(&context, client, body, size) {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        if !context.is_for_peer() {
            return Reply::Close(CloseReason::Unsupported);
        }
        use ottla_wire::Request as R;
        match body {
            R::Produce(request) => produce::handle(&context, client, request),
            R::Fetch(request) => fetch::handle(&context, request),
            R::ListOffsets(request) => list_offsets::handle(&context, request),
            R::Metadata(request) => metadata::handle(&context, request),
            R::ApiVersions(request) => api_versions::handle(&context, client, request),
            R::SaslHandshake(request) => sasl::handshake(&context, client, request),
            R::SaslAuthenticate(request) => sasl::authenticate(&context, client, request),
            R::InitProducerId(request) => init_producer_id::handle(&context, request),
            R::OffsetForLeaderEpoch(request) => offset_for_leader_epoch::handle(&context, request),
            R::AddPartitionsToTxn(request) => add_partitions_to_txn::handle(&context, request),
            R::AddOffsetsToTxn(request) => add_offsets_to_txn::handle(&context, request),
            R::EndTxn(request) => end_txn::handle(&context, request),
            R::WriteTxnMarkers(request) => write_txn_markers::handle(&context, request),
            R::TxnOffsetCommit(request) => txn_offset_commit::handle(&context, request),
            R::DescribeProducers(request) => describe_producers::handle(&context, request),
            R::DescribeTransactions(request) => describe_transactions::handle(&context, request),
            R::ListTransactions(request) => list_transactions::handle(&context, request),
            R::DeleteRecords(request) => delete_records::handle(&context, request),
            R::FindCoordinator(request) => find_coordinator::handle(&context, request),
            R::JoinGroup(request) => join_group::handle(&context, request),
            R::SyncGroup(request) => sync_group::handle(&context, request),
            R::Heartbeat(request) => heartbeat::handle(&context, request),
            R::LeaveGroup(request) => leave_group::handle(&context, request),
            R::ConsumerGroupHeartbeat(request) => consumer_group_heartbeat::handle(&context, request),
            R::ConsumerGroupDescribe(request) => consumer_group_describe::handle(&context, request),
            R::StreamsGroupHeartbeat(request) => streams_group_heartbeat::handle(&context, request),
            R::StreamsGroupDescribe(request) => streams_group_describe::handle(&context, request),
            R::ShareGroupHeartbeat(request) => share_group_heartbeat::handle(&context, request),
            R::ShareGroupDescribe(request) => share_group_describe::handle(&context, request),
            R::ShareFetch(request) => share_fetch::handle(&context, client, request),
            R::ShareAcknowledge(request) => share_acknowledge::handle(&context, request),
            R::DescribeShareGroupOffsets(request) => describe_share_group_offsets::handle(&context, request),
            R::AlterShareGroupOffsets(request) => alter_share_group_offsets::handle(&context, request),
            R::DeleteShareGroupOffsets(request) => delete_share_group_offsets::handle(&context, request),
            R::InitializeShareGroupState(request) => share_group_state::handle(&context, request),
            R::ReadShareGroupState(request) => share_group_state::handle(&context, request),
            R::WriteShareGroupState(request) => share_group_state::handle(&context, request),
            R::DeleteShareGroupState(request) => share_group_state::handle(&context, request),
            R::ReadShareGroupStateSummary(request) => share_group_state::handle(&context, request),
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
            R::DescribeClientQuotas(request) => client_quotas::describe(&context, request),
            R::AlterClientQuotas(request) => client_quotas::alter(&context, request),
            R::DescribeUserScramCredentials(request) => scram_credentials::describe(&context, request),
            R::AlterUserScramCredentials(request) => scram_credentials::alter(&context, request),
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
