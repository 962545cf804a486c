//! Logs clients that are not let in, for auditors: those that speak no TLS where it is needed, and those whose
//! certificate is nobody's. Failed logins by SASL have a line of their own, where they fail.
//!
//! Who is refused connects again, so there is one line per minute for each network and reason: a host with many IPv6
//! addresses does not fill the log, nor what is remembered of it.

use std::net::IpAddr;

use super::opening::NotOpened;
use super::quiet::Said;
use crate::env::Instant;
use crate::handle::Peer;
use crate::loggers::AUDIT;

/// What was logged.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    said: Said<(IpAddr, &'static str)>,
}

impl RefusalLog {
    /// Logs who was refused, and why, unless the same was logged less than a minute ago.
    pub(crate) fn note(&mut self, now: Instant, peer: &Peer, error: &NotOpened) {
        // Without a reason the network has ended the connection.
        let Some(reason) = error.refusal() else { return };
        let Some(unsaid) = self.said.is_due(now, (peer.network(), reason)) else { return };
        let host = peer.address.ip();
        let error = error.to_string();
        tracing::info!(target: AUDIT, %host, listener = %peer.listener, reason, error, unsaid, "refused a connection");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::loggers::captured::Captured;

    #[test]
    fn who_is_refused_is_named_once_a_minute_with_the_reason() {
        let peer = Peer::new(([10, 0, 0, 1], 4711).into(), "replication".into());
        let (mut refused, now, log) = (RefusalLog::default(), crate::env::now(), Captured::default());
        tracing::subscriber::with_default(log.printing("info"), || {
            refused.note(now, &peer, &NotOpened::NoBroker);
            refused.note(now, &peer, &NotOpened::NoBroker);
            refused.note(now, &peer, &NotOpened::UnknownUser);
        });
        let text = log.text();
        let reasons: Vec<_> = text.lines().filter_map(|line| line.split_once(" reason=")).collect();
        assert_eq!(reasons.len(), 2, "{text}");
        assert!(text.contains("ottla::audit: refused a connection host=10.0.0.1 listener=replication"), "{text}");
        assert!(reasons[0].1.starts_with("\"no_broker\""), "{text}");
        assert!(reasons[1].1.starts_with("\"unknown_certificate\""), "{text}");
    }

    #[test]
    fn a_host_with_many_addresses_leaves_room_for_others() {
        let peer = |network: u64, host: u64| {
            let address = Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(host));
            Peer::new((address, 4711).into(), "external".into())
        };
        let (mut refused, now, log) = (RefusalLog::default(), crate::env::now(), Captured::default());
        tracing::subscriber::with_default(log.printing("info"), || {
            for host in 1..=1000 {
                refused.note(now, &peer(1, host), &NotOpened::NoBroker);
            }
            refused.note(now, &peer(2, 1), &NotOpened::NoBroker);
        });
        let text = log.text();
        let hosts: Vec<_> = text.lines().filter_map(|line| line.split_once("host=")?.1.split(' ').next()).collect();
        assert_eq!(hosts, ["::1:0:0:0:1", "::2:0:0:0:1"], "{text}");
    }
}
