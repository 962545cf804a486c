//! Carries out steps: one request each, under compare-and-swap, and an Event where people would want to know.
//!
//! Refused by a newer object is an ordinary outcome: the watch shows why, and the next plan knows better.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType, Reporter};
use kube::{Api, Client, CustomResourceExt, Resource, ResourceExt};
use ottla_crds::{KafkaAssignment, KafkaAssignmentSpec, KafkaCluster, KafkaTopic, change, names};
use serde_json::json;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::events::Recorder;
use crate::plan::{News, Step};

/// Where steps are written.
#[derive(Clone)]
pub struct Writer {
    clusters: Api<KafkaCluster>,
    topics: Api<KafkaTopic>,
    assignments: Api<KafkaAssignment>,
    definitions: Api<CustomResourceDefinition>,
    recorder: Recorder,
}

impl Writer {
    /// Writes in this namespace.
    pub fn new(client: &Client, namespace: &str) -> Writer {
        let reporter = Reporter { controller: "ottla.io/operator".to_owned(), instance: None };
        Writer {
            clusters: Api::namespaced(client.clone(), namespace),
            topics: Api::namespaced(client.clone(), namespace),
            assignments: Api::namespaced(client.clone(), namespace),
            definitions: Api::all(client.clone()),
            recorder: Recorder::new(client.clone(), reporter),
        }
    }

    /// Carries out one step. May be dropped half-way: what is missing is planned again. `ending` keeps what the steps
    /// of one plan need to know of the definition of topics.
    ///
    /// # Errors
    /// When the API server refuses or can't be reached.
    pub async fn apply(&self, step: &Step, ending: &OnceCell<bool>) -> Result<(), kube::Error> {
        match step {
            Step::Change { read, next, recovered } => {
                let stale = change::write(&self.assignments, read, next).await?;
                for recovered in recovered {
                    self.tell_if_any(&*recovered.topic, recovered.news(&stale).as_ref()).await;
                }
                if !stale.is_empty() {
                    tracing::debug!(object = read.name_any(), ?stale, "entries have changed since they were read");
                }
            }
            Step::Append { read, added } => {
                change::append(&self.assignments, read, added).await?;
            }
            Step::Create(object) => {
                if self.stands_under_another_id(object).await? {
                    tracing::debug!(
                        topic = object.spec.topic_name,
                        "assignments were put back a moment ago: they come first"
                    );
                } else {
                    self.assignments.create(&PostParams::default(), object).await?;
                }
            }
            Step::Bury { read, topic } => {
                if *ending.get_or_try_init(|| self.definition_is_ending()).await? {
                    let note = "the definition of KafkaTopics is being deleted: brokers keep the topic and its records";
                    let news = News { warning: true, reason: "Retained".to_owned(), note: note.to_owned() };
                    self.release(topic, Some(&news)).await?;
                } else {
                    change::bury(&self.assignments, read).await?;
                }
            }
            Step::Remove(read) => {
                let preconditions = Preconditions { uid: read.uid(), resource_version: read.resource_version() };
                let this_one = DeleteParams::default().preconditions(preconditions);
                self.assignments.delete(&read.name_any(), &this_one).await?;
            }
            Step::Own(topic) => {
                let finalizers = topic.finalizers().iter().map(String::as_str).chain([KafkaTopic::FINALIZER]).collect();
                self.set_finalizers(topic, finalizers).await?;
            }
            Step::Release { topic, unless, news } => {
                if self.stands(unless.as_deref()).await? {
                    tracing::debug!(topic = topic.name_any(), "an assignment was made a moment ago: it comes first");
                } else {
                    self.release(topic, news.as_ref()).await?;
                }
            }
            Step::TopicStatus(topic, news) => {
                self.topics.replace_status(&topic.name_any(), &PostParams::default(), topic).await?;
                self.tell_if_any(&**topic, news.as_ref()).await;
            }
            Step::ClusterStatus(cluster, news) => {
                self.clusters.replace_status(&cluster.name_any(), &PostParams::default(), cluster).await?;
                self.tell_if_any(&**cluster, news.as_ref()).await;
            }
        }
        Ok(())
    }

    /// Whether the topic that `planned` would begin stands already, under another id. A consistent read: what was lost
    /// and is put back must not be placed anew because one watch came back before the other.
    async fn stands_under_another_id(&self, planned: &KafkaAssignment) -> Result<bool, kube::Error> {
        let KafkaAssignmentSpec { topic_name, topic_id, cluster_ref, .. } = &planned.spec;
        let (cluster, topic) = (&cluster_ref.name, names::topic_label(topic_name));
        let selector = format!("{}={cluster},{}={topic}", names::CLUSTER_LABEL, names::TOPIC_LABEL);
        let objects = self.assignments.list(&ListParams::default().labels(&selector)).await?;
        let standing = objects.items.iter().map(|object| &object.spec);
        let ids: Vec<Uuid> =
            standing.filter(|spec| !spec.deleted && spec.topic_name == *topic_name).map(|spec| spec.topic_id).collect();
        Ok(!ids.is_empty() && !ids.contains(topic_id))
    }

    /// Whether this assignment exists and bears no tombstone. A consistent read: the watches of topics and of
    /// assignments don't wait for each other.
    async fn stands(&self, assignment: Option<&str>) -> Result<bool, kube::Error> {
        let Some(name) = assignment else { return Ok(false) };
        Ok(self.assignments.get_opt(name).await?.is_some_and(|object| !object.spec.deleted))
    }

    async fn release(&self, topic: &KafkaTopic, news: Option<&News>) -> Result<(), kube::Error> {
        // Told first: afterwards there may be no object to tell it about.
        self.tell_if_any(topic, news).await;
        let others =
            topic.finalizers().iter().map(String::as_str).filter(|name| *name != KafkaTopic::FINALIZER).collect();
        self.set_finalizers(topic, others).await
    }

    /// Whether topics are deleted because their definition is: a mistake, of which no record should die. Read after the
    /// plan that saw them go: a watch could tell too late.
    async fn definition_is_ending(&self) -> Result<bool, kube::Error> {
        let definition = self.definitions.get_metadata_opt(KafkaTopic::crd_name()).await?;
        Ok(definition.is_some_and(|definition| definition.metadata.deletion_timestamp.is_some()))
    }

    async fn set_finalizers(&self, topic: &KafkaTopic, finalizers: Vec<&str>) -> Result<(), kube::Error> {
        // The version makes the patch a compare-and-swap: a merge patch replaces the whole list.
        let metadata = json!({ "resourceVersion": topic.resource_version(), "finalizers": finalizers });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        self.topics.patch(&topic.name_any(), &PatchParams::default(), &patch).await.map(drop)
    }

    async fn tell_if_any(&self, about: &impl Resource<DynamicType = ()>, news: Option<&News>) {
        if let Some(news) = news {
            self.tell(about, news).await;
        }
    }

    /// Events are a courtesy: one that can't be written is dropped.
    async fn tell(&self, about: &impl Resource<DynamicType = ()>, news: &News) {
        const LONGEST_NOTE: usize = 300; // characters; Kubernetes takes 1024 bytes
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            reason: news.reason.clone(),
            note: Some(news.note.chars().take(LONGEST_NOTE).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about.object_ref(&())).await {
            tracing::debug!(%error, reason = news.reason, "failed to publish an event");
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_crds::ClusterRef;
    use ottla_local_api::{Server, Store};

    use super::*;

    fn object(topic_name: &str, id: u128) -> KafkaAssignment {
        let (topic_id, cluster_ref) = (Uuid::from_u128(id), ClusterRef { name: "prod".to_owned() });
        let name = names::assignment(topic_name, topic_id, 0);
        let spec =
            KafkaAssignmentSpec { topic_name: topic_name.to_owned(), topic_id, cluster_ref, ..Default::default() };
        let mut object = KafkaAssignment::new(&name, spec);
        let labels = [(names::CLUSTER_LABEL, "prod".to_owned()), (names::TOPIC_LABEL, names::topic_label(topic_name))];
        object.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value)).into());
        object
    }

    #[tokio::test]
    async fn a_topic_that_was_put_back_unseen_is_not_placed_anew() {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let writer = Writer::new(&server.client("default"), "default");
        let create = async |planned: KafkaAssignment| {
            let name = planned.name_any();
            writer.apply(&Step::Create(Box::new(planned)), &OnceCell::new()).await.unwrap();
            writer.assignments.get_opt(&name).await.unwrap().is_some()
        };
        let mut buried = object("orders", 1);
        buried.spec.deleted = true;
        for there in [buried, object("payments", 2)] {
            writer.assignments.create(&PostParams::default(), &there).await.unwrap();
        }
        assert!(create(object("orders", 3)).await, "what stood there is deleted");
        assert!(!create(object("payments", 4)).await, "what stands there may have records");
        assert!(!create(object("orders", 5)).await);
    }
}
