//! Replicas that move by themselves.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::{LIMIT, judge, say};
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use std::time::Instant;

/// The ids of the brokers of all replicas; empty while any replica is being added.
fn replicas(namespace: &Namespace<'_>) -> Result<Vec<String>> {
    let partitions =
        |field: &str| namespace.kubectl(&format!("get oka -o jsonpath={{.items[*].spec.partitions[*].{field}}}"));
    if !partitions("adding")?.is_empty() {
        return Ok(Vec::new());
    }
    let shown = partitions("replicas")?;
    let ids = shown.split(|c: char| !c.is_ascii_digit()).filter(|id| !id.is_empty());
    Ok(ids.map(str::to_owned).collect())
}

#[test]
fn three_brokers_become_five_that_fill_by_themselves_under_load() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "rebalance")?;
    namespace.brokers(3)?;
    let load = namespace.load("history", 12, Load::GENTLE)?;
    namespace.kubectl(r#"patch okc/kafka --type=merge --patch={"spec":{"rebalance":{"addAfterSeconds":5}}}"#)?;
    let starts = namespace.starts()?;

    let began = Instant::now();
    namespace.kubectl("scale okc/kafka --replicas=5")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[?(@.state==\"Online\")].id}", "0 1 2 3 4")?;
    until(LIMIT, "the new brokers to get their part", || {
        let unfilled = namespace.kubectl("get okc/kafka -o jsonpath={.status.brokers[*].unfilled}")?;
        let replicas = replicas(&namespace)?;
        let is_filled = |new: &str| replicas.iter().filter(|id| *id == new).count() > 4;
        Ok((unfilled.is_empty() && is_filled("3") && is_filled("4")).then_some(()))
    })?;
    say(&format!("from three to five brokers that hold their part in {:.1} s", began.elapsed().as_secs_f64()));
    load.go_on()?;

    // A dry run writes to no assignment.
    let before = replicas(&namespace)?;
    namespace.apply(
        "apiVersion: ottla.io/v1alpha1\nkind: KafkaRebalance\nmetadata: {name: even}\nspec: {clusterRef: {name: kafka}}\n",
    )?;
    namespace.satisfies("get okr/even -o jsonpath={.status.hash}", |hash| hash.len() == 6)?;
    ensure!(replicas(&namespace)? == before, "a dry run moved replicas");
    let now = namespace.starts()?;
    ensure!(starts.iter().all(|start| now.contains(start)), "a broker was restarted: {starts:?} became {now:?}");
    judge("from three to five that fill by themselves", load).map(drop)
}
