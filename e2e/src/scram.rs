//! Users with a password, over the wire: how they get it, and how a connection of ours logs in, by SCRAM-SHA-256.

use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use ottla_access::sasl::Hash;
use ottla_access::sasl::scram::{NotTheBroker, ScramClient, ScramProof};
use ottla_wire::m17_sasl_handshake::SaslHandshakeRequest;
use ottla_wire::m36_sasl_authenticate::SaslAuthenticateRequest;
use ottla_wire::m51_alter_user_scram_credentials::{AlterUserScramCredentialsRequest, ScramCredentialUpsertion};

use crate::raw::Connection;

/// Every user's password.
pub const PASSWORD: &str = "a password";
/// Every client's.
pub const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
/// Of every user's verifiers.
const ITERATIONS: std::num::NonZeroU32 = std::num::NonZeroU32::new(4096).expect("it is not zero");
const SALT: &[u8] = b"of every user";
/// Computed once, as it takes a client most of the time of an exchange.
static SALTED: LazyLock<Vec<u8>> =
    LazyLock::new(|| Hash::Sha256.salted_password(PASSWORD.as_bytes(), SALT, ITERATIONS).to_vec());

/// What is sent instead of the password to give it to a user. Who has it can log in.
pub fn salted() -> &'static [u8] {
    &SALTED
}

/// Gives these users the password, by a connection of who may. Brokers know them a moment later.
pub fn let_in(admin: &mut Connection, names: &[&str]) -> Result<()> {
    let upsertion = |name: &&str| ScramCredentialUpsertion {
        name: (*name).into(),
        mechanism: 1,
        iterations: ITERATIONS.get() as i32,
        salt: SALT.into(),
        salted_password: SALTED.clone().into(),
    };
    let upsertions = names.iter().map(upsertion).collect();
    let request = AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions };
    let answer = admin.ask(0, &request)?.context("an answer")?;
    ensure!(answer.results.iter().all(|result| result.error_code.is_none()), "{answer:?}");
    Ok(())
}

/// Makes a new connection one of this user, who has the password.
pub fn login(connection: &mut Connection, name: &str) -> Result<()> {
    let client = ScramClient::new(Hash::Sha256, name, PASSWORD, NONCE);
    exchange(connection, client, |client, first| client.last_of_salted(first, |_, _| SALTED.clone().into()))
}

/// The same of a user who has another password.
pub fn login_with(connection: &mut Connection, name: &str, password: &str) -> Result<()> {
    exchange(connection, ScramClient::new(Hash::Sha256, name, password, NONCE), ScramClient::last)
}

fn exchange(
    connection: &mut Connection,
    client: ScramClient,
    last: impl FnOnce(ScramClient, &[u8]) -> Result<(String, ScramProof), NotTheBroker>,
) -> Result<()> {
    let handshake = SaslHandshakeRequest { mechanism: "SCRAM-SHA-256".into() };
    let answer = connection.ask(1, &handshake)?.context("an answer to the handshake")?;
    ensure!(answer.error_code.is_none(), "{answer:?}");
    let mut token = |text: String| -> Result<Bytes> {
        let request = SaslAuthenticateRequest { auth_bytes: text.into() };
        let answer = connection.ask(2, &request)?.context("an answer to the token")?;
        ensure!(answer.error_code.is_none(), "{answer:?}");
        Ok(answer.auth_bytes)
    };
    let first = token(client.first())?;
    let (last, proof) = last(client, &first).map_err(|why| anyhow!("{why}"))?;
    proof.check(&token(last)?).map_err(|why| anyhow!("{why}"))
}
