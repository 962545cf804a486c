//! A laptop with authorization: Kafka's own tools as users with few rights.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ottla_e2e::login::{self, Credentials, user};
use ottla_e2e::need::{Need, met};
use ottla_e2e::tools::{Output, Tools};
use ottla_e2e::wait::until;

use super::bed::{LIMIT, Laptop, can_run};

/// Clients log in at the port above the one of `--kafka`; the user admin may do everything.
fn authorizing() -> Result<Laptop> {
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let authentication = r#"[{"type":"scram-sha-512"}]"#;
    let apps = laptop.kafka_port() + 1;
    let listener = format!(r#"{{"name":"apps","port":{apps},"tls":{{}},"authentication":{authentication}}}"#);
    let listeners = format!(r#"[{{"name":"internal","port":9092}},{listener}]"#);
    let authorization = r#"{"superUsers":["admin"]}"#;
    let patch = format!(r#"{{"spec":{{"listeners":{listeners},"authorization":{authorization}}}}}"#);
    laptop.kubectl(&format!("patch kafkacluster laptop --type merge -p {patch}"))?;
    laptop.terminate()?;
    laptop.start()?;
    Ok(laptop)
}

/// The tools of one user.
struct User {
    bootstrap: String,
    /// For Java.
    config: PathBuf,
    /// For kafka-python.
    settings: Vec<String>,
}

impl User {
    fn new(laptop: &Laptop, name: &str, authorization: &str) -> Result<User> {
        apply(laptop, name, authorization)?;
        laptop.kubectl(&format!("wait --for=condition=Ready kafkauser/{name} --timeout=60s"))?;
        let kubectl = |line: &str| laptop.kubectl(line);
        let credentials = Credentials { user: name, folder: laptop.folder(), kubectl: &kubectl };
        let (config, settings) = (credentials.saved("client.properties")?, credentials.by_password("SCRAM-SHA-512")?);
        Ok(User { bootstrap: format!("127.0.0.1:{}", laptop.kafka_port() + 1), config, settings })
    }

    /// What a tool says and how it ends, with these arguments, split at blanks.
    fn run(&self, tools: &mut Tools, tool: &str, line: &str, input: &str) -> Result<Output> {
        let config = self.config.to_str().context("a path that is text")?;
        let mut arguments = vec!["--bootstrap-server", &self.bootstrap, "--command-config", config];
        arguments.extend(line.split_whitespace());
        tools.run(tool, &arguments, input)
    }

    /// Sends a line to a topic.
    fn send(&self, tools: &mut Tools, topic: &str) -> Result<Output> {
        self.run(tools, "console-producer", &format!("--sync --topic {topic}"), "hello\n")
    }

    /// What is read first of a topic by a member of a group, or the name of the error.
    fn read(&self, topic: &str, group: &str) -> Result<String> {
        login::read(&self.bootstrap, topic, group, &self.settings)
    }
}

fn apply(laptop: &Laptop, name: &str, authorization: &str) -> Result<()> {
    let file = laptop.folder().join("user.yaml");
    std::fs::write(&file, format!("{}  authorization: {{acls: [{authorization}]}}\n", user(name, "laptop", "scram")))?;
    laptop.kubectl(&format!("apply -f {}", file.display())).map(drop)
}

#[test]
fn users_may_do_what_their_acls_say_and_nothing_else() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Java, Need::Python]) {
        return Ok(());
    }
    let laptop = authorizing()?;
    let mut tools = Tools::start()?;
    let admin = User::new(&laptop, "admin", "")?;
    let write = "{resource: topic, name: orders-, pattern: prefix, operations: [Write, Create]}";
    let producer = User::new(&laptop, "producer", write)?;
    let read = "{resource: topic, name: orders-eu, operations: [Read]}";
    let group = "{resource: group, name: readers, operations: [Read]}";
    let consumer = User::new(&laptop, "consumer", &format!("{read}, {group}"))?;
    let tools = &mut tools;

    until(LIMIT, "the super user to be known", || {
        Ok((admin.run(tools, "topics", "--create --if-not-exists --topic others", "")?.code == 0).then_some(()))
    })?;
    // A prefix allows to create and to write, and implies Describe; it does not allow to read.
    until(LIMIT, "the producer to be known", || {
        let said = producer.run(tools, "topics", "--create --if-not-exists --topic orders-eu", "")?;
        Ok((said.code == 0).then_some(()))
    })?;
    let sent = producer.send(tools, "orders-eu")?;
    ensure!(!sent.err.contains("ERROR") && sent.code == 0, "{sent:?}");
    let refused = producer.send(tools, "others")?;
    ensure!(refused.err.contains("TopicAuthorizationException"), "{refused:?}");
    let seen = producer.run(tools, "topics", "--list", "")?.out;
    ensure!(seen == "orders-eu\n", "a user sees what it may describe: {seen}");

    until(LIMIT, "the consumer to be known", || Ok((consumer.read("orders-eu", "readers")? == "hello").then_some(())))?;
    let refused = consumer.read("orders-eu", "others")?;
    ensure!(refused == "GroupAuthorizationFailedError", "{refused}");
    // Who may write nowhere gets no producer id.
    let refused = consumer.send(tools, "orders-eu")?;
    ensure!(refused.err.contains("ClusterAuthorizationException"), "{refused:?}");

    // An ACL that is removed counts from the next request, and a denial comes first.
    apply(&laptop, "consumer", group)?;
    until(LIMIT, "the ACL to count no more", || Ok((consumer.read("orders-eu", "readers")? != "hello").then_some(())))?;
    let denial = "{resource: topic, name: orders-us, pattern: prefix, access: deny, operations: [All]}";
    apply(&laptop, "producer", &format!("{write}, {denial}"))?;
    let mut tried = 0;
    until(LIMIT, "the denial to count", || {
        tried += 1; // what was created before it counts stays
        let said = producer.run(tools, "topics", &format!("--create --topic orders-us-{tried}"), "")?;
        Ok(format!("{}{}", said.out, said.err).contains("uthoriz").then_some(()))
    })?;

    // What kafka-acls adds stands beside what Git has, and a principal without a KafkaUser gets one.
    let add = "--add --allow-principal User:consumer --allow-principal User:Late --operation Read --topic orders-eu";
    let said = admin.run(tools, "acls", add, "")?;
    ensure!(said.code == 0 && said.out.contains("Adding ACLs for resource"), "{said:?}");
    ensure!(consumer.read("orders-eu", "readers")? == "hello", "an added ACL counts at once");
    let listed = admin.run(tools, "acls", "--list --topic orders-eu", "")?.out;
    for principal in ["consumer", "Late"] {
        let entry = format!("(principal=User:{principal}, host=*, operation=READ, permissionType=ALLOW)");
        ensure!(listed.contains(&entry), "{listed}");
    }
    let names = laptop.kubectl("get kafkausers -o jsonpath={.items[*].spec.principalName}")?;
    ensure!(names == "Late", "a name that Kubernetes does not allow: {names}");
    let refused = consumer.run(tools, "acls", add, "")?;
    ensure!(format!("{}{}", refused.out, refused.err).contains("Cluster authorization failed"), "{refused:?}");
    let remove = add.replace("--add", "--remove --force");
    let said = admin.run(tools, "acls", &remove, "")?;
    ensure!(said.code == 0, "{said:?}");
    let said = consumer.read("orders-eu", "readers")?;
    ensure!(said != "hello", "a removed ACL counts no more: {said}");
    let acls = laptop.kubectl("get kafkauser consumer -o jsonpath={.spec.authorization.acls[*].resource}")?;
    ensure!(acls == "group", "what Git has stays: {acls}");

    // Who does not say who it is may do nothing.
    let anonymous = format!("127.0.0.1:{}", laptop.kafka_port());
    let said = tools.run("topics", &["--bootstrap-server", &anonymous, "--create", "--topic", "orders-x"], "")?;
    ensure!(format!("{}{}", said.out, said.err).contains("uthoriz"), "{said:?}");
    let metrics = laptop.metrics()?;
    ensure!(metrics.contains("ottla_authorization_denied_total"), "denials are counted");
    Ok(())
}
