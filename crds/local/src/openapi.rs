//! OpenAPI v3, as far as `kubectl` needs it: to leave validation to the server, and for `kubectl explain`.

use serde_json::{Map, Value, json};

use crate::kind::{Kind, Kinds};
use crate::status::Status;

/// `/openapi/v3` and `/openapi/v3/…`.
pub(crate) fn answer(kinds: &Kinds, path: &str) -> Result<Value, Status> {
    let wanted = path.trim_start_matches("/openapi/v3").trim_matches('/');
    if wanted.is_empty() {
        let paths: Map<String, Value> = kinds
            .groups()
            .into_iter()
            .map(|(group, version)| {
                let path = root(group, version);
                let url = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash=1")});
                (path, url)
            })
            .collect();
        return Ok(json!({ "paths": paths }));
    }
    let groups = kinds.groups();
    let (group, version) =
        groups.iter().find(|(group, version)| root(group, version) == wanted).ok_or_else(Status::no_such_resource)?;
    Ok(document(&kinds.of(group, version).into_iter().map(AsRef::as_ref).collect::<Vec<&Kind>>()))
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn document(kinds: &[&Kind]) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in kinds {
        let scope = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let collection = format!("/{}/{scope}{}", root(&kind.group, &kind.version), kind.plural);
        paths.insert(format!("{collection}/{{name}}"), json!({"put": operation(kind), "patch": operation(kind)}));
        paths.insert(collection, json!({"post": operation(kind)}));
        schemas.insert(schema_name(kind), schema(kind));
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Ottla", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths, "components": {"schemas": schemas},
    })
}

/// A write whose fields the server validates itself.
fn operation(kind: &Kind) -> Value {
    json!({
        "x-kubernetes-group-version-kind": gvk(kind),
        "parameters": [
            {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": true}},
            {"name": "dryRun", "in": "query", "schema": {"type": "string", "uniqueItems": true}},
        ],
        "responses": {"200": {"description": "OK", "content": {"application/json": {
            "schema": {"$ref": format!("#/components/schemas/{}", schema_name(kind))},
        }}}},
    })
}

fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

/// `io.ottla.v1alpha1.KafkaTopic`.
fn schema_name(kind: &Kind) -> String {
    let mut parts: Vec<&str> = kind.group.split('.').rev().filter(|part| !part.is_empty()).collect();
    parts.extend([kind.version.as_str(), kind.kind.as_str()]);
    parts.join(".")
}

fn schema(kind: &Kind) -> Value {
    let mut schema = match &kind.schema {
        Some(schema) => schema.root().clone(),
        None => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    };
    schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    let properties = crate::object::field_mut(crate::object::as_map(&mut schema), "properties");
    for (name, type_, description) in [
        ("apiVersion", "string", "The version of the API to which this object belongs."),
        ("kind", "string", "The kind of this object."),
        ("metadata", "object", "The standard metadata: name, namespace, labels, annotations, owners."),
    ] {
        properties.insert(name.to_owned(), json!({"type": type_, "description": description}));
    }
    schema
}
