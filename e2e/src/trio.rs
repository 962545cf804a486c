//! Three brokers, each a process that can be killed, frozen and started again: Ottla, or Apache Kafka.
//!
//! Ottla's have the program's own Kubernetes API and operator beside them, in a fourth process, so a pod's life needs
//! no Kubernetes. A broker keeps its port, its folder and its pod's uid over all of its starts, as a container that
//! restarts in its pod.

use anyhow::{Context, Result, bail, ensure};
use ottla_wire::m03_metadata::{MetadataRequestTopic, MetadataResponsePartition};
use ottla_wire::m19_create_topics::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::{CreateTopicsRequest, ErrorCode, MetadataRequest};
use rustix::process::Signal;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::cable::Cable;
use crate::leash::{Folder, Leash, last_lines};
use crate::lossy::Lossy;
use crate::need::program;
use crate::raw::Connection;
use crate::target::{Maker, kafka_script};
use crate::wait::until;

/// Longer than anything takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(300);
/// The ids of the brokers are below it.
pub const BROKERS: u16 = 3;
/// How many of a partition's replicas must have a record before it is acknowledged.
const MIN_IN_SYNC: &str = "2";

/// A broker setting's name and value.
pub type Setting = (&'static str, &'static str);

/// Three brokers.
pub struct Trio {
    maker: Maker,
    ottla: PathBuf,
    settings: Vec<Setting>,
    first_port: u16,
    /// API and operator of Ottla's.
    control: Option<Leash>,
    brokers: Vec<Broker>,
    folder: Folder,
    /// The API's. A real one answers from memory too.
    objects: Folder,
}

#[derive(Default)]
struct Broker {
    process: Option<Leash>,
    frozen: bool,
    /// Its disk hangs.
    hangs: bool,
    /// Where its disk is a small one: its size.
    disk: Option<String>,
    /// Where its disk loses what was not synced.
    lossy: Option<Lossy>,
    /// Its way to the API, where that can be cut.
    cable: Option<Cable>,
}

impl Trio {
    /// Starts three brokers on empty folders and waits until they know each other; `ottla` is the program.
    pub fn start(maker: Maker, ottla: &Path) -> Result<Trio> {
        Trio::start_with(maker, ottla, &[])
    }

    /// The same with these settings of Ottla's brokers; Apache Kafka's keep their defaults.
    pub fn start_with(maker: Maker, ottla: &Path, settings: &[Setting]) -> Result<Trio> {
        let brokers = (0..BROKERS).map(|_| Broker::default()).collect();
        let first_port = free_ports()?;
        let (folder, objects) = (Folder::new()?, Folder::in_memory()?);
        let (ottla, settings) = (ottla.to_owned(), settings.to_vec());
        let mut trio = Trio { maker, ottla, settings, first_port, control: None, brokers, folder, objects };
        match maker {
            Maker::Ottla => {
                std::fs::write(trio.path("kubeconfig"), kubeconfig(trio.api_port()))?;
                for id in 0..BROKERS {
                    std::fs::write(trio.file(id), trio.broker_file(id))?;
                    std::fs::write(trio.kubeconfig(id), kubeconfig(trio.api_port()))?;
                }
                trio.start_control()?;
            }
            Maker::Kafka => {
                let formatted = trio.kafka_script("format").arg("cluster").output()?;
                ensure!(formatted.status.success(), "kafka format: {}", String::from_utf8_lossy(&formatted.stderr));
            }
        }
        (0..BROKERS).try_for_each(|id| trio.start_broker(id))?;
        until(LIMIT, "three brokers that know each other", || {
            let known = |id| {
                Some(Connection::open(trio.address(id)).ok()?.ask(12, &MetadataRequest::default()).ok()??.brokers.len())
            };
            Ok((0..BROKERS).all(|id| known(id) == Some(usize::from(BROKERS))).then_some(()))
        })
        .with_context(|| trio.last_words())?;
        Ok(trio)
    }

    /// Whose brokers they are.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// What clients connect to.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = (0..BROKERS).map(|id| self.address(id)).collect();
        addresses.join(",")
    }

    /// Starts a broker that does not run; does not wait for it.
    pub fn start_broker(&mut self, id: u16) -> Result<()> {
        let command = match self.maker {
            Maker::Ottla => self.ottla_broker(id),
            Maker::Kafka => {
                let mut command = self.kafka_script("run");
                command.arg(id.to_string());
                command
            }
        };
        let process = Leash::start(&command, &self.log(id))?;
        let broker = self.broker_mut(id)?;
        (broker.process, broker.frozen) = (Some(process), false);
        Ok(())
    }

    /// Sends a broker a signal and waits until it has ended; `KILL` and `TERM` are the interesting ones.
    pub fn end_broker(&mut self, id: u16, signal: Signal) -> Result<()> {
        let broker = self.broker_mut(id)?;
        broker.process.take().context("the broker runs")?.end(signal)
    }

    /// Waits until a broker's process has ended by itself.
    pub fn wait_until_it_ends(&mut self, id: u16) -> Result<()> {
        let broker = self.broker_mut(id)?;
        let process = broker.process.take().context("the broker runs")?;
        until(LIMIT, "the process to end by itself", || Ok((!process.runs()).then_some(())))
    }

    /// Stops a broker's process in the middle of whatever it does.
    pub fn freeze(&mut self, id: u16) -> Result<()> {
        let broker = self.broker_mut(id)?;
        broker.frozen = true;
        broker.process.as_ref().context("the broker runs")?.signal(Signal::STOP)
    }

    /// Lets a frozen broker continue.
    pub fn thaw(&mut self, id: u16) -> Result<()> {
        let broker = self.broker_mut(id)?;
        broker.frozen = false;
        broker.process.as_ref().context("the broker runs")?.signal(Signal::CONT)
    }

    /// Starts API and operator, on the objects that they left.
    pub fn start_control(&mut self) -> Result<()> {
        let mut command = Command::new(&self.ottla);
        command.args([
            "--apart",
            "--brokers",
            &BROKERS.to_string(),
            "--api",
            &format!("127.0.0.1:{}", self.api_port()),
        ]);
        command.arg("--data").arg(self.objects.path());
        let settings = [("min.insync.replicas", MIN_IN_SYNC), ("offsets.topic.replication.factor", "3")];
        for (name, value) in settings.iter().chain(&self.settings) {
            command.args(["--set", &format!("{name}={value}")]);
        }
        self.control = Some(Leash::start(&command, &self.path("control.log"))?);
        Ok(())
    }

    /// Ends API and operator with SIGKILL.
    pub fn kill_control(&mut self) -> Result<()> {
        self.control.take().context("API and operator run")?.end(Signal::KILL)
    }

    /// Gives a broker that does not run an empty disk of this size from its next start on, such as `64m`; `None`: a
    /// folder as at first.
    pub fn replace_disk(&mut self, id: u16, size: Option<&str>) -> Result<()> {
        std::fs::remove_dir_all(self.data(id))?;
        let broker = self.broker_mut(id)?;
        ensure!(broker.process.is_none(), "a broker that runs keeps its disk");
        broker.disk = size.map(str::to_owned);
        Ok(())
    }

    /// Gives a broker that does not run an empty disk that loses what was not synced, from its next start on.
    pub fn make_lossy(&mut self, id: u16) -> Result<()> {
        self.replace_disk(id, None)?;
        let lossy = Lossy::mount(&self.data(id), &self.path(&format!("lossy-{id}")))?;
        self.broker_mut(id)?.lossy = Some(lossy);
        Ok(())
    }

    /// A broker's disk, where it was made lossy.
    pub fn lossy(&self, id: u16) -> Result<&Lossy> {
        let broker = self.brokers.get(usize::from(id)).context("there are three brokers")?;
        broker.lossy.as_ref().context("its disk was made lossy")
    }

    /// Cuts the power of the machine of a broker whose disk is lossy.
    pub fn cut_power(&mut self, id: u16) -> Result<()> {
        self.end_broker(id, Signal::KILL)?;
        self.lossy(id)?.cut_power()
    }

    /// Has the disk of a broker hang, where it was made lossy: the broker's reads and writes wait.
    pub fn hang_disk(&mut self, id: u16) -> Result<()> {
        self.lossy(id)?.hang()?;
        self.broker_mut(id)?.hangs = true;
        Ok(())
    }

    /// Ends that.
    pub fn release_disk(&mut self, id: u16) -> Result<()> {
        self.lossy(id)?.answer()?;
        self.broker_mut(id)?.hangs = false;
        Ok(())
    }

    /// Lays a cable between a broker and the API, which the broker uses from its next start on.
    pub fn lay_cable(&mut self, id: u16) -> Result<()> {
        let cable = Cable::lay(self.api_port())?;
        std::fs::write(self.kubeconfig(id), kubeconfig(cable.port()))?;
        self.broker_mut(id)?.cable = Some(cable);
        Ok(())
    }

    /// Cuts a broker off from the API, where a cable lies between them.
    pub fn cut_off(&self, id: u16) -> Result<()> {
        self.cable(id).map(Cable::cut)
    }

    /// Ends that.
    pub fn reconnect(&self, id: u16) -> Result<()> {
        self.cable(id).map(Cable::mend)
    }

    fn cable(&self, id: u16) -> Result<&Cable> {
        let broker = self.brokers.get(usize::from(id)).context("there are three brokers")?;
        broker.cable.as_ref().context("a cable was laid")
    }

    /// Everything runs again.
    pub fn heal(&mut self) -> Result<()> {
        if self.maker == Maker::Ottla && self.control.is_none() {
            self.start_control()?;
        }
        for id in 0..BROKERS {
            if self.broker_mut(id)?.hangs {
                self.release_disk(id)?;
            }
            let broker = self.broker_mut(id)?;
            if broker.frozen {
                self.thaw(id)?;
            } else if broker.process.is_none() {
                self.start_broker(id)?;
            }
        }
        Ok(())
    }

    /// Creates a topic with three replicas of each partition and waits until all are in sync.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let settings = settings.iter().chain([&("min.insync.replicas", MIN_IN_SYNC)]);
        let configs =
            settings.map(|&(name, value)| CreatableTopicConfig { name: name.into(), value: Some(value.into()) });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 3,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        until(LIMIT, "a topic to be created", || {
            let answer = Connection::open(self.address(0)).and_then(|mut connection| connection.ask(7, &request));
            let Ok(Some(answer)) = answer else { return Ok(None) };
            let topic = answer.topics.first().context("one topic was asked for")?;
            match topic.error_code {
                ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => Ok(Some(())),
                // It may still come into being, and Kafka's controller may not know of the third broker yet.
                ErrorCode::REQUEST_TIMED_OUT | ErrorCode::INVALID_REPLICATION_FACTOR => Ok(None),
                code => bail!("{code}: {:?}", topic.error_message),
            }
        })?;
        self.wait_until_whole(name)
    }

    /// Waits until every replica of the topic is in sync.
    pub fn wait_until_whole(&self, topic: &str) -> Result<()> {
        let mut seen = Vec::new();
        until(LIMIT, "all replicas in sync", || {
            seen = self.partitions(topic).unwrap_or_default();
            let whole = |partition: &MetadataResponsePartition| {
                partition.leader_id >= 0 && partition.isr_nodes.len() == partition.replica_nodes.len()
            };
            Ok((!seen.is_empty() && seen.iter().all(whole)).then_some(()))
        })
        .with_context(|| {
            let states =
                seen.iter().map(|one| format!("{}: {} of {:?}", one.partition_index, one.leader_id, one.isr_nodes));
            format!("leader and ISR by partition: {}", states.collect::<Vec<_>>().join(", "))
        })
    }

    /// Waits until a broker that does not run is in nobody's way: it leads nothing and is not in sync.
    pub fn wait_until_without(&self, id: u16, topic: &str) -> Result<()> {
        let id = i32::from(id);
        until(LIMIT, "others to do without it", || {
            let partitions = self.partitions(topic).unwrap_or_default();
            let without = |one: &MetadataResponsePartition| {
                one.leader_id >= 0 && one.leader_id != id && !one.isr_nodes.contains(&id)
            };
            Ok((!partitions.is_empty() && partitions.iter().all(without)).then_some(()))
        })
    }

    /// A topic's partitions in order, as the first broker that answers shows them.
    pub fn partitions(&self, topic: &str) -> Result<Vec<MetadataResponsePartition>> {
        self.partitions_of(Some(vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }]))
    }

    /// The partitions of every topic, in the same way.
    pub fn all_partitions(&self) -> Result<Vec<MetadataResponsePartition>> {
        self.partitions_of(None)
    }

    fn partitions_of(&self, topics: Option<Vec<MetadataRequestTopic>>) -> Result<Vec<MetadataResponsePartition>> {
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        for id in self.serving() {
            let answer = Connection::open(self.address(id)).and_then(|mut connection| connection.ask(12, &request));
            let Ok(Some(answer)) = answer else { continue };
            let mut partitions: Vec<_> = answer.topics.into_iter().flat_map(|topic| topic.partitions).collect();
            partitions.sort_by_key(|partition| partition.partition_index);
            return Ok(partitions);
        }
        bail!("no broker answers")
    }

    /// Who leads this partition of the topic, if anybody.
    pub fn leader(&self, topic: &str, partition: usize) -> Result<Option<u16>> {
        let partitions = self.partitions(topic)?;
        let partition = partitions.get(partition).context("the topic has that partition")?;
        Ok(u16::try_from(partition.leader_id).ok())
    }

    /// Runs a command line as somebody who has Ottla's objects in front of him, and returns what it printed.
    pub fn run(&self, line: &str) -> Result<String> {
        let kubectl = program("kubectl").context("there is no kubectl")?;
        let paths = kubectl.parent().map(Path::to_owned).into_iter();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("KUBECONFIG", self.path("kubeconfig"));
        command.env("PATH", std::env::join_paths(paths.chain(std::env::split_paths(&path)))?);
        let output = command.output()?;
        ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// All objects of a kind of Ottla's, by its plural.
    #[cfg(feature = "librdkafka")]
    pub fn objects(&self, kind: &str) -> Result<Vec<serde_json::Value>> {
        let mut list = self.get(&format!("ottla.io/v1alpha1/namespaces/default/{kind}"))?;
        let items = list.get_mut("items").and_then(serde_json::Value::as_array_mut).context("a list has items")?;
        Ok(std::mem::take(items))
    }

    /// Whether a broker of Ottla's says on its Lease that its disk hangs.
    #[cfg(feature = "librdkafka")]
    pub fn reports_a_hanging_disk(&self, id: u16) -> Result<bool> {
        let lease = self.get(&format!("coordination.k8s.io/v1/namespaces/default/leases/laptop-broker-{id}"))?;
        let annotations = lease["metadata"]["annotations"].as_object().context("a broker's Lease has annotations")?;
        Ok(annotations.get("ottla.io/disk").is_some_and(|disk| disk == "hanging"))
    }

    #[cfg(feature = "librdkafka")]
    fn get(&self, path: &str) -> Result<serde_json::Value> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.api_port()))?;
        let request = format!("GET /apis/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes())?;
        let answer = std::io::read_to_string(stream)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer has a body")?;
        serde_json::from_str(body).with_context(|| answer.clone())
    }

    /// The ids of the processes that run: brokers, then API and operator.
    pub fn pids(&self) -> Vec<i32> {
        let brokers = self.brokers.iter().filter_map(|broker| broker.process.as_ref());
        brokers.chain(&self.control).map(Leash::pid).collect()
    }

    /// Where a broker keeps its partitions.
    pub fn data(&self, id: u16) -> PathBuf {
        match self.maker {
            Maker::Ottla => self.path(&format!("broker-{id}")),
            Maker::Kafka => self.path(&format!("data/node{id}/log")),
        }
    }

    /// The same as the broker sees it, where its disk is a small one.
    pub fn data_inside(&self, id: u16) -> Result<PathBuf> {
        let process = self.brokers.get(usize::from(id)).and_then(|broker| broker.process.as_ref());
        let pid = process.context("the broker runs")?.pid();
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts"))?;
        ensure!(mounts.contains(&self.data(id).display().to_string()), "its disk is not mounted yet");
        Ok(PathBuf::from(format!("/proc/{pid}/root{}", self.data(id).display())))
    }

    /// Copies what the processes wrote to their logs.
    pub fn save_logs(&self, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to)?;
        for id in 0..BROKERS {
            std::fs::copy(self.log(id), to.join(format!("broker-{id}.log")))?;
        }
        if self.maker == Maker::Ottla {
            std::fs::copy(self.path("control.log"), to.join("control.log"))?;
        }
        Ok(())
    }

    fn serving(&self) -> impl Iterator<Item = u16> {
        // Who is cut off from the API shows what was.
        let knows = |broker: &Broker| !broker.cable.as_ref().is_some_and(Cable::is_cut);
        let stands_still = |broker: &Broker| broker.frozen || broker.hangs;
        let serves = move |broker: &Broker| broker.process.is_some() && !stands_still(broker) && knows(broker);
        (0..).zip(&self.brokers).filter(move |(_, broker)| serves(broker)).map(|(id, _)| id)
    }

    fn broker_mut(&mut self, id: u16) -> Result<&mut Broker> {
        self.brokers.get_mut(usize::from(id)).context("there are three brokers")
    }

    /// Where clients reach a broker.
    pub fn address(&self, id: u16) -> String {
        format!("127.0.0.1:{}", self.first_port + id)
    }

    fn api_port(&self) -> u16 {
        self.first_port + 2 * BROKERS
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, id: u16) -> PathBuf {
        self.path(&format!("broker-{id}.yaml"))
    }

    fn kubeconfig(&self, id: u16) -> PathBuf {
        self.path(&format!("kubeconfig-{id}"))
    }

    fn log(&self, id: u16) -> PathBuf {
        match self.maker {
            Maker::Ottla => self.path(&format!("broker-{id}.log")),
            Maker::Kafka => self.path(&format!("data/node{id}/out.log")), // the script sends it there
        }
    }

    fn last_words(&self) -> String {
        let logs = (0..BROKERS).map(|id| self.log(id)).chain([self.path("control.log")]);
        let mut words = String::new();
        for log in logs {
            for line in last_lines(&log, 5).lines() {
                let _ = writeln!(words, "{}: {line}", log.display()); // a String takes everything
            }
        }
        words
    }

    fn broker_file(&self, id: u16) -> String {
        let (data, http) = (self.data(id), self.first_port + BROKERS + id);
        format!(
            "cluster: laptop\nnamespace: default\ndata: {}\nhttp: 127.0.0.1:{http}\n\
             listeners: [{{ name: internal, bind: '{}' }}]\ndrainSeconds: 25\n",
            data.display(),
            self.address(id)
        )
    }

    fn ottla_broker(&self, id: u16) -> Command {
        let broker = self.brokers.get(usize::from(id));
        let disk = broker.and_then(|broker| broker.disk.as_deref());
        let mut command = match disk {
            None => match broker.and_then(|broker| broker.lossy.as_ref()) {
                None => Command::new(&self.ottla),
                Some(lossy) => {
                    let mut command = lossy.inside();
                    command.arg(&self.ottla);
                    command
                }
            },
            // In a mount namespace of its own: the disk goes when the process goes.
            Some(size) => {
                let script = r#"mkdir -p "$1" && mount -t tmpfs -o size="$2" none "$1" && shift 2 && exec "$@""#;
                let mut command = Command::new("unshare");
                command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]).arg(self.data(id)).arg(size);
                command.arg(&self.ottla);
                command
            }
        };
        command.arg("broker").arg("--config").arg(self.file(id));
        command.env("KUBECONFIG", self.kubeconfig(id));
        command.env("POD_NAME", format!("laptop-broker-{id}")).env("POD_UID", format!("pod-{id}"));
        command
    }

    fn kafka_script(&self, verb: &str) -> Command {
        let mut command = Command::new(kafka_script());
        command.arg(verb).env("KAFKA_DATA", self.path("data")).env("KAFKA_PORT", self.first_port.to_string());
        command.env("KAFKA_HEAP", std::env::var("KAFKA_HEAP").unwrap_or("-Xms256m -Xmx1g".to_owned()));
        command
    }
}

fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{ name: here, cluster: {{ server: 'http://127.0.0.1:{port}' }} }}]\n\
         contexts: [{{ name: here, context: {{ cluster: here, user: me, namespace: default }} }}]\n\
         users: [{{ name: me, user: {{}} }}]\n"
    )
}

/// The first of a hundred ports that are free where they are used, and that this process does not give out twice:
/// brokers, their metrics, the API; Kafka's controllers are 50 above its brokers.
fn free_ports() -> Result<u16> {
    const FIRST: u16 = 24000;
    const BLOCKS: u16 = 60;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..BLOCKS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let first = FIRST + ((std::process::id() % u32::from(BLOCKS)) as u16 + step) % BLOCKS * 100;
        let mut used = (0..=2 * BROKERS).chain(50..50 + BROKERS);
        if used.all(|port| TcpListener::bind(("127.0.0.1", first + port)).is_ok()) {
            return Ok(first);
        }
    }
    bail!("no free ports from {FIRST} on")
}
