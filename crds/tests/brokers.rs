//! What the admission policy of the chart lets brokers write: its expressions, evaluated as the API server does.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use std::collections::HashMap;
use std::path::Path;

use kube::core::cel::KubeCelExt;
use kube::core::cel::cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::{Value, json};

/// The fields of a KafkaCluster's spec that brokers are asked to change on the wire.
const WRITABLE: [&str; 4] = ["config", "defaults", "groups", "quotas"];

/// The part of the policy that has no template in it: variables and validations.
fn policy() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/ottla/templates/admission.yaml");
    let template = std::fs::read_to_string(path).unwrap();
    let (_, policy) = template.split_once("\n  variables:\n").unwrap();
    let (policy, _) = policy.split_once("\n---\n").unwrap();
    serde_yaml::from_str(&format!("  variables:\n{policy}")).unwrap()
}

/// JSON as the API server shows it to expressions: its whole numbers have a sign.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => Cel::Int(number.as_i64().unwrap()),
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => values.iter().map(cel).collect::<Vec<Cel>>().into(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), cel(value))).collect::<HashMap<String, Cel>>().into()
        }
    }
}

/// A request of the brokers of the cluster `prod`.
struct Request<'a> {
    operation: &'a str,
    /// Of KafkaClusters, say, or `kafkaclusters/status`.
    resource: &'a str,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

impl Request<'_> {
    fn update<'a>(resource: &'a str, before: &'a Value, after: &'a Value) -> Request<'a> {
        Request { operation: "UPDATE", resource, before: Some(before), after: Some(after) }
    }

    /// Why it is denied; empty: it is not.
    fn denials(&self, policy: &Value) -> Vec<String> {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let mut request = json!({
            "operation": self.operation, "namespace": "kafka", "name": "prod",
            "resource": { "group": "ottla.io", "version": "v1alpha1", "resource": resource },
            "userInfo": { "username": "system:serviceaccount:kafka:prod-broker" },
        });
        if !subresource.is_empty() {
            request["subResource"] = json!(subresource);
        }
        let mut context = Context::default().with_all();
        context.add_function("dyn", |value: Cel| Ok::<Cel, ExecutionError>(value));
        context.add_variable("request", request).unwrap();
        context.add_variable_from_value("object", self.after.map_or(Cel::Null, cel));
        context.add_variable_from_value("oldObject", self.before.map_or(Cel::Null, cel));
        let run = |text: &Value, context: &Context<'_>| {
            let text = text.as_str().unwrap();
            let value = Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}")).execute(context);
            value.unwrap_or_else(|error| panic!("{text}: {error}"))
        };
        let mut variables = HashMap::new();
        for variable in policy["variables"].as_array().unwrap() {
            let value = run(&variable["expression"], &context);
            variables.insert(variable["name"].as_str().unwrap().to_owned(), value);
            context.add_variable_from_value("variables", variables.clone());
        }
        let validations = policy["validations"].as_array().unwrap().iter();
        let denied = validations.filter(|validation| run(&validation["expression"], &context) != Cel::Bool(true));
        denied
            .map(|validation| match validation.get("messageExpression") {
                Some(text) => format!("{:?}", run(text, &context)),
                None => validation["message"].to_string(),
            })
            .collect()
    }
}

/// The names of the fields at this path of a kind.
fn fields(kind: &str, path: &str) -> Vec<String> {
    let crd = ottla_crds::all().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
    let properties = schema["openAPIV3Schema"].pointer(path).unwrap()["properties"].as_object().unwrap();
    properties.keys().cloned().collect()
}

/// `object` with one field set, or without it.
fn with(object: &Value, path: &str, field: &str, value: Option<Value>) -> Value {
    let mut object = object.clone();
    let parent = object.pointer_mut(path).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(field.to_owned(), value)),
        None => drop(parent.remove(field)),
    }
    object
}

fn cluster() -> Value {
    json!({
        "metadata": { "name": "prod", "finalizers": ["ottla.io/cluster"] },
        "spec": { "brokers": { "replicas": 3 }, "listeners": [{ "name": "internal", "port": 9092 }] },
        "status": { "replicas": 3 },
    })
}

/// A field that somebody adds is closed to brokers until it is in the policy and in this test.
#[test]
fn a_broker_changes_settings_of_its_cluster_and_nothing_else() {
    let policy = policy();
    let mut looked_at = 0;
    for (resource, path, schema, writable) in [
        ("kafkaclusters", "/spec", "/properties/spec", &WRITABLE[..]),
        ("kafkaclusters", "/spec/brokers", "/properties/spec/properties/brokers", &[]),
        ("kafkaclusters/status", "/status", "/properties/status", &["nextProducerIdBlock"]),
    ] {
        for field in fields("KafkaCluster", schema) {
            // Both have rules of their own, below and in the policy.
            if (path, field.as_str()) == ("/spec", "brokers")
                || (path, field.as_str()) == ("/spec/brokers", "overrides")
            {
                continue;
            }
            let value =
                |number: i64| if field == "nextProducerIdBlock" { json!(number) } else { json!({ "x": number }) };
            let (without, first) =
                (with(&cluster(), path, &field, None), with(&cluster(), path, &field, Some(value(1000))));
            let second = with(&cluster(), path, &field, Some(value(2000)));
            let may =
                |before: &Value, after: &Value| Request::update(resource, before, after).denials(&policy).is_empty();
            assert!(may(&first, &first), "{field} stays");
            let is_writable = writable.contains(&field.as_str());
            assert_eq!(may(&first, &second), is_writable, "{field} changes");
            assert_eq!(may(&without, &first), is_writable, "{field} is added");
            // Producer ids are never taken back.
            assert_eq!(may(&first, &without), is_writable && path != "/status", "{field} is removed");
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "{looked_at}");
    let block = |number: i64| with(&cluster(), "/status", "nextProducerIdBlock", Some(json!(number)));
    let fallen = (block(2000), block(1000));
    let denied = Request::update("kafkaclusters/status", &fallen.0, &fallen.1).denials(&policy);
    assert!(denied[0].contains("change nothing of the status but nextProducerIdBlock"), "{denied:?}");
    // The first block of a new cluster.
    let (new, mut taken) = (with(&cluster(), "", "status", None), cluster());
    taken["status"] = json!({ "nextProducerIdBlock": 1000 });
    assert_eq!(Request::update("kafkaclusters/status", &new, &taken).denials(&policy), [""; 0]);
    // One write does not take all the ids there are, neither from a first block nor from a later one.
    for (before, base) in [(&new, 0), (&cluster(), 0), (&block(-5), 0), (&block(2000), 2000)] {
        let may = |number: i64| {
            let mut after = before.clone();
            after["status"]["nextProducerIdBlock"] = json!(number);
            Request::update("kafkaclusters/status", before, &after).denials(&policy).is_empty()
        };
        assert!(may(base + 1_000_000_000_000), "{before}");
        assert!(!may(base + 1_000_000_000_001) && !may(i64::MAX), "{before}");
    }
    for operation in ["CREATE", "DELETE"] {
        let cluster = cluster();
        let (before, after) = if operation == "CREATE" { (None, Some(&cluster)) } else { (Some(&cluster), None) };
        let request = Request { operation, resource: "kafkaclusters", before, after };
        assert!(!request.denials(&policy).is_empty(), "{operation}");
    }
}

#[test]
fn a_broker_changes_settings_of_brokers_and_not_what_is_wanted_of_them() {
    let policy = policy();
    let ordered = |overrides: Value| with(&cluster(), "/spec/brokers", "overrides", Some(overrides));
    let drained = ordered(json!([{ "broker": 1, "state": "Drained" }]));
    let set = json!({ "broker": 2, "config": { "log.retention.ms": "1" } });
    let may = |after: &Value| Request::update("kafkaclusters", &drained, after).denials(&policy).is_empty();
    assert!(may(&ordered(json!([{ "broker": 1, "state": "Drained" }, set]))));
    assert!(!may(&ordered(json!([set]))));
    assert!(!may(&ordered(json!([{ "broker": 1, "state": "Fresh", "volume": "u" }]))));
}

#[test]
fn a_broker_gives_no_object_an_owner_and_takes_no_finalizer_away() {
    let policy = policy();
    let owner = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u" }]);
    for resource in ["kafkaclusters", "kafkatopics", "kafkausers", "kafkaassignments"] {
        let spec = if resource == "kafkaclusters" {
            cluster()["spec"].clone()
        } else {
            json!({ "clusterRef": { "name": "prod" } })
        };
        let object = json!({ "metadata": { "name": "prod", "finalizers": ["ottla.io/x"] }, "spec": spec });
        let owned = with(&object, "/metadata", "ownerReferences", Some(owner.clone()));
        let unfinished = with(&object, "/metadata", "finalizers", None);
        for (before, after, may) in [
            (&object, &object, true),
            (&owned, &owned, true),
            (&object, &owned, false),
            (&owned, &object, false),
            (&object, &unfinished, false),
            (&unfinished, &object, false),
        ] {
            let denied = Request::update(resource, before, after).denials(&policy);
            assert_eq!(denied.is_empty(), may, "{resource}: {denied:?}");
        }
    }
    let topic = json!({ "metadata": { "name": "t", "finalizers": ["ottla.io/topic"] }, "spec": { "clusterRef": { "name": "prod" } } });
    let create = |resource: &str, object: &Value| {
        Request { operation: "CREATE", resource, before: None, after: Some(object) }.denials(&policy).is_empty()
    };
    assert!(create("kafkatopics", &topic));
    assert!(create("kafkausers", &with(&topic, "/metadata", "finalizers", None)));
    assert!(!create("kafkausers", &topic));
    assert!(!create("kafkatopics", &with(&topic, "/metadata", "finalizers", Some(json!(["theirs/1"])))));
    assert!(!create("kafkatopics", &with(&topic, "/metadata", "ownerReferences", Some(owner))));
}
