//! Watches that one malformed object does not stop: it is told of, and passed over until it is changed.

use std::fmt::Debug;

use futures::Stream;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use ottla_crds::versions::SetBacks;
use ottla_crds::watch;
use serde::de::DeserializeOwned;

/// The events of a watch that begins anew when it breaks, without managed fields: [`watch::watcher`].
pub fn watcher<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watch::watcher(api, config, &SetBacks::default())
}
