//! What is there without anybody's asking: namespaces, and the definitions of the kinds.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::admit;
use crate::object::{Key, as_map, metadata_mut};
use crate::verbs::birth;

/// `default`, and every namespace that one of `objects` is in, as far as they are missing.
pub(crate) fn namespaces(objects: &[(Key, Value)]) -> Vec<(Key, Value)> {
    let mut needed: BTreeSet<&str> = objects.iter().map(|(key, _)| key.namespace.as_str()).collect();
    needed.insert("default");
    needed.remove("");
    needed
        .into_iter()
        .map(|name| (cluster_wide("namespaces", name), name))
        .filter(|(key, _)| !objects.iter().any(|(present, _)| present == key))
        .map(|(key, name)| (key, admit::namespace(name, &birth())))
        .collect()
}

/// The definitions as a cluster shows them once it serves their kinds.
pub(crate) fn definitions(crds: &[CustomResourceDefinition]) -> Vec<(Key, Value)> {
    let mut definitions = Vec::new();
    for crd in crds {
        let Ok(mut value) = serde_json::to_value(crd) else { continue };
        let birth = birth();
        let condition = |type_: &str| {
            json!({
                "type": type_, "status": "True", "reason": type_, "message": "", "lastTransitionTime": birth.now,
            })
        };
        let conditions = [condition("NamesAccepted"), condition("Established")];
        let stored: Vec<&str> = crd.spec.versions.iter().map(|version| version.name.as_str()).collect();
        let status = json!({"conditions": conditions, "acceptedNames": crd.spec.names, "storedVersions": stored});
        as_map(&mut value).insert("status".into(), status);
        let metadata = metadata_mut(&mut value);
        metadata.insert("uid".into(), birth.uid.into());
        metadata.insert("creationTimestamp".into(), birth.now.into());
        let name = crd.metadata.name.as_deref().unwrap_or_default();
        definitions.push((cluster_wide("customresourcedefinitions.apiextensions.k8s.io", name), value));
    }
    definitions
}

fn cluster_wide(resource: &str, name: &str) -> Key {
    Key { resource: resource.to_owned(), namespace: String::new(), name: name.to_owned() }
}
