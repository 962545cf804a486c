//! Random exchanges of SCRAM and OAUTHBEARER, hostile ones among them, through `ottla_access::sasl` and Kafka's own
//! SaslServers in a JVM: the same verdicts and the same bytes of answers.
//!
//!     OTTLA_SASL_ROUNDS=20000 cargo test -p ottla-e2e --test exchanges     # for longer than CI
//!     OTTLA_SASL_SEED=7 cargo test -p ottla-e2e --test exchanges           # a round once more, alone
//!
//! Where both mean to differ stands in `DIFFERENCES.md`, and here in `differences_are_those_that_are_meant`. A refusal
//! is one in whatever way Kafka's server comes to it, also by an exception that it does not expect.

mod scram;
mod tokens;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use ottla_access::sasl::{
    Credentials, Exchange, Hash, LoginInputs, Mechanism, Reason, SaslStep, User, Verifier, oauthbearer,
};
use ottla_e2e::choices::Choices;
use ottla_e2e::java;
use ottla_e2e::need::{Need, met};

use tokens::Issuer;

const ROUNDS: u64 = 400;
/// The users and their passwords.
const USERS: [(&str, &str); 2] = [("alice", "opensesame"), ("a,b=c", "another password")];
const SALT: &[u8] = b"of every user";
const ITERATIONS: u32 = 4096;

/// What both servers know.
struct World {
    credentials: Credentials,
    issuer: Issuer,
    /// The time of the rounds, in milliseconds since 1970.
    now_ms: i64,
    /// The commands that say the same to Kafka's.
    commands: String,
}

/// Bytes as a word of a command.
fn word(bytes: impl AsRef<[u8]>) -> String {
    match bytes.as_ref() {
        [] => "-".to_owned(),
        bytes => BASE64.encode(bytes),
    }
}

impl World {
    fn new() -> Result<World> {
        let mut commands = String::new();
        let user = |(name, password): (&'static str, &str)| -> Result<_> {
            let mut user = User::new("1".to_owned());
            for hash in [Hash::Sha256, Hash::Sha512] {
                let verifier = Verifier::of_password(hash, password.as_bytes(), SALT.into(), ITERATIONS)?;
                user.set_verifier(hash, Some(verifier));
            }
            Ok((name.into(), Arc::new(user)))
        };
        let credentials = Credentials::new(USERS.into_iter().map(user).collect::<Result<Vec<_>>>()?, b"secret".into());
        for ((name, password), mechanism) in USERS.into_iter().flat_map(|user| scram::MECHANISMS.map(|it| (user, it))) {
            let (name, password, salt) = (word(name), word(password), word(SALT));
            writeln!(commands, "user {name} {} {password} {salt} {ITERATIONS}", mechanism.name())?;
        }
        let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let issuer = Issuer::new(now_ms / 1000)?;
        let file = word(issuer.jwks.path().to_str().context("a path is text")?);
        writeln!(commands, "issuer {file} {} {}", word(tokens::NAME), word(tokens::AUDIENCE))?;
        Ok(World { credentials, issuer, now_ms, commands })
    }
}

/// One exchange here, and the commands for the same one there.
struct Round<'a> {
    world: &'a World,
    exchange: Exchange,
    is_over: bool,
    commands: String,
    /// What each token comes to.
    verdicts: Vec<String>,
}

impl Round<'_> {
    fn begin(world: &World, mechanism: Mechanism, random: [u8; 16]) -> Round<'_> {
        // The server's part of the nonce, as an exchange makes it of what it was given.
        let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Round {
            world,
            exchange: Exchange::new(mechanism, random),
            is_over: false,
            commands: format!("begin {} {nonce}\n", mechanism.name()),
            verdicts: Vec::new(),
        }
    }

    /// Sends a token; the answer, if the exchange continues.
    fn send(&mut self, token: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        if self.is_over {
            return None;
        }
        self.commands += &format!("token {}\n", word(&token));
        let World { credentials, issuer, now_ms, .. } = self.world;
        let step =
            self.exchange.step(token.as_ref(), LoginInputs { credentials, issuers: &issuer.issuers, now_ms: *now_ms });
        self.is_over = !matches!(step, SaslStep::Challenge(_));
        let (verdict, answer) = match step {
            SaslStep::Challenge(answer) => (format!("answer {}", word(&answer)), Some(answer)),
            SaslStep::Done(answer, identity) => {
                let expires = identity.expires_ms.map_or("-".to_owned(), |expires| expires.to_string());
                (format!("done {} {expires} {}", word(identity.principal.name().as_bytes()), word(answer)), None)
            }
            SaslStep::Failed(Reason::Token(_)) => (format!("refused {}", word(oauthbearer::INVALID_TOKEN)), None),
            SaslStep::Failed(_) => ("refused -".to_owned(), None),
            SaslStep::Check(_) => ("a worker".to_owned(), None),
        };
        self.verdicts.push(verdict);
        answer
    }
}

/// Bytes that somebody has changed on their way: never the last one, and none becomes one of those that Kafka's decoder
/// of base64 passes over.
fn damaged(choices: &mut Choices, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < 2 {
        return bytes;
    }
    let at = choices.below(bytes.len() as u64 - 1) as usize;
    let other = match choices.below(256) as u8 {
        b'=' | b'~' | b'+' | b'/' => b'x',
        other => other,
    };
    match choices.below(4) {
        0 => bytes[at] = other,
        1 => bytes.insert(at, other),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
    bytes
}

/// Whether what Kafka's server did is what ours did. A user that does not exist is refused at the end here, and at
/// once there.
fn agree(ours: &[String], theirs: &[String], is_stranger: bool) -> bool {
    let is_refusal = |verdict: &String| verdict.starts_with("refused") || verdict == "stumbled";
    let same = |(ours, theirs): (&String, &String)| match &**theirs {
        "stumbled" => is_refusal(ours),
        theirs => ours == theirs,
    };
    if is_stranger && ours[0].starts_with("answer") {
        return is_refusal(&theirs[0]) && ours.last().is_none_or(|last| ours.len() == 1 || is_refusal(last));
    }
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
}

#[test]
fn verdicts_and_answers_are_those_of_kafkas_servers() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let first = variable("OTTLA_SASL_SEED").unwrap_or(fresh);
    let alone = variable("OTTLA_SASL_SEED").map(|_| 1);
    let count = alone.or(variable("OTTLA_SASL_ROUNDS")).unwrap_or(ROUNDS);
    println!("OTTLA_SASL_SEED from {first}, {count} rounds");
    let world = World::new()?;
    let play = |seed: u64| {
        let mut choices = Choices::new(seed);
        let (round, is_stranger) = match choices.below(2) {
            0 => scram::play(&world, &mut choices),
            _ => (tokens::play(&world, &mut choices)?, false),
        };
        Ok((seed, round, is_stranger))
    };
    let rounds: Vec<_> = (0..count).map(|round| play(first.wrapping_add(round))).collect::<Result<_>>()?;
    let commands: String = rounds.iter().map(|(_, round, _)| &*round.commands).collect();
    let mut lines = java::answers("Exchanges.java", &(world.commands.clone() + &commands))?.into_iter();
    let (mut let_in, mut refused) = (0, 0);
    for (seed, round, is_stranger) in &rounds {
        let theirs: Vec<String> = lines.by_ref().take(round.verdicts.len()).collect();
        ensure!(
            agree(&round.verdicts, &theirs, *is_stranger),
            "OTTLA_SASL_SEED={seed}: {:#?}, by Kafka {theirs:#?}\n{}",
            round.verdicts,
            readable(&round.commands)
        );
        let_in += usize::from(round.verdicts.last().is_some_and(|last| last.starts_with("done")));
        refused += usize::from(round.verdicts.last().is_some_and(|last| last.starts_with("refused")));
    }
    ensure!(lines.next().is_none(), "Kafka's servers said too much");
    println!("{let_in} let in, {refused} refused");
    ensure!(let_in * 20 > rounds.len() && refused * 20 > rounds.len() || count == 1, "hardly any difference");
    Ok(())
}

/// Commands with their tokens as text.
fn readable(commands: &str) -> String {
    let line = |line: &str| {
        let token = line.strip_prefix("token ").and_then(|word| BASE64.decode(word).ok());
        token.map_or(line.to_owned(), |token| format!("token {:?}", String::from_utf8_lossy(&token)))
    };
    commands.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Each with what comes of it here and there.
#[test]
fn differences_are_those_that_are_meant() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let world = World::new()?;
    let mut cases = scram::differences(&world);
    cases.extend(tokens::differences(&world)?);
    let commands: String = cases.iter().map(|(_, round, ..)| &*round.commands).collect();
    let mut lines = java::answers("Exchanges.java", &(world.commands.clone() + &commands))?.into_iter();
    for (title, round, here, there) in &cases {
        let theirs: Vec<String> = lines.by_ref().take(round.verdicts.len()).collect();
        let last = |verdicts: &[String]| {
            verdicts.last().and_then(|last| last.split(' ').next()).unwrap_or_default().to_owned()
        };
        let found = (last(&round.verdicts), last(&theirs));
        ensure!(
            found == ((*here).to_owned(), (*there).to_owned()),
            "{title}: {found:?}\n{}",
            readable(&round.commands)
        );
    }
    Ok(())
}
