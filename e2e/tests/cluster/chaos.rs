//! Three brokers, three replicas of everything, clients on librdkafka and in Java, and what happens to pods, nodes, the API server and
//! the definitions. Each story ends when all replicas are in sync again; then every record is read, and the history checker judges.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::{Bed, charts};
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::{LIMIT, judge};
use ottla_e2e::wait::until;
use ottla_e2e::witness::{Load, Testimony, Witnesses};
use std::time::{Duration, Instant};

const BROKERS: u64 = 3;
const LOAD: Load = Load { producers: 1, pace: Duration::from_millis(5), members: 2, java: true };
/// So long is nobody to be missed.
const WITHOUT_API: Duration = Duration::from_secs(600);
/// How long a pod stays frozen that would have been missed by then.
const FROZEN: Duration = Duration::from_secs(10);

struct Chaos<'a> {
    namespace: Namespace<'a>,
    load: Witnesses,
    told: Vec<String>,
}

impl<'a> Chaos<'a> {
    fn begin(bed: &'a Bed, name: &str) -> Result<Chaos<'a>> {
        let namespace = Namespace::new(bed, name)?;
        namespace.apply(&durable())?;
        namespace.ready("kc/kafka", "Ready")?;
        let load = namespace.load("history", 12, LOAD)?;
        namespace.wait_until_whole()?;
        Ok(Chaos { namespace, load, told: Vec::new() })
    }

    /// Does harm to the broker that leads most; waits until clients go on and all replicas are in sync again.
    fn suffer(&mut self, what: &str, harm: impl FnOnce(&Chaos<'_>, u64) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        let victim = self.namespace.busiest(BROKERS)?;
        harm(self, victim)?;
        self.load.go_on()?;
        self.namespace.wait_until_whole()?;
        self.told.push(format!("{what} broker {victim}, whole after {:.0?}", began.elapsed()));
        Ok(())
    }

    fn judge(self) -> Result<Testimony> {
        judge(&self.told.join("; "), self.load)
    }

    fn pod_uid(&self, broker: u64) -> Result<String> {
        self.namespace.field(&format!("pod/kafka-broker-{broker}"), ".metadata.uid")
    }

    /// Signals the broker itself, as nobody in its pod could.
    fn signal(&self, signal: &str, broker: u64) -> Result<()> {
        self.namespace.tool(&["signal", signal, &self.pod_uid(broker)?, "ottla"]).map(drop)
    }

    /// Deletes a pod and waits until another stands in its place.
    fn delete_pod(&self, broker: u64, how: &str) -> Result<()> {
        let before = self.pod_uid(broker)?;
        self.namespace.kubectl(&format!("delete pod kafka-broker-{broker} --wait=false {how}"))?;
        let another = |uid: &str| uid.len() == before.len() && uid != before;
        self.namespace.satisfies(&format!("get pod/kafka-broker-{broker} -o jsonpath={{.metadata.uid}}"), another)?;
        self.namespace.ready(&format!("pod/kafka-broker-{broker}"), "Ready").map(drop)
    }

    /// Kills a broker's process and waits until its container was started again.
    fn kill(&self, broker: u64) -> Result<()> {
        let before = self.namespace.starts()?;
        self.signal("KILL", broker)?;
        until(LIMIT, "the container to start again", || Ok((self.namespace.starts()? != before).then_some(())))
    }

    /// The number of the node that a broker is on.
    fn node_of(&self, broker: u64) -> Result<String> {
        let node = self.namespace.field(&format!("pod/kafka-broker-{broker}"), ".spec.nodeName")?;
        Ok(node.trim_start_matches("node").to_owned())
    }

    /// Does this to the broker's node until Kubernetes misses it too, and undoes it.
    fn without_node(&self, broker: u64, [lose, regain]: [&str; 2]) -> Result<()> {
        let node = self.node_of(broker)?;
        self.namespace.tool(&[lose, &node])?;
        self.namespace.wait_until_led_by_others(broker)?;
        self.load.go_on()?;
        self.namespace.kubectl(&format!("wait node/node{node} --for=condition=Ready=Unknown --timeout=180s"))?;
        self.namespace.tool(&[regain, &node])?;
        self.namespace.kubectl(&format!("wait node/node{node} --for=condition=Ready --timeout=180s"))?;
        Ok(())
    }
}

fn durable() -> String {
    cluster(BROKERS as u32, "defaults: {replicationFactor: 3, minInSyncReplicas: 2}")
}

#[test]
fn pods_are_deleted_and_force_deleted_and_brokers_killed_and_frozen() -> Result<()> {
    let Some(bed) = Bed::on_this_machine()? else { return Ok(()) };
    let mut chaos = Chaos::begin(&bed, "chaos-pods")?;
    for _ in 0..2 {
        chaos.suffer("deleted the pod of", |chaos, victim| chaos.delete_pod(victim, ""))?;
        chaos
            .suffer("force-deleted the pod of", |chaos, victim| chaos.delete_pod(victim, "--grace-period=0 --force"))?;
        chaos.suffer("kill -9 of", |chaos, victim| chaos.kill(victim))?;
        chaos.suffer("froze", |chaos, victim| {
            let frozen = Instant::now();
            chaos.signal("STOP", victim)?;
            chaos.namespace.wait_until_led_by_others(victim)?;
            until(LIMIT, "a while to pass", || Ok((frozen.elapsed() > FROZEN).then_some(())))?;
            chaos.signal("CONT", victim)
        })?;
    }
    chaos.judge().map(drop)
}

#[test]
fn every_broker_is_restarted_in_turn_and_no_client_sees_an_error() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let chaos = Chaos::begin(&bed, "chaos-rolling")?;
    let began = Instant::now();
    for broker in 0..BROKERS {
        chaos.delete_pod(broker, "")?;
        chaos.load.go_on()?;
        chaos.namespace.wait_until_whole()?;
    }
    judge(&format!("three brokers restarted in {:.0?}", began.elapsed()), chaos.load).map(drop)
}

#[test]
fn x_nodes_are_killed_frozen_cut_off_and_drained() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let mut chaos = Chaos::begin(&bed, "chaos-nodes")?;
    chaos.suffer("cut the power of the node of", |chaos, victim| chaos.without_node(victim, ["kill", "add"]))?;
    chaos.suffer("froze the node of", |chaos, victim| chaos.without_node(victim, ["freeze", "thaw"]))?;
    chaos.suffer("cut off the node of", |chaos, victim| chaos.without_node(victim, ["cut", "join"]))?;
    chaos.suffer("drained the node of", |chaos, victim| {
        let (node, before) = (chaos.node_of(victim)?, chaos.pod_uid(victim)?);
        bed.kubectl(&format!("drain node{node} --ignore-daemonsets --delete-emptydir-data --force --timeout=180s"))?;
        let pod = format!("get pod/kafka-broker-{victim} -o jsonpath={{.spec.nodeName}}");
        chaos.namespace.satisfies(&pod, |now| now.starts_with("node") && now != format!("node{node}"))?;
        chaos.namespace.ready(&format!("pod/kafka-broker-{victim}"), "Ready")?;
        ensure!(chaos.pod_uid(victim)? != before);
        bed.kubectl(&format!("uncordon node{node}")).map(drop)
    })?;
    chaos.judge().map(drop)
}

#[test]
fn x_ten_minutes_without_the_api_server_stop_nothing() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let chaos = Chaos::begin(&bed, "chaos-no-api")?;
    let (starts, victim) = (chaos.namespace.starts()?, chaos.namespace.busiest(BROKERS)?);
    let uid = chaos.pod_uid(victim)?;

    bed.tool(&["api", "stop"])?;
    let began = Instant::now();
    let pass = |until: Duration| -> Result<()> {
        while began.elapsed() < until {
            chaos.load.go_on()?;
        }
        Ok(())
    };
    pass(WITHOUT_API / 2)?;
    // A container that starts again in its pod serves what it led, and nobody is elected.
    bed.tool(&["signal", "KILL", &uid, "ottla"])?;
    pass(WITHOUT_API)?;
    bed.tool(&["api", "start"])?;

    // The cluster is as it was but for that one, and as willing as before.
    chaos.namespace.ready("kc/kafka", "Ready")?;
    chaos.namespace.topic("afterwards", 3)?;
    chaos.load.go_on()?;
    chaos.namespace.wait_until_whole()?;
    let restarted: Vec<String> =
        chaos.namespace.starts()?.into_iter().filter(|start| !starts.contains(start)).collect();
    ensure!(restarted.len() == 1 && restarted[0].contains(&uid), "restarted: {restarted:?}");
    let what = format!("{:?} without the API server, with a kill -9 of broker {victim}", WITHOUT_API);
    judge(&what, chaos.load).map(drop)
}

#[test]
fn x_definitions_deleted_by_mistake_stop_nothing() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    let chaos = Chaos::begin(&bed, "chaos-crds")?;
    let starts = chaos.namespace.starts()?;
    let claims = chaos.namespace.kubectl("get pvc -o name")?;

    bed.kubectl("delete crd kafkaassignments.ottla.io kafkatopics.ottla.io kafkaclusters.ottla.io --timeout=120s")?;
    chaos.load.go_on()?;
    // As whoever deleted them would: the definitions again, for the other tests too.
    bed.helm("uninstall ottla-crds --wait")?;
    bed.helm(&format!("install ottla-crds {} --wait", charts().join("ottla-crds").display()))?;
    chaos.load.go_on()?;
    ensure!(starts == chaos.namespace.starts()?, "a broker was restarted");
    ensure!(chaos.namespace.kubectl("get pvc -o name")? == claims, "a volume is gone");
    judge("definitions deleted", chaos.load).map(drop)
}
