//! Nodes are drained and lost. With one replica the partitions of a broker wait for it; nothing is lost.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::load::Load;
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::say;

#[test]
fn a_drained_broker_moves_to_another_node_with_its_data() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "drain")?;
    namespace.brokers(3)?;
    namespace.topic("load", 6)?;
    let load = Load::start(&namespace.bootstrap("external")?, "load")?;
    let node = namespace.field("pod/kafka-broker-2", ".spec.nodeName")?;

    bed.kubectl(&format!("drain {node} --ignore-daemonsets --delete-emptydir-data --force --timeout=180s"))?;
    namespace.satisfies("get pod/kafka-broker-2 -o jsonpath={.spec.nodeName}", |now| {
        now.starts_with("node") && now != node
    })?;
    namespace.ready("pod/kafka-broker-2", "Ready")?;
    load.goes_on()?;
    bed.kubectl(&format!("uncordon {node}"))?;
    let summary = load.finish()?;
    say(&format!("drained: {} records, the longest pause {:?}", summary.records, summary.longest_pause));
    Ok(())
}

#[test]
fn a_lost_node_comes_back_and_its_broker_with_it() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "power")?;
    namespace.brokers(3)?;
    namespace.topic("load", 6)?;
    let node = namespace.field("pod/kafka-broker-2", ".spec.nodeName")?;
    let number = node.trim_start_matches("node").to_owned();
    ensure!(number != "1", "the NodePorts that the load uses are on node 1");
    let load = Load::start(&namespace.bootstrap("external")?, "load")?;

    bed.tool(&["kill", &number])?;
    bed.kubectl(&format!("wait node/{node} --for=condition=Ready=Unknown --timeout=180s"))?;
    namespace.prints("get kc/kafka -o jsonpath={.status.brokers[2].state}", "Offline")?;
    bed.tool(&["add", &number])?;
    bed.kubectl(&format!("wait node/{node} --for=condition=Ready --timeout=180s"))?;
    namespace.prints("get kc/kafka -o jsonpath={.status.brokers[*].state}", "Online Online Online")?;
    load.goes_on()?;
    let summary = load.finish()?;
    say(&format!("power cut: {} records, the longest pause {:?}", summary.records, summary.longest_pause));
    Ok(())
}
