//! The fields of brokers' pods that users may set: where they run and what they may use. The operator alone sets their
//! containers, volumes and security.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The processor time and memory that a broker's container requests, and the limits on both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What a node must have free to run a broker. Absent: 100m of processor time and 256Mi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,
    /// The most that a broker may use. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// An amount of processor time and of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// Processors, such as `2`, or thousandths of one, such as `500m`. Absent: not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?m?$"))]
    pub cpu: Option<String>,
    /// Bytes of memory, such as `4Gi`. Absent: not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub memory: Option<String>,
}

/// Additions to the brokers' pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.labels) || self.labels.all(name, !name.matches('^(ottla.io|app.kubernetes.io|statefulset.kubernetes.io)/'))",
    "message": "labels that begin with ottla.io/, app.kubernetes.io/ or statefulset.kubernetes.io/ are reserved for \
    the operator",
}]))]
pub struct PodTemplate {
    /// Labels in addition to the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "names_and_values")]
    pub labels: BTreeMap<String, String>,
    /// Annotations in addition to the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "names_and_values")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have to run a broker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "names_and_values")]
    pub node_selector: BTreeMap<String, String>,
    /// The node taints that brokers tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Kubernetes' affinity, in addition to the spread over racks and nodes. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "affinity")]
    pub affinity: Option<Affinity>,
    /// How brokers are spread over nodes. Empty: over racks, if `spec.rack` is set, and over nodes, where that is
    /// possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread: Vec<TopologySpread>,
    /// The Secrets with the credentials for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<SecretName>,
    /// The time in seconds that a stopping broker has to hand its partitions over and to close its logs. Absent: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 3600))]
    pub termination_grace_period_seconds: Option<i32>,
    /// The PriorityClass of the pods. Absent: the default of the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// Spreads the brokers of a cluster evenly over the values of a node label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpread {
    /// The node label, such as `kubernetes.io/hostname`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
    /// The largest difference in the number of brokers between two values of the label.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: i32,
    /// Whether a broker that would exceed `maxSkew` runs. Default: ScheduleAnyway.
    #[serde(default, deserialize_with = "crate::words::unsatisfiable")]
    pub when_unsatisfiable: Unsatisfiable,
}

fn one() -> i32 {
    1
}

/// Whether a broker that would exceed `maxSkew` runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unsatisfiable {
    /// The broker runs.
    #[default]
    ScheduleAnyway,
    /// The broker waits for another node.
    DoNotSchedule,
    /// A word of a newer version: no operator of this version builds the cluster.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    Unknown,
}

/// A Secret of the cluster's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

pub(crate) fn names_and_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
    })
}

pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
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
pub(crate) fn affinity(_: &mut SchemaGenerator) -> Schema {
    let of_nodes = requirement(&["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
    let node_term = object(json!({ "matchExpressions": list(of_nodes.clone()), "matchFields": list(of_nodes) }), &[]);
    let selector = label_selector();
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

/// Kubernetes' own schema of a label selector, without its descriptions.
fn label_selector() -> Value {
    object(
        json!({
            "matchLabels": { "type": "object", "maxProperties": 64, "additionalProperties": text() },
            "matchExpressions": list(requirement(&["In", "NotIn", "Exists", "DoesNotExist"])),
        }),
        &[],
    )
}

fn requirement(operators: &[&str]) -> Value {
    let fields = json!({ "key": text(), "operator": one_of(operators), "values": list(text()) });
    object(fields, &["key", "operator"])
}

pub(crate) fn object(properties: Value, required: &[&str]) -> Value {
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
