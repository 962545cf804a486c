//! What users may say about brokers' pods: where they run and what they may use. Nothing that would make a broker
//! another program: its containers, volumes and security are the operator's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a broker's container asks for and may use at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What a node must have free to take a broker; by default 100m of a processor and 256Mi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,
    /// What a broker may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// Processor and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// Processors, as in `2` or `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?m?$"))]
    pub cpu: Option<String>,
    /// Memory, as in `4Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub memory: Option<String>,
}

/// What is added to brokers' pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.labels) || self.labels.all(name, !name.matches('^(ottla.io|app.kubernetes.io|statefulset.kubernetes.io)/'))",
    "message": "labels that begin with ottla.io/, app.kubernetes.io/ or statefulset.kubernetes.io/ are the operator's",
}]))]
pub struct PodTemplate {
    /// Labels besides the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "names_and_values")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "names_and_values")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "names_and_values")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that brokers tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Kubernetes' affinity, beyond the spread over racks and nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "affinity")]
    pub affinity: Option<Affinity>,
    /// How brokers spread over nodes; by default over racks, if there is a rack key, and over nodes, as well as can be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread: Vec<TopologySpread>,
    /// Secrets with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<SecretName>,
    /// How long a broker has to hand over what it leads and to close its logs when it is told to stop; by default 60
    /// seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 3600))]
    pub termination_grace_period_seconds: Option<i32>,
    /// The pods' priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// The brokers of a cluster spread evenly over the values of a node label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpread {
    /// The nodes' label.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
    /// By how many brokers two of its values may differ.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: i32,
    /// What becomes of a broker that would break the rule.
    #[serde(default)]
    pub when_unsatisfiable: Unsatisfiable,
}

fn one() -> i32 {
    1
}

/// What becomes of a broker that would break a rule of spreading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unsatisfiable {
    /// It runs all the same.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}

/// A Secret of the cluster's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn names_and_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
    })
}

fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": object(json!({
            "key": text(),
            "operator": one_of(&["Exists", "Equal"]),
            "value": text(),
            "effect": one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"]),
            "tolerationSeconds": { "type": "integer" },
        }), &[]),
    })
}

/// Kubernetes' own schema of an affinity, without its pages of description.
fn affinity(_: &mut SchemaGenerator) -> Schema {
    let requirement = |operators: &[&str]| {
        let fields = json!({ "key": text(), "operator": one_of(operators), "values": list(text()) });
        object(fields, &["key", "operator"])
    };
    let of_nodes = requirement(&["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
    let node_term = object(json!({ "matchExpressions": list(of_nodes.clone()), "matchFields": list(of_nodes) }), &[]);
    let selector = object(
        json!({
            "matchLabels": { "type": "object", "maxProperties": 64, "additionalProperties": text() },
            "matchExpressions": list(requirement(&["In", "NotIn", "Exists", "DoesNotExist"])),
        }),
        &[],
    );
    let pod_term = object(
        json!({
            "labelSelector": selector,
            "namespaceSelector": selector,
            "namespaces": list(text()),
            "topologyKey": text(),
        }),
        &["topologyKey"],
    );
    let weighted = |name: &str, term: &Value| {
        let weight = json!({ "type": "integer", "minimum": 1, "maximum": 100 });
        object(json!({ "weight": weight, name: term }), &["weight", name])
    };
    let of_pods = object(
        json!({
            "requiredDuringSchedulingIgnoredDuringExecution": list(pod_term.clone()),
            "preferredDuringSchedulingIgnoredDuringExecution": list(weighted("podAffinityTerm", &pod_term)),
        }),
        &[],
    );
    let required = object(json!({ "nodeSelectorTerms": list(node_term.clone()) }), &["nodeSelectorTerms"]);
    let node_affinity = object(
        json!({
            "requiredDuringSchedulingIgnoredDuringExecution": required,
            "preferredDuringSchedulingIgnoredDuringExecution": list(weighted("preference", &node_term)),
        }),
        &[],
    );
    let fields = json!({ "nodeAffinity": node_affinity, "podAffinity": of_pods, "podAntiAffinity": of_pods });
    json_schema!({ "type": "object", "properties": fields })
}

fn object(properties: Value, required: &[&str]) -> Value {
    if required.is_empty() {
        json!({ "type": "object", "properties": properties })
    } else {
        json!({ "type": "object", "properties": properties, "required": required })
    }
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "maxItems": 32, "items": items })
}

fn text() -> Value {
    json!({ "type": "string", "maxLength": 316 })
}

fn one_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}
