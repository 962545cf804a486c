//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Kafka in one process, without Kubernetes: one command, ready at once.
#[derive(Clone, Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct CommandLine {
    /// The part to run on Kubernetes; without it, API, operator and brokers run in this process.
    #[command(subcommand)]
    pub part: Option<Part>,
    /// Without a subcommand.
    #[command(flatten)]
    pub laptop: LaptopOptions,
}

/// The parts of Ottla on Kubernetes.
#[derive(Clone, Debug, Subcommand)]
pub enum Part {
    /// Runs one broker, in a pod that the operator created.
    Broker(BrokerOptions),
    /// Runs the operator of all clusters.
    Operator(OperatorOptions),
    /// Tests a cluster: creates a topic, produces and consumes a record, deletes the topic.
    Check(CheckOptions),
    /// Prints brokers' copies of Kubernetes objects, to restore objects that were lost.
    ///
    /// Brokers keep serving when KafkaAssignments, KafkaTopics or the KafkaCluster are lost, for instance with their
    /// definitions. Each broker has a copy of the objects in its data directory. Install the definitions again, then,
    /// for a cluster named prod:
    ///
    ///   pods=$(kubectl get pods -l ottla.io/cluster=prod -o name)
    ///   for pod in $pods; do kubectl exec $pod -- ottla objects; done > copies
    ///   kubectl exec -i prod-broker-0 -- ottla objects - < copies | kubectl create -f -
    ///
    /// Without arguments, in a broker's pod, it prints that broker's copy. With copies it prints objects for
    /// `kubectl create`, which leaves objects that exist as they are and says so (AlreadyExists). KafkaTopics that were
    /// applied again before wait for their KafkaAssignments.
    ///
    /// When the KafkaCluster's condition SetBack says Forked, the Kubernetes API was restored from a backup and changed
    /// before brokers were heard. Brokers keep their own history. To give that history to the API server, gather the
    /// copies as above, delete the KafkaAssignments of the partitions that the condition names (brokers keep serving),
    /// and create them from the copies.
    #[command(verbatim_doc_comment)]
    Objects(ObjectsOptions),
}

/// `ottla`.
#[derive(Clone, Debug, Args)]
pub struct LaptopOptions {
    /// The folder of records and Kubernetes objects.
    #[arg(long, value_name = "FOLDER", default_value = "ottla-data", env = "OTTLA_DATA")]
    pub data: PathBuf,

    /// The address and port for Kafka clients; broker N listens N ports above. Any address but loopback is open to the
    /// network, without authentication.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9092", env = "OTTLA_KAFKA")]
    pub kafka: SocketAddr,

    /// The host name that brokers advertise to clients. Default: the address of --kafka.
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,

    /// The address and port for kubectl; on loopback only.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9080", env = "OTTLA_API")]
    pub api: SocketAddr,

    /// The address and port for Prometheus; broker N listens N ports above.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9404", env = "OTTLA_METRICS")]
    pub metrics: SocketAddr,

    /// The number of brokers. A cluster that has more keeps them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub brokers: u16,

    /// Run only the API and the operator. The brokers are other processes, `ottla broker`, which find the API by
    /// KUBECONFIG.
    #[arg(long)]
    pub apart: bool,

    /// A broker setting by Kafka's name, stored in the KafkaCluster object. Can be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("use NAME=VALUE, such as log.retention.hours=24")?;
    ottla_config::check_broker(name, value).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `ottla broker`.
#[derive(Clone, Debug, Args)]
pub struct BrokerOptions {
    /// The configuration file that the operator writes for all brokers of the cluster.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// The pod's name; the number at its end is the broker's id.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod_name: String,

    /// The pod's uid. A container that restarts in the same pod has the same volume.
    #[arg(long, value_name = "UID", env = "POD_UID")]
    pub pod_uid: String,
}

/// `ottla operator`.
#[derive(Clone, Debug, Args)]
pub struct OperatorOptions {
    /// The address and port for Prometheus and for the kubelet's probes; 0.0.0.0 means every address, of IPv6 too.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,

    /// The pod's IP address, where a standby asks whether this operator is alive before it takes over. Without it, a
    /// standby waits until the Lease has expired.
    #[arg(long, value_name = "ADDRESS", env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,

    /// The namespace of the operator's own Lease.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: String,

    /// The namespaces whose clusters are operated, separated by commas. Default: all namespaces.
    #[arg(long, value_name = "NAMES", env = "OTTLA_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// The image of the brokers of new clusters that name none.
    #[arg(long, value_name = "IMAGE", env = "OTTLA_BROKER_IMAGE")]
    pub broker_image: String,

    /// The user id and group id of the brokers' processes. Empty: the platform chooses, as OpenShift does.
    #[arg(long, value_name = "UID", env = "OTTLA_BROKER_USER", default_value = "65532", value_parser = parse_user)]
    pub broker_user: User,
}

/// A user id; `None`: the platform chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(pub Option<i64>);

fn parse_user(text: &str) -> Result<User, String> {
    if text.is_empty() {
        return Ok(User(None));
    }
    match text.parse() {
        Ok(number @ 1..) => Ok(User(Some(number))),
        _ => Err("use a user id other than 0 (root), or an empty value".to_owned()),
    }
}

/// `ottla check`.
#[derive(Clone, Debug, Args)]
pub struct CheckOptions {
    /// The address of any broker, or of the Service of all brokers.
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: String,

    /// A file of Java's properties that says how to connect and as whom, such as `client.properties` in the Secret of a
    /// KafkaUser. Without it connections are plain.
    #[arg(long, value_name = "FILE")]
    pub client_properties: Option<PathBuf>,

    /// How long to try, in seconds. A new cluster may need minutes.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub timeout_seconds: u64,
}

/// `ottla objects`.
#[derive(Clone, Debug, Args)]
pub struct ObjectsOptions {
    /// The data directory of a broker, which contains its copy. Can be repeated.
    #[arg(long, value_name = "FOLDER")]
    pub data: Vec<PathBuf>,

    /// The id of a broker that is lost for good with its copy. Can be repeated.
    #[arg(long, value_name = "ID")]
    pub without: Vec<i32>,

    /// Files with one or more copies, as brokers print them; - is the standard input.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// A KafkaCluster whose objects are printed as the Kubernetes API shows them, for a backup: in a pod, one of the
    /// pod's namespace.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["data", "without", "files"])]
    pub cluster: Option<String>,

    /// With --cluster: the folder that gets a new file, in place of the standard output.
    #[arg(long, value_name = "FOLDER", requires = "cluster")]
    pub into: Option<PathBuf>,

    /// With --into: how many files of this cluster stay in the folder. The oldest are deleted.
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: u16,
}
