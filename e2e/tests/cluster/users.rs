//! Users, rights and quotas that Kafka's tools make: brokers write them with the rights that they have on a real API
//! server, and they count.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::LIMIT;
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::login::kafka_python;
use ottla_e2e::need::{Need, met};
use ottla_e2e::tools::Tools;
use ottla_e2e::wait::until;

#[test]
fn kafkas_tools_make_users_with_passwords_rights_and_quotas() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    if !met(&[Need::Java, Need::Python]) {
        return Ok(());
    }
    let namespace = Namespace::new(&bed, "users")?;
    let listener =
        "  - {name: apps, port: 9095, type: nodePort, insecure: true, authentication: [{type: scram-sha-512}]}";
    let yaml =
        cluster(1, "authorization: {superUsers: [ANONYMOUS]}").replace("  rack:", &format!("{listener}\n  rack:"));
    ensure!(yaml.contains(listener), "the case edits this");
    namespace.apply(&yaml)?;
    namespace.ready("okc/kafka", "Ready")?;
    namespace.topic("logins", 1)?;
    let (external, apps) = (namespace.bootstrap("external")?, namespace.bootstrap("apps")?);
    let mut tools = Tools::start()?;
    let mut run = |tool: &str, line: &str| {
        let arguments = ["--bootstrap-server", &external].into_iter().chain(line.split(' '));
        tools.expect(tool, &arguments.collect::<Vec<_>>(), "")
    };
    let login = ["security_protocol=SASL_PLAINTEXT", "sasl_mechanism=SCRAM-SHA-512", "sasl_plain_username=orders"];
    let login: Vec<String> = login.into_iter().chain(["sasl_plain_password=chosen"]).map(str::to_owned).collect();
    ensure!(kafka_python(&apps, &login)? == "refused", "a user who does not exist yet");

    run("configs", "--alter --entity-type users --entity-name orders --add-config SCRAM-SHA-512=[password=chosen]")?;
    for operation in ["Read", "Write"] {
        run("acls", &format!("--add --allow-principal User:orders --operation {operation} --topic logins"))?;
    }
    run("configs", "--alter --entity-type users --entity-name orders --add-config producer_byte_rate=1000000")?;
    run("configs", "--alter --entity-type clients --entity-default --add-config consumer_byte_rate=2000000")?;
    until(LIMIT, "the new user to be let in", || Ok((kafka_python(&apps, &login)? == "ok").then_some(())))?;
    let described = run("configs", "--describe --entity-type users --entity-name orders")?;
    ensure!(described.contains("producer_byte_rate=1000000.0") && described.contains("SCRAM-SHA-512"), "{described}");

    // What `kubectl` shows is the same.
    namespace.prints("get kafkauser/orders -o jsonpath={.spec.quotas.producerByteRate}", "1000000")?;
    namespace.prints("get kafkauser/orders -o jsonpath={.spec.authentication.password.byClients}", "{}")?;
    namespace
        .satisfies("get kafkauser/orders -o jsonpath={.spec.authorization.acls}", |acls| acls.contains("logins"))?;
    namespace.satisfies("get okc/kafka -o jsonpath={.spec.quotas}", |quotas| quotas.contains("2000000"))?;

    run("configs", "--alter --entity-type users --entity-name orders --delete-config SCRAM-SHA-512")?;
    until(LIMIT, "the user without a password to be refused", || {
        Ok((kafka_python(&apps, &login)? == "refused").then_some(()))
    })
}
