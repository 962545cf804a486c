//! Rolls under load: a change reaches every broker and no client gets an error, also when nobody operates for a while;
//! brokers of a rack restart together; a revision that does not start reaches one broker, which returns.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::{Bed, OPERATOR_NAMESPACE};
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::{LIMIT, judge};
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::chaos::{BROKERS, Chaos};

const PROGRESSING: &str = "get okc/kafka -o jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}";

fn patch(namespace: &Namespace<'_>, spec: Value) -> Result<()> {
    let patch = json!({ "spec": spec });
    namespace.kubectl(&format!("patch okc/kafka --type=merge --patch={patch}")).map(drop)
}

/// `status.rollout`, or nothing if there is none yet.
fn rollout(namespace: &Namespace<'_>) -> Result<Value> {
    let printed = namespace.kubectl("get okc/kafka -o jsonpath={.status.rollout}")?;
    Ok(serde_json::from_str(&printed).unwrap_or_default())
}

/// Waits until the roll is in this state.
fn until_it_is(namespace: &Namespace<'_>, state: &str) -> Result<()> {
    until(LIMIT, &format!("the roll to be {state}"), || {
        Ok(rollout(namespace).is_ok_and(|rollout| rollout["state"] == state).then_some(()))
    })
}

/// Pods whose process was started since then.
fn started_since(namespace: &Namespace<'_>, before: &[String]) -> Result<usize> {
    Ok(namespace.starts()?.iter().filter(|start| !before.contains(start)).count())
}

#[test]
fn a_changed_label_is_rolled_out_under_load_although_both_operators_are_killed() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    let mut chaos = Chaos::begin(&bed, "rolls")?;
    let namespace = &chaos.namespace;
    let (began, before, first) = (Instant::now(), namespace.starts()?, rollout(namespace)?["from"].clone());
    ensure!(first.is_string(), "no revision is known of a new cluster: {first}");
    patch(namespace, json!({ "brokers": { "podTemplate": { "labels": { "team": "streams" } } } }))?;
    until_it_is(namespace, "Canary")?;
    ensure!(namespace.kubectl("get okc/kafka")?.contains("Canary: broker"), "the column STATE");
    until_it_is(namespace, "Rolling")?;
    ensure!(started_since(namespace, &before)? <= 1, "others than the canary were restarted before it was well");
    until(LIMIT, "another broker to restart", || {
        Ok(started_since(namespace, &before).is_ok_and(|started| started >= 1).then_some(()))
    })?;
    let operators = "-l app.kubernetes.io/component=operator --grace-period=0 --force";
    bed.kubectl(&format!("delete pods -n {OPERATOR_NAMESPACE} {operators}"))?;
    chaos.load.go_on()?;

    let labels = "get pods -l ottla.io/cluster=kafka -o jsonpath={.items[*].metadata.labels.team}";
    namespace.prints(labels, "streams streams streams")?;
    until_it_is(namespace, "Idle")?;
    namespace.prints(PROGRESSING, "Settled")?;
    ensure!(rollout(namespace)?["from"] != first, "the new revision is not the known one");
    ensure!(started_since(namespace, &before)? as u64 == BROKERS, "each was restarted once: {:?}", namespace.starts()?);
    let maps = "get configmaps -l ottla.io/cluster=kafka -o name";
    namespace.satisfies(maps, |names| names.matches("/kafka-broker-").count() == 1)?;
    chaos.load.go_on()?;
    namespace.wait_until_whole()?;
    let took = began.elapsed();
    chaos.tell(format!("rolled three brokers in {took:.0?}, both operators killed meanwhile"));
    chaos.judge().map(drop)
}

#[test]
fn a_canary_that_does_not_start_stops_the_roll_and_returns() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let mut chaos = Chaos::begin(&bed, "canary")?;
    let namespace = &chaos.namespace;
    let before = namespace.starts()?;
    let began = Instant::now();
    patch(namespace, json!({ "brokers": { "image": "localhost/ottla-that-does-not-exist:1" } }))?;
    namespace.prints(PROGRESSING, "RolloutStopped")?;
    let stopped = began.elapsed();
    let message = namespace.field("okc/kafka", ".status.conditions[?(@.type==\"Progressing\")].message")?;
    ensure!(message.contains("can not get its image") && message.contains("retry"), "{message}");
    chaos.load.go_on()?;

    // The canary has the image of the others again, and nobody else was touched.
    let images = "get pods -l ottla.io/cluster=kafka -o jsonpath={.items[*].spec.containers[*].image}";
    namespace.satisfies(images, |images| {
        images.split_whitespace().count() as u64 == BROKERS && !images.contains("does-not-exist")
    })?;
    namespace.ready("pod -l ottla.io/cluster=kafka", "Ready")?;
    namespace.wait_until_whole()?;
    ensure!(started_since(namespace, &before)? == 1, "the canary alone: {:?} {before:?}", namespace.starts()?);
    let failed = rollout(namespace)?["failed"][0]["revision"].clone();
    ensure!(failed.is_string(), "the status names no failed revision");

    // A corrected spec ends it.
    patch(namespace, json!({ "brokers": { "image": null } }))?;
    namespace.prints(PROGRESSING, "Settled")?;
    ensure!(started_since(namespace, &before)? == 1, "the correction restarted somebody");
    let took = began.elapsed();
    chaos.tell(format!("a canary without an image: stopped after {stopped:.0?}, returned after {took:.0?}"));
    chaos.judge().map(drop)
}

/// The racks of the brokers.
fn racks(namespace: &Namespace<'_>) -> Result<BTreeMap<i64, String>> {
    let brokers: Value = serde_json::from_str(&namespace.kubectl("get okc/kafka -o jsonpath={.status.brokers}")?)?;
    let rack = |broker: &Value| Some((broker["id"].as_i64()?, broker["rack"].as_str()?.to_owned()));
    Ok(brokers.as_array().into_iter().flatten().filter_map(rack).collect())
}

#[test]
fn nine_brokers_of_three_racks_are_rolled_rack_by_rack_under_load() -> Result<()> {
    const NINE: usize = 9;
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "racks")?;
    namespace.apply(&cluster(9, "defaults: {replicationFactor: 3, minInSyncReplicas: 2}"))?;
    patch(&namespace, json!({ "rollout": { "maxUnavailable": 3 } }))?;
    namespace.ready("okc/kafka", "Ready")?;
    let load = Load { producers: 1, pace: Duration::from_millis(5), members: 2, java: true };
    let load = namespace.load("history", 18, load)?;
    until(LIMIT, "the group's topic", || {
        let partitions = namespace.partitions().unwrap_or_default();
        Ok(partitions.iter().any(|one| one.topic == "__consumer_offsets").then_some(()))
    })?;
    namespace.ready("okt --all", "Ready")?;
    namespace.wait_until_whole()?;
    let racks = racks(&namespace)?;
    let count = racks.values().collect::<BTreeSet<_>>().len();
    ensure!((racks.len(), count) == (NINE, 3), "nine brokers of three racks: {racks:?}");

    let (began, before) = (Instant::now(), namespace.starts()?);
    patch(&namespace, json!({ "brokers": { "podTemplate": { "labels": { "team": "streams" } } } }))?;
    until_it_is(&namespace, "Canary")?;
    let mut sets: BTreeSet<Vec<i64>> = BTreeSet::new();
    until(LIMIT, "the roll to be finished", || {
        let Ok(rollout) = rollout(&namespace) else { return Ok(None) };
        ensure!(rollout["state"] != "Stopped", "the roll was stopped: {rollout}");
        if rollout["state"] == "Rolling" {
            sets.insert(rollout["away"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect());
        }
        Ok((rollout["state"] == "Idle").then_some(()))
    })?;
    let took = began.elapsed();
    for set in &sets {
        let of: BTreeSet<Option<&String>> = set.iter().map(|id| racks.get(id)).collect();
        ensure!(of.len() <= 1 && set.len() <= 3, "{set:?} restarted together: {racks:?}");
    }
    ensure!(sets.iter().any(|set| set.len() > 1), "no brokers restarted together: {sets:?}");
    ensure!(started_since(&namespace, &before)? == NINE, "each was restarted once: {:?}", namespace.starts()?);
    load.go_on()?;
    namespace.wait_until_whole()?;
    judge(&format!("rolled nine brokers in {took:.0?}, in the sets {sets:?}"), load).map(drop)
}
