//! Server-side apply, in order, of what differs; then the removal of what is no longer built.
//!
//! What was applied is remembered with the version that came of it: an object that is still that version is as we want it,
//! however the API server writes its defaults. After a takeover everything is applied once, which changes nothing.

use std::collections::BTreeMap;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, Resource};
use serde_json::Value;

use super::build::{Built, Kind, MANAGER};
use super::read::Live;

/// Objects that exist, by kind and name.
pub type LiveObjects = BTreeMap<(Kind, String), Live>;

/// A write that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {verb} the {kind} {name}: {}", why(source))]
pub struct Failed {
    verb: &'static str,
    kind: String,
    name: String,
    source: kube::Error,
}

/// The API server's own sentence, where it gave one.
fn why(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

impl Failed {
    /// A failure to `verb` an object.
    pub fn new(verb: &'static str, kind: impl Into<String>, name: &str, source: kube::Error) -> Failed {
        Failed { verb, kind: kind.into(), name: name.to_owned(), source }
    }

    /// The object's kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

/// What was applied, and what came of it.
#[derive(Debug, Default)]
pub struct Applied(BTreeMap<(Kind, String), (Value, Live)>);

impl Applied {
    /// The objects that are not known to be as they are to be.
    pub fn differing<'a>(&self, built: &'a [Built], live: &LiveObjects) -> Vec<&'a Built> {
        let differs = |object: &&Built| {
            let key = (object.kind, object.name.clone());
            match (self.0.get(&key), live.get(&key)) {
                (Some((value, version)), Some(live)) => *value != object.value || version != live,
                _ => true,
            }
        };
        built.iter().filter(differs).collect()
    }

    /// Applies them. Stops at the first that fails: what comes later needs it.
    ///
    /// # Errors
    /// When the API server refuses or can't be reached.
    pub async fn apply(
        &mut self,
        client: &Client,
        namespace: &str,
        built: &[Built],
        live: &LiveObjects,
    ) -> Result<(), Failed> {
        for object in self.differing(built, live) {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &object.kind.resource());
            let params = PatchParams::apply(MANAGER).force();
            let written = api.patch(&object.name, &params, &Patch::Apply(&object.value)).await;
            let written =
                written.map_err(|source| Failed::new("apply", object.kind.resource().kind, &object.name, source))?;
            let version = Live::of(written.meta());
            self.0.insert((object.kind, object.name.clone()), (object.value.clone(), version));
        }
        Ok(())
    }

    /// Removes what is not built any more, such as the Services of a listener that went away.
    ///
    /// # Errors
    /// When the API server refuses or can't be reached.
    pub async fn remove_orphans(
        &mut self,
        client: &Client,
        namespace: &str,
        built: &[Built],
        live: &LiveObjects,
    ) -> Result<(), Failed> {
        for (key, orphan) in orphans(built, live) {
            remove(client, namespace, &key, &orphan).await?;
            self.0.remove(&key);
        }
        Ok(())
    }
}

/// What exists and is not built.
pub fn orphans(built: &[Built], live: &LiveObjects) -> LiveObjects {
    let mut orphans = live.clone();
    for object in built {
        orphans.remove(&(object.kind, object.name.clone()));
    }
    orphans
}

/// Removes an object, if it is still the one that was read.
///
/// # Errors
/// When the API server refuses or can't be reached; not when it is gone already.
pub async fn remove(
    client: &Client,
    namespace: &str,
    (kind, name): &(Kind, String),
    live: &Live,
) -> Result<(), Failed> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource());
    let this_one = Preconditions { uid: live.uid.clone(), resource_version: None };
    match api.delete(name, &DeleteParams::background().preconditions(this_one)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(Failed::new("remove", kind.resource().kind, name, source)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(version: &str) -> Live {
        Live { uid: Some("u".to_owned()), version: Some(version.to_owned()) }
    }

    fn built(size: i32) -> Built {
        Built { kind: Kind::ConfigMap, name: "prod".to_owned(), value: json!({ "size": size }) }
    }

    #[test]
    fn only_what_differs_is_applied() {
        let key = (Kind::ConfigMap, "prod".to_owned());
        let mut applied = Applied::default();
        let differs = |applied: &Applied, size, live: Option<Live>| {
            let live = live.map(|live| (key.clone(), live)).into_iter().collect();
            !applied.differing(&[built(size)], &live).is_empty()
        };
        assert!(differs(&applied, 1, Some(live("1"))), "nothing is known of it");
        applied.0.insert(key.clone(), (built(1).value, live("1")));
        assert!(!differs(&applied, 1, Some(live("1"))), "it is as it was applied");
        assert!(differs(&applied, 2, Some(live("1"))), "it is to be another");
        assert!(differs(&applied, 1, Some(live("2"))), "somebody has changed it");
        assert!(differs(&applied, 1, None), "somebody has removed it");
    }

    #[test]
    fn what_is_not_built_any_more_is_an_orphan() {
        let both: LiveObjects =
            [((Kind::ConfigMap, "prod".to_owned()), live("1")), ((Kind::Service, "old".to_owned()), live("2"))].into();
        let orphans: Vec<String> = orphans(&[built(1)], &both).into_keys().map(|(_, name)| name).collect();
        assert_eq!(orphans, ["old"]);
    }
}
