//! A whole reconcile, against an API server that only says yes or no.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::client::Body;
use kube::runtime::events::Reporter;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

fn shared(client: Client) -> OperatorContext {
    let recorder = Recorder::new(client.clone(), Reporter { controller: "test".to_owned(), instance: None });
    let namespace = "ottla-system".to_owned();
    OperatorContext {
        installation: Installation { client: client.clone(), namespace, recorder: recorder.clone() },
        client,
        broker_image: "ottla:1".to_owned(),
        broker_user: None,
        turns: Semaphore::new(1),
        metrics: Arc::new(Metrics::new()),
        recorder,
        definitions: watch::channel(0).1,
    }
}

/// An API server that refuses to enlarge claims with this code and reason. It takes every other write, and notes each
/// request.
fn refuses_to_enlarge((code, reason): (u16, &'static str), requests: Arc<Mutex<Vec<String>>>) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (method, path) = (request.method().as_str(), request.uri().path());
        requests.lock().push(format!("{method} {path}"));
        let refused = |code: u16, reason: &str, message: &str| {
            let status = json!({
                "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message,
            });
            (code, status)
        };
        let (code, answer) = match method {
            "GET" => refused(404, "NotFound", "not found"),
            "PATCH" if path.contains("/persistentvolumeclaims/") => {
                refused(code, reason, "the class allows no expansion")
            }
            "DELETE" => (200, json!({ "kind": "Status", "status": "Success" })),
            _ => (200, json!({ "metadata": { "name": "any", "uid": "u", "resourceVersion": "1" } })),
        };
        let answer = http::Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
        async { answer }
    });
    Client::new(service, "default")
}

/// A cluster that is to have larger volumes, and another image than the one that its pod can't get.
fn with_a_stuck_pod() -> Read {
    fn named<K: serde::de::DeserializeOwned>(name: &str, object: Value) -> (String, Arc<K>) {
        (name.to_owned(), Arc::new(serde_json::from_value(object).unwrap()))
    }
    let cluster = serde_json::from_value(json!({
        "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster",
        "metadata": {
            "name": "prod", "namespace": "default", "uid": "c", "generation": 2, "finalizers": [end::FINALIZER],
        },
        "spec": { "brokers": { "replicas": 1, "image": "ottla:2", "storage": { "size": "2Gi" } } },
    }));
    let set = json!({
        "metadata": { "name": "prod-broker", "generation": 2 },
        "spec": { "replicas": 1, "selector": {}, "template": {} },
        "status": { "replicas": 1, "observedGeneration": 2, "updateRevision": "new" },
    });
    let container = json!({
        "name": "broker", "image": "ottla:typo", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "ImagePullBackOff" } },
    });
    let pod = json!({
        "metadata": { "name": "prod-broker-0", "uid": "p", "labels": { "controller-revision-hash": "old" } },
        "spec": { "nodeName": "one", "containers": [] },
        "status": { "containerStatuses": [container] },
    });
    let claim = json!({
        "metadata": { "name": "data-prod-broker-0", "uid": "v" },
        "spec": { "resources": { "requests": { "storage": "1Gi" } } },
        "status": { "capacity": { "storage": "1Gi" } },
    });
    Read {
        cluster: Some(Arc::new(cluster.unwrap())),
        stateful_sets: [named::<StatefulSet>("prod-broker", set)].into(),
        pods: [named::<Pod>("prod-broker-0", pod)].into(),
        claims: [named::<PersistentVolumeClaim>("data-prod-broker-0", claim)].into(),
        ..Read::default()
    }
}

#[tokio::test]
async fn a_refused_resize_does_not_keep_a_stuck_pod_from_being_replaced() {
    let key = ClusterKey { namespace: "default".to_owned(), name: "prod".to_owned() };
    // By admission, and by validation.
    for (code, reason) in [(403, "Forbidden"), (422, "Invalid")] {
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let shared = shared(refuses_to_enlarge((code, reason), requests.clone()));
        let (platform, told) = watch::channel(None);
        let (read, mut memory) = (with_a_stuck_pod(), Memory::default());
        // Once while the refusal is new, and once while it is known.
        for look in ["first", "second"] {
            requests.lock().clear();
            let outcome = reconcile(&shared, &key, &read, true, &mut memory, &platform).await;
            let requests = requests.lock().clone();
            let has = |request: &str| requests.iter().any(|made| made == request);
            let asks_for_size = has("PATCH /api/v1/namespaces/default/persistentvolumeclaims/data-prod-broker-0");
            assert_eq!(asks_for_size, look == "first", "{code}: {requests:#?}");
            assert!(has("DELETE /api/v1/namespaces/default/pods/prod-broker-0"), "{code} {look}: {requests:#?}");
            // A failed one would wait for its back-off, and see no pod before.
            assert_eq!(outcome, ReconcileResult::Succeeded, "{code} {look}");
            let obstacle = told.borrow().as_ref().and_then(|told| told.obstacle.clone());
            assert_eq!(obstacle.map(|obstacle| obstacle.reason), Some("ResizeImpossible"), "{code} {look}");
        }
    }
}

/// What the API server of [`refuses_peers`] was sent, and what it answered.
type Sent = Arc<Mutex<Vec<(String, Value, u16)>>>;

/// An API server with stricter rules for addresses than definitions have: it refuses the second peer of the first
/// listener that names some.
fn refuses_peers(sent: Sent) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let sent = sent.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body: Value =
                serde_json::from_slice(&body.collect_bytes().await.unwrap_or_default()).unwrap_or_default();
            let has_bad = body["spec"]["ingress"][1]["from"][1].to_string().contains("198.51.100.7/24");
            let (code, answer) = match parts.method.as_str() {
                "GET" => (404, json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound" })),
                "PATCH" if parts.uri.path().contains("/networkpolicies/") && has_bad => {
                    let field = "spec.ingress[1].from[1].ipBlock.cidr";
                    let cause =
                        json!({ "reason": "FieldValueInvalid", "field": field, "message": "host bits are set" });
                    let status = json!({
                        "kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid",
                        "message": "the NetworkPolicy is invalid", "details": { "causes": [cause] },
                    });
                    (422, status)
                }
                "DELETE" => (200, json!({ "kind": "Status", "status": "Success" })),
                _ => (200, json!({ "metadata": { "name": "any", "uid": "u", "generation": 1 } })),
            };
            sent.lock().push((format!("{} {}", parts.method, parts.uri.path()), body, code));
            http::Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()))
        }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn refused_peers_hold_back_nothing_else_and_let_nobody_in() {
    let key = ClusterKey { namespace: "default".to_owned(), name: "prod".to_owned() };
    let policy = (Kind::NetworkPolicy, "prod-broker".to_owned());
    let live =
        |generation: i32| read::Live { uid: Some("u".to_owned()), version: Some(format!("generation {generation}")) };
    for (story, exists, stands) in [
        ("a new cluster", false, "nobody but brokers and operators may connect to listeners with networkPolicyPeers"),
        ("one that has a NetworkPolicy", true, "the one from before stays, for all listeners"),
    ] {
        let sent = Sent::default();
        let shared = shared(refuses_peers(sent.clone()));
        let (platform, told) = watch::channel(None);
        let (mut read, mut memory) = (with_a_stuck_pod(), Memory::default());
        let cluster = Arc::make_mut(read.cluster.as_mut().unwrap());
        cluster.spec.listeners = serde_json::from_value(json!([
            { "name": "internal", "port": 9092 },
            { "name": "apps", "port": 9094, "networkPolicyPeers": [
                { "podSelector": {} }, { "ipBlock": { "cidr": "198.51.100.7/24" } },
            ] },
        ]))
        .unwrap();
        if exists {
            read.live.insert(policy.clone(), live(7));
        }
        // Once while the refusal is new, and once while it is known.
        for look in ["first", "second"] {
            sent.lock().clear();
            assert_eq!(
                reconcile(&shared, &key, &read, true, &mut memory, &platform).await,
                ReconcileResult::Succeeded,
                "{story}"
            );
            let sent = sent.lock().clone();
            let to = |path: &str| sent.iter().filter(|(made, ..)| made.contains(path)).collect::<Vec<_>>();
            assert_eq!(
                to("PATCH /apis/apps/v1/namespaces/default/statefulsets/prod-broker").len(),
                1,
                "{story}: {look}"
            );
            let policies = to("PATCH /apis/networking.k8s.io/v1/namespaces/default/networkpolicies/");
            let codes: Vec<u16> = policies.iter().map(|(_, _, code)| *code).collect();
            let expected: &[u16] = match (look, exists) {
                ("first", false) => &[422, 200],
                ("first", true) => &[422],
                _ => &[],
            };
            assert_eq!(codes, expected, "{story}: {look}");
            if let [_, (_, closed, _)] = &policies[..] {
                let rule = &closed["spec"]["ingress"][1];
                assert_eq!(rule["ports"], json!([{ "port": 9094, "protocol": "TCP" }]));
                assert_eq!(rule["from"].as_array().unwrap().len(), 2, "brokers and operators: {rule}");
                assert!(!closed["spec"]["ingress"][0].to_string().contains("9094"), "{closed}");
                read.live.insert(policy.clone(), live(1));
            }
            let obstacle = told.borrow().as_ref().and_then(|told| told.obstacle.clone()).unwrap();
            assert_eq!(obstacle.reason, "NetworkPolicyRefused", "{story}: {look}");
            let field = "networkPolicyPeers[1].ipBlock.cidr of the listener apps: host bits are set";
            assert!(obstacle.message.contains(field) && obstacle.message.contains(stands), "{}", obstacle.message);
        }
        // Corrected peers are applied at once.
        let cluster = Arc::make_mut(read.cluster.as_mut().unwrap());
        cluster.spec.listeners[1].network_policy_peers.pop();
        sent.lock().clear();
        reconcile(&shared, &key, &read, true, &mut memory, &platform).await;
        assert_eq!(sent.lock().iter().filter(|(made, ..)| made.contains("/networkpolicies/")).count(), 1, "{story}");
        let obstacle = told.borrow().as_ref().and_then(|told| told.obstacle.clone());
        assert_ne!(obstacle.map(|obstacle| obstacle.reason), Some("NetworkPolicyRefused"), "{story}");
    }
}
