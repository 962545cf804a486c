//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Kafka in one process, without Kubernetes: one command, ready at once.
#[derive(Clone, Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct CommandLine {
    /// What to be on Kubernetes; without it: everything, on a laptop.
    #[command(subcommand)]
    pub part: Option<Part>,
    /// Without a subcommand.
    #[command(flatten)]
    pub laptop: LaptopOptions,
}

/// A part of Ottla on Kubernetes.
#[derive(Clone, Debug, Subcommand)]
pub enum Part {
    /// One broker, in a pod that the operator made.
    Broker(BrokerOptions),
    /// The operator of all clusters.
    Operator(OperatorOptions),
    /// A client that produces and consumes a record, to see that a cluster works.
    Check(CheckOptions),
    /// Brokers' copies of Kubernetes objects, to put back those that were lost.
    ///
    /// Brokers serve on when KafkaAssignments, KafkaTopics or the KafkaCluster are lost, such as with their
    /// definitions, and each keeps a copy of what it last knew in its data directory. Once the definitions are there
    /// again, for a cluster called prod:
    ///
    ///   pods=$(kubectl get pods -l ottla.io/cluster=prod -o name)
    ///   for pod in $pods; do kubectl exec $pod -- ottla objects; done > copies
    ///   kubectl exec -i prod-broker-0 -- ottla objects - < copies | kubectl create -f -
    ///
    /// Without arguments, in a broker's pod, it prints that broker's copy. With copies it prints objects for `kubectl
    /// create`, which leaves objects that exist as they are and says so (AlreadyExists). KafkaTopics that were applied
    /// again meanwhile wait for their assignments.
    ///
    /// When the KafkaCluster's condition SetBack says Forked, the Kubernetes API was restored from a backup and changed
    /// before brokers were heard. Brokers serve by their own history. To give that history to the API server, gather
    /// the copies as above, delete the KafkaAssignments of the partitions that the condition names (brokers serve on),
    /// and create them from the copies.
    #[command(verbatim_doc_comment)]
    Objects(ObjectsOptions),
}

/// `ottla`.
#[derive(Clone, Debug, Args)]
pub struct LaptopOptions {
    /// Where records and Kubernetes objects are kept.
    #[arg(long, value_name = "FOLDER", default_value = "ottla-data", env = "OTTLA_DATA")]
    pub data: PathBuf,

    /// Where Kafka clients connect; broker N listens N ports above. Anything but loopback is open to the network,
    /// without authentication.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9092", env = "OTTLA_KAFKA")]
    pub kafka: SocketAddr,

    /// The host that clients are told to connect to, where it is not the address of --kafka.
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,

    /// Where kubectl connects; on loopback only.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9080", env = "OTTLA_API")]
    pub api: SocketAddr,

    /// Where Prometheus scrapes; broker N listens N ports above.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9404", env = "OTTLA_METRICS")]
    pub metrics: SocketAddr,

    /// How many brokers. A cluster that has more keeps them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub brokers: u16,

    /// Run the API and the operator alone: the brokers are processes of their own, `ottla broker`, and find the API by
    /// KUBECONFIG.
    #[arg(long)]
    pub apart: bool,

    /// A broker setting by Kafka's name, kept in the KafkaCluster object. May be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give it as NAME=VALUE, such as log.retention.hours=24")?;
    ottla_config::check_broker(name, value).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `ottla broker`.
#[derive(Clone, Debug, Args)]
pub struct BrokerOptions {
    /// What the operator says to all brokers of the cluster.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// The pod's name; the number at its end is the broker's id.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod_name: String,

    /// The pod's uid: a container that starts again in the same pod has the same volume.
    #[arg(long, value_name = "UID", env = "POD_UID")]
    pub pod_uid: String,
}

/// `ottla operator`.
#[derive(Clone, Debug, Args)]
pub struct OperatorOptions {
    /// Where Prometheus scrapes and the kubelet probes; 0.0.0.0 stands for every address, of IPv6 too.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,

    /// The pod's address. Another replica whose turn it may be asks there; without it, it waits until the Lease has
    /// expired.
    #[arg(long, value_name = "ADDRESS", env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,

    /// The namespace of the operator's own Lease.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: String,

    /// The namespaces whose clusters to operate, separated by commas; without them: all.
    #[arg(long, value_name = "NAMES", env = "OTTLA_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// The image of the brokers' pods, in clusters that are new and name none.
    #[arg(long, value_name = "IMAGE", env = "OTTLA_BROKER_IMAGE")]
    pub broker_image: String,

    /// The user, and group, that brokers run as. Empty: the platform chooses, as OpenShift does.
    #[arg(long, value_name = "UID", env = "OTTLA_BROKER_USER", default_value = "65532", value_parser = parse_user)]
    pub broker_user: User,
}

/// A user's number; none: the platform chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(pub Option<i64>);

fn parse_user(text: &str) -> Result<User, String> {
    if text.is_empty() {
        return Ok(User(None));
    }
    match text.parse() {
        Ok(number @ 1..) => Ok(User(Some(number))),
        _ => Err("give the number of a user that is not root, or nothing".to_owned()),
    }
}

/// `ottla check`.
#[derive(Clone, Debug, Args)]
pub struct CheckOptions {
    /// Any broker, or the Service of all.
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: String,

    /// How long to try, in seconds: a cluster that has just been created needs a while.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub timeout_seconds: u64,
}

/// `ottla objects`.
#[derive(Clone, Debug, Args)]
pub struct ObjectsOptions {
    /// A broker's data directory, for its copy. May be given several times.
    #[arg(long, value_name = "FOLDER")]
    pub data: Vec<PathBuf>,

    /// A broker that is gone for good, of which there is no copy. May be given several times.
    #[arg(long, value_name = "ID")]
    pub without: Vec<i32>,

    /// Copies as brokers print them, one or more in a file; - is the standard input.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}
