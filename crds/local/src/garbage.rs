//! What goes when something else went: objects whose owners are gone, and the content of a namespace that ends.
//!
//! A background task looks at the whole after each change that may matter; what to remove is a function of the
//! objects alone, so it may run twice, late, or after a crash.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use crate::kind::Kinds;
use crate::object::{Key, Object, is_being_deleted, metadata};
use crate::server::Inner;
use crate::store::{Event, Freshness, ObjectChange, Objects, WriteDecision};
use crate::verbs::remove_object;

/// Collects until the server is gone.
pub(crate) fn start(server: &Arc<Inner>) {
    let changed = server.objects.changed();
    let server = Arc::downgrade(server);
    tokio::spawn(async move {
        // Nothing is known yet of what happened before.
        let mut seen = 0;
        loop {
            // Begun before the log is read: what is written meanwhile wakes us again.
            let news = changed.notified();
            let Some(server) = server.upgrade() else { return };
            let matters = match server.objects.events_after(seen, |_| true) {
                Ok((version, events)) => {
                    seen = version;
                    events.iter().any(|event| may_leave_garbage(event) || is_homeless(&server.objects, event))
                }
                Err(_) => {
                    seen = server.objects.version();
                    true
                }
            };
            if matters {
                collect(&server).await;
            }
            drop(server);
            news.await;
        }
    });
}

fn may_leave_garbage(event: &Event) -> bool {
    match &event.change {
        ObjectChange::Deleted(_) => true,
        ObjectChange::Put(object) => {
            owners(&object.value).next().is_some()
                || (event.key.resource == "namespaces" && is_being_deleted(&object.value))
        }
    }
}

/// Whether an object was made in a namespace that ended while the object was on its way to the disk.
fn is_homeless(objects: &Objects, event: &Event) -> bool {
    let namespace =
        || Key { resource: "namespaces".into(), namespace: String::new(), name: event.key.namespace.clone() };
    event.old.is_none() && !event.key.namespace.is_empty() && objects.get(&namespace(), Freshness::Consistent).is_none()
}

async fn collect(server: &Arc<Inner>) {
    let garbage = garbage(&server.kinds, &server.objects.all());
    for (key, uid) in garbage.objects {
        if let Err(status) = remove_object(&server.objects, key.clone(), &uid).await {
            tracing::warn!(?key, %status, "failed to collect garbage");
        }
    }
    for key in garbage.namespaces {
        let name = key.name.clone();
        let end = server.objects.write(key, |present| match present {
            Some(namespace) if is_being_deleted(namespace) => Ok(WriteDecision::Delete(namespace.clone())),
            _ => Err(crate::status::Status::no_namespace(&name)),
        });
        if let Err(status) = end.await {
            tracing::warn!(name, %status, "failed to end a namespace");
        }
    }
}

#[derive(Debug, Default, PartialEq)]
struct Garbage {
    /// Objects to delete, with the uid that they must still have.
    objects: Vec<(Key, String)>,
    /// Namespaces that end and are empty.
    namespaces: Vec<Key>,
}

fn garbage(kinds: &Kinds, all: &[(Key, Arc<Object>)]) -> Garbage {
    let uids: HashSet<&str> = all.iter().map(|(_, object)| metadata(&object.value, "uid")).collect();
    let ending: HashSet<&str> = all
        .iter()
        .filter(|(key, object)| key.resource == "namespaces" && is_being_deleted(&object.value))
        .map(|(key, _)| key.name.as_str())
        .collect();
    let orphaned = |object: &Value| {
        // An owner of a kind that is not served here cannot be looked up: it counts as present.
        let mut owners = owners(object).peekable();
        owners.peek().is_some()
            && owners.all(|owner| {
                let text = |field| owner.get(field).and_then(Value::as_str).unwrap_or_default();
                kinds.serves(text("apiVersion"), text("kind")) && !uids.contains(text("uid"))
            })
    };
    let there: HashSet<&str> =
        all.iter().filter(|(key, _)| key.resource == "namespaces").map(|(key, _)| key.name.as_str()).collect();
    let homeless = |key: &Key| !key.namespace.is_empty() && !there.contains(key.namespace.as_str());
    let goes = |key: &Key, object: &Value| ending.contains(key.namespace.as_str()) || homeless(key) || orphaned(object);
    let objects = all
        .iter()
        .filter(|(key, object)| goes(key, &object.value) && !is_being_deleted(&object.value))
        .map(|(key, object)| (key.clone(), metadata(&object.value, "uid").to_owned()))
        .collect();
    let full: HashSet<&str> = all.iter().map(|(key, _)| key.namespace.as_str()).collect();
    let namespaces = all
        .iter()
        .filter(|(key, _)| key.resource == "namespaces" && ending.contains(key.name.as_str()))
        .filter(|(key, _)| !full.contains(key.name.as_str()))
        .map(|(key, _)| key.clone())
        .collect();
    Garbage { objects, namespaces }
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    let owners = object.get("metadata").and_then(|metadata| metadata.get("ownerReferences")).and_then(Value::as_array);
    owners.into_iter().flatten()
}
