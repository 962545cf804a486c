//! The kinds' definitions, and what is removed from what Rust's types generate.
//!
//! Always: `crds/*.yaml` is what `all()` returns, and the label of each has the number of the contract.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{KafkaAssignment, KafkaCluster, KafkaRebalance, KafkaTopic, KafkaUser, names};

/// The number of the contract: 1 more whenever a field or a word is added. An operator that finds a lower one on a
/// definition knows that the API server drops fields that the operator writes.
pub const CONTRACT: u32 = 5;

/// The CustomResourceDefinitions of all kinds.
pub fn all() -> Vec<CustomResourceDefinition> {
    let kinds =
        [KafkaCluster::crd(), KafkaTopic::crd(), KafkaUser::crd(), KafkaRebalance::crd(), KafkaAssignment::crd()];
    kinds.into_iter().map(slim).map(numbered).collect()
}

fn numbered(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.metadata.labels.get_or_insert_default().insert(names::CONTRACT_LABEL.to_owned(), CONTRACT.to_string());
    crd
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
