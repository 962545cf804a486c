//! KafkaUsers and clients that authenticate: stock clients log in with the password that the operator made, until it is
//! changed or the user is gone.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ottla_e2e::login::kafka_python;
use ottla_e2e::need::{Need, met};
use ottla_e2e::raw::Connection;
use ottla_e2e::scram;
use ottla_e2e::tools::Tools;
use ottla_e2e::wait::until;
use ottla_wire::ErrorCode;
use ottla_wire::m18_api_versions::ApiVersionsRequest;
use ottla_wire::m51_alter_user_scram_credentials::{AlterUserScramCredentialsRequest, ScramCredentialUpsertion};
use serde_json::json;

use super::bed::{LIMIT, Laptop, can_run};

/// A laptop with a listener where clients must authenticate, at the port above the one of `--kafka`.
fn with_authentication() -> Result<Laptop> {
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let port = laptop.kafka_port() + 1;
    let authentication = json!([{ "type": "scram-sha-512" }, { "type": "scram-sha-256" }]);
    laptop
        .listen_also(&[json!({ "name": "apps", "port": port, "insecure": true, "authentication": authentication })])?;
    Ok(laptop)
}

fn apps(laptop: &Laptop) -> String {
    format!("127.0.0.1:{}", laptop.kafka_port() + 1)
}

fn apply_user(laptop: &Laptop, more: &str) -> Result<()> {
    let file = laptop.folder().join("user.yaml");
    std::fs::write(
        &file,
        format!(
            "apiVersion: ottla.io/v1alpha1\nkind: KafkaUser\nmetadata: {{name: orders}}\nspec:\n  \
             clusterRef: {{name: laptop}}\n  authentication: {{type: scram{more}}}\n"
        ),
    )?;
    laptop.kubectl(&format!("apply -f {}", file.display()))?;
    Ok(())
}

fn apply_secret(laptop: &Laptop, name: &str, data: &str) -> Result<()> {
    let file = laptop.folder().join("secret.yaml");
    let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{{data}}}\n");
    std::fs::write(&file, text)?;
    laptop.kubectl(&format!("apply -f {}", file.display()))?;
    Ok(())
}

/// The password in the user's Secret, when its status says that it can be used.
fn password(laptop: &Laptop) -> Result<String> {
    laptop.kubectl("wait --for=condition=Ready kafkauser/orders --timeout=60s")?;
    laptop.kubectl("get secret orders -o go-template={{.data.password|base64decode}}")
}

/// What kafka-python says when it logs in and sends and reads a record.
fn python(laptop: &Laptop, mechanism: &str, password: &str) -> Result<String> {
    let settings = [
        "security_protocol=SASL_PLAINTEXT".to_owned(),
        format!("sasl_mechanism={mechanism}"),
        "sasl_plain_username=orders".to_owned(),
        format!("sasl_plain_password={password}"),
    ];
    kafka_python(&apps(laptop), &settings)
}

#[test]
fn stock_clients_log_in_with_the_password_of_their_user() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Python, Need::Java]) {
        return Ok(());
    }
    let laptop = with_authentication()?;
    apply_user(&laptop, "")?;
    let generated = password(&laptop)?;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let said = until(LIMIT, "the password to be known", || {
            let said = python(&laptop, mechanism, &generated)?;
            Ok((said == "ok").then_some(said))
        })?;
        ensure!(said == "ok", "{mechanism}: {said}");
        ensure!(python(&laptop, mechanism, "a guess")? == "refused", "{mechanism}");
    }
    // Java, with the line that the Secret has for it.
    let jaas = laptop.kubectl("get secret orders -o jsonpath={.data.sasl\\.jaas\\.config}")?;
    let jaas = String::from_utf8(BASE64_STANDARD.decode(jaas)?)?;
    let config = laptop.folder().join("client.properties");
    std::fs::write(
        &config,
        format!("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config={jaas}\n"),
    )?;
    let config = config.to_str().context("a path that is text")?;
    let apps = apps(&laptop);
    let mut tools = Tools::start()?;
    let create = ["--bootstrap-server", &apps, "--command-config", config, "--create", "--topic", "from-java"];
    let said = tools.expect("topics", &create, "")?;
    ensure!(said.contains("Created topic from-java"), "{said}");

    // Another password: from then on only that one is good.
    apply_secret(&laptop, "chosen", "password: correct-horse")?;
    apply_user(&laptop, ", password: {valueFrom: {secretKeyRef: {name: chosen, key: password}}}")?;
    until(LIMIT, "the new password to be good", || {
        Ok((python(&laptop, "SCRAM-SHA-512", "correct-horse")? == "ok").then_some(()))
    })?;
    ensure!(python(&laptop, "SCRAM-SHA-512", &generated)? == "refused", "the former password");

    // No user: its connections end, nobody logs in, and nothing is left of its credentials.
    let mut open = Connection::open(&*apps)?;
    scram::login_with(&mut open, "orders", "correct-horse")?;
    ensure!(open.ask(0, &ApiVersionsRequest::default())?.is_some(), "a connection that is served");
    laptop.kubectl("delete kafkauser orders")?;
    ensure!(open.receive_bytes()?.is_none(), "it says nothing when its user is gone, but ends");
    until(LIMIT, "the user to be gone", || {
        Ok((python(&laptop, "SCRAM-SHA-512", "correct-horse")? == "refused").then_some(()))
    })?;
    until(LIMIT, "its Secret to go", || Ok((!laptop.kubectl("get secrets")?.contains("orders")).then_some(())))?;
    ensure!(laptop.metrics()?.contains("ottla_authentications_total"), "failures are counted");
    ensure!(!laptop.said()?.contains("correct-horse") && !laptop.said()?.contains(&generated), "a password was logged");
    Ok(())
}

#[test]
fn what_is_wrong_with_a_user_stands_in_its_status() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    apply_secret(&laptop, "orders", "key: value")?;
    apply_user(&laptop, "")?;
    let message = || laptop.kubectl("get kafkauser orders -o jsonpath={.status.conditions[0].message}");
    until(LIMIT, "the conflict to be reported", || {
        Ok(message()?.contains("does not belong to this user").then_some(()))
    })?;
    ensure!(laptop.kubectl("get secret orders -o jsonpath={.data.key}")? == "dmFsdWU=", "it was not changed");
    laptop.kubectl("delete secret orders")?;
    apply_user(&laptop, ", password: {valueFrom: {secretKeyRef: {name: missing, key: pw}}}")?;
    until(LIMIT, "the missing password to be reported", || {
        Ok(message()?.contains("the Secret \"missing\" has no key \"pw\"").then_some(()))
    })?;
    Ok(())
}

#[test]
fn clients_leave_a_password_alone_that_is_in_a_secret_and_hear_in_which() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let upsertion = ScramCredentialUpsertion {
        name: "orders".into(),
        mechanism: 1, // SCRAM-SHA-256
        iterations: 4096,
        salt: b"a salt"[..].into(),
        salted_password: scram::salted().into(),
    };
    let request = AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: vec![upsertion] };
    for (more, why) in [
        ("", "the KafkaUser orders has its credentials in the Secret orders: set password.byClients in it"),
        (
            ", password: {valueFrom: {secretKeyRef: {name: chosen, key: password}}}",
            "the password of orders is in the Secret chosen: change it there",
        ),
    ] {
        apply_user(&laptop, more)?;
        let answer = laptop.connect(0)?.ask(0, &request)?.context("an answer")?;
        let [result] = &answer.results[..] else { bail!("{answer:?}") };
        ensure!(result.error_code == ErrorCode::POLICY_VIOLATION, "{answer:?}");
        let message = result.error_message.as_deref().unwrap_or_default();
        ensure!(message.starts_with(why), "{message}");
    }
    Ok(())
}
