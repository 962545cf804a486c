//! Who leads a partition, and where: Produce and Fetch name them to a client that asked another broker (KIP-951).

use crate::codec::Str;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
pub struct LeaderIdAndEpoch {
    /// −1 where the answer says nothing of it.
    #[wire(default = -1)]
    pub leader_id: i32,
    #[wire(default = -1)]
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: Str,
    pub port: i32,
    #[wire(nullable)]
    pub rack: Option<Str>,
}
