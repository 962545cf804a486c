//! JSON patch (RFC 6902) and merge patch (RFC 7386). Server-side apply is a subject of its own: [`crate::apply`].

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::kind::Kind;
use crate::request::json;
use crate::status::Status;

/// The object after the patch. `current` stays as it is: a patch happens as a whole or not at all.
pub(crate) fn patched(kind: &Kind, content_type: &str, current: &Value, body: &[u8]) -> Result<Value, Status> {
    let mut object = current.clone();
    match content_type {
        "application/json-patch+json" => {
            let patch: Patch = serde_json::from_slice(body)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
            for operation in patch.0 {
                json_patch(&mut object, operation)?;
            }
        }
        "application/merge-patch+json" => json_patch::merge(&mut object, &json(body)?),
        // For Kubernetes' own kinds kubectl sends strategic patches. Without a directive they merge maps as a merge
        // patch does; lists in the kinds served here are replaced, which is what a directive would deny.
        "application/strategic-merge-patch+json" if !kind.custom() => {
            let patch = json(body)?;
            if has_directive(&patch) {
                return Err(Status::unsupported_media_type("directives in strategic merge patches are not supported"));
            }
            json_patch::merge(&mut object, &patch);
        }
        _ => {
            return Err(Status::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            ));
        }
    }
    Ok(object)
}

fn json_patch(object: &mut Value, operation: PatchOperation) -> Result<(), Status> {
    // A real server (evanphx/json-patch) takes a missing value for null here, and kube's finalizer() counts on it.
    if let PatchOperation::Test(test) = &operation
        && test.value.is_null()
        && test.path.resolve(object).is_err()
    {
        return Ok(());
    }
    json_patch::patch(object, &[operation]).map_err(|_| Status::patch_failed())
}

fn has_directive(patch: &Value) -> bool {
    match patch {
        Value::Object(fields) => fields.iter().any(|(name, value)| name.starts_with('$') || has_directive(value)),
        Value::Array(items) => items.iter().any(has_directive),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Kinds;

    #[test]
    fn json_patches_happen_as_a_whole_or_not_at_all() {
        let kinds = Kinds::new(Vec::new()).unwrap();
        let lease = kinds.find("coordination.k8s.io", "v1", "leases").unwrap();
        let object = json!({"metadata": {"name": "a"}, "spec": {"epoch": 3}});
        let run = |patch: Value| patched(lease, "application/json-patch+json", &object, patch.to_string().as_bytes());
        let test_null_of_nothing = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["x"]},
        ]);
        assert_eq!(run(test_null_of_nothing).unwrap()["metadata"]["finalizers"], json!(["x"]));
        let failing_test = json!([
            {"op": "replace", "path": "/spec/epoch", "value": 4},
            {"op": "test", "path": "/spec/epoch", "value": 3},
        ]);
        assert_eq!(run(failing_test).unwrap_err(), Status::patch_failed());
        assert_eq!(run(json!([{"op": "remove", "path": "/spec/nothing"}])).unwrap_err(), Status::patch_failed());
    }
}
