//! Watches that one malformed object does not stop: it is told of, and passed over until it is changed.

use std::fmt::Debug;

use futures::{Stream, StreamExt, future};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use ottla_crds::watch;
use serde::de::DeserializeOwned;

/// The events of a watch that begins anew when it breaks. A malformed object is none: what was known of it stays known.
pub fn watcher<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = watcher::watcher(api, config).backoff(watch::backoff());
    events.filter_map(|event| future::ready(event.map(unwrap).transpose()))
}

fn unwrap<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    Some(match event {
        Event::Apply(guard) => Event::Apply(whole(guard)?),
        Event::InitApply(guard) => Event::InitApply(whole(guard)?),
        Event::Delete(guard) => Event::Delete(whole(guard)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

fn whole<K: Resource<DynamicType = ()>>(guard: DeserializeGuard<K>) -> Option<K> {
    match guard.0 {
        Ok(object) => Some(object),
        Err(malformed) => {
            let (name, namespace) = (malformed.metadata.name, malformed.metadata.namespace);
            tracing::warn!(kind = %K::kind(&()), name, namespace, error = malformed.error, "passed over a malformed object");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_crds::KafkaTopic;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_malformed_object_is_passed_over_and_nothing_else() {
        let object = |partitions: serde_json::Value| {
            let spec = json!({ "clusterRef": { "name": "prod" }, "partitions": partitions });
            serde_json::from_value::<DeserializeGuard<KafkaTopic>>(json!({ "metadata": { "name": "a" }, "spec": spec }))
                .unwrap()
        };
        assert!(matches!(unwrap(Event::Apply(object(json!(3)))), Some(Event::Apply(_))));
        assert!(unwrap(Event::Apply(object(json!("three")))).is_none());
        assert!(unwrap(Event::InitApply(object(json!("three")))).is_none());
        assert!(matches!(unwrap::<KafkaTopic>(Event::InitDone), Some(Event::InitDone)));
    }
}
