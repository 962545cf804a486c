//! The configuration of every broker: the file that `ottla broker` reads. Each revision has its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ottla_crds::broker_file::{BrokerFile, BrokerListener};
use ottla_crds::names::HTTP_PORT;

use super::pod::DATA_FOLDER;
use crate::cluster::validate::ValidatedCluster;

/// Every address of the pod: brokers take this for IPv6 too.
const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// What a broker needs to close its logs when it has drained.
const CLOSING_SECONDS: u32 = 5;

/// The file.
pub fn broker_file(cluster: &ValidatedCluster) -> BrokerFile {
    let listener =
        |(name, port): (&str, u16)| BrokerListener { name: name.to_owned(), bind: SocketAddr::new(EVERYWHERE, port) };
    BrokerFile {
        cluster: cluster.name.clone(),
        namespace: cluster.namespace.clone(),
        data: DATA_FOLDER.into(),
        http: SocketAddr::new(EVERYWHERE, HTTP_PORT),
        listeners: cluster.ports().map(listener).collect(),
        drain_seconds: cluster.grace_seconds() - CLOSING_SECONDS,
    }
}
