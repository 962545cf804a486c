//! Four clusters and all that is built of them, as YAML to read: `tests/built`. UPDATE_EXPECT=1 rewrites what
//! follows the cluster.

use std::fs;
use std::path::Path;

use expect_test::expect_file;
use ottla_crds::KafkaCluster;
use serde::Deserialize;

use super::*;

/// The StatefulSets of all pools, which exist with this size of volumes.
fn sets<'a>(cluster: &'a ValidatedCluster, size: Option<&'a str>) -> Vec<(&'a Pool, Option<&'a str>)> {
    cluster.pools.iter().map(|pool| (pool, size)).collect()
}

#[test]
fn what_is_built_is_what_stands_in_the_files() {
    for name in ["smallest", "everything", "secured", "pools"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/built/{name}.yaml"));
        let text = fs::read_to_string(&file).unwrap();
        let asked = text.split("\n---\n").next().unwrap().to_owned();
        let document = serde_yaml::Deserializer::from_str(&asked);
        let cluster = KafkaCluster::deserialize(document).unwrap();
        let cluster = ValidatedCluster::new(&cluster, "registry.example/ottla:1").unwrap();
        let mut expected = asked.trim_end().to_owned();
        for built in build(&cluster, &sets(&cluster, None), (&Revision::built(&cluster, None), None)) {
            expected.push_str("\n---\n");
            expected.push_str(serde_yaml::to_string(&built.value).unwrap().trim_end());
        }
        expected.push('\n');
        expect_file![&file].assert_eq(&expected);
    }
}

#[test]
fn objects_come_in_the_order_in_which_pods_need_them() {
    let spec = serde_json::from_value(serde_json::json!({ "brokers": { "storage": { "size": "1Gi" } } })).unwrap();
    let cluster = ValidatedCluster::new(&KafkaCluster::new("prod", spec), "ottla:1").unwrap();
    let kinds: Vec<Kind> = build(&cluster, &sets(&cluster, None), (&Revision::built(&cluster, None), None))
        .into_iter()
        .map(|built| built.kind)
        .collect();
    assert!(kinds.is_sorted() && kinds.last() == Some(&Kind::StatefulSet), "{kinds:?}");
    assert_eq!(Kind::ALL.map(|kind| kinds.contains(&kind)), [true; 8], "each kind is built and found again");
}

#[test]
fn the_claims_of_a_stateful_set_that_exists_stay_as_they_were_asked_for() {
    let spec = serde_json::from_value(serde_json::json!({ "brokers": { "storage": { "size": "2Gi" } } })).unwrap();
    let cluster = ValidatedCluster::new(&KafkaCluster::new("prod", spec), "ottla:1").unwrap();
    for (existing, asked_for) in [(None, "2Gi"), (Some("1Gi"), "1Gi")] {
        let built = build(&cluster, &sets(&cluster, existing), (&Revision::built(&cluster, None), None)).pop().unwrap();
        let size = &built.value["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
        assert_eq!(size, asked_for);
    }
}

/// OpenShift gives each namespace a range of its own, and refuses pods that ask for another id.
#[test]
fn where_the_platform_chooses_user_ids_a_pod_asks_for_none() {
    let spec = serde_json::from_value(serde_json::json!({ "brokers": { "storage": { "size": "1Gi" } } })).unwrap();
    let mut cluster = ValidatedCluster::new(&KafkaCluster::new("prod", spec), "ottla:1").unwrap();
    for (user, expected) in [(Some(65532), true), (None, false)] {
        cluster.user = user;
        let built = build(&cluster, &sets(&cluster, None), (&Revision::built(&cluster, None), None)).pop().unwrap();
        let pod = &built.value["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        for id in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(pod["securityContext"].get(id).is_some(), expected, "{id}");
        }
    }
}
