//! Where no secret may stand: in the log, even if it says everything, in Events, statuses, ConfigMaps and metrics, in
//! what `ottla objects` prints, and in the text of a panic.

use std::fmt::Debug;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use ottla_e2e::scram::salted;
use ottla_e2e::target::ottla_program;
use ottla_wire::m36_sasl_authenticate::SaslAuthenticateRequest;
use ottla_wire::m51_alter_user_scram_credentials::{AlterUserScramCredentialsRequest, ScramCredentialUpsertion};
use serde_json::Value;

use super::bed::Laptop;

/// A shorter one can be found by accident.
const SHORTEST: usize = 16;

/// Checks that neither these secrets nor what is kept of passwords stand in what the laptop, which logs everything, has
/// written and shows. A Secret is where they belong. How many pieces of what is kept of passwords were looked for.
pub fn is_kept(laptop: &Laptop, mut secrets: Vec<Vec<u8>>) -> Result<usize> {
    let log = laptop.said()?;
    ensure!(log.contains("TRACE") && log.contains("DEBUG"), "the log does not say everything");
    let mut objects = Command::new(ottla_program()?);
    let objects = objects.args(["objects", "--data"]).arg(laptop.data().join("broker-0")).output()?;
    ensure!(objects.status.success(), "{}", String::from_utf8_lossy(&objects.stderr));
    let places = [
        ("the log", log),
        ("an Event", laptop.kubectl("get events -o yaml")?),
        ("an object", laptop.kubectl("get okc,okt,oku,oka,configmaps,leases -o yaml")?),
        ("what ottla objects prints", String::from_utf8(objects.stdout)?),
        ("the metrics", laptop.metrics()?),
    ];
    let kept = kept_of_passwords(laptop)?;
    let count = kept.len();
    secrets.extend(kept);
    for secret in secrets {
        ensure!(secret.len() >= SHORTEST, "it can be found by accident: {secret:?}");
        for form in forms(&secret) {
            for (place, text) in &places {
                ensure!(!text.contains(&form), "a secret stands in {place}: {form}");
            }
        }
    }
    Ok(count)
}

/// The keys in the Secrets with what is kept of passwords, as bytes and as they are written there, and the bytes that
/// salts of unknown users are made of.
fn kept_of_passwords(laptop: &Laptop) -> Result<Vec<Vec<u8>>> {
    let all: Value = serde_json::from_str(&laptop.kubectl("get secrets -o json")?)?;
    let mut found = Vec::new();
    for secret in all["items"].as_array().context("a list")? {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        let entries = if name.starts_with("laptop-scram-") { secret["data"].as_object() } else { None };
        for (key, value) in entries.into_iter().flatten() {
            let value = BASE64_STANDARD.decode(value.as_str().context("base64")?)?;
            if key == "salt" {
                found.push(value);
                continue;
            }
            let entry: Value = serde_json::from_slice(&value)?;
            let verifiers = ["sha256", "sha512"].into_iter().filter_map(|hash| entry.get(hash));
            for (verifier, key) in verifiers.flat_map(|verifier| [(verifier, "storedKey"), (verifier, "serverKey")]) {
                let key = verifier[key].as_str().context("a key")?;
                found.extend([BASE64_STANDARD.decode(key)?, key.as_bytes().to_vec()]);
            }
        }
    }
    Ok(found)
}

/// The ways in which bytes come into a text: as they are, as Rust's `Debug` prints them, in hexadecimal, in base64.
fn forms(secret: &[u8]) -> Vec<String> {
    let debug = format!("{:?}", Bytes::copy_from_slice(secret));
    let bytes = format!("{secret:?}");
    let mut forms = vec![
        debug.trim_start_matches("b\"").trim_end_matches('"').to_owned(),
        bytes.trim_matches(['[', ']']).to_owned(),
        secret.iter().map(|byte| format!("{byte:02x}")).collect(),
    ];
    forms.extend(std::str::from_utf8(secret).ok().map(str::to_owned));
    forms.extend((0..3).map(|before| in_base64(secret, before)));
    forms
}

/// The characters that the bytes become, whatever stands before and after them, if so many bytes modulo 3 are before.
fn in_base64(secret: &[u8], before: usize) -> String {
    let bytes = [&[0, 0][..before], secret].concat();
    let mut text = BASE64_STANDARD_NO_PAD.encode(&bytes);
    if bytes.len() % 3 != 0 {
        // What follows has a part in it.
        text.pop();
    }
    // Three bytes are four characters: that before has a part in the first two or three.
    text.split_off([0, 2, 3][before])
}

#[test]
fn a_secret_is_found_in_every_form() {
    let secret = b"\0 a password is \"here\" ";
    let found = |text: &str| forms(secret).iter().any(|form| text.contains(form));
    assert!(found(&format!("{:?}", secret)) && found(&format!("{:?}", Bytes::from_static(secret))));
    for (before, after) in (0..4).flat_map(|before| (0..4).map(move |after| (before, after))) {
        let text = [&b"name"[..before], secret, &b"more"[..after]].concat();
        assert!(found(&BASE64_STANDARD.encode(&text)), "{before} before, {after} after");
    }
    assert!(!found("a password is here"));
}

#[test]
fn a_panic_with_a_request_in_hand_says_no_secret() -> Result<()> {
    const CHILD: &str = "OTTLA_TEST_CHILD";
    const NAME: &str = "canaries::a_panic_with_a_request_in_hand_says_no_secret";
    let token = b"\0orders\0correct horse battery staple";
    let upsertion = ScramCredentialUpsertion {
        name: "orders".into(),
        mechanism: 1,
        iterations: 4096,
        salt: Bytes::from_static(b"of every user"),
        salted_password: Bytes::from_static(salted()),
    };
    match std::env::var(CHILD).as_deref() {
        Ok("token") => panic_with(SaslAuthenticateRequest { auth_bytes: Bytes::from_static(token) }),
        Ok(_) => panic_with(AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: vec![upsertion] }),
        Err(_) => {}
    }
    for (request, says, secret) in [("token", "SaslAuthenticate", &token[..]), ("password", "orders", salted())] {
        let mut child = Command::new(std::env::current_exe()?);
        child.args(["--exact", NAME, "--nocapture"]).env(CHILD, request).env("RUST_BACKTRACE", "full");
        let output = child.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && said.contains("panicked at") && said.contains(says), "{said}");
        for form in forms(secret) {
            ensure!(!said.contains(&form), "a secret stands in the text of a panic: {form}");
        }
    }
    Ok(())
}

/// As an `expect` on what was made of a request does.
fn panic_with(request: impl Debug) -> ! {
    panic!("a bug of ours: {request:?}")
}
