//! Stock `kubectl` against the port: a session as an administrator types it, with the texts that they read.
//!
//! Skipped, loudly, where there is no `kubectl`.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_local_api::{Server, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

/// `kubectl`, with a home of its own so that it finds no configuration and shares no cache.
struct Kubectl {
    server: String,
    home: TempDir,
}

struct Said {
    succeeded: bool,
    out: String,
    err: String,
}

impl Kubectl {
    /// A served memory store, or `None` where the program is missing.
    async fn start() -> Result<Option<Self>> {
        if Command::new("kubectl").args(["version", "--client"]).output().await.is_err() {
            assert!(std::env::var_os("OTTLA_NO_SKIP").is_none(), "kubectl may not be skipped: it is not on the PATH");
            // Not eprintln: the test harness would swallow it.
            writeln!(std::io::stderr(), "SKIPPED kubectl: it is not on the PATH")?;
            return Ok(None);
        }
        let server = Server::new(Store::Memory, vec![serde_yaml::from_str(include_str!("gadget.yaml"))?])?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        Ok(Some(Self { server: address, home: tempfile::tempdir()? }))
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(["--server", &self.server, "--cache-dir"])
            .arg(self.home.path().join("cache"))
            .args(line.split_whitespace())
            .env("HOME", self.home.path())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn ask(&self, mut command: Command) -> Result<Said> {
        let output = tokio::time::timeout(Duration::from_secs(180), command.output()).await??;
        Ok(Said {
            succeeded: output.status.success(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// The arguments, split at blanks.
    async fn run(&self, line: &str) -> Result<String> {
        let said = self.ask(self.command(line)).await?;
        ensure!(said.succeeded, "kubectl {line} failed: {}{}", said.out, said.err);
        Ok(said.out)
    }

    async fn refused(&self, line: &str) -> Result<String> {
        let said = self.ask(self.command(line)).await?;
        ensure!(!said.succeeded, "kubectl {line} went through: {}", said.out);
        Ok(said.err.trim().to_owned())
    }

    fn file(&self, name: &str, content: &Value) -> Result<PathBuf> {
        let path = self.home.path().join(name);
        std::fs::write(&path, serde_yaml::to_string(content)?)?;
        Ok(path)
    }

    fn gadget(&self, spec: &Value) -> Result<String> {
        let gadget = json!({
            "apiVersion": "test.ottla.io/v1", "kind": "Gadget", "metadata": {"name": "a"}, "spec": spec,
        });
        Ok(self.file("gadget.yaml", &gadget)?.display().to_string())
    }
}

/// A table as words: how many blanks there are between columns is kubectl's affair.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn an_object_lives_its_life() -> Result<()> {
    let Some(kubectl) = Kubectl::start().await? else { return Ok(()) };
    let file = kubectl.gadget(&json!({"partitions": 3}))?;
    assert_eq!(kubectl.run(&format!("create -f {file}")).await?, "gadget.test.ottla.io/a created\n");
    let table = kubectl.run("get gadgets").await?;
    assert_eq!(rows(&table)[0], ["NAME", "PARTITIONS", "READY", "AGE"]);
    assert_eq!(rows(&table)[1][..2], ["a", "3"]);
    let wide = kubectl.run("get gd -o wide").await?;
    assert_eq!(rows(&wide)[0], ["NAME", "PARTITIONS", "READY", "CLUSTER", "AGE"]);
    let everywhere = kubectl.run("get kafka -A").await?;
    assert_eq!(rows(&everywhere)[1][..3], ["default", "a", "3"]);
    let yaml: Value = serde_yaml::from_str(&kubectl.run("get gadget a -o yaml").await?)?;
    assert_eq!(yaml["spec"], json!({"partitions": 3, "replicas": 1, "cluster": "main", "limits": {"bytes": 3}}));
    assert_eq!(kubectl.run("get gadgets -o name").await?, "gadget.test.ottla.io/a\n");

    assert_eq!(kubectl.run(&format!("apply -f {file}")).await?, "gadget.test.ottla.io/a configured\n");
    let file = kubectl.gadget(&json!({"partitions": 5}))?;
    let difference = kubectl.ask(kubectl.command(&format!("diff -f {file}"))).await?.out;
    assert!(difference.contains("-  partitions: 3\n+  partitions: 5"), "{difference}");
    assert_eq!(kubectl.run(&format!("apply -f {file}")).await?, "gadget.test.ottla.io/a configured\n");
    assert_eq!(kubectl.run(&format!("apply -f {file}")).await?, "gadget.test.ottla.io/a unchanged\n");
    let applied = kubectl.run(&format!("apply --server-side -f {file}")).await?;
    assert_eq!(applied, "gadget.test.ottla.io/a serverside-applied\n");

    assert_eq!(kubectl.run("label gadget a color=red").await?, "gadget.test.ottla.io/a labeled\n");
    assert_eq!(kubectl.run("annotate gadget a note=x").await?, "gadget.test.ottla.io/a annotated\n");
    assert_eq!(rows(&kubectl.run("get gadgets -l color=red").await?).len(), 2);
    assert_eq!(rows(&kubectl.run("get gadgets -l color=blue").await?).len(), 0);
    assert_eq!(kubectl.run("scale gadget a --replicas 4").await?, "gadget.test.ottla.io/a scaled\n");
    assert_eq!(kubectl.run("get gadget a -o jsonpath={.spec.replicas}").await?, "4");
    let status = r#"patch gadget a --subresource=status --type=merge -p {"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;
    kubectl.run(status).await?;
    kubectl.run("wait gadget/a --for=condition=Ready --timeout=120s").await?;
    assert_eq!(rows(&kubectl.run("get gadgets").await?)[1][..3], ["a", "5", "True"]);

    let mut edit = kubectl.command("edit gadget a");
    edit.env("EDITOR", "sed -i s/partitions:.5/partitions:\\ 6/");
    assert_eq!(kubectl.ask(edit).await?.out, "gadget.test.ottla.io/a edited\n");
    let described = kubectl.run("describe gadget a").await?;
    assert!(described.contains("Partitions:  6"), "{described}");
    let explained = kubectl.run("explain gadget.spec.partitions").await?;
    assert!(explained.contains("partitions <integer>") && explained.contains("How many."), "{explained}");

    let deleted = kubectl.run("delete gadget a").await?; // newer ones say from which namespace
    assert!(deleted.starts_with("gadget.test.ottla.io \"a\" deleted"), "{deleted}");
    assert_eq!(
        kubectl.refused("get gadget a").await?,
        "Error from server (NotFound): gadgets.test.ottla.io \"a\" not found"
    );
    Ok(())
}

#[tokio::test]
async fn refusals_name_the_field_and_the_reason() -> Result<()> {
    let Some(kubectl) = Kubectl::start().await? else { return Ok(()) };
    let file = kubectl.gadget(&json!({"partitions": 0}))?;
    assert_eq!(
        kubectl.refused(&format!("create -f {file}")).await?,
        "The Gadget \"a\" is invalid: spec.partitions: Invalid value: 0: spec.partitions in body should be greater \
         than or equal to 1"
    );
    let file = kubectl.gadget(&json!({"partitions": 3, "bogus": 1}))?;
    assert_eq!(
        kubectl.refused(&format!("create -f {file}")).await?,
        format!(
            "Error from server (BadRequest): error when creating \"{file}\": Gadget in version \"v1\" cannot be \
             handled as a Gadget: strict decoding error: unknown field \"spec.bogus\""
        )
    );
    let file = kubectl.gadget(&json!({"partitions": 3}))?;
    kubectl.run(&format!("create -f {file}")).await?;
    assert_eq!(
        kubectl.refused(r#"patch gadget a --type=merge -p {"spec":{"partitions":2}}"#).await?,
        "The Gadget \"a\" is invalid: spec: Invalid value: \"object\": partitions can not be reduced"
    );
    let file = kubectl.gadget(&json!({"partitions": 4}))?;
    let conflict = kubectl.refused(&format!("apply --server-side --field-manager=one -f {file}")).await?;
    let expected =
        "Apply failed with 1 conflict: conflict with \"kubectl-create\" using test.ottla.io/v1: .spec.partitions";
    assert!(conflict.contains(expected), "{conflict}");
    kubectl.run(&format!("apply --server-side --force-conflicts --field-manager=one -f {file}")).await?;
    Ok(())
}

#[tokio::test]
async fn a_watch_shows_changes_as_they_happen() -> Result<()> {
    let Some(kubectl) = Kubectl::start().await? else { return Ok(()) };
    let file = kubectl.gadget(&json!({"partitions": 3}))?;
    kubectl.run(&format!("create -f {file}")).await?;
    let mut watching = kubectl.command("get gadgets -w --output-watch-events").spawn()?;
    let mut lines = BufReader::new(watching.stdout.take().context("stdout is piped")?).lines();
    let mut next = async || -> Result<Vec<String>> {
        let line = tokio::time::timeout(Duration::from_secs(120), lines.next_line()).await??;
        Ok(line.context("the watch ended")?.split_whitespace().take(3).map(str::to_owned).collect())
    };
    assert_eq!(next().await?, ["EVENT", "NAME", "PARTITIONS"]);
    assert_eq!(next().await?, ["ADDED", "a", "3"]);
    kubectl.run(r#"patch gadget a --type=merge -p {"spec":{"partitions":4}}"#).await?;
    assert_eq!(next().await?, ["MODIFIED", "a", "4"]);
    kubectl.run("delete gadget a --wait=false").await?;
    assert_eq!(next().await?, ["DELETED", "a", "4"]);
    Ok(())
}

#[tokio::test]
async fn namespaces_come_and_go_with_what_is_in_them() -> Result<()> {
    let Some(kubectl) = Kubectl::start().await? else { return Ok(()) };
    let file = kubectl.gadget(&json!({"partitions": 3}))?;
    assert_eq!(
        kubectl.refused(&format!("-n team create -f {file}")).await?,
        format!("Error from server (NotFound): error when creating \"{file}\": namespaces \"team\" not found")
    );
    assert_eq!(kubectl.run("create namespace team").await?, "namespace/team created\n");
    kubectl.run(&format!("-n team create -f {file}")).await?;
    assert_eq!(rows(&kubectl.run("get namespaces").await?).len(), 3);
    assert_eq!(kubectl.run("delete namespace team --timeout=120s").await?, "namespace \"team\" deleted\n");
    assert_eq!(rows(&kubectl.run("get gadgets -A").await?).len(), 0);
    Ok(())
}

#[tokio::test]
async fn everything_served_is_discovered() -> Result<()> {
    let Some(kubectl) = Kubectl::start().await? else { return Ok(()) };
    let resources = kubectl.run("api-resources --no-headers").await?;
    let kinds: Vec<&str> = resources.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(
        kinds,
        ["ConfigMap", "Event", "Namespace", "Secret", "CustomResourceDefinition", "Lease", "Event", "Gadget"]
    );
    assert!(kubectl.run("version").await?.contains("Server Version: v1.34"));
    assert_eq!(rows(&kubectl.run("get crd").await?)[1][0], "gadgets.test.ottla.io");
    kubectl.run("wait crd gadgets.test.ottla.io --for=condition=Established --timeout=120s").await?;
    assert!(kubectl.refused("delete crd gadgets.test.ottla.io").await?.contains("does not allow this method"));
    for resource in ["events", "leases", "gadgets"] {
        assert_eq!(kubectl.run(&format!("get {resource}")).await?, "", "{resource}");
    }
    Ok(())
}

#[tokio::test]
async fn events_are_taken_from_standard_input_listed_and_described() -> Result<()> {
    let Some(kubectl) = Kubectl::start().await? else { return Ok(()) };
    let file = kubectl.gadget(&json!({"partitions": 1}))?;
    kubectl.run(&format!("create -f {file}")).await?;
    let uid = kubectl.run("get gadget a -o jsonpath={.metadata.uid}").await?;
    let event = serde_yaml::to_string(&json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Normal", "reason": "Made",
        "message": "made it", "eventTime": "2026-01-01T00:00:00.000000Z",
        "involvedObject": {"kind": "Gadget", "name": "a", "namespace": "default", "uid": uid},
    }))?;
    let mut create = kubectl.command("create -f -").stdin(Stdio::piped()).spawn()?;
    let mut stdin = create.stdin.take().context("stdin is piped")?;
    stdin.write_all(event.as_bytes()).await?;
    drop(stdin);
    assert!(create.wait().await?.success());

    for resource in ["events", "events.events.k8s.io"] {
        let events = kubectl.run(&format!("get {resource}")).await?;
        assert_eq!(rows(&events)[0], ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
        assert_eq!(rows(&events)[1][1..], ["Normal", "Made", "gadget/a", "made", "it"]);
    }
    let described = kubectl.run("describe gadget a").await?;
    assert!(described.contains("Made") && described.contains("made it"), "{described}");
    Ok(())
}
