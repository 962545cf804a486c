//! What a broker that leaves has on its disk, by its own word: Kafka's DescribeLogDirs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use ottla_client::{ClientError, Connector, Tls};
use ottla_crds::{ListenerType, names};
use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::roster::Disk;
use ottla_wire::{DescribeLogDirsRequest, ErrorCode, Str};
use rustls::ClientConfig;
use tokio::sync::OnceCell;

use crate::authorities::identity;
use crate::cluster::places::bound_port;
use crate::cluster::read::Read;
use crate::cluster::validate::ValidatedCluster;
use crate::cluster::waiting::is_ready;

/// How long a connection or an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer: some 100,000 replicas.
const LONGEST_ANSWER: usize = 16 << 20;
/// How many brokers are asked at once.
const AT_ONCE: usize = 16;
/// The version of the request.
const VERSION: i16 = 4;

/// Why a broker did not say what is on its disk.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("its pod has no address")]
    NoAddress,
    #[error("the operator can not use the cluster's authority: {0}")]
    Identity(io::Error),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("it refused: {0:?}")]
    Refused(ErrorCode),
}

/// Asks these brokers.
pub(super) async fn ask(
    client: &Client,
    cluster: &ValidatedCluster,
    read: &Read,
    brokers: impl IntoIterator<Item = BrokerId>,
) -> Vec<(BrokerId, Disk)> {
    let identity = &OnceCell::new();
    let ask = |id: BrokerId| async move {
        let pod = read.pods.get(&cluster.pod(id));
        let disk = match pod.filter(|pod| is_ready(pod)) {
            None => Disk::Away,
            Some(pod) => match replicas(client, cluster, id, pod, identity).await {
                Ok(replicas) => Disk::Holds(replicas),
                Err(why) => Disk::Unknown(why.to_string()),
            },
        };
        (id, disk)
    };
    stream::iter(brokers).map(ask).buffered(AT_ONCE).collect().await
}

/// How many replicas are on the disk of the broker in this pod. `identity` is read for the first broker with TLS.
async fn replicas(
    client: &Client,
    cluster: &ValidatedCluster,
    id: BrokerId,
    pod: &Pod,
    identity: &OnceCell<Arc<ClientConfig>>,
) -> Result<usize, Unanswered> {
    let host = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).ok_or(Unanswered::NoAddress)?;
    let internal = cluster.listeners.iter().find(|listener| listener.type_ == ListenerType::Internal);
    let plain = internal.and_then(|listener| bound_port(pod, &listener.name));
    let secure = bound_port(pod, names::REPLICATION_LISTENER);
    let port = secure.or(plain).and_then(|port| u16::try_from(port).ok()).ok_or(Unanswered::NoAddress)?;
    let tls = match secure {
        None => None,
        Some(_) => {
            let read = || identity::read(client, &cluster.namespace, &cluster.name);
            let config = identity.get_or_try_init(read).await.map_err(Unanswered::Identity)?;
            Some(Tls { config: config.clone(), name: Some(names::broker_server_name(id)) })
        }
    };
    let connector = Connector {
        client_id: Str::from_static("ottla-operator"),
        connect_timeout: PATIENCE,
        request_timeout: PATIENCE,
        max_response: LONGEST_ANSWER,
        tls,
    };
    let mut connection = connector.connect(host, port, None).await?;
    let answer = connection.call(VERSION, &DescribeLogDirsRequest { topics: None }).await?;
    let codes = [answer.error_code].into_iter().chain(answer.results.iter().map(|result| result.error_code));
    match codes.into_iter().find(|code| *code != ErrorCode::NONE) {
        Some(code) => Err(Unanswered::Refused(code)),
        None => Ok(answer.results.iter().flat_map(|result| &result.topics).map(|topic| topic.partitions.len()).sum()),
    }
}
