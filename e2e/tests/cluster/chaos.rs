//! Three brokers, three replicas of everything, clients on librdkafka and in Java, and what happens to pods; in
//! [`crate::x_chaos`] to nodes, the API server and the definitions. Each story ends when all replicas are in sync
//! again; then every record is read, and the history checker judges.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::partitions::Partition;
use ottla_e2e::cluster::{LIMIT, judge};
use ottla_e2e::wait::until;
use ottla_e2e::witness::{Load, Testimony, Witnesses};
use std::time::{Duration, Instant};

pub const TOPIC: &str = "history";
pub const BROKERS: u64 = 3;
const LOAD: Load = Load { producers: 1, pace: Duration::from_millis(5), members: 2, java: true };
/// How long a pod stays frozen that would have been missed by then.
const FROZEN: Duration = Duration::from_secs(10);

pub struct Chaos<'a> {
    pub namespace: Namespace<'a>,
    pub load: Witnesses,
    told: Vec<String>,
}

impl<'a> Chaos<'a> {
    pub fn begin(bed: &'a Bed, name: &str) -> Result<Chaos<'a>> {
        Chaos::begin_with(bed, name, &durable())
    }

    /// The same with this KafkaCluster.
    pub fn begin_with(bed: &'a Bed, name: &str, cluster: &str) -> Result<Chaos<'a>> {
        let namespace = Namespace::new(bed, name)?;
        namespace.apply(cluster)?;
        namespace.ready("okc/kafka", "Ready")?;
        let load = namespace.load(TOPIC, 12, LOAD)?;
        // Made for the load's group. A later comparison of topics needs them all.
        let offsets = |one: &Partition| one.topic == "__consumer_offsets";
        until(LIMIT, "the group's topic", || {
            Ok(namespace.partitions().unwrap_or_default().iter().any(offsets).then_some(()))
        })?;
        namespace.ready("okt --all", "Ready")?;
        namespace.wait_until_whole()?;
        Ok(Chaos { namespace, load, told: Vec::new() })
    }

    /// Does harm to the broker that leads most; waits until clients continue and all replicas are in sync again.
    pub fn suffer(&mut self, what: &str, harm: impl FnOnce(&Chaos<'_>, u64) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        let victim = self.namespace.busiest(TOPIC, BROKERS)?;
        harm(self, victim)?;
        self.load.go_on()?;
        self.namespace.wait_until_whole()?;
        self.told.push(format!("{what} broker {victim}, whole after {:.0?}", began.elapsed()));
        Ok(())
    }

    /// The bootstrap Service reaches every broker that may listen, also one that is not ready: clients choose.
    fn stays_at_bootstrap(&self, broker: u64) -> Result<()> {
        let pod = format!("kafka-broker-{broker}");
        let is_ready = r#".status.conditions[?(@.type=="Ready")].status"#;
        self.namespace.satisfies(&format!("get pod/{pod} -o jsonpath={{{is_ready}}}"), |ready| ready == "False")?;
        let slices = "get endpointslices -l kubernetes.io/service-name=kafka-bootstrap -o jsonpath=";
        let reached = r#"{.items[*].endpoints[?(@.conditions.ready==true)].targetRef.name}"#;
        let reached = self.namespace.kubectl(&format!("{slices}{reached}"))?;
        ensure!(reached.split_whitespace().any(|name| name == pod), "{pod} is not ready, and not among: {reached}");
        Ok(())
    }

    /// Adds to what is printed at the end.
    pub fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    pub fn judge(self) -> Result<Testimony> {
        judge(&self.told.join("; "), self.load)
    }
}

/// Three brokers with three replicas of everything.
pub fn durable() -> String {
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
            let reached = chaos.stays_at_bootstrap(victim);
            chaos.namespace.signal("CONT", &uid)?;
            reached
        })?;
    }
    chaos.suffer("kill -9 of all at once, and of", |chaos, _| {
        let before = chaos.namespace.starts()?;
        let uids = (0..BROKERS).map(|broker| chaos.namespace.pod_uid(broker)).collect::<Result<Vec<_>>>()?;
        uids.iter().try_for_each(|uid| chaos.namespace.signal("KILL", uid))?;
        until(LIMIT, "all containers to start again", || {
            let now = chaos.namespace.starts().unwrap_or_default();
            Ok((now.len() == before.len() && now.iter().all(|start| !before.contains(start))).then_some(()))
        })
    })?;
    chaos.judge().map(drop)
}
