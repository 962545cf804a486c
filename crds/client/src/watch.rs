//! How long a watch lives, and when a watch that broke starts again.
//!
//! Until then a broker or an operator sees nothing: a few seconds at most, not the half minute that kube's own back-off
//! grows to. And never just when the others do: an API server that comes back must not be met by all of them at once.
//!
//! A word or a field that this version does not know ends no watch: see [`events`].

mod untyped;

use std::time::Duration;

use backon::ExponentialBuilder;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, future};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
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
/// and which are as large as the object itself. An object that this version can't read causes a warning instead of an
/// event, and its last readable state stays known until the object is changed or deleted, or all objects are listed
/// again. Its deletion is an event: then the object may have its metadata and `spec.clusterRef` only.
pub fn events<K>(api: Api<K>, config: Config) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Send + 'static,
{
    let resource = ApiResource::erase::<K>(&());
    let namespace = api.namespace().map(str::to_owned);
    let events = untyped::events(api.into_client(), namespace, resource, config);
    events.filter_map(|event| future::ready(event.map(untyped::typed).transpose())).boxed()
}

/// The same of objects' metadata alone.
pub fn metadata(
    api: Api<PartialObjectMeta<DynamicObject>>,
    config: Config,
) -> BoxStream<'static, watcher::Result<Event<PartialObjectMeta<DynamicObject>>>> {
    let events = watcher::watcher(api, config).backoff(backoff());
    events.modify(|object| object.metadata.managed_fields = None).boxed()
}

/// The events of a watch of a kind of ours. After the API server was found to be set back, the watch starts again with
/// a list, too.
pub fn watcher<K>(api: Api<K>, config: Config, set_backs: &SetBacks) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Send + 'static,
{
    relisting(move || events(api.clone(), config.clone()), set_backs)
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

#[cfg(test)]
mod tests {
    use super::*;

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
