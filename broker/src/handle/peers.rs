//! Brokers and the operator as peers: what they may ask for where brokers replicate, and in whose name.

use ottla_wire::ApiKey;

use super::client::Role;
use super::context::Context;
use super::request::ADD_PARTITIONS_OF_BROKERS;
use crate::image::BrokerId;
use crate::loggers::AUDIT;

impl Context {
    /// Whether the peer is served the API of its request at all. With a certificate of a broker or the operator, it is
    /// served what these need, and nothing else: the certificate is no way around the rules for clients.
    pub(super) fn is_for_peer(&self) -> bool {
        let is_for = match self.peer.role {
            Role::Client => true,
            Role::Broker(_) => is_for_brokers(self.api, self.version),
            Role::Operator => matches!(self.api, ApiKey::ApiVersions | ApiKey::DescribeLogDirs),
        };
        if !is_for {
            let (peer, host) = (self.peer.role, self.peer.address.ip());
            tracing::info!(target: AUDIT, ?peer, %host, api = ?self.api, "denied: the API is not for this certificate");
        }
        is_for
    }

    /// Whether the peer is a broker: by its certificate, or because some brokers have none yet.
    pub(super) fn is_broker(&self) -> bool {
        match self.peer.role {
            Role::Broker(_) => true,
            Role::Operator => false,
            Role::Client => self.image.has_plain_brokers(&self.peer.listener),
        }
    }

    /// Whether the peer may call itself this replica, which it is not by the certificate of another broker. A client
    /// that has ClusterAction on the cluster may, as in Kafka.
    pub(super) fn may_be_replica(&self, id: BrokerId) -> bool {
        let may_be = match self.peer.role {
            Role::Broker(broker) => broker == id,
            Role::Client => true,
            Role::Operator => false,
        };
        if !may_be {
            let (peer, host) = (self.peer.role, self.peer.address.ip());
            tracing::info!(
                target: AUDIT, ?peer, replica = %id, %host, api = ?self.api, "denied: the certificate is of another peer"
            );
        }
        may_be
    }
}

/// What brokers ask of each other: records, the ends of partitions and epochs, transactions, states of share groups.
fn is_for_brokers(api: ApiKey, version: i16) -> bool {
    match api {
        ApiKey::Fetch
        | ApiKey::ListOffsets
        | ApiKey::ApiVersions
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::WriteTxnMarkers
        | ApiKey::InitializeShareGroupState
        | ApiKey::ReadShareGroupState
        | ApiKey::WriteShareGroupState
        | ApiKey::DeleteShareGroupState
        | ApiKey::ReadShareGroupStateSummary => true,
        ApiKey::AddPartitionsToTxn => version >= ADD_PARTITIONS_OF_BROKERS,
        _ => false,
    }
}
