//! The leader of a partition and its address, for a client that asked another broker (KIP-951), so that it need not ask
//! Metadata.

use ottla_wire::{LeaderIdAndEpoch, NodeEndpoint};

use crate::handle::context::Context;
use crate::image::Topic;

/// The live leader of a partition.
pub(super) struct LeaderHint {
    /// The leader's id and epoch.
    pub current: LeaderIdAndEpoch,
    /// The leader's address.
    pub node: NodeEndpoint,
}

impl LeaderHint {
    /// Reads it from the newest image: the request may have waited until the leader changed. The address is one of the
    /// client's listener. `None`: no broker leads, or the leader is not live or has no such address.
    pub(super) fn of(context: &Context, topic: &Topic, partition: i32) -> Option<LeaderHint> {
        let image = context.handler.images.borrow().clone();
        let assignment = image.topics.get(&topic.id)?.partitions.get(usize::try_from(partition).ok()?)?;
        let leader = assignment.leader?;
        let endpoint = image.endpoint(leader, &context.peer.listener)?;
        let rack = image.brokers.get(&leader).and_then(|broker| broker.rack.clone());
        let (host, port) = (endpoint.host.clone(), i32::from(endpoint.port));
        Some(LeaderHint {
            current: LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: assignment.leader_epoch.0 },
            node: NodeEndpoint { node_id: leader.0, host, port, rack },
        })
    }

    /// Writes it into an answer: the leader beside its partition, its address once for all of them.
    pub(super) fn write(self, current_leader: &mut LeaderIdAndEpoch, node_endpoints: &mut Vec<NodeEndpoint>) {
        *current_leader = self.current;
        if node_endpoints.iter().all(|node| node.node_id != self.node.node_id) {
            node_endpoints.push(self.node);
        }
    }
}
