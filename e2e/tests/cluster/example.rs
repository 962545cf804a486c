//! The example of a secured cluster, by the commands of operator/README.md: clients with a certificate, with
//! a password, and with the token of their pod's ServiceAccount. They work for longer than a token lasts, which takes
//! this story ten minutes: Kubernetes issues no shorter ones.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::{Bed, charts, succeed};
use ottla_e2e::cluster::clients::java_in;
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::prometheus::get;
use ottla_e2e::cluster::{LIMIT, say};
use ottla_e2e::java::OPTIONS as JAVA;
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::raw::Connection;
use ottla_e2e::readme::{commands, section};
use ottla_e2e::trusting;
use ottla_e2e::wait::until;
use ottla_wire::m03_metadata::MetadataRequest;
use ottla_wire::m17_sasl_handshake::SaslHandshakeRequest;
use ottla_wire::m36_sasl_authenticate::SaslAuthenticateRequest;
use serde_json::Value;

/// Where it says how to make the example, in operator/README.md.
const HEADING: &str = "### A secured cluster";
/// Of its files, the place.
const FILES: &str = "charts/ottla/examples";
/// Where Kafka's image has its tools.
const TOOLS: &str = "/opt/kafka/bin";
/// The one record that its commands write, as consumers print it.
const RECORD: &str = "a book\n";

/// The example's files, for this namespace and with the image of this cluster.
struct Example<'a> {
    namespace: &'a Namespace<'a>,
    folder: Folder,
}

impl<'a> Example<'a> {
    fn new(namespace: &'a Namespace<'a>) -> Result<Example<'a>> {
        let folder = Folder::new()?;
        let principal = format!("system:serviceaccount:{}:", namespace.name());
        let cluster = [("system:serviceaccount:kafka:", &*principal)];
        let clients = [
            ("image: apache/kafka:4.3.1", "image: localhost/clients:1"),
            ("command: [sleep, infinity]", "args: [pause]"),
        ];
        for (name, changes) in [("secured.yaml", &cluster[..]), ("secured-clients.yaml", &clients)] {
            let mut text = std::fs::read_to_string(charts().join("ottla/examples").join(name))?;
            for (from, to) in changes {
                ensure!(text.contains(from), "{name} has no {from}");
                text = text.replace(from, to);
            }
            std::fs::write(folder.path().join(name), text)?;
        }
        Ok(Example { namespace, folder })
    }

    /// Types what the README says: each consumer prints the record.
    fn follow_readme(&self) -> Result<()> {
        let readme = std::fs::read_to_string(charts().join("../operator/README.md"))?;
        let commands = commands(section(&readme, HEADING).context("the README has the section")?);
        let mut consumers = 0;
        for command in &commands {
            let said = self.type_in(command).with_context(|| command.clone())?;
            if command.contains("console-consumer") {
                ensure!(said == RECORD, "{command}: {said}");
                consumers += 1;
            }
        }
        ensure!(consumers == 3, "by a password, a certificate and a token: {commands:?}");
        Ok(())
    }

    /// Types this line in a shell; what it prints.
    fn type_in(&self, line: &str) -> Result<String> {
        let mut line = line.replace(FILES, &self.folder.path().display().to_string());
        for (tool, class) in [("console-producer", "ConsoleProducer"), ("console-consumer", "consumer.ConsoleConsumer")]
        {
            line = line.replace(&format!("{TOOLS}/kafka-{tool}.sh"), &format!("$java org.apache.kafka.tools.{class}"));
        }
        let bed: &Bed = self.namespace;
        let (kubectl, name) = (bed.command("kubectl"), self.namespace.name());
        let kubectl = format!("kubectl() {{ {:?} --namespace {name} \"$@\"; }}", kubectl.get_program());
        let java = "/java/bin/java -cp /kafka/*:/kafka -Dlog4j2.configurationFile=/kafka/log4j2-tool.properties";
        let java = format!("java='{java} {}'", JAVA.join(" "));
        // Patterns are for Java to resolve, in the pod.
        let script = format!("set -f -e -o pipefail\n{java}\n{kubectl}\n{line}");
        succeed(bed.command("bash").args(["-c", &script]))
    }
}

/// One client writes a record each second by password, and one reads by token.
struct Clients {
    folder: Folder,
    writer: Leash,
    reader: Leash,
}

impl Clients {
    fn start(namespace: &Namespace<'_>) -> Result<Clients> {
        let folder = Folder::new()?;
        let start = |pod: &str, class: &str, arguments: &str| {
            let mut command = java_in(namespace, pod, &[]);
            command.arg(format!("org.apache.kafka.tools.{class}"));
            command.args("--topic orders --command-config /etc/client/client.properties".split(' '));
            command.args(arguments.split(' '));
            Leash::start(&command, &folder.path().join(pod))
        };
        let writer = start("checkout", "VerifiableProducer", "--bootstrap-server shop-bootstrap:9094 --throughput 1")?;
        let reading = "--bootstrap-server shop-bootstrap:9095 --group-id billing --verbose";
        let reader = start("billing", "VerifiableConsumer", reading)?;
        Ok(Clients { folder, writer, reader })
    }

    fn said(&self, pod: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join(pod))?)
    }

    /// How many records were acknowledged, and how many read.
    fn counts(&self) -> Result<[usize; 2]> {
        let count = |pod, event: &str| -> Result<usize> { Ok(self.said(pod)?.matches(event).count()) };
        Ok([count("checkout", "\"producer_send_success\"")?, count("billing", "\"record_data\"")?])
    }

    /// Waits until another record was acknowledged, and another read.
    fn go_on(&self) -> Result<()> {
        let before = self.counts()?;
        let more = || {
            ensure!(self.writer.runs() && self.reader.runs(), "a client has ended");
            Ok(self.counts()?.iter().zip(before).all(|(now, before)| *now > before).then_some(()))
        };
        until(LIMIT, "records to be written and read", more)
            .with_context(|| format!("{:?} {:?}", self.said("checkout"), self.said("billing")))
    }

    /// The values of these events, in order.
    fn values(&self, pod: &str, event: &str) -> Result<Vec<u64>> {
        let said = self.said(pod)?;
        let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let events = events.filter(|one| one["name"] == event);
        let mut values = events
            // The record of the README is no number.
            .filter_map(|one| one["value"].as_str()?.parse().ok())
            .collect::<Vec<u64>>();
        values.sort_unstable();
        Ok(values)
    }

    /// Waits until all that was acknowledged by now is read; how many records. None was read twice, and neither client
    /// saw an error.
    fn judge(&self) -> Result<usize> {
        let written = self.values("checkout", "producer_send_success")?;
        let read = until(LIMIT, "what was written to be read", || {
            let read = self.values("billing", "record_data")?;
            Ok(written.iter().all(|value| read.binary_search(value).is_ok()).then_some(read))
        })?;
        ensure!(read.windows(2).all(|pair| pair[0] < pair[1]), "a record was read twice: {read:?}");
        for pod in ["checkout", "billing"] {
            let said = self.said(pod)?;
            let trouble = said.lines().find(|line| line.contains("Exception") || line.contains("producer_send_error"));
            ensure!(trouble.is_none(), "{pod}: {trouble:?}");
        }
        Ok(written.len())
    }
}

/// A way from this machine to a port of a pod, for as long as it is kept.
struct Forwarded {
    address: SocketAddr,
    _kubectl: Leash,
}

impl Forwarded {
    fn to(namespace: &Namespace<'_>, pod: &str, port: u16, log: PathBuf) -> Result<Forwarded> {
        let kubectl = Leash::start(&namespace.command(&format!("port-forward pod/{pod} :{port}")), &log)?;
        let address = until(LIMIT, "kubectl to forward a port", || {
            let said = std::fs::read_to_string(&log)?;
            let line = said.lines().find_map(|line| line.strip_prefix("Forwarding from ")?.split(' ').next());
            Ok(line.map(str::to_owned))
        })?;
        Ok(Forwarded { address: address.parse()?, _kubectl: kubectl })
    }
}

/// Logs in with a token; for how long, or `None`, if it is refused.
fn login(connection: &mut Connection, token: &str) -> Result<Option<Duration>> {
    let handshake = SaslHandshakeRequest { mechanism: "OAUTHBEARER".into() };
    let answer = connection.ask(1, &handshake)?.context("an answer to the handshake")?;
    ensure!(answer.error_code.is_none(), "{answer:?}");
    let auth_bytes = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").into();
    let answer = connection.ask(2, &SaslAuthenticateRequest { auth_bytes })?.context("an answer to the token")?;
    // One that is refused is answered with the reason.
    let lifetime = Duration::from_millis(answer.session_lifetime_ms.try_into()?);
    Ok((answer.error_code.is_none() && answer.auth_bytes.is_empty()).then_some(lifetime))
}

#[test]
fn clients_of_the_secured_example_outlive_the_token_of_their_pod() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "example")?;
    Example::new(&namespace)?.follow_readme()?;
    let clients = Clients::start(&namespace)?;
    clients.go_on()?;

    let of_pod = r#"exec billing -- /usr/bin/python -c print(open("/var/run/kafka/token").read())"#;
    let first = namespace.kubectl(of_pod)?;
    let token = namespace.kubectl("create token billing --audience kafka.shop --duration 10m")?;
    let tokens = Forwarded::to(&namespace, "shop-broker-0", 9095, clients.folder.path().join("tokens"))?;
    let open = || Connection::open_secure(tokens.address, trusting::config());
    let (mut stale, began) = (open()?, Instant::now());
    let lifetime = login(&mut stale, token.trim())?.context("a new token to be accepted")?;
    ensure!(lifetime <= Duration::from_secs(600), "{lifetime:?}");
    until(lifetime + LIMIT, "a connection to end with its token", || {
        clients.go_on()?;
        Ok(stale.ask(12, &MetadataRequest::default())?.is_none().then_some(()))
    })?;
    ensure!(began.elapsed() >= lifetime, "the connection ended after {:?} of {lifetime:?}", began.elapsed());
    // The clocks of issuers and brokers may differ by half a minute.
    until(LIMIT, "the token to be refused", || {
        clients.go_on()?;
        Ok(login(&mut open()?, token.trim())?.is_none().then_some(()))
    })?;

    // The first token of the pod is over, too: it is older. Its client has renewed each session in time, for nobody's
    // connection but ours has ended with a token.
    namespace.satisfies(of_pod, |now| now.starts_with("ey") && now != first)?;
    clients.go_on()?;
    let records = clients.judge()?;
    let mut expired = 0;
    for broker in 0..3 {
        let pod = format!("shop-broker-{broker}");
        let http = Forwarded::to(&namespace, &pod, 9404, clients.folder.path().join(&pod))?;
        let metrics = get(http.address, "/metrics")?;
        let counter = "ottla_connections_refused_total{reason=\"session_expired\"} ";
        expired += metrics.lines().filter_map(|line| line.strip_prefix(counter)?.parse::<u64>().ok()).sum::<u64>();
    }
    ensure!(expired == 1, "{expired} connections ended with their tokens");
    say(&format!(
        "{records} records in {:?}; a session ended after {lifetime:?}, and others were renewed",
        began.elapsed()
    ));
    Ok(())
}
