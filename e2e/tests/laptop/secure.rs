//! Listeners with TLS on a laptop: stock clients with what the operator puts into the Secrets of their users, and
//! nothing else.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use ottla_e2e::leash::Leash;
use ottla_e2e::login::{Credentials, certificate, kafka_python, user};
use ottla_e2e::need::{Need, met};
use ottla_e2e::raw::Connection;
use ottla_e2e::target::{kafka_script, ottla_program};
use ottla_e2e::tools::Tools;
use ottla_e2e::wait::until;
use ottla_e2e::{java, scram, trusting};
use ottla_wire::ApiVersionsRequest;
use serde_json::json;

use super::bed::{LIMIT, Laptop, can_run};
use super::canaries::is_kept;
use super::issuer::Issuer;

/// The metric of when certificates end.
pub const CERTIFICATES: &str = "ottla_certificate_expiry_timestamp_seconds";
/// The metric of listeners that can't use their files.
pub const UNUSABLE_FILES: &str = "ottla_tls_files_unusable";

/// A laptop where clients authenticate by password at one port, by certificate at the next, and by a token of this
/// issuer at the third.
fn secured(issuer: &Issuer) -> Result<Laptop> {
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let port = laptop.kafka_port();
    let passwords = r#"[{"type":"scram-sha-512"},{"type":"plain"}]"#;
    let tokens = json!([{ "type": "oauthbearer", "issuers": [issuer.spec()] }]);
    let listeners = [
        r#"{"name":"internal","port":9092}"#.to_owned(),
        format!(r#"{{"name":"apps","port":{},"tls":{{}},"authentication":{passwords}}}"#, port + 1),
        format!(r#"{{"name":"mtls","port":{},"tls":{{}},"authentication":[{{"type":"tls"}}]}}"#, port + 2),
        format!(r#"{{"name":"tokens","port":{},"tls":{{}},"authentication":{tokens}}}"#, port + 4),
    ];
    let patch = format!(r#"{{"spec":{{"listeners":[{}]}}}}"#, listeners.join(","));
    laptop.kubectl(&format!("patch kafkacluster laptop --type merge -p {patch}"))?;
    // A laptop listens where its KafkaCluster says when it starts.
    laptop.terminate()?;
    let mut command = laptop.command(&[])?;
    laptop.start_with(command.env("RUST_LOG", "trace"))?;
    Ok(laptop)
}

/// A line of a private key in PEM.
fn line_of(key: &Path) -> Result<String> {
    let text = std::fs::read_to_string(key)?;
    Ok(text.lines().nth(1).context("a private key has several lines")?.to_owned())
}

pub fn apply_user(laptop: &Laptop, name: &str, authentication: &str) -> Result<()> {
    let file = laptop.folder().join("user.yaml");
    std::fs::write(&file, user(name, "laptop", authentication))?;
    laptop.kubectl(&format!("apply -f {}", file.display()))?;
    laptop.kubectl(&format!("wait --for=condition=Ready kafkauser/{name} --timeout=60s"))?;
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

#[test]
fn stock_clients_use_tls_with_what_their_secrets_have() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Python, Need::Java]) {
        return Ok(());
    }
    let laptop = secured(&Issuer::start()?)?;
    let [apps, mtls] = [1, 2].map(|n| format!("127.0.0.1:{}", laptop.kafka_port() + n));
    apply_user(&laptop, "orders", "scram")?;
    apply_user(&laptop, "billing", "tls")?;
    let kubectl = |line: &str| laptop.kubectl(line);
    let [orders, billing] =
        ["orders", "billing"].map(|user| Credentials { user, folder: laptop.folder(), kubectl: &kubectl });

    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let settings = orders.by_password(mechanism)?;
        until(LIMIT, "the password to be known", || Ok((kafka_python(&apps, &settings)? == "ok").then_some(())))?;
        let guess: Vec<String> =
            settings.iter().map(|setting| setting.replace("plain_password=", "plain_password=x")).collect();
        ensure!(kafka_python(&apps, &guess)? == "refused", "a guess by {mechanism}");
    }
    let certificate = billing.by_certificate()?;
    ensure!(kafka_python(&mtls, &certificate)? == "ok", "a certificate");
    ensure!(kafka_python(&mtls, &certificate[..2])? == "refused", "no certificate");
    ensure!(kafka_python(&apps, &["security_protocol=PLAINTEXT".to_owned()])? == "refused", "no TLS");

    // Kafka's own tool, with the file as it is.
    let mut tools = Tools::start()?;
    for (bootstrap, of) in [(&apps, &orders), (&mtls, &billing)] {
        let config = of.saved("client.properties")?;
        let topic = format!("of-{}", of.user);
        let create =
            ["--bootstrap-server", bootstrap, "--command-config", text(&config)?, "--create", "--topic", &topic];
        let said = tools.expect("topics", &create, "")?;
        ensure!(said.contains(&format!("Created topic {topic}")), "{said}");
    }

    // Ottla's own, with the same files; and without them.
    let check = |bootstrap: &str, more: &[&str]| -> Result<(bool, String)> {
        let mut command = Command::new(ottla_program()?);
        let output = command.args(["check", "--bootstrap", bootstrap]).args(more).output()?;
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        ))
    };
    for (bootstrap, of) in [(&apps, &orders), (&mtls, &billing)] {
        let config = of.saved("client.properties")?;
        let (succeeds, said) = check(bootstrap, &["--client-properties", text(&config)?])?;
        ensure!(succeeds && said.contains("consumed it"), "{said}");
    }
    let (succeeds, said) = check(&apps, &["--timeout-seconds", "2"])?;
    ensure!(!succeeds && said.contains("if it has TLS, use --client-properties"), "{said}");

    for listener in ["apps", "mtls", "replication"] {
        let (ends, usable) = (
            format!("{CERTIFICATES}{{listener=\"{listener}\"}} "),
            format!("{UNUSABLE_FILES}{{listener=\"{listener}\"}} 0"),
        );
        let metrics = laptop.metrics()?;
        ensure!(metrics.contains(&ends) && metrics.contains(&usable), "{ends} or {usable} is missing");
    }

    // A user of the same name is another user: the certificate of the former one is good no more.
    laptop.kubectl("delete kafkauser billing")?;
    until(LIMIT, "the certificate to be refused", || {
        Ok((kafka_python(&mtls, &certificate)? == "refused").then_some(()))
    })?;
    until(LIMIT, "its Secret to go", || Ok((!laptop.kubectl("get secrets")?.contains("billing")).then_some(())))?;
    apply_user(&laptop, "billing", "tls")?;
    ensure!(kafka_python(&mtls, &certificate)? == "refused", "the certificate of the former user");
    let certificate = billing.by_certificate()?;
    until(LIMIT, "the new one to be known", || Ok((kafka_python(&mtls, &certificate)? == "ok").then_some(())))?;

    // One whose password comes by the wire.
    scram::let_in(&mut laptop.connect(0)?, &["by-wire"])?;
    let of_authority = Credentials { user: "laptop-clients-ca", folder: laptop.folder(), kubectl: &kubectl };
    let password = std::fs::read_to_string(orders.saved("password")?)?;
    let texts = [password, line_of(&billing.saved("user.key")?)?, line_of(&of_authority.saved("ca.key")?)?];
    let secrets = texts.map(String::into_bytes).into_iter().chain([scram::salted().to_vec()]);
    let kept = is_kept(&laptop, secrets.collect())?;
    ensure!(kept >= 12, "of each user two keys for a mechanism, in two forms: {kept}");
    Ok(())
}

#[test]
fn a_client_that_asks_for_another_handshake_is_refused_one() -> Result<()> {
    if !can_run(&["kubectl", "openssl", "timeout"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let address = format!("127.0.0.1:{}", laptop.kafka_port() + 1);
    let authentication = json!([{ "type": "scram-sha-512" }]);
    let port = laptop.kafka_port() + 1;
    laptop.listen_also(&[json!({ "name": "apps", "port": port, "tls": {}, "authentication": authentication })])?;
    let mut other = Connection::open_secure(&address, trusting::config())?;
    let mut is_served = || other.ask(3, &ApiVersionsRequest::default())?.context("the broker has closed a connection");
    is_served()?;

    // A line "R" makes this client ask for a handshake, which TLS 1.3 does not know any more.
    let mut client = Command::new("timeout");
    client.args(["60", "openssl", "s_client", "-connect", &address, "-tls1_2", "-brief"]);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // It is kept open: at its end the client would end.
    let mut input = client.stdin.take().context("stdin is piped")?;
    input.write_all(b"R\n")?;
    let output = client.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("CONNECTION ESTABLISHED") && said.contains("RENEGOTIATING"), "it has asked: {said}");
    ensure!(said.contains("no renegotiation"), "it was not refused: {said}");
    is_served().map(drop)
}

#[test]
fn certificates_of_another_authority_are_principals_by_rules() -> Result<()> {
    if !can_run(&["kubectl", "openssl"]) || !met(&[Need::Python, Need::Java]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let (port, folder) = (laptop.kafka_port() + 1, laptop.folder().to_owned());
    certificate(&folder, "server", "/CN=server", &["-addext", "subjectAltName=IP:127.0.0.1"], None)?;
    certificate(&folder, "company", "/CN=company", &[], None)?;
    certificate(&folder, "etl", "/OU=ServiceUsers/CN=etl", &[], Some("company"))?;
    certificate(&folder, "person", "/OU=People/CN=etl", &[], Some("company"))?;
    let file = |name: &str| folder.join(name).display().to_string();
    let [server, server_key, company] = ["server.crt", "server.key", "company.crt"].map(file);
    let secret = laptop.kubectl(&format!(
        "create secret generic company --from-file=tls.crt={server} --from-file=tls.key={server_key} \
         --from-file=ca.crt={company} --dry-run=client -o json"
    ))?;
    std::fs::write(folder.join("secret.json"), secret)?;
    laptop.kubectl(&format!("apply -f {}", file("secret.json")))?;
    let rules = "RULE:^CN=([a-z]+),OU=ServiceUsers$/svc-$1/";
    let listener = json!({
        "name": "company", "port": port, "tls": { "secretRef": { "name": "company" } },
        "authentication": [{ "type": "tls", "principalMappingRules": rules }],
    });
    let patch = json!({ "spec": {
        "listeners": [{ "name": "internal", "port": 9092 }, listener],
        "authorization": { "superUsers": ["svc-etl"] },
    } });
    laptop.kubectl(&format!("patch kafkacluster laptop --type merge -p {patch}"))?;
    laptop.terminate()?;
    laptop.start()?;

    let bootstrap = format!("127.0.0.1:{port}");
    let settings = |name: &str| {
        let [certificate, key] = ["crt", "key"].map(|extension| file(&format!("{name}.{extension}")));
        ["security_protocol=SSL".to_owned(), format!("ssl_cafile={server}")]
            .into_iter()
            .chain([format!("ssl_certfile={certificate}"), format!("ssl_keyfile={key}")])
            .collect::<Vec<_>>()
    };
    ensure!(kafka_python(&bootstrap, &settings("etl"))? == "ok", "a subject that the rule maps");
    ensure!(kafka_python(&bootstrap, &settings("person"))? == "refused", "a subject that no rule maps");
    ensure!(laptop.metrics()?.contains("reason=\"unmapped_certificate\"}"), "the refusal is counted");

    // Only the super user may create topics.
    let [key, certificate] = ["etl.key", "etl.crt"].map(|name| std::fs::read_to_string(folder.join(name)));
    std::fs::write(folder.join("etl.pem"), key? + &certificate?)?;
    let properties = format!(
        "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\n\
         ssl.truststore.location={server}\n",
        file("etl.pem")
    );
    let config = folder.join("client.properties");
    std::fs::write(&config, properties)?;
    let create =
        ["--bootstrap-server", &*bootstrap, "--command-config", text(&config)?, "--create", "--topic", "mapped"];
    let said = Tools::start()?.expect("topics", &create, "")?;
    ensure!(said.contains("Created topic mapped"), "{said}");
    Ok(())
}

#[test]
fn stock_clients_use_tokens_of_an_issuer() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Python, Need::Java]) {
        return Ok(());
    }
    let mut issuer = Issuer::start()?;
    let laptop = secured(&issuer)?;
    let tokens = format!("127.0.0.1:{}", laptop.kafka_port() + 4);
    let kubectl = |line: &str| laptop.kubectl(line);
    // The authority that signs the broker's certificate is in every user's Secret, and in one that has no key.
    let authority = Credentials { user: "laptop-cluster-ca-cert", folder: laptop.folder(), kubectl: &kubectl };
    let authority = authority.saved("ca.crt")?;
    let settings = |token: String| {
        vec![
            "security_protocol=SASL_SSL".to_owned(),
            format!("ssl_cafile={}", authority.display()),
            "sasl_mechanism=OAUTHBEARER".to_owned(),
            format!("sasl_token={token}"),
        ]
    };
    let outcome = |token: Result<String>| kafka_python(&tokens, &settings(token?));
    until(LIMIT, "the issuer's keys to be known", || {
        Ok((outcome(issuer.token("orders", "kafka", 600))? == "ok").then_some(()))
    })?;
    ensure!(outcome(issuer.token("orders", "other", 600))? == "refused", "a token for somebody else");
    ensure!(outcome(issuer.token("orders", "kafka", -60))? == "refused", "an expired token");
    ensure!(outcome(Issuer::start()?.token("orders", "kafka", 600))? == "refused", "another issuer's token");
    let state = laptop.kubectl("get kafkacluster laptop -o jsonpath={.status.issuers[0].keys}")?;
    ensure!(state == "1", "{state}");

    // Kafka's own tool, with the token in a file, as Kubernetes projects that of a ServiceAccount.
    let (token, config) = (laptop.folder().join("token"), laptop.folder().join("token.properties"));
    std::fs::write(&token, issuer.token("orders", "kafka", 600)?)?;
    std::fs::write(&config, by_token(text(&token)?, text(&authority)?))?;
    let allowed = format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{}", token.display());
    let mut tools = Tools::in_jvm(java::jvm("512m").arg(allowed).arg(java::source("Session.java")))?;
    let create = ["--bootstrap-server", &tokens, "--command-config", text(&config)?, "--create", "--topic", "by-token"];
    let said = tools.expect("topics", &create, "")?;
    ensure!(said.contains("Created topic by-token"), "{said}");

    // The keys are read each minute, and when the KafkaCluster changes.
    let before = issuer.token("orders", "kafka", 600)?;
    issuer.rotate()?;
    laptop.kubectl(r#"patch kafkacluster laptop --type merge -p {"spec":{"config":{"log.retention.hours":"24"}}}"#)?;
    until(LIMIT, "the new key to be known", || {
        Ok((outcome(issuer.token("orders", "kafka", 600))? == "ok").then_some(()))
    })?;
    ensure!(outcome(Ok(before.clone()))? == "refused", "a key that the issuer has dropped");
    is_kept(&laptop, vec![before.into_bytes()]).map(drop)
}

#[test]
fn a_producer_that_outlives_its_token_shows_the_next_one() -> Result<()> {
    /// Of a token, in seconds. Java asks for the next one after four fifths of it.
    const LIFETIME: i64 = 12;
    /// At twenty a second, three lifetimes.
    const RECORDS: usize = 720;
    if !can_run(&["kubectl"]) || !met(&[Need::Java]) {
        return Ok(());
    }
    let issuer = Issuer::start()?;
    let laptop = secured(&issuer)?;
    let kubectl = |line: &str| laptop.kubectl(line);
    let authority = Credentials { user: "laptop-cluster-ca-cert", folder: laptop.folder(), kubectl: &kubectl };
    let authority = authority.saved("ca.crt")?;
    let (token, config) = (laptop.folder().join("token"), laptop.folder().join("token.properties"));
    // As the kubelet does with that of a ServiceAccount: the file is never half a token.
    let write = || -> Result<()> {
        let next = laptop.folder().join("next-token");
        std::fs::write(&next, issuer.token_issued_before(0, "orders", "kafka", LIFETIME)?)?;
        Ok(std::fs::rename(&next, &token)?)
    };
    let early = "sasl.login.refresh.min.period.seconds=0\nsasl.login.refresh.buffer.seconds=0\n";
    std::fs::write(&config, by_token(text(&token)?, text(&authority)?) + early)?;
    until(LIMIT, "the issuer's keys to be known", || {
        let keys = laptop.kubectl("get kafkacluster laptop -o jsonpath={.status.issuers[0].keys}")?;
        Ok((keys == "1").then_some(()))
    })?;
    write()?;

    let mut producer = Command::new(kafka_script());
    producer.args(["verifiable-producer", "--topic", "renewed", "--throughput", "20"]);
    producer.args(["--max-messages", &RECORDS.to_string(), "--command-config", text(&config)?]);
    producer.args(["--bootstrap-server", &format!("127.0.0.1:{}", laptop.kafka_port() + 4)]);
    let allowed = format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{}", token.display());
    let output = laptop.folder().join("producer");
    let producer = Leash::start(producer.env("JAVA_TOOL_OPTIONS", allowed), &output)?;
    until(LIMIT, "the producer to end", || {
        write()?;
        Ok((!producer.runs()).then_some(()))
    })?;
    let said = std::fs::read_to_string(&output)?;
    ensure!(!said.contains("producer_send_error") && said.contains(&format!("\"acked\":{RECORDS}")), "{said}");
    let metrics = laptop.metrics()?;
    ensure!(!metrics.contains("reason=\"session_expired\""), "a connection ended with its token");
    let success = r#"ottla_authentications_total{listener="tokens",mechanism="OAUTHBEARER",result="success"} "#;
    let count = metrics.lines().find_map(|line| line.strip_prefix(success)).context("the metric")?;
    // Three connections at most: to learn of the cluster, to the broker, and to the transaction coordinator.
    ensure!(count.parse::<u64>()? > 4, "{count} authentications");
    Ok(())
}

/// The configuration of a Java client whose token is in a file.
fn by_token(token: &str, authority: &str) -> String {
    format!(
        "security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location={authority}
sasl.mechanism=OAUTHBEARER
sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler
sasl.oauthbearer.token.endpoint.url=file://{token}
"
    )
}
