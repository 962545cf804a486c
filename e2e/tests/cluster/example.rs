//! The example of a secured cluster, as its file and its README say: clients with a certificate, with a password, and
//! with the token of their pod's ServiceAccount. They work for longer than a token lasts, which takes this story ten
//! minutes: Kubernetes issues no shorter ones.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::{Bed, charts};
use ottla_e2e::cluster::clients::{java_in, pod};
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::prometheus::get;
use ottla_e2e::cluster::{LIMIT, say};
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::raw::Connection;
use ottla_e2e::trusting;
use ottla_e2e::wait::until;
use ottla_wire::m03_metadata::MetadataRequest;
use ottla_wire::m17_sasl_handshake::SaslHandshakeRequest;
use ottla_wire::m36_sasl_authenticate::SaslAuthenticateRequest;
use serde_json::Value;

/// What the example is made of.
struct Example {
    objects: String,
    /// Of the Java client with a token: its properties, the option that lets it read the token's file, its volumes.
    properties: String,
    option: String,
    volumes: String,
}

impl Example {
    /// Reads it, for a ServiceAccount of this namespace.
    fn read(namespace: &Namespace<'_>) -> Result<Example> {
        let objects = std::fs::read_to_string(charts().join("ottla/examples/secured.yaml"))?
            .replace(":default:", &format!(":{}:", namespace.name()));
        let shown: Vec<&str> = objects.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
        let (properties, volumes): (Vec<&str>, Vec<&str>) = shown.into_iter().partition(|line| line.contains('='));
        let (properties, volumes) = (properties.join("\n"), volumes.join("\n"));
        let option = objects.lines().find_map(|line| line.strip_prefix("# -D")?.strip_suffix(':'));
        let option = format!("-D{}", option.context("the example has an option for Java")?);
        Ok(Example { objects, properties, option, volumes })
    }

    /// The pods of the clients, with what each mounts, as the README says: its user's Secret, or a token.
    fn pods(&self) -> String {
        let indented = |text: &str, by: &str| text.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
        let mount = "    volumeMounts: [{name: client, mountPath: /etc/client}";
        let of_user = |user: &str| {
            pod(user, &format!("{mount}]\n  volumes: [{{name: client, secret: {{secretName: {user}}}}}]\n"))
        };
        let of_account = format!(
            "{mount}, {{name: token, mountPath: /var/run/kafka}}, {{name: authority, mountPath: /etc/shop}}]
  serviceAccountName: billing
{volumes}  - {{name: client, configMap: {{name: billing}}}}
  - {{name: authority, secret: {{secretName: shop-cluster-ca-cert}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: billing}}
data:
  client.properties: |
{properties}",
            volumes = indented(&self.volumes, "  "),
            properties = indented(&self.properties, "    "),
        );
        [of_user("admin"), of_user("checkout"), pod("billing", &of_account)].join("---")
    }
}

/// One client writes a record each second by password, and one reads by token.
struct Clients {
    folder: Folder,
    writer: Leash,
    reader: Leash,
}

impl Clients {
    fn start(namespace: &Namespace<'_>, option: &str) -> Result<Clients> {
        let folder = Folder::new()?;
        let start = |pod: &str, options: &[&str], class: &str, arguments: &str| {
            let mut command = java_in(namespace, pod, options);
            command.arg(format!("org.apache.kafka.tools.{class}"));
            command.args("--topic orders --command-config /etc/client/client.properties".split(' '));
            command.args(arguments.split(' '));
            Leash::start(&command, &folder.path().join(pod))
        };
        let writer =
            start("checkout", &[], "VerifiableProducer", "--bootstrap-server shop-bootstrap:9094 --throughput 1")?;
        let reading = "--bootstrap-server shop-bootstrap:9095 --group-id billing --verbose";
        let reader = start("billing", &[option], "VerifiableConsumer", reading)?;
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
            .map(|one| one["value"].as_str().and_then(|value| value.parse().ok()).context("a number"))
            .collect::<Result<Vec<u64>>>()?;
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
    let example = Example::read(&namespace)?;
    namespace.apply(&example.objects)?;
    namespace.kubectl("create serviceaccount billing")?;
    for all in ["okc/shop", "okt/orders", "kafkauser --all"] {
        namespace.ready(all, "Ready")?;
    }
    namespace.apply(&example.pods())?;
    namespace.ready("pod/admin pod/checkout pod/billing", "Ready")?;

    let clients = Clients::start(&namespace, &example.option)?;
    clients.go_on()?;
    let mut reading = java_in(&namespace, "admin", &[]);
    reading.args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", "shop-bootstrap:9093"]);
    reading.args("--command-config /etc/client/client.properties --topic orders --from-beginning".split(' '));
    let read = reading.args(["--max-messages", "1"]).output()?;
    ensure!(read.status.success() && !read.stdout.is_empty(), "with a certificate: {read:?}");

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
