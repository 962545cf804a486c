//! Kubernetes Events about objects.
//!
//! kube's own recorder counts two Events of one object as the same if they have the same reason, and shows the message
//! of the first. Here an Event with another message is another Event.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{self, Event, Reporter};
use parking_lot::Mutex;

/// How many series are remembered: more than the objects that have Events within minutes.
const MOST_SERIES: usize = 1024;

/// Publishes Events. Clones share what was published.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    reporter: Reporter,
    series: std::sync::Arc<Mutex<HashMap<Series, Latest>>>,
}

/// An object and a reason.
type Series = (Option<String>, Option<String>, String);

/// The newest message of a series, and the Event that counts it.
struct Latest {
    note: Option<String>,
    recorder: events::Recorder,
}

impl Recorder {
    /// Publishes as `reporter`.
    pub fn new(client: Client, reporter: Reporter) -> Recorder {
        Recorder { client, reporter, series: std::sync::Arc::default() }
    }

    /// Publishes an Event about an object, or counts it if the last one of its reason had the same message.
    ///
    /// # Errors
    /// When the API server refuses or can't be reached.
    pub async fn publish(&self, event: &Event, about: &ObjectReference) -> Result<(), kube::Error> {
        self.recorder(event, about).publish(event, about).await
    }

    fn recorder(&self, event: &Event, about: &ObjectReference) -> events::Recorder {
        let key = (about.uid.clone(), about.name.clone(), event.reason.clone());
        let mut series = self.series.lock();
        if let Some(latest) = series.get(&key).filter(|latest| latest.note == event.note) {
            return latest.recorder.clone();
        }
        if series.len() >= MOST_SERIES {
            series.clear();
        }
        let recorder = events::Recorder::new(self.client.clone(), self.reporter.clone());
        series.insert(key, Latest { note: event.note.clone(), recorder: recorder.clone() });
        recorder
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::events::v1::Event as Published;
    use kube::api::{Api, ListParams};
    use kube::runtime::events::EventType;
    use ottla_local_api::{Server, Store};

    use super::*;

    #[tokio::test]
    async fn an_event_with_another_sentence_is_another_event_and_the_same_sentence_is_counted() {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let client = server.client("default");
        let recorder =
            Recorder::new(client.clone(), Reporter { controller: "ottla.io/operator".into(), instance: None });
        let about = ObjectReference {
            kind: Some("KafkaCluster".into()),
            name: Some("prod".into()),
            namespace: Some("default".into()),
            uid: Some("u".into()),
            ..ObjectReference::default()
        };
        for note in ["brokers 1–2 are offline", "brokers 1–2 are offline", "broker 3 is offline"] {
            let event = Event {
                type_: EventType::Warning,
                reason: "BrokersOffline".into(),
                note: Some(note.into()),
                action: "Reconcile".into(),
                secondary: None,
            };
            recorder.publish(&event, &about).await.unwrap();
        }
        let events: Api<Published> = Api::namespaced(client, "default");
        let mut told: Vec<(String, Option<i32>)> = events
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .into_iter()
            .map(|event| (event.note.unwrap(), event.series.map(|series| series.count)))
            .collect();
        told.sort();
        assert_eq!(told, [("broker 3 is offline".into(), None), ("brokers 1–2 are offline".into(), Some(2))]);
    }
}
