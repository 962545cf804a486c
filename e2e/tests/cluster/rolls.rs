//! Rolls under load: a change reaches every broker and no client gets an error, also when nobody operates for a while;
//! a revision that does not start reaches one broker, which returns.

use anyhow::{Context, Result, anyhow, ensure};
use ottla_e2e::cluster::LIMIT;
use ottla_e2e::cluster::bed::{Bed, OPERATOR_NAMESPACE};
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::wait::until;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::chaos::{BROKERS, Chaos};

/// Prints why a roll stands where it stands.
pub const PROGRESSING: &str = "get okc/kafka -o jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}";

/// The label that the stories roll out, of each pod that has it.
const TEAMS: &str = "get pods -l ottla.io/cluster=kafka -o jsonpath={.items[*].metadata.labels.team}";

/// Merges this into the spec of the cluster.
pub fn patch(namespace: &Namespace<'_>, spec: Value) -> Result<()> {
    let patch = json!({ "spec": spec });
    namespace.kubectl(&format!("patch okc/kafka --type=merge --patch={patch}")).map(drop)
}

/// `status.rollout`, or nothing if there is none yet.
fn rollout(namespace: &Namespace<'_>) -> Result<Value> {
    let printed = namespace.kubectl("get okc/kafka -o jsonpath={.status.rollout}")?;
    Ok(serde_json::from_str(&printed).unwrap_or_default())
}

/// Waits until the roll is in this state.
pub fn until_it_is(namespace: &Namespace<'_>, state: &str) -> Result<()> {
    until(LIMIT, &format!("the roll to be {state}"), || {
        Ok(rollout(namespace).is_ok_and(|rollout| rollout["state"] == state).then_some(()))
    })
}

/// Pods whose process was started since then.
pub fn started_since(namespace: &Namespace<'_>, before: &[String]) -> Result<usize> {
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
    until(LIMIT, "the roll to be Rolling", || {
        // In this order: others may be restarted as soon as it is.
        let started = started_since(namespace, &before)?;
        let now = rollout(namespace)?["state"].clone();
        ensure!(now != "Canary" || started <= 1, "others than the canary were restarted before it was well");
        Ok((now == "Rolling").then_some(()))
    })?;
    until(LIMIT, "another broker to restart", || {
        Ok(started_since(namespace, &before).is_ok_and(|started| started >= 2).then_some(()))
    })?;
    let operators = "-l app.kubernetes.io/component=operator --grace-period=0 --force";
    bed.kubectl(&format!("delete pods -n {OPERATOR_NAMESPACE} {operators}"))?;
    chaos.load.go_on()?;

    namespace.prints(TEAMS, "streams streams streams")?;
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

/// The node of each broker.
fn nodes(namespace: &Namespace<'_>) -> Result<BTreeMap<u64, String>> {
    let path = "{range.items[*]}{.metadata.name}/{.spec.nodeName},{end}";
    let printed = namespace.kubectl(&format!("get pods -l ottla.io/cluster=kafka -o jsonpath={path}"))?;
    let entries = printed.split_terminator(',').filter_map(|entry| {
        let (pod, node) = entry.split_once('/')?;
        Some((pod.rsplit('-').next()?.parse().ok()?, node.to_owned()))
    });
    Ok(entries.collect())
}

/// Gives all pods this label, and waits until the roll that follows is over; the sets of brokers that it restarted
/// together, as often as one saw them. `seen` is called with each.
fn roll_out(
    namespace: &Namespace<'_>,
    team: &str,
    mut seen: impl FnMut(&BTreeSet<u64>) -> Result<()>,
) -> Result<BTreeSet<BTreeSet<u64>>> {
    patch(namespace, json!({ "brokers": { "podTemplate": { "labels": { "team": team } } } }))?;
    until_it_is(namespace, "Canary")?;
    let mut sets = BTreeSet::new();
    until(LIMIT, "the roll to be over", || {
        let Ok(now) = rollout(namespace) else { return Ok(None) };
        let away: BTreeSet<u64> = now["away"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        ensure!(now["state"] != "Canary" || away.len() <= 1, "others than the canary restart: {now}");
        if !away.is_empty() {
            seen(&away)?;
            sets.insert(away);
        }
        Ok((now["state"] == "Idle").then_some(()))
    })?;
    namespace.satisfies(TEAMS, |teams| teams.split(' ').filter(|one| *one == team).count() == 9)?;
    Ok(sets)
}

#[test]
fn nine_brokers_over_three_racks_restart_by_rack_and_a_node_is_drained_in_mid_roll() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    let nine = cluster(9, "defaults: {replicationFactor: 3, minInSyncReplicas: 2}");
    let nine = nine.replace("canaryFor: 10s", "canaryFor: 10s, maxUnavailable: 3");
    let mut chaos = Chaos::begin_with(&bed, "nine", &nine)?;
    let namespace = &chaos.namespace;
    let (before, on) = (namespace.starts()?, nodes(namespace)?);
    // A node is a zone of its own here.
    let per_node = |node: &String| on.values().filter(|other| *other == node).count();
    ensure!(on.len() == 9 && on.values().all(|node| per_node(node) == 3), "three brokers on each node: {on:?}");

    let began = Instant::now();
    let sets = roll_out(namespace, "streams", |away| {
        let racks: BTreeSet<_> = away.iter().map(|broker| &on[broker]).collect();
        ensure!(racks.len() == 1, "brokers of several racks restart together: {away:?} {on:?}");
        Ok(())
    })?;
    let by_rack = began.elapsed();
    ensure!(sets.iter().any(|set| set.len() == 3), "no rack restarted as a whole: {sets:?}");
    ensure!(started_since(namespace, &before)? == 9, "each was restarted once: {:?}", namespace.starts()?);
    chaos.load.go_on()?;
    namespace.wait_until_whole()?;

    // The pods of a drained node can't go elsewhere, because their volumes are there: they wait until it takes pods
    // again.
    let (began, node) = (Instant::now(), on[&4].clone());
    let command = format!("drain {node} --ignore-daemonsets --delete-emptydir-data --timeout=240s");
    let pods = format!("{command} --pod-selector=ottla.io/cluster=kafka");
    std::thread::scope(|scope| {
        let mut drain = None;
        let rolled = roll_out(namespace, "batch", |away| {
            if away.len() > 1 && drain.is_none() {
                drain = Some(scope.spawn(|| {
                    let drain = scope.spawn(|| bed.kubectl(&pods));
                    let waits = "get pods -l ottla.io/cluster=kafka --field-selector=status.phase=Pending -o name";
                    let waits = namespace.satisfies(waits, |printed| !printed.trim().is_empty());
                    let back = bed.kubectl(&format!("uncordon {node}"));
                    drain.join().map_err(|_| anyhow!("the drain panicked"))??;
                    waits.and(back)
                }));
            }
            Ok(())
        });
        let drained = drain.map(|drain| drain.join());
        bed.kubectl(&format!("uncordon {node}"))?;
        rolled?;
        drained.context("no set of several brokers was seen")?.map_err(|_| anyhow!("the drain panicked"))?.map(drop)
    })?;
    chaos.load.go_on()?;
    namespace.wait_until_whole()?;
    let with_drain = began.elapsed();
    let rolled = format!("rolled nine brokers by rack in {by_rack:.0?}, once more in {with_drain:.0?}, a node drained");
    chaos.tell(rolled);
    chaos.judge().map(drop)
}
