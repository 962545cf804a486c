//! The nodes, watched once for all clusters and namespaces: the name, labels and addresses of each, whether it is ready
//! and whether it is cordoned.
//!
//! A kubelet writes its node's status every few minutes, and a large cluster has thousands of them: a change of other
//! fields is passed on to no cluster, and the rest to clusters that have a pod there, or one that no node has taken.

use std::collections::{BTreeMap, HashMap};

use futures::future::ready;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus};
use kube::api::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use ottla_kube::change::why_watch;
use ottla_kube::watch;
use tokio::sync::broadcast;

use super::watches::About;

/// How many changes are kept for a slow reader: a reader that misses some reads everything.
const NEWS: usize = 1024;

/// The nodes, to be read.
#[derive(Clone)]
pub struct Nodes {
    /// The nodes that the watch has shown.
    pub store: Store<Node>,
    news: broadcast::Sender<String>,
}

/// The task that follows the watch, for ever.
pub type Following = futures::future::BoxFuture<'static, ()>;

impl Nodes {
    /// Begins to watch them.
    pub fn start(client: &Client) -> (Nodes, Following) {
        let api: Api<Node> = Api::all(client.clone());
        Nodes::following(watch::events(api, watch::config()))
    }

    /// Nodes by these events.
    fn following(events: impl Stream<Item = watcher::Result<Event<Node>>> + Send + 'static) -> (Nodes, Following) {
        let writer = Writer::default();
        let nodes = Nodes { store: writer.as_reader(), news: broadcast::channel(NEWS).0 };
        let news = nodes.news.clone();
        let mut known = HashMap::new();
        let events = events.modify(slim).filter_map(move |event| ready(is_news(&mut known, &event).then_some(event)));
        let following = events.reflect(writer).for_each(move |event| {
            match event {
                Ok(Event::Apply(node) | Event::Delete(node)) => {
                    // Nobody may be listening.
                    let _ = news.send(node.name_any());
                }
                Ok(Event::Init | Event::InitApply(_) | Event::InitDone) => {}
                Err(error) => {
                    tracing::warn!(error = why_watch(&error), resource = "nodes", "a watch failed: starting it again")
                }
            }
            ready(())
        });
        (nodes, Box::pin(following))
    }

    /// First a change for all clusters once all nodes are known, then the clusters of each change.
    pub fn changes(&self) -> BoxStream<'static, About> {
        let (store, news) = (self.store.clone(), self.news.subscribe());
        let complete = stream::once(async move {
            // An error would say that nobody follows them any more: then nothing else happens either.
            let _ = store.wait_until_ready().await;
            About::Everybody
        });
        let changes = stream::unfold(news, |mut news| async {
            match news.recv().await {
                Ok(node) => Some((About::Node(node), news)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((About::Everybody, news)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        complete.chain(changes).boxed()
    }
}

/// Removes the fields that are not used.
fn slim(node: &mut Node) {
    let metadata = std::mem::take(&mut node.metadata);
    node.metadata = ObjectMeta { name: metadata.name, labels: metadata.labels, ..ObjectMeta::default() };
    let unschedulable = node.spec.take().and_then(|spec| spec.unschedulable).filter(|cordoned| *cordoned);
    node.spec = unschedulable.map(|_| NodeSpec { unschedulable, ..NodeSpec::default() });
    let ready = node.status.as_ref().and_then(ready_condition).map(|ready| NodeCondition {
        type_: ready.type_.clone(),
        status: ready.status.clone(),
        ..NodeCondition::default()
    });
    let addresses = node.status.take().and_then(|status| status.addresses);
    node.status = Some(NodeStatus { addresses, conditions: ready.map(|ready| vec![ready]), ..NodeStatus::default() });
}

fn ready_condition(status: &NodeStatus) -> Option<&NodeCondition> {
    status.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}

/// Whether the node's kubelet says that it is ready. A node that says nothing counts as ready.
pub fn is_ready(node: &Node) -> bool {
    node.status.as_ref().and_then(ready_condition).is_none_or(|ready| ready.status == "True")
}

/// Whether the node takes new pods.
pub fn takes_pods(node: &Node) -> bool {
    is_ready(node) && node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true)
}

type KnownNodes = HashMap<String, (Option<BTreeMap<String, String>>, Option<Vec<NodeAddress>>, bool, bool)>;

/// Whether an event changes what is known.
fn is_news(known: &mut KnownNodes, event: &watcher::Result<Event<Node>>) -> bool {
    let of = |node: &Node| {
        let addresses = node.status.as_ref().and_then(|status| status.addresses.clone());
        (node.metadata.labels.clone(), addresses, is_ready(node), takes_pods(node))
    };
    match event {
        Ok(Event::Apply(node)) => known.insert(node.name_any(), of(node)).as_ref() != Some(&of(node)),
        Ok(Event::InitApply(node)) => {
            known.insert(node.name_any(), of(node));
            true // a list is taken whole
        }
        Ok(Event::Delete(node)) => {
            known.remove(&node.name_any());
            true
        }
        Ok(Event::Init | Event::InitDone) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn only_the_used_fields_of_a_node_are_kept_and_only_their_changes_passed_on() {
        let conditioned = |zone: &str, heartbeat: i32, ready: &str, cordoned: bool| -> Node {
            serde_json::from_value(json!({
                "metadata": { "name": "one", "labels": { "zone": zone }, "annotations": { "a": "b" },
                    "managedFields": [{ "manager": "kubelet" }] },
                "spec": { "podCIDR": "10.0.0.0/24", "unschedulable": cordoned },
                "status": {
                    "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }],
                    "images": [{ "names": ["large"], "sizeBytes": heartbeat }],
                    "conditions": [{ "type": "MemoryPressure", "status": "False" }, { "type": "Ready", "status": ready }],
                },
            }))
            .unwrap()
        };
        let node = |zone: &str, heartbeat: i32| conditioned(zone, heartbeat, "True", false);
        let events = [
            Event::Init,
            Event::InitApply(node("a", 1)),
            Event::InitDone,
            Event::Apply(node("a", 2)),
            Event::Apply(node("b", 3)),
            Event::Apply(node("b", 4)),
            Event::Apply(conditioned("b", 5, "Unknown", false)),
            Event::Apply(conditioned("b", 6, "Unknown", true)),
            Event::Apply(conditioned("b", 7, "True", true)),
            Event::Delete(node("b", 4)),
        ];
        let (nodes, following) = Nodes::following(stream::iter(events.map(Ok)));
        let changes = nodes.changes();
        following.await;
        let Nodes { store, news } = nodes;
        drop(news);
        let told: Vec<About> = changes.collect().await;
        let one = || About::Node("one".into());
        // Another zone, not ready, ready again and cordoned, deleted.
        assert_eq!(told, [About::Everybody, one(), one(), one(), one()]);
        assert!(store.state().is_empty());

        for (ready, cordoned, expected) in
            [("True", false, (true, true)), ("True", true, (true, false)), ("Unknown", false, (false, false))]
        {
            let node = conditioned("a", 1, ready, cordoned);
            assert_eq!((is_ready(&node), takes_pods(&node)), expected, "{ready} {cordoned}");
        }
        let mut slimmed = node("a", 1);
        slim(&mut slimmed);
        let expected = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "one", "labels": { "zone": "a" } },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }],
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        });
        assert_eq!(serde_json::to_value(slimmed).unwrap(), expected);
    }
}
