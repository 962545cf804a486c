//! Which installation operates a cluster that two installations of the operator see: the one whose namespace is in the
//! cluster's status, while an operator there holds the Lease. The other installation does not change the cluster,
//! publishes an Event, and waits.
//!
//! Within one installation only the Lease decides. If a cluster changes its operator by mistake, that costs writes,
//! never data.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Client, Resource};
use ottla_crds::KafkaCluster;
use ottla_kube::change::why;
use ottla_kube::lease::{Observed, Pace, Sight};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::acting::Acting;
use crate::cluster::watches::ClusterKey;
use crate::events::Recorder;

/// The Lease of the operator that acts for an installation, in its namespace.
pub(crate) const LEASE: &str = "ottla-operator";
/// The time between two checks of the other installation.
const LOOK: Duration = Duration::from_secs(2);

/// An installation of the operator.
pub struct Installation {
    /// The way to the API server.
    pub client: Client,
    /// The namespace of this installation.
    pub namespace: String,
    /// Publishes Events.
    pub recorder: Recorder,
}

impl Installation {
    /// Waits until this installation operates the cluster, which the acting replica claims by a write. Returns the
    /// cluster's uid; `None` if only topics refer to it.
    pub async fn claim(&self, key: &ClusterKey, acting: &mut Acting) -> Option<String> {
        let clusters: Api<KafkaCluster> = Api::namespaced(self.client.clone(), &key.namespace);
        let mut other = Other::default();
        loop {
            let acts = acting.may_write();
            match self.try_to_claim(&clusters, key, acts, &mut other).await {
                Ok(Claimed::Yes(uid)) => return uid,
                Ok(Claimed::Changed) => continue,
                Ok(Claimed::NotYet) => {}
                Err(error) => {
                    tracing::warn!(cluster = %key, error = why(&error), "failed to find out who operates a cluster")
                }
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = acting.begins(), if !acts => {}
            }
        }
    }

    async fn try_to_claim(
        &self,
        clusters: &Api<KafkaCluster>,
        key: &ClusterKey,
        acts: bool,
        other: &mut Other,
    ) -> Result<Claimed, kube::Error> {
        let Some(object) = clusters.get_opt(&key.name).await? else { return Ok(Claimed::Yes(None)) };
        match operator(&object) {
            Some(named) if named == self.namespace => return Ok(Claimed::Yes(object.metadata.uid)),
            Some(_) | None if !acts => return Ok(Claimed::NotYet),
            Some(named) if self.is_there(named, other).await? => {
                if !std::mem::replace(&mut other.told, true) {
                    self.tell(&object, named).await;
                }
                return Ok(Claimed::NotYet);
            }
            Some(_) | None => {}
        }
        let version = &object.metadata.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": { "operator": self.namespace } });
        match clusters.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(claimed) => Ok(Claimed::Yes(claimed.metadata.uid)),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(Claimed::Changed),
            Err(error) => Err(error),
        }
    }

    /// Whether an operator acts for the installation in this namespace, as far as its Lease shows.
    async fn is_there(&self, namespace: &str, other: &mut Other) -> Result<bool, kube::Error> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), namespace);
        let Some(lease) = leases.get_opt(LEASE).await? else { return Ok(false) };
        let now = Instant::now();
        other.lease.see(&lease.spec.unwrap_or_default(), now);
        Ok(match other.lease.judge(Pace::OPERATOR, now) {
            Sight::Released | Sight::Expired => false,
            Sight::Unknown | Sight::Alive | Sight::Overdue => true,
        })
    }

    async fn tell(&self, object: &KafkaCluster, named: &str) {
        let note = format!(
            "the operator in the namespace {named} operates this cluster; the operator in the namespace {} waits",
            self.namespace
        );
        tracing::warn!(cluster = object.metadata.name, "{note}");
        let event = Event {
            type_: EventType::Warning,
            reason: "OperatedByAnother".to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // Events are a courtesy: one that can't be written is dropped.
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::debug!(%error, "failed to publish an event");
        }
    }

    /// Whether the cluster that is shown is not the claimed one any more.
    pub fn has_lost(&self, claimed: Option<&str>, shown: Option<&KafkaCluster>) -> bool {
        shown.is_some_and(|shown| {
            shown.metadata.uid.as_deref() != claimed || operator(shown).is_some_and(|named| named != self.namespace)
        })
    }
}

fn operator(object: &KafkaCluster) -> Option<&str> {
    object.status.as_ref()?.operator.as_deref()
}

enum Claimed {
    Yes(Option<String>),
    /// Another writer has changed it: read it again.
    Changed,
    /// Another installation operates it, or this replica is the standby.
    NotYet,
}

/// The other installation, as this one sees it.
#[derive(Default)]
struct Other {
    lease: Observed,
    told: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Namespace;
    use kube::api::{ObjectMeta, PostParams};
    use kube::runtime::events::Reporter;
    use ottla_kube::lease::{self, Claim};
    use ottla_local_api::{Server, Store};
    use tokio::sync::{oneshot, watch};
    use tokio::time::timeout;

    use super::*;

    fn installation(server: &Server, namespace: &str) -> Installation {
        let client = server.client(namespace);
        let reporter = Reporter { controller: "ottla.io/operator".to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        Installation { client, namespace: namespace.to_owned(), recorder }
    }

    /// Holds the installation's Lease until it should release it.
    async fn acts(installation: &Installation) -> oneshot::Sender<()> {
        let (let_go, told) = oneshot::channel::<()>();
        let claim = Claim {
            name: LEASE.to_owned(),
            labels: BTreeMap::new(),
            identity: installation.namespace.clone(),
            predecessor: None,
            pace: Pace::OPERATOR,
            observed: Observed::default(),
            set_backs: ottla_kube::versions::SetBacks::default(),
        };
        let leases = Api::namespaced(installation.client.clone(), &installation.namespace);
        let (held, mut holding) = watch::channel(None);
        tokio::spawn(lease::hold(leases, claim, watch::channel(BTreeMap::new()).1, held, async {
            let _ = told.await;
        }));
        holding.wait_for(Option::is_some).await.unwrap();
        let_go
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_installations_one_operates_a_cluster_and_the_other_takes_over_when_it_is_gone() {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let namespaces: Api<Namespace> = Api::all(server.client("default"));
        for name in ["first", "second", "kafka"] {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await.unwrap();
        }
        let (first, second) = (installation(&server, "first"), installation(&server, "second"));
        let cluster = KafkaCluster::new("prod", serde_json::from_value(json!({})).unwrap());
        let clusters: Api<KafkaCluster> = Api::namespaced(first.client.clone(), "kafka");
        let uid = clusters.create(&PostParams::default(), &cluster).await.unwrap().metadata.uid;
        let key = ClusterKey { namespace: "kafka".to_owned(), name: "prod".to_owned() };

        let let_go = acts(&first).await;
        assert_eq!(first.claim(&key, &mut Acting::alone()).await, uid);
        assert_eq!(first.claim(&key, &mut Acting::alone()).await, uid, "the other replica of the same installation");
        let a_minute = Duration::from_secs(60);
        assert!(timeout(a_minute, second.claim(&key, &mut Acting::alone())).await.is_err(), "the first one is there");
        let shown = clusters.get("prod").await.unwrap();
        assert_eq!(operator(&shown), Some("first"));
        assert!(!first.has_lost(uid.as_deref(), Some(&shown)));

        let_go.send(()).unwrap();
        assert_eq!(timeout(a_minute, second.claim(&key, &mut Acting::alone())).await.unwrap(), uid);
        let shown = clusters.get("prod").await.unwrap();
        assert_eq!(operator(&shown), Some("second"));
        assert!(first.has_lost(uid.as_deref(), Some(&shown)), "should it come back");
        assert!(!second.has_lost(uid.as_deref(), None), "a view that lags shows nothing");
    }
}
