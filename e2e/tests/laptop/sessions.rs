//! Stock clients whose sessions end while they work: three brokers with TLS, where a session lasts
//! [`SESSION`] and a token not much longer, and each client by each mechanism at the same time, in transactions and in
//! groups. What a client does stands in `python/sessions.py`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_e2e::leash::Leash;
use ottla_e2e::login::Credentials;
use ottla_e2e::need::{Need, cache, met};
use ottla_e2e::wait::until;
use ottla_e2e::{franz, java};
use serde_json::json;

use super::bed::{BROKERS, LIMIT, Laptop, can_run};
use super::issuer::Issuer;
use super::secure::apply_user;

/// `connections.max.reauth.ms`.
const SESSION: Duration = Duration::from_secs(3);
/// Of a token, in seconds.
const TOKEN: i64 = 10;
/// How long clients work, in seconds: the fourth session begins with the second token.
const WORK: &str = "12";
/// Of SASL, as the broker's metric calls them.
const MECHANISMS: [&str; 4] = ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "OAUTHBEARER"];
/// By certificate: its session ends with the certificate.
const TLS: &str = "TLS";
/// Each leader has a connection to the producer and one to the consumer, and each connection has three sessions.
const LOGINS: u64 = 3 * 2 * BROKERS as u64;

/// Three brokers, and what clients need to be let in.
struct Bed {
    laptop: Laptop,
    issuer: Issuer,
}

impl Bed {
    /// Starts it with a topic for each mechanism, called after this client and the mechanism.
    fn start(client: &str) -> Result<Bed> {
        let issuer = Issuer::start()?;
        let session = format!("connections.max.reauth.ms={}", SESSION.as_millis());
        let mut laptop = Laptop::new(&["--brokers", "3", "--set", &session])?;
        laptop.start()?;
        let tokens = json!({ "type": "oauthbearer", "issuers": [issuer.spec()] });
        let passwords = ["scram-sha-256", "scram-sha-512", "plain"].map(|kind| json!({ "type": kind }));
        let authentication: Vec<_> = passwords.into_iter().chain([tokens]).collect();
        let [apps, mtls] = laptop.more_ports();
        laptop.listen_also(&[
            json!({ "name": "apps", "port": apps, "tls": {}, "authentication": authentication }),
            json!({ "name": "mtls", "port": mtls, "tls": {}, "authentication": [{ "type": "tls" }] }),
        ])?;
        for mechanism in MECHANISMS.iter().chain([&TLS]) {
            let topic = format!("{client}-{}", mechanism.to_lowercase());
            let file = laptop.topic_file(&topic, &format!("partitions: {BROKERS}, replicationFactor: {BROKERS}"))?;
            laptop.kubectl(&format!("apply -f {file}"))?;
            laptop.kubectl(&format!("wait --for=condition=Ready kafkatopic/{topic} --timeout=60s"))?;
        }
        let bed = Bed { laptop, issuer };
        bed.write_credentials()?;
        Ok(bed)
    }

    /// The folder with what clients need to be let in.
    fn folder(&self) -> PathBuf {
        self.laptop.folder().join("credentials")
    }

    fn write_credentials(&self) -> Result<()> {
        let laptop = &self.laptop;
        apply_user(laptop, "orders", "scram")?;
        apply_user(laptop, "billing", "tls")?;
        let folder = self.folder();
        std::fs::create_dir(&folder)?;
        let kubectl = |line: &str| laptop.kubectl(line);
        let [orders, billing] =
            ["orders", "billing"].map(|user| Credentials { user, folder: laptop.folder(), kubectl: &kubectl });
        std::fs::copy(orders.saved("cluster-ca.crt")?, folder.join("ca.crt"))?;
        std::fs::copy(orders.saved("password")?, folder.join("password"))?;
        for key in ["user.crt", "user.key"] {
            std::fs::copy(billing.saved(key)?, folder.join(key))?;
        }
        let keys = "get kafkacluster laptop -o jsonpath={.status.issuers[0].keys}";
        until(LIMIT, "the issuer's keys to be known", || Ok((laptop.kubectl(keys)? == "1").then_some(())))?;
        self.renew_token()
    }

    /// As the kubelet does with that of a ServiceAccount: the file is never half a token.
    fn renew_token(&self) -> Result<()> {
        let next = self.folder().join("next-token");
        std::fs::write(&next, self.issuer.token_issued_before(0, "orders", "kafka", TOKEN)?)?;
        Ok(std::fs::rename(&next, self.folder().join("token"))?)
    }

    /// Runs a client, and checks that it has renewed its sessions.
    fn outlives(&self, client: &mut Command) -> Result<()> {
        let [apps, mtls] = self.laptop.more_ports().map(|port| format!("127.0.0.1:{port}"));
        client.args([apps, mtls]).arg(self.folder()).arg(WORK);
        let output = self.laptop.folder().join("client");
        let client = Leash::start(client, &output)?;
        until(LIMIT, "the client to end", || {
            self.renew_token()?;
            Ok((!client.runs()).then_some(()))
        })?;
        let said = std::fs::read_to_string(&output)?;
        for mechanism in MECHANISMS.iter().chain([&TLS]) {
            ensure!(said.contains(&format!("ok {mechanism} ")), "{mechanism}: {said}");
        }
        let metrics = (0..BROKERS).map(|broker| self.laptop.metrics_of(broker)).collect::<Result<String>>()?;
        let mut all = 0;
        for mechanism in MECHANISMS {
            let of_apps = format!("listener=\"apps\",mechanism=\"{mechanism}\",result=\"success\"");
            let logins = counted(&metrics, "ottla_authentications_total", &of_apps)?;
            ensure!(logins >= LOGINS, "{mechanism}: {logins} logins instead of {LOGINS} at least");
            all += logins;
        }
        // Java renews a session when at least a twentieth of it is left: on a loaded machine it may be too late, and
        // connects again.
        let late = counted(&metrics, "ottla_connections_refused_total", "reason=\"session_expired\"")?;
        ensure!(late * 10 <= all, "{late} of {all} sessions were not renewed in time: {said}");
        Ok(())
    }
}

/// The sum of this counter with these labels, of all brokers.
fn counted(metrics: &str, name: &str, labels: &str) -> Result<u64> {
    let name = format!("{name}{{{labels}}} ");
    let counts = metrics.lines().filter_map(|line| line.strip_prefix(&name));
    counts.map(|count| count.parse::<u64>().context("a counter")).sum()
}

fn python(library: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/sessions.py");
    let mut command = Command::new(cache().join("python/bin/python"));
    command.arg(script).arg(library);
    command
}

#[test]
fn librdkafka_outlives_its_sessions() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Python]) {
        return Ok(());
    }
    Bed::start("librdkafka")?.outlives(&mut python("librdkafka"))
}

#[test]
fn kafka_python_outlives_its_sessions() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Python]) {
        return Ok(());
    }
    Bed::start("kafka-python")?.outlives(&mut python("kafka-python"))
}

#[test]
fn franz_go_outlives_its_sessions() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Go]) {
        return Ok(());
    }
    let program = franz::build(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    Bed::start("franz-go")?.outlives(Command::new(program).arg("sessions"))
}

#[test]
fn java_outlives_its_sessions() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Java]) {
        return Ok(());
    }
    let bed = Bed::start("java")?;
    let token = bed.folder().join("token");
    let mut client = java::jvm("256m");
    client.arg(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{}", token.display()));
    bed.outlives(client.arg(java::source("Sessions.java")))
}
