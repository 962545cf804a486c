//! Takes planned steps: those that change entries only after a look at the Leases, and each as [`Pace`] allows.

use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use ottla_crds::names;
use ottla_kube::change::why;
use ottla_kube::lease::Knowledge;
use ottla_kube::versions::SetBacks;
use ottla_rules::assignment::Live;
use tokio::time::{Duration, Instant};

use super::apply::Writer;
use super::pace::Pace;
use super::reads::Reads;
use crate::plan::{HeldBack, Step};

/// How many writes are in flight at once: enough to hide a round trip, few enough not to overload the API server.
const WRITES_AT_ONCE: usize = 64;
/// How many steps are taken before the next plan, so that an election waits for a few round trips at most.
const STEPS_PER_PLAN: usize = 256;
/// When to look again after a look that failed, or that showed newer entries.
const RETRY: Duration = Duration::from_millis(500);

/// A consistent read of the Leases.
pub struct LeaseReader<'a> {
    /// Where they are.
    pub leases: &'a Api<Lease>,
    /// The labels of this cluster's.
    pub selector: &'a str,
    /// What the API server has shown.
    pub set_backs: &'a SetBacks,
}

impl LeaseReader<'_> {
    /// Whether the API server is as new as what it has shown, and no live broker knows newer entries. Entries that were
    /// listed a moment ago can't show it: the watch of the Leases may show a restore only later.
    async fn is_current(&self, cluster: &str, live: &Live) -> bool {
        let shown = self.set_backs.shown();
        let leases = match self.leases.list(&ListParams::default().labels(self.selector)).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::warn!(
                    error = why(&error),
                    "failed to list the brokers' leases: no assignment is written \
                until this succeeds"
                );
                return false;
            }
        };
        let version = leases.metadata.resource_version.as_ref().and_then(|version| version.parse().ok());
        let is_there =
            |lease: &&Lease| names::broker_id(cluster, &lease.name_any()).is_some_and(|id| live.contains_key(&id));
        let mut there = leases.items.iter().filter(is_there);
        !self.set_backs.compare_list(version, shown) && there.all(|lease| Knowledge::of(lease) == Knowledge::AsShown)
    }
}

/// Takes the steps that may be taken now, those that change entries only after a look at the Leases. Says when to plan
/// again if nothing new is shown until then.
pub async fn look_and_take(
    look: LeaseReader<'_>,
    cluster: &str,
    writer: &Writer,
    pace: &mut Pace,
    mut steps: Vec<Step>,
    live: &Live,
) -> Option<Instant> {
    let waits = |step: &Step| step.waits_for(&HeldBack::Comparing);
    if !steps.iter().any(waits) || look.is_current(cluster, live).await {
        return take(writer, pace, steps).await;
    }
    steps.retain(|step| !waits(step));
    let again = Instant::now() + RETRY;
    take(writer, pace, steps).await.into_iter().chain([again]).min()
}

/// Takes the steps that may be taken now; says when to plan again if nothing new is shown until then.
async fn take(writer: &Writer, pace: &mut Pace, steps: Vec<Step>) -> Option<Instant> {
    let now = Instant::now();
    let (mut due, held_back) = pace.divide(steps, now);
    let more = due.len() > STEPS_PER_PLAN;
    due.truncate(STEPS_PER_PLAN);
    let mut planned = held_back;
    let reads = &Reads::of(&due);
    let writes = due.into_iter().map(|step| async move {
        let outcome = writer.apply(&step, reads).await;
        (step, outcome)
    });
    let mut outcomes = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
    while let Some((step, outcome)) = outcomes.next().await {
        match &outcome {
            Ok(None) => {}
            Ok(Some(answer)) => pace.answered(&step, answer),
            Err(kube::Error::Api(status))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                tracing::debug!(%status.message, "another writer has changed the object");
            }
            Err(error) => tracing::warn!(error = why(error), step = step.name(), "failed to write an object"),
        }
        pace.tried(&step, outcome.is_ok(), Instant::now());
        planned.push(step);
    }
    let next_try = pace.next_try(&planned, Instant::now());
    if more { Some(now) } else { next_try }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::api::{ObjectMeta, PostParams};
    use ottla_kube::versions::version;
    use ottla_local_api::{Server, Store};
    use ottla_rules::assignment::{BrokerId, Incarnation, LiveBroker};

    use super::*;

    #[tokio::test]
    async fn nothing_is_made_of_entries_that_were_listed_after_a_restore_and_before_the_leases() {
        let server = Server::new(Store::Memory, Vec::new()).unwrap();
        let leases: Api<Lease> = Api::namespaced(server.client("default"), "default");
        let labels = BTreeMap::from([(names::CLUSTER_LABEL.to_owned(), "prod".to_owned())]);
        let says = |newer: &str| Some(BTreeMap::from([(names::NEWER_ANNOTATION.to_owned(), newer.to_owned())]));
        let name = names::broker("prod", BrokerId(0));
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            annotations: says("7"),
            ..ObjectMeta::default()
        };
        let lease = Lease { metadata, ..Lease::default() };
        let mut lease = leases.create(&PostParams::default(), &lease).await.unwrap();
        let live = Live::from([(BrokerId(0), LiveBroker { incarnation: Incarnation(1), draining: false })]);
        let set_backs = SetBacks::default();
        let selector = format!("{}=prod", names::CLUSTER_LABEL);
        let look = LeaseReader { leases: &leases, selector: &selector, set_backs: &set_backs };
        assert!(!look.is_current("prod", &live).await, "it knows newer entries");
        assert!(look.is_current("prod", &Live::new()).await, "it is not there");

        let backup = server.faults().snapshot();
        lease.metadata.annotations = says("0");
        let renewed = leases.replace(&name, &PostParams::default(), &lease).await.unwrap();
        set_backs.was_shown(version(&renewed.metadata));
        assert!(look.is_current("prod", &live).await);
        let before = set_backs.times();
        server.faults().set_back(&backup, true);
        assert!(!look.is_current("prod", &Live::new()).await, "the live brokers");
        assert_eq!(set_backs.times(), before + 1, "everything is listed again");
    }
}
