//! Crowds: strangers who send long tokens cost hardly any memory and keep nobody out, and clients that connect at the
//! same moment are all served.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use ottla_e2e::leash::resident;
use ottla_e2e::login::{Credentials, kafka_python};
use ottla_e2e::need::{Need, met};
use ottla_e2e::wait::until;
use ottla_e2e::{crowd, scram};
use ottla_wire::ApiVersionsRequest;
use serde_json::json;

use super::bed::{LIMIT, Laptop, can_run};
use super::secure::apply_user;

/// How many strangers connect.
const STRANGERS: usize = 800;
/// How long each says that its token is: as long as it may be (`sasl.server.max.receive.size`).
const TOKEN: usize = 524_288;
/// What the broker may need more than before, in bytes: 16 MiB for long tokens, and a few KiB for each connection. All
/// tokens together are 25 times as long.
const MORE_MEMORY: u64 = 64 << 20;

/// Clients that connect at the same moment; `bench reconnects` measures it with 10,000.
const CROWD: usize = 500;

/// A connection that sends a token and never its last byte.
struct Stranger {
    stream: TcpStream,
    sent: usize,
}

impl Stranger {
    fn connect(port: u16) -> Result<Stranger> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(&u32::try_from(TOKEN)?.to_be_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Stranger { stream, sent: 0 })
    }

    /// Sends what the broker takes now.
    fn send(&mut self) -> Result<()> {
        while self.sent < TOKEN - 1 {
            let length = (TOKEN - 1 - self.sent).min(16 << 10);
            match self.stream.write(&[0; 16 << 10][..length]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the broker has closed a connection"),
            }
        }
        Ok(())
    }
}

#[test]
fn long_tokens_of_many_strangers_cost_little_memory_and_keep_nobody_out() -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Python]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let port = laptop.kafka_port() + 1;
    let authentication = json!([{ "type": "scram-sha-512" }]);
    laptop
        .listen_also(&[json!({ "name": "apps", "port": port, "insecure": true, "authentication": authentication })])?;
    apply_user(&laptop, "orders", "scram")?;
    let kubectl = |line: &str| laptop.kubectl(line);
    let orders = Credentials { user: "orders", folder: laptop.folder(), kubectl: &kubectl };
    let password = std::fs::read_to_string(orders.saved("password")?)?;
    let settings = [
        "security_protocol=SASL_PLAINTEXT".to_owned(),
        "sasl_mechanism=SCRAM-SHA-512".to_owned(),
        "sasl_plain_username=orders".to_owned(),
        format!("sasl_plain_password={password}"),
    ];
    let bootstrap = format!("127.0.0.1:{port}");
    let is_served = || -> Result<bool> { Ok(kafka_python(&bootstrap, &settings)? == "ok") };
    until(LIMIT, "the password to be known", || Ok(is_served()?.then_some(())))?;

    let before = resident(laptop.pid()?)?;
    let mut strangers = (0..STRANGERS).map(|_| Stranger::connect(port)).collect::<Result<Vec<_>>>()?;
    for round in 0..5 {
        strangers.iter_mut().try_for_each(Stranger::send)?;
        ensure!(is_served()?, "round {round}: a client with a password is served meanwhile");
        let more = resident(laptop.pid()?)?.saturating_sub(before);
        ensure!(more < MORE_MEMORY, "round {round}: {more} bytes more than before");
    }
    Ok(())
}

#[test]
fn clients_that_connect_at_the_same_moment_are_all_served() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let port = laptop.kafka_port() + 1;
    let authentication = json!([{ "type": "scram-sha-256" }]);
    laptop.listen_also(&[json!({ "name": "apps", "port": port, "tls": {}, "authentication": authentication })])?;
    scram::let_in(&mut laptop.connect(0)?, &["orders"])?;
    let address = format!("127.0.0.1:{port}");
    until(LIMIT, "the password to be known", || Ok(crowd::connect(&address, 1, "orders").ok()))?;
    let crowd = crowd::connect(&address, CROWD, "orders")?;
    // All are connected now, and each is still served.
    for mut connection in crowd.connections {
        connection.ask(0, &ApiVersionsRequest::default())?.context("the broker has closed a connection")?;
    }
    Ok(())
}
