//! What is served, as `kubectl` and `kube` ask for it: groups, versions, resources; plain and aggregated.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::kind::{Kind, Kinds};
use crate::server::{Body, respond, respond_json};
use crate::status::Status;

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const READ_VERBS: [&str; 3] = ["get", "list", "watch"];
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The discovery documents: `/api`, `/apis`, `/api/v1`, `/apis/GROUP`, `/apis/GROUP/VERSION`.
pub(crate) fn answer(kinds: &Kinds, path: &str, accept: &str) -> Result<Response<Body>, Status> {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
    let document = match parts.as_slice() {
        ["api" | "apis"] if accepts_aggregated(accept) => {
            let document = aggregated(kinds, parts == ["api"]).to_string();
            let mut response = respond(StatusCode::OK, document.into());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
            return Ok(response);
        }
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let groups: Vec<Value> = named_groups(kinds).map(|(name, version)| group(name, version)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", version] => resources(kinds, "", version)?,
        ["apis", name] => {
            let found = named_groups(kinds).find(|(group, _)| group == name).ok_or_else(Status::no_such_resource)?;
            let mut document = group(found.0, found.1);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            document
        }
        ["apis", group, version] => resources(kinds, group, version)?,
        _ => return Err(Status::no_such_resource()),
    };
    Ok(respond_json(&document))
}

/// `/version`: the release whose behaviour this server has.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": concat!("v1.34.0+ottla-", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind.read_only { &READ_VERBS } else { &VERBS }
}

fn accepts_aggregated(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let has = |parameter: &str| range.split(';').any(|part| part.trim() == parameter);
        has("as=APIGroupDiscoveryList") && has("v=v2")
    })
}

fn named_groups(kinds: &Kinds) -> impl Iterator<Item = (&str, &str)> {
    kinds.groups().into_iter().filter(|(group, _)| !group.is_empty())
}

fn group(name: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(kinds: &Kinds, group: &str, version: &str) -> Result<Value, Status> {
    let kinds = kinds.of(group, version);
    let api_version = kinds.first().ok_or_else(Status::no_such_resource)?.api_version();
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": verbs(kind), "shortNames": kind.short_names, "categories": kind.categories,
        }));
        for subresource in subresources(kind) {
            resources.push(json!({
                "name": format!("{}/{}", kind.plural, subresource.name), "singularName": "",
                "namespaced": kind.namespaced, "group": subresource.group, "version": subresource.version,
                "kind": subresource.kind, "verbs": SUBRESOURCE_VERBS,
            }));
        }
    }
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources}))
}

fn aggregated(kinds: &Kinds, core: bool) -> Value {
    let groups = kinds.groups().into_iter().filter(|(group, _)| group.is_empty() == core);
    let items = groups.map(|(group, version)| {
        let resources: Vec<Value> = kinds.of(group, version).into_iter().map(|kind| aggregated_kind(kind)).collect();
        let version = json!({"version": version, "resources": resources, "freshness": "Current"});
        json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": [version]})
    });
    let items: Vec<Value> = items.collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_kind(kind: &Kind) -> Value {
    let below: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|subresource| {
            json!({
                "subresource": subresource.name, "verbs": SUBRESOURCE_VERBS, "responseKind": {
                    "group": subresource.group, "version": subresource.version, "kind": subresource.kind,
                },
            })
        })
        .collect();
    json!({
        "resource": kind.plural, "singularResource": kind.singular, "verbs": verbs(kind),
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "shortNames": kind.short_names, "categories": kind.categories, "subresources": below,
    })
}

struct Below<'a> {
    name: &'a str,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

fn subresources(kind: &Kind) -> Vec<Below<'_>> {
    let status = Below { name: "status", group: &kind.group, version: &kind.version, kind: &kind.kind };
    let scale = Below { name: "scale", group: "autoscaling", version: "v1", kind: "Scale" };
    let status = kind.status.then_some(status);
    let scale = kind.scale.as_ref().map(|_| scale);
    status.into_iter().chain(scale).collect()
}
