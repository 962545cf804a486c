//! Numbers for single addresses: the values of `max.connections.per.ip.overrides`.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Reads a list of `address:count`; `None` when it is none. Kafka also takes names of hosts, and asks for their
/// addresses once, when it starts.
pub(crate) fn by_address(text: &str) -> Option<BTreeMap<IpAddr, usize>> {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    let members = members.map(|member| {
        let (address, count) = member.rsplit_once(':')?;
        let address: IpAddr = address.trim().parse().ok()?;
        let count: i32 = count.trim().parse().ok()?;
        Some((address.to_canonical(), usize::try_from(count).ok()?))
    });
    members.collect()
}
