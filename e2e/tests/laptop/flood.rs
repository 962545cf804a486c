//! Crowds: strangers who send long tokens cost hardly any memory and keep nobody out, and clients that connect at the
//! same moment are all served.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use ottla_e2e::leash::resident;
use ottla_e2e::login::{Credentials, kafka_python};
use ottla_e2e::need::{Need, met};
use ottla_e2e::wait::until;
use ottla_e2e::{crowd, scram, trusting};
use ottla_wire::ApiVersionsRequest;
use rustls::ClientConnection;
use serde_json::json;

use super::bed::{LIMIT, Laptop, can_run};
use super::secure::apply_user;

/// How many strangers connect; `OTTLA_STRANGERS` says another number.
const STRANGERS: usize = 800;
/// How long each says that its token is: as long as it may be (`sasl.server.max.receive.size`).
const TOKEN: usize = 524_288;
/// What long tokens may cost the broker in memory, in bytes, however many strangers send some.
const FOR_TOKENS: u64 = 16 << 20;
/// What a connection may cost it, in bytes: 10 KiB were measured with 10,000, and 34 under TLS.
const FOR_A_CONNECTION: u64 = 20 << 10;
const FOR_ONE_UNDER_TLS: u64 = 60 << 10;

/// Clients that connect at the same moment; `bench reconnects` measures it with 10,000.
const CROWD: usize = 500;

/// A connection that sends a token and never its last byte.
struct Stranger {
    stream: TcpStream,
    /// Of TLS, if it is under TLS.
    session: Option<Box<ClientConnection>>,
    sent: usize,
}

impl Stranger {
    fn connect(port: u16, under_tls: bool) -> Result<Stranger> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        let new = || ClientConnection::new(trusting::config(), "localhost".try_into()?).context("a session of TLS");
        let session = if under_tls { Some(Box::new(new()?)) } else { None };
        let mut stranger = Stranger { stream, session, sent: 0 };
        // The first write does the handshake.
        let length = stranger.write(&u32::try_from(TOKEN)?.to_be_bytes())?;
        ensure!(length == 4, "the length is not sent");
        stranger.stream.set_nonblocking(true)?;
        Ok(stranger)
    }

    /// Writes as much as the connection takes. Under TLS that is sent with the next call.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.session {
            Some(session) => rustls::Stream::new(&mut **session, &mut self.stream).write(bytes),
            None => self.stream.write(bytes),
        }
    }

    /// Sends what the broker takes now.
    fn send(&mut self) -> Result<()> {
        while self.sent < TOKEN - 1 {
            let length = (TOKEN - 1 - self.sent).min(16 << 10);
            match self.write(&[0; 16 << 10][..length]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the broker has closed a connection"),
            }
        }
        Ok(())
    }
}

/// Strangers send long tokens while a client with a password is served.
fn endures_strangers(under_tls: bool) -> Result<()> {
    if !can_run(&["kubectl"]) || !met(&[Need::Python]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let port = laptop.kafka_port() + 1;
    let mut listener = json!({ "name": "apps", "port": port, "authentication": [{ "type": "scram-sha-512" }] });
    if under_tls {
        listener["tls"] = json!({});
    } else {
        listener["insecure"] = json!(true);
    }
    laptop.listen_also(&[listener])?;
    apply_user(&laptop, "orders", "scram")?;
    let kubectl = |line: &str| laptop.kubectl(line);
    let orders = Credentials { user: "orders", folder: laptop.folder(), kubectl: &kubectl };
    let mechanism = "SCRAM-SHA-512";
    let settings =
        if under_tls { orders.by_password(mechanism)? } else { orders.by_password_without_tls(mechanism)? };
    let bootstrap = format!("127.0.0.1:{port}");
    let is_served = || -> Result<bool> { Ok(kafka_python(&bootstrap, &settings)? == "ok") };
    until(LIMIT, "the password to be known", || Ok(is_served()?.then_some(())))?;

    let count = std::env::var("OTTLA_STRANGERS").map_or(Ok(STRANGERS), |count| count.parse())?;
    let each = if under_tls { FOR_ONE_UNDER_TLS } else { FOR_A_CONNECTION };
    let most = FOR_TOKENS + count as u64 * each;
    let before = resident(laptop.pid()?)?;
    let mut strangers = (0..count).map(|_| Stranger::connect(port, under_tls)).collect::<Result<Vec<_>>>()?;
    for round in 0..5 {
        strangers.iter_mut().try_for_each(Stranger::send)?;
        ensure!(is_served()?, "round {round}: a client with a password is served meanwhile");
        let more = resident(laptop.pid()?)?.saturating_sub(before);
        println!("{count} strangers, round {round}: {} KiB more than before", more >> 10);
        ensure!(more < most, "round {round}: {more} bytes more than before");
    }
    Ok(())
}

#[test]
fn long_tokens_of_many_strangers_cost_little_memory_and_keep_nobody_out() -> Result<()> {
    endures_strangers(false)
}

#[test]
fn long_tokens_of_many_strangers_under_tls_cost_little_memory_and_keep_nobody_out() -> Result<()> {
    endures_strangers(true)
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
