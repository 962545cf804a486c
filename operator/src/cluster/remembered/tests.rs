//! Ids, names and ranges of pools, and what is refused rather than confused.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use ottla_crds::{KafkaCluster, PoolPods};
use serde_json::{Value, json};

use super::*;
use crate::cluster::read::Live;
use crate::cluster::revision::Revision;

fn pool(name: &str, first: i32, replicas: i32) -> Value {
    json!({ "name": name, "firstBroker": first, "replicas": replicas, "storage": { "size": "1Gi" } })
}

/// A cluster whose default pool has so many brokers, with these pools in the spec and in the status.
fn asked(default: i32, spec: &[Value], status: &[Value]) -> Result<ValidatedCluster, Invalid> {
    let object: KafkaCluster = serde_json::from_value(json!({
        "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster", "metadata": { "name": "prod" },
        "spec": { "brokers": { "replicas": default, "storage": { "size": "1Gi" } }, "pools": spec },
        "status": { "pools": status },
    }))
    .unwrap();
    ValidatedCluster::new(&object, "ottla:1")
}

/// What exists: StatefulSets by name, first ordinal and number of pods, and claims.
fn there(sets: &[(&str, i32, i32)], claims: &[&str]) -> Read {
    let mut read = Read::default();
    for (name, start, replicas) in sets {
        let ordinals = json!({ "start": start });
        let spec = json!({ "replicas": replicas, "ordinals": ordinals, "selector": {}, "template": {} });
        let set = json!({ "spec": spec, "status": { "replicas": replicas } });
        read.stateful_sets.insert((*name).to_owned(), Arc::new(serde_json::from_value(set).unwrap()));
        read.live.insert((Kind::StatefulSet, (*name).to_owned()), Live { uid: None, version: None });
    }
    read.claims.extend(claims.iter().map(|name| ((*name).to_owned(), Arc::default())));
    read
}

#[test]
fn ids_and_names_follow_from_the_pools() {
    let cluster = asked(2, &[pool("slow", 100, 1), pool("fast", 10, 2)], &[]).unwrap();
    assert_eq!(cluster.brokers().map(|id| id.0).collect::<Vec<_>>(), [0, 1, 10, 11, 100]);
    for (id, is_asked_for, pod) in [
        (0, true, "prod-broker-0"),
        (9, false, "prod-broker-9"),
        (10, true, "prod-broker-fast-10"),
        (12, false, "prod-broker-fast-12"),
        (100, true, "prod-broker-slow-100"),
    ] {
        let id = BrokerId(id);
        assert_eq!((cluster.has(id), cluster.pod(id).as_str()), (is_asked_for, pod));
        assert_eq!((cluster.claim(id), cluster.of_pod(pod)), (format!("data-{pod}"), Some(id)));
    }
    for other in ["prod-broker-10", "prod-broker-slow-10", "prod-broker-other-7", "test-broker-0"] {
        assert_eq!(cluster.of_pod(other), None, "{other}");
    }
}

#[test]
fn pools_whose_ids_overlap_are_refused_also_with_a_pool_that_was_removed_and_still_exists() {
    for (story, default, spec, status, expected) in [
        ("apart", 3, vec![pool("a", 3, 2), pool("b", 5, 0)], vec![], None),
        (
            "the default pool",
            4,
            vec![pool("a", 3, 2)],
            vec![],
            Some("broker 3 would belong to the default pool and to the pool a"),
        ),
        ("each other", 3, vec![pool("a", 3, 3), pool("b", 5, 1)], vec![], Some("broker 5 would belong to the pool a")),
        ("the same first", 3, vec![pool("a", 3, 0), pool("b", 3, 1)], vec![], Some("broker 3 would belong to")),
        (
            "into one that was removed",
            3,
            vec![pool("a", 3, 3)],
            vec![pool("b", 5, 0)],
            Some("the pool b, which was removed"),
        ),
        ("as it was", 3, vec![pool("a", 3, 3)], vec![pool("a", 3, 1)], None),
        (
            "with another first",
            3,
            vec![pool("a", 4, 3)],
            vec![pool("a", 3, 1)],
            Some("a pool a exists with another firstBroker"),
        ),
    ] {
        let refusal = asked(default, &spec, &status).err().map(|error| error.to_string());
        assert_eq!(refusal.is_some(), expected.is_some(), "{story}: {refusal:?}");
        assert!(refusal.unwrap_or_default().contains(expected.unwrap_or_default()), "{story}");
    }
}

#[test]
fn an_id_that_has_a_pod_or_a_volume_in_one_pool_is_not_taken_for_a_broker_of_another() {
    let both = [("prod-broker", 0, 3), ("prod-broker-fast", 10, 2)];
    for (story, default, first, sets, claims, expected) in [
        ("all is well", 3, 10, &both[..], vec!["data-prod-broker-2", "data-prod-broker-fast-11"], None),
        ("a broker has left", 2, 10, &both[..], vec!["data-prod-broker-7"], None),
        (
            "its volume is in the way",
            2,
            5,
            &both[..1],
            vec!["data-prod-broker-10", "data-prod-broker-7"],
            Some("the claim data-prod-broker-10 belongs"),
        ),
        ("its pod is", 2, 2, &both[..1], vec![], Some("the pod prod-broker-2 belongs")),
        ("another first", 2, 4, &both[..], vec![], Some("the brokers of the pool fast begin with 10")),
        (
            "nobody knows the volume",
            3,
            10,
            &[][..],
            vec!["data-prod-broker-old-20"],
            Some("the claim data-prod-broker-old-20 belongs to a pool that neither"),
        ),
        (
            "nobody knows the pods",
            3,
            10,
            &[("prod-broker-old", 20, 1)][..],
            vec![],
            Some("the StatefulSet prod-broker-old"),
        ),
    ] {
        let cluster = asked(default, &[pool("fast", first, 2)], &[]).unwrap();
        let refusal = check(&cluster, &there(sets, &claims)).err().map(|error| error.to_string());
        assert_eq!(refusal.is_some(), expected.is_some(), "{story}: {refusal:?}");
        let refusal = refusal.unwrap_or_default();
        assert!(refusal.contains(expected.unwrap_or_default()), "{story}: {refusal}");
    }
}

#[test]
fn a_pool_is_remembered_until_nothing_of_it_is_left() {
    let removed = [pool("fast", 10, 0)];
    let cluster = asked(3, &[], &removed).unwrap();
    let [_, fast] = &cluster.pools[..] else { panic!("{:?}", cluster.pools) };
    assert!(!fast.is_asked_for && fast.is_told && fast.replicas == 0);
    let names = |read: &Read, made: bool| -> Vec<String> {
        told(&cluster, read, |_| made).into_iter().map(|told| told.pool.name).collect()
    };
    assert_eq!(names(&there(&[("prod-broker-fast", 10, 2)], &[]), false), ["fast"]);
    assert_eq!(names(&there(&[], &["data-prod-broker-fast-10"]), false), ["fast"]);
    assert_eq!(names(&there(&[], &[]), true), ["fast"], "it is not shown yet");
    assert!(names(&there(&[], &["data-prod-broker-0"]), false).is_empty());

    for (sets, gone) in
        [(&[("prod-broker-fast", 10, 2)][..], false), (&[("prod-broker-fast", 10, 0)][..], true), (&[][..], true)]
    {
        assert_eq!(has_gone("prod", fast, &there(sets, &[])), gone, "{sets:?}");
    }
    let asked_for_none = asked(3, &[pool("fast", 10, 0)], &removed).unwrap();
    assert!(!has_gone("prod", &asked_for_none.pools[1], &there(&[], &[])), "a pool of the spec keeps its StatefulSet");
}

#[test]
fn what_a_pool_has_of_its_own_is_laid_over_the_revision() {
    let mut own = pool("fast", 10, 2);
    own["resources"] = json!({ "requests": { "memory": "8Gi" } });
    own["nodeSelector"] = json!({ "kubernetes.io/arch": "arm64" });
    own["tolerations"] = json!([{ "key": "arm", "operator": "Exists" }]);
    let cluster = asked(3, &[own, pool("plain", 20, 1)], &[]).unwrap();
    let older: PodTemplateSpec = serde_json::from_value(json!({ "spec": {
        "containers": [{ "name": "broker", "image": "ottla:1" }],
        "nodeSelector": { "disk": "nvme" }, "tolerations": [{ "key": "kafka", "operator": "Exists" }],
    } }))
    .unwrap();
    let mut revision = Revision::adopted(&older, [].into());
    let template = |pool: &Pool| serde_json::to_value(revision.template_of(pool)).unwrap();
    let [default, fast, plain] = [0, 1, 2].map(|at| template(&cluster.pools[at]));
    assert_eq!(default, serde_json::to_value(&older).unwrap());
    assert_eq!(plain["spec"], default["spec"]);
    assert_eq!(plain["metadata"]["labels"], json!({ "ottla.io/pool": "plain" }));
    assert_eq!(fast["spec"]["nodeSelector"], json!({ "disk": "nvme", "kubernetes.io/arch": "arm64" }));
    assert_eq!(fast["spec"]["tolerations"], json!([{ "key": "arm", "operator": "Exists" }]));
    assert_eq!(fast["spec"]["containers"][0]["image"], "ottla:1");
    assert_eq!(fast["spec"]["containers"][0]["resources"]["requests"], json!({ "cpu": "100m", "memory": "8Gi" }));

    // The revision that new pods get is not the spec's yet.
    let had = PoolPods {
        node_selector: [("kubernetes.io/arch".to_owned(), "amd64".to_owned())].into(),
        ..PoolPods::default()
    };
    revision.pools = Some([("fast".to_owned(), had)].into());
    let fast = serde_json::to_value(revision.template_of(&cluster.pools[1])).unwrap();
    assert_eq!(fast["spec"]["nodeSelector"], json!({ "disk": "nvme", "kubernetes.io/arch": "amd64" }));
    assert_eq!(fast["spec"]["containers"][0]["resources"], json!(null));
}
