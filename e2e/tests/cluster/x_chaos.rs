//! Chaos that takes the whole cluster: nodes and the definitions; in [`crate::x_secured`] also the API server.

use anyhow::{Context, Result, bail, ensure};
use ottla_e2e::cluster::bed::{Bed, charts};
use ottla_e2e::cluster::harm::Loss;
use ottla_e2e::cluster::{judge, say};
use std::time::Instant;

use crate::chaos::{BROKERS, Chaos};

/// Takes a broker's node away until Kubernetes misses it too.
fn lose_node(chaos: &Chaos<'_>, broker: u64, loss: Loss) -> Result<()> {
    chaos.namespace.without_node(broker, loss, |node| {
        chaos.load.go_on()?;
        let missed = format!("wait node/{node} --for=condition=Ready=Unknown --timeout=300s");
        chaos.namespace.kubectl(&missed).map(drop)
    })
}

fn drain(bed: &Bed, nodes: &str) -> Result<()> {
    bed.kubectl(&format!("drain {nodes} --ignore-daemonsets --delete-emptydir-data --force --timeout=300s")).map(drop)
}

/// Waits until these brokers' pods are ready on nodes that are right.
fn on_nodes(chaos: &Chaos<'_>, brokers: impl IntoIterator<Item = u64>, right: impl Fn(&str) -> bool) -> Result<()> {
    for broker in brokers {
        let node = format!("get pod/kafka-broker-{broker} -o jsonpath={{.spec.nodeName}}");
        chaos.namespace.satisfies(&node, |now| now.starts_with("node") && right(now))?;
        chaos.namespace.ready(&format!("pod/kafka-broker-{broker}"), "Ready")?;
    }
    Ok(())
}

#[test]
fn nodes_are_killed_frozen_cut_off_and_drained() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let mut chaos = Chaos::begin(&bed, "chaos-nodes")?;
    chaos.suffer("cut the power of the node of", |chaos, victim| lose_node(chaos, victim, Loss::Killed))?;
    chaos.suffer("froze the node of", |chaos, victim| lose_node(chaos, victim, Loss::Frozen))?;
    chaos.suffer("cut off the node of", |chaos, victim| lose_node(chaos, victim, Loss::CutOff))?;
    chaos.suffer("drained the node of", |chaos, victim| {
        let node = chaos.namespace.node_of(victim)?;
        bed.then_uncordon(&node, || {
            drain(&bed, &node)?;
            on_nodes(chaos, [victim], |now| now != node)
        })
    })?;
    // The budget lets one broker go at a time; all of them end on the node that is left.
    chaos.suffer("drained all nodes but one, with that of", |chaos, victim| {
        let node = chaos.namespace.node_of(victim)?;
        let all = bed.kubectl("get nodes -o jsonpath={.items[*].metadata.name}")?;
        let left = all.split_whitespace().find(|other| *other != node).context("there are other nodes")?;
        let nodes = all.split_whitespace().filter(|other| *other != left).collect::<Vec<_>>().join(" ");
        bed.then_uncordon(&nodes, || {
            std::thread::scope(|scope| {
                let drains: Vec<_> = nodes.split(' ').map(|node| scope.spawn(|| drain(&bed, node))).collect();
                drains.into_iter().try_for_each(|drain| drain.join().unwrap_or_else(|_| bail!("it panicked")))
            })?;
            on_nodes(chaos, 0..BROKERS, |now| now == left)?;
            chaos.load.go_on()
        })
    })?;
    chaos.judge().map(drop)
}

#[test]
fn definitions_deleted_by_mistake_stop_nothing_and_objects_are_put_back() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    let mut chaos = Chaos::begin(&bed, "chaos-crds")?;
    let starts = chaos.namespace.starts()?;
    let claims = chaos.namespace.kubectl("get pvc -o name")?;
    let ids = topic_ids(&chaos)?;

    bed.kubectl("delete crd kafkaassignments.ottla.io kafkatopics.ottla.io kafkaclusters.ottla.io --timeout=300s")?;
    let went_on = chaos.load.go_on();
    // As a user who deleted them would: the definitions again, for the other tests too.
    bed.helm("uninstall ottla-crds --wait")?;
    bed.helm(&format!("install ottla-crds {} --wait", charts().join("ottla-crds").display()))?;
    went_on?;
    chaos.load.go_on()?;

    // As `ottla objects --help` says.
    let copies: Vec<String> = (0..BROKERS)
        .map(|broker| chaos.namespace.kubectl(&format!("exec kafka-broker-{broker} -- ottla objects")))
        .collect::<Result<_>>()?;
    let restore = "exec -i kafka-broker-0 -- ottla objects -";
    let objects = chaos.namespace.kubectl_with(restore, &copies.concat())?;
    chaos.namespace.kubectl_with("create -f -", &objects)?;
    let began = Instant::now();
    chaos.namespace.ready("okc/kafka", "Ready")?;
    chaos.namespace.ready("okt --all", "Ready")?;
    say(&format!("all is ready {:.0?} after it was put back", began.elapsed()));
    ensure!(topic_ids(&chaos)? == ids, "a topic was placed again");
    chaos.load.go_on()?;
    ensure!(starts == chaos.namespace.starts()?, "a broker was restarted");
    chaos.namespace.topic("afterwards", 3)?;
    chaos.suffer("then kill -9 of", |chaos, victim| chaos.namespace.kill_process(victim))?;

    ensure!(chaos.namespace.kubectl("get pvc -o name")? == claims, "a volume is gone");
    judge("definitions deleted and objects put back", chaos.load).map(drop)
}

/// The ids of all topics, by name.
fn topic_ids(chaos: &Chaos<'_>) -> Result<String> {
    chaos.namespace.kubectl("get okt -o jsonpath={range.items[*]}{.status.topicName}={.status.topicId},{end}")
}
