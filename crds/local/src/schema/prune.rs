//! Pruning: fields that the schema does not know are dropped, and their paths returned, so that a client can be warned.

use serde_json::{Map, Value};

use super::{flag, join};
use crate::object::type_and_metadata;

/// The fields of ObjectMeta.
const METADATA: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

pub(super) fn prune_root(schema: &Value, object: &mut Value, unknown: &mut Vec<String>) {
    let Value::Object(fields) = object else { return };
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        drop_unknown(metadata, "metadata", |field| METADATA.contains(&field), unknown);
    }
    prune_fields(schema, fields, "", type_and_metadata, unknown);
}

fn prune(schema: &Value, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let embedded = flag(schema, "x-kubernetes-embedded-resource");
            prune_fields(schema, fields, path, |field| embedded && type_and_metadata(field), unknown);
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune(schema, item, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn prune_fields(
    schema: &Value,
    fields: &mut Map<String, Value>,
    path: &str,
    excepted: impl Fn(&str) -> bool,
    unknown: &mut Vec<String>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    let any = flag(schema, "x-kubernetes-preserve-unknown-fields") || additional == Some(&Value::Bool(true));
    let known = |field: &str| {
        any || excepted(field)
            || additional.is_some_and(Value::is_object)
            || properties.is_some_and(|properties| properties.contains_key(field))
    };
    drop_unknown(fields, path, known, unknown);
    for (field, value) in fields.iter_mut() {
        let below = properties.and_then(|properties| properties.get(field)).or(additional);
        if let Some(below) = below.filter(|below| below.is_object()) {
            prune(below, value, &join(path, field), unknown);
        }
    }
}

fn drop_unknown(fields: &mut Map<String, Value>, path: &str, known: impl Fn(&str) -> bool, unknown: &mut Vec<String>) {
    fields.retain(|field, _| {
        let known = known(field);
        if !known {
            unknown.push(join(path, field));
        }
        known
    });
}
