//! delete and deletecollection. What has finalizers is only marked; the one who removes the last finalizer deletes it.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::read::selector;
use super::{now, presenter, respond_object};
use crate::kind::Kind;
use crate::object::{Key, as_map, field_mut, finalizers, is_being_deleted, metadata, metadata_mut};
use crate::request::{Ask, json};
use crate::server::{Body, Inner, respond, respond_json};
use crate::status::Status;
use crate::store::{Freshness, Objects, WriteDecision, WriteOutcome};

pub(super) async fn delete(server: &Arc<Inner>, ask: &Ask, name: &str) -> Result<Response<Body>, Status> {
    let kind = &ask.target.kind;
    let options = Options::of(ask)?;
    match remove(server, kind, ask.target.key(name), &options).await? {
        WriteOutcome::Deleted(object) => Ok(respond_json(&json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {
                "name": name, "group": kind.group, "kind": kind.plural, "uid": metadata(&object.value, "uid"),
            },
        }))),
        WriteOutcome::Kept(object) | WriteOutcome::Put(object) => Ok(respond_object(ask, StatusCode::OK, &object, &[])),
    }
}

pub(super) async fn delete_collection(server: &Arc<Inner>, ask: &Ask) -> Result<Response<Body>, Status> {
    let kind = &ask.target.kind;
    let selector = selector(ask)?;
    let options = Options::of(ask)?;
    let resource = kind.stored_resource();
    let (version, mut objects) = server.objects.list(&resource, ask.target.namespace.as_deref(), Freshness::Consistent);
    objects.retain(|object| selector.matches(&object.value));
    for object in &objects {
        match remove(server, kind, key_of(&resource, &object.value), &options).await {
            Ok(_) => {}
            Err(status) if status.code == StatusCode::NOT_FOUND => {}
            Err(status) => return Err(status),
        }
    }
    Ok(respond(StatusCode::OK, presenter(ask).list(version, &objects)))
}

/// Deletes an object as a client without conditions would; it may be gone already.
pub(crate) async fn remove_object(objects: &Arc<Objects>, key: Key, uid: &str) -> Result<(), Status> {
    let now = now();
    let decide = |present: Option<&Value>| match present {
        Some(old) if metadata(old, "uid") == uid => Ok(begin_deletion(old, &now, true)),
        Some(_) | None => Err(Status::no_such_resource()),
    };
    match objects.write(key, decide).await {
        Err(status) if status.code != StatusCode::NOT_FOUND => Err(status),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Where an object is stored.
pub(super) fn key_of(resource: &str, object: &Value) -> Key {
    Key {
        resource: resource.to_owned(),
        namespace: metadata(object, "namespace").to_owned(),
        name: metadata(object, "name").to_owned(),
    }
}

async fn remove(server: &Arc<Inner>, kind: &Kind, key: Key, options: &Options) -> Result<WriteOutcome, Status> {
    let now = now();
    let name = key.name.clone();
    server
        .objects
        .write(key, |present| {
            let old = present.ok_or_else(|| Status::not_found(kind, &name))?;
            options.check(kind, &name, old)?;
            if options.dry_run {
                return Ok(WriteDecision::Pretend(old.clone()));
            }
            Ok(if kind.is_namespace() { end_namespace(old, &now) } else { begin_deletion(old, &now, kind.custom()) })
        })
        .await
}

/// Deletes an object, or marks it if it has finalizers.
fn begin_deletion(old: &Value, now: &str, has_generation: bool) -> WriteDecision {
    if finalizers(old).is_empty() {
        return WriteDecision::Delete(old.clone());
    }
    if is_being_deleted(old) {
        return WriteDecision::Keep;
    }
    let mut marked = old.clone();
    let generation = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
    let meta = metadata_mut(&mut marked);
    meta.insert("deletionTimestamp".into(), now.into());
    meta.insert("deletionGracePeriodSeconds".into(), json!(0));
    if has_generation {
        meta.insert("generation".into(), generation.into());
    }
    WriteDecision::Put(marked)
}

/// A namespace stays until its content is gone; the garbage collector sees to that.
fn end_namespace(old: &Value, now: &str) -> WriteDecision {
    if is_being_deleted(old) {
        return WriteDecision::Keep;
    }
    let mut ending = old.clone();
    metadata_mut(&mut ending).insert("deletionTimestamp".into(), now.into());
    field_mut(as_map(&mut ending), "status").insert("phase".into(), "Terminating".into());
    WriteDecision::Put(ending)
}

/// DeleteOptions, from the body and the query.
struct Options {
    uid: String,
    version: String,
    dry_run: bool,
}

impl Options {
    fn of(ask: &Ask) -> Result<Self, Status> {
        let body = if ask.body.is_empty() { Value::Null } else { json(&ask.body)? };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let policy = text(body.get("propagationPolicy"));
        if policy == "Orphan" || ask.query.get("propagationPolicy") == "Orphan" {
            return Err(Status::bad_request("propagationPolicy Orphan is not supported by this server"));
        }
        let precondition = |name: &str| text(body.get("preconditions").and_then(|conditions| conditions.get(name)));
        let dry_run = body.get("dryRun").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
        Ok(Self {
            uid: precondition("uid"),
            version: precondition("resourceVersion"),
            dry_run: dry_run || ask.query.dry_run(),
        })
    }

    fn check(&self, kind: &Kind, name: &str, object: &Value) -> Result<(), Status> {
        let conditions = [
            ("UID", &self.uid, "uid", "deleted and then recreated"),
            ("ResourceVersion", &self.version, "resourceVersion", "modified"),
        ];
        for (what, wanted, field, perhaps) in conditions {
            let found = metadata(object, field);
            if !wanted.is_empty() && wanted != found {
                let why = format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might \
                     have been {perhaps}"
                );
                return Err(Status::delete_conflict(kind, name, &why));
            }
        }
        Ok(())
    }
}
