//! A watch: the changes of one resource as lines of JSON, for as long as the client listens.
//!
//! The stream pulls from the event log at its client's pace; nothing is queued for a slow client. One that falls off
//! the end of the log gets a 410 and lists again.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, sleep_until};

use crate::object::{Key, Object};
use crate::present::Presenter;
use crate::selector::Selector;
use crate::store::{Event, Freshness, ObjectChange, Objects};

/// How often a client that asked for them gets a bookmark, as on a real server.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How long a watch lasts when its client does not say. Real servers take a random time between 30 and 60 minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// What a client asked to watch.
pub(crate) struct Watch {
    pub resource: String,
    /// `None` for a cluster-wide kind, and for all namespaces.
    pub namespace: Option<String>,
    pub selector: Selector,
    pub presenter: Presenter,
    /// `None` starts with the present state.
    pub after: Option<u64>,
    /// Begin with the present state and say where it ends (`sendInitialEvents`).
    pub initial_events: bool,
    pub bookmarks: bool,
    /// How long the client wants to watch; `None`: [`DEFAULT_TIMEOUT`].
    pub timeout: Option<Duration>,
}

/// A watch under way.
struct Running {
    watch: Watch,
    objects: Arc<Objects>,
    changed: Arc<Notify>,
    /// Notified when all watches are to be cut off.
    cut: Pin<Box<OwnedNotified>>,
    /// Everything up to this version was sent.
    position: u64,
    ends: Instant,
    next_bookmark: Instant,
    over: bool,
}

impl Watch {
    /// The lines to send.
    pub(crate) fn start(self, objects: Arc<Objects>, cut: OwnedNotified) -> impl Stream<Item = Bytes> + Send + use<> {
        let (changed, cut) = (objects.changed(), Box::pin(cut));
        let now = Instant::now();
        let ends = now + self.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let next_bookmark = if self.bookmarks { now + BOOKMARK_INTERVAL } else { ends };
        let mut running = Running { watch: self, objects, changed, cut, position: 0, ends, next_bookmark, over: false };
        let first = running.first_lines();
        stream::unfold((running, Some(first)), |(mut running, first)| async move {
            let lines = match first {
                Some(lines) if !lines.is_empty() => lines,
                _ => running.next_lines().await?,
            };
            Some((lines, (running, None)))
        })
    }
}

impl Running {
    fn first_lines(&mut self) -> Bytes {
        if let Some(after) = self.watch.after
            && !self.watch.initial_events
        {
            self.position = after;
            return Bytes::new();
        }
        let (version, mut objects) =
            self.objects.list(&self.watch.resource, self.watch.namespace.as_deref(), Freshness::Any);
        self.position = version;
        let mut lines = Vec::new();
        objects.retain(|object| self.watch.selector.matches(&object.value));
        for object in &objects {
            self.line(&mut lines, "ADDED", object);
        }
        if self.watch.initial_events && self.watch.bookmarks {
            self.bookmark(&mut lines, json!({"k8s.io/initial-events-end": "true"}));
        }
        lines.into()
    }

    /// Waits until there is something to send. `None` ends the stream.
    async fn next_lines(&mut self) -> Option<Bytes> {
        let changed = Arc::clone(&self.changed);
        while !self.over {
            // Begun before the log is read: what is written meanwhile wakes us again.
            let news = changed.notified();
            let mut lines = self.new_lines();
            if !self.over {
                self.mark_time(&mut lines);
            }
            if !lines.is_empty() {
                return Some(lines.into());
            }
            if self.over {
                break;
            }
            tokio::select! {
                biased;
                () = self.cut.as_mut() => return None,
                () = news => {}
                () = sleep_until(self.ends.min(self.next_bookmark)) => {}
            }
        }
        None
    }

    /// Ends the watch when its time is up. A client that wants bookmarks gets a last one, to continue from.
    fn mark_time(&mut self, lines: &mut Vec<u8>) {
        let now = Instant::now();
        self.over = now >= self.ends;
        if self.watch.bookmarks && (self.over || now >= self.next_bookmark) {
            self.next_bookmark = now + BOOKMARK_INTERVAL;
            self.bookmark(lines, json!({}));
        }
    }

    fn new_lines(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        let (resource, namespace) = (&self.watch.resource, &self.watch.namespace);
        let wanted = |key: &Key| &key.resource == resource && namespace.as_ref().is_none_or(|ns| ns == &key.namespace);
        match self.objects.events_after(self.position, wanted) {
            Ok((version, events)) => {
                self.position = version;
                for event in &events {
                    self.event(&mut lines, event);
                }
            }
            Err(status) => {
                self.over = true;
                push_line(&mut lines, "ERROR", &status.to_json());
            }
        }
        lines
    }

    /// To a client with a selector, an object appears when it comes to match and goes when it no longer does.
    fn event(&mut self, lines: &mut Vec<u8>, event: &Event) {
        let matches = |object: &Arc<Object>| self.watch.selector.matches(&object.value);
        let before = event.old.as_ref().is_some_and(matches);
        match &event.change {
            ObjectChange::Put(object) => match (before, matches(object)) {
                (false, true) => self.line(lines, "ADDED", object),
                (true, true) => self.line(lines, "MODIFIED", object),
                (true, false) => {
                    let last_seen = event.old.as_ref().unwrap_or(object).value.clone();
                    self.line(lines, "DELETED", &Object::new(last_seen, event.version));
                }
                (false, false) => {}
            },
            ObjectChange::Deleted(object) if before => self.line(lines, "DELETED", object),
            ObjectChange::Deleted(_) => {}
        }
    }

    fn line(&mut self, lines: &mut Vec<u8>, kind: &str, object: &Object) {
        push_line(lines, kind, &self.watch.presenter.watched(object));
    }

    fn bookmark(&self, lines: &mut Vec<u8>, annotations: Value) {
        push_line(lines, "BOOKMARK", &self.watch.presenter.bookmark(self.position, annotations));
    }
}

fn push_line(lines: &mut Vec<u8>, kind: &str, object: &[u8]) {
    lines.extend_from_slice(b"{\"type\":\"");
    lines.extend_from_slice(kind.as_bytes());
    lines.extend_from_slice(b"\",\"object\":");
    lines.extend_from_slice(object);
    lines.extend_from_slice(b"}\n");
}
