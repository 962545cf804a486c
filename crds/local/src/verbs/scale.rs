//! The scale subresource: one number of an object, for `kubectl scale` and autoscalers.

use serde_json::{Value, json};

use crate::cause::Cause;
use crate::kind::Kind;
use crate::object::{as_map, at, field_mut, metadata};
use crate::status::Status;

/// The `Scale` of an object.
pub(super) fn of(kind: &Kind, object: &Value) -> Value {
    let number = |path: &str| at(object, path).and_then(Value::as_i64).unwrap_or_default();
    let (spec, status) = kind
        .scale
        .as_ref()
        .map_or((0, 0), |scale| (number(&scale.spec_replicas_path), number(&scale.status_replicas_path)));
    let selector = kind.scale.as_ref().and_then(|scale| scale.label_selector_path.as_deref());
    let selector = selector.and_then(|path| at(object, path)).cloned();
    let mut status = json!({"replicas": status});
    if let Some(selector) = selector {
        as_map(&mut status).insert("selector".into(), selector);
    }
    let metadata: Value = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .iter()
        .map(|field| ((*field).to_owned(), json!(metadata(object, field))))
        .collect();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": spec}, "status": status,
    })
}

/// The object with the number that `scale` asks for.
pub(super) fn scaled(kind: &Kind, object: &Value, scale: &Value) -> Result<Value, Status> {
    let name = metadata(object, "name");
    let path = kind.scale.as_ref().map(|scale| scale.spec_replicas_path.as_str()).unwrap_or_default();
    let replicas = at(scale, "spec.replicas").cloned().unwrap_or(json!(0));
    if replicas.as_i64().is_none_or(|replicas| replicas < 0) {
        let cause = Cause::invalid("spec.replicas", &replicas, "must be greater than or equal to 0");
        return Err(Status::invalid(kind, name, &[cause]));
    }
    let mut scaled = object.clone();
    let mut steps: Vec<&str> = path.split('.').filter(|step| !step.is_empty()).collect();
    let last = steps.pop().unwrap_or("replicas");
    let parent = steps.into_iter().fold(as_map(&mut scaled), |map, step| field_mut(map, step));
    parent.insert(last.to_owned(), replicas);
    let version = metadata(scale, "resourceVersion");
    if !version.is_empty() {
        crate::object::metadata_mut(&mut scaled).insert("resourceVersion".into(), version.into());
    }
    Ok(scaled)
}
