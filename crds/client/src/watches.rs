//! Several watches, followed together: what they show, and whether each of them has shown the whole of its kind.
//!
//! Always: absence means something only while [`Watches::are_complete`]. A watch that breaks and lists again stays
//! complete, for stores keep what they had until the list has ended.

use std::hash::Hash;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt, future};
use kube::Resource;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};

use crate::change::why_watch;
use crate::versions::{SetBackReceiver, SetBacks};

/// How many events are taken in together at most: thousands come at once when a list is read.
const MOST_AT_ONCE: usize = 4096;

/// Watches, and what their events mean: a `T` each.
pub struct Watches<T> {
    events: SelectAll<BoxStream<'static, WatchedEvent<T>>>,
    /// Whether each watch has ended a list since the API server was set back.
    complete: Vec<bool>,
    set_backs: SetBackReceiver,
}

/// What the watches showed next.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<T> {
    /// These events.
    Events(Vec<T>),
    /// The API server was set back. What was shown before says nothing of what there is: all is listed again.
    SetBack,
}

/// An event of one of the watches.
struct WatchedEvent<T> {
    watch: usize,
    ends_list: bool,
    meaning: T,
}

impl<T: Send + 'static> Watches<T> {
    /// No watch yet. `set_backs` reports each time that the API server was set back.
    pub fn new(set_backs: &SetBacks) -> Watches<T> {
        Watches { events: SelectAll::new(), complete: Vec::new(), set_backs: set_backs.subscribe() }
    }

    /// Follows a watch of this kind. Its errors are logged; it starts again by itself.
    pub fn add<K: Resource>(
        &mut self,
        kind: &K::DynamicType,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        meaning: impl Fn(Event<K>) -> T + Send + 'static,
    ) {
        let (watch, kind) = (self.complete.len(), K::kind(kind).into_owned());
        let seen = events.filter_map(move |event| {
            future::ready(match event {
                Ok(event) => {
                    let ends_list = matches!(event, Event::InitDone);
                    Some(WatchedEvent { watch, ends_list, meaning: meaning(event) })
                }
                Err(error) => {
                    tracing::warn!(error = why_watch(&error), kind, "a watch broke: it starts again");
                    None
                }
            })
        });
        self.push(seen.boxed());
    }

    /// The same, and keeps in a store what the watch shows.
    pub fn keep<K>(
        &mut self,
        kind: K::DynamicType,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        meaning: impl Fn(&Event<K>) -> T + Send + 'static,
    ) -> Store<K>
    where
        K: Resource + Clone + Send + Sync + 'static,
        K::DynamicType: Eq + Hash + Clone + Send + Sync,
    {
        let writer = Writer::new(kind.clone());
        let store = writer.as_reader();
        self.add(&kind, events.reflect(writer), move |event| meaning(&event));
        store
    }

    /// Follows what somebody else watches. It is complete with its first word.
    pub fn add_complete(&mut self, meanings: impl Stream<Item = T> + Send + 'static) {
        let watch = self.complete.len();
        self.push(meanings.map(move |meaning| WatchedEvent { watch, ends_list: true, meaning }).boxed());
    }

    fn push(&mut self, seen: BoxStream<'static, WatchedEvent<T>>) {
        self.complete.push(false);
        self.events.push(seen);
    }

    /// What was shown next; `None` when no watch is left. Cancellation safe.
    pub async fn next(&mut self) -> Option<Told<T>> {
        // It holds back nothing: what it has taken it gives.
        let mut events = (&mut self.events).ready_chunks(MOST_AT_ONCE);
        let events = tokio::select! {
            biased;
            () = self.set_backs.changed() => {
                self.complete.fill(false);
                return Some(Told::SetBack);
            }
            events = events.next() => events?,
        };
        for seen in &events {
            if let Some(complete) = self.complete.get_mut(seen.watch) {
                *complete |= seen.ends_list;
            }
        }
        Some(Told::Events(events.into_iter().map(|seen| seen.meaning).collect()))
    }

    /// Whether every watch has shown the whole of its kind, so that absence means something.
    pub fn are_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use ottla_crds::KafkaTopic;

    use super::*;

    fn topic(name: &str) -> KafkaTopic {
        KafkaTopic::new(name, Default::default())
    }

    #[tokio::test]
    async fn watches_are_complete_when_each_has_ended_a_list_and_not_after_a_set_back() {
        let set_backs = SetBacks::default();
        let mut watches = Watches::new(&set_backs);
        let listed = [Event::Init, Event::InitApply(topic("a")), Event::InitDone];
        let listed = stream::iter(listed.map(Ok)).chain(stream::pending());
        let store = watches.keep((), listed, |event| matches!(event, Event::InitApply(_)));
        let (show, shown) = futures::channel::mpsc::unbounded();
        watches.add::<KafkaTopic>(&(), shown, |event| matches!(event, Event::Apply(_)));

        assert_eq!(watches.next().await, Some(Told::Events(vec![false, true, false])));
        assert!(!watches.are_complete() && store.state().len() == 1);
        for event in [Ok(Event::Init), Err(watcher::Error::NoResourceVersion), Ok(Event::Apply(topic("b")))] {
            show.unbounded_send(event).unwrap();
        }
        assert_eq!(watches.next().await, Some(Told::Events(vec![false, true])), "an error is no event");
        assert!(!watches.are_complete());
        show.unbounded_send(Ok(Event::InitDone)).unwrap();
        assert_eq!(watches.next().await, Some(Told::Events(vec![false])));
        assert!(watches.are_complete());

        set_backs.note(Some(3), Some(7));
        assert_eq!(watches.next().await, Some(Told::SetBack));
        assert!(!watches.are_complete());
    }

    #[tokio::test]
    async fn what_somebody_else_watches_is_complete_with_its_first_word() {
        let mut watches = Watches::new(&SetBacks::default());
        watches.add_complete(stream::iter(["all", "one"]));
        assert!(!watches.are_complete());
        assert_eq!(watches.next().await, Some(Told::Events(vec!["all", "one"])));
        assert!(watches.are_complete());
        assert_eq!(watches.next().await, None);
    }
}
