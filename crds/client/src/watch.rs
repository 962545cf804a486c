//! How long a watch lives, and when a watch that broke starts again.
//!
//! Until then a broker or an operator sees nothing: a few seconds at most, not the half minute that kube's own back-off
//! grows to. And never just when the others do: an API server that comes back must not be met by all of them at once.
//!
//! A word or a field that this version does not know ends no watch: see [`watcher`].

use std::fmt::Debug;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, future};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, ExponentialBackoff};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::versions::SetBacks;

const FIRST: Duration = Duration::from_millis(250);
/// A hundred brokers with three watches each try a hundred times a second then: half as often as they try to renew
/// their Leases.
const LONGEST: Duration = Duration::from_secs(2);

/// How long a watch lives. If its connection was cut silently, the client notices a few seconds after that; a live
/// watch continues where it was.
const WATCH_SECONDS: u32 = 60;

/// What every watch begins with.
pub fn config() -> Config {
    Config::default().timeout(WATCH_SECONDS)
}

/// The same for the one object of this name.
pub fn named(name: &str) -> Config {
    config().fields(&format!("metadata.name={name}"))
}

/// The same for the topics or assignments of this KafkaCluster.
pub fn of_cluster(cluster: &str) -> Config {
    config().fields(&format!("spec.clusterRef.name={cluster}"))
}

/// The waits: a quarter of a second, twice as long after each further failure up to two seconds; to each comes up to as
/// much again, by chance. After an event the waits start at a quarter of a second again.
fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(LONGEST).without_max_times().with_jitter().into()
}

/// The events of a watch that starts again when it breaks. They leave out `managedFields`, which no reader uses
/// and which are as large as the object itself.
pub fn events<K>(api: Api<K>, config: Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher::watcher(api, config).backoff(backoff());
    events.modify(|object: &mut K| object.meta_mut().managed_fields = None)
}

/// The events of a watch of a kind of ours. After the API server was found to be set back, the watch starts again with
/// a list, too. An object that this version can't read causes a warning instead of an event, and its last readable
/// state stays known until the object is changed.
pub fn watcher<K>(
    api: Api<DeserializeGuard<K>>,
    config: Config,
    set_backs: &SetBacks,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let begin = move || {
        let events = events(api.clone(), config.clone());
        events.filter_map(|event| future::ready(event.map(whole_event).transpose())).boxed()
    };
    relisting(begin, set_backs)
}

/// What `begin` gives, from its beginning again each time that the API server was set back.
pub(crate) fn relisting<T: 'static>(
    begin: impl Fn() -> BoxStream<'static, T> + Send + 'static,
    set_backs: &SetBacks,
) -> BoxStream<'static, T> {
    let set_backs = set_backs.subscribe();
    let events = stream::unfold((begin(), set_backs, begin), |(mut events, mut set_backs, begin)| async move {
        loop {
            tokio::select! {
                biased;
                () = set_backs.changed() => events = begin(),
                event = events.next() => return event.map(|event| (event, (events, set_backs, begin))),
            }
        }
    });
    events.boxed()
}

fn whole_event<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
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
            tracing::warn!(kind = %K::kind(&()), name, namespace, error = malformed.error,
                "ignored an object that this version can not read: its last readable state stays in use");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_crds::KafkaTopic;
    use serde_json::json;

    #[test]
    fn a_malformed_object_is_passed_over_and_nothing_else() {
        let object = |partitions: serde_json::Value| {
            let spec = json!({ "clusterRef": { "name": "prod" }, "partitions": partitions });
            serde_json::from_value::<DeserializeGuard<KafkaTopic>>(json!({ "metadata": { "name": "a" }, "spec": spec }))
                .unwrap()
        };
        assert!(matches!(whole_event(Event::Apply(object(json!(3)))), Some(Event::Apply(_))));
        assert!(whole_event(Event::Apply(object(json!("three")))).is_none());
        assert!(whole_event(Event::InitApply(object(json!("three")))).is_none());
        assert!(matches!(whole_event::<KafkaTopic>(Event::InitDone), Some(Event::InitDone)));
    }

    #[tokio::test]
    async fn when_the_api_server_was_set_back_everything_is_listed_anew() {
        let set_backs = SetBacks::default();
        let begin = || stream::iter(["a", "b"]).chain(stream::pending()).boxed();
        let mut events = relisting(begin, &set_backs);
        assert_eq!((events.next().await, events.next().await), (Some("a"), Some("b")));
        set_backs.note(Some(3), Some(7));
        assert_eq!((events.next().await, events.next().await), (Some("a"), Some("b")));
    }

    #[test]
    fn waits_grow_to_a_few_seconds_and_no_two_watches_keep_step() {
        let waits = || backoff().take(100).collect::<Vec<_>>();
        let (one, other) = (waits(), waits());
        assert!(one[0] >= FIRST && one[0] <= 2 * FIRST, "{:?}", one[0]);
        assert!(one[3..].iter().all(|wait| (LONGEST..=2 * LONGEST).contains(wait)), "{one:?}");
        assert_ne!(one, other);
    }
}
