//! Peers of a NetworkPolicy that Kubernetes refuses, and those that it takes.

use super::*;

const BLOCK: &str = "cidr and except of an ipBlock are blocks of addresses, such as 192.0.2.0/24 or 2001:db8::/64";
const EXCEPT: &str = "each except of an ipBlock lies in its cidr and is smaller";
const VALUES: &str =
    "a requirement with the operator In or NotIn has values, and one with Exists or DoesNotExist has none";
const LABELS: &str = "matchLabels has names of labels, such as app or example.com/app";
const PEER: &str = "a peer has an ipBlock, or a namespaceSelector, a podSelector, or both of these";

fn limited(peer: &Value) -> Value {
    listening(json!({ "name": "apps", "port": 9094, "networkPolicyPeers": [peer] }))
}

#[test]
fn peers_that_kubernetes_refuses_are_refused() {
    let block = |cidr: &str, except: &[&str]| json!({ "ipBlock": { "cidr": cidr, "except": except } });
    let requires = |operator: &str, values: Value| {
        let requirement = with(&json!({ "key": "app", "operator": operator }), json!({ "values": values }));
        json!({ "matchExpressions": [requirement] })
    };
    let pods = |selector: Value| json!({ "podSelector": selector });
    for (peer, expected) in [
        (json!({}), Some(PEER)),
        (json!({ "ipBlock": { "cidr": "192.0.2.0/24" }, "podSelector": {} }), Some(PEER)),
        (json!({ "ipBlock": { "cidr": "192.0.2.0/24" }, "namespaceSelector": {} }), Some(PEER)),
        (pods(json!({})), None),
        (json!({ "podSelector": { "matchLabels": { "app": "a" } }, "namespaceSelector": {} }), None),
        (pods(requires("In", json!(["a", ""]))), None),
        (pods(requires("In", json!([]))), Some(VALUES)),
        (pods(requires("In", json!(null))), Some(VALUES)),
        (pods(requires("NotIn", json!(null))), Some(VALUES)),
        (pods(requires("Exists", json!(["a"]))), Some(VALUES)),
        (pods(requires("Exists", json!([]))), None),
        (pods(requires("DoesNotExist", json!(null))), None),
        (pods(requires("DoesNotExist", json!(["a"]))), Some(VALUES)),
        (json!({ "namespaceSelector": requires("In", json!([])) }), Some(VALUES)),
        (pods(json!({ "matchLabels": { "example.com/app": "" } })), None),
        (pods(json!({ "matchLabels": { "-app": "a" } })), Some(LABELS)),
        (pods(json!({ "matchLabels": { "a/b/c": "a" } })), Some(LABELS)),
        (pods(json!({ "matchLabels": { ("x".repeat(64)): "a" } })), Some(LABELS)),
        (block("192.0.2.0/24", &[]), None),
        (block("0.0.0.0/0", &["10.0.0.0/8", "192.0.2.7/32"]), None),
        (block("2001:db8::/32", &["2001:db8:1::/48"]), None),
        (block("192.0.2.0/99", &[]), Some(BLOCK)),
        (block("192.0.2.0/33", &[]), Some(BLOCK)),
        (block("2001:db8::/129", &[]), Some(BLOCK)),
        (block("192.0.2/24", &[]), Some(BLOCK)),
        (block("300.0.2.0/24", &[]), Some(BLOCK)),
        (block("192.0.2.0/24", &["192.0.2.0/99"]), Some(BLOCK)),
        (block("192.0.2.0/24", &["198.51.100.0/25"]), Some(EXCEPT)),
        (block("192.0.2.0/24", &["192.0.2.0/24"]), Some(EXCEPT)),
        (block("192.0.2.0/24", &["192.0.0.0/16"]), Some(EXCEPT)),
        (block("192.0.2.0/24", &["2001:db8::/64"]), Some(EXCEPT)),
        (block("2001:db8::/32", &["2001:db9::/48"]), Some(EXCEPT)),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(refusals(None, &limited(&peer)), expected, "{peer}");
    }
}

#[test]
fn labels_of_peers_have_names_and_values_as_kubernetes_takes_them() {
    let crds = serde_json::to_value(ottla_crds::all()).unwrap();
    let versions = crds.as_array().unwrap().iter().find(|crd| crd["spec"]["names"]["kind"] == "KafkaCluster").unwrap();
    let spec = &versions["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let peer = &spec["listeners"]["items"]["properties"]["networkPolicyPeers"]["items"]["properties"];
    let selector = &peer["podSelector"]["properties"];
    let requirement = &selector["matchExpressions"]["items"]["properties"];
    let pattern = |field: &Value| regex::Regex::new(field["pattern"].as_str().unwrap()).unwrap();
    let (name, value) = (pattern(&requirement["key"]), pattern(&requirement["values"]["items"]));
    assert_eq!(value.as_str(), selector["matchLabels"]["additionalProperties"]["pattern"].as_str().unwrap());
    for (text, is_name, is_value) in [
        ("app", true, true),
        ("app.kubernetes.io/name", true, false),
        ("Team_1", true, true),
        ("", false, true),
        ("-a", false, false),
        ("a.", false, false),
        ("a b", false, false),
        ("Example.com/app", false, false),
        (&"x".repeat(63), true, true),
        (&"x".repeat(64), false, false),
    ] {
        assert_eq!((name.is_match(text), value.is_match(text)), (is_name, is_value), "{text:?}");
    }
}
