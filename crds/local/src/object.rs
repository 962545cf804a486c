//! One stored object: its JSON as a tree, and as bytes that are made once for all readers.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value};

/// Where an object is: its resource (`kafkatopics.ottla.io`), namespace (empty for cluster-wide kinds) and name.
/// The order is the order of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

/// An object as of one write. Never changes; a write makes another.
#[derive(Debug)]
pub(crate) struct Object {
    pub value: Value,
    pub version: u64,
    json: OnceLock<Bytes>,
}

impl Object {
    /// The object as written by the write with this resourceVersion.
    pub(crate) fn new(mut value: Value, version: u64) -> Self {
        metadata_mut(&mut value).insert("resourceVersion".into(), version.to_string().into());
        Self { value, version, json: OnceLock::new() }
    }

    pub(crate) fn json(&self) -> &Bytes {
        self.json.get_or_init(|| self.value.to_string().into())
    }
}

/// A text in `.metadata`, empty when there is none.
pub(crate) fn metadata<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// `.metadata`, made if it is missing. Bodies whose `metadata` is no object were refused at the door.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    field_mut(as_map(object), "metadata")
}

/// `object[field]` as an object, made if it is missing or anything else.
pub(crate) fn field_mut<'a>(object: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    as_map(object.entry(field).or_insert(Value::Null))
}

/// `value` as an object, emptied if it is anything else.
pub(crate) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("the line above made it an object"),
    }
}

/// The fields that clients may send although no schema names them.
pub(crate) fn type_and_metadata(field: &str) -> bool {
    matches!(field, "apiVersion" | "kind" | "metadata")
}

/// The value at a dotted path such as `spec.clusterRef.name`.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(object, |value, step| value.get(step))
}

pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    let finalizers = object.get("metadata").and_then(|metadata| metadata.get("finalizers")).and_then(Value::as_array);
    finalizers.into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(crate) fn is_being_deleted(object: &Value) -> bool {
    !metadata(object, "deletionTimestamp").is_empty()
}

/// Puts `.field` of `object` back to what it is in `from`.
pub(crate) fn restore(object: &mut Value, field: &str, from: &Value) {
    let object = as_map(object);
    match from.get(field) {
        Some(value) => object.insert(field.to_owned(), value.clone()),
        None => object.remove(field),
    };
}
