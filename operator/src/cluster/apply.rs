//! Server-side apply, in order, of what differs; then the removal of what is no longer built.
//!
//! The resulting version of each applied object is remembered: an object that still has this version is as it should
//! be, whatever defaults the API server has added. After a takeover everything is applied once, which changes nothing.
//!
//! Always: an object that exists and does not belong to the cluster is never written. It may have the name by chance.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::Status;
use ottla_crds::names;
use ottla_kube::change::why;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::build::label::{MANAGED_BY_LABEL, MANAGER};
use super::build::{Built, Kind};
use super::read::Live;

/// Objects that exist, by kind and name.
pub type LiveObjects = BTreeMap<(Kind, String), Live>;

/// Why objects could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A read or a write that failed.
    #[error("failed to {verb} the {kind} {name}: {}", why(source))]
    Request {
        /// The action that failed.
        verb: &'static str,
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// The error of the API server or of the connection.
        source: kube::Error,
    },
    /// An object that does not belong to the cluster has the name that the cluster needs.
    #[error(
        "the {kind} {name} exists and does not belong to this cluster, so nothing was changed: delete it, or create \
        the KafkaCluster under another name; if it belongs to the cluster, add the label {MANAGED_BY_LABEL}={MANAGER} and {}={cluster}",
        names::CLUSTER_LABEL
    )]
    Foreign {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// The KafkaCluster's name.
        cluster: String,
    },
}

impl ApplyError {
    /// A failure to `verb` an object.
    pub fn new(verb: &'static str, kind: impl Into<String>, name: &str, source: kube::Error) -> ApplyError {
        ApplyError::Request { verb, kind: kind.into(), name: name.to_owned(), source }
    }

    /// The answer of an API server for which the object can not be as it was sent; `None`: something else failed.
    fn refusal(&self) -> Option<&Status> {
        match self {
            ApplyError::Request { source: kube::Error::Api(status), .. } if status.code == 422 => Some(status.as_ref()),
            ApplyError::Request { .. } | ApplyError::Foreign { .. } => None,
        }
    }

    /// The object's kind.
    pub fn kind(&self) -> &str {
        match self {
            ApplyError::Request { kind, .. } | ApplyError::Foreign { kind, .. } => kind,
        }
    }

    /// The reason for the condition.
    pub fn reason(&self) -> &'static str {
        match self {
            ApplyError::Request { .. } => "ApplyFailed",
            ApplyError::Foreign { .. } => "ForeignObject",
        }
    }
}

/// How long a refused object is not asked for again; the API server may have other rules by then.
pub const REFUSED_FOR: Duration = Duration::from_secs(300);

/// An object that the API server has refused, and that may stay as it is.
#[derive(Debug)]
pub struct RefusedObject {
    value: Value,
    at: Instant,
    /// What stands there: the object from before, or what may stand in its place.
    live: Live,
    /// Whether the object from before stands there.
    pub has_stayed: bool,
    /// The API server's answer.
    pub why: Box<Status>,
}

/// The applied objects and their resulting versions, and those that were refused.
#[derive(Debug, Default)]
pub struct Applied {
    done: BTreeMap<(Kind, String), (Value, Live)>,
    refused: BTreeMap<(Kind, String), RefusedObject>,
}

impl Applied {
    /// The objects that may not be as they should be.
    pub fn differing<'a>(&self, built: &'a [Built], live: &LiveObjects) -> Vec<&'a Built> {
        let differs = |object: &&Built| {
            let key = (object.kind, object.name.clone());
            let Some(live) = live.get(&key) else { return true };
            let is_refused = |refused: &RefusedObject| {
                refused.value == object.value && refused.live == *live && refused.at.elapsed() < REFUSED_FOR
            };
            let is_done = |(value, version): &(Value, Live)| *value == object.value && version == live;
            !self.done.get(&key).is_some_and(is_done) && !self.refused.get(&key).is_some_and(is_refused)
        };
        built.iter().filter(differs).collect()
    }

    /// Applies the objects in order. Nothing is written while one of the names is taken. It stops at the first failure,
    /// because later objects need earlier ones; an object that the API server refuses and that need not be applied is
    /// no failure.
    ///
    /// # Errors
    /// When a name is taken; when the API server refuses or can't be reached.
    pub async fn apply(
        &mut self,
        client: &Client,
        (namespace, cluster): (&str, &str),
        built: &[Built],
        live: &LiveObjects,
    ) -> Result<(), ApplyError> {
        let mut writes = Vec::new();
        for object in self.differing(built, live) {
            let resource = object.kind.resource();
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            let uid = match live.get(&(object.kind, object.name.clone())) {
                Some(live) => live.uid.clone(),
                None => owned(&api, &resource, &object.name, cluster).await?,
            };
            writes.push((object, api, uid));
        }
        for (object, api, uid) in writes {
            let (key, resource) = ((object.kind, object.name.clone()), object.kind.resource());
            let has_stayed = uid.is_some();
            let (why, instead) = match write(&api, &resource, &object.name, &object.value, uid).await {
                Ok(written) => {
                    self.refused.remove(&key);
                    self.done.insert(key, (object.value.clone(), Live::of(&written)));
                    continue;
                }
                Err(failed) => {
                    let why = failed.refusal().cloned();
                    let (Some(why), Some(instead)) = (why, &object.else_value) else { return Err(failed) };
                    (why, instead)
                }
            };
            let stands = if has_stayed {
                live.get(&key).cloned()
            } else {
                Some(Live::of(&write(&api, &resource, &object.name, instead, None).await?))
            };
            self.done.remove(&key);
            let stands = stands.unwrap_or(Live { uid: None, version: None });
            let refused = RefusedObject {
                value: object.value.clone(),
                at: Instant::now(),
                live: stands,
                has_stayed,
                why: Box::new(why),
            };
            self.refused.insert(key, refused);
        }
        self.refused.retain(|(kind, name), _| built.iter().any(|built| (built.kind, &built.name) == (*kind, name)));
        Ok(())
    }

    /// An object that the API server refuses as it is built; `None`: it refuses none.
    pub fn refused(&self) -> Option<(&str, &RefusedObject)> {
        self.refused.iter().next().map(|((_, name), refused)| (name.as_str(), refused))
    }

    /// Whether this process has made the StatefulSet of this name, and not removed it since.
    pub fn has_made(&self, set: &str) -> bool {
        self.done.contains_key(&(Kind::StatefulSet, set.to_owned()))
    }

    /// Removes objects that are no longer built, such as the Services of a removed listener.
    ///
    /// # Errors
    /// When the API server refuses or can't be reached.
    pub async fn remove_orphans(
        &mut self,
        client: &Client,
        namespace: &str,
        built: &[Built],
        live: &LiveObjects,
    ) -> Result<(), ApplyError> {
        for (key, orphan) in orphans(built, live) {
            remove(client, namespace, &key, &orphan).await?;
            self.done.remove(&key);
        }
        Ok(())
    }
}

/// Applies an object: the one with this uid, or a new one. Its metadata.
///
/// # Errors
/// When it is another one by now; when the API server refuses or can't be reached.
pub async fn write(
    api: &Api<DynamicObject>,
    resource: &ApiResource,
    name: &str,
    value: &Value,
    uid: Option<String>,
) -> Result<ObjectMeta, ApplyError> {
    let mut value = value.clone();
    let mut params = PatchParams::apply(MANAGER);
    if let Some(uid) = uid {
        // Refused if it is not this very object any more.
        value["metadata"]["uid"] = json!(uid);
        params = params.force();
    }
    // Without a uid there was none. One that has come since is not taken by force: it differs, and so it is refused.
    let written = api.patch(name, &params, &Patch::Apply(&value)).await;
    let written = written.map_err(|source| ApplyError::new("apply", resource.kind.as_str(), name, source))?;
    Ok(written.metadata)
}

/// The uid of an object that the watches do not show, if there is one; an error if it is not the cluster's.
///
/// # Errors
/// When it is not; when the API server refuses or can't be reached.
pub async fn owned(
    api: &Api<DynamicObject>,
    resource: &ApiResource,
    name: &str,
    cluster: &str,
) -> Result<Option<String>, ApplyError> {
    let kind = resource.kind.clone();
    let there = api.get_metadata_opt(name).await;
    match there.map_err(|source| ApplyError::new("read", kind.as_str(), name, source))? {
        None => Ok(None),
        Some(there) if is_ours(&there.metadata, cluster) => Ok(there.metadata.uid),
        Some(_) => Err(ApplyError::Foreign { kind, name: name.to_owned(), cluster: cluster.to_owned() }),
    }
}

/// Whether the operator built an object for this cluster: by its labels, or, if these were removed, by its field
/// manager.
fn is_ours(metadata: &ObjectMeta, cluster: &str) -> bool {
    let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    let written_by_us =
        || metadata.managed_fields.iter().flatten().any(|fields| fields.manager.as_deref() == Some(MANAGER));
    match (label(names::CLUSTER_LABEL), label(MANAGED_BY_LABEL)) {
        (Some(of), Some(MANAGER)) => of == cluster,
        (Some(of), _) => of == cluster && written_by_us(),
        (None, _) => written_by_us(),
    }
}

/// The objects that exist and are not built.
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
) -> Result<(), ApplyError> {
    let resource = kind.resource();
    let api = Api::namespaced_with(client.clone(), namespace, &resource);
    remove_one(&api, &resource, name, live.uid.clone()).await
}

/// Removes the object of this name, if it still has this uid.
///
/// # Errors
/// As [`remove`].
pub async fn remove_one(
    api: &Api<DynamicObject>,
    resource: &ApiResource,
    name: &str,
    uid: Option<String>,
) -> Result<(), ApplyError> {
    let this_one = Preconditions { uid, resource_version: None };
    match api.delete(name, &DeleteParams::background().preconditions(this_one)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(ApplyError::new("remove", resource.kind.as_str(), name, source)),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::Role;
    use kube::api::PostParams;
    use ottla_local_api::{Server, Store};

    use super::*;

    fn live(version: &str) -> Live {
        Live { uid: Some("u".to_owned()), version: Some(version.to_owned()) }
    }

    fn built(size: i32) -> Built {
        Built { kind: Kind::ConfigMap, name: "prod".to_owned(), value: json!({ "size": size }), else_value: None }
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
        applied.done.insert(key.clone(), (built(1).value, live("1")));
        assert!(!differs(&applied, 1, Some(live("1"))), "it is as it was applied");
        assert!(differs(&applied, 2, Some(live("1"))), "it is to be another");
        assert!(differs(&applied, 1, Some(live("2"))), "somebody has changed it");
        assert!(differs(&applied, 1, None), "somebody has removed it");
    }

    /// An API server that knows Roles, as any that stores them does.
    fn api_server() -> Server {
        let definition = json!({
            "metadata": { "name": "roles.rbac.authorization.k8s.io" },
            "spec": {
                "group": "rbac.authorization.k8s.io", "scope": "Namespaced",
                "names": { "kind": "Role", "listKind": "RoleList", "plural": "roles", "singular": "role" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                } } }],
            },
        });
        Server::new(Store::Memory, vec![serde_json::from_value(definition).unwrap()]).unwrap()
    }

    #[tokio::test]
    async fn an_object_of_somebody_else_is_left_as_it_is_and_nothing_else_is_made() {
        let server = api_server();
        let client = server.client("default");
        let roles: Api<Role> = Api::namespaced(client.clone(), "default");
        let role = |name: &str, cluster: &str, verb: &str| {
            let labels = json!({ MANAGED_BY_LABEL: MANAGER, names::CLUSTER_LABEL: cluster });
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": { "name": name, "labels": labels },
                "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": [verb] }],
            })
        };
        let built = |name: &str, verb: &str| {
            let value = role(name, "prod", verb);
            Built { kind: Kind::Role, name: name.to_owned(), value, else_value: None }
        };
        let create = async |object: Value| {
            let role: Role = serde_json::from_value(object).unwrap();
            roles.create(&PostParams::default(), &role).await.unwrap()
        };
        let verb = async |name: &str| {
            let role = roles.get_opt(name).await.unwrap()?;
            role.rules?.first()?.verbs.first().cloned()
        };
        let apply = async |applied: &mut Applied, built: &[Built], live: &LiveObjects| {
            applied.apply(&client, ("default", "prod"), built, live).await.map_err(|failed| failed.reason())
        };
        let none = LiveObjects::new();
        let mut foreign = role("taken", "prod", "theirs");
        foreign["metadata"]["labels"] = json!({ "app": "theirs" });
        create(foreign).await;
        create(role("other-clusters", "test", "theirs")).await;
        for taken in ["taken", "other-clusters"] {
            let refused = apply(&mut Applied::default(), &[built("free", "ours"), built(taken, "ours")], &none).await;
            assert_eq!(refused, Err("ForeignObject"), "{taken}");
            assert_eq!((verb("free").await, verb(taken).await), (None, Some("theirs".to_owned())), "{taken}");
        }

        // Its own is found again, also when the watches lag or somebody has taken the labels off.
        let mut applied = Applied::default();
        apply(&mut applied, &[built("free", "first")], &none).await.unwrap();
        let unlabelled = Patch::Merge(json!({ "metadata": { "labels": null } }));
        roles.patch("free", &PatchParams::default(), &unlabelled).await.unwrap();
        apply(&mut Applied::default(), &[built("free", "second")], &none).await.unwrap();
        assert_eq!(verb("free").await.as_deref(), Some("second"));

        // What the watches showed is gone, and another has its name since: it is not taken for the one that was shown.
        let gone = LiveObjects::from([((Kind::Role, "taken".to_owned()), live("1"))]);
        assert!(apply(&mut applied, &[built("taken", "ours")], &gone).await.is_err());
        assert_eq!(verb("taken").await.as_deref(), Some("theirs"));
    }

    #[test]
    fn what_is_not_built_any_more_is_an_orphan() {
        let both: LiveObjects =
            [((Kind::ConfigMap, "prod".to_owned()), live("1")), ((Kind::Service, "old".to_owned()), live("2"))].into();
        let orphans: Vec<String> = orphans(&[built(1)], &both).into_keys().map(|(_, name)| name).collect();
        assert_eq!(orphans, ["old"]);
    }
}
