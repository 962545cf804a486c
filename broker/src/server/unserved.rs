//! Logs clients that use an API or a version that is not served: such a client only sees that its connection closes.
//!
//! The client connects and asks again, so there is one line per minute for each network and API.

use std::net::IpAddr;

use ottla_wire::compatibility::KAFKA_4_3;

use super::quiet::Said;
use crate::env::Instant;
use crate::handle::{Client, CommonHeader};

/// What was logged.
#[derive(Debug, Default)]
pub(crate) struct Unserved {
    said: Said<(IpAddr, i16)>,
}

impl Unserved {
    /// Logs who asked, unless the same was logged less than a minute ago.
    pub(crate) fn note(&mut self, now: Instant, client: &Client, header: &CommonHeader) {
        let peer = client.peer();
        let Some(unsaid) = self.said.is_due(now, (peer.network(), header.key)) else { return };
        let name =
            KAFKA_4_3.iter().find(|(key, ..)| *key == header.key).map_or("unknown to Kafka 4.3", |(_, name, ..)| name);
        tracing::warn!(
            address = %peer.address,
            client_id = header.client_id.as_deref().unwrap_or_default(),
            software = client.software.as_deref().unwrap_or("unknown"),
            api = %format_args!("{name} ({})", header.key),
            version = header.version,
            unsaid,
            "closed the connection of a client that used an API or a version that is not served; README.md lists the \
            served ones"
        );
    }
}

#[cfg(test)]
mod tests {
    use ottla_access::Login;

    use super::*;
    use crate::handle::Peer;
    use crate::loggers::captured::Captured;
    use crate::reply::{CloseReason, Reply};

    /// An API that Kafka does not have, and AddRaftVoter: each in version 0, with correlation id 7 and a client id.
    const UNKNOWN: &[u8] = b"\x03\xe8\0\0\0\0\0\x07\0\x07admin-1";
    const ADD_RAFT_VOTER: &[u8] = b"\0\x50\0\0\0\0\0\x07\0\x07admin-1";

    #[test]
    fn who_asks_for_what_is_not_served_is_closed_and_named_with_the_api() {
        let mut client = Client::new(Peer::new(([10, 0, 0, 1], 4711).into(), "external".into()), Login::settled());
        client.software = Some("sarama 1.45".to_owned());
        let (mut unserved, now, log) = (Unserved::default(), crate::env::now(), Captured::default());
        tracing::subscriber::with_default(log.printing("info"), || {
            for frame in [UNKNOWN, UNKNOWN, ADD_RAFT_VOTER] {
                let unreadable = client.read(frame.into()).expect_err("it is not served");
                assert!(matches!(unreadable.reply, Reply::Close(CloseReason::Unsupported)));
                unserved.note(now, &client, &unreadable.unserved.expect("the header is whole"));
            }
        });
        let text = log.text();
        let said: Vec<_> = text.lines().filter_map(|line| line.split_once(" address=")).collect();
        assert!(said.iter().all(|(what, _)| what.contains("WARN") && what.contains("closed the connection")), "{text}");
        let who: Vec<_> = said.iter().map(|(_, who)| *who).collect();
        let by = r#"10.0.0.1:4711 client_id="admin-1" software="sarama 1.45" api="#;
        let apis = ["unknown to Kafka 4.3 (1000)", "AddRaftVoter (80)"];
        assert_eq!(who, apis.map(|api| format!("{by}{api} version=0 unsaid=0")));
    }
}
