//! May the client do this? Handlers ask here; the rules are the image's, so that a request is resolved and authorised
//! on one image. Without rules everybody may do everything, at no cost.

use ottla_access::{Authorizer, Operation, ResourceType};

use super::context::{Context, operations};
use crate::loggers::AUDIT;

/// Beside replication, brokers ask each other with ListOffsets how long partitions are, and the operator asks a broker
/// that leaves with DescribeLogDirs what is on its disk.
const OF_EACH_OTHER: [(Operation, ResourceType); 2] =
    [(Operation::Describe, ResourceType::Topic), (Operation::Describe, ResourceType::Cluster)];

impl Context {
    /// Whether the client may do this to a resource. A refusal is logged for auditors: the client is sent an error.
    pub(super) fn may(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        let Some(rules) = &self.image.access.authorizer else { return true };
        self.allows(rules, operation, kind, name) || self.denied(operation, kind, name)
    }

    /// As [`Context::may`], for what is left out of an answer without an error, or has another way to be allowed.
    pub(super) fn sees(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        let Some(rules) = &self.image.access.authorizer else { return true };
        self.allows(rules, operation, kind, name) || {
            // As a text, so that it is quoted: nobody writes a line of somebody else's.
            let (principal, host) = (self.peer.principal.to_string(), self.peer.address.ip());
            tracing::debug!(target: AUDIT, principal, %host, ?operation, ?kind, name, api = ?self.api, "hidden");
            false
        }
    }

    /// Whether the client may do this to a topic.
    pub(super) fn may_topic(&self, operation: Operation, name: &str) -> bool {
        self.may(operation, ResourceType::Topic, name)
    }

    /// Whether the client may do this to a group.
    pub(super) fn may_group(&self, operation: Operation, id: &str) -> bool {
        self.may(operation, ResourceType::Group, id)
    }

    /// Whether the client may do this to a transactional id.
    pub(super) fn may_transactional_id(&self, operation: Operation, id: &str) -> bool {
        self.may(operation, ResourceType::TransactionalId, id)
    }

    /// Whether the client may do this to the cluster. What brokers do for each other, every broker may.
    pub(super) fn may_cluster(&self, operation: Operation) -> bool {
        self.may(operation, ResourceType::Cluster, ResourceType::CLUSTER_NAME)
    }

    /// As [`Context::may_cluster`], where there is another way to be allowed.
    pub(super) fn sees_cluster(&self, operation: Operation) -> bool {
        self.sees(operation, ResourceType::Cluster, ResourceType::CLUSTER_NAME)
    }

    /// Whether the client may get a producer id: it may write to something.
    pub(super) fn may_write_idempotently(&self) -> bool {
        let Some(rules) = &self.image.access.authorizer else { return true };
        let Context { peer, .. } = self;
        self.sees_cluster(Operation::IdempotentWrite)
            || rules.allows_any(&peer.principal, peer.address.ip(), Operation::Write, ResourceType::Topic)
            || self.denied(Operation::IdempotentWrite, ResourceType::Cluster, ResourceType::CLUSTER_NAME)
    }

    /// What the client may do to a topic, as bits by Kafka's numbers (KIP-430).
    pub(super) fn topic_operations(&self, name: &str) -> i32 {
        self.operations(operations::TOPIC, ResourceType::Topic, name)
    }

    /// What the client may do to a group, as bits by Kafka's numbers (KIP-430).
    pub(super) fn group_operations(&self, id: &str) -> i32 {
        self.operations(operations::GROUP, ResourceType::Group, id)
    }

    /// What the client may do to the cluster, as bits by Kafka's numbers (KIP-430); none if it may not describe it.
    pub(super) fn cluster_operations(&self) -> i32 {
        match self.sees_cluster(Operation::Describe) {
            true => self.operations(operations::CLUSTER, ResourceType::Cluster, ResourceType::CLUSTER_NAME),
            false => 0,
        }
    }

    fn operations(&self, all: i32, kind: ResourceType, name: &str) -> i32 {
        let Some(rules) = &self.image.access.authorizer else { return all };
        let wanted: Vec<Operation> =
            Operation::ALL.into_iter().filter(|operation| all & 1 << operation.code() != 0).collect();
        rules.allowed(&self.peer.principal, self.peer.address.ip(), &wanted, kind, name)
    }

    fn allows(&self, rules: &Authorizer, operation: Operation, kind: ResourceType, name: &str) -> bool {
        (operation == Operation::ClusterAction || OF_EACH_OTHER.contains(&(operation, kind))) && self.is_broker()
            || rules.allows(&self.peer.principal, self.peer.address.ip(), operation, kind, name)
    }

    /// Whether the client is a broker, as far as can be known.
    pub(super) fn is_broker(&self) -> bool {
        self.peer.is_broker || self.image.has_plain_brokers(&self.peer.listener)
    }

    /// Logs and counts a refusal; never true.
    fn denied(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        let (principal, host) = (self.peer.principal.to_string(), self.peer.address.ip());
        tracing::info!(target: AUDIT, principal, %host, ?operation, ?kind, name, api = ?self.api, "denied");
        self.handler.metrics.clients.api(self.api).denied.inc();
        false
    }
}
