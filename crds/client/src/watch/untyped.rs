//! Watches of any kind at once: kube's machinery of watching is compiled for [`Untyped`] alone, and not once more for
//! each kind, which made a fifth of the operator's code.

use std::borrow::Cow;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Client, Resource};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::{Value, json};

use super::backoff;

/// An object as the API server sent it, without `managedFields`.
#[derive(Clone, Debug)]
pub(super) struct Untyped {
    object: Value,
    /// Name, namespace and resource version: what a watch asks for.
    metadata: ObjectMeta,
}

impl<'de> Deserialize<'de> for Untyped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Untyped, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let mut known = ObjectMeta::default();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            let word = |name| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
            known.name = word("name");
            known.namespace = word("namespace");
            known.resource_version = word("resourceVersion");
        }
        Ok(Untyped { object, metadata: known })
    }
}

impl Resource for Untyped {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.kind).into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.group).into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.version).into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.api_version).into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.plural).into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The events of objects of this kind, in one namespace or in all. The watch starts again when it breaks.
pub(super) fn events(
    client: Client,
    namespace: Option<String>,
    resource: ApiResource,
    config: Config,
) -> BoxStream<'static, watcher::Result<Event<Untyped>>> {
    let api = match namespace {
        Some(namespace) => Api::namespaced_with(client, &namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    watcher::watcher(api, config).backoff(backoff()).boxed()
}

/// The event as one of this kind; `None` if this version can't read the object. A deletion is passed on all the same:
/// it may take away somebody's rights.
pub(super) fn typed<K: Resource<DynamicType = ()> + DeserializeOwned>(event: Event<Untyped>) -> Option<Event<K>> {
    Some(match event {
        Event::Apply(object) => Event::Apply(object.read()?),
        Event::InitApply(object) => Event::InitApply(object.read()?),
        Event::Delete(object) => Event::Delete(object.read_deleted()?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

impl Untyped {
    fn read<K: Resource<DynamicType = ()> + DeserializeOwned>(self) -> Option<K> {
        match serde_json::from_value(self.object) {
            Ok(object) => Some(object),
            Err(error) => {
                let (name, namespace) = (self.metadata.name, self.metadata.namespace);
                tracing::warn!(kind = %K::kind(&()), name, namespace, %error,
                    "ignored an object that this version can not read: its last readable state stays in use");
                None
            }
        }
    }

    /// Reads an object that was deleted: if this version can't read the whole, only [`identity`](Self::identity).
    fn read_deleted<K: Resource<DynamicType = ()> + DeserializeOwned>(self) -> Option<K> {
        let identity = self.identity();
        serde_json::from_value(self.object).ok().or_else(|| identity.read())
    }

    /// Which object it is: metadata, and the cluster that it belongs to. All kinds with words that a newer version may
    /// add can be read from that.
    fn identity(&self) -> Untyped {
        let spec = json!({ "clusterRef": self.object["spec"]["clusterRef"] });
        let object = json!({ "metadata": self.object["metadata"], "spec": spec });
        Untyped { object, metadata: self.metadata.clone() }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use ottla_crds::{KafkaCluster, KafkaRebalance, KafkaTopic, KafkaUser};

    use super::*;

    fn topic(partitions: Value) -> Untyped {
        let metadata = json!({
            "name": "a", "namespace": "kafka", "resourceVersion": "7", "labels": { "team": "payments" },
            "managedFields": [{ "manager": "kubectl" }],
        });
        let spec = json!({ "clusterRef": { "name": "prod" }, "partitions": partitions });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    #[test]
    fn a_malformed_object_is_passed_over_and_nothing_else() {
        assert!(matches!(typed::<KafkaTopic>(Event::Apply(topic(json!(3)))), Some(Event::Apply(_))));
        assert!(typed::<KafkaTopic>(Event::Apply(topic(json!("three")))).is_none());
        assert!(typed::<KafkaTopic>(Event::InitApply(topic(json!("three")))).is_none());
        assert!(matches!(typed::<KafkaTopic>(Event::InitDone), Some(Event::InitDone)));
    }

    #[test]
    fn the_deletion_of_a_malformed_object_is_passed_on() {
        fn deleted<K: Resource<DynamicType = ()> + DeserializeOwned>(field: &str) -> K {
            let metadata = json!({ "name": "a", "namespace": "kafka" });
            let spec = json!({ "clusterRef": { "name": "prod" }, field: "of a newer version" });
            let object = || serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
            assert!(typed::<K>(Event::Apply(object())).is_none(), "{} with {field}", K::kind(&()));
            let Some(Event::Delete(deleted)) = typed::<K>(Event::Delete(object())) else {
                panic!("the deletion of a {} with {field} is lost", K::kind(&()));
            };
            assert_eq!((deleted.name_any(), deleted.namespace()), ("a".to_owned(), Some("kafka".to_owned())));
            deleted
        }
        deleted::<KafkaCluster>("brokers");
        assert_eq!(deleted::<KafkaTopic>("partitions").spec.cluster_ref.name, "prod");
        assert_eq!(deleted::<KafkaUser>("authentication").spec.cluster_ref.name, "prod");
        assert_eq!(deleted::<KafkaRebalance>("cancel").spec.cluster_ref.name, "prod");
    }

    #[test]
    fn an_object_keeps_all_but_its_managed_fields() {
        let untyped = topic(json!(3));
        assert_eq!(untyped.meta().resource_version.as_deref(), Some("7"));
        let typed: KafkaTopic = untyped.read().unwrap();
        let expected = ObjectMeta {
            name: Some("a".into()),
            namespace: Some("kafka".into()),
            resource_version: Some("7".into()),
            labels: Some([("team".into(), "payments".into())].into()),
            ..Default::default()
        };
        assert_eq!(typed.metadata, expected);
        assert_eq!(typed.spec.partitions, Some(3));
    }
}
