//! Random traces of clients that use things, through `ottla_access::quotas` and Kafka's own quota managers in a JVM:
//! the same throttle times to the millisecond.
//!
//!     OTTLA_QUOTA_ROUNDS=20000 cargo test -p ottla-e2e --test quotas traces     # for longer than CI
//!     OTTLA_QUOTA_SEED=7 cargo test …                                           # a round once more, alone
//!
//! A round draws windows and quotas at every level. Steps then use, go ahead in time by nothing to many windows, and
//! change quotas that are there. Left out: an empty client id, which in Kafka escapes some quotas; and quotas that come
//! or go, because Kafka counts clients without quotas, too, as soon as others have some.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_access::Principal;
use ottla_access::quotas::{Bucket, Entity, Name, QuotaRules, Quotas, Rate, Resource, Tokens, Windows};
use ottla_e2e::choices::Choices;
use ottla_e2e::java;
use ottla_e2e::need::{Need, met};

const STEPS: usize = 150;
const ROUNDS: u64 = 300;

/// Kafka's name of a kind, for `Quotas.java`.
const KINDS: [(&str, Resource); 3] =
    [("produce", Resource::Produce), ("request", Resource::Request), ("mutation", Resource::ControllerMutation)];

/// One round: the commands for Kafka's managers, and the lines that they should print.
#[derive(Default)]
struct Round {
    commands: String,
    expected: Vec<String>,
}

/// What has been used, as a broker keeps it.
struct Broker {
    windows: Windows,
    rules: QuotaRules,
    rates: HashMap<(Resource, Bucket), Rate>,
    tokens: HashMap<Bucket, Tokens>,
}

impl Broker {
    fn used(&mut self, resource: Resource, user: &str, client: &str, value: f64, now: Duration) -> String {
        let found = self.rules.of_client(resource, &Principal::new(user), &client.into());
        let Some((bucket, quota)) = found else { return "0".to_owned() };
        let rate = self.rates.entry((resource, bucket)).or_default();
        rate.record(self.windows, value, now);
        let time = rate.throttle_time(self.windows, quota, now);
        let time = if resource == Resource::Request { time.min(self.windows.size) } else { time };
        time.as_millis().to_string()
    }

    /// As many tokens as the client's bucket has when it is full: after those it has none, and owes none.
    fn all_tokens(&self, user: &str, client: &str) -> f64 {
        let found = self.rules.of_client(Resource::ControllerMutation, &Principal::new(user), &client.into());
        let windows = f64::from(self.windows.count) * self.windows.size.as_secs_f64();
        found.map_or(1.0, |(_, quota)| windows * quota)
    }

    fn taken(&mut self, strict: bool, user: &str, client: &str, count: f64, now: Duration) -> String {
        let found = self.rules.of_client(Resource::ControllerMutation, &Principal::new(user), &client.into());
        let Some((bucket, quota)) = found else { return "0".to_owned() };
        let tokens = self.tokens.entry(bucket).or_default();
        if !strict {
            return tokens.take_anyway(self.windows, quota, count, now).as_millis().to_string();
        }
        match tokens.take(self.windows, quota, count, now) {
            Ok(()) => "0".to_owned(),
            Err(time) => format!("{} refused", time.as_millis()),
        }
    }
}

fn play(seed: u64) -> Result<Round> {
    let mut choices = Choices::new(seed);
    let mut round = Round::default();
    let windows = Windows { count: choices.of(&[1, 2, 3, 11]), size: Duration::from_secs(choices.of(&[1, 1, 2, 5])) };
    writeln!(round.commands, "new {} {}", windows.count, windows.size.as_secs())?;
    let mut broker = Broker { windows, rules: QuotaRules::default(), rates: HashMap::new(), tokens: HashMap::new() };
    let mut given: HashMap<Entity, Quotas> = HashMap::new();
    for _ in 0..=choices.below(8) {
        let entity = entity(&mut choices);
        for (kind, resource) in KINDS {
            if choices.below(3) > 0 {
                set(&mut round, &mut broker, &mut given, &entity, (kind, resource), &mut choices)?;
            }
        }
    }
    let mut now = Duration::from_millis(1_700_000_000_000);
    for _ in 0..STEPS {
        let window_ms = windows.size.as_millis() as u64;
        now += Duration::from_millis(match choices.below(8) {
            0 | 1 => 0,
            2..=4 => choices.below(window_ms),
            5 => window_ms,
            6 => choices.below(4 * window_ms),
            _ => choices.below(15 * window_ms),
        });
        let (user, client, ms) = (choices.of(&["u", "v"]), choices.of(&["c", "d"]), now.as_millis());
        match choices.below(20) {
            0 if !given.is_empty() => {
                let entities: Vec<Entity> = sorted(&given);
                let entity = choices.of(&entities);
                let (kind, resource) = choices.of(&KINDS);
                if given[&entity].on(resource).is_some() {
                    set(&mut round, &mut broker, &mut given, &entity, (kind, resource), &mut choices)?;
                }
            }
            0..=6 => {
                let strict = choices.below(2) == 0;
                let count = match choices.below(4) {
                    0 => broker.all_tokens(user, client),
                    _ => choices.below(40) as f64,
                };
                let mode = if strict { "strict" } else { "permissive" };
                writeln!(round.commands, "take {ms} {mode} {user} {client} {count}")?;
                round.expected.push(broker.taken(strict, user, client, count, now));
            }
            _ => {
                let (kind, resource) = choices.of(&KINDS[..2]);
                // Some of it is taken back, as a Fetch that is not answered.
                let value = (choices.below(4_000) as f64 - 300.0) / choices.of(&[1.0, 7.0, 100.0]);
                writeln!(round.commands, "use {kind} {ms} {user} {client} {value}")?;
                round.expected.push(broker.used(resource, user, client, value, now));
            }
        }
    }
    Ok(round)
}

fn sorted(given: &HashMap<Entity, Quotas>) -> Vec<Entity> {
    let mut entities: Vec<Entity> = given.keys().cloned().collect();
    entities.sort();
    entities
}

fn entity(choices: &mut Choices) -> Entity {
    let user = choices.of(&[Name::Any, Name::Is("u".into()), Name::Is("v".into())]);
    let client = choices.of(&[Name::Any, Name::Is("c".into()), Name::Is("d".into())]);
    match choices.below(3) {
        0 => Entity::User(user),
        1 => Entity::Client(client),
        _ => Entity::UserAndClient(user, client),
    }
}

fn set(
    round: &mut Round,
    broker: &mut Broker,
    given: &mut HashMap<Entity, Quotas>,
    entity: &Entity,
    (kind, resource): (&str, Resource),
    choices: &mut Choices,
) -> Result<()> {
    let quota = (1 + choices.below(300)) as f64 / choices.of(&[1.0, 1.0, 8.0]);
    let quotas = given.entry(entity.clone()).or_default();
    *quotas.on_mut(resource) = Some(quota);
    broker.rules.set(entity.clone(), *quotas);
    let text = |name: &Name| match name {
        Name::Any => "*".to_owned(),
        Name::Is(name) => name.to_string(),
    };
    let (user, client) = match entity {
        Entity::User(user) => (text(user), "-".to_owned()),
        Entity::Client(client) => ("-".to_owned(), text(client)),
        Entity::UserAndClient(user, client) => (text(user), text(client)),
    };
    writeln!(round.commands, "quota {kind} {user} {client} {quota}")?;
    Ok(())
}

#[test]
fn traces_are_throttled_as_by_kafkas_managers() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let fresh = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let first = variable("OTTLA_QUOTA_SEED").unwrap_or(fresh);
    let alone = variable("OTTLA_QUOTA_SEED").map(|_| 1);
    let count = alone.or(variable("OTTLA_QUOTA_ROUNDS")).unwrap_or(ROUNDS);
    println!("OTTLA_QUOTA_SEED from {first}, {count} rounds");
    let seeds: Vec<u64> = (0..count).map(|round| first.wrapping_add(round)).collect();
    let rounds = seeds.iter().map(|seed| play(*seed)).collect::<Result<Vec<_>>>()?;
    let commands: String = rounds.iter().map(|round| &*round.commands).collect();
    let mut lines = java::answers("Quotas.java", &commands)?.into_iter();
    let mut throttled = 0;
    for (seed, round) in seeds.iter().zip(&rounds) {
        let asked = round.commands.lines().filter(|line| line.starts_with("use") || line.starts_with("take"));
        for (command, ours) in asked.zip(&round.expected) {
            let theirs = lines.next().context("Kafka's managers said too little")?;
            ensure!(
                *ours == theirs,
                "OTTLA_QUOTA_SEED={seed}: {command}: {ours}, by Kafka {theirs}\n{}",
                round.commands
            );
            throttled += usize::from(ours != "0");
        }
    }
    ensure!(lines.next().is_none(), "Kafka's managers said too much");
    let all: usize = rounds.iter().map(|round| round.expected.len()).sum();
    println!("{all} uses, {throttled} throttled");
    ensure!(throttled * 20 > all || count == 1, "hardly anything was throttled: {throttled} of {all}");
    Ok(())
}
