//! One cluster on one API server: how its objects are read when a broker starts, and watched from then on.

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, Resource};
use ottla_crds::{KafkaCluster, names};
use ottla_kube::change::why;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{named, of_cluster, watcher};
use ottla_kube::watches::Watches;

use super::known::{KnownObjects, ObjectEvent};
use super::session::{self, LeaseRead, Session};
use crate::data_dir::{DataDir, DataDirError, Surroundings};
use crate::env;
use crate::image::{BrokerId, ImageReceiver};

/// How long a start waits for the API server before it uses the copy on disk.
const AWAY_AFTER: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);

/// One cluster on one API server.
#[derive(Clone)]
pub(super) struct ApiServer {
    pub client: Client,
    pub namespace: String,
    /// The KafkaCluster's name.
    pub cluster: String,
}

impl ApiServer {
    /// The objects of a kind in the cluster's namespace.
    pub(super) fn objects<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The three watches. Each starts with a consistent list, and starts again when it fails.
    pub(super) fn watches(&self, set_backs: &SetBacks) -> Watches<ObjectEvent> {
        let mut watches = Watches::new(set_backs);
        watches.add(&(), watcher(self.objects(), named(&self.cluster), set_backs), ObjectEvent::Cluster);
        watches.add(&(), watcher(self.objects(), of_cluster(&self.cluster), set_backs), ObjectEvent::Topic);
        watches.add(&(), watcher(self.objects(), of_cluster(&self.cluster), set_backs), ObjectEvent::Assignment);
        watches
    }

    /// Begins the broker's session, once the Lease was read and `images` shows the cluster's id. While the API server
    /// is away, it begins with `copy`, if the directory alone proves that it is current.
    ///
    /// # Errors
    /// When the data directory belongs to another cluster, or the disk refuses.
    pub(super) async fn begin_session(
        &self,
        dir: &DataDir,
        here: Surroundings,
        images: &mut ImageReceiver,
        copy: &KnownObjects,
    ) -> Result<Session, DataDirError> {
        let away_at = env::now() + AWAY_AFTER;
        let mut told = false;
        loop {
            let shown = tokio::time::timeout_at(away_at, images.wait_for(|image| !image.cluster_id.is_empty()));
            // The guard must not live across the read below, because the next image waits for it.
            let shown = shown.await.is_ok();
            let session = match self.read(dir.broker()).await {
                Ok((Some(cluster_id), lease)) if shown => {
                    dir.claim(&cluster_id, env::random_uuid())?;
                    session::begin(dir, LeaseRead::Read(lease.as_ref()), here.clone())?
                }
                Ok(_) => None,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(
                            error = why(&error),
                            "the API server does not answer: serving from the last known state"
                        );
                    }
                    let known = copy.cluster.is_some() && env::now() >= away_at;
                    if known { session::begin(dir, LeaseRead::Away, here.clone())? } else { None }
                }
            };
            match session {
                Some(session) => return Ok(session),
                None => env::sleep_until(env::now() + RETRY).await,
            }
        }
    }

    /// The cluster's id, if it has one yet, and the broker's Lease.
    async fn read(&self, me: BrokerId) -> Result<(Option<String>, Option<Lease>), kube::Error> {
        let cluster = self.objects::<KafkaCluster>().get_opt(&self.cluster).await?;
        let cluster_id = cluster.and_then(|cluster| cluster.status?.cluster_id);
        let lease = self.objects::<Lease>().get_opt(&names::broker(&self.cluster, me)).await?;
        Ok((cluster_id, lease))
    }
}
