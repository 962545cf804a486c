//! The configuration of every broker: the file that `ottla broker` reads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::ConfigMap;
use ottla_crds::broker_file::{BrokerFile, BrokerListener, FILE_NAME};
use ottla_crds::names;

use super::pod::DATA_FOLDER;
use super::{HTTP_PORT, metadata};
use crate::cluster::validate::ValidatedCluster;

/// Every address of the pod: brokers take this for IPv6 too.
const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// What a broker needs to close its logs when it has drained.
const CLOSING_SECONDS: u32 = 5;

/// The brokers' ConfigMap.
pub fn config_map(cluster: &ValidatedCluster) -> ConfigMap {
    ConfigMap {
        metadata: metadata(cluster, names::brokers(&cluster.name)),
        data: Some([(FILE_NAME.to_owned(), broker_file(cluster).to_yaml())].into()),
        ..ConfigMap::default()
    }
}

/// The file itself.
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
