//! A real Prometheus on this machine that finds its targets as the chart's PodMonitors say and loads the chart's rules.
//!
//! Debian's is built without discovery in Kubernetes: the pods come from a file, with the labels that discovery gives
//! them.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::cluster::LIMIT;
use crate::cluster::bed::{Bed, charts};
use crate::leash::{Folder, Leash};
use crate::target::free_port;
use crate::wait::until;

/// A running Prometheus.
pub struct Prometheus<'a> {
    bed: &'a Bed,
    address: SocketAddr,
    _process: Leash,
    folder: Folder,
}

impl Prometheus<'_> {
    /// Starts it. Alerts fire at once: how long they wait is tested beside the rules.
    pub fn start(bed: &Bed) -> Result<Prometheus<'_>> {
        let folder = Folder::new()?;
        let rules = std::fs::read_to_string(charts().join("ottla/monitoring/rules.yaml"))?;
        let impatient = regex::Regex::new(r"(?m)^( *for:) .*$")?.replace_all(&rules, "$1 0s");
        std::fs::write(folder.path().join("rules.yaml"), impatient.as_bytes())?;
        let jobs = monitors(bed)?.iter().map(Monitor::job).collect::<String>();
        let config = format!(
            "global: {{scrape_interval: 2s, evaluation_interval: 2s}}\nrule_files: [rules.yaml]\nscrape_configs:\n{jobs}"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Leash::start(&command, &folder.path().join("log"))?;
        let prometheus = Prometheus { bed, address, _process: process, folder };
        until(LIMIT, "Prometheus to serve", || Ok(prometheus.get("/-/ready").ok()))?;
        Ok(prometheus)
    }

    /// Gives it the pods, as the API server shows them.
    fn discover(&self) -> Result<()> {
        let Ok(pods) = self.bed.kubectl("get pods --all-namespaces --output json --request-timeout 5s") else {
            return Ok(());
        };
        let pods: serde_json::Value = serde_json::from_str(&pods)?;
        let targets: Vec<_> = pods["items"].as_array().into_iter().flatten().flat_map(targets).collect();
        let (new, file) = (self.folder.path().join("new"), self.folder.path().join(TARGETS));
        std::fs::write(&new, serde_json::to_vec(&targets)?)?;
        Ok(std::fs::rename(new, file)?)
    }

    /// The value of this label in every series of the answer.
    pub fn query(&self, expression: &str, label: &str) -> Result<BTreeSet<String>> {
        self.discover()?;
        let query: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer: serde_json::Value = serde_json::from_str(&self.get(&format!("/api/v1/query?query={query}"))?)?;
        let series = answer["data"]["result"].as_array().with_context(|| format!("{expression}: {answer}"))?;
        Ok(series.iter().filter_map(|one| one["metric"][label].as_str()).map(str::to_owned).collect())
    }

    /// Waits until this alert fires for the namespace, or until it no longer does.
    pub fn alert(&self, name: &str, namespace: &str, fires: bool) -> Result<()> {
        let alerts = format!("ALERTS{{alertname=\"{name}\",namespace=\"{namespace}\",alertstate=\"firing\"}}");
        let what = format!("{name} {}", if fires { "fires" } else { "is over" });
        until(LIMIT, &what, || Ok((self.query(&alerts, "alertname")?.is_empty() != fires).then_some(())))
    }

    fn get(&self, path: &str) -> Result<String> {
        get(self.address, path)
    }
}

/// What is at this path of a server of HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head and a body")?;
    ensure!(head.contains(" 200 "), "{path}: {answer}");
    Ok(body.to_owned())
}

/// The file with all pods.
const TARGETS: &str = "targets.json";

/// The label under which discovery knows a pod's label.
fn pod_label(name: &str) -> String {
    format!("__meta_kubernetes_pod_label_{}", name.replace(['.', '/', '-'], "_"))
}

/// A pod's ports as discovery shows them; none before it has an address.
fn targets(pod: &serde_json::Value) -> Vec<serde_json::Value> {
    let Some(address) = pod["status"]["podIP"].as_str() else { return Vec::new() };
    let mut labels = serde_json::Map::new();
    for (name, value) in pod["metadata"]["labels"].as_object().into_iter().flatten() {
        labels.insert(pod_label(name), value.clone());
    }
    labels.insert("__meta_kubernetes_namespace".to_owned(), pod["metadata"]["namespace"].clone());
    labels.insert("__meta_kubernetes_pod_name".to_owned(), pod["metadata"]["name"].clone());
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let target = |port: &serde_json::Value| {
        let mut labels = labels.clone();
        labels.insert("__meta_kubernetes_pod_container_port_name".to_owned(), port["name"].clone());
        serde_json::json!({ "targets": [format!("{address}:{}", port["containerPort"])], "labels": labels })
    };
    // A label is a text: a port without a name has none.
    ports.filter(|port| port["name"].is_string()).map(target).collect()
}

/// What a PodMonitor of the chart says.
struct Monitor {
    labels: Vec<(String, String)>,
    port: String,
    path: String,
    relabelings: serde_json::Value,
}

fn monitors(bed: &Bed) -> Result<Vec<Monitor>> {
    let chart = charts().join("ottla");
    let template = format!("template ottla {} --set monitoring.podMonitors.enabled=true", chart.display());
    let rendered = bed.helm(&format!("{template} --show-only templates/podmonitors.yaml"))?;
    let documents = rendered.split("\n---\n").map(serde_yaml::from_str::<serde_json::Value>);
    documents.map(|document| Monitor::of(&document?)).collect()
}

impl Monitor {
    fn of(document: &serde_json::Value) -> Result<Monitor> {
        let spec = &document["spec"];
        let endpoint = &spec["podMetricsEndpoints"][0];
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).context("a text was expected");
        let labels = spec["selector"]["matchLabels"].as_object().context("a PodMonitor selects by labels")?;
        Ok(Monitor {
            labels: labels.iter().map(|(name, value)| Ok((name.clone(), text(value)?))).collect::<Result<_>>()?,
            port: text(&endpoint["port"])?,
            path: text(&endpoint["path"])?,
            relabelings: endpoint["relabelings"].clone(),
        })
    }

    /// What the Prometheus operator makes of it.
    fn job(&self) -> String {
        let mut relabel: Vec<serde_json::Value> = self
            .labels
            .iter()
            .map(|(name, value)| serde_json::json!({"source_labels": [pod_label(name)], "regex": value, "action": "keep"}))
            .collect();
        relabel.push(serde_json::json!({
            "source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": self.port, "action": "keep"}));
        for name in ["namespace", "pod"] {
            let from = format!("__meta_kubernetes_{}", if name == "pod" { "pod_name" } else { name });
            relabel.push(serde_json::json!({"source_labels": [from], "target_label": name}));
        }
        for relabeling in self.relabelings.as_array().into_iter().flatten() {
            let renamed =
                relabeling.to_string().replace("sourceLabels", "source_labels").replace("targetLabel", "target_label");
            relabel.extend(serde_json::from_str::<serde_json::Value>(&renamed));
        }
        let job = serde_json::json!({
            "job_name": self.labels.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("-"),
            "metrics_path": self.path,
            "file_sd_configs": [{"files": [TARGETS]}],
            "relabel_configs": relabel,
        });
        format!("- {job}\n") // JSON is YAML
    }
}
