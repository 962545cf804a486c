//! A backup by `ottla objects --cluster`, and what comes back from it when objects were deleted.

use anyhow::{Context, Result, ensure};
use ottla_e2e::target::ottla_program;
use std::path::Path;
use std::process::Command;

use crate::bed::{LIMIT, Laptop, can_run};
use crate::client::{produce, read, wait_for_leaders};

/// The command of the CronJob in `charts/ottla/examples/backup.yaml`; the file that it has written.
fn back_up(laptop: &Laptop, into: &Path) -> Result<String> {
    let config = laptop.folder().join("kubeconfig");
    let yaml = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: laptop\n\
         contexts: [{{name: laptop, context: {{cluster: laptop, user: me, namespace: default}}}}]\n\
         clusters: [{{name: laptop, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\nusers: [{{name: me, user: {{}}}}]\n",
        laptop.api_port()
    );
    std::fs::write(&config, yaml)?;
    let mut command = Command::new(ottla_program()?);
    command.args(["objects", "--cluster", "laptop", "--keep", "2", "--into"]).arg(into).env("KUBECONFIG", &config);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn a_topic_that_was_deleted_with_its_assignments_comes_back_from_a_backup_with_its_records() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let file = laptop.topic_file("orders", "partitions: 1")?;
    laptop.kubectl(&format!("create -f {file}"))?;
    wait_for_leaders(&mut laptop.connect(0)?, "orders", 1)?;
    produce(&mut laptop.connect(0)?, "orders", 0, b"before")?;
    let ready = || laptop.kubectl(&format!("wait okt/orders --for=condition=Ready --timeout={}s", LIMIT.as_secs()));
    let id = || laptop.kubectl("get okt/orders -o jsonpath={.status.topicId}");
    ready()?;
    let before = id()?;

    let folder = laptop.folder().join("backup");
    std::fs::create_dir(&folder)?;
    let backup = back_up(&laptop, &folder)?;
    let kinds = std::fs::read_to_string(&backup)?;
    let kinds: Vec<String> = kinds
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line)?;
            object["kind"].as_str().map(str::to_owned).context("an object has a kind")
        })
        .collect::<Result<_>>()?;
    ensure!(kinds == ["KafkaAssignment", "KafkaTopic", "KafkaCluster"], "{kinds:?}");

    // By mistake: without a tombstone, so the broker keeps the records.
    laptop.kubectl("delete oka --all --timeout=120s")?;
    laptop.kubectl("delete okt --all --timeout=120s")?;
    let exists = laptop.kubectl_refuses(&format!("create -f {backup}"))?;
    ensure!(exists.lines().count() == 1 && exists.contains("AlreadyExists"), "only the cluster was left: {exists}");
    ready()?;
    ensure!(id()? == before, "it is another topic");
    produce(&mut laptop.connect(0)?, "orders", 0, b"after")?;
    let records = read(&mut laptop.connect(0)?, "orders", 0)?;
    ensure!(records.len() == 2, "{} records instead of 2", records.len());
    Ok(())
}
