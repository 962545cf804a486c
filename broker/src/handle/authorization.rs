//! May the client do this? Handlers ask here; the rules are the image's, so that a request is resolved and authorised
//! on one image. Without rules everybody may do everything, at no cost.

use ottla_access::{Operation, Question, ResourceType};

use super::client::Role;
use super::context::{Context, operations};
use crate::loggers::AUDIT;

/// Beside replication, brokers ask each other with ListOffsets how long partitions are.
const OF_BROKERS: (Operation, ResourceType) = (Operation::Describe, ResourceType::Topic);

/// With Fetch, as consumers do, brokers ask each other for the batch in the place of a damaged one. Only a certificate
/// makes that theirs: it looks like what any client may ask.
const WITH_CERTIFICATE: (Operation, ResourceType) = (Operation::Read, ResourceType::Topic);

/// The operator asks a broker that leaves with DescribeLogDirs what is on its disk.
const OF_OPERATOR: (Operation, ResourceType) = (Operation::Describe, ResourceType::Cluster);

/// What to do if the client is a broker.
const WITHOUT_CERTIFICATE: &str = "brokers show certificates on the listener for replication; if this is a broker that \
                                   has none yet, delete its pod: the next one gets a certificate";

impl Context {
    /// Whether the client may do this to a resource. A refusal is logged for auditors: the client is sent an error.
    pub(super) fn may(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        self.allows(operation, kind, name) || self.denied(operation, kind, name)
    }

    /// As [`Context::may`], for what is left out of an answer without an error, or has another way to be allowed.
    pub(super) fn sees(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        self.allows(operation, kind, name) || {
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

    fn allows(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        let Context { peer, image, .. } = self;
        match &image.access.authorizer {
            Some(rules) => {
                let (principal, host) = (&peer.principal, peer.address.ip());
                let question = Question { principal, host, operation, kind, name };
                self.allows_peer(operation, kind) || self.questions.lock().allows(rules, question)
            }
            // Everybody may do everything, but for what brokers do, where they have certificates to show.
            None if operation == Operation::ClusterAction => {
                !image.replicates_securely(self.handler.id) || self.allows_peer(operation, kind)
            }
            None => true,
        }
    }

    /// Whether a broker or the operator may do this, whatever the rules are.
    fn allows_peer(&self, operation: Operation, kind: ResourceType) -> bool {
        let of_broker = operation == Operation::ClusterAction || (operation, kind) == OF_BROKERS;
        let of_operator = (operation, kind) == OF_OPERATOR;
        match self.peer.role {
            Role::Broker(_) => of_broker || (operation, kind) == WITH_CERTIFICATE,
            Role::Operator => of_operator,
            // Where brokers need no certificates, the operator needs none either.
            Role::Client => (of_broker || of_operator) && self.is_broker(),
        }
    }

    /// Logs and counts a refusal; never true.
    fn denied(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        let (principal, host) = (self.peer.principal.to_string(), self.peer.address.ip());
        let hint = hint(operation, self.peer.role, self.image.replicates_securely(self.handler.id));
        tracing::info!(target: AUDIT, principal, %host, ?operation, ?kind, name, api = ?self.api, hint, "denied");
        self.handler.metrics.clients.api(self.api).denied.inc();
        false
    }
}

/// What to do about a refusal, if the client may be a broker that looks dead and was not restarted since the cluster
/// has authorities. `is_secure`: brokers show certificates to this one.
fn hint(operation: Operation, role: Role, is_secure: bool) -> Option<&'static str> {
    let is_for_brokers = operation == Operation::ClusterAction && role == Role::Client;
    (is_for_brokers && is_secure).then_some(WITHOUT_CERTIFICATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::BrokerId;

    #[test]
    fn the_log_says_what_to_do_only_if_a_certificate_may_be_missing() {
        let said = |operation, role, is_secure| hint(operation, role, is_secure).is_some();
        assert!(said(Operation::ClusterAction, Role::Client, true));
        assert!(!said(Operation::ClusterAction, Role::Client, false), "nobody has certificates");
        assert!(!said(Operation::Write, Role::Client, true), "clients do that, too");
        for role in [Role::Broker(BrokerId(1)), Role::Operator] {
            assert!(!said(Operation::ClusterAction, role, true), "{role:?} has shown a certificate");
        }
    }
}
