//! A partition moves with `kafka-reassign-partitions`, no faster than its throttle: from brokers 0 and 1 to 1 and 2.

use anyhow::{Context, Result, ensure};
use ottla_e2e::leash::Folder;
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, ottla_program};
use ottla_e2e::tools::Tools;
use ottla_e2e::trio::Trio;
use ottla_e2e::wait::until;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);
/// More than a follower fetches at once.
const RECORDS: usize = 300;
const RECORD: usize = 10_000;

struct Session {
    tools: Tools,
    trio: Trio,
    plan: String,
    _folder: Folder,
}

impl Session {
    fn start() -> Result<Session> {
        let (tools, trio) = (Tools::start()?, Trio::start(Maker::under_test(), &ottla_program()?)?);
        let folder = Folder::new()?;
        let plan = folder.path().join("plan.json");
        std::fs::write(&plan, r#"{"version":1,"partitions":[{"topic":"moved","partition":0,"replicas":[1,2]}]}"#)?;
        Ok(Session { tools, trio, plan: plan.display().to_string(), _folder: folder })
    }

    /// Runs a tool against the cluster, which must succeed.
    fn run(&mut self, line: &str, input: &str) -> Result<String> {
        let bootstrap = self.trio.bootstrap();
        let mut words = line.split_whitespace();
        let tool = words.next().unwrap_or_default();
        let arguments: Vec<&str> = ["--bootstrap-server", &bootstrap].into_iter().chain(words).collect();
        self.tools.expect(tool, &arguments, input)
    }

    fn reassign(&mut self, how: &str) -> Result<String> {
        self.run(&format!("reassign-partitions --reassignment-json-file {} {how}", self.plan), "")
    }

    fn produce(&mut self) -> Result<()> {
        let lines = format!("{}\n", "x".repeat(RECORD)).repeat(RECORDS);
        self.run("console-producer --topic moved", &lines).map(drop)
    }

    /// Waits until the tool says exactly that of an entity's dynamic settings.
    fn wait_until_described(&mut self, entity: &str, settings: &[&str]) -> Result<()> {
        let mut said = String::new();
        let described = until(LIMIT, "the settings", || {
            said = self.run(&format!("configs --describe {entity}"), "")?;
            let lines: Vec<&str> = said.lines().skip(1).map(str::trim).collect();
            Ok((lines == settings).then_some(()))
        });
        described.map_err(|error| error.context(said))
    }

    /// Waits until these are the partition's replicas and its ISR, by the broker that is asked: another one has done
    /// the same.
    fn wait_until_on(&self, replicas: &[i32], isr: &[i32]) -> Result<()> {
        let mut shown = Vec::new();
        let so = until(LIMIT, "the replicas", || {
            shown = self.trio.partitions("moved")?;
            let [one] = &mut shown[..] else { return Ok(None) };
            one.replica_nodes.sort_unstable();
            one.isr_nodes.sort_unstable();
            Ok((one.replica_nodes == replicas && one.isr_nodes == isr).then_some(()))
        });
        so.with_context(|| format!("{shown:?}"))
    }
}

#[test]
fn a_partition_moves_no_faster_than_its_throttle_which_verify_clears() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let mut session = Session::start()?;
    session.run("topics --create --topic moved --replica-assignment 0:1", "")?;
    session.produce()?;

    let said = session.reassign("--execute --throttle 1")?;
    ensure!(said.contains("The inter-broker throttle limit was set to 1 B/s"), "{said}");
    ensure!(said.contains("Successfully started partition reassignment for moved-0"), "{said}");
    for broker in 0..3 {
        session.wait_until_described(
            &format!("--entity-type brokers --entity-name {broker}"),
            &[
                "follower.replication.throttled.rate=1 sensitive=false \
                 synonyms={DYNAMIC_BROKER_CONFIG:follower.replication.throttled.rate=1}",
                "leader.replication.throttled.rate=1 sensitive=false \
                 synonyms={DYNAMIC_BROKER_CONFIG:leader.replication.throttled.rate=1}",
            ],
        )?;
    }
    session.wait_until_described(
        "--entity-type topics --entity-name moved",
        &[
            "follower.replication.throttled.replicas=0:2 sensitive=false \
             synonyms={DYNAMIC_TOPIC_CONFIG:follower.replication.throttled.replicas=0:2}",
            "leader.replication.throttled.replicas=0:0,0:1 sensitive=false \
             synonyms={DYNAMIC_TOPIC_CONFIG:leader.replication.throttled.replicas=0:0,0:1}",
        ],
    )?;
    // As fast as ever: those in sync are not slowed down.
    session.produce()?;
    let said = session.reassign("--verify")?;
    ensure!(said.contains("Reassignment of partition moved-0 is still in progress."), "{said}");
    session.wait_until_on(&[0, 1, 2], &[0, 1])?;

    let said = session.reassign("--execute --additional --throttle 100000000")?;
    ensure!(said.contains("The inter-broker throttle limit was set to 100000000 B/s"), "{said}");
    let said = until(LIMIT, "the move to end", || {
        let said = session.reassign("--verify")?;
        Ok(said.contains("Reassignment of partition moved-0 is completed.").then_some(said))
    })?;
    ensure!(said.contains("Clearing broker-level throttles on brokers 0,1,2"), "{said}");
    ensure!(said.contains("Clearing topic-level throttles on topic moved"), "{said}");
    session.wait_until_on(&[1, 2], &[1, 2])?;
    for broker in 0..3 {
        session.wait_until_described(&format!("--entity-type brokers --entity-name {broker}"), &[])?;
    }
    session.wait_until_described("--entity-type topics --entity-name moved", &[])
}
