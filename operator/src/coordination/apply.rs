//! Carries out steps: one request each, under compare-and-swap, and an Event where people would want to know.
//!
//! Refused by a newer object is an ordinary outcome: the watch shows why, and the next plan knows better.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, CustomResourceExt, Resource, ResourceExt};
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic, change};
use serde_json::json;
use tokio::sync::OnceCell;

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

    /// Carries out one step. May be dropped half-way: what is missing is planned again. `ending` keeps what the steps of one
    /// plan need to know of the definition of topics.
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
                self.assignments.create(&PostParams::default(), object).await?;
            }
            Step::Bury { read, topic } => {
                if *ending.get_or_try_init(|| self.definition_is_ending()).await? {
                    let note = "the definition of KafkaTopics is being deleted: the topic goes on without its object";
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

    /// Whether this assignment exists and bears no tombstone. A consistent read: the watches of topics and of assignments
    /// don't wait for each other.
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

    /// Whether topics are deleted because their definition is: a mistake, of which no record should die. Read after the plan
    /// that saw them go: a watch could tell too late.
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
