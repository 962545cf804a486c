//! What every write must pass: the rules for metadata, then, for custom resources, the schema.
//!
//! Values in, values out. Here an object gets what only the server may give it: uid, times, generation.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use regex::Regex;
use serde_json::{Value, json};

use crate::cause::Cause;
use crate::kind::Kind;
use crate::object::{
    as_map, field_mut, finalizers, is_being_deleted, metadata, metadata_mut, restore, type_and_metadata,
};
use crate::request::{Subresource, Target};
use crate::status::Status;

/// What the server gives a new object.
#[derive(Debug)]
pub(crate) struct Birth {
    pub uid: String,
    pub now: String,
    /// Appended to `generateName`.
    pub suffix: String,
}

/// The name under which a new object is to be stored, written into the object.
pub(crate) fn name_new(target: &Target, object: &mut Value, birth: &Birth) -> Result<String, Status> {
    if let Some(namespace) = &target.namespace {
        let stated = metadata(object, "namespace");
        if !stated.is_empty() && stated != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        metadata_mut(object).insert("namespace".into(), namespace.clone().into());
    } else if target.kind.namespaced {
        return Err(Status::method_not_allowed());
    }
    let prefix = metadata(object, "generateName").to_owned();
    if metadata(object, "name").is_empty() && !prefix.is_empty() {
        metadata_mut(object).insert("name".into(), format!("{prefix}{}", birth.suffix).into());
    }
    Ok(metadata(object, "name").to_owned())
}

/// Makes a new object complete, or says what is wrong with it.
pub(crate) fn create(kind: &Kind, object: &mut Value, birth: &Birth) -> Result<(), Status> {
    let name = metadata(object, "name").to_owned();
    let meta = metadata_mut(object);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "selfLink", "generation"] {
        meta.remove(field);
    }
    meta.insert("uid".into(), birth.uid.clone().into());
    meta.insert("creationTimestamp".into(), birth.now.clone().into());
    if kind.custom() {
        meta.insert("generation".into(), json!(1));
    }
    if kind.status {
        as_map(object).remove("status");
    }
    if kind.is_namespace() {
        complete_namespace(object);
    }
    finish(kind, object, None, name_causes(kind, &name))
}

/// A namespace that nobody had to ask for.
pub(crate) fn namespace(name: &str, birth: &Birth) -> Value {
    let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": name, "uid": birth.uid, "creationTimestamp": birth.now,
    }});
    complete_namespace(&mut namespace);
    namespace
}

fn complete_namespace(object: &mut Value) {
    let name = metadata(object, "name").to_owned();
    field_mut(metadata_mut(object), "labels").insert("kubernetes.io/metadata.name".into(), name.into());
    field_mut(as_map(object), "spec").insert("finalizers".into(), json!(["kubernetes"]));
    field_mut(as_map(object), "status").insert("phase".into(), "Active".into());
}

/// Takes from `new` what a write to this subresource may change, keeps the rest of `old`, and judges the result.
pub(crate) fn update(kind: &Kind, subresource: Subresource, old: &Value, new: &mut Value) -> Result<(), Status> {
    let name = metadata(old, "name").to_owned();
    let uid = metadata(new, "uid");
    if !uid.is_empty() && uid != metadata(old, "uid") {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", metadata(old, "uid"));
        return Err(Status::conflict(kind, &name, &why));
    }
    if subresource == Subresource::Status {
        let status = std::mem::replace(new, old.clone());
        restore(new, "status", &status);
    } else if kind.status {
        restore(new, "status", old);
    }
    const OF_THE_SERVER: [&str; 7] = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ];
    let old_metadata = old.get("metadata").cloned().unwrap_or_default();
    if let Some(meta) = as_map(new).get_mut("metadata") {
        OF_THE_SERVER.iter().for_each(|field| restore(meta, field, &old_metadata));
    }
    let mut causes = Vec::new();
    let added: Vec<&str> = finalizers(new).into_iter().filter(|name| !finalizers(old).contains(name)).collect();
    if is_being_deleted(old) && !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        );
        // A real server looks at it as at any object's and once more as at a custom resource's.
        let looks = if kind.custom() { 2 } else { 1 };
        causes.extend((0..looks).map(|_| Cause::forbidden("metadata.finalizers", &detail)));
    }
    finish(kind, new, Some(old), causes)?;
    if kind.custom() && differs_in_spec(kind, old, new) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
        metadata_mut(new).insert("generation".into(), generation.into());
    }
    Ok(())
}

/// Whether anything changes outside metadata and, where it is an endpoint of its own, status.
fn differs_in_spec(kind: &Kind, old: &Value, new: &Value) -> bool {
    let apart = |field: &str| type_and_metadata(field) || (kind.status && field == "status");
    let fields = |object: &Value| object.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect();
    let (old_fields, new_fields): (Vec<String>, Vec<String>) = (fields(old), fields(new));
    old_fields.iter().chain(&new_fields).filter(|field| !apart(field)).any(|field| old.get(field) != new.get(field))
}

fn finish(kind: &Kind, object: &mut Value, old: Option<&Value>, mut causes: Vec<Cause>) -> Result<(), Status> {
    type_causes(kind, object, &mut causes);
    tidy_metadata(object);
    if kind.is_secret() {
        complete_secret(object);
    }
    if let Some(schema) = &kind.schema {
        schema.fill_defaults(object);
        causes.extend(schema.validate(object, old));
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(kind, metadata(object, "name"), &causes)) }
}

/// Puts the plain texts of a Secret in base64 beside its other data.
fn complete_secret(object: &mut Value) {
    let secret = as_map(object);
    secret.entry("type").or_insert_with(|| "Opaque".into());
    let Some(Value::Object(texts)) = secret.remove("stringData") else { return };
    let data = field_mut(secret, "data");
    for (key, text) in texts {
        data.insert(key, BASE64_STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
}

/// The body must be of the kind that the path names; Kubernetes' own kinds may leave it out.
fn type_causes(kind: &Kind, object: &mut Value, causes: &mut Vec<Cause>) {
    let stored_version = match kind.form {
        crate::kind::Form::Own => kind.api_version(),
        crate::kind::Form::NewEvent => "v1".to_owned(),
    };
    for (field, expected) in [("apiVersion", stored_version), ("kind", kind.kind.clone())] {
        match object.get(field).and_then(Value::as_str) {
            Some(stated) if stated == expected => {}
            None if !kind.custom() => {
                as_map(object).insert(field.to_owned(), expected.into());
            }
            stated => {
                let detail = format!("must be {expected}");
                causes.push(Cause::invalid(field, &json!(stated.unwrap_or_default()), &detail));
            }
        }
    }
}

/// Drops what says nothing, so that a write which changes nothing is seen as such.
fn tidy_metadata(object: &mut Value) {
    metadata_mut(object).retain(|_, value| match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
}

fn name_causes(kind: &Kind, name: &str) -> Vec<Cause> {
    static SUBDOMAIN: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok());
    const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
         '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
         validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
         and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for \
         validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let (max, text) = if kind.is_namespace() { (63, LABEL_TEXT) } else { (253, SUBDOMAIN_TEXT) };
    let legal = SUBDOMAIN.as_ref().is_some_and(|regex| regex.is_match(name));
    let field = "metadata.name";
    if name.is_empty() {
        vec![Cause::required(field, "name or generateName is required")]
    } else if name.len() > max {
        vec![Cause::invalid(field, &json!(name), &format!("must be no more than {max} characters"))]
    } else if !legal || (kind.is_namespace() && name.contains('.')) {
        vec![Cause::invalid(field, &json!(name), text)]
    } else {
        Vec::new()
    }
}
