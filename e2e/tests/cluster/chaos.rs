//! Three brokers, three replicas of everything, clients on librdkafka and in Java, and what happens to pods, nodes, the API server and
//! the definitions. Each story ends when all replicas are in sync again; then every record is read, and the history checker judges.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::{Bed, charts};
use ottla_e2e::cluster::harm::Loss;
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::{LIMIT, judge};
use ottla_e2e::wait::until;
use ottla_e2e::witness::{Load, Testimony, Witnesses};
use std::time::{Duration, Instant};

const TOPIC: &str = "history";
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
        let load = namespace.load(TOPIC, 12, LOAD)?;
        namespace.wait_until_whole()?;
        Ok(Chaos { namespace, load, told: Vec::new() })
    }

    /// Does harm to the broker that leads most; waits until clients go on and all replicas are in sync again.
    fn suffer(&mut self, what: &str, harm: impl FnOnce(&Chaos<'_>, u64) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        let victim = self.namespace.busiest(TOPIC, BROKERS)?;
        harm(self, victim)?;
        self.load.go_on()?;
        self.namespace.wait_until_whole()?;
        self.told.push(format!("{what} broker {victim}, whole after {:.0?}", began.elapsed()));
        Ok(())
    }

    fn judge(self) -> Result<Testimony> {
        judge(&self.told.join("; "), self.load)
    }

    /// Until Kubernetes misses the node too.
    fn without_node(&self, broker: u64, loss: Loss) -> Result<()> {
        self.namespace.without_node(broker, loss, |node| {
            self.load.go_on()?;
            let missed = format!("wait node/{node} --for=condition=Ready=Unknown --timeout=180s");
            self.namespace.kubectl(&missed).map(drop)
        })
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
        chaos.suffer("deleted the pod of", |chaos, victim| chaos.namespace.delete_pod(victim, ""))?;
        chaos.suffer("force-deleted the pod of", |chaos, victim| {
            chaos.namespace.delete_pod(victim, "--grace-period=0 --force")
        })?;
        chaos.suffer("kill -9 of", |chaos, victim| chaos.namespace.kill_process(victim))?;
        chaos.suffer("froze", |chaos, victim| {
            let (frozen, uid) = (Instant::now(), chaos.namespace.pod_uid(victim)?);
            chaos.namespace.signal("STOP", &uid)?;
            chaos.namespace.wait_until_led_by_others(victim)?;
            until(LIMIT, "a while to pass", || Ok((frozen.elapsed() > FROZEN).then_some(())))?;
            chaos.namespace.signal("CONT", &uid)
        })?;
    }
    chaos.suffer("kill -9 of all at once, and of", |chaos, _| {
        let before = chaos.namespace.starts()?;
        let uids = (0..BROKERS).map(|broker| chaos.namespace.pod_uid(broker)).collect::<Result<Vec<_>>>()?;
        uids.iter().try_for_each(|uid| chaos.namespace.signal("KILL", uid))?;
        until(LIMIT, "all containers to start again", || {
            let now = chaos.namespace.starts()?;
            Ok(now.iter().all(|start| !before.contains(start)).then_some(()))
        })
    })?;
    chaos.judge().map(drop)
}

#[test]
fn every_broker_is_restarted_in_turn_and_no_client_sees_an_error() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let chaos = Chaos::begin(&bed, "chaos-rolling")?;
    let began = Instant::now();
    for broker in 0..BROKERS {
        chaos.namespace.delete_pod(broker, "")?;
        chaos.load.go_on()?;
        chaos.namespace.wait_until_whole()?;
    }
    judge(&format!("three brokers restarted in {:.0?}", began.elapsed()), chaos.load).map(drop)
}

#[test]
fn x_nodes_are_killed_frozen_cut_off_and_drained() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let mut chaos = Chaos::begin(&bed, "chaos-nodes")?;
    chaos.suffer("cut the power of the node of", |chaos, victim| chaos.without_node(victim, Loss::Killed))?;
    chaos.suffer("froze the node of", |chaos, victim| chaos.without_node(victim, Loss::Frozen))?;
    chaos.suffer("cut off the node of", |chaos, victim| chaos.without_node(victim, Loss::CutOff))?;
    chaos.suffer("drained the node of", |chaos, victim| {
        let node = chaos.namespace.node_of(victim)?;
        bed.kubectl(&format!("drain {node} --ignore-daemonsets --delete-emptydir-data --force --timeout=180s"))?;
        let pod = format!("get pod/kafka-broker-{victim} -o jsonpath={{.spec.nodeName}}");
        chaos.namespace.satisfies(&pod, |now| now.starts_with("node") && now != node)?;
        chaos.namespace.ready(&format!("pod/kafka-broker-{victim}"), "Ready")?;
        bed.kubectl(&format!("uncordon {node}")).map(drop)
    })?;
    chaos.judge().map(drop)
}

#[test]
fn x_ten_minutes_without_the_api_server_stop_nothing() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let chaos = Chaos::begin(&bed, "chaos-no-api")?;
    let (starts, victim) = (chaos.namespace.starts()?, chaos.namespace.busiest(TOPIC, BROKERS)?);
    let uid = chaos.namespace.pod_uid(victim)?;

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
    chaos.namespace.signal("KILL", &uid)?;
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
