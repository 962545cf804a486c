//! The peers of a NetworkPolicy, as listeners name them: Kubernetes' own schema without its descriptions, and those of
//! its rules that a definition can state.
//!
//! What Kubernetes 1.34 refuses is refused here, except a label whose DNS prefix has more than 253 characters; a later
//! version may refuse more, and clusters from before these rules keep what they have. Addresses that Kubernetes takes
//! with a warning, such as 010.0.0.0/8, are refused here.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::pod_template::object;

/// The name of a label, of which the prefix is a DNS name.
const NAME: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
                    [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
/// The value of a label.
const VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$";

pub(crate) fn peers(_: &mut SchemaGenerator) -> Schema {
    let mut peer = object(
        json!({ "ipBlock": ip_block(), "namespaceSelector": label_selector(), "podSelector": label_selector() }),
        &[],
    );
    peer["x-kubernetes-validations"] = json!([{
        "rule": "has(self.ipBlock) != (has(self.namespaceSelector) || has(self.podSelector))",
        "message": "a peer has an ipBlock, or a namespaceSelector, a podSelector, or both of these",
    }]);
    json_schema!({ "type": "array", "minItems": 1, "maxItems": 32, "items": peer })
}

fn ip_block() -> Value {
    let cidr = json!({ "type": "string", "maxLength": 49, "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$" });
    let except = json!({ "type": "array", "maxItems": 32, "items": cidr });
    let mut block = object(json!({ "cidr": cidr, "except": except }), &["cidr"]);
    block["x-kubernetes-validations"] = json!([
        {
            "rule": "isCIDR(self.cidr) && (!has(self.except) || self.except.all(e, isCIDR(e)))",
            "message": "cidr and except of an ipBlock are blocks of addresses, such as 192.0.2.0/24 or 2001:db8::/64",
        },
        {
            "rule": "!isCIDR(self.cidr) || !has(self.except) || self.except.all(e, !isCIDR(e) \
                     || (cidr(self.cidr).containsCIDR(e) && cidr(e).prefixLength() > cidr(self.cidr).prefixLength()))",
            "message": "each except of an ipBlock lies in its cidr and is smaller",
        },
    ]);
    block
}

fn label_selector() -> Value {
    let mut requirement = object(
        json!({
            "key": { "type": "string", "maxLength": 317, "pattern": NAME },
            "operator": { "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"] },
            "values": { "type": "array", "maxItems": 32, "items": value() },
        }),
        &["key", "operator"],
    );
    requirement["x-kubernetes-validations"] = json!([{
        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
        "message": "a requirement with the operator In or NotIn has values, and one with Exists or DoesNotExist has none",
    }]);
    let mut labels = json!({ "type": "object", "maxProperties": 64, "additionalProperties": value() });
    labels["x-kubernetes-validations"] = json!([{
        "rule": format!("self.all(name, name.matches('{NAME}'))"),
        "message": "matchLabels has names of labels, such as app or example.com/app",
    }]);
    let expressions = json!({ "type": "array", "maxItems": 32, "items": requirement });
    object(json!({ "matchLabels": labels, "matchExpressions": expressions }), &[])
}

fn value() -> Value {
    json!({ "type": "string", "maxLength": 63, "pattern": VALUE })
}
