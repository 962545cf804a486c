//! The charts without a cluster: what they render, what they refuse, and what their alerts and dashboard rest on.

use anyhow::{Context, Result, ensure};
use expect_test::expect_file;
use ottla_e2e::need::{Need, met, program};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Everything on, as far as it is off by default.
const FULL: &str = "\
image:
  repository: registry.example/ottla
  digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  pullPolicy: Always
  pullSecrets: [registry]
replicas: 3
watchNamespaces: [kafka, orders]
resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 2Gi}}
log: info,ottla_operator=debug
nodeSelector: {kubernetes.io/arch: amd64}
tolerations: [{key: infra, operator: Exists}]
affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: []}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: ScheduleAnyway}]
priorityClassName: important
user: null
monitoring:
  podMonitors: {enabled: true, interval: 30s, labels: {release: prometheus}}
  rules: {enabled: true, labels: {release: prometheus}}
  dashboard: {enabled: true, labels: {grafana_dashboard: yes-please}}
";

#[test]
fn the_charts_pass_helms_lint() -> Result<()> {
    if !met(&[Need::Program("helm")]) {
        return Ok(());
    }
    for chart in ["ottla", "ottla-crds"] {
        succeed(helm().args(["lint", "--strict"]).arg(charts().join(chart)))?;
    }
    Ok(())
}

#[test]
fn what_is_rendered_is_what_was_reviewed() -> Result<()> {
    if !met(&[Need::Program("helm")]) {
        return Ok(());
    }
    expect_file![golden("default.yaml")].assert_eq(&render("")?);
    // What the chart takes from files as they are is compared with the files.
    let (files, full): (Vec<_>, Vec<_>) = documents(&render(FULL)?)
        .into_iter()
        .partition(|document| ["kind: PrometheusRule", "kind: ConfigMap"].iter().any(|kind| document.contains(kind)));
    expect_file![golden("full.yaml")].assert_eq(&full.join("---\n"));
    for (kind, file, indent) in
        [("PrometheusRule", "monitoring/rules.yaml", "  "), ("ConfigMap", "monitoring/dashboard.json", "    ")]
    {
        let document = files.iter().find(|document| document.contains(&format!("kind: {kind}")));
        let content = read(file)?;
        let indented: Vec<String> = content
            .lines()
            .map(|line| if line.is_empty() { String::new() } else { format!("{indent}{line}") })
            .collect();
        let document: Vec<&str> = document.context(kind)?.lines().map(str::trim_end).collect();
        ensure!(document.join("\n").contains(&indented.join("\n")), "the {kind} does not hold {file}");
    }
    Ok(())
}

#[test]
fn a_value_that_means_nothing_is_refused() -> Result<()> {
    if !met(&[Need::Program("helm")]) {
        return Ok(());
    }
    for (value, named) in [
        ("replica=3", "replica"),
        ("replicas=0", "replicas"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("image.digest=sha256:00", "digest"),
        ("user=0", "user"),
        ("affinity.nodeAfinity.x=1", "nodeAfinity"),
        ("watchNamespaces={Orders}", "watchNamespaces"),
        ("flowControl.shares=0", "shares"),
        ("monitoring.podMonitors.interval=often", "interval"),
        ("monitoring.serviceMonitor.enabled=true", "serviceMonitor"),
    ] {
        let Output { status, stderr, .. } = template().args(["--set", value]).output()?;
        let said = String::from_utf8_lossy(&stderr);
        ensure!(!status.success() && said.contains(named), "{value}: {said}");
    }
    Ok(())
}

#[test]
fn operators_run_on_different_nodes_and_leave_a_dead_one_at_once() -> Result<()> {
    if !met(&[Need::Program("helm")]) {
        return Ok(());
    }
    let rendered = documents(&render("")?);
    let deployment = rendered.iter().find(|document| document.contains("kind: Deployment")).context("a Deployment")?;
    let by_host = "topologyKey: kubernetes.io/hostname\n          whenUnsatisfiable: DoNotSchedule\n";
    ensure!(deployment.contains(by_host), "{deployment}");
    for taint in ["not-ready", "unreachable"] {
        let toleration =
            format!("{{key: node.kubernetes.io/{taint}, operator: Exists, effect: NoExecute, tolerationSeconds: 10}}");
        ensure!(deployment.contains(&toleration), "{deployment}");
    }
    Ok(())
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() -> Result<()> {
    if !met(&[Need::Program("promtool")]) {
        return Ok(());
    }
    let promtool = |words: [&str; 3]| {
        let mut command = Command::new("promtool");
        command.args(words).current_dir(charts().join("ottla/monitoring"));
        succeed(&mut command)
    };
    promtool(["check", "rules", "rules.yaml"])?;
    promtool(["test", "rules", "rules_test.yaml"])?;
    let (rules, tests) = (read("monitoring/rules.yaml")?, read("monitoring/rules_test.yaml")?);
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        ensure!(tests.contains(&format!("alertname=\"{alert}\"")), "no test makes {alert} fire");
    }
    Ok(())
}

/// An object of this kind and generation 2, with these conditions: type, status, reason, generation.
fn object(kind: &str, conditions: &[(&str, &str, &str, i64)]) -> Value {
    let condition = |(type_, status, reason, generation): &(&str, &str, &str, i64)| json!({ "type": type_, "status": status, "reason": reason, "message": reason, "observedGeneration": generation });
    let conditions: Vec<Value> = conditions.iter().map(condition).collect();
    json!({ "kind": kind, "metadata": { "generation": 2 }, "status": { "conditions": conditions } })
}

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("[\"{name}\"] = {}", lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn argo_cd_calls_degraded_only_what_needs_a_person() -> Result<()> {
    if !met(&[Need::Program("lua5.4")]) {
        return Ok(());
    }
    let example = read("examples/argo-cd.yaml")?;
    let (_, script) = example.split_once("health.lua: |\n").context("a script")?;
    let ready = ("Ready", "True", "Ready", 2);
    for (story, object, expected) in [
        ("a topic that is ready", object("KafkaTopic", &[ready]), "Healthy"),
        ("a new topic", json!({ "kind": "KafkaTopic", "metadata": { "generation": 1 } }), "Progressing"),
        ("of an earlier spec", object("KafkaTopic", &[("Ready", "True", "Ready", 1)]), "Progressing"),
        (
            "a topic without its cluster",
            object("KafkaTopic", &[("Ready", "False", "NoCluster", 2), ("Reconciling", "True", "NoCluster", 2)]),
            "Progressing",
        ),
        (
            "a topic whose brokers are too few",
            object("KafkaTopic", &[("Ready", "False", "TooFewBrokers", 2), ("Stalled", "True", "TooFewBrokers", 2)]),
            "Degraded",
        ),
        (
            "a user of another's name",
            object("KafkaUser", &[("Ready", "False", "Conflict", 2), ("Stalled", "True", "Conflict", 2)]),
            "Degraded",
        ),
        (
            "a user whose password comes later",
            object("KafkaUser", &[("Ready", "False", "PasswordMissing", 2), ("Reconciling", "True", "x", 2)]),
            "Progressing",
        ),
        ("a cluster in a roll", object("KafkaCluster", &[ready, ("Reconciling", "True", "Rolling", 2)]), "Progressing"),
        ("a paused cluster", object("KafkaCluster", &[ready, ("Paused", "True", "Paused", 2)]), "Suspended"),
        ("a proposal", object("KafkaRebalance", &[("Ready", "False", "Proposed", 2)]), "Suspended"),
        ("an assignment", json!({ "kind": "KafkaAssignment", "metadata": { "generation": 2 } }), "Healthy"),
    ] {
        let program =
            format!("obj = {}\nlocal health = (function()\n{script}\nend)()\nprint(health.status)", lua(&object));
        let said = succeed(Command::new("lua5.4").args(["-e", &program]))?;
        ensure!(said.trim() == expected, "{story}: {said}");
    }
    Ok(())
}

/// The laptop's API knows no CronJobs, so kubectl can't be asked.
#[test]
fn the_backup_reads_objects_of_one_cluster_and_no_secret_and_meets_pod_security() -> Result<()> {
    let example = read("examples/backup.yaml")?;
    let documents: Vec<Value> =
        documents(&example).iter().map(|document| serde_yaml::from_str(document)).collect::<Result<_, _>>()?;
    let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
    ensure!(kinds == ["ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim", "CronJob"], "{kinds:?}");
    let rights = documents[1]["rules"].as_array().context("rules")?;
    for rule in rights {
        ensure!(rule["apiGroups"] == json!(["ottla.io"]), "{rule}");
        ensure!(rule["verbs"] == json!(["get"]) || rule["verbs"] == json!(["list"]), "{rule}");
    }
    let pod = &documents[4]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    ensure!(container["image"] == json!(format!("ottla:{}", env!("CARGO_PKG_VERSION"))), "{container}");
    ensure!(pod["serviceAccountName"] == documents[0]["metadata"]["name"], "{pod}");
    ensure!(pod["securityContext"]["runAsNonRoot"] == json!(true), "{pod}");
    ensure!(container["securityContext"]["capabilities"]["drop"] == json!(["ALL"]), "{container}");
    ensure!(container["volumeMounts"][0]["name"] == pod["volumes"][0]["name"], "{pod}");
    Ok(())
}

fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts")
}

fn read(file: &str) -> Result<String> {
    Ok(std::fs::read_to_string(charts().join("ottla").join(file))?)
}

fn helm() -> Command {
    Command::new(program("helm").unwrap_or_default())
}

/// The oldest Kubernetes that the chart is for.
fn template() -> Command {
    let mut command = helm();
    command.args(["template", "ottla"]).arg(charts().join("ottla"));
    command.args(["--namespace", "ottla-system", "--kube-version", "1.31.0"]);
    command
}

/// The chart with these values.
fn render(values: &str) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), values)?;
    succeed(template().arg("--values").arg(file.path()))
}

/// A file with what was reviewed; UPDATE_EXPECT=1 rewrites it.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts").join(name)
}

fn documents(rendered: &str) -> Vec<String> {
    rendered.split("---\n").filter(|document| !document.is_empty()).map(str::to_owned).collect()
}

fn succeed(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    let (out, error) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{command:?}: {out}{error}");
    Ok(out.into_owned())
}
