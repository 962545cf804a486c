//! NetworkPolicies where something enforces them: a client that a listener does not name can't connect; brokers and the
//! operator can. The cluster's own network enforces none; for this story kube-router does, on every node. It has the
//! cluster alone, for it shuts others' pods off, too.

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::{Bed, succeed};
use ottla_e2e::cluster::clients::{Client, Place, pod};
use ottla_e2e::cluster::namespace::{Namespace, cluster, topic};
use ottla_e2e::cluster::{LIMIT, say};
use ottla_e2e::wait::until;

/// Only pods with the label may connect to the first listener; to the second everybody may. The third has TLS, so that
/// brokers replicate over a listener of their own.
const LISTENERS: &str = "listeners:
  - {name: internal, port: 9092, networkPolicyPeers: [{podSelector: {matchLabels: {team: shop}}}]}
  - {name: open, port: 9093}
  - {name: secured, port: 9095, tls: {}, authentication: [{type: tls}]}";

/// The listeners, where brokers replicate, and their metrics.
const PORTS: [u16; 5] = [9092, 9093, 9095, 9091, 9404];

/// What everybody can connect to.
const OPEN: [u16; 3] = [9093, 9095, 9404];
/// What a pod with the label can connect to.
const NAMED: [u16; 4] = [9092, 9093, 9095, 9404];

const BROKERS: &str = "kafka-broker-0 kafka-broker-1 kafka-broker-2";

/// Prints which of these ports of this address accept a connection.
const CONNECT: &str = "
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), 2).close()
        print(port)
    except OSError:
        pass
";

/// What enforces policies; with it the enforcement ends.
struct Firewall<'a>(&'a Bed);

impl<'a> Firewall<'a> {
    fn start(bed: &'a Bed) -> Result<Firewall<'a>> {
        bed.tool(&["firewall", "start"])?;
        Ok(Firewall(bed))
    }
}

impl Drop for Firewall<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.tool(&["firewall", "stop"]) {
            say(&format!("the firewall stays: {error:#}"));
        }
    }
}

/// To which ports of each of these brokers a pod can connect.
fn reached(namespace: &Namespace<'_>, from: &str, brokers: &str) -> Result<Vec<(String, Vec<u16>)>> {
    let mut reached = Vec::new();
    for broker in brokers.split(' ') {
        let mut command = namespace.command(&format!("exec {from} -- /usr/bin/python -c"));
        let ports = succeed(command.arg(CONNECT).arg(broker).args(PORTS.map(|port| port.to_string())))?;
        reached.push((broker.to_owned(), ports.split_whitespace().map(str::parse).collect::<Result<_, _>>()?));
    }
    Ok(reached)
}

/// Waits until a pod can connect to just these ports of every broker.
fn reaches(namespace: &Namespace<'_>, from: &str, expected: &[u16]) -> Result<()> {
    let mut last = Vec::new();
    let seen = until(LIMIT, "NetworkPolicies to be in force", || {
        // One that is being replaced may have no pod for a moment.
        let addresses = namespace.kubectl(&format!("get pod {BROKERS} -o jsonpath={{.items[*].status.podIP}}"));
        let Ok(addresses) = addresses else { return Ok(None) };
        last = reached(namespace, from, &addresses)?;
        Ok((last.iter().all(|(_, ports)| ports == expected)).then_some(()))
    });
    seen.with_context(|| format!("{from} can connect to {last:?}, and not just to {expected:?} of each broker"))
}

#[test]
fn only_whom_a_listener_names_can_connect_where_policies_are_in_force() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "walls")?;
    let listeners = "listeners:
  - {name: internal, port: 9092}
  - {name: external, port: 9094, type: nodePort, insecure: true}";
    let yaml = cluster(3, "");
    ensure!(yaml.contains(listeners), "the case edits this");
    namespace.apply(&yaml.replace(listeners, LISTENERS))?;
    namespace.ready("okc/kafka", "Ready")?;
    let inside = Place::inside(&namespace)?;
    namespace.apply(&pod("others", ""))?;
    namespace.ready("pod/others", "Ready")?;
    namespace.kubectl("label pod clients team=shop")?;
    reaches(&namespace, "others", &PORTS)?;

    let firewall = Firewall::start(&bed)?;
    reaches(&namespace, "others", &OPEN)?;
    reaches(&namespace, "clients", &NAMED)?;
    // As the operator, whose pods have these labels in whatever namespace.
    namespace.kubectl("label pod others app.kubernetes.io/name=ottla app.kubernetes.io/component=operator")?;
    reaches(&namespace, "others", &PORTS)?;
    namespace.kubectl("label pod others app.kubernetes.io/name- app.kubernetes.io/component-")?;

    // Brokers replicate and the operator assigns, though the listeners don't name them.
    let spec = "partitions: 3, replicationFactor: 3, config: {min.insync.replicas: \"3\"}";
    namespace.apply(&topic("behind", spec))?;
    namespace.ready("okt/behind", "Ready")?;
    let servers = namespace.field("okc/kafka", ".status.listeners[?(@.name==\"internal\")].bootstrapServers")?;
    inside.produce(Client::Kcat, &servers, "behind", "key\tvalue\n")?;
    ensure!(inside.consume(Client::Kcat, &servers, "behind", 1)? == "key\tvalue\n");
    // A broker with another address comes back into every ISR.
    namespace.kubectl("delete pod kafka-broker-1")?;
    namespace.wait_until_whole()?;
    namespace.ready("okc/kafka", "Ready")?;

    namespace.kubectl("label pod clients team-")?;
    namespace.kubectl("label pod others team=shop")?;
    reaches(&namespace, "clients", &OPEN)?;
    reaches(&namespace, "others", &NAMED)?;
    drop(firewall);
    reaches(&namespace, "clients", &PORTS)
}
