//! Fail-over on a real Kubernetes, seen by the same client from outside, through node ports; on the cluster of this
//! machine, which it breaks.
//!
//! A run's number is the longest time that one of the partitions that the broker led went without an acknowledgement,
//! until all replicas were in sync again.

use anyhow::{Context, Result};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::harm::Loss;
use ottla_e2e::cluster::namespace::{Namespace, cluster, topic};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::{Client, Library, PARTITIONS};
use crate::failover::{Goal, median_and_max};

const TOPIC: &str = "failover";
const BROKERS: u64 = 3;

/// What happens to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Delete,
    ForceDelete,
    Lose(Loss),
}

const FAULTS: [Fault; 6] = [
    Fault::Kill,
    Fault::Delete,
    Fault::ForceDelete,
    Fault::Lose(Loss::Killed),
    Fault::Lose(Loss::Frozen),
    Fault::Lose(Loss::CutOff),
];

/// Measures, and prints the table.
pub fn run(library: Library, runs: usize) -> Result<()> {
    let bed = Bed::to_break()?.context("needs the cluster on this machine")?;
    let namespace = Namespace::new(&bed, "failover")?;
    namespace.apply(&cluster(BROKERS as u32, "defaults: {replicationFactor: 3, minInSyncReplicas: 2}"))?;
    namespace.ready("okc/kafka", "Ready")?;
    namespace.apply(&topic(TOPIC, &format!("partitions: {PARTITIONS}")))?;
    namespace.ready(&format!("okt/{TOPIC}"), "Ready")?;
    let client = Client::start(library, &namespace.bootstrap("external")?, TOPIC)?;
    let mut pauses: BTreeMap<Fault, Vec<f64>> = BTreeMap::new();
    for (run, fault) in (0..runs).flat_map(|run| FAULTS.map(|fault| (run, fault))) {
        let pause = suffer(&namespace, &client, fault)?;
        eprintln!("run {run}, {}: {} ms", fault.name(), pause.as_millis());
        pauses.entry(fault).or_default().push(pause.as_secs_f64() * 1e3);
    }
    println!("{} records failed", client.finish()?);
    println!("| fault, {runs} runs | p50 ms | max ms | goal | met |\n|---|--:|--:|---|---|");
    for (fault, pauses) in pauses {
        let (goal, (p50, max)) = (fault.goal(), median_and_max(&pauses));
        println!("| {} | {p50:.0} | {max:.0} | {goal} | {} |", fault.name(), goal.verdict(p50, max));
    }
    Ok(())
}

fn suffer(namespace: &Namespace<'_>, client: &Client, fault: Fault) -> Result<Duration> {
    namespace.wait_until_whole()?;
    client.all_acknowledged(20)?;
    let victim = namespace.busiest(TOPIC, BROKERS)?;
    let partitions = namespace.partitions()?;
    let led = partitions.iter().filter(|one| one.topic == TOPIC && one.leader == Some(victim));
    let affected: Vec<usize> = led.map(|partition| partition.number).collect();
    client.forget_pauses();
    match fault {
        Fault::Kill => namespace.kill_process(victim)?,
        Fault::Delete => namespace.delete_pod(victim, "")?,
        Fault::ForceDelete => namespace.delete_pod(victim, "--grace-period=0 --force")?,
        Fault::Lose(loss) => namespace.without_node(victim, loss, |_| client.all_acknowledged(5))?,
    }
    namespace.wait_until_whole()?;
    client.all_acknowledged(5)?;
    client.longest_pause(&affected)
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill −9 inside the pod",
            Fault::Delete => "pod deleted",
            Fault::ForceDelete => "pod force-deleted",
            Fault::Lose(Loss::Killed) => "node killed",
            Fault::Lose(Loss::Frozen) => "node frozen",
            Fault::Lose(Loss::CutOff) => "node cut off",
        }
    }

    fn goal(self) -> Goal {
        match self {
            Fault::Kill | Fault::Delete | Fault::ForceDelete => Goal { p50: 100, max: 500 },
            Fault::Lose(Loss::Killed) => Goal { p50: 1000, max: 2000 },
            Fault::Lose(Loss::Frozen | Loss::CutOff) => Goal { p50: 2000, max: 3000 },
        }
    }
}
