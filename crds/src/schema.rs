//! The parts that the schemas of the kinds share: conditions, references, and what is removed from generated
//! CRDs.
//!
//! Always: `crds/*.yaml` is what `all()` returns.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{KafkaAssignment, KafkaCluster, KafkaTopic, KafkaUser};

/// The API group of every kind.
pub const GROUP: &str = "ottla.io";
/// The API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// The `KafkaCluster`, in the same namespace, that an object belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// The KafkaCluster's name.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
}

/// The CustomResourceDefinitions of all kinds.
pub fn all() -> Vec<CustomResourceDefinition> {
    [KafkaCluster::crd(), KafkaTopic::crd(), KafkaUser::crd(), KafkaAssignment::crd()].into_iter().map(slim).collect()
}

/// Removes `format`, except of times: Kubernetes does not know Rust's formats, and the schema has bounds anyway.
/// Removes `nullable`: null would be a second way to leave a field unset, which every CEL rule would have to know.
fn slim(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(object) => {
                if object.get("format").is_some_and(|format| format.is_string() && format != "date-time") {
                    object.remove("format");
                }
                if object.get("nullable").is_some_and(Value::is_boolean) {
                    object.remove("nullable");
                }
                object.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut value = serde_json::to_value(crd).expect("a CRD is JSON");
    strip(&mut value);
    serde_json::from_value(value).expect("a CRD without formats is a CRD")
}

/// The schema of `status.conditions`: Kubernetes' own, without its paragraphs of description.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024 },
                "message": { "type": "string", "maxLength": 32768 },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "observedGeneration": { "type": "integer", "minimum": 0 },
            },
        },
    })
}

/// The schema of settings by Kafka's names.
pub(crate) fn config(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 200,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
    })
}
