//! The way from an older release to this one and back, under load: definitions, operators, then brokers, which are of
//! both releases for a while. `e2e/cluster/older.commit` names the older one. And objects of other releases: with what
//! this one does not know, and with what it refuses.

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::{Bed, OLDER_IMAGE, charts};
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::{LIMIT, judge};
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::chaos::{BROKERS, Chaos, durable};
use crate::rolls::{PROGRESSING, patch, started_since, until_it_is};

const IMAGES: &str = "get pods -l ottla.io/cluster=kafka -o jsonpath={.items[*].spec.containers[*].image}";

/// Rolls the brokers to this image; how many seconds that took.
fn roll(namespace: &Namespace<'_>, image: &str) -> Result<u64> {
    let (began, before) = (Instant::now(), namespace.starts()?);
    patch(namespace, json!({ "brokers": { "image": image } }))?;
    until_it_is(namespace, "Rolling")?;
    namespace
        .satisfies(IMAGES, |images| images.split_whitespace().filter(|now| *now == image).count() as u64 == BROKERS)?;
    until_it_is(namespace, "Idle")?;
    namespace.prints(PROGRESSING, "Settled")?;
    ensure!(started_since(namespace, &before)? as u64 == BROKERS, "each is restarted once: {:?}", namespace.starts()?);
    namespace.wait_until_whole()?;
    Ok(began.elapsed().as_secs())
}

#[test]
fn a_cluster_of_an_older_release_is_upgraded_under_load_and_returns() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let older = bed.older_charts()?;
    let tag = format!("--set image.tag={}", OLDER_IMAGE.trim_start_matches("ottla:"));
    let story = bed.upgrade(&older, &tag).and_then(|()| {
        // It knows no `rollout` yet.
        let cluster = durable().lines().filter(|line| !line.contains("rollout:")).collect::<Vec<_>>().join("\n");
        let mut chaos = Chaos::begin_with(&bed, "older", &cluster)?;
        let namespace = &chaos.namespace;
        let starts = namespace.starts()?;
        namespace.satisfies(IMAGES, |images| images.split_whitespace().all(|image| image == OLDER_IMAGE))?;

        // Nobody is restarted by the operator's upgrade.
        bed.upgrade(&charts(), "")?;
        namespace.prints(PROGRESSING, "Held")?;
        chaos.load.go_on()?;
        ensure!(namespace.starts()? == starts, "the operator's upgrade restarted a broker");
        ensure!(namespace.field("okc/kafka", ".status.image")? == OLDER_IMAGE);
        let held = chaos.load.longest_pause();

        let newer =
            bed.kubectl("get deployment/ottla -n ottla-system -o jsonpath={.spec.template.spec.containers[0].image}")?;
        patch(namespace, json!({ "rollout": { "canaryFor": "10s" } }))?;
        let there = roll(namespace, &newer)?;
        chaos.load.go_on()?;
        let rolled = chaos.load.longest_pause();
        let back = roll(namespace, OLDER_IMAGE)?;
        chaos.load.go_on()?;
        chaos.tell(format!(
            "longest pause {held} while the operator was upgraded; from {OLDER_IMAGE} to {newer} in {there} s, until then \
             {rolled}; and back in {back} s"
        ));
        chaos.judge().map(drop)
    });
    // Also after a failure: the others' operator is this one.
    bed.upgrade(&charts(), "")?;
    story
}

/// Where the definition of KafkaAssignments has the fields of an entry; of KafkaClusters, the policies of a roll.
const FIELDS: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/partitions/items/properties";
const POLICIES: &str =
    "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/rollout/properties/policy/enum";

/// Patches a definition.
fn define(bed: &Bed, kind: &str, change: &Value) -> Result<()> {
    let patch = json!([change]).to_string();
    bed.kubectl_with(&format!("patch crd {kind}.ottla.io --type=json --patch-file=/dev/stdin"), &patch).map(drop)
}

/// Every entry's field that only the next release knows.
const NEXT: &str = "get oka -o jsonpath={.items[*].spec.partitions[*].next}";

#[test]
fn what_only_the_next_release_knows_stays_in_objects_and_stops_nobody() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    define(
        &bed,
        "kafkaassignments",
        &json!({ "op": "add", "path": format!("{FIELDS}/next"), "value": { "type": "string" } }),
    )?;
    define(&bed, "kafkaclusters", &json!({ "op": "add", "path": format!("{POLICIES}/0"), "value": "Careful" }))?;
    let story = Chaos::begin(&bed, "next").and_then(|mut chaos| {
        // As its operator and its brokers write.
        patch(&chaos.namespace, json!({ "rollout": { "policy": "Careful" } }))?;
        let mut entries = 0;
        let listed: Value = serde_json::from_str(&chaos.namespace.kubectl("get oka -o json")?)?;
        for assignment in listed["items"].as_array().context("a list")? {
            let name = assignment["metadata"]["name"].as_str().context("a name")?;
            let add =
                |at: usize| json!({ "op": "add", "path": format!("/spec/partitions/{at}/next"), "value": "kept" });
            let count = assignment["spec"]["partitions"].as_array().map_or(0, Vec::len);
            let patch = Value::from_iter((0..count).map(add));
            chaos.namespace.kubectl(&format!("patch oka/{name} --type=json --patch={patch}"))?;
            entries += count;
        }
        let is_kept = |namespace: &Namespace<'_>| -> Result<()> {
            let kept = namespace.kubectl(NEXT)?;
            ensure!(kept.split_whitespace().filter(|next| *next == "kept").count() == entries, "of {entries}: {kept}");
            Ok(())
        };
        // Elections, and replicas that leave and join, change the same entries.
        chaos.suffer("kill -9 of", |chaos, victim| chaos.namespace.kill_process(victim))?;
        chaos.suffer("deleted the pod of", |chaos, victim| chaos.namespace.delete_pod(victim, ""))?;
        is_kept(&chaos.namespace)?;
        chaos.namespace.topic("afterwards", 3)?;
        chaos.namespace.ready("okc/kafka", "Ready")?;
        let policy = chaos.namespace.field("okc/kafka", ".spec.rollout.policy")?;
        ensure!(policy == "Careful", "the word became {policy}");
        chaos.judge().map(drop)
    });
    define(&bed, "kafkaassignments", &json!({ "op": "remove", "path": format!("{FIELDS}/next") }))?;
    define(&bed, "kafkaclusters", &json!({ "op": "remove", "path": format!("{POLICIES}/0") }))?;
    story
}

/// Where the definition of KafkaClusters has what a listener must be.
const LISTENER_RULES: &str =
    "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/listeners/items/x-kubernetes-validations";
const OPEN: &str = "a listener outside of the Kubernetes cluster needs tls and authentication, or insecure: true";

#[test]
fn a_listener_from_before_such_were_refused_serves_on_and_a_condition_says_so() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let definition: Value = serde_json::from_str(&bed.kubectl("get crd/kafkaclusters.ottla.io -o json")?)?;
    let rules = definition.pointer(LISTENER_RULES).and_then(Value::as_array).context("rules for listeners")?;
    let at = rules.iter().position(|rule| rule["message"] == OPEN).context("the rule that refuses it")?;
    let place = format!("{LISTENER_RULES}/{at}");

    let before = cluster(1, "").replace(", insecure: true", "");
    ensure!(before != cluster(1, ""), "the case edits this");
    let namespace = Namespace::new(&bed, "open")?;
    define(&bed, "kafkaclusters", &json!({ "op": "remove", "path": place }))?;
    let served = until(LIMIT, "the API server to take it", || Ok(namespace.apply(&before).ok()))
        .and_then(|()| namespace.ready("okc/kafka", "Ready"))
        .and_then(|_| {
            namespace.load("history", 3, Load { producers: 1, pace: Duration::from_millis(5), members: 1, java: false })
        });
    // The definitions of this release.
    define(&bed, "kafkaclusters", &json!({ "op": "add", "path": place, "value": rules[at] }))?;
    let load = served?;

    let more = before.replace("  rack:", "  - {name: more, port: 9095, type: nodePort}\n  rack:");
    until(LIMIT, "the API server to refuse another", || {
        let refused = namespace.kubectl_with("apply --dry-run=server -f -", &more).err();
        Ok(refused.filter(|why| format!("{why:#}").contains(OPEN)))
    })?;
    // Everything else about that cluster can be changed, and its status still written.
    patch(&namespace, json!({ "config": { "message.max.bytes": "2000000" } }))?;
    let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
    let seen = format!("get okc/kafka -o jsonpath={{.metadata.generation}}/{{.status.observedGeneration}}/{ready}");
    namespace.satisfies(
        &seen,
        |printed| matches!(printed.split('/').collect::<Vec<_>>()[..], [spec, status, "True"] if spec == status),
    )?;
    let open = "get okc/kafka -o jsonpath={.status.conditions[?(@.type==\"Insecure\")].reason}";
    namespace.prints(open, "OpenListeners")?;
    load.go_on()?;
    judge("a listener without TLS", load).map(drop)
}
