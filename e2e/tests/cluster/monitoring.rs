//! Prometheus finds operator and brokers by the chart's monitors, and the chart's alerts fire when they should.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::{Bed, charts};
use ottla_e2e::cluster::clients::{Client, Place};
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::prometheus::Prometheus;
use ottla_e2e::cluster::{LIMIT, say};
use ottla_e2e::need::{Need, met};
use ottla_e2e::wait::until;
use std::time::Instant;

const NEEDS: &[Need] = &[Need::Program("prometheus"), Need::Program("kcat")];

#[test]
fn prometheus_scrapes_operators_and_brokers_by_the_charts_monitors() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    if !met(NEEDS) {
        return Ok(());
    }
    let namespace = Namespace::new(&bed, "scrape")?;
    namespace.brokers(3)?;
    let prometheus = Prometheus::start(&bed)?;
    for (up, pods) in [(format!("up{{namespace=\"{}\"}} == 1", namespace.name()), 3), (OPERATORS.to_owned(), 2)] {
        until(LIMIT, &format!("{pods} pods of {up}"), || {
            Ok((prometheus.query(&up, "pod")?.len() == pods).then_some(()))
        })?;
    }
    let brokers = format!("ottla_offline_partitions{{namespace=\"{}\"}}", namespace.name());
    ensure!(prometheus.query(&brokers, "kafka_cluster")? == ["kafka".to_owned()].into(), "whose are the series?");
    // The brokers' metrics that rules and dashboard name are looked for on the laptop.
    let names = regex::Regex::new(r"\bottla_operator_[a-z_]+")?;
    let known = prometheus.query("{__name__=~\"ottla_operator_.*\"}", "__name__")?;
    for file in ["rules.yaml", "dashboard.json"] {
        let text = std::fs::read_to_string(charts().join("ottla/monitoring").join(file))?;
        for name in names.find_iter(&text).map(|name| name.as_str()) {
            ensure!(
                known.contains(name) || SECURED.contains(&name),
                "{file} names {name}, which the operator does not have: {known:?}"
            );
        }
    }
    Ok(())
}

/// What the operator shows of secured clusters only; the test of its metrics names the series.
const SECURED: &[&str] = &[
    "ottla_operator_authority_expiry_timestamp_seconds",
    "ottla_operator_authority_phase",
    "ottla_operator_issuer_unreadable",
    "ottla_operator_user_certificate_expiry_timestamp_seconds",
];

/// The operators that are scraped.
const OPERATORS: &str = "up{job=\"ottla-operator\"} == 1";

#[test]
fn alerts_fire_when_partitions_or_the_control_plane_are_away() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    if !met(NEEDS) {
        return Ok(());
    }
    let namespace = Namespace::new(&bed, "monitoring")?;
    namespace.brokers(3)?;
    namespace.topic("watched", 6)?;
    let prometheus = Prometheus::start(&bed)?;
    let ours = format!("up{{namespace=\"{}\"}} == 1", namespace.name());
    until(LIMIT, "all brokers to be scraped", || Ok((prometheus.query(&ours, "pod")?.len() == 3).then_some(())))?;

    // A broker that finds no node.
    let zones = "--selector=topology.kubernetes.io/zone";
    bed.then_uncordon(zones, || {
        bed.kubectl(&format!("cordon {zones}"))?;
        namespace.kubectl("delete pod kafka-broker-1")?;
        let began = Instant::now();
        for alert in ["OttlaPartitionsOffline", "OttlaBrokerDown"] {
            prometheus.alert(alert, namespace.name(), true)?;
            say(&format!("{alert} fires {:.0?} after its broker has gone", began.elapsed()));
        }
        Ok(())
    })?;
    for alert in ["OttlaPartitionsOffline", "OttlaBrokerDown"] {
        prometheus.alert(alert, namespace.name(), false)?;
    }

    bed.tool(&["api", "stop"])?;
    let began = Instant::now();
    let fires = prometheus.alert("OttlaControlPlaneStale", namespace.name(), true);
    bed.tool(&["api", "start"])?;
    fires?;
    say(&format!("OttlaControlPlaneStale fires {:.0?} after the API server has gone", began.elapsed()));
    prometheus.alert("OttlaControlPlaneStale", namespace.name(), false)
}

#[test]
fn an_alert_fires_when_a_disk_fills() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    if !met(NEEDS) {
        return Ok(());
    }
    // A volume of 64 MiB on node 1, as small as that.
    const VOLUME: &str = "/tmp/hostpath_pv/small";
    bed.tool(&[
        "enter",
        "1",
        "sh",
        "-c",
        &format!("mkdir {VOLUME} && mount -t tmpfs -o size=64m,mode=0777 small {VOLUME}"),
    ])?;
    let namespace = Namespace::new(&bed, "disk")?;
    namespace.apply(&format!(
        "apiVersion: v1
kind: PersistentVolume
metadata: {{name: small}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: small
  hostPath: {{path: {VOLUME}}}
  nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [node1]}}]}}]}}}}
"
    ))?;
    namespace.apply(&cluster(1, "").replace("size: 1Gi", "size: 1Gi, storageClassName: small"))?;
    namespace.ready("okc/kafka", "Ready")?;
    namespace.topic("growing", 1)?;
    let prometheus = Prometheus::start(&bed)?;
    let line = format!("key\t{}\n", "x".repeat(1000));
    Place::Outside.produce(Client::Kcat, &namespace.bootstrap("external")?, "growing", &line.repeat(60_000))?;
    prometheus.alert("OttlaDiskFilling", namespace.name(), true)?;
    bed.kubectl(&format!("delete namespace {} --timeout=300s", namespace.name()))?;
    bed.kubectl("delete pv/small")?;
    bed.tool(&["enter", "1", "sh", "-c", &format!("umount {VOLUME} && rmdir {VOLUME}")])?;
    Ok(())
}
