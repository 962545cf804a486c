//! Logs clients that use an API or a version that is not served: such a client only sees that its connection closes.
//!
//! The client connects and asks again, so there is one line per minute for each network and API.

use std::net::IpAddr;

use ottla_wire::compatibility::KAFKA_4_3;

use super::quiet::Said;
use crate::env::Instant;
use crate::handle::{Asked, Client};

/// What was logged.
#[derive(Debug, Default)]
pub(crate) struct Unserved {
    said: Said<(IpAddr, i16)>,
}

impl Unserved {
    /// Logs who asked, unless the same was logged less than a minute ago.
    pub(crate) fn note(&mut self, now: Instant, client: &Client, asked: &Asked) {
        let peer = client.peer();
        let Some(unsaid) = self.said.is_due(now, (peer.network(), asked.key)) else { return };
        let name =
            KAFKA_4_3.iter().find(|(key, ..)| *key == asked.key).map_or("unknown to Kafka 4.3", |(_, name, ..)| name);
        tracing::warn!(
            address = %peer.address,
            client_id = asked.client_id.as_deref().unwrap_or_default(),
            software = client.software.as_deref().unwrap_or("unknown"),
            api = %format_args!("{name} ({})", asked.key),
            version = asked.version,
            unsaid,
            "closed the connection of a client that used an API or a version that is not served; README.md lists the \
            served ones"
        );
    }
}
