//! Brokers and our own client under TLS.

use std::path::Path;

use anyhow::Result;
use ottla_e2e::raw::Connection;
use ottla_e2e::trusting;
use rcgen::{CertifiedKey, generate_simple_self_signed};

/// Before the address of a listener under TLS.
pub const SCHEME: &str = "tls://";

/// Connects to an address, under TLS if [`SCHEME`] stands before it.
pub fn open(address: &str) -> Result<Connection> {
    match address.strip_prefix(SCHEME) {
        Some(address) => Connection::open_secure(address, trusting::config()),
        None => Connection::open(address),
    }
}

/// How far above a broker's port its listener under TLS is.
pub const SECURE: u16 = 1;
/// The same of the one where clients log in besides, by SCRAM-SHA-256.
pub const USERS: u16 = 2;

/// Both listeners of Ottla besides the one at this port, as JSON.
pub fn ottla(port: u16) -> String {
    let secure = format!(r#"{{"name":"secure","port":{},"tls":{{}}}}"#, port + SECURE);
    let scram = r#"[{"type":"scram-sha-256"}]"#;
    let users = format!(r#"{{"name":"users","port":{},"tls":{{}},"authentication":{scram}}}"#, port + USERS);
    format!(r#"{{"spec":{{"listeners":[{{"name":"internal","port":9092}},{secure},{users}]}}}}"#)
}

/// The same of Kafka, with a certificate of the same kind as Ottla's own authority issues, as properties.
pub fn kafka(folder: &Path, port: u16) -> Result<String> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let keystore = folder.join("keystore.pem");
    std::fs::write(&keystore, format!("{}{}", signing_key.serialize_pem(), cert.pem()))?;
    let at = |name: &str, above: u16| format!("{name}://127.0.0.1:{}", port + above);
    let listeners = [at("PLAINTEXT", 0), at("SSL", SECURE), at("USERS", USERS), at("CONTROLLER", 50)].join(",");
    Ok(format!(
        "listeners={listeners}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,USERS:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={}
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.users.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
",
        keystore.display()
    ))
}
