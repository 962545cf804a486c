//! What the CEL rules refuse, and in which words.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

#[path = "admission/peers.rs"]
mod peers;

use kube::core::cel::Validator;
use serde_json::{Value, json};

/// The sentences with which `new` in the place of `old` is refused.
fn refusals(old: Option<&Value>, new: &Value) -> Vec<String> {
    let crd = ottla_crds::all().into_iter().find(|crd| new["kind"] == crd.spec.names.kind.as_str()).unwrap();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let schema = serde_json::to_value(schema).unwrap();
    match Validator::new().validate(&schema, new, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

/// `object` with some fields replaced or, where `null`, removed.
fn with(object: &Value, changes: Value) -> Value {
    fn merge(target: &mut Value, changes: Value) {
        let Value::Object(changes) = changes else {
            *target = changes;
            return;
        };
        for (key, change) in changes {
            if change.is_null() {
                target.as_object_mut().unwrap().remove(&key);
            } else {
                merge(&mut target[key], change);
            }
        }
    }
    let mut object = object.clone();
    merge(&mut object, changes);
    object
}

fn topic() -> Value {
    json!({
        "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaTopic", "metadata": { "name": "orders" },
        "spec": { "clusterRef": { "name": "prod" }, "partitions": 12, "replicationFactor": 3, "deletionPolicy": "Delete" },
        "status": { "partitions": 12 },
    })
}

fn cluster() -> Value {
    json!({
        "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster", "metadata": { "name": "prod" },
        "spec": {
            "brokers": { "replicas": 3, "storage": { "size": "100Gi", "storageClassName": "fast" } },
            "listeners": [
                { "name": "internal", "port": 9092, "type": "internal" },
                { "name": "external", "port": 9094, "type": "nodePort", "insecure": true },
            ],
            "defaults": { "partitions": 12, "replicationFactor": 3, "minInSyncReplicas": 2 },
            "paused": false,
            "deletionPolicy": "Retain",
        },
    })
}

fn user() -> Value {
    json!({
        "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaUser", "metadata": { "name": "orders" },
        "spec": {
            "clusterRef": { "name": "prod" },
            "authentication": { "type": "scram" },
            "quotas": { "producerByteRate": 1_048_576, "clients": [{ "clientId": "app", "consumerByteRate": 4096 }] },
        },
    })
}

/// A cluster with this listener beside its internal one.
fn listening(listener: Value) -> Value {
    let internal = json!({ "name": "internal", "port": 9092, "type": "internal" });
    with(&cluster(), json!({ "spec": { "listeners": [internal, listener] } }))
}

fn entry(partition: i32) -> Value {
    json!({
        "partition": partition, "replicas": [0, 1, 2], "leader": 0, "leaderEpoch": 5, "partitionEpoch": 7,
        "isr": [{ "broker": 0, "incarnation": 10 }, { "broker": 1, "incarnation": 11 }],
    })
}

fn assignment() -> Value {
    json!({
        "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaAssignment", "metadata": { "name": "orders.1.0" },
        "spec": {
            "clusterRef": { "name": "prod" }, "topicName": "orders", "topicId": "8c8d9f0e-0b0c-4b9b-9c6a-9b0a6f1d2e3f",
            "first": 64, "partitions": [entry(64), entry(65)],
        },
    })
}

#[test]
fn what_can_be_seen_to_be_wrong_is_refused_when_it_is_created() {
    for (new, sentence) in [
        (with(&topic(), json!({ "spec": { "topicName": ".." } })), "topicName can not be '.' or '..'"),
        (
            with(&topic(), json!({ "metadata": { "name": "x".repeat(250) } })),
            "a topic's name has at most 249 characters: set spec.topicName",
        ),
        (
            with(&cluster(), json!({ "metadata": { "name": "prod.eu" } })),
            "a cluster's name has at most 40 lower-case letters, digits and dashes and starts with a letter",
        ),
        (
            with(&cluster(), json!({ "spec": { "defaults": { "replicationFactor": 4 } } })),
            "defaults.replicationFactor can not be more than the number of brokers (brokers.replicas, and replicas of pools)",
        ),
        (
            with(&cluster(), json!({ "spec": { "defaults": { "replicationFactor": 1 } } })),
            "minInSyncReplicas can not be more than replicationFactor",
        ),
        (
            with(&cluster(), json!({ "spec": { "defaults": { "replicationFactor": null } } })),
            "defaults.minInSyncReplicas can not be more than defaults.replicationFactor, which is 1 if it is not set",
        ),
        (
            with(&cluster(), json!({ "spec": { "config": { "num.partitions": "6" } } })),
            "defaults.partitions and num.partitions in config differ: set only one of them",
        ),
        (
            with(&cluster(), json!({ "spec": { "config": { "default.replication.factor": "2" } } })),
            "defaults.replicationFactor and default.replication.factor in config differ: set only one of them",
        ),
        (
            with(&cluster(), json!({ "spec": { "config": { "min.insync.replicas": "1" } } })),
            "defaults.minInSyncReplicas and min.insync.replicas in config differ: set only one of them",
        ),
        (
            with(
                &cluster(),
                json!({ "spec": { "listeners": [{ "name": "a", "port": 9092 }, { "name": "b", "port": 9092 }] } }),
            ),
            "listeners must have different ports",
        ),
        (
            with(
                &cluster(),
                json!({ "spec": { "listeners": [{ "name": "internal", "port": 9404, "type": "internal" }] } }),
            ),
            "no listener can have port 9404 or the name http: brokers serve metrics and probes on that port",
        ),
        (
            with(
                &cluster(),
                json!({ "metadata": { "name": "x".repeat(40) }, "spec": { "listeners": [
                    { "name": "internal", "port": 9092, "type": "internal" },
                    { "name": "from-outside", "port": 9094, "type": "nodePort", "insecure": true },
                ] } }),
            ),
            "the name of a listener that is not internal and the cluster's name have at most 51 characters together",
        ),
        (
            with(
                &cluster(),
                json!({ "spec": { "brokers": { "podTemplate": { "labels": { "ottla.io/cluster": "other" } } } } }),
            ),
            "labels that begin with ottla.io/, app.kubernetes.io/ or statefulset.kubernetes.io/ are reserved for the \
            operator",
        ),
        (
            with(&assignment(), json!({ "spec": { "partitions": [entry(64), entry(128)] } })),
            "the partitions of the entries must be first, first + 1, and so on",
        ),
        (
            with(&assignment(), json!({ "spec": { "partitions": [entry(64), entry(66), entry(65), entry(67)] } })),
            "the partitions of the entries must be first, first + 1, and so on",
        ),
        (
            with(&assignment(), json!({ "spec": { "partitions": [entry(65), entry(66)] } })),
            "the partitions of the entries must be first, first + 1, and so on",
        ),
        (
            with(&assignment(), json!({ "spec": { "partitions": [with(&entry(64), json!({ "leader": 3 }))] } })),
            "leader, isr, adding and removing must be among the replicas",
        ),
        (
            with(&assignment(), json!({ "spec": { "partitions": [with(&entry(64), json!({ "adding": [9] }))] } })),
            "leader, isr, adding and removing must be among the replicas",
        ),
    ] {
        assert_eq!(refusals(None, &new), [sentence], "{new}");
    }
}

#[test]
fn users_and_listeners_that_make_no_sense_are_refused() {
    for (new, sentence) in [
        (
            with(&user(), json!({ "spec": { "principalName": "*" } })),
            "the user '*' is everybody and can not authenticate: remove authentication",
        ),
        (
            with(&user(), json!({ "spec": { "principalName": "User:orders" } })),
            "principalName is the name alone: leave out 'User:'",
        ),
        (
            with(&cluster(), json!({ "spec": { "authorization": { "superUsers": ["admin", "User:root"] } } })),
            "superUsers lists names without 'User:'",
        ),
        (
            with(&user(), json!({ "spec": { "authentication": { "validityDays": 30 } } })),
            "only a user of type tls has validityDays and renewalDays",
        ),
        (
            with(
                &user(),
                json!({ "spec": { "authentication": {
                "type": "tls", "password": { "valueFrom": { "secretKeyRef": { "name": "pw", "key": "password" } } }
            } } }),
            ),
            "only a user of type scram has a password",
        ),
        (
            with(
                &user(),
                json!({ "spec": { "authentication": { "type": "tls", "validityDays": 30, "renewalDays": 30 } } }),
            ),
            "renewalDays must be less than validityDays",
        ),
        (
            with(
                &user(),
                json!({ "spec": { "authorization": { "acls": [
                { "resource": "cluster", "name": "prod", "operations": ["Alter"] }
            ] } } }),
            ),
            "the only resource of type cluster is kafka-cluster, with pattern literal",
        ),
        (
            listening(json!({ "name": "apps", "port": 9094, "type": "loadBalancer", "tls": {} })),
            "a listener outside of the Kubernetes cluster needs tls and authentication, or insecure: true",
        ),
        (
            listening(json!({ "name": "apps", "port": 9094, "authentication": [{ "type": "scram-sha-512" }] })),
            "passwords without TLS can be guessed by everybody who reads along: add tls: {}, or insecure: true",
        ),
        (
            listening(
                json!({ "name": "apps", "port": 9094, "insecure": true, "authentication": [{ "type": "plain" }] }),
            ),
            "authentication by plain, oauthbearer or tls needs TLS: add tls: {}",
        ),
        (
            with(
                &listening(json!({ "name": "apps", "port": 9094, "networkPolicyPeers": [{ "podSelector": {} }] })),
                json!({ "spec": { "brokers": { "storage": null } } }),
            ),
            "networkPolicyPeers are not for a laptop, which has no NetworkPolicies",
        ),
        (
            listening(json!({ "name": "apps", "port": 9094, "tls": {}, "authentication": [
                { "type": "tls" }, { "type": "plain" }
            ] })),
            "authentication of type tls stands alone: give other mechanisms a listener of their own",
        ),
        (
            listening(
                json!({ "name": "apps", "port": 9094, "tls": {}, "authentication": [{ "type": "oauthbearer" }] }),
            ),
            "oauthbearer, and nothing else, needs issuers",
        ),
        (
            listening(json!({ "name": "apps", "port": 9094, "tls": {}, "authentication": [
                { "type": "oauthbearer", "issuers": [{ "audience": "kafka" }] }
            ] })),
            "an issuer is kubernetes, or has issuer and jwksUrl",
        ),
        (
            listening(json!({ "name": "apps", "port": 9094, "tls": {}, "authentication": [
                { "type": "oauthbearer", "issuers": [
                    { "kubernetes": {}, "audience": "kafka" },
                    { "issuer": "a", "jwksUrl": "https://a", "audience": "kafka" },
                ] }
            ] })),
            "users of two issuers may have the same name: set principalPrefix of each issuer but kubernetes",
        ),
        (of_kubernetes("https://kubernetes.default.svc.cluster.local"), API_SERVERS),
        (of_kubernetes("https://kubernetes.default.svc"), API_SERVERS),
        (of_kubernetes("kubernetes.default"), API_SERVERS),
        // What API servers of these distributions take beside their name.
        (of_kubernetes("k3s"), API_SERVERS),
        (of_kubernetes("rke2"), API_SERVERS),
        (
            listening(json!({ "name": "apps", "port": 9094, "tls": {}, "authentication": [
                { "type": "tls", "principalMappingRules": "DEFAULT" }
            ] })),
            "principalMappingRules need tls.secretRef or tls.issuerRef: ca.crt of the Secret is the authority whose \
             certificates they map",
        ),
        (
            listening(json!({ "name": "apps", "port": 9091 })),
            "no listener can have port 9091 or the name replication: brokers reach each other on that port",
        ),
    ] {
        let refusals = refusals(None, &new);
        assert!(refusals.iter().any(|refusal| refusal == sentence), "{new}: {refusals:?}");
    }
}

const API_SERVERS: &str = "brokers could use tokens for the audience of the API server there, as the clients that sent \
                           them: choose another audience, such as kafka, and request tokens for that";

/// A cluster that takes tokens of ServiceAccounts for this audience.
fn of_kubernetes(audience: &str) -> Value {
    let issuers = json!([{ "kubernetes": {}, "audience": audience }]);
    let tokens = json!([{ "type": "oauthbearer", "issuers": issuers }]);
    listening(json!({ "name": "apps", "port": 9094, "tls": {}, "authentication": tokens }))
}

#[test]
fn tokens_are_for_any_audience_but_the_api_servers() {
    for audience in ["kafka.shop", "https://kafka.kubernetes.default.svc", "kubernetes.defaults", "k3s.kafka"] {
        assert_eq!(refusals(None, &of_kubernetes(audience)), [""; 0], "{audience}");
    }
}

/// What follows the host of an address in plain text could be the host itself: `http://localhost:x@evil/`.
#[test]
fn keys_are_read_in_plain_text_from_the_own_host_only_and_names_have_one_line() {
    let crds = serde_json::to_value(ottla_crds::all()).unwrap();
    let pattern = |field: &str| {
        fn find(value: &Value, field: &str) -> Option<String> {
            match value {
                Value::Object(object) => {
                    let own = object.get(field).and_then(|property| property["pattern"].as_str());
                    own.map(str::to_owned).or_else(|| object.values().find_map(|value| find(value, field)))
                }
                Value::Array(items) => items.iter().find_map(|value| find(value, field)),
                _ => None,
            }
        }
        regex::Regex::new(&find(&crds, field).unwrap()).unwrap()
    };
    for (field, value, is_taken) in [
        ("jwksUrl", "https://idp.example/keys", true),
        ("jwksUrl", "http://localhost:8080/keys", true),
        ("jwksUrl", "http://[::1]/keys", true),
        ("jwksUrl", "http://localhost:x@evil/keys", false),
        ("jwksUrl", "http://localhost:80@evil/keys", false),
        ("jwksUrl", "http://localhost.evil/keys", false),
        ("principalName", "CN=Jürgen,O=Ottla", true),
        ("principalName", "orders\nUser:admin", false),
        ("principalName", "orders\u{9b}2J", false),
    ] {
        assert_eq!(pattern(field).is_match(value), is_taken, "{field}: {value:?}");
    }
}

#[test]
fn an_issuer_of_cert_manager_is_not_for_a_laptop() {
    let tls = json!({ "issuerRef": { "kind": "Issuer", "name": "ours" } });
    let on_kubernetes = listening(json!({ "name": "apps", "port": 9094, "tls": tls }));
    assert_eq!(refusals(None, &on_kubernetes), [""; 0]);
    let on_a_laptop = with(&on_kubernetes, json!({ "spec": { "brokers": { "storage": null } } }));
    let sentence = "tls.issuerRef is not for a laptop, which has no cert-manager: name a Secret in tls.secretRef";
    assert_eq!(refusals(None, &on_a_laptop), [sentence]);
}

#[test]
fn what_can_not_be_undone_is_refused_when_it_is_changed() {
    for (old, changes, sentence) in [
        (topic(), json!({ "spec": { "clusterRef": { "name": "test" } } }), "clusterRef is immutable"),
        (topic(), json!({ "spec": { "topicName": "Orders" } }), "topicName is immutable"),
        (cluster(), json!({ "spec": { "brokers": { "storage": { "size": "99999Mi" } } } }), SIZE),
        (
            with(&cluster(), json!({ "status": { "volumeSize": "50Gi" } })),
            json!({ "spec": { "brokers": { "storage": { "size": "49Gi" } } } }),
            SIZE,
        ),
        (
            cluster(),
            json!({ "spec": { "brokers": { "storage": null } } }),
            "brokers.storage can not be added or removed",
        ),
        (
            cluster(),
            json!({ "spec": { "brokers": { "storage": { "storageClassName": null } } } }),
            "brokers.storage.storageClassName is immutable",
        ),
        (
            cluster(),
            json!({ "spec": { "listeners": [{ "name": "internal", "port": 9092, "tls": {} }] } }),
            "to secure an internal listener of a running cluster, first set security: {} and wait until the roll is finished: then \
             brokers have certificates and reach each other without it",
        ),
        (assignment(), json!({ "spec": { "topicName": "bestellungen" } }), "topicName is immutable"),
        (
            assignment(),
            json!({ "spec": { "topicId": "8c8d9f0e-0b0c-4b9b-9c6a-9b0a6f1d2e40" } }),
            "topicId is immutable",
        ),
        (assignment(), json!({ "spec": { "clusterRef": { "name": "test" } } }), "clusterRef is immutable"),
        (
            with(&assignment(), json!({ "spec": { "deleted": true } })),
            json!({ "spec": { "deleted": null } }),
            "a tombstone can not be withdrawn",
        ),
        (
            assignment(),
            json!({ "spec": { "partitions": [entry(64)] } }),
            "an entry can not be removed, and its epochs can not fall",
        ),
        (
            assignment(),
            json!({ "spec": { "partitions": [entry(64), with(&entry(65), json!({ "partitionEpoch": 6 }))] } }),
            "an entry can not be removed, and its epochs can not fall",
        ),
        (
            assignment(),
            json!({ "spec": { "partitions": [entry(64), with(&entry(65), json!({ "leaderEpoch": 4, "partitionEpoch": 8 }))] } }),
            "an entry can not be removed, and its epochs can not fall",
        ),
        (
            assignment(),
            json!({ "spec": { "partitions": [entry(64), with(&entry(65), json!({ "leader": 1, "partitionEpoch": 8 }))] } }),
            "the leader can not change without a higher leader epoch",
        ),
        (
            assignment(),
            json!({ "spec": { "partitions": [entry(64), with(&entry(65), json!({ "leader": null }))] } }),
            "the leader can not change without a higher leader epoch",
        ),
    ] {
        let new = with(&old, changes);
        assert_eq!(refusals(Some(&old), &new), [sentence], "{new}");
    }
}

const SIZE: &str = "brokers.storage.size can not be reduced below what the brokers' volumes have (status.volumeSize)";

#[test]
fn what_users_and_brokers_do_is_taken() {
    for (old, changes) in [
        (topic(), json!({ "spec": { "partitions": 24, "config": { "retention.ms": "1000" } } })),
        (
            cluster(),
            json!({ "spec": { "brokers": { "replicas": 5, "storage": { "size": "0.2Ti" } }, "paused": true } }),
        ),
        // 30 was typed for 3, and a size that no volume has got.
        (
            with(&cluster(), json!({ "spec": { "brokers": { "replicas": 30 } } })),
            json!({ "spec": { "brokers": { "replicas": 3 } } }),
        ),
        (
            with(&cluster(), json!({ "status": { "volumeSize": "50Gi" } })),
            json!({ "spec": { "brokers": { "storage": { "size": "50Gi" } } } }),
        ),
        (user(), json!({ "spec": { "authentication": null, "quotas": null } })),
        (
            listening(json!({ "name": "apps", "port": 9094, "insecure": true, "authentication": [
                { "type": "scram-sha-512" }, { "type": "scram-sha-256" }
            ] })),
            json!({ "spec": { "quotas": { "clients": [{ "clientId": "etl", "producerByteRate": 1_048_576 }] } } }),
        ),
        (assignment(), json!({ "spec": { "deleted": true } })),
        (
            assignment(),
            json!({ "spec": { "partitions": [
                with(&entry(64), json!({ "leader": null, "leaderEpoch": 6, "partitionEpoch": 8 })), entry(65), entry(66)
            ] } }),
        ),
    ] {
        assert_eq!(refusals(None, &old), [""; 0], "{old}");
        let new = with(&old, changes);
        assert_eq!(refusals(Some(&old), &new), [""; 0], "{new}");
    }
}

#[test]
fn an_order_for_a_broker_is_whole_and_possible() {
    let ordered = |order: Value| with(&cluster(), json!({ "spec": { "brokers": { "overrides": [order] } } }));
    let half =
        "state: Fresh and volume come together: volume is the uid of the volume to replace, as in status.brokers";
    let laptop = "brokers.overrides can not have state: Fresh on a laptop, where brokers have no volumes of their own";
    let fresh = ordered(json!({ "broker": 1, "state": "Fresh", "volume": "u" }));
    for (new, expected) in [
        (fresh.clone(), vec![]),
        (ordered(json!({ "broker": 1, "state": "Drained" })), vec![]),
        (ordered(json!({ "broker": 1, "state": "Fresh" })), vec![half]),
        (ordered(json!({ "broker": 1, "state": "Drained", "volume": "u" })), vec![half]),
        (ordered(json!({ "broker": 1, "volume": "u" })), vec![half]),
        (with(&fresh, json!({ "spec": { "brokers": { "storage": null } } })), vec![laptop]),
    ] {
        assert_eq!(refusals(None, &new), expected, "{new}");
    }
}

#[test]
fn the_policy_window_needs_windows_and_windows_may_stay_under_another_policy() {
    let rollout = |rollout: Value| with(&cluster(), json!({ "spec": { "rollout": rollout } }));
    let windows = json!([{ "days": ["Sat"], "from": "02:00", "for": "4h", "timeZone": "Europe/Berlin" }]);
    let whole = rollout(json!({ "policy": "Window", "maxUnavailable": 1, "windows": windows }));
    assert_eq!(refusals(None, &whole), [""; 0]);
    let none = rollout(json!({ "policy": "Window", "maxUnavailable": 1 }));
    let refused = refusals(None, &none);
    assert!(refused.iter().any(|sentence| sentence.contains("policy: Window needs windows")), "{refused:?}");
    // In a hurry one word is changed, and later changed back.
    for policy in ["Manual", "Auto"] {
        let other = rollout(json!({ "policy": policy, "maxUnavailable": 1, "windows": windows }));
        assert_eq!(refusals(Some(&whole), &other), [""; 0], "{policy}");
        assert_eq!(refusals(Some(&other), &whole), [""; 0], "{policy}");
    }
}

fn pool(name: &str, first: i32, replicas: i32) -> Value {
    json!({
        "name": name, "firstBroker": first, "replicas": replicas,
        "storage": { "size": "100Gi", "storageClassName": "fast" },
    })
}

/// A cluster of so many brokers in the default pool, and these pools.
fn pooled(default: i32, pools: &[Value]) -> Value {
    with(&cluster(), json!({ "spec": { "brokers": { "replicas": default }, "pools": pools } }))
}

const OVERLAP: &str = "the ids of the brokers of pools overlap";

#[test]
fn pools_have_ids_and_names_that_are_theirs_alone() {
    for (new, sentence) in [
        (pooled(3, &[pool("a", 3, 2), pool("b", 5, 0)]), None),
        (pooled(0, &[pool("a", 10, 3)]), None),
        (pooled(2, &[pool("a", 10, 1)]), None),
        (pooled(1, &[pool("a", 10, 1)]), Some("defaults.replicationFactor can not be more than the number of brokers")),
        (pooled(4, &[pool("a", 3, 2)]), Some(OVERLAP)),
        (pooled(3, &[pool("a", 3, 3), pool("b", 5, 1)]), Some(OVERLAP)),
        (pooled(3, &[pool("b", 5, 1), pool("a", 3, 3)]), Some(OVERLAP)),
        (pooled(3, &[pool("a", 5, 0), pool("b", 5, 1)]), Some(OVERLAP)),
        (pooled(3, &[pool("a", 999, 2)]), Some("the highest broker id is 999")),
        (pooled(3, &[pool("broker", 10, 2)]), Some("a pool can not be named broker")),
        (pooled(3, &[pool("my-broker", 10, 2)]), Some("a pool can not be named broker")),
        (
            with(
                &pooled(3, &[pool("fast", 10, 2)]),
                json!({ "metadata": { "name": "x".repeat(40) }, "spec": {
                "listeners": [{ "name": "internal", "port": 9092, "type": "internal" }],
            } }),
            ),
            None,
        ),
        (
            with(
                &pooled(3, &[pool("faster", 10, 2)]),
                json!({ "metadata": { "name": "x".repeat(40) }, "spec": {
                "listeners": [{ "name": "internal", "port": 9092, "type": "internal" }],
            } }),
            ),
            Some("the name of a pool and the cluster's name have at most 44 characters together"),
        ),
        (
            with(&pooled(3, &[pool("a", 10, 2)]), json!({ "spec": { "brokers": { "storage": null } } })),
            Some("pools are not for a laptop"),
        ),
    ] {
        let refusals = refusals(None, &new);
        assert_eq!(refusals.len(), usize::from(sentence.is_some()), "{new}: {refusals:?}");
        assert!(refusals.iter().all(|refusal| refusal.starts_with(sentence.unwrap_or_default())), "{refusals:?}");
    }
    let none = with(&cluster(), json!({ "spec": { "brokers": { "replicas": 0 }, "defaults": null } }));
    assert!(refusals(None, &none)[0].starts_with("a cluster has at least one broker"));
}

#[test]
fn what_the_brokers_of_a_pool_are_named_by_and_keep_their_records_on_stays() {
    let before = pooled(3, &[pool("a", 10, 2)]);
    let told = |pool: Value| json!({ "status": { "pools": [with(&pool, json!({ "volumeSize": "100Gi" }))] } });
    let removed = with(&pooled(3, &[]), told(pool("a", 10, 0)));
    let sized = |size: &str| with(&pool("a", 10, 2), json!({ "storage": { "size": size } }));
    let class = with(&pool("a", 10, 2), json!({ "storage": { "storageClassName": "slow" } }));
    let exists = "a pool of this name exists with another firstBroker or storageClassName";
    for (story, old, pools, sentence) in [
        ("more brokers", &before, vec![pool("a", 10, 5)], None),
        ("none", &before, vec![pool("a", 10, 0)], None),
        ("no pool", &before, vec![], None),
        ("another first", &before, vec![pool("a", 11, 2)], Some("firstBroker of a pool is immutable")),
        ("another class", &before, vec![class.clone()], Some("storageClassName of a pool is immutable")),
        ("a size that no volume has yet", &before, vec![sized("10Gi")], None),
        ("it comes back", &removed, vec![pool("a", 10, 2)], None),
        ("it comes back with another first", &removed, vec![pool("a", 11, 2)], Some(exists)),
        ("it comes back with another class", &removed, vec![class], Some(exists)),
        ("it comes back smaller", &removed, vec![sized("10Gi")], Some("storage.size of a pool can not be reduced")),
        ("another pool", &removed, vec![pool("b", 20, 2)], None),
    ] {
        let new = with(old, json!({ "spec": { "pools": pools } }));
        let refusals = refusals(Some(old), &new);
        assert_eq!(refusals.len(), usize::from(sentence.is_some()), "{story}: {refusals:?}");
        assert!(refusals.iter().all(|refusal| refusal.starts_with(sentence.unwrap_or_default())), "{refusals:?}");
    }
    // A volume that turned out larger than the spec says by now: everything else can still be changed.
    let smaller = with(&pooled(3, &[sized("10Gi")]), told(pool("a", 10, 2)));
    assert_eq!(refusals(Some(&smaller), &with(&smaller, json!({ "spec": { "paused": true } }))), [""; 0]);
}
