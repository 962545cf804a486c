//! Chains of read-process-write jobs on the cluster, from outside through node ports: each record comes out once, and
//! in order. `ottla_e2e::chain::play` names the variables that make them longer, or play a seed again.

use crate::chaos::BROKERS;
use anyhow::Result;
use ottla_e2e::chain::Program;
use ottla_e2e::chain::job::Group;
use ottla_e2e::chain::play::{Brokers, SESSIONS, play};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::need::{Need, met};
use std::path::Path;

#[test]
fn a_chain_of_cooperative_groups_of_librdkafka_passes_each_record_on_once() -> Result<()> {
    chain("librdkafka", Group::Cooperative, false, |_| {
        Ok(Program::librdkafka(Path::new(env!("CARGO_BIN_EXE_chain-member"))))
    })
}

#[test]
fn a_chain_of_static_members_of_franz_go_passes_each_record_on_once() -> Result<()> {
    if !met(&[Need::Go]) {
        return Ok(());
    }
    chain("franz-go", Group::Eager, true, Program::franz)
}

#[test]
fn a_chain_of_consumer_groups_of_java_passes_each_record_on_once() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    chain("java", Group::Consumer, false, Program::java)
}

fn chain(client: &str, group: Group, is_static: bool, program: fn(&Path) -> Result<Program>) -> Result<()> {
    let Some(bed) = Bed::on_this_machine()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let program = program(folder.path())?;
    let namespace = Namespace::new(&bed, &format!("chain-{client}"))?;
    let sessions: Vec<String> = SESSIONS.iter().map(|(name, value)| format!("{name}: \"{value}\"")).collect();
    let durable = "defaults: {replicationFactor: 3, minInSyncReplicas: 2}";
    namespace.apply(&cluster(BROKERS as u32, &format!("config: {{{}}}\n  {durable}", sessions.join(", "))))?;
    namespace.ready("okc/kafka", "Ready")?;
    play(&format!("chain of {client} on the cluster"), &mut Pods(namespace), program, group, is_static)
}

struct Pods<'a>(Namespace<'a>);

impl Brokers for Pods<'_> {
    const COUNT: u16 = BROKERS as u16;

    fn create_topic(&mut self, name: &str, partitions: u32) -> Result<()> {
        self.0.topic(name, partitions).map(drop)
    }

    fn bootstrap(&self) -> Result<String> {
        self.0.bootstrap("external")
    }

    fn kill(&mut self, broker: u16) -> Result<()> {
        self.0.kill_process(broker.into())
    }

    fn freeze(&mut self, broker: u16, meanwhile: fn() -> Result<()>) -> Result<()> {
        let uid = self.0.pod_uid(broker.into())?;
        self.0.signal("STOP", &uid)?;
        meanwhile()?;
        self.0.signal("CONT", &uid)
    }

    fn wait_until_whole(&self) -> Result<()> {
        self.0.wait_until_whole()
    }

    fn save_logs(&self, to: &Path) -> Result<()> {
        for broker in 0..Self::COUNT {
            let said = self.0.kubectl(&format!("logs kafka-broker-{broker} --tail=-1"))?;
            std::fs::write(to.join(format!("broker-{broker}.log")), said)?;
        }
        Ok(())
    }
}
