//! Exchanges of SCRAM that end well, and those that must not, step by step.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use bytes::Bytes;
use ottla_access::sasl::Hash;
use ottla_access::sasl::scram::ScramClient;
use ottla_e2e::answers::agrees;
use ottla_e2e::raw::Connection;
use ottla_e2e::scram::{NONCE, PASSWORD};
use ottla_wire::MetadataRequest;
use ottla_wire::m17_sasl_handshake::SaslHandshakeRequest;
use ottla_wire::m18_api_versions::ApiVersionsRequest;
use ottla_wire::m36_sasl_authenticate::SaslAuthenticateRequest;
use regex::Regex;

use crate::bed::{Bed, PRINCIPALS};
use crate::rows;

/// A user of the bed.
const USER: &str = "owner";
/// What a step shows when there is no answer.
const CLOSED: &str = "the broker closed the connection";

/// One connection, and what was said on it.
struct Exchange {
    connection: Connection,
    said: String,
}

impl Exchange {
    fn note(&mut self, step: &str, answer: impl Into<String>) {
        let nonces = Regex::new(&format!("r={NONCE}[^,]*")).expect("a regular expression");
        let signatures = Regex::new("v=[^\"]*").expect("a regular expression");
        let answer = answer.into();
        let answer = signatures.replace(&nonces.replace(&answer, "r=NONCES"), "v=SIGNATURE").into_owned();
        self.said += &format!("{step}: {answer}\n");
    }

    /// Names the mechanism.
    fn begin(&mut self, version: i16, mechanism: &str) -> Result<()> {
        let answer = self.connection.ask(version, &SaslHandshakeRequest { mechanism: mechanism.into() })?;
        let answer = answer.map(|mut answer| {
            answer.mechanisms.sort();
            format!("{:?}, of {:?}", answer.error_code, answer.mechanisms)
        });
        self.note(&format!("handshake {version} {mechanism}"), answer.unwrap_or(CLOSED.into()));
        Ok(())
    }

    /// Sends a token; what comes back.
    fn token(&mut self, version: i16, token: impl Into<Bytes>) -> Result<Option<Bytes>> {
        let request = SaslAuthenticateRequest { auth_bytes: token.into() };
        let answer = self.connection.ask(version, &request)?;
        let text = answer.as_ref().map(|answer| {
            let text = String::from_utf8_lossy(&answer.auth_bytes);
            format!("{:?} {text:?} {}", answer.error_code, answer.session_lifetime_ms)
        });
        self.note(&format!("token {version}"), text.unwrap_or(CLOSED.into()));
        Ok(answer.map(|answer| answer.auth_bytes))
    }

    /// The same without the frame of an API (SaslHandshake 0).
    fn raw_token(&mut self, token: &[u8]) -> Result<Option<Bytes>> {
        self.connection.send_bytes(&i32::try_from(token.len())?.to_be_bytes())?;
        self.connection.send_bytes(token)?;
        let answer = self.connection.receive_bytes()?;
        let text = answer.as_ref().map(|answer| format!("{:?}", String::from_utf8_lossy(answer)));
        self.note("token", text.unwrap_or(CLOSED.into()));
        Ok(answer)
    }

    /// Whether the broker answers an ordinary request now.
    fn ask(&mut self) -> Result<()> {
        let answer = self.connection.ask(12, &MetadataRequest::default())?;
        self.note("metadata", if answer.is_some() { "an answer" } else { CLOSED });
        Ok(())
    }

    fn versions(&mut self) -> Result<()> {
        let answer = self.connection.ask(0, &ApiVersionsRequest::default())?;
        self.note("versions", answer.map_or(CLOSED.to_owned(), |answer| format!("{:?}", answer.error_code)));
        Ok(())
    }

    /// Both messages of a client, the last one changed on its way.
    fn scram(&mut self, client: ScramClient, change: impl Fn(String) -> String) -> Result<()> {
        let Some(first) = self.token(2, client.first())? else { return Ok(()) };
        let Ok((last, _)) = client.last(&first) else { return Ok(()) };
        self.token(2, change(last))?;
        Ok(())
    }
}

fn client(hash: Hash, name: &str, password: &str) -> ScramClient {
    ScramClient::new(hash, name, password, NONCE)
}

#[test]
fn exchanges_end_as_with_kafka() -> Result<()> {
    let Some(bed) = Bed::shared()? else { return Ok(()) };
    let mut said = String::new();
    let mut play = |title: &str, script: &dyn Fn(&mut Exchange) -> Result<()>| -> Result<()> {
        let mut exchange = Exchange { connection: bed.stranger()?, said: String::new() };
        script(&mut exchange)?;
        said += &format!("== {title}\n{}\n", exchange.said);
        Ok(())
    };
    let sha_256 = || client(Hash::Sha256, USER, PASSWORD);
    let same = |last: String| last;
    play("the right password", &|it| {
        it.versions()?;
        it.begin(1, "SCRAM-SHA-256")?;
        it.scram(sha_256(), same)?;
        it.ask()
    })?;
    play("tokens without frames", &|it| {
        it.begin(0, "SCRAM-SHA-256")?;
        let client = sha_256();
        let first = it.raw_token(client.first().as_bytes())?.unwrap_or_default();
        let last = client.last(&first);
        ensure!(last.is_ok(), "a first message");
        if let Ok((last, _)) = last {
            it.raw_token(last.as_bytes())?;
        }
        it.ask()
    })?;
    play("a wrong password", &|it| {
        it.begin(1, "SCRAM-SHA-256")?;
        it.scram(client(Hash::Sha256, USER, "a guess"), same)?;
        it.ask()
    })?;
    play("a wrong password without frames", &|it| {
        it.begin(0, "SCRAM-SHA-256")?;
        let client = client(Hash::Sha256, USER, "a guess");
        let first = it.raw_token(client.first().as_bytes())?.unwrap_or_default();
        if let Ok((last, _)) = client.last(&first) {
            it.raw_token(last.as_bytes())?;
        }
        Ok(())
    })?;
    play("the nonce of another exchange", &|it| {
        it.begin(1, "SCRAM-SHA-256")?;
        it.scram(sha_256(), |last| last.replacen(NONCE, "fyko+d2lbbFgONRv9qkx", 1))?;
        it.ask()
    })?;
    play("a shorter proof", &|it| {
        it.begin(1, "SCRAM-SHA-256")?;
        it.scram(sha_256(), |last| last.rsplit_once("p=").map_or(String::new(), |(head, _)| format!("{head}p=AAAA")))?;
        it.ask()
    })?;
    for (title, first) in [
        ("no message of SCRAM", "hello"),
        ("an empty message", ""),
        ("channel binding", "y,,n=owner,r=rOprNGfwEbeRWgbNEkqO"),
        ("somebody else's rights", "n,a=reader,n=owner,r=rOprNGfwEbeRWgbNEkqO"),
        ("no nonce", "n,,n=owner"),
        ("an unknown extension", "n,,n=owner,r=rOprNGfwEbeRWgbNEkqO,x=y"),
    ] {
        play(title, &|it| {
            it.begin(1, "SCRAM-SHA-256")?;
            it.token(2, first)?;
            Ok(())
        })?;
    }
    play("a token too large", &|it| {
        it.begin(1, "SCRAM-SHA-256")?;
        it.connection.send_bytes(&600_000_i32.to_be_bytes())?;
        let answer = it.connection.receive_bytes()?;
        it.note("600,000 bytes", if answer.is_some() { "an answer" } else { CLOSED });
        Ok(())
    })?;
    play("an unknown mechanism", &|it| {
        it.begin(1, "GSSAPI")?;
        it.begin(1, "SCRAM-SHA-256")
    })?;
    play("another request first", &Exchange::ask)?;
    play("a token first", &|it| it.token(2, sha_256().first()).map(drop))?;
    play("a request instead of a token", &|it| {
        it.begin(1, "SCRAM-SHA-256")?;
        it.ask()?;
        it.versions()
    })?;
    play("versions instead of a token", &|it| {
        it.begin(1, "SCRAM-SHA-256")?;
        it.versions()
    })?;
    play("versions twice", &|it| {
        it.versions()?;
        it.versions()
    })?;
    play("two handshakes", &|it| {
        it.begin(1, "SCRAM-SHA-256")?;
        it.begin(1, "SCRAM-SHA-512")
    })?;
    agrees("permissions/exchanges.txt", &said, bed.maker())
}

/// The first row of each API, asked where a token is expected.
#[test]
fn requests_among_tokens_are_refused_in_their_own_format() -> Result<()> {
    let Some(bed) = Bed::shared()? else { return Ok(()) };
    let me = bed.principal(&PRINCIPALS[0])?;
    let mut said = String::new();
    let mut seen = BTreeSet::new();
    for row in rows::table() {
        let api = row.title.split(':').next().unwrap_or_default().to_owned();
        if !seen.insert(api.clone()) || api.starts_with("SaslAuthenticate") {
            continue;
        }
        let mut exchange = Exchange { connection: bed.stranger()?, said: String::new() };
        exchange.begin(1, "SCRAM-SHA-256")?;
        let answer = (row.ask)(&mut exchange.connection, &me)?;
        let answer = answer.map_or(CLOSED.to_owned(), |answer| me.normalised(&answer));
        said += &format!("== {api}\n{answer}\n");
        ensure!(exchange.connection.receive_bytes()?.is_none(), "{api}: the connection stays open");
    }
    agrees("permissions/amid_tokens.txt", &said, bed.maker())
}
