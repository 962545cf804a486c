//! Consistent reads that the steps of one plan share. Each is made once, when the first step needs it, and so after the
//! plan was made: the watches, from which a plan is made, may show things late.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, CustomResourceExt};
use ottla_crds::{KafkaAssignment, KafkaAssignmentSpec, KafkaTopic, names};
use ottla_kube::change::why;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::plan::Step;

/// What the steps of one plan need to know of the API server.
#[derive(Debug, Default)]
pub struct Reads {
    /// The labels of the topics for which the plan creates assignments.
    created: BTreeSet<String>,
    standing: OnceCell<Result<StandingTopics, String>>,
    ending: OnceCell<bool>,
}

/// The ids under which topics stand, by cluster and name: of each topic that has an assignment without a tombstone.
type StandingTopics = BTreeMap<(String, String), BTreeSet<Uuid>>;

impl Reads {
    /// For these steps.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Reads {
        let created = steps.into_iter().filter_map(|step| match step {
            Step::Create(object) => Some(names::topic_label(&object.spec.topic_name)),
            _ => None,
        });
        Reads { created: created.collect(), ..Reads::default() }
    }

    /// Whether the topic that `planned` would create exists already, under another id. What was lost and is restored
    /// must not be placed again because one watch returned before the other. One list answers for all topics of the
    /// plan: a list of one topic costs the API server as much.
    ///
    /// # Errors
    /// When the list failed, for whichever step asked first.
    pub async fn stands_under_another_id(
        &self,
        assignments: &Api<KafkaAssignment>,
        planned: &KafkaAssignment,
    ) -> Result<bool, kube::Error> {
        let KafkaAssignmentSpec { topic_name, topic_id, cluster_ref, .. } = &planned.spec;
        let list = async || standing(assignments, &self.created).await.map_err(|error| why(&error));
        let standing = self.standing.get_or_init(list).await.as_ref();
        let standing = standing.map_err(|error| kube::Error::Service(error.as_str().into()))?;
        let ids = standing.get(&(cluster_ref.name.clone(), topic_name.clone()));
        Ok(ids.is_some_and(|ids| !ids.contains(topic_id)))
    }

    /// Whether topics are deleted because their definition is being deleted: a mistake that must not delete records.
    ///
    /// # Errors
    /// When the API server refuses or can't be reached.
    pub async fn definition_is_ending(&self, definitions: &Api<CustomResourceDefinition>) -> Result<bool, kube::Error> {
        let read = async || {
            let definition = definitions.get_metadata_opt(KafkaTopic::crd_name()).await?;
            Ok(definition.is_some_and(|definition| definition.metadata.deletion_timestamp.is_some()))
        };
        self.ending.get_or_try_init(read).await.copied()
    }
}

async fn standing(
    assignments: &Api<KafkaAssignment>,
    topics: &BTreeSet<String>,
) -> Result<StandingTopics, kube::Error> {
    let labels: Vec<&str> = topics.iter().map(String::as_str).collect();
    let selector = format!("{} in ({})", names::TOPIC_LABEL, labels.join(","));
    let objects = assignments.list(&ListParams::default().labels(&selector)).await?;
    let mut standing = StandingTopics::new();
    for KafkaAssignmentSpec { cluster_ref, topic_name, topic_id, deleted, .. } in
        objects.items.into_iter().map(|object| object.spec)
    {
        if !deleted {
            standing.entry((cluster_ref.name, topic_name)).or_default().insert(topic_id);
        }
    }
    Ok(standing)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::Client;
    use ottla_crds::ClusterRef;
    use serde_json::json;

    use super::*;

    fn planned(topic: &str, id: u128) -> KafkaAssignment {
        let cluster_ref = ClusterRef { name: "prod".to_owned() };
        let spec = KafkaAssignmentSpec {
            topic_name: topic.to_owned(),
            topic_id: Uuid::from_u128(id),
            cluster_ref,
            ..KafkaAssignmentSpec::default()
        };
        KafkaAssignment::new(topic, spec)
    }

    /// An API server that answers each list with these assignments, or refuses, and counts the requests.
    fn assignments(answer: Option<Vec<KafkaAssignment>>) -> (Api<KafkaAssignment>, Arc<AtomicUsize>) {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let (code, body) = match &answer {
                Some(items) => (200, json!({ "metadata": {}, "items": items })),
                None => (500, json!({ "kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError" })),
            };
            let answer = http::Response::builder().status(code);
            let answer = answer.body(kube::client::Body::from(body.to_string().into_bytes()));
            async { answer }
        });
        (Api::namespaced(Client::new(service, "default"), "default"), requests)
    }

    #[tokio::test]
    async fn one_list_answers_for_all_topics_that_a_plan_creates() {
        let (api, requests) = assignments(Some(vec![planned("topic-7", 70)]));
        let objects: Vec<_> = (0..100).map(|number| planned(&format!("topic-{number}"), number)).collect();
        let steps: Vec<Step> = objects.iter().map(|object| Step::Create(Box::new(object.clone()))).collect();
        let reads = Reads::of(&steps);
        let mut standing = Vec::new();
        for object in &objects {
            if reads.stands_under_another_id(&api, object).await.unwrap() {
                standing.push(object.spec.topic_name.clone());
            }
        }
        assert_eq!(standing, ["topic-7"]);
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn nothing_is_created_while_the_api_server_refuses_to_list() {
        let (api, requests) = assignments(None);
        let object = planned("orders", 1);
        let reads = Reads::of([&Step::Create(Box::new(object.clone()))]);
        for _ in 0..3 {
            assert!(reads.stands_under_another_id(&api, &object).await.is_err());
        }
        assert_eq!(requests.load(Ordering::SeqCst), 1, "the next plan asks again");
    }
}
