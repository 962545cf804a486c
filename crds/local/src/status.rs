//! Refusals, as a real API server words them: every error answer is a JSON `Status`.
//!
//! `kubectl` prints `message`; programs decide on `code` and `reason`; `details.causes` names the fields.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::cause::Cause;
use crate::kind::Kind;

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Status {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
    pub details: Map<String, Value>,
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Map::new() }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        if !name.is_empty() {
            self.details.insert("name".into(), name.into());
        }
        if !kind.group.is_empty() {
            self.details.insert("group".into(), kind.group.clone().into());
        }
        self.details.insert("kind".into(), kind.plural.clone().into());
        self
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(kind, name)
    }

    pub(crate) fn no_namespace(name: &str) -> Self {
        let mut status = Self::new(StatusCode::NOT_FOUND, "NotFound", format!("namespaces \"{name}\" not found"));
        status.details.insert("name".into(), name.into());
        status.details.insert("kind".into(), "namespaces".into());
        status
    }

    /// For a path that names no resource.
    pub(crate) fn no_such_resource() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(kind, name)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    /// A precondition of a delete that does not hold: here a real server names the kind, not the resource.
    pub(crate) fn delete_conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.kind_and_group());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        const WHY: &str = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, WHY)
    }

    /// Another field manager owns what a server-side apply wants to change.
    pub(crate) fn apply_conflict(message: String, causes: Vec<(String, String)>) -> Self {
        let mut status = Self::new(StatusCode::CONFLICT, "Conflict", message);
        let causes = causes
            .into_iter()
            .map(|(field, message)| json!({"reason": "FieldManagerConflict", "message": message, "field": field}));
        status.details.insert("causes".into(), causes.collect());
        status
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let mut lines: Vec<String> = causes.iter().map(Cause::line).collect();
        lines.dedup();
        let lines = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {lines}", kind.kind_and_group());
        Self::invalid_with(message, kind, &kind.kind, name, causes)
    }

    /// A write without the resourceVersion that it must be based on. Here a real server names the resource, not the
    /// kind, and writes the 0 that it read from the missing value.
    pub(crate) fn version_required(kind: &Kind, name: &str) -> Self {
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        let message = format!("{} \"{name}\" is invalid: {}", kind.resource(), cause.line());
        Self::invalid_with(message, kind, &kind.plural, name, &[cause])
    }

    fn invalid_with(message: String, kind: &Kind, kind_name: &str, name: &str, causes: &[Cause]) -> Self {
        let mut status = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(kind, name);
        let causes =
            causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
        status.details.insert("kind".into(), kind_name.into());
        status.details.insert("causes".into(), causes);
        status
    }

    /// A JSON patch that cannot be carried out; a failed `test` is the common case.
    pub(crate) fn patch_failed() -> Self {
        const TEXT: &str = "the server rejected our request due to an error in our request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", TEXT)
    }

    /// The error for a patch that adds a field which the schema does not know, if the client asked for strict
    /// validation.
    pub(crate) fn strict_patch(object: &Value, unknown: &str) -> Self {
        let cause = Cause::invalid("patch", &Value::String(object.to_string()), unknown);
        let message = format!(" \"\" is invalid: {}", cause.line());
        let mut status = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        let causes = json!([{"reason": cause.reason, "message": cause.message, "field": cause.field}]);
        status.details.insert("causes".into(), causes);
        status
    }

    /// The same for server-side apply. A real server answers with 500 here, as it takes the failure for its own.
    pub(crate) fn untyped_apply(kind: &Kind, namespace: &str, name: &str, unknown: &[String]) -> Self {
        let fields: Vec<String> = unknown.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
        let message = format!(
            "failed to create typed patch object ({namespace}/{name}; {}, Kind={}): {}",
            kind.api_version(),
            kind.kind,
            match fields.as_slice() {
                [one] => one.clone(),
                many => format!("errors:\n  {}", many.join("\n  ")),
            }
        );
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.resource());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(kind, name)
    }

    /// A request that the port refuses before it looks at it.
    pub(crate) fn refused(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", why)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        const TEXT: &str = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", TEXT)
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// A resourceVersion that the event log no longer reaches.
    pub(crate) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// Our own failure, for example a disk that does not take a write.
    pub(crate) fn internal(why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {why}"))
    }

    /// The `Status` object.
    pub(crate) fn to_value(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "details": self.details, "code": self.code.as_u16(),
        })
    }

    pub(crate) fn to_json(&self) -> Bytes {
        self.to_value().to_string().into()
    }
}
