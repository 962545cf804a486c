//! What a request asks for: its path, its query and its headers, read once.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, header};
use serde_json::Value;

use crate::kind::{Kind, Kinds};
use crate::object::Key;
use crate::protobuf;
use crate::status::Status;

/// The parts of a path under `/api` or `/apis`.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub kind: Arc<Kind>,
    /// `None` for a cluster-wide kind, and for a list over all namespaces.
    pub namespace: Option<String>,
    /// `None` for the collection.
    pub name: Option<String>,
    pub subresource: Subresource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subresource {
    None,
    Status,
    Scale,
}

impl Subresource {
    /// Its name in paths and records; empty for the object itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Subresource::None => "",
            Subresource::Status => "status",
            Subresource::Scale => "scale",
        }
    }
}

impl Target {
    /// `/api/v1/…` and `/apis/GROUP/VERSION/…`; `None` if that names no resource served here.
    pub(crate) fn parse(kinds: &Kinds, path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let find = |plural: &str| kinds.find(group, version, plural).cloned();
        let (kind, namespace, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] if !(group.is_empty() && *plural == "status") => {
                (find(plural)?, Some((*namespace).to_owned()), rest)
            }
            [plural, rest @ ..] => (find(plural)?, None, rest),
            [] => return None,
        };
        if namespace.is_some() && !kind.namespaced {
            return None;
        }
        let (name, subresource) = match rest {
            [] => (None, Subresource::None),
            [name] => (Some(*name), Subresource::None),
            [name, "status"] if kind.status => (Some(*name), Subresource::Status),
            [name, "scale"] if kind.scale.is_some() => (Some(*name), Subresource::Scale),
            _ => return None,
        };
        // An object of a namespaced kind has no path without its namespace.
        if name.is_some() && kind.namespaced && namespace.is_none() {
            return None;
        }
        Some(Self { kind, namespace, name: name.map(str::to_owned), subresource })
    }

    /// Where the object `name` of this target is stored.
    pub(crate) fn key(&self, name: &str) -> Key {
        Key {
            resource: self.kind.stored_resource(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        }
    }
}

/// The query parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A parameter's value, empty when it is absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }

    /// `resourceVersion`, where 0 and none mean any.
    pub(crate) fn version(&self) -> Result<Option<u64>, Status> {
        match self.get("resourceVersion") {
            "" | "0" => Ok(None),
            text => match text.parse() {
                Ok(version) => Ok(Some(version)),
                Err(_) => Err(Status::bad_request(format!("invalid resource version {text:?}"))),
            },
        }
    }

    /// How long the client wants to watch; `None`: it does not say.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.get("timeoutSeconds").parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    pub(crate) fn dry_run(&self) -> bool {
        !self.get("dryRun").is_empty()
    }
}

/// A request for objects.
#[derive(Debug)]
pub(crate) struct Ask {
    pub method: Method,
    pub target: Target,
    pub query: Query,
    pub accept: String,
    pub content_type: String,
    pub user_agent: String,
    pub body: bytes::Bytes,
}

impl Ask {
    pub(crate) fn new(target: Target, request: Request<bytes::Bytes>) -> Self {
        let (head, body) = request.into_parts();
        let text = |name| header_text(&head.headers, name).to_owned();
        Self {
            target,
            query: Query::parse(head.uri.query().unwrap_or_default()),
            accept: text(header::ACCEPT),
            content_type: media_type(&text(header::CONTENT_TYPE)),
            user_agent: text(header::USER_AGENT),
            method: head.method,
            body,
        }
    }

    /// The body of a create, a replace or a delete: JSON, or YAML where the client says so.
    pub(crate) fn decode(&self) -> Result<Value, Status> {
        let object = match self.content_type.as_str() {
            "application/yaml" => yaml(&self.body)?,
            "" | "application/json" => json(&self.body)?,
            "application/vnd.kubernetes.protobuf" if self.target.kind.is_namespace() => protobuf::namespace(&self.body)
                .ok_or_else(|| {
                    Status::unsupported_media_type("of protobuf, only a Namespace with nothing but a name is read")
                })?,
            other => {
                return Err(Status::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json, application/yaml (got {other})"
                )));
            }
        };
        check_shape(&object)?;
        Ok(object)
    }

    /// Who writes, for the record of who owns which field.
    pub(crate) fn manager(&self) -> &str {
        match self.query.get("fieldManager") {
            "" => self.user_agent.split('/').next().filter(|agent| !agent.is_empty()).unwrap_or("unknown"),
            manager => manager,
        }
    }
}

pub(crate) fn json(body: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(body).map_err(|error| Status::bad_request(format!("error decoding the body: {error}")))
}

pub(crate) fn yaml(body: &[u8]) -> Result<Value, Status> {
    serde_yaml::from_slice(body).map_err(|error| Status::bad_request(format!("error converting YAML to JSON: {error}")))
}

/// Every object is a map whose metadata, if there is any, is one too, with texts where texts belong.
pub(crate) fn check_shape(object: &Value) -> Result<(), Status> {
    let Some(object) = object.as_object() else {
        return Err(Status::bad_request("the object provided is not a JSON object"));
    };
    let metadata = match object.get("metadata") {
        None | Some(Value::Null) => return Ok(()),
        Some(metadata) => {
            metadata.as_object().ok_or_else(|| Status::bad_request("metadata: expected a map, got another type"))?
        }
    };
    for (field, value) in metadata {
        let fits = match field.as_str() {
            "name" | "generateName" | "namespace" | "uid" | "resourceVersion" | "creationTimestamp"
            | "deletionTimestamp" => value.is_string() || value.is_null(),
            "labels" | "annotations" => {
                value.is_null() || value.as_object().is_some_and(|texts| texts.values().all(Value::is_string))
            }
            "finalizers" => value.is_null() || value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
            "ownerReferences" | "managedFields" => value.is_null() || value.is_array(),
            _ => true,
        };
        if !fits {
            return Err(Status::bad_request(format!("metadata.{field}: unexpected type in {value}")));
        }
    }
    Ok(())
}

pub(crate) fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A Content-Type without its parameters.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
